"""Whatever stands in an argument, the answer is an experiment or one of our own errors."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tune_bridge import tune
from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.calls import Call, Signature
from tune_bridge.dialects.hyperopt.signatures import SIGNATURES as HYPEROPT
from tune_bridge.dialects.ray_tune.signatures import OWN
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES as TUNE
from tune_bridge.errors import InputError
from tune_bridge.experiment import Experiment
from tune_bridge.hyperopt import hp

DIALECTS = [get_dialect("tune"), get_dialect("hyperopt")]
RUN: dict[str, Any] = {"run_or_experiment": "a.py", "metric": "m", "mode": "min"}


def odd_values() -> list[Any]:
    np = pytest.importorskip("numpy")
    plain = [3, 0, -1, 1.5, "x", "", b"b", [], [1], {}, {"a": 1}, {1: 2}, (), None, True, 10**400]
    numbers = [float("nan"), float("inf"), 1j, np.array([1, 2]), np.array(3), np.int64(3)]
    objects = [object(), lambda c: 1, int, {1}, iter([1]), dt.timedelta(1), {"a": object()}, tune]
    pairs = [[(1, 2)], [(0.5, 1), (0.5, 2)], [[1]]]
    code = [{"eval": "1"}, {"grid_search": [1]}, {"grid_search": 1}]
    calls = [tune.uniform(0, 1), hp.uniform("q", 0, 1), tune.choice, TUNE["FIFOScheduler"].call()]
    return [*plain, *numbers, *objects, *pairs, *code, *calls]


def translate(source: Any) -> None:
    """Reads with each dialect that takes it, and writes with both."""
    for dialect in DIALECTS:
        try:
            experiment = dialect.read(source).value
        except InputError:
            continue
        assert isinstance(experiment, Experiment)
        for other in DIALECTS:
            try:
                other.source(experiment)
            except InputError:
                continue


@pytest.mark.parametrize("name", TUNE["tune.run"].signature.parameters)
def test_arguments_of_run(name):
    for value in odd_values():
        translate({**RUN, "config": {"x": tune.uniform(0, 1)}, name: value})


@pytest.mark.parametrize(
    "name",
    ["HyperOptSearch", "BasicVariantGenerator", "ConcurrencyLimiter", "ASHAScheduler"],
)
def test_arguments_of_searchers_and_schedulers(name):
    where = "scheduler" if name == "ASHAScheduler" else "search_alg"
    given: dict[str, Any] = {}
    if name == "ConcurrencyLimiter":
        given = {"searcher": TUNE["HyperOptSearch"].call(), "max_concurrent": 2}
    for parameter in TUNE[name].signature.parameters:
        for value in odd_values():
            translate({**RUN, where: Call(TUNE[name], {**given, parameter: value})})


SENSIBLE = {
    "label": "x",
    "low": 1,
    "high": 2,
    "lower": 1,
    "upper": 2,
    "q": 1,
    "mu": 0,
    "sigma": 1,
    "mean": 0,
    "sd": 1,
    "options": [1],
    "p_options": [(1.0, 1)],
    "categories": [1],
    "values": [1],
    "a": 1,
    "b": 1,
}
FUNCTIONS: dict[str, Signature] = {
    **{name: TUNE[name] for name in TUNE if name.startswith("tune.") and name != "tune.run"},
    **OWN,
    **{name: HYPEROPT[name] for name in HYPEROPT if name.startswith(("hp.", "scope."))},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_of_parameters(name):
    signature = FUNCTIONS[name]
    names = [
        name for name, parameter in signature.signature.parameters.items() if parameter.kind <= 1
    ]
    sensible = {key: SENSIBLE[key] for key in names if key in SENSIBLE}
    for key in names:
        for value in odd_values():
            call = Call(signature, {**sensible, key: value})
            translate({**RUN, "config": {"m": {"x": call}}})
            translate({"x": call})
            translate({"x": Call(signature, {})})


def test_parts_of_a_tuner():
    for value in odd_values():
        translate(value)
        translate({"x": value})
        translate(tune.Tuner(value, param_space=value))
        translate(tune.Tuner("a.py", tune_config=value, run_config=value))
        translate(tune.Tuner("a.py", tune_config=tune.TuneConfig(num_samples=value)))
        translate(tune.Tuner("a.py", run_config=tune.RunConfig(failure_config=value, stop=value)))
