"""Sweeps at W&B that our engines steer; the server's own queue plays the agents."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("wandb")
pytest.importorskip("uvicorn")
pytest.importorskip("ray.tune")

from tests.server.wandb.conftest import Place
from tests.wandb_server import wandb_server
from tune_bridge import tune
from tune_bridge.backends.base import Row, new_id
from tune_bridge.backends.wandb import WandbPlace
from tune_bridge.backends.wandb.backend import WandbBackend
from tune_bridge.cli.main import cli
from tune_bridge.controller.wandb import Outcome, WandbController, door_of
from tune_bridge.errors import InputError, NotFoundError, UnsupportedError
from tune_bridge.tune.schedulers import ASHAScheduler, PopulationBasedTraining
from tune_bridge.tune.search.hyperopt import HyperOptSearch
from tune_bridge.wire import Claim

pytestmark = pytest.mark.slow

_ASHA = {"grace_period": 1, "max_t": 4, "reduction_factor": 2}


_PBT = {"time_attr": "training_iteration", "hyperparam_mutations": {"lr": [0.1, 0.2]}}


def _config(door: str, **arguments: Any) -> dict[str, Any]:
    """A sweep as the writer makes it, for one of the doors."""
    arguments.setdefault("search_alg", HyperOptSearch())
    made = tune.run(
        "train.py",
        config={"lr": tune.uniform(0, 1)},
        metric="loss",
        mode="min",
        num_samples=4,
        **arguments,
    )
    config = dict(made)
    if door == "local":
        config["controller"] = {**config["controller"], "type": "local"}
    else:
        config["method"] = "custom"
    return config


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with wandb_server(tmp_path_factory.mktemp("wandb")) as place:
        yield place


@pytest.fixture
def backend(server: Place) -> Iterator[WandbBackend]:
    with WandbBackend(WandbPlace(project=new_id(), server=server.url)) as backend:
        yield backend


class _Agent:
    """Takes runs as an agent of W&B does, and reports one row at each turn."""

    def __init__(self, server: Place, sweep_id: str) -> None:
        self._sweep = server.controller.sweep(sweep_id)
        self._claim: Claim | None = None
        self._rows = self._claims = 0
        self.stopped: list[str] = []
        self.configs: list[dict[str, Any]] = []

    def turn(self, rows: int = 4) -> None:
        if self._claim is None:
            answer = self._sweep.claim("wandb-x", "host", f"request {self._claims}")
            self._claims += 1
            if isinstance(answer, Claim):
                self._claim, self._rows = answer, 0
                self.configs.append(answer.config)
            return
        run, attempt = self._claim.run, self._claim.attempt
        loss = 1.0 * len(self.configs) + self._claim.config["lr"]
        row = Row(self._rows, 100.0 + self._rows, {"loss": loss})
        verdict = self._sweep.report(run, attempt, self._rows, [row])
        self._rows += 1
        if verdict.kind != "continue":
            self.stopped.append(run)
        if verdict.kind != "continue" or self._rows == rows:
            state = "finished" if verdict.kind == "continue" else "killed"
            self._sweep.end(run, attempt, state)
            self._claim = None


def _turns(steers: WandbController, agent: _Agent, most: int = 200) -> Outcome:
    for _ in range(most):
        outcome = steers.step()
        if outcome is not None:
            return outcome
        agent.turn()
    raise AssertionError("it does not end")


@pytest.mark.parametrize("door", ["local", "enqueue"])
def test_a_sweep_is_steered(
    server: Place, backend: WandbBackend, tmp_path: Path, door: str
) -> None:
    sweep = backend.create_sweep(_config(door, scheduler=ASHAScheduler(**_ASHA)))
    steers = WandbController(backend, sweep.id, seed=7, folder=tmp_path)
    assert steers.door == door
    agent = _Agent(server, sweep.id)
    outcome = _turns(steers, agent)
    assert (outcome.finished, outcome.runs) == (True, 4)
    assert len(agent.configs) == len({config["lr"] for config in agent.configs}) == 4
    # Each run is worse than the one before it.
    assert agent.stopped
    assert outcome.ended["stopped"] >= len(agent.stopped)
    assert backend.sweep(sweep.id).state == "finished"


def test_another_process_goes_on(server: Place, backend: WandbBackend, tmp_path: Path) -> None:
    sweep = backend.create_sweep(_config("local"))
    agent = _Agent(server, sweep.id)
    first = WandbController(backend, sweep.id, folder=tmp_path)
    while len(agent.configs) < 2:
        assert first.step() is None
        agent.turn()
    (log,) = tmp_path.iterdir()
    with log.open("ab") as file:
        file.write(b'{"event":"ask","ti')  # as a crash leaves it
    again = WandbController(backend, sweep.id, folder=tmp_path)
    assert again.known > 1
    outcome = _turns(again, agent)
    assert (outcome.finished, outcome.runs, outcome.ended) == (True, 4, {"finished": 4})
    assert len(backend.runs(sweep.id)) == 4


def test_an_interrupt_leaves_the_sweep(backend: WandbBackend, tmp_path: Path) -> None:
    sweep = backend.create_sweep(_config("local"))
    steers = WandbController(backend, sweep.id, folder=tmp_path)
    assert steers.step() is None
    event = threading.Event()
    event.set()
    assert steers.run(0.1, event) == Outcome("interrupted", False, 1, {})
    assert backend.sweep(sweep.id).state == "running"
    backend.update_sweep(sweep.id, state="canceled")
    outcome = steers.step()
    assert outcome is not None
    assert (outcome.finished, outcome.reason) == (False, "the sweep is canceled")


def test_what_cannot_be_steered(backend: WandbBackend, tmp_path: Path) -> None:
    paused = backend.create_sweep(
        _config("local", search_alg=None, scheduler=PopulationBasedTraining(**_PBT))
    )
    with pytest.raises(UnsupportedError, match="agents cannot pause a run"):
        WandbController(backend, paused.id, folder=tmp_path)
    config = _config("enqueue")
    del config["controller"]["tune"]
    nothing = backend.create_sweep(config)
    with pytest.raises(InputError, match="does not say how it is searched"):
        WandbController(backend, nothing.id, folder=tmp_path)
    with pytest.raises(NotFoundError, match="a/b/nosuch"):
        WandbController(backend, "a/b/nosuch", folder=tmp_path)


def test_doors() -> None:
    assert door_of({"controller": {"type": "local"}})[0] == "local"
    assert door_of({"method": "custom"})[0] == "enqueue"
    door, why = door_of({"method": "random"})
    assert door == "enqueue"
    assert "method random goes on" in why
    assert door_of({"scheduler": {"engine": "wandb"}})[0] == "scheduler"


def test_command(backend: WandbBackend) -> None:
    done = CliRunner().invoke(cli, ["controller", "a/b/nosuch", "--at", backend.url])
    assert isinstance(done.exception, NotFoundError)
    done = CliRunner().invoke(cli, ["controller", "x", "--at", "sqlite:///x.db"])
    assert "no place at W&B" in str(done.exception)
