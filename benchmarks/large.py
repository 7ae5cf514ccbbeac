"""Large spaces, each way, and how time grows with size."""

from __future__ import annotations

import time
from collections.abc import Callable

from tune_bridge import SweepConfig
from tune_bridge.dialects.base import get_dialect

ROUNDS = 3
SIZES = (10_000, 20_000)
SPECS = (
    "distribution: log_uniform_values\n    min: 1.0e-4\n    max: 1.0e-1",
    "distribution: int_uniform\n    min: 1\n    max: 8",
    "values: [relu, tanh, gelu]",
    "value: 3",
    "min: 0.0\n    max: 1.0",
)
"""Parameters as people write them, in turns."""


def text(size: int) -> str:
    """A sweep file with that many parameters."""
    parameters = "\n".join(f"  p{i}:\n    {SPECS[i % len(SPECS)]}" for i in range(size))
    return f"program: train.py\nmethod: random\nparameters:\n{parameters}\nrun_cap: 20\n"


def works(size: int) -> dict[str, Callable[[], object]]:
    """What is measured at one size."""
    source = text(size)
    tune, hyperopt = get_dialect("tune"), get_dialect("hyperopt")
    experiment = SweepConfig.from_yaml(source).experiment
    call, space = tune.write(experiment).value, hyperopt.write(experiment).value
    return {
        "YAML -> experiment": lambda: SweepConfig.from_yaml(source).experiment,
        "experiment -> YAML": lambda: SweepConfig.from_experiment(experiment).to_yaml(),
        "experiment -> Tune's calls": lambda: tune.write(experiment),
        "Tune's calls -> experiment": lambda: tune.read(call),
        "experiment -> a Tune program": lambda: tune.source(experiment),
        "experiment -> HyperOpt's calls": lambda: hyperopt.write(experiment),
        "HyperOpt's calls -> experiment": lambda: hyperopt.read(space),
        "experiment -> a HyperOpt program": lambda: hyperopt.source(experiment),
    }


def measure(size: int) -> dict[str, float]:
    """Processor seconds of each, the best of some rounds."""
    found: dict[str, float] = {}
    for name, work in works(size).items():
        taken = []
        for _ in range(ROUNDS):
            begin = time.process_time()
            work()
            taken.append(time.process_time() - begin)
        found[name] = min(taken)
    return found


def run() -> list[tuple[str, str]]:
    measure(SIZES[0] // 10)
    small, large = (measure(size) for size in SIZES)
    titles = " and ".join(f"{size:,}" for size in SIZES)
    return [
        (
            f"{name}, {titles} parameters",
            f"{small[name]:.2f} s and {large[name]:.2f} s: {large[name] / small[name]:.2f} times",
        )
        for name in small
    ]
