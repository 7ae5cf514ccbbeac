"""Points to try first, in the two ways in which HyperOpt and its wrapper in Tune name things.

An experiment's point is nested like the space and holds values. HyperOpt's is flat, keyed by label,
and gives a choice by the index of its option. Tune's ``HyperOptSearch`` takes the value of a choice
that stands at the top of the space under its own label, and HyperOpt's form of everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tune_bridge.dialects.python_space import short
from tune_bridge.errors import SpecError
from tune_bridge.space import Choice, Constant, Group, Node, leaves

__all__ = ["from_labels", "to_labels"]


def _searched(space: Group) -> Iterator[tuple[tuple[str, ...], str, Node]]:
    for path, node in leaves(space):
        if not isinstance(node, Constant | Group):
            yield path, node.label or ".".join(path), node


def to_labels(point: dict[str, Any], space: Group, *, values_on_top: bool) -> dict[str, Any]:
    """A nested point as a flat one.

    Args:
        point: Values, nested like `space`; constants in it are left out.
        space: The tree.
        values_on_top: Choices at the top are given by value, as `HyperOptSearch` wants them.

    Raises:
        SpecError: A choice has no such option.
    """
    flat: dict[str, Any] = {}
    for path, label, node in _searched(space):
        value: Any = point
        for name in path:
            value = value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT
        if value is _ABSENT:
            continue
        by_value = values_on_top and path == (label,)
        flat[label] = (
            _index(node, value, label) if isinstance(node, Choice) and not by_value else value
        )
    return flat


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
        on_top = names == (label,)
        if label in point and isinstance(node, Choice) and (indices or not on_top):
            value = _option(node, point[label], f"{path}.{label}")
        elif label in point:
            value = point[label]
            if isinstance(node, Choice):
                _index(node, value, f"{path}.{label}")
        else:
            continue
        if not on_top:
            nested.pop(label, None)
        place = nested
        for name in names[:-1]:
            place = place.setdefault(name, {})
        place[names[-1]] = value
    unknown = [name for name in point if name not in nested and name not in _labels(space)]
    if unknown:
        raise SpecError(
            "a point names a parameter that the space lacks",
            path=f"{path}.{unknown[0]}",
            expected=f"one of {', '.join(_labels(space))}",
        )
    return nested


_ABSENT = object()


def _labels(space: Group) -> list[str]:
    return [label for _, label, _ in _searched(space)]


def _index(node: Choice, value: Any, path: str) -> int:
    values = node.values()
    for index, option in enumerate(values):
        if option == value and isinstance(option, bool) == isinstance(value, bool):
            return index
    raise SpecError(
        "a point with a value that the choice lacks",
        path=path,
        found=short(value),
        expected=f"one of {short(values)}",
    )


def _option(node: Choice, index: Any, path: str) -> Any:
    values = node.values()
    if isinstance(index, int) and 0 <= index < len(values):
        return values[index]
    raise SpecError(
        "a point gives a choice by the index of its option",
        path=path,
        found=short(index),
        expected=f"0 to {len(values) - 1}",
    )
