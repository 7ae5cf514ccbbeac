"""`SweepScheduler`: the same decisions as the scheduler in it, said why, and commands."""

from __future__ import annotations

import pickle
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

pytest.importorskip("ray.tune")

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    ResourceChangingScheduler,
)

from tests.ray_sweeps import session
from tune_bridge import SweepCallback, SweepScheduler
from tune_bridge.backends import open_backend
from tune_bridge.backends.base import Backend, Run, Sweep
from tune_bridge.controller.steering import ask
from tune_bridge.engines.base import Checkpoint
from tune_bridge.engines.tune.driver import HostedTrial, Stage
from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.runner import run_sweep

POPULATION = {"time_attr": "training_iteration", "perturbation_interval": 2, "log_config": False}
MUTATIONS = {"x": [0.1, 0.2, 0.4, 0.8]}
KINDS: dict[str, Callable[[], Any]] = {
    "fifo": FIFOScheduler,
    "asha": lambda: AsyncHyperBandScheduler(max_t=9, grace_period=1, reduction_factor=3),
    "brackets": lambda: AsyncHyperBandScheduler(max_t=9, reduction_factor=3, brackets=2),
    "hyperband": lambda: HyperBandScheduler(max_t=9, reduction_factor=3),
    "bohb": lambda: HyperBandForBOHB(max_t=9, reduction_factor=3),
    "median": lambda: MedianStoppingRule(
        time_attr="training_iteration", grace_period=2, min_samples_required=2
    ),
    "median soft": lambda: MedianStoppingRule(
        time_attr="training_iteration", grace_period=1, min_samples_required=2, hard_stop=False
    ),
    "pbt": lambda: PopulationBasedTraining(hyperparam_mutations=MUTATIONS, **POPULATION),
    "pbt synch": lambda: PopulationBasedTraining(
        hyperparam_mutations=MUTATIONS, synch=True, **POPULATION
    ),
    "pb2": lambda: pytest.importorskip("ray.tune.schedulers.pb2").PB2(
        hyperparam_bounds={"x": [0.0, 1.0]}, **POPULATION
    ),
    "resources": lambda: ResourceChangingScheduler(
        AsyncHyperBandScheduler(max_t=9, grace_period=1, reduction_factor=3),
        resources_allocation_function=None,
    ),
}


class Play:
    """An experiment without Ray: who runs is chosen, reports, and is stopped or paused."""

    def __init__(self, scheduler: Any, number: int = 9, places: int = 3) -> None:
        self.scheduler = scheduler
        self.stage = Stage(scheduler)
        self.log: list[tuple[Any, ...]] = []
        self.told: list[dict[str, Any]] = []
        scheduler.set_search_properties("loss", "min")
        if isinstance(scheduler, SweepScheduler):
            scheduler.listener = self.told.append
        self.places = places
        for index in range(number):
            trial = self.stage.add(f"t{index}", {"x": (index * 7 % number + 1) / (number + 1)})
            scheduler.on_trial_add(self.stage, trial)

    def run(self) -> list[tuple[Any, ...]]:
        random.seed(1)
        np.random.seed(1)
        for turn in range(400):
            self._begin()
            running = [t for t in self.stage.trials if t.status == Trial.RUNNING]
            if not running:
                break
            self._report(running[turn % len(running)])
        return self.log

    def _begin(self) -> None:
        while sum(t.status == Trial.RUNNING for t in self.stage.trials) < self.places:
            trial = self.scheduler.choose_trial_to_run(self.stage)
            self.log.append(("choose", trial and trial.trial_id))
            if trial is None:
                return
            trial.restore()
            trial.set_status(Trial.RUNNING)

    def _report(self, trial: HostedTrial) -> None:
        iteration = int(trial.last_result.get("training_iteration", 0)) + 1
        loss = trial.config["x"] / iteration
        result = {"training_iteration": iteration, "time_total_s": iteration, "loss": loss}
        result |= {"config": trial.config, "trial_id": trial.trial_id}
        before = dict(trial.config)
        decision = self.scheduler.on_trial_result(self.stage, trial, result)
        if iteration >= 9:
            decision = "STOP"
        stopped = [t.trial_id for t in self.stage.stopped]
        self.stage.stopped.clear()
        changed = {t.trial_id: dict(t.config) for t in self.stage.changed}
        for each in self.stage.changed:
            each.replaced = None
        self.stage.changed.clear()
        self.log.append((trial.trial_id, iteration, before, decision, stopped, changed))
        trial.reported(result)
        if trial.status == Trial.RUNNING:
            trial.save(Checkpoint(f"{trial.trial_id}@{iteration}", trial.trial_id, iteration))
        if decision == "STOP":
            self.scheduler.on_trial_complete(self.stage, trial, result)
            self.stage.close(trial, Trial.TERMINATED)
            self.log.append(("closed", trial.trial_id))
        elif decision == "PAUSE":
            trial.set_status(Trial.PAUSED)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_the_same_decisions(name: str) -> None:
    if name == "pb2":
        pytest.importorskip("sklearn")
    number = 4 if name == "pb2" else 9  # its processes take long to fit
    bare = Play(KINDS[name](), number).run()
    play = Play(SweepScheduler(KINDS[name]()), number)
    assert play.run() == bare
    assert len(bare) > 20
    stops = {run for entry in bare if len(entry) == 6 for run in entry[4]}
    stops |= {entry[0] for entry in bare if len(entry) == 6 and entry[3] == "STOP" and entry[1] < 9}
    assert stops <= {said["run"] for said in play.told if said["action"] == "stop"}
    for said in play.told:
        assert said["reason"]
    if name in ("asha", "brackets", "hyperband", "bohb", "resources"):
        assert stops
        assert all({"rank", "of"} & said["info"].keys() or "rung" in said["info"] or "max_t" in
                   said["info"] for said in play.told if said["action"] == "stop")  # fmt: skip
    if name.startswith(("pbt", "pb2")):
        changed = [entry[5] for entry in bare if len(entry) == 6 and entry[5]]
        assert changed
        reason, info = next(iter(play.scheduler.exploits.values()))
        assert "goes on from run" in reason
        assert {"steps", "donor_config"} <= info.keys()


def test_it_is_the_scheduler_in_it_for_all_that_look() -> None:
    inner = AsyncHyperBandScheduler(max_t=9, metric="loss", mode="min")
    scheduler = SweepScheduler(inner)
    assert (scheduler.metric, scheduler._max_t) == ("loss", 9)
    assert not SweepScheduler("hyperband").supports_buffered_results
    copy = cloudpickle.loads(cloudpickle.dumps(scheduler))
    assert (copy.metric, copy._max_t, copy.reasons) == ("loss", 9, {})
    assert isinstance(pickle.loads(pickle.dumps(SweepScheduler())).inner, FIFOScheduler)
    with pytest.raises(AttributeError):
        _ = scheduler.nothing


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    with open_backend(str(tmp_path / "sweeps.db")) as backend:
        sweep = backend.create_sweep({}, meta={"steered_by": "SweepScheduler"})
        with pytest.raises(InputError, match="Ray Tune drives sweep"):
            ask(backend, sweep, "enqueue", {"config": {}})
        with pytest.raises(InputError, match="number"):
            ask(backend, sweep, "concurrency", {})
        with pytest.raises(NotFoundError):
            ask(backend, sweep, "stop_run", {"run": "none"})
        backend.update_sweep(sweep.id, state="finished")
        with pytest.raises(InputError, match="is over"):
            ask(backend, backend.sweep(sweep.id), "pause", {})


# In real experiments.


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    with session(TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1"):
        yield


class World:
    """An experiment in a thread, and who asks it for something."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'sweeps.db'}"
        self.callback = SweepCallback("demo", backend=self.url)
        self.backend: Backend = open_backend(self.url)
        self.thread: threading.Thread | None = None

    def start(self, train: Any, **arguments: Any) -> None:
        values: dict[str, Any] = {
            "scheduler": SweepScheduler(),
            "callbacks": [self.callback],
            "verbose": 0,
            "storage_path": str(self.folder / "ray"),
            "reuse_actors": True,
            "resources_per_trial": {"cpu": 0.5},
            "raise_on_failed_trial": False,
            **arguments,
        }
        self.thread = threading.Thread(target=lambda: tune.run(train, **values))
        self.thread.start()

    def until(self, true: Callable[[], Any]) -> Any:
        waiting = threading.Event()
        for _ in range(1200):
            if found := true():
                return found
            waiting.wait(0.1)
        raise AssertionError("it does not happen")

    @property
    def sweep(self) -> Sweep | None:
        found = self.backend.sweeps()
        return found[0] if found else None

    def runs(self, state: str = "") -> list[Run]:
        sweep = self.sweep
        found = self.backend.runs(sweep.id) if sweep else []
        return [run for run in found if state in ("", run.state)]

    def ask(self, verb: Any, **args: Any) -> None:
        assert self.sweep is not None
        ask(self.backend, self.sweep, verb, args)

    def commands(self) -> list[str]:
        assert self.sweep is not None
        events = self.backend.events(self.sweep.id)
        return [event["verb"] for event in events if event["event"] == "command"]

    def end(self) -> tuple[Sweep, list[Run]]:
        assert self.thread is not None
        self.thread.join(120)
        assert not self.thread.is_alive()
        assert self.sweep is not None
        return self.sweep, self.runs()


@pytest.fixture
def world(ray: None, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.backend.close()


def gated(config: dict[str, Any]) -> None:
    """Goes on until the file with its name is there."""
    gate = Path(config["folder"], str(config["n"]))
    step = 0
    while not gate.exists():
        step += 1
        tune.report({"loss": config["n"], "step": step})
        threading.Event().wait(0.1)


@pytest.mark.ray
@pytest.mark.slow
def test_commands(world: World) -> None:
    numbers = tune.grid_search([0, 1, 2, 3])
    world.start(gated, config={"folder": str(world.folder), "n": numbers}, max_concurrent_trials=2)

    def of(number: int) -> Run:
        return next(run for run in world.runs() if run.config["n"] == number)

    world.until(lambda: len(world.runs("running")) == 2 and all(r.rows for r in world.runs()[:2]))
    world.ask("pause")
    world.until(lambda: world.sweep.state == "paused")
    world.ask("stop_run", run=of(0).id)
    world.until(lambda: of(0).state == "finished")
    assert (of(0).message, of(0).stopped_early) == ("stopped by command", True)
    world.ask("concurrency", number=1)
    world.until(lambda: "concurrency" in world.commands())
    world.ask("resume")
    world.until(lambda: world.sweep.state == "running")
    (world.folder / "1").touch()
    world.until(lambda: of(2).state == "running" and of(2).rows)
    assert of(1).state == "finished"
    assert len(world.runs("running")) == 1
    world.ask("stop")
    world.until(lambda: "stop" in world.commands())
    (world.folder / "2").touch()
    sweep, runs = world.end()
    assert (sweep.state, sweep.message) == ("finished", "stopped by command")
    assert {run.config["n"]: (run.state, run.message) for run in runs if run.rows} == {
        0: ("finished", "stopped by command"), 1: ("finished", ""), 2: ("finished", ""),
    }  # fmt: skip
    assert world.commands() == ["pause", "stop_run", "concurrency", "resume", "stop"]


@pytest.mark.ray
@pytest.mark.slow
def test_a_cancel(world: World) -> None:
    world.start(gated, config={"folder": str(world.folder), "n": tune.grid_search([0, 1, 2])})
    world.until(lambda: len(world.runs("running")) >= 2)
    world.ask("cancel")
    sweep, runs = world.end()
    assert (sweep.state, sweep.message) == ("canceled", "canceled by command")
    assert {run.state for run in runs} == {"killed"}


def falling(config: dict[str, Any]) -> None:
    for step in range(4):
        tune.report({"loss": config["n"] - step / 10})


@pytest.mark.ray
@pytest.mark.slow
def test_decisions_are_events(world: World) -> None:
    scheduler = SweepScheduler(AsyncHyperBandScheduler(max_t=4, reduction_factor=2))
    world.start(
        falling,
        config={"n": tune.grid_search([1.0, 2.0])},
        scheduler=scheduler,
        metric="loss",
        mode="min",
        max_concurrent_trials=1,
    )
    sweep, runs = world.end()
    assert [(run.rows, run.stopped_early) for run in runs] == [(4, False), (1, True)]
    reason = "loss 2 is worse than 1, the best 1/2 at training_iteration 1 (rank 2 of 2)"
    assert runs[1].message == f"stopped early by AsyncHyperBandScheduler at iteration 1: {reason}"
    events = world.backend.events(sweep.id)
    said = [did for event in events for did in event.get("did", ())]
    assert [(did["action"], did["run"]) for did in said] == [
        ("stop", runs[0].id), ("stop", runs[1].id),
    ]  # fmt: skip
    assert said[1]["reason"] == reason
    assert (said[1]["info"]["rung"], said[1]["info"]["cutoff"], said[1]["info"]["rank"]) == (
        1,
        1,
        2,
    )
    kinds = [event["event"] for event in events if event.get("run") == runs[1].id]
    assert kinds == ["created", "started", "decision", "ended"]
    assert events[-1]["event"] == "end"
    assert sweep.meta["scheduler"] == "AsyncHyperBandScheduler"
    assert "scheduler" in sweep.config["controller"]["tune"]


SILENT = """
import time, tune_bridge
run = tune_bridge.init()
run.log({"loss": run.config.n})
run.log({"other": 1})
time.sleep(600)
"""


@pytest.mark.ray
@pytest.mark.slow
def test_a_silent_program_is_stopped_by_command(world: World) -> None:
    (world.folder / "train.py").write_text(SILENT)
    sweep = {
        "program": "train.py",
        "method": "grid",
        "metric": {"name": "loss"},
        "parameters": {"n": {"values": [0, 1]}},
    }
    options: dict[str, Any] = {"folder": world.folder, "backend": world.url, "grace": 0.3}

    def run() -> None:
        run_sweep(sweep, max_concurrent=1, cpus_per_trial=0.5, **options)

    world.thread = threading.Thread(target=run)
    world.thread.start()
    for _ in range(2):
        (running,) = world.until(lambda: [run for run in world.runs("running") if run.rows])
        world.ask("stop_run", run=running.id)
        world.until(lambda id_=running.id: world.backend.run(id_).state == "finished")
    kept, runs = world.end()
    assert kept.state == "finished"
    assert [(run.rows, run.message, run.stopped_early) for run in runs] == [
        (2, "stopped by command", True)
    ] * 2
