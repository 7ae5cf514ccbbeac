"""`SweepCallback`: hook by hook with stand-ins, and in real experiments."""

from __future__ import annotations

import logging
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import numpy as np
import pytest

pytest.importorskip("ray.tune")

from ray import tune
from ray.tune.schedulers import ASHAScheduler

from tune_bridge.backends import open_backend
from tune_bridge.backends.base import Run, Sweep
from tune_bridge.callback import SweepCallback
from tune_bridge.cli.main import main
from tune_bridge.reports import PAYLOAD
from tune_bridge.trial import ProgramError
from tune_bridge.tune_observer import observed, plain_config, plain_row


class Trial(SimpleNamespace):
    """What the callback touches of a Tune trial."""

    def __init__(self, trial_id: str, **config: Any) -> None:
        super().__init__(
            trial_id=trial_id,
            config=config,
            experiment_tag=f"0_{config}",
            status="PENDING",
            last_result={},
            stopping_criterion={},
            error_file=None,
            pickled_error_file=None,
            num_failures=1,
        )

    def __str__(self) -> str:
        return f"train_{self.trial_id}"

    def fail(self, folder: Path, error: BaseException) -> None:
        self.status = "ERROR"
        self.error_file = str(folder / "error.txt")
        self.pickled_error_file = str(folder / "error.pkl")
        Path(self.error_file).write_text(f"Traceback ...\n{type(error).__name__}: {error}\n")
        Path(self.pickled_error_file).write_bytes(cloudpickle.dumps(SimpleNamespace(cause=error)))


class Experiment:
    """Calls a callback's hooks as Tune does."""

    def __init__(self, callback: SweepCallback, url: str) -> None:
        self.callback = callback
        self.url = url
        self.trials: list[Trial] = []

    def start(self, trial: Trial) -> Trial:
        if trial not in self.trials:
            self.trials.append(trial)
        self.callback.on_trial_start(0, self.trials, trial)
        trial.status = "RUNNING"
        return trial

    def result(self, trial: Trial, **values: Any) -> None:
        result = {"training_iteration": 1, "pid": 1, "hostname": "h", "done": False, **values}
        self.callback.on_trial_result(0, self.trials, trial, result)
        trial.last_result = result

    def complete(self, trial: Trial) -> None:
        self.callback.on_trial_complete(0, self.trials, trial)
        trial.status = "TERMINATED"

    def end(self) -> tuple[Sweep, dict[str, Run]]:
        self.callback.on_experiment_end(self.trials)
        assert self.callback.sweep_id is not None
        with open_backend(self.url) as backend:
            runs = backend.runs(self.callback.sweep_id)
            return backend.sweep(self.callback.sweep_id), {
                run.meta["trial_id"]: run for run in runs
            }

    def events(self, run: Run | None = None) -> list[dict[str, Any]]:
        assert self.callback.sweep_id is not None
        with open_backend(self.url) as backend:
            found = backend.events(self.callback.sweep_id)
        return [event for event in found if run is None or event.get("run") == run.id]

    def rows(self, run: Run) -> list[tuple[int, dict[str, Any]]]:
        with open_backend(self.url) as backend:
            return [(row.step, row.values) for row in backend.history(run.id)]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'sweeps.db'}"


@pytest.fixture
def experiment(url: str) -> Experiment:
    callback = SweepCallback("demo", name="a name", backend=url)
    callback.setup()
    return Experiment(callback, url)


def test_a_run_from_start_to_end(experiment: Experiment) -> None:
    trial = experiment.start(Trial("a", lr=np.float64(0.1), net={"depth": np.int64(3)}, f=len))
    experiment.result(trial, loss=np.float32(0.5), val={"acc": 1}, text="x", bad=object(), n=None)
    experiment.result(trial, loss=math.nan, training_iteration=2)
    experiment.complete(trial)
    sweep, runs = experiment.end()
    run = runs["a"]
    assert (sweep.project, sweep.name, sweep.state) == ("demo", "a name", "finished")
    assert sweep.created_at <= sweep.meta["heard"]["at"] <= run.created_at
    assert (run.name, run.state, run.stopped_early, run.message) == (
        *("train_a", "finished", False, ""),
    )
    assert run.config == {"lr": 0.1, "net": {"depth": 3}, "f": "len"}
    rows = experiment.rows(run)
    assert rows[0] == (
        0,
        {"training_iteration": 1, "loss": 0.5, "val/acc": 1, "text": "x", "n": None},
    )
    assert math.isnan(rows[1][1]["loss"])
    # Nothing is known of the space here: what was seen is what the sweep says.
    assert sweep.config["parameters"]["lr"] == {"value": 0.1}
    assert experiment.callback.outcomes == {"finished": 1}


def test_what_cannot_be_logged_is_warned_of_once(
    experiment: Experiment, caplog: pytest.LogCaptureFixture
) -> None:
    trial = experiment.start(Trial("a"))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            experiment.result(trial, model=object())
    assert caplog.text.count("model is not logged") == 1


def test_an_error(experiment: Experiment, tmp_path: Path) -> None:
    trial = experiment.start(Trial("a"))
    trial.fail(tmp_path, ValueError("\x1b[36mbroken\x1b[39m"))
    experiment.callback.on_trial_error(0, experiment.trials, trial)
    _, runs = experiment.end()
    assert runs["a"].state == "failed"
    first, *traceback = runs["a"].message.splitlines()  # tables show the first line only
    assert first == "ValueError: broken"  # Ray colours its errors
    assert "ValueError: broken" in traceback


def test_a_program_without_a_usable_metric(experiment: Experiment, tmp_path: Path) -> None:
    trial = experiment.start(Trial("a"))
    payload = {"rows": [[0, 1.0, {"other": 1}]], "config": {"late": 2}, "summary": {"best": 3}}
    trial.fail(tmp_path, ProgramError("no metric", "finished", 0, payload))
    experiment.callback.on_trial_error(0, experiment.trials, trial)
    _, runs = experiment.end()
    assert (runs["a"].state, runs["a"].exit_code) == ("finished", 0)
    assert runs["a"].message == "no metric; the searcher was told of a failure"
    assert runs["a"].summary == {"other": 1, "best": 3}
    assert runs["a"].config == {"late": 2}


def test_recover_then_success(experiment: Experiment, tmp_path: Path) -> None:
    trial = experiment.start(Trial("a"))
    experiment.result(trial, loss=1)
    trial.fail(tmp_path, ValueError("once"))
    experiment.callback.on_trial_recover(0, experiment.trials, trial)
    experiment.start(trial)
    experiment.result(trial, loss=2)
    experiment.complete(trial)
    _, runs = experiment.end()
    assert runs["a"].state == "finished"
    assert runs["a"].meta["failures"] == 1
    assert [step for step, _ in experiment.rows(runs["a"])] == [0, 1]


def test_a_paused_trial_that_is_stopped_was_stopped_early(experiment: Experiment) -> None:
    trial = experiment.start(Trial("a"))
    experiment.result(trial, loss=1, training_iteration=9)
    trial.status = "PAUSED"
    experiment.complete(trial)
    _, runs = experiment.end()
    assert runs["a"].stopped_early
    assert runs["a"].message == "stopped early by the scheduler at iteration 9"


def test_leftovers_are_closed(experiment: Experiment) -> None:
    experiment.start(Trial("a"))
    sweep, runs = experiment.end()
    assert (sweep.state, runs["a"].state) == ("finished", "killed")
    assert runs["a"].message == "the experiment ended before the run did"


def test_every_event_of_a_trial_is_in_the_log(experiment: Experiment, tmp_path: Path) -> None:
    trial = experiment.start(Trial("a"))
    experiment.result(trial, loss=1)
    saved = SimpleNamespace(path=str(tmp_path / "checkpoint_000000"))
    experiment.callback.on_checkpoint(0, experiment.trials, trial, saved)
    trial.status = "PAUSED"
    experiment.callback.on_step_end(0, experiment.trials)
    experiment.start(trial)
    trial.fail(tmp_path, ValueError("once"))
    experiment.callback.on_trial_recover(0, experiment.trials, trial)
    experiment.start(trial)
    experiment.result(trial, loss=2)
    experiment.complete(trial)
    _, runs = experiment.end()
    said = experiment.events(runs["a"])
    assert [(event["event"], event["step"]) for event in said] == [
        ("created", 0), ("started", 0), ("checkpoint", 1), ("paused", 1), ("resumed", 1),
        ("recovered", 1), ("resumed", 1), ("ended", 2),
    ]  # fmt: skip
    assert said[5]["error"] == "ValueError: once"
    assert said[-1]["state"] == "finished"
    assert runs["a"].meta["checkpoint"] == {"step": 0, "path": saved.path}
    assert [event["event"] for event in experiment.events()][-1] == "end"


def test_rows_that_tune_has_forgotten_stay(experiment: Experiment, url: str) -> None:
    """Tune keeps what it knows now and then: rows and trials since then are in the backend only."""
    copy = pickle.loads(pickle.dumps(experiment.callback))
    trial = experiment.start(Trial("a"))
    state = pickle.loads(pickle.dumps(experiment.callback.get_state()))
    for loss in (1, 2):
        experiment.result(trial, loss=loss)
    lost, late = experiment.start(Trial("lost")), experiment.start(Trial("late"))
    experiment.result(late, loss=7)
    assert experiment.callback._writer is not None
    assert experiment.callback._writer.flush()  # and then it was killed
    copy.set_state(state)
    copy.setup()
    again = Experiment(copy, url)
    for each in (trial, late):
        again.start(each)
        again.result(each, loss=8)
        again.complete(each)
    _, runs = again.end()
    assert [values["loss"] for _, values in again.rows(runs["a"])] == [1, 2, 8]
    assert [values["loss"] for _, values in again.rows(runs["late"])] == [7, 8]
    assert {key: run.state for key, run in runs.items()} == {
        "a": "finished", "late": "finished", lost.trial_id: "crashed",
    }  # fmt: skip
    assert [event["event"] for event in again.events(runs["late"])] == [
        "created", "started", "restored", "ended",
    ]  # fmt: skip


def test_a_place_is_the_same_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    callback = pickle.loads(pickle.dumps(SweepCallback(backend="here.db")))
    assert callback._backend == f"sqlite:///{tmp_path / 'here.db'}"


def test_an_exploit_changes_the_config(experiment: Experiment) -> None:
    trial = experiment.start(Trial("a", lr=0.1))
    experiment.result(trial, loss=1, training_iteration=4)
    trial.config, trial.experiment_tag = {"lr": 0.2}, "0@perturbed[lr=0.2]"
    experiment.start(trial)
    experiment.result(trial, loss=2, training_iteration=3)  # the donor's iteration
    experiment.complete(trial)
    _, runs = experiment.end()
    assert runs["a"].config == {"lr": 0.2}
    assert [step for step, _ in experiment.rows(runs["a"])] == [0, 1]
    first, second = runs["a"].meta["lineage"]
    assert first == {"step": 0, "config": {"lr": 0.1}}
    assert (second["step"], second["config"], second["donor"]) == (1, {"lr": 0.2}, None)
    (said,) = [event for event in experiment.events(runs["a"]) if event["event"] == "exploit"]
    assert (said["did"][0]["old"], said["did"][0]["new"]) == ({"lr": 0.1}, {"lr": 0.2})


def test_steps_of_a_restarted_program_go_on(experiment: Experiment) -> None:
    trial = experiment.start(Trial("a"))
    experiment.result(trial, **{PAYLOAD: {"rows": [[0, 1.0, {"x": 1}], [5, 1.0, {"loss": 1}]]}})
    experiment.start(trial)
    experiment.result(trial, **{PAYLOAD: {"rows": [[0, 1.0, {"loss": 2}]]}})
    experiment.complete(trial)
    _, runs = experiment.end()
    rows = experiment.rows(runs["a"])
    assert [step for step, _ in rows] == [0, 5, 6]
    assert rows[1][1] == {"loss": 1, "training_iteration": 1}


def test_pickle_and_restore(experiment: Experiment, url: str) -> None:
    trial = experiment.start(Trial("a"))
    done = experiment.start(Trial("b"))
    experiment.result(trial, loss=1)
    experiment.complete(done)
    state = pickle.loads(pickle.dumps(experiment.callback.get_state()))
    copy = pickle.loads(pickle.dumps(experiment.callback))
    experiment.end()  # the first life is over; its open run was closed
    copy.set_state(state)
    copy.setup()
    again = Experiment(copy, url)
    again.start(trial)
    again.result(trial, loss=2)
    again.complete(trial)
    sweep, runs = again.end()
    assert copy.sweep_id == experiment.callback.sweep_id
    assert sweep.state == "finished"
    assert {key: run.state for key, run in runs.items()} == {"a": "finished", "b": "finished"}
    assert [values["loss"] for _, values in again.rows(runs["a"])] == [1, 2]


def test_a_restored_experiment_whose_place_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can say how many events there are: they wait in the spool, and come behind these."""
    monkeypatch.setattr("tune_bridge.callback._RECALL", 0.2)
    place, gone = tmp_path / "place", tmp_path / "gone"
    place.mkdir()
    url = f"sqlite:///{place / 'sweeps.db'}"
    callback = SweepCallback("demo", backend=url, close_timeout=1.0)
    callback.setup()
    first = Experiment(callback, url)
    trial = first.start(Trial("a"))
    first.result(trial, loss=1)
    state = pickle.loads(pickle.dumps(callback.get_state()))
    copy = pickle.loads(pickle.dumps(callback))
    callback.close()  # all that was said is there; its end was not
    place.rename(gone)
    place.write_text("")
    copy.set_state(state)
    copy.setup()
    again = Experiment(copy, url)
    again.start(trial)
    again.result(trial, loss=2)
    again.complete(trial)
    copy.on_experiment_end(again.trials)
    place.unlink()
    gone.rename(place)
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(["sync", "--backend", url])
        assert ended.value.code == 0
    told = [(event["event"], "run" in event) for event in again.events()]
    assert told == [
        *(("created", True), ("started", True), ("restored", False), ("restored", True)),
        *(("ended", True), ("end", False)),
    ]
    with open_backend(url) as backend:
        (sweep,) = backend.sweeps()
        assert (sweep.id, sweep.state) == (copy.sweep_id, "finished")


def test_a_second_experiment_is_another_sweep(experiment: Experiment) -> None:
    first = experiment.callback.sweep_id
    experiment.end()
    experiment.callback.setup()
    assert experiment.callback.sweep_id != first
    experiment.callback.close()
    experiment.callback.close()


def test_no_exception_reaches_tune(
    experiment: Experiment, caplog: pytest.LogCaptureFixture
) -> None:
    broken: Any = SimpleNamespace(trial_id="x")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            experiment.callback.on_trial_start(0, [], broken)
            experiment.callback.on_trial_result(0, [], broken, {})
    assert caplog.text.count("on_trial_start failed") == 1
    experiment.end()


def test_a_backend_that_is_away_costs_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    callback = SweepCallback(backend=f"sqlite:///{blocked}/x/sweeps.db", close_timeout=0.5)
    callback.setup()
    trial = Trial("a")
    callback.on_trial_start(0, [trial], trial)
    callback.on_trial_result(0, [trial], trial, {"loss": 1})
    callback.on_trial_complete(0, [trial], trial)
    callback.on_experiment_end([trial])


@pytest.mark.slow
@pytest.mark.parametrize("points", [None, [{"lr": 0.5}]])
def test_a_searcher_that_has_been_given_the_configs_space(points: list[Any] | None) -> None:
    """Tune hands the config's domains to the searcher before any callback is asked."""
    tune = pytest.importorskip("ray.tune")
    from ray.tune.search.hyperopt import HyperOptSearch

    from tune_bridge.sweep_config import SweepConfig
    from tune_bridge.tune_observer import Observer

    config = {
        "lr": tune.loguniform(1e-4, 1),
        "net": {"width": tune.choice([4, 8]), "depth": 3},
    }
    given = {"config": config, "metric": "loss", "mode": "min", "num_samples": 4}
    expected = SweepConfig.from_tune(
        "train.py", search_alg=HyperOptSearch(n_initial_points=5), **given
    )
    searcher = HyperOptSearch(n_initial_points=5, points_to_evaluate=points)
    assert searcher.set_search_properties("loss", "min", config)
    space = searcher._space
    observer = Observer(None, {"run_or_experiment": "train.py", "search_alg": searcher, **given})
    assert observer.sweep_config() == expected
    assert "HyperOptSearch" in expected["controller"]["tune"]["search_alg"]
    assert searcher._space is space


def test_plain_values() -> None:
    assert plain_config({"a": (1, [np.int64(2)]), "b": np.arange(2), "__trial_index__": 3}) == {
        "a": [1, [2]],
        "b": [0, 1],
    }
    assert plain_row({"x": np.bool_(True), "y": {"z": 1, "w": 2}}, {"y/w"}, set()) == {
        "x": True,
        "y/z": 1,
    }
    assert observed([{"a": 1, "b": 2}, {"a": 1.0, "b": 2}, {"a": 1}]) == {
        "a": {"values": [1, 1.0]},
        "b": {"value": 2},
    }


# Real experiments.


def train(config: dict[str, Any]) -> None:
    if config.get("fail"):
        raise ValueError("broken on purpose")
    for i in range(6):
        tune.report({"loss": config["x"] + i, "net": {"i": i}})


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    import ray

    patch = pytest.MonkeyPatch()
    for key in ("RAY_USAGE_STATS_ENABLED", "RAY_AIR_NEW_OUTPUT"):
        patch.setenv(key, "0")
    patch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    ray.init(
        "local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False
    )
    yield
    ray.shutdown()
    patch.undo()


def read(callback: SweepCallback, url: str) -> tuple[Sweep, list[Run]]:
    assert callback.sweep_id is not None
    with open_backend(url) as backend:
        return backend.sweep(callback.sweep_id), backend.runs(callback.sweep_id)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("session")
class TestReal:
    def test_tune_run_with_asha(self, url: str, tmp_path: Path) -> None:
        callback = SweepCallback("demo", backend=url)
        tune.run(
            train,
            config={"x": tune.grid_search([1.0, 2.0, 3.0, 4.0]), "lr": tune.uniform(0, 1)},
            metric="loss",
            mode="min",
            scheduler=ASHAScheduler(max_t=5, grace_period=1, reduction_factor=2),
            max_concurrent_trials=1,
            callbacks=[callback],
            reuse_actors=True,
            verbose=0,
            storage_path=str(tmp_path),
        )
        sweep, runs = read(callback, url)
        assert sweep.state == "finished"
        assert sweep.config["metric"] == {"name": "loss", "goal": "minimize"}
        assert sweep.config["parameters"]["x"]["values"] == [1.0, 2.0, 3.0, 4.0]
        assert sweep.config["parameters"]["lr"]["max"] == 1.0
        assert [run.state for run in runs] == ["finished"] * 4
        assert [run.stopped_early for run in runs] == [False, True, True, True]
        assert runs[0].message == "reached training_iteration >= 5"
        assert runs[1].message.startswith(
            "stopped early by AsyncHyperBandScheduler at iteration 1: loss 2 is worse than 1"
        )
        assert runs[0].summary["net/i"] == 4
        assert runs[0].rows == 5

    def test_tuner_with_errors_and_stop(self, url: str, tmp_path: Path) -> None:
        callback = SweepCallback("demo", backend=url)
        tuner = tune.Tuner(
            train,
            param_space={"x": 1.0, "fail": tune.grid_search([True, False])},
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=1),
            run_config=tune.RunConfig(
                name="my-experiment",
                stop={"training_iteration": 2},
                callbacks=[callback],
                verbose=0,
                storage_path=str(tmp_path),
            ),
        )
        tuner.fit()
        with open_backend(url) as backend:
            (sweep,) = backend.sweeps()
            runs = backend.runs(sweep.id)
        assert sweep.name == "my-experiment"
        assert [run.state for run in runs] == ["failed", "finished"]
        assert "broken on purpose" in runs[0].message
        assert (runs[1].message, runs[1].rows) == ("reached training_iteration >= 2", 2)

    def test_attached_by_the_environment(
        self, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RAY_TUNE_CALLBACKS", "tune_bridge.callback.SweepCallback")
        monkeypatch.setenv("TUNE_BRIDGE_BACKEND", url)
        monkeypatch.setenv("WANDB_PROJECT", "from-env")
        tune.run(train, config={"x": 1}, time_budget_s=600, verbose=0, storage_path=str(tmp_path))
        with open_backend(url) as backend:
            (sweep,) = backend.sweeps()
            (run,) = backend.runs(sweep.id)
        assert (sweep.project, sweep.state) == ("from-env", "finished")
        assert (run.state, run.message, run.rows) == ("finished", "", 6)
