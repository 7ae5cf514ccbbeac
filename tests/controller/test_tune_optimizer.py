"""Our engines as W&B's own scheduler asks them; without a server, and with one."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("wandb")
pytest.importorskip("uvicorn")
pytest.importorskip("ray.tune")

from wandb.sdk.sweeps.run_state import RunState
from wandb.sdk.sweeps.scheduler.optimizer import Run, RunConfig, RunWithMetrics
from wandb.sdk.sweeps.sweep_info import SweepInfo

from tune_bridge import tune
from tune_bridge.controller.tune_optimizer import TuneOptimizer
from tune_bridge.controller.wandb import searched
from tune_bridge.engines import make_engine
from tune_bridge.errors import UnsupportedError
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.tune.schedulers import ASHAScheduler, PopulationBasedTraining
from tune_bridge.tune.search.hyperopt import HyperOptSearch


def _config(samples: int = 6, **arguments: Any) -> dict[str, Any]:
    arguments.setdefault("search_alg", HyperOptSearch())
    made = tune.run(
        "train.py",
        config={"lr": tune.uniform(0, 1)},
        metric="loss",
        mode="min",
        num_samples=samples,
        **arguments,
    )
    return {**made, "scheduler": {"engine": "wandb"}}


def _optimizer(config: dict[str, Any], seed: int = 1) -> TuneOptimizer:
    info = SweepInfo("sweep", "name", "local", "project", config, "run")
    return TuneOptimizer(info, SweepConfig(searched(config)).experiment, seed)


def _run(state: RunState, config: dict[str, Any], losses: list[float]) -> RunWithMetrics:
    rows = [{"_step": step, "loss": loss} for step, loss in enumerate(losses)]
    summary = rows[-1] if rows else {}
    return RunWithMetrics(RunConfig.from_values(config), state, "w", summary, rows)


def test_it_proposes_what_the_searcher_does() -> None:
    """The same suggestions as the engine alone gives for the same results."""
    config = _config()
    made = _optimizer(config)
    alone = make_engine(SweepConfig(searched(config)).experiment, sweep_id="sweep", seed=1)
    for number in range(6):
        (suggestion,) = made.ask_n_runs(1)
        start = alone.ask(time=1e10 + number)
        assert suggestion.config.flat_dict() == start.config
        loss = start.config["lr"] ** 2
        made.tell_run(suggestion.run_id, _run(RunState.RUNNING, start.config, [loss]))
        made.tell_run(suggestion.run_id, _run(RunState.FINISHED, start.config, [loss]))
        alone.tell(start.run, {"_step": 0, "loss": loss}, time=1e10 + number)
        alone.end(start.run, "finished", time=1e10 + number)
    assert made.ask_n_runs(3) == []


def test_a_searcher_that_waits_declines() -> None:
    made = _optimizer(_config(search_alg=HyperOptSearch(), max_concurrent_trials=2))
    assert len(made.ask_n_runs(5)) == 2
    assert made.ask_n_runs(5) is None


def test_bad_runs_are_pruned_once() -> None:
    asha = ASHAScheduler(grace_period=1, max_t=4, reduction_factor=2)
    made = _optimizer(_config(scheduler=asha))
    runs = [each.run_id for each in made.ask_n_runs(4)]
    seen = [_run(RunState.RUNNING, {}, [float(number)]) for number in range(4)]
    for run, data in zip(runs, seen, strict=True):
        made.tell_run(run, data)
    pruned = made.prune_runs(runs, seen)
    assert pruned == runs[1:]
    for run in pruned:  # W&B goes on telling of it until it is stopped
        made.tell_run(run, _run(RunState.KILLED, {}, [9.0]))
    assert not made.should_terminate_sweep()


def test_runs_of_before_count_and_teach() -> None:
    made = _optimizer(_config(samples=3))
    made.tell_existing_finished_run(_run(RunState.FINISHED, {"lr": 0.5}, [0.1, 0.2]))
    made.tell_existing_finished_run(_run(RunState.FINISHED, {"lr": 7.0}, [0.1]))  # does not fit
    adopted = made.tell_existing_active_run(
        Run(RunConfig.from_values({"lr": 0.25}), RunState.RUNNING, "w")
    )
    assert adopted is not None
    assert len(made.ask_n_runs(5)) == 1
    made.tell_run(adopted, _run(RunState.FAILED, {"lr": 0.25}, []))


def test_a_run_without_history_counts_by_its_summary() -> None:
    made = _optimizer(_config())
    (one,) = made.ask_n_runs(1)
    data = _run(RunState.FINISHED, {}, [])
    data.summary_metrics = {"loss": 0.5}
    made.tell_run(one.run_id, data)
    made.tell_run("unknown", data)
    (two,) = made.ask_n_runs(1)
    made.forget_run(two.run_id)
    assert len(made.ask_n_runs(9)) == 4


def test_populations_are_refused() -> None:
    population = PopulationBasedTraining(
        time_attr="training_iteration", hyperparam_mutations={"lr": [0.1, 0.2]}
    )
    with pytest.raises(UnsupportedError, match="cannot pause a run"):
        _optimizer(_config(search_alg=None, scheduler=population))
