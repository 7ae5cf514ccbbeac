"""YAML: numbers, places, and hostile files."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given

from tune_bridge.dialects.sweep import yaml_file
from tune_bridge.errors import SpecError
from tune_bridge.testing.strategies import values


@given(values(max_leaves=12))
def test_what_is_written_is_read_back_by_us_and_by_wandbs_client(value: Any) -> None:
    text = yaml_file.dump({"x": value})
    assert yaml_file.load(text).data == {"x": value}
    assert yaml.safe_load(text) == {"x": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("3E6", 3e6),
        ("-2e+3", -2000.0),
        (".5e1", 5.0),
        ("1.e2", 100.0),
        ("'1e-5'", "1e-5"),
        ("1.0e-5", 1e-5),
        ("12", 12),
        ("yes", True),
        ("off", False),
        ("~", None),
        ("2020-01-01", "2020-01-01"),
        ("1e", "1e"),
        ("e5", "e5"),
        (".inf", float("inf")),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    read = yaml_file.load(f"x: {text}").data["x"]
    assert read == value
    assert type(read) is type(value)


def test_places_are_those_of_the_text() -> None:
    document = yaml_file.load("a:\n  b: [1, 2]\n  c:\n    d: 3\n", "f.yaml")
    assert document.place("a.b[1]") == (2, 10)
    assert document.place("a.c.d") == (4, 5)
    assert document.place("a.c.missing") == (3, 3)
    assert document.place("") == (1, 1)


def test_anchors_and_merges() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\n"
    assert yaml_file.load(text).data == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 2},
    }


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}]\n" for i in range(1, 16)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a:\n\tb: 1", ["2:1", "tab", "spaces"]),
        ("a: 1\n\tb: 1", ["tab"]),
        ("a: 1\nb: 2\na: 3", ["3:1", "'a' stands twice"]),
        ("a: [1, 2", ["not YAML"]),
        ("a: b: c", ["1:5", "not YAML"]),
        ("a: 'x", ["not YAML"]),
        ("a: !!python/object/apply:os.system [ls]", ["1:4", "python/object"]),
        ("a: !!set {x}", ["1:4", ":set"]),
        ("? [1]\n: 2", ["not plain text"]),
        ("a: 1\n---\nb: 2", ["not YAML"]),
        (b"a: \xff\xfe", ["not"]),
        ("a: \x00", ["not YAML"]),
        ("a: " + "[" * 5000, ["100 levels"]),
        ("a: " + "{a: " * 5000, ["100 levels"]),
        ("a:\n" + "".join(" " * i + "b:\n" for i in range(1, 300)), ["100 levels"]),
        ("- " * 5000 + "x", ["100 levels"]),
        (BOMB, ["unfolds"]),
        ("a: *nothing", ["undefined alias"]),
        ("&a [*a]", ["f.yaml"]),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str | bytes) else "",
)
def test_a_bad_file_has_one_clear_error_in_bounded_time(
    text: str | bytes, words: list[str]
) -> None:
    start = time.process_time()
    with pytest.raises(SpecError) as caught:
        yaml_file.load(text, "f.yaml")
    assert time.process_time() - start < 10
    message = str(caught.value)
    assert message.startswith("f.yaml")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_file_that_is_too_large_is_not_parsed() -> None:
    with pytest.raises(SpecError, match="too large"):
        yaml_file.load(b"x" * (yaml_file.MAX_BYTES + 1))


def test_an_empty_file_is_none() -> None:
    assert yaml_file.load("").data is None
