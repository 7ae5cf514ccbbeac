"""The rungs of the early stopping: who came, what the cut-off is, who was let on.

Where the rungs follow from the settings, the cut-off is the one that the next run would meet: the
formula of the judge itself over all values that runs had at the rung.

* W&B's hyperband (``sweeps`` 0.3.0, see `tune_bridge.engines.native.hyperband`): the value at
  position ``n // eta``, best first.
* ASHA (``ray.tune.schedulers.async_hyperband._Bracket``): the percentile ``1 - 1 / eta``,
  interpolated, at ``grace_period * eta**k`` up to ``max_t``.

* HyperBand and BOHB (see `halving`): the worst value that the last halving let on.

Of others (ASHA with several brackets, another unit of time), the decisions in the log are counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from tune_bridge.backends.scores import sign_of
from tune_bridge.engines.native.hyperband import bands
from tune_bridge.experiment import Algorithm
from tune_bridge.server.analysis.halving import (
    HALVINGS,
    Bracket,
    brackets_of,
    cutoff_of,
    placed,
    values_told,
)
from tune_bridge.server.analysis.story import Verdict
from tune_bridge.server.views import Snapshot

__all__ = [
    "STOPPERS",
    "Rung",
    "asha_cutoff",
    "asha_rungs",
    "hyperband_cutoff",
    "percentile",
    "rungs_of",
]

_ASHA = ("AsyncHyperBandScheduler", "ASHAScheduler")

STOPPERS = frozenset({"hyperband", *_ASHA, *HALVINGS})
"""Schedulers that have rungs."""


class Rung(msgspec.Struct, frozen=True):
    """One rung.

    Attributes:
        at: In the scheduler's unit of time, mostly reports.
        bracket: Which one, or None where there is one only.
        came: How many runs have got there.
        stopped: How many of them were stopped there.
        cutoff: What a run must not be worse than, or None.
        runs: Index, value there and whether it was stopped, of those whose value is known.
    """

    at: float
    bracket: int | None
    came: int
    stopped: int
    cutoff: float | None
    runs: list[tuple[int, float, bool]]

    @property
    def let_on(self) -> int:
        """How many were not stopped there."""
        return self.came - self.stopped


def hyperband_cutoff(costs: Sequence[float], eta: float) -> float:
    """W&B's threshold over costs (lower is better): what is worse is stopped."""
    return sorted(costs)[int((1.0 / eta) * len(costs))]


def asha_cutoff(costs: Sequence[float], eta: float) -> float:
    """ASHA's over costs, of which there is one at least: a percentile of their opposites."""
    return -percentile(sorted(-cost for cost in costs), 1 - 1 / eta)


def percentile(ordered: Sequence[float], share: float) -> float:
    """That of values in ascending order, to the bit as ``numpy.percentile``, which ASHA calls."""
    place = (len(ordered) - 1) * (share * 100 / 100)
    low = math.floor(place)
    one, two, part = ordered[low], ordered[min(low + 1, len(ordered) - 1)], place - low
    return two - (two - one) * (1 - part) if part >= 0.5 else one + (two - one) * part


def asha_rungs(grace: float, eta: float, most: float) -> list[float]:
    """ASHA's milestones, ascending: ``grace * eta**k`` up to `most`."""
    count = int(math.log(most / grace) / math.log(eta) + 1) if 0 < grace <= most else 0
    return [grace * eta**power for power in range(count)]


def _law(scheduler: Algorithm) -> tuple[list[float], Callable[[Sequence[float]], float]] | None:
    """Rungs and cut-off where they follow from the settings."""
    arg = scheduler.arg
    if scheduler.kind == "hyperband":
        eta = arg("eta", 3)
        return [float(band) for band in bands(scheduler.args.value)], (
            lambda costs: hyperband_cutoff(costs, eta)
        )
    alone = arg("brackets", 1) == 1 and arg("time_attr", "training_iteration") == (
        "training_iteration"
    )
    if scheduler.kind in _ASHA and alone:
        factor = arg("reduction_factor", 4)
        found = asha_rungs(arg("grace_period", 1), factor, arg("max_t", 100))
        return found, lambda costs: asha_cutoff(costs, factor)
    return None


def rungs_of(
    snapshot: Snapshot,
    scheduler: Algorithm | None,
    verdicts: Sequence[Verdict],
    points: Mapping[str, Sequence[tuple[int, float]]],
    most: int,
) -> list[Rung]:
    """The rungs that runs have got to, the first one first.

    Args:
        snapshot: The sweep.
        scheduler: Its scheduler, with settings.
        verdicts: What it has decided.
        points: Step and value of the objective, by run.
        most: From so many rows on, they are thinned.
    """
    law = None if scheduler is None else _law(scheduler)
    if law is None:
        brackets = [] if scheduler is None else brackets_of(scheduler)
        if brackets:
            return _halved(snapshot, brackets, verdicts, points, most)
        return _from_verdicts(snapshot, verdicts)
    marks, cutoff = law
    sign = sign_of(snapshot.plan.goal)
    decided = {one.run: one for one in verdicts if one.action == "stop"}
    there: list[list[tuple[int, float, bool]]] = [[] for _ in marks]
    for index, run in enumerate(snapshot.runs):
        values = _at(points.get(run.id, ()), marks, whole=run.rows <= most)
        end = _ended_at(run.stopped_early, decided.get(run.id), marks, len(values))
        for place, value in enumerate(values):
            there[place].append((index, value, marks[place] == end))
    return [
        Rung(
            at,
            None,
            len(runs),
            sum(stopped for _, _, stopped in runs),
            sign * cutoff([sign * value for _, value, _ in runs]),
            runs,
        )
        for at, runs in zip(marks, there, strict=True)
        if runs
    ]


def _at(points: Sequence[tuple[int, float]], marks: Sequence[float], *, whole: bool) -> list[float]:
    """The values at the rungs that a run has got to: report number n is the n-th point.

    Rows without the metric do not count: agents send a checkpoint as one. Of a thinned history, it
    is the first point that is left from that row on.
    """
    found, place = [], 0
    for mark in marks:
        number = math.ceil(mark)
        if whole:
            place = number - 1
        else:
            while place < len(points) and points[place][0] < number - 1:
                place += 1
        if place >= len(points):
            break
        found.append(points[place][1])
    return found


def _ended_at(
    early: bool, verdict: Verdict | None, marks: Sequence[float], passed: int
) -> float | None:
    """The rung at which a run was stopped, or None."""
    if verdict is not None:
        return verdict.at
    return marks[passed - 1] if early and passed else None


def _halved(
    snapshot: Snapshot,
    brackets: Sequence[Bracket],
    verdicts: Sequence[Verdict],
    points: Mapping[str, Sequence[tuple[int, float]]],
    most: int,
) -> list[Rung]:
    """Those of brackets: of each kind together, whatever their band."""
    sign = sign_of(snapshot.plan.goal)
    decided = {one.run: one for one in verdicts if one.action == "stop"}
    told = values_told(verdicts)
    there: dict[tuple[int, int], list[tuple[int, float, bool]]] = {
        (bracket.number, mark): [] for bracket in brackets for mark in bracket.marks
    }
    bands: dict[int, int] = {}
    for index, (band, bracket) in enumerate(
        placed([run.id for run in snapshot.runs], verdicts, brackets)
    ):
        run, bands[index] = snapshot.runs[index], band
        values = _at(points.get(run.id, ()), bracket.marks, whole=run.rows <= most)
        end = _ended_at(run.stopped_early, decided.get(run.id), bracket.marks, len(values))
        for mark, value in zip(bracket.marks, values, strict=False):
            known = told.get((run.id, mark), value)
            there[bracket.number, mark].append((index, known, mark == end))
    found = []
    for (number, mark), runs in sorted(there.items()):
        last = max((bands[index] for index, _, stopped in runs if stopped), default=None)
        sides: tuple[list[float], list[float]] = ([], [])
        for index, value, stopped in runs:
            if bands[index] == last:
                sides[stopped].append(sign * value)
        cutoff = cutoff_of(*sides)
        found.append(
            Rung(
                mark,
                number if len(brackets) > 1 else None,
                len(runs),
                sum(stopped for _, _, stopped in runs),
                None if cutoff is None else sign * cutoff,
                runs,
            )
        )
    return [rung for rung in found if rung.runs]


def _from_verdicts(snapshot: Snapshot, verdicts: Sequence[Verdict]) -> list[Rung]:
    index = {run.id: place for place, run in enumerate(snapshot.runs)}
    groups: dict[tuple[int, float], list[Verdict]] = {}
    for one in verdicts:
        if one.at is not None and one.run in index:
            groups.setdefault((one.bracket or 0, one.at), []).append(one)
    several = len({bracket for bracket, _ in groups}) > 1
    found = []
    for (bracket, at), told in sorted(groups.items()):
        stopped = {one.run for one in told if one.action == "stop"}
        values = {one.run: one.value for one in told if one.value is not None}
        found.append(
            Rung(
                at,
                bracket if several else None,
                max([len({one.run for one in told}), *(one.of or 0 for one in told)]),
                len(stopped),
                next((one.cutoff for one in reversed(told) if one.cutoff is not None), None),
                [(index[run], value, run in stopped) for run, value in values.items()],
            )
        )
    return found
