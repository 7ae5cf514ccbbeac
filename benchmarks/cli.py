"""How long a translation takes from the shell, beside what loading Ray Tune alone takes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 5
SWEEP = """\
program: train.py
method: bayes
metric: {name: loss, goal: minimize}
parameters:
  lr: {distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-1}
  layers: {distribution: int_uniform, min: 1, max: 8}
  activation: {values: [relu, tanh]}
run_cap: 16
"""


def seconds(command: list[str]) -> float:
    """Wall time of a process that has to succeed."""
    started = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
    return time.perf_counter() - started


def run() -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder, "sweep.yaml")
        sweep.write_text(SWEEP)
        commands = {
            "python -c pass": ["-c", "pass"],
            "import tune_bridge": ["-c", "import tune_bridge"],
            "tune-bridge convert sweep.yaml": [
                "-c",
                "from tune_bridge.cli.main import main; main()",
                "convert",
                str(sweep),
            ],
            "import ray.tune": ["-c", "import ray.tune"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        # One round to fill the file cache, then in turns, so that other work hits all alike.
        for turn in range(RUNS + 1):
            for name, arguments in commands.items():
                taken = seconds([sys.executable, *arguments])
                if turn:
                    times[name].append(taken)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["import ray.tune"] / medians["tune-bridge convert sweep.yaml"]
    rows = [(f"{name} (median of {RUNS})", f"{value:.2f} s") for name, value in medians.items()]
    return [*rows, ("importing Ray Tune / converting a sweep", f"{ratio:.1f} x")]
