"""Folders of results of Ray Tune: those of Ray 1 as it wrote them, and those of a real experiment.

``ray1/`` follows ``ray.tune.trial_runner`` and ``ray.tune.logger`` of Ray 1.13 (``mnist``) and 0.8
(``older``): trials as JSON texts or objects under "checkpoints", NaN and Infinity as bare words,
and pickles as hexadecimal texts, which would not even load.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from pathlib import Path

import pytest

from tune_bridge.adopt import adopt
from tune_bridge.backends.local import LocalBackend
from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.lint import lint
from tune_bridge.space import Choice, Parameter, Uniform
from tune_bridge.sweep_config import SweepConfig

RAY1 = Path(__file__).parent / "ray1"


@pytest.fixture
def place(tmp_path):
    backend = LocalBackend.open(str(tmp_path / "sweeps.db"))
    yield backend
    backend.close()


def age(folder: Path, seconds: float = 7200.0) -> None:
    """Makes files as old as that."""
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (time.time() - seconds,) * 2)


@pytest.fixture
def mnist(tmp_path) -> Path:
    """An experiment that has just been written, whenever this repository was cloned."""
    folder = Path(shutil.copytree(RAY1 / "mnist", tmp_path / "results" / "mnist"))
    age(folder, 0.0)
    return folder


def trial(folder: Path, number: int) -> Path:
    (found,) = folder.glob(f"train_mnist_b3f1c_0000{number}_*")
    return found


def test_an_experiment_of_ray_1(mnist, place):
    age(mnist)
    (made,) = adopt(mnist, backend=place)
    assert (made.name, made.runs, made.rows, made.waiting) == ("mnist", 4, 7, 1)
    assert made.metric == {"name": "mean_loss", "goal": "minimize"}
    assert made.states == {"finished": 2, "failed": 1, "crashed": 1}
    runs = place.runs(made.sweep)
    assert [run.name for run in runs] == [f"train_mnist_b3f1c_0000{n}" for n in range(4)]
    assert runs[0].created_at == 1614849070.5
    assert runs[0].ended_at == 1614849081.0
    assert runs[0].config == {
        "lr": 0.01, "activation": "relu", "batch": 64, "net": {"layers": 2},
        "model": "<class '__main__.Net'>",
    }  # fmt: skip
    assert runs[0].summary["nested/acc"] == 0.5
    assert "hostname" not in runs[0].summary
    losses = [row.values["mean_loss"] for row in place.history(runs[1].id)]
    assert losses[0] == 0.8
    assert math.isnan(losses[1])
    assert losses[2] == math.inf
    assert runs[2].message.startswith("RuntimeError: CUDA out of memory\nFailure # 1")
    assert runs[3].message == "it was running when its experiment ended"
    assert runs[3].rows == 1
    assert any("cut off" in str(note.get("why")) for note in made.notes)
    assert any("not opened" in str(note.get("why")) for note in made.notes)

    config = SweepConfig(place.sweep(made.sweep).config)
    space = config.experiment.space
    assert space.get("lr") == Parameter(Uniform(0.001, 0.1, "log"))
    assert isinstance(space.get("activation"), Choice)
    assert space.get("model") is None
    found = {finding.rule for finding in lint(config, config.experiment)}
    assert found <= {"program", "no-end"}


def test_one_that_is_being_written_goes_on_the_next_time(mnist, place):
    (first,) = adopt(mnist, backend=place)
    assert (first.running, place.sweep(first.sweep).state) == (1, "running")
    (run,) = place.runs(first.sweep, states=["running"])
    results = trial(mnist, 3) / "result.json"
    whole = results.read_text().splitlines()[0]
    row = {**json.loads(whole), "mean_loss": 0.2, "training_iteration": 2, "done": True}
    results.write_text(f"{whole}\n{json.dumps(row)}\n")
    state = next(mnist.glob("experiment_state-*.json"))
    state.write_text(state.read_text().replace("RUNNING", "TERMINATED"))
    (again,) = adopt(mnist, backend=place)
    assert (again.added, again.rows, again.running) == (0, 1, 0)
    assert place.run(run.id).state == "finished"
    assert place.run(run.id).summary["mean_loss"] == 0.2
    assert place.sweep(first.sweep).state == "finished"
    # A copy elsewhere is the same experiment.
    moved = shutil.copytree(mnist, mnist.parent / "copy" / "mnist")
    assert adopt(moved, backend=place)[0].added == 0


def test_a_trial_alone_and_then_its_experiment(mnist, place):
    (one,) = adopt(trial(mnist, 1), backend=place)
    (all_,) = adopt(mnist, backend=place)
    assert (one.runs, all_.sweep, all_.added) == (1, one.sweep, 3)
    (again,) = adopt(trial(mnist, 2), backend=place)  # knows less, and takes nothing away
    assert again.added == 0
    assert len(SweepConfig(place.sweep(one.sweep).config).experiment.searched) == 3


def test_a_folder_of_experiments(place):
    mnist, older = adopt(RAY1, backend=place, metric="mean_loss")
    assert (mnist.name, older.name, older.runs) == ("mnist", "older", 2)
    assert [run.name for run in place.runs(older.sweep)] == [
        "train_mnist_0a0b1c2d", "train_mnist_1a0b1c2d",
    ]  # fmt: skip
    with pytest.raises(InputError, match="one name for 2 experiments"):
        adopt(RAY1, backend=place, name="both")


def test_trials_whose_state_is_lost(mnist, place):
    for state in mnist.glob("experiment_state-*"):
        state.unlink()
    age(mnist)
    (made,) = adopt(mnist, backend=place)
    assert made.states == {"finished": 2, "failed": 1, "crashed": 1}
    assert made.metric is None  # mean_loss or nested/acc
    assert sorted(run.meta["trial_id"] for run in place.runs(made.sweep)) == [
        f"b3f1c_0000{n}" for n in range(4)
    ]


def test_parameters_that_were_not_written(mnist, place):
    (trial(mnist, 0) / "params.json").unlink()
    (made,) = adopt(mnist, backend=place)
    assert place.runs(made.sweep)[0].config["lr"] == 0.01


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("result.json", "{}\n{]\n{}\n", r"result.json:2:2: not JSON: .* \(remove the line"),
        ("result.json", "[]\n{}\n", r"result.json:1:1: not a result"),
        ("params.json", '{"lr":\n 0.1,,}', r"params.json:2:6: not JSON"),
        ("params.json", "[1]", r"params.json: not a trial's parameters"),
        ("../experiment_state-2021-03-04_10-11-10.json", "[]", "not the state of an experiment"),
        ("../experiment_state-2021-03-04_10-11-10.json", "{", r"10-11-10.json:1:2: not JSON"),
        (
            "../experiment_state-2021-03-04_10-11-10.json",
            '{"checkpoints": ["[]"]}',
            "a trial of the experiment's state is no object",
        ),
    ],
)
def test_broken_files_are_named_and_leave_nothing(mnist, place, name, content, words):
    (trial(mnist, 0) / name).write_text(content)
    with pytest.raises(InputError, match=words):
        adopt(mnist, backend=place)
    assert all(not place.runs(sweep.id) for sweep in place.sweeps())


def test_what_is_no_result(tmp_path, place):
    with pytest.raises(NotFoundError, match="no such file or folder"):
        adopt(tmp_path / "missing", backend=place)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="cannot tell what these results are, expected a folder"):
        adopt(tmp_path / "empty", backend=place)


def test_the_goal_has_to_be_known(mnist, place):
    with pytest.raises(InputError, match="whether reach is to be small or large"):
        adopt(mnist, backend=place, metric="reach")
    age(mnist)
    (made,) = adopt(mnist, backend=place, metric="reach", goal="maximize")
    assert made.teaching == 0
    assert adopt(mnist, backend=place)[0].metric == {"name": "reach", "goal": "maximize"}
    assert any("4 of 4 runs have no value of reach" in note["what"] for note in made.notes)


@pytest.mark.ray
@pytest.mark.slow
def test_an_experiment_of_this_ray(tmp_path, place, monkeypatch):
    """A real one: an early stop, a failure, nested values, a function among the parameters."""
    ray = pytest.importorskip("ray")
    from ray import tune

    def train(config):
        for step in range(3):
            tune.report(
                {
                    "loss": config["lr"] + step,
                    "net": {"acc": 0.5 * step},
                    "nan": float("nan"),
                    "inf": float("inf"),
                }
            )
        if config["fails"]:
            raise ValueError("three layers are too many")

    # Experiments that ran in this process before may have left it: Ray writes no files with it.
    monkeypatch.delenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", raising=False)
    ray.init(num_cpus=2, include_dashboard=False)
    try:
        tune.Tuner(
            train,
            param_space={
                "lr": tune.uniform(0.0, 1.0),
                "fails": tune.grid_search([False, False, True]),
                "net": {"act": "relu"},
                "function": train,
            },
            tune_config=tune.TuneConfig(metric="loss", mode="min"),
            run_config=tune.RunConfig(name="real", storage_path=str(tmp_path / "results")),
        ).fit()
    finally:
        ray.shutdown()
    (made,) = adopt(tmp_path / "results" / "real", backend=place)
    assert made.states == {"finished": 2, "failed": 1}
    assert made.metric == {"name": "loss", "goal": "minimize"}
    runs = place.runs(made.sweep)
    for run in runs:
        assert run.rows == 3
        assert run.summary["loss"] == run.config["lr"] + 2
        assert run.summary["net/acc"] == 1.0
        assert math.isnan(run.summary["nan"])
        assert run.config["net"] == {"act": "relu"}
        assert run.config["function"].startswith("<function ")
        assert run.started_at <= run.ended_at <= time.time()
    (failed,) = (run for run in runs if run.state == "failed")
    assert failed.message.startswith("ValueError: three layers are too many\n")
    assert SweepConfig(made.config).experiment.space.get("function") is None
    assert adopt(tmp_path / "results", backend=place)[0].added == 0
