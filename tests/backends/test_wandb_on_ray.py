"""Real experiments on Ray that are reported to W&B, our server in its place."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("wandb")
pytest.importorskip("uvicorn")
pytest.importorskip("ray.tune")

from tests.server.wandb.conftest import Place
from tests.wandb_server import wandb_server

pytestmark = [pytest.mark.ray, pytest.mark.slow]

RAY = {"RAY_ADDRESS": "local", "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with wandb_server(tmp_path_factory.mktemp("wandb")) as place:
        yield place


def test_a_tune_experiment(server: Place) -> None:
    script = server.write(
        "experiment.py",
        """\
        import ray
        from ray import tune
        from tune_bridge import SweepCallback

        def train(config):
            for step in range(3):
                if config["x"] == 2 and step == 1:
                    raise ValueError("broken on purpose")
                tune.report({"loss": config["x"] + step})

        ray.init("local", num_cpus=2, include_dashboard=False)
        tune.run(
            train,
            config={"x": tune.grid_search([1, 2, 3])},
            metric="loss",
            mode="min",
            callbacks=[SweepCallback("on-ray", backend="wandb")],
            raise_on_failed_trial=False,
            verbose=0,
        )
        """,
    )
    process = server.start(sys.executable, script, env=RAY)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    (sweep,) = (
        each for each in server.backend.sweeps(project="on-ray") if each.config["method"] == "grid"
    )
    assert sweep.state == "finished"
    runs = {run.config["x"]: run for run in server.backend.runs(sweep.id)}
    assert {x: run.state for x, run in runs.items()} == {1: "finished", 2: "failed", 3: "finished"}
    rows = server.backend.history(runs[3].id)
    assert [row.values["loss"] for row in rows] == [3, 4, 5]


def test_a_sweep_that_is_run(server: Place) -> None:
    server.write(
        "told.py",
        """\
        import tune_bridge
        run = tune_bridge.init()
        run.log({"loss": run.config.x})
        """,
    )
    path = server.write(
        "told.yaml",
        """\
        program: told.py
        method: grid
        metric: {name: loss, goal: minimize}
        parameters:
          x: {values: [1, 2]}
        """,
    )
    process = server.start(
        sys.executable, "-m", "tune_bridge", "run", path, "--backend", "wandb", "--project", "told",
        "--json", "--quiet", env=RAY,
    )  # fmt: skip
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    answer = json.loads(said[said.index("{") : said.rindex("}") + 1])
    assert answer["best"]["config"] == {"x": 1}, answer
    sweeps = server.backend.sweeps(project="told")  # newest first
    sweep = next(each for each in sweeps if each.config["method"] == "grid")
    runs = server.backend.runs(sweep.id)  # two at once: whichever comes first
    assert sorted((run.config["x"], run.state) for run in runs) == [
        (1, "finished"), (2, "finished"),
    ]  # fmt: skip
