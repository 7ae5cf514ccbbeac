"""W&B's distributions: read, written, accepted by W&B's schema, and drawn with the same law."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweeps.params import HyperParameter

from tests.dialects.schema import assert_valid
from tune_bridge import laws
from tune_bridge.dialects.sweep.distributions import (
    DISTRIBUTIONS,
    read_parameter,
    write_parameter,
)
from tune_bridge.errors import SpecError
from tune_bridge.notes import Level, Notes
from tune_bridge.space import Choice, Constant, Integers, Normal, Parameter, Uniform
from tune_bridge.testing.strategies import constants, distributions
from tune_bridge.testing.translations import DRAWS, assert_same_law

EXAMPLES: dict[str, dict[str, Any]] = {
    "constant": {"value": 3},
    "categorical": {"values": [1, 1.0, True, None, "a", [1], {"b": 2}]},
    "categorical_w_probabilities": {"values": [1, 2, 3], "probabilities": [0.2, 0.5, 0.3]},
    "int_uniform": {"min": 1, "max": 6},
    "uniform": {"min": -1.5, "max": 2},
    "q_uniform": {"min": 0, "max": 1, "q": 0.3},
    "log_uniform": {"min": -5, "max": 2},
    "log_uniform_values": {"min": 1e-5, "max": 0.1},
    "q_log_uniform": {"min": 0, "max": 3, "q": 2},
    "q_log_uniform_values": {"min": 1, "max": 100, "q": 10},
    "inv_log_uniform": {"min": 0, "max": 2},
    "inv_log_uniform_values": {"min": 0.1, "max": 0.9},
    "normal": {"mu": 1, "sigma": 2},
    "q_normal": {"mu": 1, "sigma": 2, "q": 0.5},
    "log_normal": {"mu": 0.5, "sigma": 0.25},
    "q_log_normal": {"mu": 1, "sigma": 1, "q": 1},
    "beta": {"a": 2, "b": 5},
    "q_beta": {"a": 2, "b": 5, "q": 0.1},
}


def test_every_distribution_has_an_example() -> None:
    assert EXAMPLES.keys() == DISTRIBUTIONS.keys()


def wandb_draws(spec: dict[str, Any], seed: int = 7, draws: int = DRAWS) -> list[Any]:
    parameter = HyperParameter("x", dict(spec))
    if spec["distribution"] == "categorical_w_probabilities":
        # The array form of this one always gives the first value: a fault of sweeps.
        random.seed(seed)
        return [parameter.sample() for _ in range(draws // 20)]
    u = np.random.default_rng(seed).uniform(1e-9, 1, draws)
    return list(np.asarray(parameter.ppf(u)).tolist())


def bridge_draws(spec: dict[str, Any], seed: int = 11, draws: int = DRAWS) -> list[Any]:
    node = read_parameter(spec, "x")
    rng = random.Random(seed)
    return [laws.sample(node, rng) for _ in range(draws)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in EXAMPLES if n not in ("constant", "categorical")])
def test_the_law_is_that_of_the_sweeps_package(name: str) -> None:
    spec = {"distribution": name, **EXAMPLES[name]}
    assert_same_law(wandb_draws(spec), bridge_draws(spec), label=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "node",
    [
        Parameter(Integers(0, 40, 10)),
        Parameter(Integers(1, 9, log=True)),
        Parameter(Integers(2, 60, 2, log=True)),
        Parameter(Uniform(-5, 0, scale="log", exponents=True)),
        Parameter(Uniform(-1, 3, scale="log", exponents=True, q=2.0)),
        Parameter(Uniform(0, 2, scale="reciprocal", exponents=True)),
        Parameter(Uniform(0.5, 8, scale="reciprocal", q=1.0, integer=True)),
        Parameter(Uniform(1, 6, q=1, integer=True)),
        Parameter(Normal(1, 0.5, "log", 0.25)),
        Choice((Constant.of("a"), Constant.of("b")), (0.25, 0.75)),
    ],
    ids=repr,
)
def test_what_is_written_as_exact_draws_the_same_law(node: Any) -> None:
    notes = Notes()
    spec = write_parameter(node, "x", notes)
    assert notes.worst is Level.EXACT
    rng = random.Random(3)
    ours = [laws.sample(node, rng) for _ in range(DRAWS)]
    assert_same_law(wandb_draws(spec), ours, label=str(spec))


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_native_entry_is_read_and_written_alike(name: str) -> None:
    node = read_parameter({"distribution": name, **EXAMPLES[name]}, "x")
    written = write_parameter(node, "x", Notes())
    assert_valid({"method": "random", "parameters": {"x": written}})
    again = read_parameter(written, "x")
    if "log_uniform" in name and "values" not in name:
        # Exponents are written as values; the carry has them as they were.
        assert written["distribution"] == name + "_values"
    else:
        assert again == node
    assert write_parameter(again, "x", Notes()) == written


@given(distributions())
def test_whatever_is_written_passes_the_schema(distribution: Any) -> None:
    written = write_parameter(Parameter(distribution), "x", Notes())
    assert_valid({"method": "random", "parameters": {"x": written}})


@given(constants())
def test_constants_keep_value_and_type(constant: Constant) -> None:
    assert read_parameter(write_parameter(constant, "x", Notes()), "x") == constant


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"value": None}, Constant.of(None)),
        ({"values": [1, "1"]}, Choice((Constant.of(1), Constant.of("1")))),
        ({"min": 1, "max": 4}, Parameter(Integers(1, 4))),
        ({"min": 1.0, "max": 4.0}, Parameter(Uniform(1, 4))),
        ({"min": 1, "max": 4.5}, Parameter(Uniform(1, 4.5))),
    ],
)
def test_implied_distributions_are_those_of_wandb(spec: Any, expected: Any) -> None:
    assert read_parameter(spec, "x") == expected


def test_an_integer_quantum_makes_integers() -> None:
    spec = {"distribution": "q_uniform", "min": 0, "max": 9}
    integer = read_parameter({**spec, "q": 3}, "x")
    real = read_parameter({**spec, "q": 3.0}, "x")
    assert isinstance(integer, Parameter)
    assert integer.distribution.integer
    assert not real.distribution.integer
    assert integer != real
    assert type(laws.sample(integer, random.Random(1))) is int
    assert type(laws.sample(real, random.Random(1))) is float


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        ({"min": 3, "max": 1}, "p.min", ["min is not below max", "min 3 and max 1", "swap"]),
        ({"min": 3, "max": 3}, "p.min", ["{value: 3}"]),
        ({"min": "1e-5", "max": 1.0}, "p.min", ["not a number", "'1e-5'", "without quotes"]),
        ({"min": True, "max": 3}, "p.min", ["not a number"]),
        ({"min": 0.0, "max": float("inf")}, "p.max", ["max is not finite", "inf"]),
        ({"min": 1}, "p", ["max is missing"]),
        ({}, "p", ["value, values, or min and max"]),
        ({"valeus": [1]}, "p", ["did you mean 'values'?"]),
        ([1, 2], "p", ["not a mapping", "values: [...]"]),
        (0.1, "p", ["not a mapping", "{value: 0.1}"]),
        ({"distribution": "loguniform", "min": 1, "max": 2}, "p.distribution", ["log_uniform"]),
        ({"distribution": ["uniform"], "min": 1, "max": 2}, "p.distribution", ["unknown"]),
        ({"distribution": "uniform", "min": 1, "max": 2, "mid": 1}, "p.mid", ["no key 'mid'"]),
        ({"distribution": "normal", "sigma": 0}, "p.sigma", ["not positive"]),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "p.q", ["q > 0"]),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "p.min", ["log scale"]),
        ({"distribution": "int_uniform", "min": 0.5, "max": 2}, "p.min", ["whole numbers"]),
        ({"values": []}, "p.values", ["not a list with something in it"]),
        ({"values": "abc"}, "p.values", ["not a list"]),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "p", ["sum to 1"]),
        ({"values": [1, 2], "probabilities": [1.0]}, "p", ["differ in number"]),
        ({"parameters": {}}, "p.parameters", ["not a mapping with something"]),
        ({"parameters": {"a": {"value": 1}}, "value": 2}, "p", ["stand alone"]),
        ({"parameters": {"a b": {"value": 1}}}, "p.parameters.a b", ["forbids", "'a.b'"]),
    ],
)
def test_a_malformed_entry_has_one_clear_error(spec: Any, path: str, words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        read_parameter(spec, "p")
    assert caught.value.path == path
    for word in words:
        assert word in str(caught.value)


@given(st.sampled_from(["uniform", "normal", "beta", "log_uniform_values"]))
def test_a_grid_needs_what_can_be_enumerated(name: str) -> None:
    with pytest.raises(SpecError, match="grid cannot enumerate"):
        read_parameter({"distribution": name, **EXAMPLES[name]}, "p", grid=True)


def test_many_log_integers_are_near_and_say_how_near() -> None:
    notes = Notes()
    spec = write_parameter(Parameter(Integers(1, 1024, log=True)), "x", notes)
    assert spec == {"distribution": "q_log_uniform_values", "min": 0.5, "max": 1024.5, "q": 1}
    assert notes.worst is Level.CARRIED
    assert "0.056" in notes[0].why  # measured with the sweeps package: .056


def test_exponents_that_no_float_holds_are_refused() -> None:
    node = Parameter(Uniform(-900, 10, scale="log", exponents=True))
    with pytest.raises(SpecError, match="natural logarithms"):
        write_parameter(node, "x", Notes())
