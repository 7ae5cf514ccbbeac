"""What the log of a sweep says of its runs together: decisions, copies, pauses, failures.

It is put together from what `tune_bridge.server.run_life.Logs` tells of each run, whoever wrote the
log: a controller, or an experiment of Ray Tune.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tune_bridge.backends.base import Run

__all__ = ["MARKS", "Copy", "Mark", "Story", "Verdict", "from_runs", "told"]

MARKS: dict[str, tuple[str, str, str]] = {
    "pause": ("paused", "line-ns-open", "#868e96"),
    "resume": ("resumed", "triangle-right", "#228be6"),
    "exploit": ("copied another", "star", "#7950f2"),
    "failure": ("failed", "x", "#e03131"),
    "lost": ("lost", "circle-x-open", "#ae3ec9"),
    "command": ("told by a person", "diamond", "#e8940c"),
}
"""Kind of a mark -> its word, its symbol and its colour."""

_BEGINS = frozenset({"given", "started", "resumed", "restored"})
_BAD = frozenset({"failed", "crashed"})


class Verdict(msgspec.Struct, frozen=True):
    """A decision of a scheduler on a run.

    Attributes:
        run: Its id.
        action: "stop" or "pause".
        time: When, in seconds since the epoch.
        rule: Who decided, or "".
        at: The rung, in the scheduler's unit of time; None where there is none.
        band: The band of the bracket, or None.
        bracket: The bracket, or None.
        value: The run's value there, or None.
        cutoff: What it was compared with, or None.
        of: How many runs were compared, or None.
        reason: For people.
    """

    run: str
    action: str
    time: float
    rule: str = ""
    at: float | None = None
    band: int | None = None
    bracket: int | None = None
    value: float | None = None
    cutoff: float | None = None
    of: int | None = None
    reason: str = ""


class Copy(msgspec.Struct, frozen=True):
    """A member of a population goes on with other values.

    Attributes:
        run: Its id.
        donor: Whose state it took over; None when it kept its own.
        time: When, in seconds since the epoch.
        at: Its training iteration then, or None.
        donor_at: That of the donor's state, or None: it goes on from there.
        old: Its parameters before.
        new: Its parameters from then on.
        score: Its value then, or None.
        donor_score: The donor's, or None.
        reason: For people.
        step: Of its first row with the new ones, or None where the log does not say it.
    """

    run: str
    donor: str | None
    time: float
    at: int | None
    donor_at: int | None
    old: dict[str, Any]
    new: dict[str, Any]
    score: float | None = None
    donor_score: float | None = None
    reason: str = ""
    step: int | None = None


class Mark(msgspec.Struct, frozen=True):
    """Something that happened to a run; `kind` is a key of `MARKS`, `text` is for people."""

    run: str
    time: float
    kind: str
    text: str = ""


class Story(msgspec.Struct, frozen=True):
    """What happened in a sweep.

    Attributes:
        verdicts: Decisions of the scheduler, in order of time.
        copies: In order of time.
        marks: For the timeline, in order of time.
        gaps: When a run was paused: id -> beginnings and ends; None for an end that is open.
    """

    verdicts: list[Verdict] = []
    copies: list[Copy] = []
    marks: list[Mark] = []
    gaps: dict[str, list[tuple[float, float | None]]] = {}


def told(said: Mapping[str, Sequence[Mapping[str, Any]]]) -> Story:
    """The story of a sweep.

    Args:
        said: Run -> what the log says of it, in order; see `tune_bridge.server.run_life.Logs`.
    """
    story = Story([], [], [], {})
    for run, entries in said.items():
        _Teller(run, story).tell(entries)
    for part in (story.verdicts, story.copies, story.marks):
        part.sort(key=lambda one: one.time)
    return story


class _Teller:
    """Tells of one run."""

    def __init__(self, run: str, story: Story) -> None:
        self._run, self._story = run, story
        self._paused: float | None = None

    def tell(self, entries: Sequence[Mapping[str, Any]]) -> None:
        before = ""
        for entry in entries:
            kind, time = entry["event"], float(entry["time"])
            if kind == "did":
                self._did(entry, time, by_ray=before == "exploit")
            elif kind in _BEGINS:
                self._resume(time)
            elif kind == "paused":
                self._pause(time, "")
            elif kind in ("end", "ended"):
                if entry.get("state") in _BAD and self._paused is None:
                    self._mark(time, "failure", _first(entry.get("message")))
            elif kind == "recovered":
                self._mark(time, "failure", _first(entry.get("error")))
            elif kind == "lost":
                self._mark(time, "lost", "its agent was not heard of")
            elif kind == "command":
                self._mark(time, "command", str(entry.get("verb") or ""))
            before = kind
        if self._paused is not None:
            self._story.gaps.setdefault(self._run, []).append((self._paused, None))

    def _did(self, entry: Mapping[str, Any], time: float, *, by_ray: bool) -> None:
        action, reason = entry.get("action"), str(entry.get("reason") or "")
        info = entry.get("info") or {}
        if action in ("stop", "pause"):
            at = info.get("rung", info.get("milestone"))
            self._story.verdicts.append(
                Verdict(
                    self._run,
                    action,
                    time,
                    str(info.get("rule") or ""),
                    _number(at),
                    _whole(info.get("band")),
                    _whole(info.get("bracket")),
                    _number(info.get("value")),
                    _number(info.get("cutoff")),
                    _whole(info.get("of", info.get("runs"))),
                    reason,
                )
            )
        if action == "pause":
            self._pause(time, reason)
        if action == "exploit":
            self._story.copies.append(_copy(self._run, entry, time))
            self._mark(time, "exploit", reason or f"from run {entry.get('donor')}")
            if not by_ray and self._paused is None:  # it goes on when an agent takes it again
                self._paused = time

    def _pause(self, time: float, reason: str) -> None:
        if self._paused is None:
            self._paused = time
            self._mark(time, "pause", reason)

    def _resume(self, time: float) -> None:
        if self._paused is not None:
            self._story.gaps.setdefault(self._run, []).append((self._paused, time))
            self._paused = None
            self._mark(time, "resume", "")

    def _mark(self, time: float, kind: str, words: str) -> None:
        self._story.marks.append(Mark(self._run, time, kind, words))


def _copy(run: str, entry: Mapping[str, Any], time: float) -> Copy:
    info = entry.get("info") or {}
    steps = info.get("steps")
    own, donors = steps if isinstance(steps, list) and len(steps) == 2 else (None, None)
    return Copy(
        run,
        entry.get("donor") if entry.get("donor") != run else None,
        time,
        _whole(own if own is not None else info.get("step", entry.get("step"))),
        _whole(donors),
        dict(entry.get("old") or {}),
        dict(entry.get("new") or {}),
        _number(info.get("score")),
        _number(info.get("donor_score")),
        str(entry.get("reason") or ""),
        _whole(entry.get("step")),
    )


def from_runs(runs: Iterable[Run]) -> list[Copy]:
    """The copies that runs themselves tell of, for a place that keeps no log."""
    found = []
    for run in runs:
        told = run.meta.get("lineage")
        told = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
        for before, after in itertools.pairwise(told):
            old, new = dict(before.get("config") or {}), dict(after.get("config") or {})
            time = float(after.get("time") or run.created_at)
            step = _whole(after.get("step"))
            copy = Copy(run.id, after.get("donor"), time, step, step, old, new, step=step)
            found.append(copy)
    return sorted(found, key=lambda copy: copy.time)


def _first(message: Any) -> str:
    return str(message or "").strip().partition("\n")[0]


def _number(value: Any) -> float | None:
    found = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if found else None


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and abs(value) < 2**63 else None
