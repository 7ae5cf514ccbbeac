"""Calls as values: arguments are bound and handed on as Python itself does."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_bridge.dialects.calls import Signature, build

PARAMETERS = (
    "a, b=1, c=2",
    "a, b, c",
    "a=0, *, b=1, c=2",
    "a, *args, **kwargs",
    "*, a, b=1",
)


@given(
    st.sampled_from(PARAMETERS),
    st.lists(st.integers(), max_size=4),
    st.dictionaries(st.sampled_from("abcd"), st.integers(), max_size=4),
)
def test_arguments_are_bound_as_python_binds_them(
    parameters: str, args: list[int], kwargs: dict[str, int]
) -> None:
    signature = Signature("f", "nowhere", parameters)
    try:
        bound = signature.signature.bind(*args, **kwargs)
    except TypeError as error:
        with pytest.raises(TypeError, match=re.escape(f"f() {error}")):
            signature.call(*args, **kwargs)
        return
    call = signature.call(*args, **kwargs)
    assert list(call.arguments.items()) == list(bound.arguments.items())

    def function(*given: Any, **named: Any) -> Any:
        return signature.signature.bind(*given, **named).arguments

    assert signature.invoke(function, call.arguments) == bound.arguments


def test_arguments_go_by_position_until_there_is_a_gap() -> None:
    signature = Signature("f", "nowhere", "a, b=1, c=2")

    def function(*given: Any, **named: Any) -> Any:
        return given, named

    # HyperOpt's graphs tell arguments by name from those by position.
    assert signature.invoke(function, {"a": 1, "b": 2, "c": 3}) == ((1, 2, 3), {})
    assert signature.invoke(function, {"a": 1, "c": 3}) == ((1,), {"c": 3})


def test_a_call_that_stands_twice_is_made_once() -> None:
    call = Signature("Counter", "collections", "iterable=None").call("abca")
    made = build({"one": call, "two": [call], "three": (call, 1)})
    assert made["one"] == {"a": 2, "b": 1, "c": 1}
    assert made["one"] is made["two"][0] is made["three"][0]
    assert build(Signature("Counter", "collections", "")) is type(made["one"])
