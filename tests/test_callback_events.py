"""Every event of real experiments is in the log of the sweep, at the right run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray.tune")

from ray import tune
from ray.tune.schedulers import ASHAScheduler, HyperBandScheduler, MedianStoppingRule

from tests.ray_sweeps import session
from tune_bridge import SweepCallback
from tune_bridge.backends import open_backend

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with session(TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1"):
        yield


class Seen:
    """A sweep when all is over: its runs by their x, and what was logged of each."""

    def __init__(self, url: str) -> None:
        with open_backend(url) as backend:
            (self.sweep,) = backend.sweeps()
            self.runs = {run.config["x"]: run for run in backend.runs(self.sweep.id)}
            self.log = backend.events(self.sweep.id)
            self.rows = {x: backend.history(run.id) for x, run in self.runs.items()}

    def of(self, x: float) -> list[str]:
        return [event["event"] for event in self.events(x)]

    def events(self, x: float) -> list[dict[str, Any]]:
        return [event for event in self.log if event.get("run") == self.runs[x].id]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'sweeps.db'}"


def common(folder: Path, url: str, **more: Any) -> dict[str, Any]:
    """Arguments of ``tune.run``."""
    return {
        "metric": "loss",
        "mode": "min",
        "callbacks": [SweepCallback("demo", backend=url)],
        "reuse_actors": True,
        "verbose": 0,
        "raise_on_failed_trial": False,
        "storage_path": str(folder / "ray"),
        **more,
    }


def falls(config: dict[str, Any]) -> None:
    for step in range(4):
        tune.report({"loss": config["x"] - step / 10})


def test_a_bare_scheduler_says_its_rung(tmp_path: Path, url: str) -> None:
    tune.run(
        falls,
        config={"x": tune.grid_search([1.0, 2.0])},
        scheduler=ASHAScheduler(max_t=4, grace_period=1, reduction_factor=2),
        max_concurrent_trials=1,
        **common(tmp_path, url),
    )
    seen = Seen(url)
    assert seen.of(1.0) == seen.of(2.0) == ["created", "started", "ended"]
    assert seen.runs[1.0].message == "reached training_iteration >= 4"
    reason = "loss 2 is worse than 1, the best 1/2 at training_iteration 1 (rank 2 of 2)"
    at = "stopped early by AsyncHyperBandScheduler at iteration 1"
    assert seen.runs[2.0].message == seen.events(2.0)[-1]["message"] == f"{at}: {reason}"


def test_a_bare_median_rule_says_its_median(tmp_path: Path, url: str) -> None:
    tune.run(
        falls,
        config={"x": tune.grid_search([1.0, 3.0])},
        scheduler=MedianStoppingRule(
            time_attr="training_iteration", grace_period=1, min_samples_required=1
        ),
        max_concurrent_trials=1,
        **common(tmp_path, url),
    )
    seen = Seen(url)
    assert seen.runs[3.0].stopped_early
    assert seen.runs[3.0].message.startswith("stopped early by MedianStoppingRule at iteration 1: ")
    assert "the median of 1 runs up to training_iteration 1" in seen.runs[3.0].message


class Counts(tune.Trainable):
    """Saves what it has counted; x = 1 breaks at its third step, once."""

    def setup(self, config: dict[str, Any]) -> None:
        self.config, self.count = config, 0

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config, self.count = new_config, 0
        return True

    def step(self) -> dict[str, Any]:
        self.count += 1
        once = Path(self.config["folder"], "broken")
        if self.config["x"] == 1.0 and self.count == 3 and not once.exists():
            once.touch()
            raise ValueError("broken once")
        return {"loss": self.config["x"] / self.count, "count": self.count}

    def save_checkpoint(self, folder: str) -> None:
        Path(folder, "count").write_text(str(self.count))

    def load_checkpoint(self, folder: str) -> None:
        self.count = int(Path(folder, "count").read_text())


def test_a_failure_that_is_retried_from_its_checkpoint(tmp_path: Path, url: str) -> None:
    tuner = tune.Tuner(
        Counts,
        param_space={"x": tune.grid_search([1.0]), "folder": str(tmp_path)},
        tune_config=tune.TuneConfig(metric="loss", mode="min", reuse_actors=True),
        run_config=tune.RunConfig(
            stop={"training_iteration": 4},
            failure_config=tune.FailureConfig(max_failures=2),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=2),
            callbacks=[SweepCallback("demo", backend=url)],
            storage_path=str(tmp_path / "ray"),
            verbose=0,
        ),
    )
    tuner.fit()
    seen = Seen(url)
    (run,) = seen.runs.values()
    assert (run.state, run.message) == ("finished", "reached training_iteration >= 4")
    assert run.meta["failures"] == 1
    events = [e for e in seen.events(1.0) if e["event"] != "checkpoint"]
    assert [event["event"] for event in events] == [
        "created", "started", "recovered", "resumed", "ended",
    ]  # fmt: skip
    recovered, resumed = events[2:4]
    assert recovered["failures"] == 1
    assert recovered["error"].endswith("ValueError: broken once")
    saved = [event for event in seen.events(1.0) if event["event"] == "checkpoint"]
    assert Path(saved[0]["path"]).name == resumed["checkpoint"]
    assert [row.values["count"] for row in seen.rows[1.0]] == [1, 2, 3, 4]
    assert [row.step for row in seen.rows[1.0]] == [0, 1, 2, 3]
    assert run.meta["checkpoint"]["path"] == saved[-1]["path"]


HALVED = re.compile(
    r"stopped early by HyperBandScheduler at iteration \d: loss [\d.]+ is not among the best "
    r"(\d) of its bracket at training_iteration (\d), which go on; the last of them has ([\d.]+)"
)


def test_hyperband_pauses_and_resumes(tmp_path: Path, url: str) -> None:
    tune.run(
        Counts,
        config={"x": tune.grid_search([2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), "folder": str(tmp_path)},
        scheduler=HyperBandScheduler(max_t=4, reduction_factor=2),
        resources_per_trial={"cpu": 0.5},
        **common(tmp_path, url),
    )
    seen = Seen(url)
    assert {run.state for run in seen.runs.values()} == {"finished"}
    names = {x: [name for name in seen.of(x) if name != "checkpoint"] for x in seen.runs}
    assert all(each[:2] == ["created", "started"] for each in names.values())
    assert all(each[-1] == "ended" for each in names.values())
    # Who waits at a rung is paused; the better half goes on.
    paused = [x for x, each in names.items() if "paused" in each]
    assert paused
    assert any("resumed" in each for each in names.values())
    for each in names.values():
        assert each.count("resumed") <= each.count("paused")
    early = [run for run in seen.runs.values() if run.stopped_early]
    assert early
    for run in early:  # those that are stopped while they wait, and the one that reported last
        found = HALVED.fullmatch(run.message)
        assert found, run.message
        number, at, cutoff = found.groups()
        then = int(at) - 1
        losses = {x: rows[then].values["loss"] for x, rows in seen.rows.items() if len(rows) > then}
        worst = losses[run.config["x"]]
        assert run.last_step == then
        assert float(cutoff) in [pytest.approx(loss, 1e-4) for loss in losses.values()]
        assert float(cutoff) <= worst
        assert sum(loss <= float(cutoff) * 1.0001 for loss in losses.values()) >= int(number)


def breaks(config: dict[str, Any]) -> None:
    tune.report({"loss": config["x"]})
    if config["x"] == 1.0:
        raise ValueError("broken on purpose")
    while True:
        tune.report({"loss": config["x"]})


def test_errors_and_an_end_by_the_clock(tmp_path: Path, url: str) -> None:
    """Tune says nothing of trials that its budget ends; those that have not begun are no runs."""

    class AtOnce(tune.Stopper):
        seen = 0

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            if result["loss"] == 2.0:
                AtOnce.seen += 1
            return False

        def stop_all(self) -> bool:
            return AtOnce.seen > 2

    tune.run(
        breaks,
        config={"x": tune.grid_search([1.0, 2.0, 3.0])},
        stop=AtOnce(),
        resources_per_trial={"cpu": 2},
        **common(tmp_path, url),
    )
    seen = Seen(url)
    assert [(run.state, run.rows > 0) for run in seen.runs.values()] == [
        ("failed", True), ("killed", True),
    ]  # fmt: skip
    failed, cut = seen.runs.values()
    assert failed.message.splitlines()[0].endswith("ValueError: broken on purpose")
    assert "in breaks" in failed.message  # the traceback
    assert cut.message == "the experiment ended before the run did"
    assert seen.of(1.0) == seen.of(2.0) == ["created", "started", "ended"]
    assert seen.log[-1]["event"] == "end"
