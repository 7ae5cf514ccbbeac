"""Points to try first, in the two ways in which HyperOpt and its wrapper in Tune name things.

An experiment's point is nested like the space and holds values. HyperOpt's is flat, keyed by label,
and gives a choice by the index of its option. Tune's ``HyperOptSearch`` takes the value of a choice
that stands at the top of the space under its own label, and HyperOpt's form of everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tune_bridge.dialects.python_space import short
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.laws import argument_names, operate
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Node,
    Operation,
    Parameter,
    Sequence,
    leaves,
    walk,
)

__all__ = ["from_labels", "to_labels"]

_ABSENT: Any = object()


def _searched(space: Group) -> Iterator[tuple[tuple[str, ...], str, Node]]:
    for path, node in leaves(space):
        if not isinstance(node, Constant | Group):
            yield path, getattr(node, "label", None) or ".".join(path), node


def to_labels(point: dict[str, Any], space: Group, *, values_on_top: bool) -> dict[str, Any]:
    """A nested point as a flat one.

    Args:
        point: Values, nested like `space`; constants in it are left out.
        space: The tree.
        values_on_top: Choices at the top are given by value, as `HyperOptSearch` wants them.

    Raises:
        SpecError: A choice has no such option.
        UnsupportedError: `HyperOptSearch` cannot take the point.
    """
    flat: dict[str, Any] = {}
    for path, label, node in _searched(space):
        value: Any = point
        for name in path:
            value = value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT
        if value is _ABSENT:
            continue
        if values_on_top and path == (label,) and isinstance(node, Choice) and node.plain:
            flat[label] = value
        else:
            _flatten(value, node, ".".join(path), flat)
    if values_on_top:
        _check_names(flat, space)
    return flat


def _check_names(flat: dict[str, Any], space: Group) -> None:
    """Refuses what Ray looks up wrongly: it takes the values of any name at the top for options."""
    for name, node in space.items:
        nested = isinstance(node, Choice) and not node.plain
        if nested and name in flat:
            raise UnsupportedError(
                "an initial point for a condition whose label is its own name in the space, "
                "which Ray's HyperOptSearch cannot take",
                path=f"points_to_evaluate.{name}",
                expected="a label that is no name at the top of the space",
                hint=f'call it hp.choice("{name}_kind", ...), or leave the point out',
            )


def _flatten(value: Any, node: Node, path: str, flat: dict[str, Any]) -> None:
    """Adds the labels of what is drawn in `node` to `flat`."""
    if isinstance(node, Group):
        for name, child in node.items:
            if isinstance(value, dict) and name in value:
                _flatten(value[name], child, f"{path}.{name}", flat)
    elif isinstance(node, Sequence):
        items = value if isinstance(value, list | tuple) else ()
        for index, (item, child) in enumerate(zip(items, node.items, strict=False)):
            _flatten(item, child, f"{path}[{index}]", flat)
    elif isinstance(node, Operation):
        _flatten_operation(value, node, path, flat)
    elif isinstance(node, Parameter):
        flat[node.label or path] = value
    elif isinstance(node, Choice):
        index = _index(node, value, path)
        flat[node.label or path] = index
        _flatten(value, node.options[index], f"{path}[{index}]", flat)


def _flatten_operation(value: Any, node: Operation, path: str, flat: dict[str, Any]) -> None:
    """Only a mapping of the arguments says what was drawn; a result does not."""
    key, names = argument_names(node)
    if not isinstance(value, dict) or value.get(key) != node.name:
        raise UnsupportedError(
            "an initial point that gives the value of an operation, not what is drawn for it",
            path=f"points_to_evaluate.{path}",
            found=short(value),
            hint="leave it out of the point",
        )
    for name, (where, argument) in zip(names, node.arguments, strict=True):
        if name in value:
            _flatten(value[name], argument, f"{path}{where}", flat)


def _fits(value: Any, node: Node) -> bool:
    """Whether a value could be a draw of a node, as far as its form and its constants tell."""
    if isinstance(node, Constant):
        return _equal(node.value, value)
    if isinstance(node, Group):
        children = dict(node.items)
        return (
            isinstance(value, dict)
            and value.keys() == children.keys()
            and all(_fits(value[name], child) for name, child in children.items())
        )
    if isinstance(node, Sequence):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(node.items)
            and all(map(_fits, value, node.items))
        )
    if isinstance(node, Choice):
        return any(_fits(value, option) for option in node.options)
    if isinstance(node, Operation):
        key, names = argument_names(node)
        return isinstance(value, dict) and value.keys() == {key, *names}
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _nested(flat: dict[str, Any], node: Node, path: str, where: str) -> Any:
    """The value of a node that a flat point gives; `_ABSENT` where it says nothing."""
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, Group):
        values = {n: _nested(flat, child, f"{path}.{n}", where) for n, child in node.items}
        return {name: value for name, value in values.items() if value is not _ABSENT}
    if isinstance(node, Sequence):
        items = [_nested(flat, x, f"{path}[{i}]", where) for i, x in enumerate(node.items)]
        if _ABSENT in items:
            return _ABSENT
        return tuple(items) if node.kind == "tuple" else items
    if isinstance(node, Operation):
        parts = [_nested(flat, x, f"{path}{place}", where) for place, x in node.arguments]
        return _ABSENT if _ABSENT in parts else operate(node, parts)
    label = node.label or path
    if label not in flat:
        return _ABSENT
    if isinstance(node, Parameter):
        return flat[label]
    option = _option(node, flat[label], f"{where}.{label}")
    return _nested(flat, option, f"{path}[{node.options.index(option)}]", where)


def from_labels(
    point: dict[str, Any], space: Group, path: str, *, indices: bool = False
) -> dict[str, Any]:
    """A point as Tune's `HyperOptSearch` takes it (or HyperOpt itself), nested and with values.

    Args:
        point: Keyed by label, or by the names of the space.
        space: The tree.
        path: Where the point stands, for messages.
        indices: Every choice is given by index.

    Raises:
        SpecError: A choice has no such option.
    """
    nested = {name: value for name, value in point.items() if name in dict(space.items)}
    for names, label, node in _searched(space):
        on_top, value = names == (label,), _ABSENT
        if on_top and isinstance(node, Choice) and node.plain and not indices:
            if label in point:
                value = point[label]
                _index(node, value, f"{path}.{label}")
        elif not isinstance(node, Choice) or label in point:
            value = _nested(point, node, ".".join(names), path)
        if value is _ABSENT:
            continue
        if not on_top:
            nested.pop(label, None)
        place = nested
        for name in names[:-1]:
            place = place.setdefault(name, {})
        place[names[-1]] = value
    labels = _labels(space)
    unknown = [name for name in point if name not in nested and name not in labels]
    if unknown:
        raise SpecError(
            "a point names a parameter that the space lacks",
            path=f"{path}.{unknown[0]}",
            expected=f"one of {', '.join(labels)}",
        )
    return nested


def _labels(space: Group) -> list[str]:
    return [
        place.node.label or place.path
        for place in walk(space)
        if isinstance(place.node, Parameter | Choice)
    ]


def _index(node: Choice, value: Any, path: str) -> int:
    for index, option in enumerate(node.options):
        if _fits(value, option):
            return index
    known = short(node.values()) if node.plain else f"{len(node.options)} search spaces"
    raise SpecError(
        "a point with a value that the choice lacks",
        path=path,
        found=short(value),
        expected=f"one of {known}",
    )


def _option(node: Choice, index: Any, path: str) -> Node:
    if isinstance(index, int) and 0 <= index < len(node.options):
        return node.options[index]
    raise SpecError(
        "a point gives a choice by the index of its option",
        path=path,
        found=short(index),
        expected=f"0 to {len(node.options) - 1}",
    )
