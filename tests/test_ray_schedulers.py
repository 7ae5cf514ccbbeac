"""Every scheduler and Stopper on a real Ray session, with programs that go on after pauses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ray_sweeps import FORGETS, SAVES, Sweeps, experiment, session, space
from tune_bridge import tune
from tune_bridge.backends.base import Run
from tune_bridge.dialects.base import get_dialect
from tune_bridge.experiment import Algorithm, Objective
from tune_bridge.space import Choice, Constant
from tune_bridge.values import Frozen

pytestmark = [pytest.mark.ray, pytest.mark.slow]

THREE = SAVES.replace("STEPS", "3")


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with session():
        yield


@pytest.fixture
def sweeps(tmp_path: Path) -> Sweeps:
    return Sweeps(tmp_path)


def grid(*values: Any) -> dict[str, Any]:
    """A grid over x, in order."""
    node = Choice(tuple(Constant.of(value) for value in values), grid=True)
    return {"space": space(x=node), "number": 1}


def check_whole(sweeps: Sweeps, run: Run, *, own: bool = True) -> list[int]:
    """The reports of a run in order: steps without gaps, each state the one of the row before."""
    rows = sweeps.rows(run)
    assert [row.step for row in rows] == list(range(len(rows)))
    mine = [int(row.values["mine"]) for row in rows]
    if own:
        assert mine == list(range(1, len(rows) + 1))
        assert {part.split("@")[0] for row in rows for part in row.values["seen"].split()} == {
            run.id
        }
    return mine


def programs(sweeps: Sweeps, run: Run) -> int:
    """How many processes a run had."""
    return len({row.values["pid"] for row in sweeps.rows(run)})


@pytest.mark.parametrize(
    ("kind", "searcher"),
    [
        ("HyperBandScheduler", None),
        ("HyperBandScheduler", "HyperOptSearch"),
        ("HyperBandForBOHB", None),
        ("HyperBandForBOHB", "TuneBOHB"),
    ],
)
def test_hyperband_pauses_and_goes_on(sweeps: Sweeps, kind: str, searcher: str | None) -> None:
    """The second bracket waits at report 1; its best goes on, in a program of its own."""
    scheduler = Algorithm.of(kind, max_t=3, reduction_factor=3)
    result = sweeps.run(experiment(searcher, 5, scheduler=scheduler), THREE)
    sweep, runs = sweeps.read(result)
    assert (sweep.state, result.counts) == ("finished", {"finished": 5}), result.errors
    lengths = [len(check_whole(sweeps, run)) for run in runs]
    assert sorted(lengths) == [1, 1, 3, 3, 3]
    early = [run for run in runs if run.stopped_early]
    assert [len(check_whole(sweeps, run)) for run in early] == [1, 1]
    assert result.stopped_early == 2
    assert all("stopped early by" in run.message and kind in run.message for run in early)


LOST = """
    try:
        os.close(os.open("died", os.O_CREAT | os.O_EXCL))
        raise SystemExit(3)
    except FileExistsError:
        pass
"""


def test_hyperband_goes_on_when_a_run_is_lost_after_a_halving(sweeps: Sweeps) -> None:
    """Two of four are resumed, and one of them dies: Ray leaves the other one paused for ever."""
    source = SAVES.replace("STEPS", "4").replace("step, seen =", f"if found:{LOST}step, seen =", 1)
    scheduler = Algorithm.of("HyperBandScheduler", max_t=4, reduction_factor=2)
    result = sweeps.run(experiment(None, 10, scheduler=scheduler), source)
    sweep, _ = sweeps.read(result)
    assert (sweep.state, result.counts) == ("finished", {"failed": 1, "finished": 9})


def changes(sweeps: Sweeps, runs: list[Run]) -> list[tuple[Run, dict[str, Any]]]:
    """Runs that took over the state of others, and how."""
    return [(run, run.meta["exploit"]) for run in runs if "exploit" in run.meta]


ABREAST = """
    # Nobody goes ahead of the other: a member that ran to its end at once would copy nobody.
    import time
    pathlib.Path(f"at.{run.id}.{step}").touch()
    until = time.monotonic() + 120
    while time.monotonic() < until:
        steps = [path.name.split(".") for path in pathlib.Path().glob("at.*")]
        if len({name for _, name, at in steps if int(at) >= step - 1}) == 2:
            break
        time.sleep(0.01)
"""


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("PopulationBasedTraining", {"hyperparam_mutations": {"x": [0.1, 0.2, 0.7, 0.9]}}),
        (
            "PopulationBasedTraining",
            {"hyperparam_mutations": {"x": [0.1, 0.2, 0.7, 0.9]}, "synch": True},
        ),
        ("PB2", {"hyperparam_bounds": {"x": [0.0, 1.0]}}),
    ],
    ids=["pbt", "pbt-synch", "pb2"],
)
def test_populations_copy(sweeps: Sweeps, kind: str, args: dict[str, Any]) -> None:
    """A bad run goes on from the state of a good one, with other values, and says so."""
    scheduler = Algorithm.of(
        kind, time_attr="training_iteration", perturbation_interval=2, quantile_fraction=0.5, **args
    )
    made = experiment(None, 2, scheduler=scheduler, stop=Frozen({"training_iteration": 8}))
    source = SAVES.replace("STEPS", "100")
    if not args.get("synch"):
        source = source.replace("    step += 1\n", f"    step += 1\n{ABREAST}", 1)
    result = sweeps.run(made, source)
    sweep, runs = sweeps.read(result)
    assert (sweep.state, result.counts) == ("finished", {"finished": 2}), result.errors
    ids = {run.id for run in runs}
    assert any(part.get("donor") for run in runs for part in run.meta.get("lineage", ())), runs
    # A member whose own checkpoint arrives after the donor's goes on from its own, and says so.
    found = [(run, exploit) for run, exploit in changes(sweeps, runs) if "donor" in exploit]
    for run, exploit in found:
        mine = check_whole(sweeps, run, own=False)
        donor = exploit["donor"]
        assert donor in ids - {run.id}
        assert exploit["new"] == run.config
        # It is next to the donor's value, which may be what the run had before.
        assert run.config["x"] in (0.1, 0.2, 0.7, 0.9) or kind == "PB2"
        last = sweeps.rows(run)[-1].values["seen"].split()
        assert any(part.startswith(f"{donor}@") for part in last), "the donor's state was not there"
        assert len(last) == mine[-1] == 8


def test_a_synchronous_population_goes_on_without_a_lost_member(sweeps: Sweeps) -> None:
    """Ray waits for a member that is dead: for ever, all others paused."""
    source = SAVES.replace("STEPS", "100").replace(
        "step, seen =", f"if found:{LOST}step, seen =", 1
    )
    scheduler = Algorithm.of(
        "PopulationBasedTraining", perturbation_interval=2, synch=True,
        time_attr="training_iteration", hyperparam_mutations={"x": [0.1, 0.2, 0.7, 0.9]},
    )  # fmt: skip
    made = experiment(None, 3, scheduler=scheduler, stop=Frozen({"training_iteration": 5}))
    result = sweeps.run(made, source)
    sweep, runs = sweeps.read(result)
    assert (sweep.state, result.counts) == ("finished", {"failed": 1, "finished": 2}), result.errors
    for run in runs:
        if run.state == "finished":
            assert sweeps.rows(run)[-1].values["mine"] == 5


def test_a_replay_changes_its_own_values(sweeps: Sweeps) -> None:
    policy = json.dumps(["0", "1", 2, 2, {"x": 0.25}, {"x": 0.75}]) + "\n"
    scheduler = Algorithm.of("PopulationBasedTrainingReplay", policy_file=policy)
    made = experiment(None, 1, scheduler=scheduler, stop=Frozen({"training_iteration": 4}))
    result = sweeps.run(made, SAVES.replace("STEPS", "100"))
    _, (run,) = sweeps.read(result)
    assert result.counts == {"finished": 1}, result.errors
    assert run.config == {"x": 0.75}
    assert run.meta["exploit"] == {"old": {"x": 0.25}, "new": {"x": 0.75}}
    assert len(check_whole(sweeps, run)) == 4
    assert [row.values["loss"] * row.values["mine"] for row in sweeps.rows(run)] == [
        0.25, 0.25, 0.75, 0.75,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "args",
    [{}, {"min_time_slice": 1, "saves": True}, {"hard_stop": False, "saves": True}],
    ids=["stops", "takes turns", "pauses"],
)
def test_the_median_stopping_rule(sweeps: Sweeps, args: dict[str, Any]) -> None:
    """One by one, good ones first: the last one is worse than the median."""
    source = SAVES if args.pop("saves", False) else FORGETS
    scheduler = Algorithm.of(
        "MedianStoppingRule",
        time_attr="training_iteration",
        grace_period=2,
        min_samples_required=2,
        **args,
    )
    made = experiment(None, **grid(0.1, 0.2, 0.9), scheduler=scheduler)
    result = sweeps.run(made, source.replace("STEPS", "4"), cpus_per_trial=2)
    _, runs = sweeps.read(result)
    assert result.counts == {"finished": 3}, result.errors
    by_x = {run.config["x"]: run for run in runs}
    if args.get("hard_stop") is False:
        # It goes on when nobody else waits.
        assert [by_x[x].stopped_early for x in (0.1, 0.2, 0.9)] == [False, False, False]
        assert len(check_whole(sweeps, by_x[0.9])) == 4
    elif not args:
        assert [by_x[x].stopped_early for x in (0.1, 0.2, 0.9)] == [False, False, True]
        assert by_x[0.9].rows == 2
        assert "stopped early by" in by_x[0.9].message
    else:
        assert all(len(check_whole(sweeps, run)) <= 4 for run in runs)
        assert any(programs(sweeps, run) > 1 for run in runs)


@pytest.mark.parametrize("strict", [True, False])
def test_wandbs_hyperband_is_exact(sweeps: Sweeps, strict: bool) -> None:
    """The bands are W&B's, and so are the words: nothing of it is ASHA's."""
    scheduler = Algorithm.of("hyperband", min_iter=2, eta=2, strict=strict)
    made = experiment(None, **grid(0.1, 0.2, 0.3, 0.9), scheduler=scheduler)
    result = sweeps.run(made, FORGETS.replace("STEPS", "4"), max_concurrent=1)
    _, runs = sweeps.read(result)
    by_x = {run.config["x"]: run for run in runs}
    assert [by_x[x].rows for x in (0.1, 0.2, 0.3, 0.9)] == [4, 4, 2, 2]
    assert "0.15 is worse than 0.1, the threshold of 3 runs at report 2" in by_x[0.3].message
    assert result.stopped_early == 2


def test_asha(sweeps: Sweeps) -> None:
    scheduler = Algorithm.of("AsyncHyperBandScheduler", max_t=4, grace_period=2, reduction_factor=2)
    made = experiment(None, **grid(0.1, 0.9), scheduler=scheduler)
    result = sweeps.run(made, FORGETS.replace("STEPS", "5"), max_concurrent=1)
    _, runs = sweeps.read(result)
    assert {run.config["x"]: (run.rows, run.stopped_early) for run in runs} == {
        0.1: (4, False), 0.9: (2, True),
    }  # fmt: skip


ALONE = """
import pathlib, time
cpus = float(os.environ["OMP_NUM_THREADS"])
begun, over = pathlib.Path("begun"), pathlib.Path("over")
def wait(path):
    until = time.monotonic() + 120
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.01)
last = STEPS if run.config.x == 0.1 else 2
if run.config.x == 0.9:
    begun.touch()
while step < last:
    if run.config.x == 0.1:
        wait(over if step else begun)
"""
"""Of two runs one reports twice; the other waits for its end before its own second report."""


def test_resources_change(sweeps: Sweeps) -> None:
    """A run that is left alone gets the other's processor too, and goes on where it was."""
    scheduler = Algorithm.of(
        "ResourceChangingScheduler",
        base_scheduler={
            "AsyncHyperBandScheduler": {"max_t": 1000, "grace_period": 2, "reduction_factor": 2}
        },
    )
    source = SAVES.replace("while step < STEPS:\n", ALONE.lstrip()).replace("STEPS", "900")
    source = source.replace('"mine": step,', '"mine": step, "cpus": cpus,')
    source += """
    if cpus == 2:
        break
pathlib.Path("over").touch()
"""
    made = experiment(None, **grid(0.1, 0.9), scheduler=scheduler)
    result = sweeps.run(made, source, cpus_per_trial=1, max_concurrent=2)
    _, runs = sweeps.read(result)
    assert result.counts == {"finished": 2}, result.errors
    for run in runs:
        check_whole(sweeps, run)
    rows = sweeps.rows(next(run for run in runs if run.config["x"] == 0.1))
    cpus = [row.values["cpus"] for row in rows]
    assert (cpus[0], cpus[-1]) == (1, 2)
    assert cpus == sorted(cpus)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("HyperBandScheduler", "pauses runs at its milestones"),
        ("PopulationBasedTraining", "lets bad runs go on from the checkpoints of good ones"),
    ],
)
def test_a_program_without_checkpoints_is_refused_once(
    sweeps: Sweeps, kind: str, words: str
) -> None:
    args = {"hyperparam_mutations": {"x": [0.1, 0.2]}} if kind.startswith("Pop") else {"max_t": 3}
    made = experiment(None, 20, scheduler=Algorithm.of(kind, **args))
    result = sweeps.run(made, FORGETS.replace("STEPS", "5"))
    sweep, runs = sweeps.read(result)
    assert sweep.state == "failed"
    assert words in sweep.message
    assert "call run.checkpoint() before training" in sweep.message
    assert (len(result.errors), result.usable) == (1, 0)
    assert words in result.errors[0]
    assert len(runs) < 20
    assert {run.state for run in runs} <= {"failed", "killed"}


# Stoppers


def stopped(stop: Any, **more: Any) -> Any:
    """What Tune's own call says, read."""
    given = {
        "run_or_experiment": "train.py",
        "config": {"x": tune.uniform(0, 1)},
        "metric": "loss",
        "mode": "min",
        "num_samples": 2,
        "stop": stop,
        **more,
    }
    return get_dialect("tune").read(given).value


def at_three(trial_id: str, result: dict[str, Any]) -> bool:
    """A function that can be imported."""
    return result["training_iteration"] >= 3


STOPPERS = {
    "maximum": (lambda: tune.stopper.MaximumIterationStopper(3), "MaximumIterationStopper"),
    "plateau": (
        lambda: tune.stopper.TrialPlateauStopper("flat", std=0.1, num_results=3, grace_period=3),
        "TrialPlateauStopper on flat",
    ),
    "function": (lambda: at_three, "FunctionStopper"),
    "combined": (
        lambda: tune.stopper.CombinedStopper(
            tune.stopper.MaximumIterationStopper(3), tune.stopper.TimeoutStopper(10_000)
        ),
        "MaximumIterationStopper",
    ),
}
ENDLESS = """
import tune_bridge
run = tune_bridge.init()
for _ in range(3000):
    run.log({"loss": run.config.x, "flat": 1.0})
"""


@pytest.mark.parametrize("name", STOPPERS)
def test_stoppers_end_trials(sweeps: Sweeps, name: str) -> None:
    make, words = STOPPERS[name]
    result = sweeps.run(stopped(make()), ENDLESS)
    _, runs = sweeps.read(result)
    assert [(run.state, run.rows, run.stopped_early) for run in runs] == [
        ("finished", 3, False)
    ] * 2
    assert all(run.message == f"{words} says so" for run in runs)


@pytest.mark.parametrize(
    ("stop", "more", "words"),
    [
        (lambda: tune.stopper.TimeoutStopper(2), {}, "TimeoutStopper: 2 seconds are over"),
        (lambda: None, {"time_budget_s": 2}, "time_budget_s: 2 seconds are over"),
        (
            lambda: tune.stopper.ExperimentPlateauStopper("loss", std=10.0, top=2, patience=0),
            {"num_samples": 50},
            "ExperimentPlateauStopper on loss says so",
        ),
    ],
    ids=["timeout", "budget", "plateau"],
)
def test_stoppers_end_everything(
    sweeps: Sweeps, stop: Any, more: dict[str, Any], words: str
) -> None:
    result = sweeps.run(stopped(stop(), **more), ENDLESS)
    sweep, runs = sweeps.read(result)
    assert (sweep.state, sweep.message) == ("finished", words)
    # None may have begun when seconds are over; what ran ends well, and says why.
    assert {(run.state, run.message) for run in runs} <= {("finished", words)}
    assert runs or "seconds" in words


def test_a_maximised_metric(sweeps: Sweeps) -> None:
    """Goals reach schedulers: the worse one by "maximize" is stopped."""
    scheduler = Algorithm.of("hyperband", min_iter=1, eta=2)
    made = experiment(None, **grid(0.9, 0.8, 0.1), scheduler=scheduler)
    made = made.replace(objective=Objective("loss", "maximize"))
    result = sweeps.run(made, FORGETS.replace("STEPS", "3"), max_concurrent=1)
    _, runs = sweeps.read(result)
    assert {run.config["x"]: run.rows for run in runs} == {0.9: 3, 0.8: 3, 0.1: 1}
