"""PED-ANOVA on arrays says what Optuna's says of trials."""

from __future__ import annotations

import random

import numpy as np
import pytest

pytest.importorskip("scipy")

from tune_bridge.server.analysis import parzen
from tune_bridge.server.analysis.importance import measure

LOG = frozenset({"lr", "units"})


def _runs(number: int) -> tuple[dict[str, list], list[float]]:
    rng = random.Random(number)
    columns: dict[str, list] = {"x": [], "lr": [], "layers": [], "units": [], "kind": []}
    target = []
    for _ in range(number):
        columns["x"].append(rng.random())
        columns["lr"].append(10 ** rng.uniform(-5, -1))
        columns["layers"].append(rng.randint(1, 6))
        columns["units"].append(round(2 ** rng.uniform(4, 10)))
        columns["kind"].append(rng.choice(["a", "b", "c"]))
        penalty = {"a": 0.0, "b": 0.3, "c": 0.1}[columns["kind"][-1]]
        target.append((columns["x"][-1] - 0.2) ** 2 + penalty + 0.02 * columns["layers"][-1])
    return columns, target


@pytest.mark.parametrize("number", [20, 60, 400])
def test_as_optuna(number: int) -> None:
    optuna = pytest.importorskip("optuna", minversion="5")
    kinds = optuna.distributions
    columns, target = _runs(number)
    spaces = {
        "x": kinds.FloatDistribution(min(columns["x"]), max(columns["x"])),
        "lr": kinds.FloatDistribution(min(columns["lr"]), max(columns["lr"]), log=True),
        "layers": kinds.IntDistribution(min(columns["layers"]), max(columns["layers"])),
        "units": kinds.IntDistribution(min(columns["units"]), max(columns["units"]), log=True),
        "kind": kinds.CategoricalDistribution(sorted(set(columns["kind"]))),
    }
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={name: values[run] for name, values in columns.items()},
                distributions=spaces,
                value=target[run],
            )
            for run in range(number)
        ]
    )
    theirs = optuna.importance.PedAnovaImportanceEvaluator().evaluate(study)
    total = sum(theirs.values())
    ours = {one.path: one.value for one in measure(columns, target, "ped_anova", LOG)}
    assert ours == pytest.approx({name: value / total for name, value in theirs.items()}, rel=1e-9)


def test_the_best_are_a_tenth_and_who_is_as_good() -> None:
    assert parzen.best(np.arange(100.0)[::-1]).tolist() == list(range(90, 100))
    assert parzen.best(np.array([1.0, 1.0, 2.0, 1.0])).tolist() == [0, 1, 3]


def test_what_differs_nowhere_counts_nothing() -> None:
    grid = parzen.grid(np.linspace(0.0, 1.0, 500), whole=False, log=False)
    rows = np.arange(500)
    assert grid.divergence(rows, rows) == pytest.approx(0.0, abs=1e-12)
    assert grid.divergence(rows, rows[:50]) > 1.0
