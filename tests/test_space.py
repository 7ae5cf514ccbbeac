"""The tree: what it accepts, what it refuses, and its laws."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_bridge import laws
from tune_bridge.errors import SpecError
from tune_bridge.space import (
    Beta,
    Choice,
    Constant,
    Distribution,
    Group,
    Integers,
    Normal,
    Parameter,
    Uniform,
    check_executable,
    leaves,
)
from tune_bridge.testing.strategies import distributions, integers, spaces, uniforms


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Uniform(1, 0), "swap"),
        (lambda: Uniform(1, 1), "constant"),
        (lambda: Uniform(0, 1, scale="log"), "positive bounds"),
        (lambda: Uniform(0, math.inf), "not finite"),
        (lambda: Uniform(0, math.nan), "not finite"),
        (lambda: Uniform("0", 1), "not a number"),
        (lambda: Uniform(True, 2), "not a number"),
        (lambda: Uniform(None, 2), "not a number"),
        (lambda: Uniform(0, 1, q=0), "q > 0"),
        (lambda: Uniform(0, 1, q=0.5, integer=True), "whole q"),
        (lambda: Uniform(0, 1, integer=True), "no integers"),
        (lambda: Uniform(0, 1, exponents=True), "log scale"),
        (lambda: Integers(3, 1), "above the upper"),
        (lambda: Integers(0.5, 1), "whole number"),
        (lambda: Integers(0, 5, 2), "multiples"),
        (lambda: Integers(0, 4, 0), "multiples"),
        (lambda: Integers(0, 4, log=True), "positive"),
        (lambda: Normal(0, 0), "not positive"),
        (lambda: Beta(0, 1), "not positive"),
        (lambda: Choice(()), "without options"),
        (lambda: Choice((Constant.of(1),), (0.5,)), "sum to 1"),
        (lambda: Choice((Constant.of(1),), (0.5, 0.5)), "differ in number"),
        (lambda: Group((("a", Constant.of(1)), ("a", Constant.of(2)))), "named twice"),
    ],
)
def test_nonsense_is_refused(make: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        make()


def test_equality_ignores_the_order_of_names_and_nothing_else() -> None:
    a, b = ("a", Parameter(Uniform(0, 1))), ("b", Constant.of(1))
    assert Group((a, b)) == Group((b, a))
    assert hash(Group((a, b))) == hash(Group((b, a)))
    assert Group((a, b)) != Group((a,))
    assert Constant.of(1) != Constant.of(1.0)
    assert Uniform(0, 1) == Uniform(0.0, 1.0)


@given(spaces())
def test_a_space_is_hashable_and_samples_what_it_names(space: Group) -> None:
    assert hash(space) == hash(Group(space.items))
    drawn = laws.sample(space, random.Random(1))
    for path, node in leaves(space):
        value = drawn
        for name in path:
            value = value[name]
        if isinstance(node, Constant):
            assert value == node.value
        elif isinstance(node, Choice):
            assert value in node.values()


@given(distributions(), st.floats(0, 1), st.floats(0, 1))
def test_quantiles_are_monotone_and_typed(d: Distribution, u: float, v: float) -> None:
    low, high = sorted((u, v))
    one, other = laws.ppf(d, low), laws.ppf(d, high)
    assert one <= other
    whole = isinstance(d, Integers) or d.integer
    assert type(one) is (int if whole else float)


@given(uniforms(), st.floats(0.001, 0.999))
def test_cdf_inverts_ppf(d: Uniform, u: float) -> None:
    plain = Uniform(d.low, d.high, d.scale, None, False, d.exponents)
    assert laws.cdf(plain, laws.ppf(plain, u)) == pytest.approx(u, abs=1e-6)


@given(integers(), st.floats(0, 1))
def test_integers_stay_inside(d: Integers, u: float) -> None:
    value = laws.ppf(d, u)
    assert d.low <= value <= d.high
    assert value % d.step == 0


@given(integers())
def test_cells_sum_to_one(d: Integers) -> None:
    cells = laws.cell_probabilities(d)
    assert len(cells) == d.count
    assert sum(cells.values()) == pytest.approx(1)
    assert laws.total_variation(cells, cells) == 0


def test_half_weight_at_the_ends_of_a_rounded_uniform() -> None:
    # Measured with HyperOpt: uniformint(1, 6) gives .1, .2, .2, .2, .2, .1.
    cells = laws.cell_probabilities(Uniform(1, 6, q=1, integer=True))
    assert [round(p, 3) for p in cells.values()] == [0.1, 0.2, 0.2, 0.2, 0.2, 0.1]
    plain = laws.cell_probabilities(Integers(1, 6))
    assert laws.total_variation(cells, plain) == pytest.approx(0.1333, abs=1e-3)


@pytest.mark.parametrize("u", [0.0, 1.0])
def test_beta_has_ends(u: float) -> None:
    # scipy's own quantile of the first two is NaN at 2**-64.
    for a, b in ((1.0452, 0.5763), (1.0151, 0.1), (0.1, 0.1), (10.0, 2.0)):
        assert 0 <= laws.ppf(Beta(a, b), u) <= 1


def test_continuous_laws_have_no_cells() -> None:
    with pytest.raises(ValueError, match="continuous"):
        laws.cell_probabilities(Uniform(0, 1))


@pytest.mark.parametrize("key", ["eval", "grid_search"])
def test_what_ray_would_execute_is_refused_wherever_it_hides(key: str) -> None:
    hidden = {key: "__import__('os').getcwd()"}
    for node in (
        Constant.of(hidden),
        Constant.of([{"a": (hidden,)}]),
        Choice((Constant.of(hidden),)),
        Group(((key, Constant.of(1)),)),
        Group((("x", Group((("y", Constant.of(hidden)),))),)),
    ):
        with pytest.raises(SpecError, match="lone key"):
            check_executable(node)
    check_executable(Constant.of({key: 1, "other": 2}))
