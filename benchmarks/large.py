"""Large spaces: YAML text to an experiment and back, and how time grows with size."""

from __future__ import annotations

import time

from tune_bridge import SweepConfig

ROUNDS = 3
SIZES = (2_500, 5_000, 10_000, 20_000)
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


def measure(size: int) -> tuple[float, float]:
    """Processor seconds to read and to write, each the best of some rounds."""
    source = text(size)
    reading, writing = [], []
    for _ in range(ROUNDS):
        begin = time.process_time()
        experiment = SweepConfig.from_yaml(source).experiment
        middle = time.process_time()
        SweepConfig.from_experiment(experiment).to_yaml()
        reading.append(middle - begin)
        writing.append(time.process_time() - middle)
    return min(reading), min(writing)


def run() -> list[tuple[str, str]]:
    measure(SIZES[0])
    found = {size: measure(size) for size in SIZES}
    rows = [
        (f"{size:,} parameters", f"read {reading:.2f} s, written {writing:.2f} s")
        for size, (reading, writing) in found.items()
    ]
    small, large = found[SIZES[0]], found[SIZES[-1]]
    growth = SIZES[-1] // SIZES[0]
    ratios = ", ".join(f"{b / a / growth:.2f}" for a, b in zip(small, large, strict=True))
    return [*rows, (f"time per parameter at {growth} times the size (read, written)", ratios)]
