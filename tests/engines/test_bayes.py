"""W&B's method bayes: what the model is told, and that it learns."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_bridge.engines import make_engine
from tune_bridge.engines.base import Done, Start
from tune_bridge.engines.configs import canonical, fit
from tune_bridge.engines.native.bayes import Bayes
from tune_bridge.engines.native.cube import Cube
from tune_bridge.errors import InputError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment, Objective
from tune_bridge.space import Choice, Constant, Group, Integers, Parameter, Uniform
from tune_bridge.testing.strategies import conditional_spaces, spaces
from tune_bridge.values import Frozen

BAYES = Algorithm("bayes")
PLANE = Group((("x", Parameter(Uniform(-5, 10))), ("y", Parameter(Uniform(0, 15)))))
LINE = Group((("x", Parameter(Uniform(0, 1))),))


def branin(x, y):
    inner = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return inner**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def best(searcher, seed, goal="minimize", number=25):
    sign = 1 if goal == "minimize" else -1
    experiment = Experiment(
        PLANE, objective=Objective("loss", goal), searcher=searcher, num_samples=number
    )
    engine = make_engine(experiment, sweep_id="s", seed=seed)
    values = []
    while isinstance(answer := engine.ask(time=0.0), Start):
        values.append(branin(**answer.config))
        engine.tell(answer.run, {"loss": sign * values[-1]}, time=0.0)
        engine.end(answer.run, "finished", time=0.0)
    assert len(values) == number
    return min(values)


@pytest.mark.slow
@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_it_finds_what_random_search_does_not(goal):
    """The minimum of Branin's function is 0.3979."""
    ours = [best(BAYES, seed, goal) for seed in range(2)]
    random = [best(RANDOM, seed, goal) for seed in range(2)]
    assert max(ours) < 0.5
    assert sum(ours) < sum(random)


def bayes(space=LINE, goal="minimize", options=None, **more):
    objective = Objective("loss", goal, options=Frozen(options or {}))
    return Bayes(Experiment(space, objective=objective, searcher=BAYES, **more), seed=0)


@pytest.mark.parametrize(
    ("options", "goal", "expected"),
    [
        ({}, "minimize", 9.0),
        ({"impute": "worst"}, "maximize", -1.0),
        ({"impute": "best"}, "minimize", 3.0),
        ({"impute": "latest"}, "minimize", 4.0),
        ({"impute": "best"}, "maximize", -5.0),
    ],
)
def test_failed_runs_are_imputed(options, goal, expected):
    proposer = bayes(goal=goal, options=options)
    for run, values in {"good": [9.0, 1.0], "bad": [5.0, 3.0, 4.0]}.items():
        proposer.propose(run)
        for value in values:
            proposer.progress(run, {"loss": value})
    proposer.close("good", {"loss": 2.0}, failed=False)
    proposer.close("bad", {"loss": math.nan}, failed=True)
    scored, pending = proposer._data()
    assert pending == []
    assert [cost for _, cost in scored] == [1.0 if goal == "minimize" else -9.0, expected]


def test_nothing_is_invented_before_anything_is_known():
    proposer = bayes()
    proposer.propose("a")
    proposer.close("a", None, failed=True)
    assert proposer._data() == ([], [])


@pytest.mark.parametrize(("rule", "expected"), [("false", None), ("best", 2.0), ("latest", 3.0)])
def test_what_runs_counts_as_a_fantasy_or_as_it_is(rule, expected):
    proposer = bayes(options={"impute_while_running": rule})
    proposer.propose("a")
    for value in (2.0, 3.0, math.inf):
        proposer.progress("a", {"loss": value})
    scored, pending = proposer._data()
    assert [cost for _, cost in scored] == ([] if expected is None else [expected])
    assert len(pending) == (1 if expected is None else 0)


def test_the_model_is_used_and_says_so():
    proposer = bayes()
    by = []
    for index in range(8):
        proposal = proposer.propose(f"r{index}")
        by.append(proposal.info["by"])
        proposer.close(f"r{index}", {"loss": proposal.config["x"] ** 2}, failed=False)
    assert by == ["draw"] * 5 + ["model"] * 3


def test_points_that_run_are_not_proposed_twice():
    """Several agents at once: the model counts on what others are at."""
    proposer = bayes()
    for index in range(6):
        proposal = proposer.propose(f"r{index}")
        proposer.close(f"r{index}", {"loss": abs(proposal.config["x"] - 0.3)}, failed=False)
    at_once = [proposer.propose(f"p{index}").config["x"] for index in range(4)]
    assert len({round(x, 3) for x in at_once}) == 4


def test_a_finite_space_is_used_up_without_duplicates():
    options = Choice((Constant.of("a"), Constant.of("b")), weights=(0.99, 0.01))
    space = Group((("n", Parameter(Integers(1, 4))), ("o", options)))
    experiment = Experiment(space, objective=Objective("loss"), searcher=BAYES, num_samples=None)
    engine = make_engine(experiment, sweep_id="s", seed=0)
    found = []
    while isinstance(answer := engine.ask(time=0.0), Start):
        found.append(canonical(answer.config))
        engine.tell(answer.run, {"loss": answer.config["n"]}, time=0.0)
        engine.end(answer.run, "finished", time=0.0)
    assert answer == Done("all 8 points of the space have been given")
    assert len(found) == len(set(found)) == 8


def test_initial_points_and_enqueued_ones():
    proposer = bayes(PLANE, points=(Frozen({"x": 1}), Frozen({"x": 2.0, "y": 3})))
    first, second = proposer.propose("a").config, proposer.propose("b").config
    assert (first["x"], type(first["x"]), second) == (1.0, float, {"x": 2.0, "y": 3.0})
    proposer.enqueued("c", {"x": 0.0, "y": 15.0})
    proposer.learn("c", {"x": 0.0, "y": 15.0}, {"loss": 1.0})
    scored, pending = proposer._data()
    assert ([cost for _, cost in scored], len(pending)) == ([1.0], 2)
    assert scored[0][0] == pytest.approx([1 / 3, 1.0])


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        (Experiment(LINE), "metric: bayes needs a metric"),
        (
            Experiment(Group((("c", Constant.of(1)),)), objective=Objective("loss")),
            "parameters: bayes has nothing to search",
        ),
    ],
)
def test_what_it_cannot_do(experiment, message):
    with pytest.raises(InputError, match=message):
        make_engine(experiment.replace(searcher=BAYES), sweep_id="s", seed=0)


@settings(max_examples=60)
@given(st.one_of(spaces(), conditional_spaces()), st.data())
def test_the_cube_and_back(space, data):
    try:
        cube = Cube(space)
    except InputError:
        return
    point = [
        data.draw(st.integers(0, size - 1) if size else st.floats(0.01, 0.99))
        for size in cube.sizes
    ]
    config = cube.config(point)
    assert canonical(fit(space, config)) == canonical(config)
    again = cube.config(cube.point(config))
    assert close(again, config)
    # Where equal configurations stand does not depend on what was drawn for other options.
    assert cube.point(again) == pytest.approx(cube.point(config), abs=1e-6)


def close(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    return type(one) is type(other) and one == other
