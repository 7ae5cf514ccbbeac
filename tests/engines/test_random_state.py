"""The sandbox: global states of its own, and silence."""

from __future__ import annotations

import pickle
import random
import sys
import warnings

import numpy as np
import pytest

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


def test_derived_seeds_differ():
    assert derived(1, "a") == derived(1, "a")
    assert len({derived(seed, purpose) for seed in range(50) for purpose in "ab"}) == 100
