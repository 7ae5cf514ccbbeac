"""What early stopping would have done to runs that were let run to their ends.

The curves of finished runs are played again, with as many runs at once as there were, before the
very judge that `early_terminate` has in a sweep (`tune_bridge.engines.native`), once for each
setting. What is saved is the share of reports that would not have been made; regret is by how much
the best value that is left is worse than the best one of all, as a share of the spread between the
best and the median value.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from tune_bridge.engines.base import Stop
from tune_bridge.engines.native.hyperband import Hyperband
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.space import Group

__all__ = ["Outcome", "best_setting", "what_if"]

_ETAS = (2, 3, 4)
_FIRST = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200)
_RUNS = 400


class Outcome(msgspec.Struct, frozen=True):
    """What one setting would have done.

    Attributes:
        setting: The ``early_terminate`` block.
        saved: Share of the reports that would not have been made.
        regret: How much worse the best value is: 0 for as good as before.
        stopped: How many runs would have been stopped.
    """

    setting: dict[str, Any]
    saved: float
    regret: float
    stopped: int


def what_if(
    curves: Sequence[Sequence[float]],
    goal: Literal["minimize", "maximize"],
    *,
    parallel: int = 1,
    every: int = 1,
) -> list[Outcome]:
    """Tries settings of hyperband on finished curves.

    Args:
        curves: The reported values of each run, in order of creation; at most 400 are used.
        goal: Of the metric.
        parallel: How many runs there were at once.
        every: Reports that each value stands for, of thinned curves; settings are in reports.

    Returns:
        An outcome for each setting that stops something, the one that saves most first.
    """
    step = -(-len(curves) // _RUNS) if curves else 1
    used = [curve for curve in curves[::step] if curve]
    longest = max(map(len, used), default=0)
    found = [
        _played(used, goal, max(1, parallel), every, first, eta)
        for first in _FIRST
        for eta in _ETAS
        if first * eta <= longest
    ]
    return sorted((one for one in found if one.stopped), key=lambda one: -one.saved)


def best_setting(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The one that saves most and loses nothing."""
    return next((one for one in outcomes if one.regret <= 0), None)


def _played(
    curves: Sequence[Sequence[float]],
    goal: Literal["minimize", "maximize"],
    parallel: int,
    every: int,
    first: int,
    eta: int,
) -> Outcome:
    judge = Hyperband(
        Experiment(
            Group(()),
            objective=Objective("value", goal),
            scheduler=Algorithm.of("hyperband", min_iter=first, eta=eta, strict=True),
        )
    )
    waiting = iter(range(len(curves)))
    at: dict[int, int] = {}
    made, stopped = 0, set[int]()
    best: dict[int, float] = {}
    pick = max if goal == "maximize" else min
    while True:
        while len(at) < parallel and (number := next(waiting, None)) is not None:
            judge.start(str(number))
            at[number] = 0
        if not at:
            break
        for number in list(at):
            if number not in at:
                continue  # stopped by somebody else's report
            value = curves[number][at[number]]
            at[number] += 1
            made += 1
            best[number] = pick(best.get(number, value), value)
            for action in judge.judge(str(number), {"value": value}, None):
                if isinstance(action, Stop) and int(action.run) in at:
                    stopped.add(int(action.run))
                    del at[int(action.run)]
            if number in at and at[number] == len(curves[number]):
                del at[number]
                judge.finish(str(number), None)
    whole = [pick(curve) for curve in curves]
    spread = abs(statistics.median(whole) - pick(whole)) or 1.0
    return Outcome(
        {"type": "hyperband", "min_iter": first * every, "eta": eta},
        1 - made / sum(map(len, curves)),
        abs(pick(whole) - pick(best.values())) / spread,
        len(stopped),
    )
