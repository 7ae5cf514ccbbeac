"""What the tests of the Ray Tune dialect share: both sets of names, and short words for nodes."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from tune_bridge import tune
from tune_bridge.dialects.base import get_dialect
from tune_bridge.experiment import Experiment
from tune_bridge.space import Choice, Constant, Group, Integers, Node, Normal, Parameter, Uniform

DIALECT = get_dialect("tune")
SPACE = {"lr": tune.loguniform(1e-4, 1e-1)}


class Libraries:
    """The names that scripts use, recorded or live."""

    def __init__(self, live: bool) -> None:
        if live:
            pytest.importorskip("ray.tune")
            pytest.importorskip("hyperopt")
        root = "ray." if live else "tune_bridge."
        self.live = live
        self.tune = importlib.import_module(f"{root}tune")
        self.hp = importlib.import_module("hyperopt" if live else "tune_bridge.hyperopt").hp
        search = importlib.import_module(f"{root}tune.search")
        schedulers = importlib.import_module(f"{root}tune.schedulers")
        hyperopt = importlib.import_module(f"{root}tune.search.hyperopt")
        self.basic = search.BasicVariantGenerator if not live else _basic()
        self.limiter = search.ConcurrencyLimiter
        self.hyperopt = hyperopt.HyperOptSearch
        self.asha = schedulers.ASHAScheduler
        self.fifo = schedulers.FIFOScheduler


def _basic() -> Any:
    return importlib.import_module("ray.tune.search.basic_variant").BasicVariantGenerator


def read(**arguments: Any) -> Experiment:
    return DIALECT.read({"run_or_experiment": "train.py", **arguments}).value


def one(node: Any) -> Node:
    found = read(config={"x": node}).space.get("x")
    assert found is not None
    return found


def choice(*values: Any, weights: tuple[float, ...] | None = None, **kwargs: Any) -> Choice:
    return Choice(tuple(map(Constant.of, values)), weights, **kwargs)


def space(**nodes: Node) -> Group:
    return Group(tuple(nodes.items()))


def P(distribution: Any, **kwargs: Any) -> Parameter:
    return Parameter(distribution, **kwargs)


MIXED = choice("a", 1, None, True, [1], {"k": (2,)})

DOMAINS: list[tuple[str, tuple[Any, ...], Node]] = [
    ("uniform", (-1, 2.5), P(Uniform(-1, 2.5))),
    ("quniform", (0, 1, 0.25), P(Uniform(0, 1, q=0.25))),
    ("quniform", (-10, 10, 0.01), P(Uniform(-10, 10, q=0.01))),
    ("loguniform", (1e-4, 1e-1), P(Uniform(1e-4, 1e-1, scale="log"))),
    ("qloguniform", (8, 64, 8), P(Uniform(8, 64, scale="log", q=8))),
    ("randn", (), P(Normal(0, 1))),
    ("randn", (10, 2), P(Normal(10, 2))),
    ("qrandn", (10, 2, 0.5), P(Normal(10, 2, q=0.5))),
    ("randint", (-2, 5), P(Integers(-2, 4))),
    ("randint", (3, 4), P(Integers(3, 3))),
    ("qrandint", (0, 10, 2), P(Integers(0, 10, 2))),
    ("qrandint", (1, 11, 4), P(Integers(4, 8, 4))),
    ("qrandint", (1, 6, 1), P(Integers(1, 5))),
    ("qrandint", (1, 6), P(Integers(1, 5))),
    ("lograndint", (1, 10), P(Integers(1, 9, log=True))),
    ("qlograndint", (4, 64, 4), P(Integers(4, 64, 4, log=True))),
    ("qlograndint", (1, 11, 2), P(Integers(2, 10, 2, log=True))),
    ("qlograndint", (1, 6, 1), P(Integers(1, 5, log=True))),
    (
        "choice",
        (["a", 1, None, True, [1], {"k": (2,)}],),
        choice("a", 1, None, True, [1], {"k": (2,)}),
    ),
    ("choice", (range(3),), choice(0, 1, 2)),
    ("grid_search", ([1, 2.5, "x"],), choice(1, 2.5, "x", grid=True)),
]
IDS = [f"{name}{args}" for name, args, _ in DOMAINS]


def train(config: dict[str, Any]) -> None:
    """A trainable that can be imported."""


class Trainer:
    """A place for a function that can be imported."""

    @staticmethod
    def step(config: dict[str, Any]) -> None: ...
