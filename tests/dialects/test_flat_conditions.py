"""Conditional trees as rows, and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tune_bridge.dialects.flat_conditions import Row, matching, rows_of, tree_of
from tune_bridge.errors import InputError
from tune_bridge.space import Choice, Constant, Group, Integers, Parameter, Sequence, Uniform
from tune_bridge.testing.strategies import conditional_spaces
from tune_bridge.testing.translations import same_law

FLOAT = Parameter(Uniform(0, 1))


def choice(*values: object) -> Choice:
    return Choice(tuple(map(Constant.of, values)))


def group(**items: object) -> Group:
    return Group(tuple(items.items()))  # type: ignore[arg-type]


@pytest.mark.parametrize("unions", [True, False])
@given(conditional_spaces())
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_rows_say_the_whole_tree(unions: bool, space: Group) -> None:
    assert same_law(tree_of(rows_of(space, unions=unions))[0], listed(space))


def listed(node: Any) -> Any:
    """A tree with lists for its tuples, which rows do not tell apart."""
    if isinstance(node, Sequence):
        return Sequence(tuple(map(listed, node.items)))
    if isinstance(node, Choice):
        return Choice(tuple(map(listed, node.options)), node.weights)
    if isinstance(node, Group):
        return Group(tuple((name, listed(child)) for name, child in node.items))
    return node


def test_rows_as_people_write_them() -> None:
    rows = {
        row.name: row
        for row in (
            Row(("opt",), choice("sgd", "adam", "x")),
            Row(("lr",), FLOAT),
            Row(("m",), FLOAT, {("opt",): ("sgd", "x")}),
            Row(("nest",), choice(True, False), {("opt",): ("sgd",)}),
            Row(("k",), FLOAT, {("nest",): (True,)}),
        )
    }
    tree, nested = tree_of(rows.values())
    sgd = group(
        opt=Constant.of("sgd"),
        m=FLOAT,
        nest=Choice((group(nest=Constant.of(True), k=FLOAT), group(nest=Constant.of(False)))),
    )
    adam, x = group(opt=Constant.of("adam")), group(opt=Constant.of("x"), m=FLOAT)
    assert tree == group(opt=Choice((sgd, adam, x)), lr=FLOAT)
    assert set(nested) == {("opt",), ("nest",)}
    again = {row.name: row._replace(path="") for row in rows_of(tree)}
    assert again == rows


def test_two_selectors() -> None:
    rows = [
        Row(("a",), choice(1, 2)),
        Row(("b",), Parameter(Integers(1, 2))),
        Row(("c",), FLOAT, {("a",): (1,), ("b",): (2,)}),
    ]
    tree, _ = tree_of(rows)
    inner = Choice((group(b=Constant.of(1)), group(b=Constant.of(2), c=FLOAT)))
    one = group(a=Constant.of(1), b=inner)
    assert tree.get("a") == Choice((one, group(a=Constant.of(2), b=Parameter(Integers(1, 2)))))


def test_one_name_with_two_laws() -> None:
    rows = [
        Row(("a",), choice("x", "y")),
        Row(("c",), FLOAT, {("a",): ("x",)}),
        Row(("c",), Constant.of(3), {("a",): ("y",)}),
    ]
    tree, _ = tree_of(rows)
    assert tree.get("a") == Choice(
        (group(a=Constant.of("x"), c=FLOAT), group(a=Constant.of("y"), c=Constant.of(3)))
    )
    assert {row.name for row in rows_of(tree)} > {("a", "branch")}


def test_matching() -> None:
    assert matching({}, {})
    assert matching({("a",): (1, 2)}, {("a",): 2})
    assert not matching({("a",): (1, 2)}, {("a",): 2.0})
    assert not matching({("a",): (1,)}, {})


def test_what_is_no_tree() -> None:
    with pytest.raises(InputError, match="c: a condition on a parameter that does not come before"):
        tree_of([Row(("c",), FLOAT, {("a",): (1,)})])
    with pytest.raises(InputError, match="too many values"):
        tree_of([Row(("a",), FLOAT), Row(("c",), FLOAT, {("a",): (1,)})])
    with pytest.raises(InputError, match="both a parameter and a group"):
        tree_of([Row(("a",), FLOAT), Row(("a", "b"), FLOAT)])
