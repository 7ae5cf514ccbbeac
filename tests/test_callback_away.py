"""An experiment goes on while its backend is away, hangs, or has no room, and loses nothing."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray.tune")
pytest.importorskip("psycopg")

from ray import tune

from tests.postgres import Cluster, running
from tests.ray_sweeps import session
from tune_bridge import SweepCallback
from tune_bridge.backends import open_backend
from tune_bridge.cli.main import main

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server of its own: it is stopped."""
    with session(TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1"), running() as made:
        yield made


def until(true: Callable[[], Any]) -> None:
    waiting = threading.Event()
    for _ in range(1200):
        if true():
            return
        waiting.wait(0.1)
    raise AssertionError("it does not happen")


def stages(config: dict[str, Any]) -> None:
    """Reports 30 times in each of three stages, and says when it has; the test opens the next."""
    folder, waiting = Path(config["folder"]), threading.Event()
    for stage in range(3):
        while not (folder / f"go{stage}").exists():
            waiting.wait(0.02)
        for step in range(30):
            tune.report({"loss": 30 * stage + step})
        (folder / f"said{stage}").touch()


def test_a_database_that_is_away_and_one_that_hangs(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = cluster.create()
    callback = SweepCallback("demo", backend=url, close_timeout=3.0)
    options: dict[str, Any] = {
        "config": {"folder": str(tmp_path)}, "callbacks": [callback], "reuse_actors": True,
        "verbose": 0, "storage_path": str(tmp_path / "ray"),
    }  # fmt: skip
    experiment = threading.Thread(target=lambda: tune.run(stages, **options))
    experiment.start()

    def rows() -> int:
        with open_backend(url) as backend:
            return sum(run.rows for sweep in backend.sweeps() for run in backend.runs(sweep.id))

    with caplog.at_level(logging.WARNING):
        (tmp_path / "go0").touch()
        until(lambda: rows() == 30)
        cluster.stop()
        (tmp_path / "go1").touch()
        until((tmp_path / "said1").exists)
        until(lambda: "until it is back" in caplog.text)
        cluster.start()
        until(lambda: rows() == 60)
        with cluster.connect(url.rpartition("/")[2]) as other:
            other.execute("BEGIN")
            other.execute("LOCK TABLE sweeps, runs, history IN ACCESS EXCLUSIVE MODE")
            (tmp_path / "go2").touch()
            experiment.join(120)
            assert not experiment.is_alive()
            assert "tune-bridge sync delivers them" in caplog.text
    assert "s3cret" not in caplog.text
    with pytest.raises(SystemExit) as ended:
        main(["sync", "--backend", url])
    assert ended.value.code == 0
    with open_backend(url) as backend:
        (sweep,) = backend.sweeps()
        (run,) = backend.runs(sweep.id)
        found = backend.history(run.id)
        events = [event["event"] for event in backend.events(sweep.id)]
    assert (sweep.state, run.state, run.rows) == ("finished", "finished", 90)
    assert [(row.step, row.values["loss"]) for row in found] == [(n, n) for n in range(90)]
    assert events == ["created", "started", "ended", "end"]


FULL = """
import json, resource, sys, threading
from pathlib import Path
from tests.test_callback import Trial
from tune_bridge import SweepCallback

folder = Path(sys.argv[1])
callback = SweepCallback("demo", backend=str(folder / "sweeps.db"), close_timeout=60)
callback.setup()
trial = Trial("a")
callback.on_trial_start(0, [trial], trial)
callback.on_trial_result(0, [trial], trial, {"step": 0})
assert callback._writer.flush(60)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # no file may grow beyond
for step in range(1, 200):
    callback.on_trial_result(0, [trial], trial, {"step": step, "text": "x" * 500})
assert not callback._writer.flush(1.0)
if sys.argv[2] == "room":
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
else:
    callback._close_timeout = 2.0
callback.on_trial_complete(0, [trial], trial)
callback.on_experiment_end([trial])
print(callback.sweep_id)
"""


@pytest.mark.parametrize("again", ["room", "none"])
def test_a_disk_without_room(tmp_path: Path, again: str) -> None:
    """Neither the database nor the spool can be written: what fits stays in memory."""
    script = tmp_path / "full.py"
    script.write_text(FULL)
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, script, tmp_path, again],
        env={**os.environ, "PYTHONPATH": paths, "TUNE_BRIDGE_HOME": str(tmp_path / "home")},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with open_backend(str(tmp_path / "sweeps.db")) as backend:
        (run,) = backend.runs(done.stdout.strip())
        steps = [row.values["step"] for row in backend.history(run.id)]
    if again == "room":
        assert run.state == "finished"
        assert steps == list(range(200))
        assert "is back" in done.stderr
    else:
        assert steps == [0]
        assert "are lost" in done.stderr
    assert "Traceback" not in done.stderr
