"""Microseconds per report: Ray's schedulers as our judges, and called bare, with 16 and 1,000 runs.

Both get the same reports in the same order. The bare call is the scheduler's own method with trials
and flat results at hand; ours notes the checkpoint and what was decided, with its reason.
"""

from __future__ import annotations

import time
from typing import Any

from tune_bridge.engines.base import Checkpoint
from tune_bridge.engines.native.draws import Draws
from tune_bridge.engines.tune.schedulers import judge
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.space import Group, Parameter, Uniform

_STEPS = {"time_attr": "training_iteration"}
_KINDS = {
    "ASHA": Algorithm.of("ASHAScheduler", max_t=81, grace_period=1, reduction_factor=3),
    "HyperBand": Algorithm.of("HyperBandScheduler", max_t=81),
    "Median": Algorithm.of("MedianStoppingRule", grace_period=2, **_STEPS),
    "PBT": Algorithm.of(
        "PopulationBasedTraining",
        perturbation_interval=4,
        hyperparam_mutations={"x": [0.1, 0.2, 0.3]},
        **_STEPS,
    ),
}
_REPORTS = {16: 20, 1000: 3}


def _judge(kind: str, runs: int) -> Any:
    told = Experiment(
        space=Group((("x", Parameter(Uniform(0.0, 1.0))),)),
        objective=Objective("loss"),
        scheduler=_KINDS[kind],
        num_samples=runs,
    )
    made: Any = judge(told, Draws(told, 1), 1)
    for number in range(runs):
        made.add(f"r{number}", {"x": 0.1})
    for number in range(runs):
        made.start(f"r{number}")
    return made


def _reports(runs: int) -> list[tuple[str, dict[str, Any], Checkpoint]]:
    return [
        (
            f"r{number}",
            {"loss": (number * 7919 % runs) / runs + 1 / step, "training_iteration": step},
            Checkpoint(f"r{number}-{step}", f"r{number}", step),
        )
        for step in range(1, _REPORTS[runs] + 1)
        for number in range(runs)
    ]


def _ours(kind: str, runs: int) -> float:
    made, reports, seconds, count = _judge(kind, runs), _reports(runs), 0.0, 0
    trials = made.stage.by_run
    for run, result, checkpoint in reports:
        if trials[run].over:
            continue
        trials[run].status = "RUNNING"
        count += 1
        begin = time.perf_counter()
        made.judge(run, result, checkpoint)
        seconds += time.perf_counter() - begin
    return seconds / count * 1e6


def _bare(kind: str, runs: int) -> float:
    made, reports, seconds, count = _judge(kind, runs), _reports(runs), 0.0, 0
    trials, scheduler, stage = made.stage.by_run, made.scheduler, made.stage
    for run, result, checkpoint in reports:
        trial = trials[run]
        if trial.over:
            continue
        trial.status = "RUNNING"
        trial.save(checkpoint)
        count += 1
        begin = time.perf_counter()
        decision = scheduler.on_trial_result(stage, trial, result)
        if decision == "STOP":
            scheduler.on_trial_complete(stage, trial, result)
        seconds += time.perf_counter() - begin
        if decision == "STOP":
            stage.close(trial, "TERMINATED")
        elif decision == "PAUSE":
            trial.status = "PAUSED"
        stage.changed.clear()
        trial.replaced = None
    return seconds / count * 1e6


def run() -> list[tuple[str, str]]:
    rows = []
    for kind in _KINDS:
        for runs in _REPORTS:
            pairs = [(_bare(kind, runs), _ours(kind, runs)) for _ in range(3 if runs == 16 else 1)]
            bare, ours = (min(values) for values in zip(*pairs, strict=True))
            rows.append((f"{kind}, {runs:,} runs: bare", f"{bare:.0f} us"))
            rows.append((f"{kind}, {runs:,} runs: ours", f"{ours:.0f} us ({ours / bare:.2f}x)"))
    return rows
