"""The rungs of Tune's HyperBand and BOHB: who came, whether or not a decision tells of it.

The brackets follow from the settings (``ray.tune.schedulers.hyperband``, ``hb_bohb``): bracket
``s`` has room for ``ceil((S + 1) / (s + 1) * eta**s)`` runs, where ``S = round(log(max_t, eta))``;
it is halved ``s`` times, first at ``int(max_t * eta**-s)``, then at ``eta`` times as much, and ends
``eta`` times later: at ``max_t``, or before where that is no power of ``eta``. A band is one
bracket of each kind, which runs fill in the order in which they are made; BOHB begins with the
largest. Which one a run is in, its decisions say; one without any is in that of the runs beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from tune_bridge.experiment import Algorithm
from tune_bridge.server.analysis.story import Verdict

__all__ = ["HALVINGS", "Bracket", "brackets_of", "cutoff_of", "placed"]

HALVINGS = frozenset({"HyperBandScheduler", "HyperBandForBOHB"})


class Bracket(msgspec.Struct, frozen=True):
    """One bracket of a band.

    Attributes:
        number: As decisions call it: its place in its band.
        room: How many runs it takes.
        marks: Where it is halved, in iterations, ascending; the last one is its end.
    """

    number: int
    room: int
    marks: tuple[int, ...]


def brackets_of(scheduler: Algorithm) -> list[Bracket]:
    """The brackets of a band, in the order in which they are filled.

    None for another scheduler, or one with another unit of time than reports.
    """
    if scheduler.kind not in HALVINGS or (
        scheduler.arg("time_attr", "training_iteration") != "training_iteration"
    ):
        return []
    most, eta = scheduler.arg("max_t", 81), scheduler.arg("reduction_factor", 3)
    count = round(math.log(most) / math.log(eta)) + 1
    sizes = range(count) if scheduler.kind == "HyperBandScheduler" else range(count)[::-1]
    found = []
    for number, halvings in enumerate(sizes):
        marks = [int(most * eta**-halvings)]
        for _ in range(halvings):
            marks.append(int(min(marks[-1] * eta, most)))
        if marks[0]:
            room = math.ceil(count / (halvings + 1) * eta**halvings)
            found.append(Bracket(number, room, tuple(dict.fromkeys(marks))))
    return found


def placed(
    runs: Sequence[str], verdicts: Sequence[Verdict], brackets: Sequence[Bracket]
) -> list[tuple[int, Bracket]]:
    """The band and the bracket of each run, in order of creation."""
    order = {bracket.number: place for place, bracket in enumerate(brackets)}
    known = {
        one.run: len(brackets) * (one.band or 0) + order[one.bracket]
        for one in verdicts
        if one.bracket in order
    }
    after: list[int | None] = []  # of the next run that is known
    beyond: int | None = None
    for run in reversed(runs):
        beyond = known.get(run, beyond)
        after.append(beyond)
    found, at, there = [], 0, 0
    for run, beyond in zip(runs, reversed(after), strict=True):
        own = known.get(run)
        if own is None:
            full = there >= brackets[at % len(brackets)].room
            own = at + 1 if full and (beyond is None or at < beyond) else at
        there = there + 1 if own == at else 1
        at = own
        found.append((at // len(brackets), brackets[at % len(brackets)]))
    return found


def cutoff_of(let_on: Sequence[float], stopped: Sequence[float]) -> float | None:
    """The worst cost that was let on where some were stopped; runs that came later do not count."""
    best = min(stopped, default=-math.inf)
    return max((cost for cost in let_on if cost <= best), default=None)


def values_told(verdicts: Sequence[Verdict]) -> Mapping[tuple[str, float], float]:
    """Run and rung -> the value there, of those that were stopped or paused."""
    return {
        (one.run, one.at): one.value
        for one in verdicts
        if one.at is not None and one.value is not None
    }
