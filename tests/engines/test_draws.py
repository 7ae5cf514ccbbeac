"""Random search and grids: W&B's order, Tune's counting, nothing enumerated."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sweeps import next_runs

from tune_bridge import laws, sampling
from tune_bridge.dialects.sweep import SweepDialect
from tune_bridge.engines import make_engine
from tune_bridge.engines.base import Done, Start
from tune_bridge.engines.configs import canonical, fit
from tune_bridge.engines.native import points
from tune_bridge.engines.native.draws import Draws, handles
from tune_bridge.engines.parts import Refused
from tune_bridge.errors import InputError, SpecError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Integers,
    Normal,
    Parameter,
    Sequence,
    Uniform,
    leaves,
    walk,
)
from tune_bridge.testing.strategies import conditional_spaces, spaces
from tune_bridge.values import Frozen

UNIQUE = Algorithm.of(RANDOM.kind, unique=True)


def take(proposer, number):
    found = []
    for index in range(number):
        answer = proposer.propose(f"run{index}")
        if isinstance(answer, Refused):
            assert answer.final
            break
        found.append(answer.config)
    return found


def options(*values, grid=False):
    return Choice(tuple(Constant.of(value) for value in values), grid=grid)


# Grids.

axes = st.one_of(
    st.builds(dict, values=st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True)),
    st.builds(
        lambda low, more: {"distribution": "int_uniform", "min": low, "max": low + more},
        st.integers(-3, 3),
        st.integers(1, 4),
    ),
    st.builds(
        lambda low, more, q: {"distribution": "q_uniform", "min": low, "max": low + more, "q": q},
        st.integers(-3, 3),
        st.integers(1, 4),
        st.sampled_from([1, 2, 0.5]),
    ),
    st.builds(dict, value=st.integers(0, 9)),
)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from("abcXYZ"), axes, min_size=1, max_size=3))
def test_grids_are_those_of_wandb(parameters):
    if all("value" in spec for spec in parameters.values()):
        parameters["a"] = {"values": [1, 2]}
    config = {"method": "grid", "parameters": parameters}
    suggested = next_runs(config, [], n=700)  # at most 3 parameters with 8 values
    expected = [
        {name: spec["value"] for name, spec in run.config.items()}
        for run in suggested
        if run is not None
    ]
    draws = Draws(SweepDialect().read(config).value, seed=0)
    assert take(draws, 700) == expected
    assert draws.total == len(expected)


def test_a_huge_grid_costs_nothing():
    space = Group(tuple((f"p{i:02}", options(*range(10), grid=True)) for i in range(12)))
    engine = make_engine(Experiment(space, num_samples=1), sweep_id="s", seed=0)
    assert engine.proposer.total == 10**12
    seen = {canonical(engine.ask(time=0.0).config) for _ in range(2000)}
    assert len(seen) == 2000
    long = Group((("n", Parameter(Integers(1, 10**12), grid=True)),))
    draws = Draws(Experiment(long, num_samples=1), seed=0)
    assert take(draws, 3) == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_points_of_a_grid_come_first_and_once():
    space = Group((("a", options(1, 2, 3, grid=True)), ("b", options("x", "y", grid=True))))
    firsts = (Frozen({"a": 3, "b": "y"}), Frozen({"b": "y"}), Frozen({"a": 3, "b": "y"}))
    draws = Draws(Experiment(space, num_samples=1, points=firsts), seed=0)
    found = take(draws, 100)
    assert found[:2] == [{"a": 3, "b": "y"}, {"a": 1, "b": "y"}]
    assert sorted(map(canonical, found)) == sorted(
        canonical({"a": a, "b": b}) for a, b in itertools.product((1, 2, 3), "xy")
    )


def test_an_enqueued_cell_is_not_run_again():
    space = Group((("a", options(1, 2, 3, grid=True)),))
    engine = make_engine(Experiment(space, num_samples=1), sweep_id="s", seed=0)
    engine.enqueue({"a": 2}, time=0.0)
    answers = [engine.ask(time=0.0) for _ in range(4)]
    assert [a.config["a"] for a in answers[:3] if isinstance(a, Start)] == [2, 1, 3]
    assert not isinstance(answers[3], Start)


def test_a_grid_without_an_end_is_refused():
    space = Group((("g", Group((("x", Parameter(Uniform(0, 1), grid=True)),))),))
    with pytest.raises(SpecError, match=r"g.x: a grid over a parameter that cannot be enumerated"):
        make_engine(Experiment(space), sweep_id="s", seed=0)


# Draws.


def spelled_out(node, rng, cell=None):
    """What a draw is, and in which order: one number of the generator for each law, in turn."""
    if isinstance(node, Group):
        return {name: spelled_out(child, rng, cell) for name, child in node.items}
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, Sequence):
        return [spelled_out(item, rng) for item in node.items]
    if node.grid and cell is not None:
        values = sampling.grid_nodes(node, "")
        return spelled_out(values[cell.pop(0)], rng)
    if isinstance(node, Parameter):
        return laws.ppf(node.distribution, rng.random())
    u, sizes = rng.random(), node.weights or [1] * len(node.options)
    if node.weights is None:
        return spelled_out(node.options[int(u * len(sizes))], rng)
    sums = list(itertools.accumulate(sizes))
    index = next((i for i, total in enumerate(sums) if total > u * sums[-1]), len(sums) - 1)
    return spelled_out(node.options[index], rng)


@given(st.one_of(spaces(), conditional_spaces()), st.integers(0, 99))
def test_draws_are_those_of_the_laws(space, seed):
    """Engines and ``tune-bridge sample`` draw alike: each law's quantile of the next number."""
    assume(handles(space))
    experiment = Experiment(space, num_samples=6, seed=seed)
    rng = random.Random(seed)
    draws = Draws(experiment, seed=12345)
    found = take(draws, 6)
    shown = list(itertools.islice(sampling.configurations(experiment, seed), len(found)))
    assert [canonical(fit(space, one)) for one in shown] == [canonical(c) for c in found]
    if not any(getattr(place.node, "grid", False) for place in walk(space)):
        sampled = [fit(space, laws.sample(space, rng)) for _ in found]
        assert list(map(canonical, sampled)) == list(map(canonical, found))
        rng = random.Random(seed)
        spelled = [spelled_out(space, rng) for _ in found]
    else:
        names = sorted(path for path, node in leaves(space) if getattr(node, "grid", False))
        order = [path for path, node in leaves(space) if getattr(node, "grid", False)]
        sizes = {
            path: len(sampling.grid_nodes(node, ""))
            for path, node in leaves(space)
            if getattr(node, "grid", False)
        }
        cells = itertools.cycle(itertools.product(*(range(sizes[path]) for path in names)))
        spelled = [
            spelled_out(space, rng, [dict(zip(names, cell, strict=True))[path] for path in order])
            for cell, _ in zip(cells, found, strict=False)
        ]
    assert [canonical(fit(space, one)) for one in spelled] == [canonical(c) for c in found]


def test_a_mixed_grid_repeats_its_cells():
    space = Group((("a", options(1, 2, grid=True)), ("x", Parameter(Uniform(0, 1)))))
    draws = Draws(Experiment(space, num_samples=3), seed=0)
    assert draws.total == 6
    found = take(draws, 6)
    assert [config["a"] for config in found] == [1, 2] * 3
    assert len({config["x"] for config in found}) == 6


def test_initial_points_are_completed_inside_of_their_option():
    space = Group(
        (
            (
                "net",
                Choice(
                    (
                        Group((("kind", Constant.of("a")), ("x", Parameter(Uniform(0, 1))))),
                        Group((("kind", Constant.of("b")), ("y", Parameter(Uniform(2, 3))))),
                    )
                ),
            ),
            ("lr", Parameter(Uniform(0, 1))),
        )
    )
    firsts = tuple(Frozen({"net": {"kind": kind}}) for kind in "abab")
    draws = Draws(Experiment(space, num_samples=4, points=firsts), seed=0)
    found = take(draws, 4)
    assert [config["net"]["kind"] for config in found] == list("abab")
    for config in found:
        assert fit(space, config) == config


def test_without_replacement_every_point_comes_once():
    space = Group(
        (
            ("a", Choice((Constant.of(1), Constant.of(2), Constant.of(3)), (0.998, 0.002, 0.0))),
            ("q", Parameter(Uniform(0, 1, q=0.5))),
            ("n", Parameter(Integers(2, 6, 2, log=True))),
        )
    )
    experiment = Experiment(space, searcher=UNIQUE, num_samples=None)
    engine = make_engine(experiment, sweep_id="s", seed=0)
    assert engine.proposer.total == 2 * 3 * 3
    found = []
    while isinstance(answer := engine.ask(time=0.0), Start):
        found.append(canonical(answer.config))
        engine.end(answer.run, "finished", time=0.0)
    assert isinstance(answer, Done)
    assert len(found) == len(set(found)) == 18


def test_without_replacement_where_nothing_comes_twice():
    space = Group((("x", Parameter(Normal())),))
    draws = Draws(Experiment(space, searcher=UNIQUE, num_samples=None), seed=0)
    assert draws.total is None
    assert len(take(draws, 50)) == 50


# Points of a finite space.


@given(spaces())
def test_every_point_fits_and_every_draw_is_a_point(space):
    size = points.count(space)
    if size is None:
        return
    for index in {0, size // 2, size - 1}:
        value = points.point(space, index)
        assert canonical(fit(space, value)) == canonical(value)
    if size <= 200:
        everything = {canonical(points.point(space, index)) for index in range(size)}
        rng = random.Random(0)
        drawn = {canonical(fit(space, laws.sample(space, rng))) for _ in range(50)}
        assert drawn <= everything


def test_points_of_conditions_are_counted():
    tree = Choice(
        (Constant.of(None), Group((("n", Parameter(Integers(1, 3))), ("c", Constant.of(0)))))
    )
    space = Group((("t", tree), ("b", options(True, False))))
    assert points.count(space) == 8
    assert len({canonical(points.point(space, i)) for i in range(8)}) == 8
    assert points.count(Parameter(Uniform(0, 1))) is None


def test_an_unknown_name_in_a_point_is_named():
    with pytest.raises(InputError, match=r"points\[0\].b: the space has no such parameter"):
        Draws(Experiment(Group((("a", options(1)),)), points=(Frozen({"b": 1}),)), seed=0)


def test_grids_inside_of_options_are_rays():
    inner = Group((("kind", Constant.of("a")), ("n", options(1, 2, grid=True))))
    space = Group((("net", Choice((inner, Constant.of(None)))),))
    assert not handles(space)
    engine = make_engine(Experiment(space, num_samples=2), sweep_id="s", seed=0)
    assert not isinstance(engine.proposer, Draws)
    assert isinstance(engine.ask(time=0.0), Start)
