"""Every notation to every other and back, with all that a tree can hold.

What no note speaks of is the same afterwards; what a notation cannot say has a note at its path, or
is refused with an error that names the path.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tune_bridge.dialects.base import DIALECTS, Dialect, Translation, get_dialect
from tune_bridge.dialects.flat_laws import whole
from tune_bridge.errors import InputError
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.notes import Level, Notes
from tune_bridge.space import Choice, Constant, Group, Node, Sequence
from tune_bridge.testing.strategies import whole_spaces
from tune_bridge.testing.translations import same_law

MANY = settings(max_examples=15, derandomize=True, suppress_health_check=list(HealthCheck))


def in_searcher(space: Group) -> Experiment:
    return Experiment(
        space=space,
        objective=Objective("loss"),
        searcher=Algorithm("HyperOptSearch"),
        space_in="searcher",
        program="train.py",
        num_samples=None,
    )


def written(dialect: Dialect, experiment: Experiment) -> Translation[Any] | None:
    """What a dialect writes; None where it refuses, which has to name the path."""
    try:
        return dialect.write(experiment)
    except InputError as error:
        refusal = error
    assert refusal.path, refusal
    assert "\n" not in str(refusal)
    return None


def noted(*notes: Notes) -> set[str]:
    """Paths of what is not exactly as it was; a list that has lost an item is another list."""
    found = set()
    for note in itertools.chain(*notes):
        path = note.path.removeprefix("parameters.")
        if note.level > Level.EXACT:
            found.add(path)
        if note.level is Level.LOST:
            found |= {path[:end] for end, sign in enumerate(path) if sign == "["}
    # One draw in two places is one node in HyperOpt, with one note.
    return found | {"z2_0.again"} if "z1_0" in found else found


def above(path: str, places: set[str]) -> bool:
    """Whether a place or something above it is among the places."""
    return any(path == place or path.startswith((f"{place}.", f"{place}[")) for place in places)


def changed(one: Node, other: Node | None, path: str, places: set[str]) -> list[str]:
    """Where two trees differ without a note."""
    if above(path, places) or (other is not None and same_law(one, other)):
        return []
    one, other = plain(one), None if other is None else plain(other)
    if other is not None and same_law(one, other):
        return []
    mine, theirs = children(one, path), children(other, path)
    if isinstance(one, Group) and one.items and (other is None or isinstance(other, Group)):
        # What is gone has a note of its own, or it shows below.
        theirs = {**dict.fromkeys(mine), **theirs}
    if not mine or mine.keys() != theirs.keys() or kind(one) != kind(other or one):
        return [path]
    return [p for key in mine for p in changed(mine[key], theirs[key], key, places)]


def plain(node: Node) -> Node:
    """What notations make of a constant mapping and of the integer part of a parameter."""
    if isinstance(node, Constant) and isinstance(node.value, dict):
        return Group(tuple((key, Constant.of(item)) for key, item in node.value.items()))
    return whole(node)


def kind(node: Node | None) -> str:
    """Which container a node is, and how it chooses."""
    if isinstance(node, Constant):
        return type(node.value).__name__
    if isinstance(node, Choice):
        even = (1 / len(node.options),) * len(node.options)
        return f"a choice by {[round(weight, 9) for weight in node.weights or even]}"
    return node.kind if isinstance(node, Sequence) else type(node).__name__


def children(node: Node | None, path: str) -> dict[str, Any]:
    """What a node holds, by path."""
    if isinstance(node, Group):
        return {f"{path}.{name}" if path else name: child for name, child in node.items}
    if isinstance(node, Constant) and isinstance(node.value, list | tuple):
        return {f"{path}[{index}]": Constant.of(item) for index, item in enumerate(node.value)}
    if isinstance(node, Sequence):
        return {f"{path}[{index}]": item for index, item in enumerate(node.items)}
    if isinstance(node, Choice):
        return {f"{path}[{index}]": option for index, option in enumerate(node.options)}
    return {}


@pytest.mark.parametrize("first", DIALECTS)
@given(whole_spaces())
@MANY
def test_there_and_back(first: str, drawn: tuple[Group, frozenset[str]]) -> None:
    for second in DIALECTS:
        if second != first:
            one_pair(first, second, drawn[0])


def one_pair(first: str, second: str, space: Group) -> None:
    one, other = get_dialect(first), get_dialect(second)
    said = written(one, in_searcher(space))
    if said is None:
        return
    ours = one.read(said.value).value
    assert_noted(space, ours.space, said.notes)
    there = written(other, ours)
    if there is None:
        return
    back = other.read(there.value).value
    assert_noted(ours.space, back.space, there.notes)
    again = written(one, back)
    if again is not None:
        assert_noted(ours.space, one.read(again.value).value.space, there.notes, again.notes)


def assert_noted(before: Group, after: Group, *notes: Notes) -> None:
    places = noted(*notes)
    found = changed(before, after, "", places)
    assert not found, f"{found} changed without a note at them, but at {sorted(places)}: {after}"
