"""What early stopping would have done."""

from __future__ import annotations

import math
import random

import pytest

from tune_bridge.server.analysis.what_if import best_setting, what_if


def curves(runs: int, steps: int, seed: int = 0) -> list[list[float]]:
    """Curves that fall to their ends at the same pace: what is good early is good late."""
    rng = random.Random(seed)
    ends = [rng.random() for _ in range(runs)]
    return [[end + math.exp(-step / 5) for step in range(steps)] for end in ends]


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
@pytest.mark.parametrize("parallel", [1, 4, 100])
def test_curves_that_do_not_cross_lose_nothing(goal: str, parallel: int) -> None:
    sign = 1.0 if goal == "minimize" else -1.0
    given = [[sign * value for value in curve] for curve in curves(40, 27)]
    found = what_if(given, goal, parallel=parallel)
    assert {one.regret for one in found} == {0.0}
    assert found == sorted(found, key=lambda one: -one.saved)
    assert 0.3 < found[0].saved < 1
    assert best_setting(found) == found[0]
    assert found[0].setting["min_iter"] == 1


def test_late_bloomers_are_lost_by_early_rungs() -> None:
    """The best run looks worst until step 20."""
    given = curves(40, 40)
    given[7] = [9.0] * 20 + [-5.0] * 20
    found = what_if(given, "minimize", parallel=40)
    lost = {one.setting["min_iter"]: one.regret for one in found}
    assert lost[1] > 0
    good = best_setting(found)
    assert good is None or good.setting["min_iter"] > 20


def test_one_run_after_the_other_is_counted_by_hand() -> None:
    """Worse ones are stopped at report 2 of 4; the first one has nobody to be compared with."""
    given = [[1.0] * 4, [2.0] * 4, [3.0] * 4, [0.5] * 4]
    found = {
        (one.setting["min_iter"], one.setting["eta"]): one
        for one in what_if(given, "minimize", parallel=1)
    }
    one = found[2, 2]
    assert one.stopped == 1
    assert one.saved == pytest.approx(2 / 16)
    assert one.regret == 0


def test_settings_are_in_reports() -> None:
    found = what_if(curves(30, 20), "minimize", parallel=4, every=10)
    assert min(one.setting["min_iter"] for one in found) == 10
    assert what_if([], "minimize") == []
    assert what_if([[1.0]] * 30, "minimize") == []
