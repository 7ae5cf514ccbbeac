"""The native engines against the conformance suite."""

from __future__ import annotations

import functools

import pytest

from tune_bridge.engines import make_engine
from tune_bridge.experiment import RANDOM, Algorithm, Experiment, Objective
from tune_bridge.space import Choice, Constant, Group, Integers, Parameter, Sequence, Uniform
from tune_bridge.testing.engines import EngineTestCase
from tune_bridge.values import Frozen

MIXED = Group(
    (
        ("lr", Parameter(Uniform(1e-4, 1e-1, scale="log"))),
        ("units", Parameter(Uniform(0, 64, q=8, integer=True))),
        (
            "net",
            Choice(
                (
                    Group((("kind", Constant.of("mlp")), ("depth", Parameter(Integers(1, 4))))),
                    Group((("kind", Constant.of("cnn")), ("width", Parameter(Uniform(0, 1))))),
                    Constant.of(None),
                ),
                weights=(0.5, 0.25, 0.25),
            ),
        ),
        ("betas", Sequence((Parameter(Uniform(0.8, 1)), Constant.of(0.999)), "tuple")),
        ("epochs", Constant.of(5)),
    )
)
FINITE = Group(
    (
        ("a", Choice(tuple(Constant.of(v) for v in (1, 1.0, "1", None)), grid=True)),
        ("b", Group((("n", Parameter(Integers(1, 3), grid=True)),))),
    )
)
LOSS = Objective("loss")
HYPERBAND = Algorithm.of("hyperband", min_iter=1, eta=2)


class TestRandom(EngineTestCase):
    @pytest.fixture
    def make(self):
        return functools.partial(make_engine, Experiment(MIXED, objective=LOSS, num_samples=12))


class TestRandomUnique(EngineTestCase):
    @pytest.fixture
    def make(self):
        space = Group((("a", Parameter(Integers(1, 4))), ("b", Parameter(Integers(1, 2)))))
        searcher = Algorithm.of(RANDOM.kind, unique=True)
        experiment = Experiment(space, objective=LOSS, searcher=searcher, num_samples=20)
        return functools.partial(make_engine, experiment)


class TestGrid(EngineTestCase):
    @pytest.fixture
    def make(self):
        return functools.partial(make_engine, Experiment(FINITE, objective=LOSS, num_samples=1))


class TestMaxConcurrent(EngineTestCase):
    @pytest.fixture
    def make(self):
        experiment = Experiment(
            MIXED,
            objective=LOSS,
            num_samples=10,
            max_concurrent=2,
            stop=Frozen({"training_iteration": 2}),
        )
        return functools.partial(make_engine, experiment)


class TestHyperband(EngineTestCase):
    @pytest.fixture
    def make(self):
        experiment = Experiment(MIXED, objective=LOSS, num_samples=16, scheduler=HYPERBAND)
        return functools.partial(make_engine, experiment)


@pytest.mark.slow
class TestBayes(EngineTestCase):
    examples = 4
    steps = 15
    cuts = 3
    iterations = 2

    @pytest.fixture
    def make(self):
        experiment = Experiment(
            MIXED, objective=LOSS, num_samples=9, searcher=Algorithm("bayes"), scheduler=HYPERBAND
        )
        return functools.partial(make_engine, experiment)
