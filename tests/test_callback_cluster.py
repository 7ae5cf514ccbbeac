"""A Tune experiment on two nodes is one sweep; its trials say where they were."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray.tune")

import ray
from ray import tune

from tune_bridge import SweepCallback
from tune_bridge.backends import open_backend

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def far() -> Iterator[str]:
    """The id of the second node, which alone has the resource "far"."""
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    for key in ("RAY_USAGE_STATS_ENABLED", "RAY_AIR_NEW_OUTPUT"):
        patch.setenv(key, "0")
    patch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    cluster: Any = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    second = cluster.add_node(num_cpus=1, resources={"far": 1})
    cluster.wait_for_nodes()
    ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
    yield second.node_id
    ray.shutdown()
    cluster.shutdown()
    patch.undo()


def function(config: dict[str, Any]) -> None:
    for step in range(3):
        tune.report({"loss": config["x"] + step, "node": ray.get_runtime_context().get_node_id()})


class Class(tune.Trainable):
    """The same as a class."""

    def setup(self, config: dict[str, Any]) -> None:
        self.config = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return True

    def step(self) -> dict[str, Any]:
        node = ray.get_runtime_context().get_node_id()
        return {"loss": self.config["x"] + self.iteration, "node": node}

    def save_checkpoint(self, folder: str) -> None:
        Path(folder, "state").touch()

    def load_checkpoint(self, folder: str) -> None:
        pass


@pytest.mark.parametrize("train", [function, Class])
def test_trials_on_the_second_node(far: str, tmp_path: Path, train: Any) -> None:
    url = f"sqlite:///{tmp_path / 'sweeps.db'}"
    tune.run(
        train,
        config={"x": tune.grid_search([1, 2, 3, 4])},
        metric="loss",
        mode="min",
        stop={"training_iteration": 3},
        resources_per_trial={"cpu": 0.25, "far": 0.5},
        callbacks=[SweepCallback("demo", backend=url)],
        reuse_actors=True,
        verbose=0,
        storage_path=str(tmp_path / "ray"),
    )
    with open_backend(url) as backend:
        (sweep,) = backend.sweeps()
        runs = backend.runs(sweep.id)
        rows = {run.config["x"]: backend.history(run.id) for run in runs}
    assert sweep.state == "finished"
    assert [run.state for run in runs] == ["finished"] * 4
    assert {run.message for run in runs} == {"reached training_iteration >= 3"}
    assert sorted(rows) == [1, 2, 3, 4]
    for x, found in rows.items():
        assert [row.step for row in found] == [0, 1, 2]
        assert [row.values["loss"] for row in found] == [x, x + 1, x + 2]
        assert {row.values["node"] for row in found} == {far}
    for run in runs:
        assert run.meta["host"] == socket.gethostname()
        assert run.meta["node_ip"]
