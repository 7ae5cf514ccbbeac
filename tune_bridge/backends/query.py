"""A question for runs, so that a place with 100,000 of them answers with those that are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from tune_bridge.backends.base import Run

__all__ = ["RunQuery", "chosen"]


class RunQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs, in which order, which part of them. All that is said has to hold.

    Attributes:
        sweeps: Ids of the sweeps whose runs are meant.
        states: Pairs of a state and of whether the scheduler ended the run; None for all.
        ids: Ids of runs; None for all.
        created: Bounds of ``created_at``, seconds since the epoch, inclusive; None for none.
        updated: Bounds of ``updated_at``.
        order: By when they were made, or last changed or logged; in doubt the older run is first.
        descending: The other way round.
        limit: How many at most; None for all.
        offset: How many to leave out first.
    """

    sweeps: tuple[str, ...]
    states: tuple[tuple[str, bool], ...] | None = None
    ids: tuple[str, ...] | None = None
    created: tuple[float | None, float | None] = (None, None)
    updated: tuple[float | None, float | None] = (None, None)
    order: Literal["created_at", "updated_at"] = "created_at"
    descending: bool = False
    limit: int | None = None
    offset: int = 0

    @property
    def everything(self) -> bool:
        """Whether all runs of the sweeps are meant, in whatever order and part."""
        bounds = (*self.created, *self.updated)
        return self.states is None and self.ids is None and bounds == (None,) * 4

    def holds(self, run: Run) -> bool:
        """Whether a run is one of those that are meant."""
        return (
            run.sweep_id in self.sweeps
            and (self.states is None or (run.state, run.stopped_early) in self.states)
            and (self.ids is None or run.id in self.ids)
            and _within(run.created_at, self.created)
            and _within(run.updated_at, self.updated)
        )


def chosen(runs: Iterable[Run], query: RunQuery) -> list[Run]:
    """The answer to a question, out of all runs in order of creation."""
    found = [run for run in runs if query.holds(run)]
    found.sort(key=lambda run: run.created_at)
    if query.order == "updated_at":
        found.sort(key=lambda run: run.updated_at)
    if query.descending:
        found.reverse()
    stop = None if query.limit is None else query.offset + query.limit
    return found[query.offset : stop]


def _within(value: float, bounds: tuple[float | None, float | None]) -> bool:
    low, high = bounds
    return (low is None or value >= low) and (high is None or value <= high)
