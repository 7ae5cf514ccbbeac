"""Studies of Optuna: SQLite files and journals, made by Optuna itself."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
import warnings

import pytest

pytest.importorskip("optuna")

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tune_bridge.adopt import adopt
from tune_bridge.backends.local import LocalBackend
from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.space import Choice, Integers, Parameter, Uniform
from tune_bridge.sweep_config import SweepConfig


def objective(trial) -> float:
    x = trial.suggest_float("x", -5, 5)
    size = trial.suggest_int("net/size", 8, 64, step=8)
    kind = trial.suggest_categorical("kind", ["svm", "forest", None])
    if kind == "svm":
        trial.suggest_float("gamma", 1e-4, 1, log=True)
    trial.set_user_attr("note", "hello")
    if trial.number == 3:
        raise ValueError("no")
    for step in range(4):
        trial.report(-x * x + step, step * 10)
        if trial.number == 5:
            raise optuna.TrialPruned
    return -x * x - size


def fill(storage) -> None:
    study = optuna.create_study(
        study_name="first", storage=storage, direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=1),
    )  # fmt: skip
    study.optimize(objective, n_trials=12, catch=(ValueError,))
    study.enqueue_trial({"x": 1.0})
    other = optuna.create_study(study_name="second", storage=storage, directions=["minimize"] * 2)
    other.set_metric_names(["loss", "size"])
    other.optimize(
        lambda trial: (trial.suggest_float("x", 0, 1), trial.suggest_int("n", 1, 9)), n_trials=3
    )


def storage_of(kind: str, path):
    if kind == "journal":
        return JournalStorage(JournalFileBackend(str(path)))
    return f"sqlite:///{path}"


@pytest.fixture(scope="module", params=["sqlite", "journal"])
def storage(request, tmp_path_factory):
    """The path of a storage, and its kind."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = tmp_path_factory.mktemp("optuna") / "studies"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # metric names are experimental
        fill(storage_of(request.param, path))
    return path, request.param


@pytest.fixture
def place(tmp_path):
    backend = LocalBackend.open(str(tmp_path / "sweeps.db"))
    yield backend
    backend.close()


def test_a_study_becomes_a_sweep(storage, place):
    path, kind = storage
    before = (hashlib.sha256(path.read_bytes()).digest(), sorted(path.parent.iterdir()))
    first, second = adopt(path, backend=place, program="train.py")
    assert (hashlib.sha256(path.read_bytes()).digest(), sorted(path.parent.iterdir())) == before
    assert (first.name, first.runs, first.waiting, first.searcher) == (
        "first", 12, 1, "OptunaSearch",
    )  # fmt: skip
    assert first.metric == {"name": "value", "goal": "maximize"}
    assert first.states == {"finished": 11, "failed": 1}

    experiment = SweepConfig(place.sweep(first.sweep).config).experiment
    assert experiment.program == "train.py"
    space = experiment.space
    assert space.get("x") == Parameter(Uniform(-5.0, 5.0))
    assert space.get("net").get("size") == Parameter(Integers(8, 64, 8))
    branch = space.get("kind")
    assert isinstance(branch, Choice)
    assert branch.options[0].get("gamma") == Parameter(Uniform(1e-4, 1.0, "log"))

    study = optuna.load_study(study_name="first", storage=storage_of(kind, path))
    for run, trial in zip(place.runs(first.sweep), study.trials, strict=False):
        assert run.name == f"first-{trial.number}"
        assert run.created_at == pytest.approx(trial.datetime_start.timestamp())
        assert run.ended_at == pytest.approx(trial.datetime_complete.timestamp())
        kind_ = trial.params["kind"]
        inner = {"gamma": trial.params["gamma"]} if kind_ == "svm" else {}
        assert run.config == {
            "x": trial.params["x"],
            "net": {"size": trial.params["net/size"]},
            "kind": {"kind": kind_, **inner},
        }
        assert run.meta["user_attrs"] == {"note": "hello"}
        assert run.stopped_early == (trial.state.name == "PRUNED")
        rows = [(row.values["training_iteration"], row.values["value"])
                for row in place.history(run.id)]  # fmt: skip
        assert rows == sorted(trial.intermediate_values.items())
        if trial.state.name == "COMPLETE":
            assert run.summary["value"] == trial.value
    assert first.teaching == 11

    assert second.metric == {"name": "loss", "goal": "minimize"}
    assert any("alone is searched for" in note["what"] for note in second.notes)
    assert all(set(run.summary) == {"loss", "size"} for run in place.runs(second.sweep))


def test_again_adds_nothing_and_one_study_can_be_named(storage, place):
    path, _ = storage
    (only,) = adopt(f"{path}#second", backend=place, metric=None)
    assert (only.name, only.added) == ("second", 3)
    both = adopt(f"sqlite:///{path}", backend=place)
    assert [(made.added, made.rows > 0) for made in both] == [(12, True), (0, False)]
    with pytest.raises(NotFoundError, match="no such study; found 'third', expected first, second"):
        adopt(f"{path}#third", backend=place)
    with pytest.raises(InputError, match="the source says to maximize value"):
        adopt(f"{path}#first", backend=place, goal="minimize")


def test_a_study_that_goes_on_is_adopted_again(tmp_path, place):
    path = tmp_path / "study.db"
    study = optuna.create_study(study_name="s", storage=f"sqlite:///{path}")
    space = {"x": FloatDistribution(0, 1)}
    done, live = study.ask(space), study.ask(space)
    study.tell(done, 1.0)
    (first,) = adopt(path, backend=place, metric="loss")
    assert (first.running, place.sweep(first.sweep).state) == (1, "running")
    study.tell(live, 2.0)
    (again,) = adopt(path, backend=place)  # the metric's name is remembered
    assert (again.added, again.rows, again.running) == (0, 1, 0)
    assert [run.summary for run in place.runs(first.sweep)] == [{"loss": 1.0}, {"loss": 2.0}]
    assert place.sweep(first.sweep).state == "finished"
    assert [event["run"] for event in place.events(first.sweep)] == [
        f"{first.sweep}-0", f"{first.sweep}-1",
    ]  # fmt: skip


def test_what_runs_in_a_file_that_nobody_writes_has_crashed(tmp_path, place):
    path = tmp_path / "study.db"
    study = optuna.create_study(study_name="s", storage=f"sqlite:///{path}")
    study.ask({"x": FloatDistribution(0, 1)})
    os.utime(path, (time.time() - 7200,) * 2)
    (made,) = adopt(path, backend=place)
    assert made.states == {"crashed": 1}


def test_bounds_that_were_others_in_other_trials(tmp_path, place):
    """Optuna allows that, and nothing else, to be another one."""
    study = optuna.create_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}")
    for bounds in ((0, 1), (-1, 0.5)):
        study.tell(study.ask({"x": FloatDistribution(*bounds)}), 1.0)
    (made,) = adopt(tmp_path / "study.db", backend=place)
    space = SweepConfig(made.config).experiment.space
    assert space.get("x") == Parameter(Uniform(-1.0, 1.0))
    assert "parameters.x" in {note["path"] for note in made.notes}


def test_an_older_schema_is_upgraded_in_a_copy(tmp_path, place):
    """Only the version is old here; upgrading the file itself would change it."""
    path = tmp_path / "study.db"
    study = optuna.create_study(study_name="s", storage=f"sqlite:///{path}")
    study.tell(study.ask({"c": CategoricalDistribution([1, 2])}), 1.0)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v3.0.0.d'")
    connection.close()
    before = path.read_bytes()
    (made,) = adopt(path, backend=place)
    assert (made.runs, path.read_bytes()) == (1, before)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"op_code": 0, "worker_id": "a", "study_name": "s", "directions": [1]}\n{"op\n{}\n',
         r"study:2:5: not JSON"),
        (b'{"op_code": 0, "worker_id": "a", "study_name": "s", "directions": [1]}\n[]\n',
         r"study:2:1: not a result"),
        (b'{"op_code": 4}\n', "Optuna cannot read it: KeyError"),
        (b'{"op_code": 0, "worker_id": "a", "study_name": "s", "directions": [1]}\n',
         "no trial of it has begun"),
        (b"SQLite format 3\0" + bytes(100), "cannot"),
        (b"hello\n", "cannot tell what these results are"),
        (b"", "cannot tell what these results are"),
    ],
)  # fmt: skip
def test_broken_files(tmp_path, place, content, words):
    path = tmp_path / "study"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        adopt(path, backend=place)
    assert place.sweeps() == []


def test_a_last_line_that_is_cut_off_is_left_out(tmp_path, place):
    path = tmp_path / "journal"
    study = optuna.create_study(study_name="s", storage=storage_of("journal", path))
    study.tell(study.ask({"x": FloatDistribution(0, 1)}), 1.0)
    with path.open("ab") as file:
        file.write(json.dumps({"op_code": 4, "worker_id": "a"}).encode()[:20])
    (made,) = adopt(path, backend=place)
    assert made.states == {"finished": 1}
    assert any("cut off" in str(note.get("why")) for note in made.notes)


def test_servers_of_optuna_are_named(place):
    with pytest.raises(InputError, match="only files and folders") as error:
        adopt("mysql://user:secret@host/studies", backend=place)
    assert "secret" not in str(error.value)


def test_trials_are_read_in_blocks(storage, place, monkeypatch):
    """Optuna takes ten times the memory while it reads them all together."""
    path, kind = storage
    whole = [place.runs(made.sweep) for made in adopt(path, backend=place)]
    if kind == "sqlite":
        monkeypatch.delattr(optuna.storages.RDBStorage, "get_all_trials")
    monkeypatch.setattr("tune_bridge.adopt.optuna_storage._BLOCK", 5)
    for made in adopt(path, backend=place):
        place.delete_sweep(made.sweep)
    assert [place.runs(made.sweep) for made in adopt(path, backend=place)] == whole
    assert [len(runs) for runs in whole] == [12, 3]
