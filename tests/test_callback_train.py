"""Ray Train inside of Tune: a trial launches the trainer, whose reports are rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray.tune")

from ray import tune

from tests.ray_sweeps import session
from tune_bridge import SweepCallback
from tune_bridge.backends import open_backend

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with session(TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1", RAY_TRAIN_V2_ENABLED="1"):
        yield


def train_on_workers(config: dict[str, Any]) -> None:
    """One worker of two; the first one's metrics are those that Train hands on."""
    import tempfile

    import ray.train

    context = ray.train.get_context()
    for epoch in range(2):
        metrics = {"loss": config["x"] / (epoch + 1), "epoch": epoch,
                   "workers": context.get_world_size()}  # fmt: skip
        if epoch and config["x"] == 2.0:
            raise ValueError("broken in a worker")
        if context.get_world_rank() == 0:
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "state").write_text(str(epoch))
                checkpoint = ray.train.Checkpoint.from_directory(folder)
                ray.train.report(metrics, checkpoint=checkpoint)
        else:
            ray.train.report(metrics)


def launch(config: dict[str, Any]) -> None:
    """What Tune calls: it starts a trainer, and hands its reports on."""
    import ray.train
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    DataParallelTrainer(
        train_on_workers,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}),
        run_config=ray.train.RunConfig(
            name=tune.get_context().get_trial_id(),
            storage_path=config["folder"],
            callbacks=[TuneReportCallback()],
        ),
    ).fit()


def test_reports_checkpoints_and_errors_of_a_trainer(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sweeps.db'}"
    tune.run(
        launch,
        config={"x": tune.grid_search([1.0, 2.0]), "folder": str(tmp_path / "train")},
        metric="loss",
        mode="min",
        callbacks=[SweepCallback("demo", backend=url)],
        resources_per_trial={"cpu": 0.5},
        max_concurrent_trials=1,
        reuse_actors=True,
        raise_on_failed_trial=False,
        verbose=0,
        storage_path=str(tmp_path / "ray"),
    )
    with open_backend(url) as backend:
        (sweep,) = backend.sweeps()
        runs = {run.config["x"]: run for run in backend.runs(sweep.id)}
        rows = {x: [row.values for row in backend.history(run.id)] for x, run in runs.items()}
        events = backend.events(sweep.id)
    good, bad = runs[1.0], runs[2.0]
    assert (good.state, bad.state) == ("finished", "failed")
    assert [(row["loss"], row["epoch"], row["workers"]) for row in rows[1.0]] == [
        (1.0, 0, 2), (0.5, 1, 2),
    ]  # fmt: skip
    assert [row["loss"] for row in rows[2.0]] == [2.0]
    # Train has saved what it was given; Tune itself knows of no checkpoint.
    path = good.meta["checkpoint"]["path"]
    assert Path(path, "state").read_text() == "1"
    assert good.meta["checkpoint"]["step"] == 1
    saved = [e for e in events if e["event"] == "checkpoint" and e["run"] == good.id]
    assert [each["step"] for each in saved] == [1, 2]
    assert saved[-1]["path"] == path
    assert "broken in a worker" in bad.message
