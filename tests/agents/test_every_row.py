"""Every searcher, scheduler and stopper: from a YAML file, with agents as processes.

The program counts up and saves its state; engines are those of the server, a process too.
"""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray.tune")

from tests.agents.world import World, ended
from tune_bridge import SweepConfig
from tune_bridge.backends.base import Run
from tune_bridge.dialects.ray_tune.runs import RUNS
from tune_bridge.engines.drives import DRIVES
from tune_bridge.engines.tune.searchers import SEARCHERS
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.space import Choice, Constant, Group, Parameter, Uniform
from tune_bridge.values import Frozen
from tune_bridge.wire import NewSweep

pytestmark = pytest.mark.slow

PROGRAM = """
    import json, pathlib, tempfile
    import tune_bridge

    run = tune_bridge.init()
    place = run.checkpoint()
    epoch = json.loads((place / "s.json").read_text()) if place else 0
    while epoch < STEPS:
        epoch += 1
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "s.json").write_text(json.dumps(epoch))
            run.save_checkpoint(folder)
        run.log({"loss": 99 * (run.config.x - 0.3) ** 2 + 1 / epoch, "epoch": epoch})
"""
X = Parameter(Uniform(0.0, 1.0))
LOSS = Objective("loss")


def experiment(**changes: Any) -> Experiment:
    base = Experiment(
        space=Group((("x", X),)), objective=LOSS, program="train.py", num_samples=6, seed=1
    )
    return base.replace(**changes)


class Rows:
    """Runs experiments as a person would: a file, a server, an agent."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder

    def run(self, made: Experiment, *arguments: str, steps: int = 1) -> tuple[str, list[Run]]:
        file = self.folder / "sweep.yaml"
        SweepConfig.from_experiment(made).save(file)
        read = SweepConfig.load(file)
        assert read.experiment.searcher == made.searcher
        assert read.experiment.scheduler == made.scheduler
        self.world.program(PROGRAM.replace("STEPS", str(steps)), folder=self.folder)
        sweep = str(self.world.server.create(NewSweep(config=dict(read), seed=1))["id"])
        agent = self.world.agent(sweep, *arguments, folder=self.folder)
        code, _, err = ended(agent, 240)
        assert code == 0, err
        assert self.world.gate(sweep)[0] == "finished"
        runs = self.world.runs(sweep)
        assert {run.state for run in runs} == {"finished"}
        assert all(run.rows >= 1 for run in runs)
        return sweep, runs

    def did(self, sweep: str, kind: str) -> list[dict[str, Any]]:
        """What the engine has answered and ordered, of one kind."""
        return [
            note
            for event in self.world.events(sweep)
            for note in event.get("did", ())
            if kind in (note.get("answer"), note.get("action"))
        ]


@pytest.fixture
def rows(world: World, tmp_path: Path) -> Rows:
    return Rows(world, tmp_path)


# Searchers.

ARGS: dict[str, dict[str, Any]] = {"HyperOptSearch": {"n_initial_points": 2}}
FEW = {"AxSearch": 4, "HEBOSearch": 4}


@pytest.mark.parametrize("kind", [*SEARCHERS, "bayes"])
def test_searchers(rows: Rows, kind: str) -> None:
    number = FEW.get(kind, 6)
    scheduler = Algorithm.of("HyperBandForBOHB", max_t=3) if kind == "TuneBOHB" else None
    made = experiment(
        searcher=Algorithm.of(kind, **ARGS.get(kind, {})), scheduler=scheduler, num_samples=number
    )
    _, runs = rows.run(made, steps=3 if scheduler else 1)
    assert len(runs) == number
    values = [run.config["x"] for run in runs]
    assert all(0 <= value <= 1 for value in values)
    assert len(set(values)) > 1


def test_grid(rows: Rows) -> None:
    grid = Choice(tuple(Constant.of(value) for value in (0.1, 0.2, 0.3)), grid=True)
    kinds = Choice(tuple(Constant.of(value) for value in "ab"), grid=True)
    made = experiment(space=Group((("x", grid), ("kind", kinds))), num_samples=1)
    _, runs = rows.run(made)
    points = [(run.config["x"], run.config["kind"]) for run in runs]
    assert sorted(points) == [(x, kind) for x in (0.1, 0.2, 0.3) for kind in "ab"]


def test_random(rows: Rows) -> None:
    _, runs = rows.run(experiment(num_samples=8), "--jobs", "2")
    assert len({run.config["x"] for run in runs}) == 8


def test_repeater(rows: Rows) -> None:
    searcher = Algorithm.of("Repeater", searcher={"HyperOptSearch": {}}, repeat=2)
    _, runs = rows.run(experiment(searcher=searcher))
    values = [run.config["x"] for run in runs]
    assert values[::2] == values[1::2]
    assert len(set(values)) == 3


def test_concurrency_limiter(rows: Rows) -> None:
    searcher = Algorithm.of("ConcurrencyLimiter", searcher={"HyperOptSearch": {}})
    made = experiment(searcher=searcher, num_samples=4, max_concurrent=1)
    sweep, runs = rows.run(made, "--jobs", "3")
    live = most = 0
    for event in rows.world.events(sweep):
        started = any(note.get("answer") == "start" for note in event.get("did", ()))
        live += started - (event["event"] == "end")
        most = max(most, live)
    assert (len(runs), most) == (4, 1)


# Schedulers.


def stopped(runs: list[Run]) -> list[Run]:
    return [run for run in runs if run.stopped_early]


def by_rungs(rows: Rows, sweep: str, runs: list[Run]) -> None:
    lengths = {run.rows for run in stopped(runs)}
    assert min(lengths) < 9
    assert max(run.rows for run in runs) == 9


def in_halves(rows: Rows, sweep: str, runs: list[Run]) -> None:
    assert rows.did(sweep, "pause")
    assert rows.did(sweep, "resume")
    assert stopped(runs)
    assert max(run.rows for run in runs) == 9


def by_copies(rows: Rows, sweep: str, runs: list[Run]) -> None:
    copies = rows.did(sweep, "exploit")
    assert copies
    assert {copy["donor"] for copy in copies} <= {run.id for run in runs}
    assert all(run.summary["epoch"] == 9 for run in runs)


def to_the_end(rows: Rows, sweep: str, runs: list[Run]) -> None:
    assert [run.rows for run in runs] == [9] * len(runs)
    assert not stopped(runs)


def replayed(rows: Rows, sweep: str, runs: list[Run]) -> None:
    (run,) = runs
    assert run.config["x"] == 0.75
    losses = [row.values["loss"] for row in rows.world.rows(run.id)]
    assert losses[-1] == pytest.approx(99 * (0.75 - 0.3) ** 2 + 1 / 9)
    assert len(losses) == 9


POLICY = json.dumps(["a", "b", 3, 3, {"x": 0.5}, {"x": 0.75}]) + "\n"
STEPS = {"time_attr": "training_iteration"}
POPULATION = {**STEPS, "perturbation_interval": 2}
SCHEDULERS: dict[str, tuple[dict[str, Any], int, Callable[..., None]]] = {
    "FIFOScheduler": ({}, 3, to_the_end),
    "AsyncHyperBandScheduler": ({"max_t": 9, "grace_period": 1}, 6, by_rungs),
    "hyperband": ({"min_iter": 1, "eta": 3}, 6, by_rungs),
    "HyperBandScheduler": ({"max_t": 9}, 9, in_halves),
    "HyperBandForBOHB": ({"max_t": 9}, 9, in_halves),
    "MedianStoppingRule": ({**STEPS, "grace_period": 1, "min_samples_required": 2}, 6, by_rungs),
    "PopulationBasedTraining": (
        {**POPULATION, "hyperparam_mutations": {"x": [0.1, 0.3, 0.5]}},
        4,
        by_copies,
    ),
    "PB2": ({**POPULATION, "hyperparam_bounds": {"x": [0.0, 1.0]}}, 4, by_copies),
    "PopulationBasedTrainingReplay": ({"policy_file": POLICY}, 1, replayed),
    "ResourceChangingScheduler": (
        {"base_scheduler": {"AsyncHyperBandScheduler": {"max_t": 9, "grace_period": 1}}},
        6,
        by_rungs,
    ),
}


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_schedulers(rows: Rows, kind: str) -> None:
    args, number, check = SCHEDULERS[kind]
    scheduler = None if kind == "FIFOScheduler" else Algorithm.of(kind, **args)
    made = experiment(scheduler=scheduler, num_samples=number)
    sweep, runs = rows.run(made, steps=9)
    assert len(runs) == number
    check(rows, sweep, runs)


# Stop criteria.


@pytest.mark.parametrize(
    ("stop", "lengths"),
    [
        ({"training_iteration": 3}, {3}),
        ({"$stopper": {"MaximumIterationStopper": {"max_iter": 2}}}, {2}),
        ({"$stopper": {"TrialPlateauStopper": {"metric": "loss", "std": 1.0, "num_results": 3,
                                               "grace_period": 3}}}, {3}),
        ({"$stopper": {"FunctionStopper": {"function": {"$function": f"{__name__}:beyond_four"}}}},
         {4}),
    ],
    ids=["limit", "MaximumIteration", "TrialPlateau", "Function"],
)  # fmt: skip
def test_stoppers_of_runs(rows: Rows, stop: dict[str, Any], lengths: set[int]) -> None:
    _, runs = rows.run(experiment(stop=Frozen(stop), num_samples=2), steps=9)
    assert {run.rows for run in runs} == lengths


def beyond_four(trial_id: str, result: dict[str, Any]) -> bool:
    """Named in a sweep; imported by the server."""
    return bool(result["training_iteration"] >= 4)


@pytest.mark.parametrize(
    ("stop", "words"),
    [
        ({"ExperimentPlateauStopper": {"metric": "loss", "top": 2, "mode": "min", "std": 10.0}},
         "ExperimentPlateauStopper"),
        ({"TimeoutStopper": {"timeout": 0.5}}, "TimeoutStopper"),
    ],
    ids=["ExperimentPlateau", "Timeout"],
)  # fmt: skip
def test_stoppers_of_sweeps(rows: Rows, stop: dict[str, Any], words: str) -> None:
    made = experiment(stop=Frozen({"$stopper": stop}), num_samples=300)
    sweep, runs = rows.run(made, steps=2)
    assert 1 <= len(runs) < 300
    assert words in rows.world.gate(sweep)[1]


# A real program.

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"


@pytest.mark.parametrize("kind", ["random", "HyperOptSearch", "OptunaSearch"])
def test_digits(rows: Rows, kind: str) -> None:
    """The example's program, stopped by ASHA; it reads its parameters from the run."""
    shutil.copy(EXAMPLE / "train.py", rows.folder / "digits.py")
    base = runpy.run_path(str(EXAMPLE / "experiment.py"))["tune_config"].experiment
    made = base.replace(program="digits.py", num_samples=4, space_in="config")
    if kind != "HyperOptSearch":
        searcher = experiment().searcher if kind == "random" else Algorithm(kind)
        made = made.replace(searcher=searcher)
    SweepConfig.from_experiment(made).save(rows.folder / "digits.yaml")
    config = dict(SweepConfig.load(rows.folder / "digits.yaml"))
    sweep = str(rows.world.server.create(NewSweep(config=config, seed=3))["id"])
    code, _, err = ended(rows.world.agent(sweep, "--jobs", "2", folder=rows.folder), 240)
    assert code == 0, err
    runs = rows.world.runs(sweep)
    assert [run.state for run in runs] == ["finished"] * 4
    assert all(0 < run.summary["mean_loss"] < 5 for run in runs)
    assert all(3 <= run.rows <= 30 for run in runs)


def test_the_table_says_what_is_run_here() -> None:
    run = {*SEARCHERS, *SCHEDULERS, "bayes", "BasicVariantGenerator", "Repeater"}
    run |= {"ConcurrencyLimiter", "ASHAScheduler"}  # the latter is AsyncHyperBandScheduler
    assert {kind for kind, why in DRIVES.items() if not why} == run
    assert set(RUNS) <= set(DRIVES)
