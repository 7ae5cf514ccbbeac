"""The points of a finite space: how many there are, and the one with a number.

Nothing is enumerated, so that 10**12 points cost as much as ten.
"""

from __future__ import annotations

import math
from typing import Any

from tune_bridge import laws
from tune_bridge.engines.results import plain
from tune_bridge.space import (
    Beta,
    Choice,
    Constant,
    Distribution,
    Group,
    Integers,
    Node,
    Parameter,
    Sequence,
    Uniform,
)

__all__ = ["axis", "count", "point"]


def count(node: Node) -> int | None:
    """How many values a tree has that can be drawn; None for no end, or when nobody can say."""
    if isinstance(node, Constant):
        return 1
    if isinstance(node, Parameter):
        if getattr(node, "shared", False):
            return None
        values = axis(node.distribution)
        return None if values is None else len(values)
    if isinstance(node, Choice):
        if getattr(node, "shared", False):
            return None
        counts = [count(option) for option in _possible(node)]
        return None if None in counts else sum(c for c in counts if c is not None)
    if isinstance(node, Group):
        return _product([child for _, child in node.items])
    return _product(list(node.items)) if isinstance(node, Sequence) else None


def _product(children: list[Node]) -> int | None:
    counts = [count(child) for child in children]
    return None if None in counts else math.prod(c for c in counts if c is not None)


def point(node: Node, index: int) -> Any:
    """The value with a number, 0 to `count` - 1; the last parameter varies fastest."""
    if isinstance(node, Constant):
        return plain(node.value)
    if isinstance(node, Parameter):
        values = axis(node.distribution)
        assert values is not None
        return values[index]
    if isinstance(node, Choice):
        for option in _possible(node):
            size = count(option) or 0
            if index < size:
                return point(option, index)
            index -= size
        raise IndexError(index)
    assert isinstance(node, Group | Sequence)
    children = [child for _, child in node.items] if isinstance(node, Group) else list(node.items)
    found = []
    for child in reversed(children):
        index, rest = divmod(index, count(child) or 1)
        found.append(point(child, rest))
    found.reverse()
    if isinstance(node, Group):
        return dict(zip([name for name, _ in node.items], found, strict=True))
    return found


def _possible(choice: Choice) -> list[Node]:
    """Options that can be drawn."""
    if choice.weights is None:
        return list(choice.options)
    return [o for o, weight in zip(choice.options, choice.weights, strict=True) if weight > 0]


class _Multiples:
    """Multiples of a quantum, typed; a sequence without its items."""

    def __init__(self, first: int, last: int, q: float, integer: bool) -> None:
        self._first, self._last, self._q, self._integer = first, last, q, integer

    def __len__(self) -> int:
        return self._last - self._first + 1

    def __getitem__(self, index: int) -> int | float:
        value = (self._first + index) * self._q
        return int(value) if self._integer else value


def axis(distribution: Distribution) -> range | _Multiples | None:
    """The values that a distribution draws, ascending; None for no end."""
    if isinstance(distribution, Integers):
        return range(distribution.low, distribution.high + 1, distribution.step)
    if distribution.q is None or not isinstance(distribution, Uniform | Beta):
        return None
    q = distribution.q
    # A quantile at an end is at most a hair inside, and rounded away.
    low, high = laws.ppf(distribution, 0.0), laws.ppf(distribution, 1.0)
    return _Multiples(round(low / q), round(high / q), q, distribution.integer)
