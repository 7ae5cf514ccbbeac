"""An experiment whose process was killed goes on in the same sweep, wherever it lies then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray.tune")

from tune_bridge.backends import open_backend
from tune_bridge.controller.liveness import unheard_since

pytestmark = [pytest.mark.ray, pytest.mark.slow]

DRIVER = """
import sys
from pathlib import Path

import ray
from ray import tune

from tune_bridge import SweepCallback

HERE = Path(__file__).parent


class Train(tune.Trainable):
    def setup(self, config):
        self.x = config["x"]

    def step(self):
        import time

        while self.iteration >= 4 and not (HERE / "go").exists():
            time.sleep(0.05)
        return {"loss": self.x / (self.iteration + 1)}

    def save_checkpoint(self, folder):
        Path(folder, "state").write_text("kept")

    def load_checkpoint(self, folder):
        assert Path(folder, "state").read_text() == "kept"


ray.init("local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
if len(sys.argv) > 1:
    tuner = tune.Tuner.restore(sys.argv[1], tune.with_resources(Train, {"cpu": 0.5}))
else:
    tuner = tune.Tuner(
        tune.with_resources(Train, {"cpu": 0.5}),
        param_space={"x": tune.grid_search([1.0, 2.0])},
        tune_config=tune.TuneConfig(metric="loss", mode="min", max_concurrent_trials=2),
        run_config=tune.RunConfig(
            name="first",
            storage_path=str(HERE / "ray"),
            stop={"training_iteration": 6},
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=2),
            callbacks=[SweepCallback("demo", backend=str(HERE / "sweeps.db"))],
            verbose=0,
        ),
    )
tuner.fit()
"""


def test_a_killed_experiment_goes_on_in_its_sweep(tmp_path: Path) -> None:
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    env = {
        **os.environ,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_GLOBAL_CHECKPOINT_S": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [sys.executable, str(driver)], cwd=tmp_path, env=env, stdout=log, stderr=log
    )
    backend = open_backend(str(tmp_path / "sweeps.db"))
    try:
        until = time.monotonic() + 240
        while not (sweeps := backend.sweeps()) or sorted(
            run.rows for run in backend.runs(sweeps[0].id)
        )[-2:] != [4, 4]:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < until, "the trials do not begin"
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        (sweep,) = sweeps
        kept = {run.id: backend.history(run.id) for run in backend.runs(sweep.id)}
        assert sweep.state == "running"
        silent = backend.sweep(sweep.id)
        assert unheard_since(silent, time.time() + 600) == silent.meta["heard"]["at"]

        (tmp_path / "ray" / "first").rename(tmp_path / "moved")
        (tmp_path / "go").touch()
        subprocess.run(
            [sys.executable, str(driver), str(tmp_path / "moved")],
            cwd="/",
            env=env,
            stdout=log,
            stderr=log,
            check=True,
            timeout=300,
        )
        (again,) = backend.sweeps()
        assert (again.id, again.state) == (sweep.id, "finished")
        assert again.meta["heard"]["at"] > silent.meta["heard"]["at"]
        runs = backend.runs(sweep.id)
        assert sorted(run.config["x"] for run in runs) == [1.0, 2.0]
        assert {run.state for run in runs} == {"finished"}
        assert kept.keys() <= {run.id for run in runs}
        for run in runs:
            rows = backend.history(run.id)
            assert rows[: len(kept.get(run.id, []))] == kept.get(run.id, [])
            assert [row.step for row in rows] == list(range(len(rows)))
            iterations = [row.values["training_iteration"] for row in rows]
            assert iterations[-1] == 6
            # Behind the checkpoint it is done again, with steps of its own.
            assert iterations in ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 3, 4, 5, 6])
            assert "exploit" not in run.meta
        events = [event["event"] for event in backend.events(sweep.id)]
        assert events.count("restored") >= 3
        assert events[-1] == "end"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        backend.close()
        log.close()
