"""Frozen values keep types, are hashable, and compare as they should."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_bridge.errors import SpecError
from tune_bridge.values import Frozen, decode, encode

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(
            st.text(max_size=3) | st.sampled_from(["$tuple", "$float", "$items"]), inner, max_size=3
        )
        | st.dictionaries(st.integers(), inner, max_size=2)
    ),
)


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@given(anything)
def test_a_value_comes_back_with_its_types(value: Any) -> None:
    assert same(Frozen(value).value, value)
    assert same(decode(json.loads(json.dumps(encode(value), allow_nan=False))), value)
    assert Frozen.from_data(Frozen(value).data) == Frozen(value)
    assert pickle.loads(pickle.dumps(Frozen(value))) == Frozen(value)


def test_types_stay_apart() -> None:
    assert len({Frozen(1), Frozen(1.0), Frozen(True), Frozen("1")}) == 4
    assert Frozen([1]) != Frozen((1,))
    assert Frozen({"a": 1, "b": 2}) == Frozen({"b": 2, "a": 1})
    assert hash(Frozen({"a": 1, "b": 2})) == hash(Frozen({"b": 2, "a": 1}))
    assert Frozen(float("nan")) == Frozen(float("nan"))
    assert math.isnan(Frozen(float("nan")).value)


def test_a_frozen_value_cannot_be_changed_from_outside() -> None:
    source = {"a": [1]}
    frozen = Frozen(source)
    source["a"].append(2)
    frozen.value["a"].append(3)
    assert frozen.value == {"a": [1]}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([[1, 2]]), [[1, 2]]),
    ],
)
def test_numpy_values_are_taken_as_what_they_hold(value: Any, plain: Any) -> None:
    assert same(Frozen(value).value, plain)


def test_an_object_is_refused_with_its_place() -> None:
    with pytest.raises(SpecError, match=r"x\.a\[1\]: a value that a sweep cannot hold"):
        Frozen({"a": [1, object()]}, "x")
