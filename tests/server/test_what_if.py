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
from tune_bridge.server.analysis.what_if import RULES, best_setting, halved, what_if
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
    assert set(JUDGES) == set(SETTINGS) == set(RULES) - {"halving"}


@pytest.mark.parametrize("rule", JUDGES)
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
    made = RULES[rule][1](costs, parallel, **SETTINGS[rule])
    assert made == judged(JUDGES[rule](SETTINGS[rule]), costs, parallel)


class Trial:
    """What Tune's HyperBand sees of a trial."""

    is_saving = False
    status = "RUNNING"


def halved_by_tune(costs: list[list[float]], most: int, eta: int) -> list[int]:
    """How many reports each run makes under Tune's scheduler, with a place for every run."""
    pytest.importorskip("ray.tune")
    from ray.tune.schedulers import HyperBandScheduler

    scheduler = HyperBandScheduler(metric="value", mode="min", max_t=most, reduction_factor=eta)
    trials = [Trial() for _ in costs]
    made = dict.fromkeys(trials, 0)

    def stop(trial: Trial) -> None:
        trial.status = "TERMINATED"
        scheduler.on_trial_remove(controller, trial)

    controller: Any = SimpleNamespace(stop_trial=stop)
    for trial in trials:
        scheduler.on_trial_add(controller, trial)
    answers = {"CONTINUE": "RUNNING", "PAUSE": "PAUSED", "STOP": "TERMINATED"}
    while any(trial.status == "RUNNING" for trial in trials):
        for trial, curve in zip(trials, costs, strict=True):
            if trial.status != "RUNNING":
                continue
            made[trial] += 1
            time = made[trial]
            result = {"value": curve[time - 1], "training_iteration": time}
            if time == len(curve):
                trial.status = "TERMINATED"
                scheduler.on_trial_complete(controller, trial, result)
            else:
                trial.status = answers[scheduler.on_trial_result(controller, trial, result)]
        while (waiting := scheduler.choose_trial_to_run(controller)) is not None:
            waiting.status = "RUNNING"
    assert {trial.status for trial in trials} == {"TERMINATED"}
    return list(made.values())


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    runs=st.integers(1, 30),
    most=st.integers(2, 12),
    eta=st.sampled_from([2, 3, 4]),
    more=st.integers(0, 2),
)
def test_halving_is_that_of_tune(data: Any, runs: int, most: int, eta: int, more: int) -> None:
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    costs = [[float(rng.randint(0, 9)) for _ in range(most + more)] for _ in range(runs)]
    found = halved(costs, max_t=most, reduction_factor=eta)
    assert found == halved_by_tune(costs, most, eta)


@pytest.mark.parametrize("parallel", [1, 3, 30])
def test_all_numbers_are_those_of_a_replay(parallel: int) -> None:
    """Saved, stopped and regret of each setting, by the judges themselves."""
    rng = random.Random(parallel)
    costs = [[rng.random() + math.exp(-step / 3) for step in range(9)] for _ in range(25)]
    lasts = sorted(min(curve) for curve in costs)
    found = what_if([[-cost for cost in curve] for curve in costs], "maximize", parallel=parallel)
    assert {one.rule for one in found} == set(RULES)
    assert any(one.regret > 0 for one in found)
    for one in found:
        if one.rule == "halving":
            most, eta = one.setting["max_t"], one.setting["reduction_factor"]
            made = halved_by_tune(costs, most, eta)
        else:
            made = judged(JUDGES[one.rule](one.setting), costs, parallel)
        assert one.saved == pytest.approx(1 - sum(made) / (25 * 9))
        assert one.stopped == sum(count < 9 for count in made)
        best = min(min(curve[:count]) for curve, count in zip(costs, made, strict=True))
        assert one.regret == pytest.approx((best - lasts[0]) / (lasts[12] - lasts[0]))


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
@pytest.mark.parametrize("parallel", [1, 4, 100])
def test_curves_that_do_not_cross_lose_nothing(goal: Any, parallel: int) -> None:
    sign = 1.0 if goal == "minimize" else -1.0
    given = [[sign * value for value in curve] for curve in curves(40, 27)]
    found = what_if(given, goal, parallel=parallel)
    assert {one.rule for one in found} == set(RULES)
    # HyperBand by 2 or 4 lets nobody run to the end of 27 reports.
    whole = [one for one in found if one.rule != "halving" or one.setting["reduction_factor"] == 3]
    rungs = [one for one in whole if one.rule != "median"]
    assert {one.regret for one in rungs} == {0.0}
    assert min(one.first for one in rungs if one.rule == "halving") == 1
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
    assert min(one.first for one in found if one.rule != "halving") == 10
    # HyperBand's brackets are those of 200 reports, each at the value that comes next.
    assert {one.setting["max_t"] for one in found if one.rule == "halving"} == {200}
    long = [[value for value in curve for _ in range(10)] for curve in curves(30, 20)]
    made = halved(long, max_t=200, reduction_factor=3)
    short = halved(curves(30, 20), max_t=200, reduction_factor=3, every=10)
    assert short == [math.ceil(count / 10) for count in made]
    assert what_if([], "minimize") == []
    assert what_if([[1.0]] * 30, "minimize") == []


def test_long_curves_are_thinned() -> None:
    found = what_if(curves(20, 1000), "minimize", parallel=4)
    assert {one.rule for one in found} == set(RULES)
    assert min(one.first for one in found if one.rule == "median") == 10  # a hundred values
    assert min(one.first for one in found if one.rule == "asha") == 4  # 300 at most
