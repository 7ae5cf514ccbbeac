"""Which sweeps a list shows, and in which order: the query of its address, and what it finds."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from tune_bridge.backends.base import Sweep, SweepState
from tune_bridge.backends.scores import goal_of
from tune_bridge.server.views import NO_RESULT, Overview, Reader, fits

__all__ = ["ORDERS", "STATES", "Found", "Listing", "find"]

STATES: tuple[str, ...] = typing.get_args(SweepState)

LOOKED_AT = 10_000
"""How many of the newest sweeps are looked at where a database does not choose by itself."""

_Key = Callable[[Reader, list[Sweep]], Mapping[str, Any]]


def _runs(reader: Reader, sweeps: list[Sweep]) -> Mapping[str, Any]:
    counts = reader.backend.counts([sweep.id for sweep in sweeps])
    return {sweep.id: sum(counts.get(sweep.id, {}).values()) for sweep in sweeps}


def _best(reader: Reader, sweeps: list[Sweep]) -> Mapping[str, Any]:
    ends = reader.backend.score_ranges([sweep.id for sweep in sweeps], leave_out=NO_RESULT)
    high = {sweep.id: goal_of(sweep.config) == "maximize" for sweep in sweeps}
    return {one: found[high[one]] for one, found in ends.items()}


ORDERS: dict[str, _Key] = {
    "created": lambda _, sweeps: {sweep.id: sweep.created_at for sweep in sweeps},
    "name": lambda _, sweeps: {sweep.id: (sweep.name or sweep.id).lower() for sweep in sweeps},
    "project": lambda _, sweeps: {sweep.id: sweep.project.lower() for sweep in sweeps},
    "state": lambda _, sweeps: {sweep.id: STATES.index(sweep.state) for sweep in sweeps},
    "runs": _runs,
    "best": _best,
}
"""What a list can be sorted by -> the value of each sweep; sweeps without one come last."""


class Listing(msgspec.Struct, frozen=True):
    """What a reader has chosen in the list of sweeps.

    Attributes:
        q: Words that all have to be in what a search looks at.
        project: Only sweeps of this project; all without.
        state: Only sweeps in this state; all without.
        sort: A key of `ORDERS`, with a minus in front for descending.
        offset: How many sweeps to leave out first.
    """

    q: str = ""
    project: str = ""
    state: str = ""
    sort: str = "-created"
    offset: int = 0

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Listing:
        """Reads the query of an address; what makes no sense is left out."""
        state, sort, offset = query.get("state"), query.get("sort", ""), query.get("offset", "")
        return cls(
            q=query.get("q", "").strip(),
            project=query.get("project", ""),
            state=state if state in STATES else "",
            sort=sort if sort.removeprefix("-") in ORDERS else "-created",
            offset=int(offset) if offset.isascii() and offset.isdigit() and len(offset) < 9 else 0,
        )

    @property
    def narrowed(self) -> bool:
        """Whether some sweeps are left out on purpose."""
        return bool(self.q or self.project or self.state)

    def href(self, **changes: Any) -> str:
        """The address of the list with changes; without an offset, it begins at its first page."""
        changed = msgspec.structs.replace(self, **{"offset": 0, **changes})
        plain = Listing()
        chosen = {
            name: value
            for name, value in msgspec.structs.asdict(changed).items()
            if value != getattr(plain, name)
        }
        return f"/?{urlencode(chosen)}" if chosen else "/"

    def sorted_by(self, name: str) -> str:
        """How a column is sorted: "ascending", "descending" or "none"."""
        if self.sort.removeprefix("-") != name:
            return "none"
        return "descending" if self.sort.startswith("-") else "ascending"


class Found(NamedTuple):
    """A part of a list.

    Attributes:
        lines: Its lines.
        more: Others come after them.
    """

    lines: list[Overview]
    more: bool


def find(reader: Reader, listing: Listing, limit: int) -> Found:
    """The part of a list that a reader looks at.

    Without words, a state or another order than the newest first, the database chooses. Otherwise
    the newest `LOOKED_AT` sweeps are looked at.

    Args:
        reader: Where the sweeps are read from.
        listing: Which sweeps.
        limit: How many at most.
    """
    project, first = listing.project or None, listing.offset
    if not listing.q and not listing.state and listing.sort == "-created":
        sweeps = reader.backend.sweeps(project=project, limit=limit + 1, offset=first)
    else:
        newest = reader.backend.sweeps(project=project, limit=LOOKED_AT)
        fitting = [
            sweep
            for sweep in newest
            if (not listing.state or sweep.state == listing.state) and fits(sweep, listing.q)
        ]
        sweeps = _ordered(reader, listing, fitting)[first : first + limit + 1]
    return Found([reader.overview(sweep) for sweep in sweeps[:limit]], len(sweeps) > limit)


def _ordered(reader: Reader, listing: Listing, sweeps: list[Sweep]) -> list[Sweep]:
    values = ORDERS[listing.sort.removeprefix("-")](reader, sweeps)
    known = [sweep for sweep in sweeps if sweep.id in values]
    known.sort(key=lambda sweep: values[sweep.id], reverse=listing.sort.startswith("-"))
    return known + [sweep for sweep in sweeps if sweep.id not in values]
