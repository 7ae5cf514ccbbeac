"""What early stopping would have done: by the rules as written down here, and by the judges."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_bridge.engines.base import Stop
from tune_bridge.engines.native.hyperband import Hyperband
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.server.analysis.what_if import RULES, best_setting, play, what_if
from tune_bridge.space import Group


def curves(runs: int, steps: int, seed: int = 0) -> list[list[float]]:
    """Curves that fall to their ends at the same pace: what is good early is good late."""
    rng = random.Random(seed)
    ends = [rng.random() for _ in range(runs)]
    return [[end + math.exp(-step / 5) for step in range(steps)] for end in ends]


def judged(judge: Any, costs: list[list[float]], parallel: int) -> list[int]:
    """How many reports each run makes before a judge of sweeps."""
    waiting = iter(range(len(costs)))
    at: dict[int, int] = {}
    made = [0] * len(costs)
    while True:
        while len(at) < parallel and (number := next(waiting, None)) is not None:
            judge.add(str(number), {})
            judge.start(str(number))
            at[number] = 0
        if not at:
            return made
        for number in list(at):
            if number not in at:
                continue  # stopped by somebody else's report
            at[number] += 1
            made[number] = at[number]
            time = at[number]
            result = {
                "value": costs[number][time - 1],
                "training_iteration": time,
                "time_total_s": float(time),
                "trial_id": str(number),
                "config": {},
            }
            for action in judge.judge(str(number), result, None):
                if isinstance(action, Stop):
                    at.pop(int(action.run), None)
            if number in at and time == len(costs[number]):
                del at[number]
                judge.finish(str(number), result)


def experiment(kind: str, **args: Any) -> Experiment:
    return Experiment(
        Group(()), objective=Objective("value", "minimize"), scheduler=Algorithm.of(kind, **args)
    )


def tunes(kind: str, **args: Any) -> Any:
    pytest.importorskip("ray.tune")
    from tune_bridge.engines.tune.schedulers import judge

    return judge(experiment(kind, **args), SimpleNamespace(live=None), 0)  # type: ignore[arg-type]


JUDGES: dict[str, Any] = {
    "hyperband": lambda setting: Hyperband(experiment("hyperband", strict=True, **setting)),
    "asha": lambda setting: tunes("AsyncHyperBandScheduler", **setting),
    "median": lambda setting: tunes(
        "MedianStoppingRule", time_attr="training_iteration", **setting
    ),
}
SETTINGS: dict[str, dict[str, int]] = {
    "hyperband": {"min_iter": 2, "eta": 2},
    "asha": {"grace_period": 1, "reduction_factor": 3, "max_t": 1000},
    "median": {"grace_period": 2, "min_samples_required": 2},
}


def test_every_rule_has_a_judge() -> None:
    assert set(JUDGES) == set(SETTINGS) == set(RULES)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=30, deadline=None)
@given(
    costs=st.lists(
        st.lists(st.integers(0, 20).map(float), min_size=1, max_size=9), min_size=1, max_size=9
    ),
    parallel=st.integers(1, 5),
)
def test_a_rule_stops_whom_its_judge_stops(
    rule: str, costs: list[list[float]], parallel: int
) -> None:
    made = play(RULES[rule][1](costs, **SETTINGS[rule]), [len(one) for one in costs], parallel)
    assert made == judged(JUDGES[rule](SETTINGS[rule]), costs, parallel)


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
@pytest.mark.parametrize("parallel", [1, 4, 100])
def test_curves_that_do_not_cross_lose_nothing(goal: Any, parallel: int) -> None:
    sign = 1.0 if goal == "minimize" else -1.0
    given = [[sign * value for value in curve] for curve in curves(40, 27)]
    found = what_if(given, goal, parallel=parallel)
    assert {one.rule for one in found} == set(RULES)
    rungs = [one for one in found if one.rule != "median"]
    assert {one.regret for one in rungs} == {0.0}
    assert found == sorted(found, key=lambda one: -one.saved)
    assert 0.3 < found[0].saved < 1
    good = best_setting(found)
    assert good == next(one for one in found if one.regret == 0)
    assert good.first == 1


def test_late_bloomers_are_lost_by_early_rungs() -> None:
    """The best run looks worst until step 20."""
    given = curves(40, 40)
    given[7] = [9.0] * 20 + [-5.0] * 20
    found = what_if(given, "minimize", parallel=40)
    for rule in RULES:
        mine = [one for one in found if one.rule == rule]
        assert max(one.regret for one in mine if one.first == 1) > 0
    good = best_setting([one for one in found if one.rule != "median"])
    assert good is None or good.first > 20


def test_one_run_after_the_other_is_counted_by_hand() -> None:
    """Worse ones are stopped at report 2 of 4; the first one has nobody to be compared with."""
    given = [[1.0] * 4, [2.0] * 4, [3.0] * 4, [0.5] * 4]
    found = {
        (one.setting["min_iter"], one.setting["eta"]): one
        for one in what_if(given, "minimize", parallel=1)
        if one.rule == "hyperband"
    }
    one = found[2, 2]
    assert one.stopped == 1
    assert one.saved == pytest.approx(2 / 16)
    assert one.regret == 0


def test_settings_are_in_reports() -> None:
    found = what_if(curves(30, 20), "minimize", parallel=4, every=10)
    assert min(one.first for one in found) == 10
    assert what_if([], "minimize") == []
    assert what_if([[1.0]] * 30, "minimize") == []


def test_long_curves_are_thinned() -> None:
    found = what_if(curves(20, 1000), "minimize", parallel=4)
    assert {one.rule for one in found} == set(RULES)
    assert min(one.first for one in found if one.rule == "median") == 10  # a hundred values
    assert min(one.first for one in found if one.rule == "asha") == 4  # 300 at most
