"""`run` with programs that know wandb only: reports, stops, and one clear refusal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ray_sweeps import Sweeps, experiment, session, space
from tune_bridge.experiment import Algorithm
from tune_bridge.server_process import find_server
from tune_bridge.space import Choice, Constant

pytest.importorskip("wandb")
pytestmark = [pytest.mark.ray, pytest.mark.slow]

HEAD = """
import os, time
os.environ.update(WANDB_SILENT="true", WANDB_CONFIG_DIR=os.getcwd(), WANDB_CACHE_DIR=os.getcwd())
import wandb
run = wandb.init()
"""


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with session():
        yield


@pytest.fixture
def sweeps(tmp_path: Path) -> Iterator[Sweeps]:
    made = Sweeps(tmp_path)
    yield made
    server = find_server(made.url)
    if server is not None:
        os.kill(server.pid, signal.SIGTERM)


def test_a_scheduler_stops_them_and_the_server_keeps_the_rest(sweeps: Sweeps) -> None:
    source = """
    for step in range(100000):
        run.log({"loss": run.config.x, "net": {"step": step}})
        time.sleep(0.02 if step < 50 else 1.0)
    """
    scheduler = Algorithm.of("AsyncHyperBandScheduler", max_t=9, grace_period=3, reduction_factor=3)
    node = Choice((Constant.of(0.1), Constant.of(0.9)), grid=True)
    made = experiment(None, 1, space=space(x=node), scheduler=scheduler)
    result = sweeps.run(made, HEAD + source.replace("\n    ", "\n"), max_concurrent=1)
    sweep, runs = sweeps.read(result)
    assert (sweep.state, result.counts) == ("finished", {"finished": 2}), result.errors
    ends = {run.config["x"]: (run.rows, run.stopped_early) for run in runs}
    assert ends == {0.1: (9, False), 0.9: (3, True)}
    for run in runs:
        assert [row.step for row in sweeps.rows(run)] == list(range(run.rows))
        assert run.summary["net/step"] >= run.rows - 1
        assert sweeps.rows(run)[0].values["training_iteration"] == 1
        assert run.meta["trial_id"] in run.id


def test_a_program_ends_by_itself(sweeps: Sweeps) -> None:
    source = """
for step in range(3):
    run.log({"loss": run.config.x + step})
"""
    result = sweeps.run(experiment(None, 1), HEAD + source)
    _, (run,) = sweeps.read(result)
    assert (run.state, run.rows, run.exit_code, run.message) == ("finished", 3, 0, "")
    assert result.best is not None
    assert result.best.value == run.config["x"] + 2


def test_who_is_to_be_paused_has_to_report_to_us(sweeps: Sweeps) -> None:
    scheduler = Algorithm.of("HyperBandScheduler", max_t=3)
    made = experiment(None, 1, scheduler=scheduler)
    result = sweeps.run(made, HEAD + "run.log({'loss': 1})\ntime.sleep(600)\n")
    sweep, _ = sweeps.read(result)
    assert sweep.state == "failed"
    assert "has reported by wandb, which does not wait" in sweep.message
    assert len(result.errors) == 1
