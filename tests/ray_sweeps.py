"""Sweeps on a real Ray session, for the tests of searchers and schedulers there."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tune_bridge.backends import open_backend
from tune_bridge.backends.base import Row, Run, Sweep
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.runner import Result, run_sweep
from tune_bridge.space import Group, Node, Parameter, Uniform

X = Parameter(Uniform(0.0, 1.0))
LOSS = Objective("loss")

SAVES = """
import os, pathlib, tempfile, tune_bridge
run = tune_bridge.init()
found = run.checkpoint()
step, seen = (0, "") if found is None else (found / "state").read_text().split(",")
step = int(step)
while step < STEPS:
    step += 1
    seen += f" {run.id}@{step}"
    with open("state." + run.id, "w") as file:
        file.write(f"{step},{seen}")
    with tempfile.TemporaryDirectory() as folder:
        os.replace("state." + run.id, pathlib.Path(folder, "state"))
        run.save_checkpoint(folder)
    run.log({"loss": run.config.x / step, "mine": step, "seen": seen, "pid": os.getpid()})
"""
"""Goes on from its checkpoint; what it has seen says whose reports lie behind it."""

FORGETS = """
import tune_bridge
run = tune_bridge.init()
for step in range(1, STEPS + 1):
    run.log({"loss": run.config.x / step, "mine": step})
"""


def space(**items: Node) -> Group:
    return Group(tuple((items or {"x": X}).items()))


def experiment(kind: str | None = None, number: int = 4, **changes: Any) -> Experiment:
    """A search of x, or of what `space` says, with a searcher of this class."""
    args = changes.pop("args", {})
    found = Experiment(
        space=changes.pop("space", space()),
        objective=LOSS,
        program="train.py",
        num_samples=number,
        seed=changes.pop("seed", 1),
    )
    if kind is not None:
        found = found.replace(searcher=Algorithm.of(kind, **args))
    return found.replace(**changes)


@contextmanager
def session(**env: str) -> Iterator[None]:
    """One quiet session of two processors for a module."""
    patch = pytest.MonkeyPatch()
    for key, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0", **env}.items():
        patch.setenv(key, value)
    ray = pytest.importorskip("ray")
    ray.init(
        "local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False
    )
    try:
        yield
    finally:
        ray.shutdown()
        patch.undo()


class Sweeps:
    """Runs sweeps in a folder and reads them back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'sweeps.db'}"

    def run(self, made: Experiment, source: str, **options: Any) -> Result:
        (self.folder / "train.py").write_text(textwrap.dedent(source))
        options = {"grace": 0.3, "cpus_per_trial": 0.5, **options}
        return run_sweep(made, folder=self.folder, backend=self.url, **options)

    def read(self, result: Result) -> tuple[Sweep, list[Run]]:
        with open_backend(self.url) as backend:
            return backend.sweep(result.sweep_id), backend.runs(result.sweep_id)

    def rows(self, run: Run) -> list[Row]:
        with open_backend(self.url) as backend:
            return backend.history(run.id)
