"""Sweeps translated per second in a warm process, there and back."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from tune_bridge import SweepConfig
from tune_bridge.hyperopt import hp
from tune_bridge.tune.suggest.hyperopt import HyperOptSearch

ROUNDS = 5
SECONDS = 0.5


def rate(work: Callable[[], object]) -> float:
    """Calls per second: the median of some rounds."""
    work()
    rates = []
    for _ in range(ROUNDS):
        count, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < SECONDS:
            work()
            count += 1
        rates.append(count / elapsed)
    return statistics.median(rates)


def forward() -> str:
    """The page's example, from Tune's arguments to YAML."""
    space = {
        "width": hp.uniform("width", 0, 20),
        "height": hp.uniform("height", -100, 100),
        "activation": hp.choice("activation", ["relu", "tanh"]),
    }
    search = HyperOptSearch(space, metric="mean_loss", mode="min")
    return SweepConfig.from_tune("train.py", search_alg=search, num_samples=10).to_yaml()


def run() -> list[tuple[str, str]]:
    text = forward()

    def back() -> object:
        return SweepConfig.from_yaml(text).experiment

    return [
        ("Tune and HyperOpt objects -> sweep YAML", f"{rate(forward):,.0f} per second"),
        ("sweep YAML -> experiment", f"{rate(back):,.0f} per second"),
        ("both", f"{rate(lambda: (forward(), back())):,.0f} per second"),
    ]
