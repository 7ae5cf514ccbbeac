"""What early stopping would have done to runs that were let run to their ends.

The curves of finished runs are played again, with as many runs at once as there were: all that run
report in turn, and who is stopped makes room for the next one. Three rules are tried so, each with
several settings: W&B's hyperband, Tune's ASHA and Tune's median rule. They are written down here
once more, because the judges of sweeps take seconds for what is asked hundreds of times; the tests
play the judges themselves (`tune_bridge.engines`) on the same curves, with the same outcome.

A fourth one, Tune's HyperBand, lets the runs of a bracket wait for each other. It is played as
with room for a whole bracket at once: with less, Tune halves it with the runs that it has by then.

What is saved is the share of reports that would not have been made; regret is by how much the best
value that is left is worse than the best one of all, as a share of the spread between the best and
the median value.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from tune_bridge.backends.scores import sign_of
from tune_bridge.engines.native.hyperband import bands
from tune_bridge.experiment import Algorithm
from tune_bridge.server.analysis.halving import Bracket, brackets_of
from tune_bridge.server.analysis.rungs import asha_rungs, percentile

__all__ = ["RULES", "Outcome", "best_setting", "halved", "play", "what_if"]

_RUNS, _REPORTS = 400, 300
_ETAS = (2, 3, 4)
_FIRST = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200)
_SAMPLES = (3, 10)
_MEDIAN_RUNS, _MEDIAN_REPORTS = 150, 100  # that rule looks at every report of everybody


class Outcome(msgspec.Struct, frozen=True):
    """What one setting would have done.

    Attributes:
        rule: Key of `RULES`.
        setting: Its arguments; times in reports.
        saved: Share of the reports that would not have been made.
        regret: How much worse the best value is: 0 for as good as before.
        stopped: How many runs would have been stopped.
    """

    rule: str
    setting: dict[str, Any]
    saved: float
    regret: float
    stopped: int

    @property
    def first(self) -> float:
        """Before so many reports, no run is stopped."""
        if self.rule == "halving":
            return float(min(bracket.marks[0] for bracket in _brackets(self.setting)))
        return float(self.setting.get("min_iter", self.setting.get("grace_period", 0)))


class Rule(Protocol):
    """Who stops runs; values are costs, lower is better."""

    def looks(self, length: int) -> Sequence[int]:
        """The reports, counted from 1, of a run of so many that it looks at, ascending."""

    def report(self, run: int, number: int, running: Sequence[int]) -> list[int]:
        """A run makes one of these reports; who is stopped, itself or others that run."""

    def end(self, run: int, number: int) -> None:
        """A run is over, after so many reports."""


class Hyperband:
    """W&B's: see `tune_bridge.engines.native.hyperband`; strict, as it is by default."""

    def __init__(self, costs: Sequence[Sequence[float]], min_iter: int, eta: int) -> None:
        self._costs = costs
        self._bands = bands({"min_iter": min_iter, "eta": eta})
        self._share = 1.0 / eta
        self._values: list[list[float]] = [[] for _ in self._bands]
        self._there: dict[int, int] = {}

    def looks(self, length: int) -> Sequence[int]:
        return self._bands[: bisect.bisect_right(self._bands, length)]

    def report(self, run: int, number: int, running: Sequence[int]) -> list[int]:
        band = bisect.bisect_left(self._bands, number)
        self._there[run] = band
        bisect.insort(self._values[band], self._costs[run][number - 1])
        values = self._values[band]
        threshold, at = values[int(self._share * len(values))], self._bands[band] - 1
        return [
            one
            for one in running
            if self._there.get(one) == band and self._costs[one][at] > threshold
        ]

    def end(self, run: int, number: int) -> None:
        self._there.pop(run, None)


class Asha:
    """Tune's ``AsyncHyperBandScheduler`` with one bracket, and a max_t that nobody reaches.

    ``ray.tune.schedulers.async_hyperband._Bracket``: compared is with those that came before.
    """

    def __init__(
        self, costs: Sequence[Sequence[float]], grace_period: int, reduction_factor: int, max_t: int
    ) -> None:
        self._costs, self._factor = costs, reduction_factor
        self._marks = [int(mark) for mark in asha_rungs(grace_period, reduction_factor, max_t)]
        self._values: dict[int, list[float]] = {mark: [] for mark in self._marks}

    def looks(self, length: int) -> Sequence[int]:
        return self._marks[: bisect.bisect_right(self._marks, length)]

    def report(self, run: int, number: int, running: Sequence[int]) -> list[int]:
        values, reward = self._values[number], -self._costs[run][number - 1]
        worse = bool(values) and reward < percentile(values, 1 - 1 / self._factor)
        bisect.insort(values, reward)
        return [run] if worse else []

    def end(self, run: int, number: int) -> None:
        """Its values still count."""


class Median:
    """Tune's ``MedianStoppingRule``: a run's best value against the median of others' means.

    ``ray.tune.schedulers.median_stopping_rule``: the means are over the reports from the grace
    period on; the last report of a run that is over counts twice there, and so it does here.
    """

    def __init__(
        self, costs: Sequence[Sequence[float]], grace_period: int, min_samples_required: int
    ) -> None:
        self._grace, self._least = grace_period, min_samples_required
        self._costs = costs
        self._best = [list(itertools.accumulate(curve, min)) for curve in costs]
        self._sums = [list(itertools.accumulate(curve[grace_period - 1 :])) for curve in costs]
        self._means: dict[int, list[float]] = {}  # of who has made that report, ascending

    def looks(self, length: int) -> Sequence[int]:
        return range(self._grace, length + 1)

    def report(self, run: int, number: int, running: Sequence[int]) -> list[int]:
        means = self._means.setdefault(number, [])
        worse = len(means) >= self._least and self._best[run][number - 1] > _median(means)
        bisect.insort(means, self._mean(run, number))
        return [run] if worse else []

    def end(self, run: int, number: int) -> None:
        if number < self._grace:
            return
        means, mean = self._means[number], self._mean(run, number)
        del means[bisect.bisect_left(means, mean)]
        bisect.insort(means, self._mean(run, number, again=self._costs[run][number - 1]))

    def _mean(self, run: int, number: int, again: float | None = None) -> float:
        count = number - self._grace + 1
        total = self._sums[run][count - 1]
        return total / count if again is None else (total + again) / (count + 1)


def _median(ordered: Sequence[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def halved(
    costs: Sequence[Sequence[float]], *, max_t: int, reduction_factor: int, every: int = 1
) -> list[int]:
    """How many values each run reports under Tune's HyperBand, a bracket at once.

    ``ray.tune.schedulers.hyperband``: of runs that are equal, those that came later go on.

    Args:
        costs: The values of each run.
        max_t: In reports.
        reduction_factor: Of HyperBand.
        every: Reports that a value stands for.
    """
    brackets = _brackets({"max_t": max_t, "reduction_factor": reduction_factor})
    made = [len(curve) for curve in costs]
    waiting = iter(range(len(costs)))
    for bracket in itertools.cycle(brackets):
        runs, room = [*itertools.islice(waiting, bracket.room)], bracket.room
        if not runs:
            return made
        *marks, last = (math.ceil(mark / every) for mark in bracket.marks)
        for mark in marks:
            runs = [run for run in runs if len(costs[run]) > mark]  # the others are over
            room = math.ceil(room / reduction_factor)
            order = sorted(runs, key=lambda run: (costs[run][mark - 1], -run))
            for run in order[room:]:
                made[run] = mark
            runs = order[:room]
        for run in runs:
            made[run] = min(made[run], last)
    return made


def _brackets(setting: Mapping[str, Any]) -> list[Bracket]:
    return brackets_of(Algorithm.of("HyperBandScheduler", **setting))


def _played(make: Callable[..., Rule]) -> Callable[..., list[int]]:
    def made(costs: Sequence[Sequence[float]], parallel: int, **setting: int) -> list[int]:
        return play(make(costs, **setting), [len(curve) for curve in costs], parallel)

    return made


RULES: dict[str, tuple[str, Callable[..., list[int]]]] = {
    "hyperband": ("W&B's hyperband", _played(Hyperband)),
    "asha": ("ASHA", _played(Asha)),
    "median": ("Median rule", _played(Median)),
    "halving": ("HyperBand", lambda costs, parallel, **setting: halved(costs, **setting)),
}
"""Rule -> its name for people, and how many reports runs make: by costs, runs at once, setting."""


def what_if(
    curves: Sequence[Sequence[float]],
    goal: Literal["minimize", "maximize"],
    *,
    parallel: int = 1,
    every: int = 1,
) -> list[Outcome]:
    """Tries settings of all rules on finished curves.

    Args:
        curves: The reported values of each run, in order of creation; at most 400 runs are used,
            150 for the median rule.
        goal: Of the metric.
        parallel: How many runs there were at once.
        every: Reports that each value stands for, of thinned curves; settings are in reports.

    Returns:
        An outcome for each setting that stops something, the one that saves most first.
    """
    sign = sign_of(goal)
    costs = [[sign * value for value in curve] for curve in curves if curve]
    limits = {"median": (_MEDIAN_RUNS, _MEDIAN_REPORTS)}
    found = []
    for rule in RULES:
        runs, reports = limits.get(rule, (_RUNS, _REPORTS))
        used, more = _thinned(costs, runs, reports)
        for setting in _settings(rule, max(map(len, used), default=0)):
            outcome = _outcome(rule, setting, used, max(1, parallel), every * more)
            if outcome.stopped:
                found.append(outcome)
    return sorted(found, key=lambda one: -one.saved)


def _settings(rule: str, longest: int) -> Iterator[dict[str, int]]:
    if rule == "median":
        for first in _FIRST:
            for least in _SAMPLES:
                if first < longest:
                    yield {"grace_period": first, "min_samples_required": least}
        return
    if rule == "halving":
        yield from ({"max_t": longest, "reduction_factor": eta} for eta in _ETAS if eta <= longest)
        return
    for first in _FIRST:
        for eta in _ETAS:
            if first * eta <= longest and rule == "hyperband":
                yield {"min_iter": first, "eta": eta}
            elif first * eta <= longest:
                yield {"grace_period": first, "reduction_factor": eta, "max_t": longest}


def _thinned(
    costs: Sequence[Sequence[float]], runs: int, reports: int
) -> tuple[list[list[float]], int]:
    """Fewer runs and reports, and how many reports each value stands for."""
    used = costs[:: -(-len(costs) // runs) or 1]
    every = -(-max(map(len, used), default=0) // reports) or 1
    return [list(curve[every - 1 :: every]) or list(curve[-1:]) for curve in used], every


_TIMES = ("min_iter", "grace_period", "max_t")


def _outcome(
    rule: str,
    setting: dict[str, int],
    costs: Sequence[Sequence[float]],
    parallel: int,
    every: int,
) -> Outcome:
    scaled = {key: value * every if key in _TIMES else value for key, value in setting.items()}
    if rule == "halving":  # its brackets follow from the time of the whole
        made = halved(costs, **scaled, every=every)
    else:
        made = RULES[rule][1](costs, parallel, **setting)
    whole = [min(curve) for curve in costs]
    left = min(min(curve[:count]) for curve, count in zip(costs, made, strict=True) if count)
    spread = abs(statistics.median(whole) - min(whole)) or 1.0
    return Outcome(
        rule,
        scaled,
        1 - sum(made) / sum(map(len, costs)),
        (left - min(whole)) / spread,
        sum(count < len(curve) for curve, count in zip(costs, made, strict=True)),
    )


def play(rule: Rule, lengths: Sequence[int], parallel: int) -> list[int]:
    """Plays runs of so many reports each before a rule, that many at once.

    All that run report in turn, in the order in which they began; who is over makes room at the
    next turn.

    Returns:
        How many reports each run makes.
    """
    made = [0] * len(lengths)
    began: dict[int, int] = {}  # the turn of the first report, in the order of beginning
    queue: list[tuple[int, int, int]] = []  # turn, run, report
    waiting, turn = 0, 0

    def over(run: int, count: int) -> None:
        made[run] = count
        del began[run]
        rule.end(run, count)

    while waiting < len(lengths) or began:
        while waiting < len(lengths) and len(began) < parallel:
            began[waiting] = turn
            for number in {*rule.looks(lengths[waiting]), lengths[waiting]}:
                heapq.heappush(queue, (turn + number - 1, waiting, number))
            waiting += 1
        turn = queue[0][0]
        while queue and queue[0][0] == turn:
            _, run, number = heapq.heappop(queue)
            if run not in began:
                continue
            looked = rule.looks(lengths[run])
            place = bisect.bisect_left(looked, number)
            if place < len(looked) and looked[place] == number:
                for one in rule.report(run, number, list(began)):
                    # Who comes later in this turn has not reported in it yet.
                    over(one, min(lengths[one], turn - began[one] + (one <= run)))
            if run in began and number == lengths[run]:
                over(run, number)
        turn += 1
    return made


def best_setting(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The one that saves most and loses nothing."""
    return next((one for one in outcomes if one.regret <= 0), None)
