"""Tune's domains to a HyperOpt space: ours and HyperOptSearch's own, in turns on the same space.

Both begin with live domains and end with live ``hp`` nodes; making ours is measured alone as well.
Ours keeps the laws (integers, multiples, lists), and names that stand in two branches, where
HyperOptSearch raises an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

ROUNDS = 25


def _typical(tune: Any) -> dict[str, Any]:
    return {
        "lr": tune.loguniform(1e-5, 1e-1),
        "batch": tune.choice([16, 32, 64]),
        "dropout": tune.uniform(0, 0.5),
        "optimizer": {
            "name": tune.choice(["sgd", "adam"]),
            "momentum": tune.uniform(0, 0.99),
            "decay": tune.loguniform(1e-6, 1e-2),
        },
        "activation": tune.choice(["relu", "tanh"]),
        "width": tune.quniform(16, 512, 16),
        "epochs": 10,
        "data": "cifar10",
    }


def _conditions(tune: Any, depth: int, width: int, name: str = "c") -> dict[str, Any]:
    if not depth:
        return {f"{name}_u": tune.uniform(0, 1), f"{name}_l": tune.loguniform(1e-4, 1)}
    return {
        f"{name}{i}": tune.choice(
            [
                {"kind": "a", **_conditions(tune, depth - 1, width, f"{name}{i}")},
                {"kind": "b", f"{name}{i}_x": tune.uniform(0, 1)},
            ]
        )
        for i in range(width)
    }


def _flat(tune: Any, size: int) -> dict[str, Any]:
    makers: tuple[Callable[[], Any], ...] = (
        lambda: tune.uniform(0, 1),
        lambda: tune.loguniform(1e-4, 1),
        lambda: tune.quniform(0, 10, 2),
        lambda: tune.choice(["a", "b", "c"]),
        lambda: tune.randn(0, 1),
    )
    return {f"p{i}": makers[i % len(makers)]() for i in range(size)}


def _best(*works: Callable[[], object]) -> list[float]:
    """Processor time of each in milliseconds, the best of rounds in which they take turns."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, taken in zip(works, times, strict=True):
            begin = time.process_time()
            work()
            taken.append(time.process_time() - begin)
    return [min(taken) * 1e3 for taken in times]


def run() -> list[tuple[str, str]]:
    from ray import tune
    from ray.tune.search.hyperopt import HyperOptSearch

    from tune_bridge.dialects.calls import build
    from tune_bridge.dialects.hyperopt.writer import write_space
    from tune_bridge.dialects.python_space import TreeReader
    from tune_bridge.dialects.ray_tune.domains import LEAVES
    from tune_bridge.notes import Notes

    def ours(space: Any) -> Any:
        return write_space(TreeReader(LEAVES, Notes()).root(space), Notes())

    rows = []
    for name, space in (
        ("10 parameters", _typical(tune)),
        ("500 parameters", _flat(tune, 500)),
        ("conditions in conditions", _conditions(tune, 3, 3)),
    ):
        calls = ours(space)
        own, nodes, theirs = _best(
            lambda space=space: build(ours(space)),
            lambda calls=calls: build(calls),
            lambda space=space: HyperOptSearch.convert_search_space(space),
        )
        result = f"{own:.2f} ms ({nodes:.2f} of them for hp), Ray's {theirs:.2f} ms"
        rows.append((name, f"{result}: {theirs / own:.2f} times as fast"))
    return rows
