"""Records real Ray experiments, call by call of their schedulers.

``python -m tests.engines.record_tune [name ...]`` writes ``traces/<name>.json`` beside this file;
`test_schedulers_ray` replays them.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.engines import agents
from tune_bridge.engines.results import plain
from tune_bridge.experiment import Algorithm, Experiment

TRACES = Path(__file__).parent / "traces"

# name -> number of trials, reports of each
CASES: dict[str, tuple[int, int]] = {
    "fifo": (4, 3),
    "asha": (12, 9),
    "asha_brackets": (12, 9),
    "hyperband": (17, 9),
    "bohb": (14, 9),
    "median": (10, 6),
    "median_soft": (8, 6),
    "pbt": (8, 10),
    "pbt_synch": (6, 8),
    "pb2": (6, 8),
    "resources": (6, 9),
    "replay": (1, 8),
}
POLICY = """\
["b", "c", 2, 2, {"index": 0, "x": 0.2}, {"index": 0, "x": 0.3}]
["a", "b", 2, 3, {"index": 0, "x": 0.3}, {"index": 0, "x": 0.4}]
["a", "a", 5, 5, {"index": 0, "x": 0.4}, {"index": 0, "x": 0.5}]
"""
SCHEDULERS = {
    **agents.SCHEDULERS,
    "replay": Algorithm.of("PopulationBasedTrainingReplay", policy_file=POLICY),
}
ALONE = ("asha", "hyperband", "bohb", "median", "median_soft", "pbt", "pbt_synch")
"""Cases that are recorded with a single place as well: there nothing lags behind."""
FAILING = ("asha", "hyperband", "pbt")
"""Cases in which a trial fails once and is tried again, and another one fails for good."""


def experiment(name: str) -> Experiment:
    """What is recorded."""
    return agents.experiment(SCHEDULERS[name], CASES[name][0])


def trainable(length: int, flags: str | None) -> type:
    """A class that Ray trains; trials 1 and 3 fail where `flags` is a folder."""
    from ray import tune

    class Ripple(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.config = config

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.config = new_config
            return True

        def step(self) -> dict[str, Any]:
            index = self.config["index"]
            if flags is not None and self.iteration == 1 and index in (1, 3):
                mark = Path(flags) / str(index)
                if index == 3 or not mark.exists():
                    mark.touch()
                    raise RuntimeError("on purpose")
            return {"loss": agents.loss(self.config, self.iteration + 1)}

        def save_checkpoint(self, folder: str) -> None:
            (Path(folder) / "state").write_text(str(self.iteration))

        def load_checkpoint(self, folder: str) -> None:
            assert (Path(folder) / "state").exists()

    return Ripple


class Recorder:
    """What a scheduler was asked and said; nested calls are effects of the outer one."""

    def __init__(self, seed: int) -> None:
        self.events: list[dict[str, Any]] = []
        self.depth = 0
        self.seed = seed
        self.state: Any = None

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """The scheduler alone draws from these states, as in an engine."""
        import numpy as np

        outside = random.getstate(), np.random.get_state()
        if self.state is None:
            random.seed(self.seed)
            np.random.seed(self.seed)
        else:
            random.setstate(self.state[0])
            np.random.set_state(self.state[1])
        yield
        self.state = random.getstate(), np.random.get_state()
        random.setstate(outside[0])
        np.random.set_state(outside[1])

    def call(self, event: str, controller: Any, trial: Any, inner: Any, **said: Any) -> Any:
        if self.depth:
            if event == "remove" and trial.trial_id != self.events[-1]["run"]:
                self.events[-1]["stops"].append(trial.trial_id)
            return inner()
        trials = list(controller.get_trials())
        configs = {one.trial_id: one.config for one in trials}
        entry = {
            "event": event,
            "run": None if trial is None else trial.trial_id,
            "statuses": {one.trial_id: one.status for one in trials},
            "saving": [one.trial_id for one in trials if one.is_saving],
            "checkpoints": {
                one.trial_id: one.latest_checkpoint_result.metrics["training_iteration"]
                for one in trials
                if one.latest_checkpoint_result
            },
            "stops": [],
            **said,
        }
        if event == "add":
            entry["config"] = plain(trial.config)
        self.events.append(entry)
        self.depth += 1
        with self.isolated():
            answer = inner()
        self.depth -= 1
        if event == "choose":
            entry["answer"] = None if answer is None else answer.trial_id
        else:
            entry["answer"] = answer
        if event == "add":
            entry["filled"] = plain(trial.config)
        entry["exploits"] = [
            {
                "run": one.trial_id,
                "donor": one.latest_checkpoint_result.metrics["trial_id"],
                "iteration": one.latest_checkpoint_result.metrics["training_iteration"],
                "config": plain(one.config),
            }
            for one in trials
            if event != "add" and one.config is not configs[one.trial_id]
        ]
        return answer


def recording(kind: type, recorder: Recorder) -> type:
    """A scheduler class whose calls are recorded."""
    told = ("loss", "training_iteration", "trial_id")

    class Recording(kind):  # type: ignore[misc, valid-type]
        def on_trial_add(self, c: Any, trial: Any, **more: Any) -> None:
            recorder.call("add", c, trial, lambda: super(Recording, self).on_trial_add(c, trial))

        def on_trial_result(self, c: Any, trial: Any, result: dict[str, Any]) -> Any:
            kept = {name: result[name] for name in told}
            inner = super().on_trial_result
            return recorder.call("result", c, trial, lambda: inner(c, trial, result), result=kept)

        def on_trial_complete(self, c: Any, trial: Any, result: dict[str, Any], **m: Any) -> None:
            kept = {name: result[name] for name in told if name in result}
            inner = super().on_trial_complete
            recorder.call("complete", c, trial, lambda: inner(c, trial, result), result=kept)

        def on_trial_remove(self, c: Any, trial: Any, **more: Any) -> None:
            inner = super().on_trial_remove
            recorder.call("remove", c, trial, lambda: inner(c, trial))

        def on_trial_error(self, c: Any, trial: Any, **more: Any) -> None:
            inner = super().on_trial_error
            recorder.call("error", c, trial, lambda: inner(c, trial))

        def choose_trial_to_run(self, c: Any, **more: Any) -> Any:
            inner = super().choose_trial_to_run
            return recorder.call("choose", c, None, lambda: inner(c, **more))

    return Recording


def record(name: str, *, seed: int = 11, failing: bool = True) -> dict[str, Any]:
    """Runs one case with Ray, in the session that is there; programs fail where they shall."""
    from ray import tune

    from tune_bridge.engines.tune.schedulers import live_scheduler

    count, length = CASES[name]
    live = live_scheduler(experiment(name))
    recorder = Recorder(seed)
    live.__class__ = recording(type(live), recorder)
    if hasattr(live, "_log_config"):
        live._log_config = True
    folder = tempfile.mkdtemp()
    flags = tempfile.mkdtemp() if failing and name in FAILING else None
    config = {"index": tune.choice(list(range(count))), "x": tune.uniform(0.0, 1.0)}
    if name == "bohb":
        from ray.tune.search.bohb import TuneBOHB

        searcher = TuneBOHB(seed=seed, metric="loss", mode="min")
    else:
        searcher = tune.search.BasicVariantGenerator(
            points_to_evaluate=[
                {"index": index, "x": random.Random(index).random()} for index in range(count)
            ]
        )
    analysis = tune.run(
        trainable(length, flags),
        config=config,
        num_samples=count,
        scheduler=live,
        search_alg=searcher,
        stop={"training_iteration": length},
        storage_path=folder,
        name=name,
        verbose=0,
        reuse_actors=name != "resources",
        max_failures=1 if flags else 0,
        raise_on_failed_trial=False,
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
    )
    policies = {
        path.stem.removeprefix("pbt_policy_"): path.read_text()
        for path in (Path(folder) / name).glob("**/pbt_policy_*.txt")
    } or {
        path.stem.removeprefix("pbt_policy_"): path.read_text()
        for path in Path(analysis.trials[0].local_experiment_path).glob("pbt_policy_*.txt")
    }
    tags = {trial.trial_id: trial.experiment_tag.split("@")[0] for trial in analysis.trials}
    return {
        "seed": seed,
        "events": _compact(recorder.events),
        "policies": policies,
        "tags": tags,
    }


def _compact(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what is empty or as before, and without a choice that repeats itself."""
    kept: list[dict[str, Any]] = []
    last: dict[str, Any] = {"statuses": {}, "saving": [], "checkpoints": {}}
    for event in events:
        lean = {key: value for key, value in event.items() if value not in (None, [], {})}
        for key, before in last.items():
            now = event[key]
            if isinstance(now, dict):
                lean[key] = {run: value for run, value in now.items() if before.get(run) != value}
            if now == before or not lean.get(key):
                lean.pop(key, None)
            if now == [] and before != []:
                lean[key] = []
        last = {key: event[key] for key in last}
        again = bool(kept) and kept[-1] == lean and event["event"] == "choose"
        if not again:
            kept.append(lean)
    return kept


@contextmanager
def session(cpus: int) -> Iterator[None]:
    """A small Ray of our own."""
    import ray

    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    ray.init(
        "local", num_cpus=cpus, include_dashboard=False, logging_level="ERROR", log_to_driver=False
    )
    yield
    ray.shutdown()


def sequence(name: str, trace: dict[str, Any]) -> dict[str, Any]:
    """A whole experiment: configurations, and trial, iteration, value and answer of each report.

    The answer to a report that meets the stop criterion is END: the scheduler is not asked.
    """
    events = trace["events"]
    added = [event for event in events if event["event"] == "add"]
    order = [event["run"] for event in added]
    rows: list[list[Any]] = []
    for event in events:
        told = event.get("result", {})
        row = [told.get("training_iteration"), told.get("loss")]
        if event["event"] == "result":
            rows.append([order.index(event["run"]), *row, event["answer"]])
        elif event["event"] == "complete" and row[0] == CASES[name][1]:
            end = [order.index(event["run"]), *row]
            if [*end, "STOP"] not in rows:
                rows.append([*end, "END"])
    configs = [event["config"] for event in added]
    return {"seed": trace["seed"], "configs": configs, "rows": rows}


def _write(name: str, trace: dict[str, Any], key: str) -> None:
    lines = ",\n".join(json.dumps(row) for row in trace.pop(key))
    text = json.dumps(trace)[:-1] + f', "{key}": [\n{lines}\n]}}\n'
    (TRACES / f"{name}.json").write_text(text)


def main(names: list[str]) -> None:
    TRACES.mkdir(exist_ok=True)
    with session(3):
        for name in names or list(CASES):
            _write(name, record(name), "events")
    with session(1):
        for name in [name for name in ALONE if not names or name in names]:
            _write(f"alone_{name}", sequence(name, record(name, failing=False)), "rows")


if __name__ == "__main__":
    main(sys.argv[1:])
