"""The sandbox: global states of its own, and silence."""

from __future__ import annotations

import pickle
import random
import sys
import warnings

import numpy as np
import pytest

from tune_bridge.engines import random_state
from tune_bridge.engines.random_state import Sandbox, derived


def draw():
    found = [random.random(), float(np.random.rand())]
    if "torch" in sys.modules:
        found.append(float(sys.modules["torch"].rand(1)))
    return found


@pytest.fixture(params=["without torch", "with torch"])
def _torch(request):
    if request.param == "with torch":
        pytest.importorskip("torch")


@pytest.mark.usefixtures("_torch")
def test_its_draws_follow_from_its_seed_and_nothing_else_sees_them():
    def inside(sandbox, number):
        found = []
        for _ in range(number):
            with sandbox:
                found.append(draw())
            draw()
        return found

    sandbox = Sandbox(1)
    first = inside(sandbox, 3)
    assert inside(Sandbox(1), 3) == first
    assert inside(Sandbox(2), 3) != first
    assert inside(pickle.loads(pickle.dumps(sandbox)), 2) == inside(sandbox, 2)
    state = random.getstate()
    before = draw()
    random.setstate(state)
    with Sandbox(3):
        draw()
    assert random.random() == before[0]


def test_output_and_warnings_stay_inside(capsys, recwarn):
    with Sandbox(1):
        print("out")
        print("err", file=sys.stderr)
        warnings.warn("old", stacklevel=1)
    print("after")
    assert capsys.readouterr() == ("after\n", "")
    assert not recwarn.list


def test_states_come_back_after_an_error():
    state = random.getstate()
    sandbox = Sandbox(1)

    def fail():
        with sandbox:
            random.seed("none of mine")
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert random.getstate() == state
    with sandbox:
        pass


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("outside", range(3))
@pytest.mark.parametrize("inside", range(3))
def test_a_normal_draw_that_waits_goes_along(monkeypatch, quick, outside, inside):
    """Numpy draws two normal numbers at once, and keeps the second one beside the generator."""
    if quick:
        assert random_state._quick()
    else:
        monkeypatch.setattr(random_state, "_quick", lambda: False)
    alone = np.random.RandomState(derived(5, "numpy"))
    wanted = [list(alone.standard_normal(inside)) for _ in range(3)]
    sandbox, found = Sandbox(5), []
    np.random.seed(1)
    np.random.standard_normal(outside)
    before = np.random.get_state()
    for number in range(3):
        with sandbox:
            found.append(list(np.random.standard_normal(inside)))
        after = np.random.get_state()
        assert all(np.array_equal(one, two) for one, two in zip(before, after, strict=True))
        sandbox = pickle.loads(pickle.dumps(sandbox)) if number else sandbox
    assert found == wanted


def test_both_ways_of_swapping_draw_the_same(monkeypatch):
    def inside():
        sandbox, found = Sandbox(8), []
        for number in range(4):
            with sandbox:
                found += [draw(), list(np.random.standard_normal(number)), np.random.permutation(9)]
                if number == 2:
                    np.random.seed(3)
        return repr(found)

    first = inside()
    monkeypatch.setattr(random_state, "_quick", lambda: False)
    assert inside() == first


def test_derived_seeds_differ():
    assert derived(1, "a") == derived(1, "a")
    assert len({derived(seed, purpose) for seed in range(50) for purpose in "ab"}) == 100
