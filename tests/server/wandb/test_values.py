"""Documents, filters, ids, names and values of the wire, each by itself."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.server.wandb import execute as executor
from tune_bridge.server.wandb.execute import execute
from tune_bridge.server.wandb.files import Files
from tune_bridge.server.wandb.filters import MISSING, matches, ordered
from tune_bridge.server.wandb.ids import Signer, derived, global_id, parts
from tune_bridge.server.wandb.jsontext import adopt, mapping, mappings, unwrapped, wrapped


def test_deep_documents_are_refused():
    deep = "{ viewer " + "{ a " * executor.MAX_DEPTH + "}" * executor.MAX_DEPTH + "}"
    said = execute(deep, {}, {"viewer": lambda call: {}})
    assert "deep" in said["errors"][0]["message"]


def test_documents_are_walked():
    seen = {}

    def root(call):
        seen.update(call)
        return {
            "a": 1,
            "f": lambda call: call.get("n"),
            "list": [{"x": 1}, {"x": 2}],
            "o": {"p": 1},
        }

    said = execute(
        """query Q($n: Int = 4, $no: Boolean!) { r: root(input: {k: [$n, {z: null}], m: $gone}) {
          ...F f(n: $n) skipped: a @skip(if: true) got: a @include(if: $no) missing o nothing {x}
          } }
        fragment F on T { list { x } __typename }""",
        {"no": False},
        {"root": root},
    )
    assert said == {
        "data": {
            "r": {
                "list": [{"x": 1}, {"x": 2}], "__typename": None, "f": 4, "missing": None,
                "o": {"p": 1}, "nothing": None,
            }
        }
    }  # fmt: skip
    assert seen == {"k": [4, {"z": None}]}


@given(st.text(max_size=60))
def test_names_of_files_cannot_leave_the_folder(name):
    files = Files(Path("/base"), 1)
    try:
        path = files.path(("s", "r"), name)
    except InputError:
        return
    assert path.parts[:4] == ("/", "base", "s", "r")
    assert not {".", ".."} & set(path.parts[4:])
    assert str(path.resolve()).startswith("/base/s/r/")


def test_addresses_expire_and_are_for_one_purpose(tmp_path):
    signer = Signer(tmp_path / "a")
    token = signer.sign("upload", "x", "y", seconds=60)
    assert Signer(tmp_path / "a").check("upload", token) == ["x", "y"], "after a restart"
    for purpose, wrong in (
        ("download", token),
        ("upload", signer.sign("upload", "x", seconds=-1)),
        ("upload", Signer(tmp_path / "b").sign("upload", "x", seconds=60)),
        ("upload", "nonsense"),
    ):
        with pytest.raises(InputError):
            signer.check(purpose, wrong)
    assert (tmp_path / "a" / "wandb.secret").stat().st_mode & 0o77 == 0


def test_filters():
    values = {"a": 3, "name": "run-7", "tags": ["x", "y"], "none": None, "text": "b"}

    def get(key):
        return values.get(key, MISSING)

    for condition, expected in (
        ({}, True), ({"a": 3}, True), ({"a": 4}, False), ({"a": {"$gt": 2, "$lt": 4}}, True),
        ({"a": {"$in": [1, 3]}}, True), ({"a": {"$nin": [3]}}, False), ({"tags": "x"}, True),
        ({"tags": {"$in": ["z"]}}, False), ({"name": {"$regex": "^run-\\d$"}}, True),
        ({"gone": None}, True), ({"gone": {"$ne": 1}}, True), ({"gone": {"$gt": 1}}, False),
        ({"gone": {"$exists": False}}, True), ({"none": None}, True), ({"text": {"$gt": 1}}, False),
        ({"$or": [{"a": 1}, {"text": "b"}]}, True), ({"$and": [{"a": 3}, {"text": "c"}]}, False),
        ({"$not": {"a": 3}}, False), ({"$nor": [{"a": 1}, {"a": 2}]}, True),
        ({"a": {"$not": {"$lt": 2}}}, True),
    ):  # fmt: skip
        assert matches(condition, get) is expected, condition
    for wrong in (
        3,
        {"$where": "1"},
        {"a": {"$weird": 1}},
        {"name": {"$regex": "("}},
        {"$and": [3]},
    ):
        with pytest.raises(InputError):
            matches(wrong, get)
    deep: Any = {"a": 3}
    for _ in range(30):
        deep = {"$and": [deep]}
    with pytest.raises(InputError):
        matches(deep, get)


def test_orders():
    items = [(n, {"v": v}.get) for n, v in enumerate([2, None, math.nan, 1, {"min": 0}, "t"])]
    assert [n for n, _ in ordered(items, "+v")] == [4, 3, 0, 5, 1, 2]
    assert [n for n, _ in ordered(items, "-v")] == [5, 0, 3, 4, 1, 2]


_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False)
    | st.text()
)
_values = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def _as_core_does(value: Any) -> Any:
    """What wandb's core makes of a value: whole floats lose their point."""
    if isinstance(value, dict):
        return {key: _as_core_does(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_core_does(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


@given(
    st.dictionaries(
        st.text(min_size=1).filter(lambda k: k not in ("_wandb", "wandb_version")),
        _values,
        max_size=4,
    )
)
def test_configs_come_back_with_their_types(config):
    values, internal = unwrapped(_as_core_does(wrapped(config, {"t": 1})))
    assert internal == {"t": 1}
    assert repr(adopt(values, config)) == repr(config)


@given(st.lists(st.text(), max_size=4))
def test_ids_say_what_they_were_given(texts):
    assert parts("Run", global_id("Run", *texts)) == texts
    with pytest.raises(NotFoundError):
        parts("Sweep", global_id("Run", *texts))


def test_derived_ids_are_ids():
    assert re.fullmatch("[a-z0-9]{8}", derived("a", "b"))
    assert derived("a", "b") == derived("a", "b") != derived("ab", "")


@given(
    st.lists(
        st.dictionaries(st.text(), st.floats() | st.integers() | st.text() | st.none(), max_size=3),
        max_size=5,
    )
)
def test_rows_read_together_are_what_each_says(rows):
    lines = [json.dumps(row) for row in rows]
    found = mappings(lines, "a row")
    assert list(map(repr, found)) == [repr(mapping(line, "a row")) for line in lines]


@pytest.mark.parametrize("lines", [['{"a": 1', ', "b": 2}'], ["{}", "[]"], ["{}", ""], ["1"]])
def test_a_row_that_is_none_is_refused(lines):
    with pytest.raises(InputError, match="a row"):
        mappings(lines, "a row")
