"""The same trials in a place of ours and in a storage of Optuna, made in seconds."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from tune_bridge.backends.base import (
    Backend,
    LogRows,
    Operation,
    PatchRun,
    PutRun,
    PutSweep,
    Row,
    Run,
    Sweep,
)

START = 1_760_000_000.0
_STEP = 5_000  # operations that are applied at once, and records that are inserted at once
_OPTIONS = ("adam", "adamw", "sgd", "lion")


class Trial(NamedTuple):
    """One trial: its parameters, and what it reported."""

    params: dict[str, Any]
    values: list[float]


def config(parameters: int) -> dict[str, Any]:
    """A sweep: floats, every third on a log scale, every eighth a choice."""
    return {
        "method": "random",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {
            f"p{i:02d}": {"values": list(_OPTIONS)}
            if i % 8 == 7
            else {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1}
            if i % 3 == 2
            else {"min": 0.0, "max": 1.0}
            for i in range(parameters)
        },
    }


def trials(number: int, parameters: int, reports: int) -> Iterator[Trial]:
    """That many, always the same."""
    rng = random.Random(number)
    laws = config(parameters)["parameters"]
    for _ in range(number):
        params: dict[str, Any] = {}
        for name, law in laws.items():
            if "values" in law:
                params[name] = rng.choice(law["values"])
            elif "distribution" in law:
                params[name] = 10 ** rng.uniform(-5, -1)
            else:
                params[name] = rng.random()
        level = (params["p00"] - 0.3) ** 2 + 0.2 * (math.log10(params["p02"]) + 3) ** 2
        values = [level + (1 + rng.random()) / (step + 1) for step in range(reports)]
        yield Trial(params, values)


def fill_ours(
    backend: Backend, sweep: str, number: int, parameters: int, reports: int, metrics: int = 1
) -> None:
    """A sweep of these trials, all finished; with more metrics, each row has so many."""
    name = f"{number} runs"
    made = Sweep(id=sweep, name=name, config=config(parameters), created_at=START, updated_at=START)
    operations: list[Operation] = [PutSweep(made)]
    more = {f"metric{i}": float(i) for i in range(1, metrics)}
    for index, trial in enumerate(trials(number, parameters, reports)):
        at, run = START + index, f"{sweep}-{index}"
        rows = [Row(k, at + k, {"loss": value, **more}) for k, value in enumerate(trial.values)]
        operations += [
            PutRun(
                Run(
                    id=run,
                    sweep_id=sweep,
                    name=f"trial-{index}",
                    state="running",
                    config=trial.params,
                    created_at=at,
                    started_at=at,
                )
            ),
            LogRows(run, rows),
            PatchRun(run, {"state": "finished"}, at + reports),
        ]
        if len(operations) * max(1, reports // 10) > _STEP:
            backend.apply(operations)
            operations = []
    backend.apply(operations)


def fill_optuna(place: str, study: str, number: int, parameters: int, reports: int) -> None:
    """A study of these trials, all complete.

    Optuna takes 20 ms for each trial on SQLite, so its tables are filled by their own definitions,
    and it says itself that all are there.
    """
    from datetime import datetime, timedelta

    import optuna
    from optuna.storages._rdb import models

    storage = optuna.storages.RDBStorage(place)
    made = optuna.create_study(storage=storage, study_name=study)
    laws = {
        name: optuna.distributions.CategoricalDistribution(law["values"])
        if "values" in law
        else optuna.distributions.FloatDistribution(law["min"], law["max"], log=len(law) > 2)
        for name, law in config(parameters)["parameters"].items()
    }
    texts = {name: optuna.distributions.distribution_to_json(law) for name, law in laws.items()}
    tables: dict[Any, list[dict[str, Any]]] = {
        kind: []
        for kind in (
            models.TrialModel,
            models.TrialParamModel,
            models.TrialValueModel,
            models.TrialIntermediateValueModel,
        )
    }
    start = datetime(2025, 10, 9, 8, 53, 20)  # noqa: DTZ001 - as Optuna keeps them
    for index, trial in enumerate(trials(number, parameters, reports)):
        at = start + timedelta(seconds=index)
        key = {"trial_id": index + 1}
        records: dict[Any, list[dict[str, Any]]] = {
            models.TrialModel: [
                {
                    "number": index,
                    "study_id": made._study_id,
                    "state": "COMPLETE",
                    "datetime_start": at,
                    "datetime_complete": at + timedelta(seconds=reports),
                }
            ],
            models.TrialParamModel: [
                {
                    "param_name": name,
                    "param_value": laws[name].to_internal_repr(value),
                    "distribution_json": texts[name],
                }
                for name, value in trial.params.items()
            ],
            models.TrialValueModel: [
                {"objective": 0, "value": trial.values[-1], "value_type": "FINITE"}
            ],
            models.TrialIntermediateValueModel: [
                {
                    "step": step,
                    "intermediate_value": value,
                    "intermediate_value_type": "FINITE",
                }
                for step, value in enumerate(trial.values)
            ],
        }
        for kind, some in records.items():
            tables[kind] += [{**key, **record} for record in some]
    with storage.engine.begin() as connection:
        for kind, all_of_it in tables.items():
            for first in range(0, len(all_of_it), _STEP):
                connection.execute(kind.__table__.insert(), all_of_it[first : first + _STEP])
    last = made.trials[-1]
    if last.number != number - 1 or last.value is None or len(last.params) != parameters:
        raise RuntimeError(f"Optuna holds other trials: {last}")
