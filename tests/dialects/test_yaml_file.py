"""YAML: numbers, places, and hostile files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given

from tests.corpus import sweep_files
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


SAMPLES = """\
- {a: 0x1F, b: 0o17, c: 017, d: 1_000, e: 1:30, f: +12, g: -0, h: .5, i: 1., j: 1.0e+3, k: -.inf}
- {a: y, b: Yes, c: OFF, d: "true", e: null, f: Null, g: , h: 'null', i: nan, j: .NaN2}
- [!!str 3, !!int "3", !!float 3, !!bool "yes", !!null "", ! 3, !!map {a: 1}, !!seq [1]]
- [2020-01-01, 2020-01-01 10:00:00, 12e, 0.1.2, 1-2, a#b, ~x, '', "\\u00e9", "a\\
  b"]
- &m {x: 1, y: [1, &s two], z: {t: 3}}
- {<<: *m, y: 4, w: *s}
- {y: 5, <<: [*m, {q: 9, x: 7}], *s : 1}
- {<<: {a: 1}, <<: {a: 2, b: 3}}
- |
  a
   b
- >-
  folded
  text
- ? plain
  : 1
- []
- {}
"""


@pytest.mark.parametrize("number", range(13))
def test_other_things_are_as_pyyaml_reads_them(number: int) -> None:
    theirs = yaml.load(SAMPLES, Loader=yaml_file._SweepLoader)[number]
    ours = yaml_file.load(SAMPLES).data[number]
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("path", sweep_files(), ids=lambda path: path.stem)
def test_the_corpus_is_as_pyyaml_reads_it(path: Path) -> None:
    text = path.read_bytes()
    assert yaml_file.load(text).data == yaml.load(text, Loader=yaml_file._SweepLoader)


def test_a_merge_keeps_the_places_of_its_own_keys() -> None:
    document = yaml_file.load("a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\n  z: {x: 1}\n")
    assert document.place("b.y") == (4, 3)
    assert document.place("b.x") == (1, 8)


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
        ("a: &x 1\nb: &x 2", ["2:4", "anchor 'x' is there twice"]),
        ("a: {<<: 3}", ["1:9", "no mapping"]),
        ("a: =", ["1:4"]),
        ("a: !!int x", ["1:4"]),
        ("a: !!binary aGk=", ["bytes has no place"]),
        (
            "".join(f"a{i}: &a{i} [*a{i - 1}]\n" if i else "a0: &a0 []\n" for i in range(999)),
            ["unfolds"],
        ),
        ("[" + "a, " * 2_000_000 + "]", ["unfolds"]),
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
