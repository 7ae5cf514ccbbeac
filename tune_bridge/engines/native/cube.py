"""A space as a cube: each searched parameter a number from 0 to 1, each choice one of its options.

A number stands where its law has it: at the quantile of the value, so that log scales, integers,
steps and normal laws are all uniform there. Parameters of options that are not taken have a place
as well; they stand in its middle, so that equal configurations are equal points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tune_bridge import laws
from tune_bridge.engines.configs import match
from tune_bridge.engines.results import plain
from tune_bridge.errors import InputError, UnsupportedError
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Integers,
    Node,
    Parameter,
    Sequence,
    walk,
)

__all__ = ["Cube"]

_MIDDLE = 0.5


class Cube:
    """Turns points of the cube into configurations, and back.

    Args:
        space: What is searched.

    Attributes:
        sizes: For each axis the number of its options; 0 for a number.

    Raises:
        UnsupportedError: An operation, or a parameter in two places, has no axis of its own.
        InputError: Nothing is searched.
    """

    def __init__(self, space: Group) -> None:
        for place in walk(space):
            simple = isinstance(place.node, Parameter | Choice | Constant | Sequence)
            if not simple or getattr(place.node, "shared", False):
                raise UnsupportedError(
                    "bayes cannot say how a configuration follows from its parameters here",
                    path=place.path,
                    found=type(place.node).__name__.lower(),
                    expected="parameters, choices and constants",
                    hint="method random can, and so can HyperOptSearch",
                )
        self._space = space
        self.sizes: list[int] = []
        for place in walk(space):
            if isinstance(place.node, Parameter):
                self.sizes.append(0)
            elif isinstance(place.node, Choice):
                self.sizes.append(len(place.node.options))
        if not self.sizes:
            raise InputError(
                "bayes has nothing to search",
                path="parameters",
                expected="a parameter that is no constant",
            )

    @property
    def neutral(self) -> list[float | int]:
        """The point whose axes are all at their neutral place."""
        return [0 if size else _MIDDLE for size in self.sizes]

    def config(self, point: list[Any]) -> dict[str, Any]:
        """The configuration at a point."""
        made: dict[str, Any] = self._make(self._space, iter(point))
        return made

    def point(self, config: dict[str, Any]) -> list[float | int]:
        """Where a configuration of the space stands."""
        found: list[float | int] = []
        self._place(self._space, config, found)
        return found

    def _make(self, node: Node, at: Iterator[Any]) -> Any:
        if isinstance(node, Group):
            return {name: self._make(child, at) for name, child in node.items}
        if isinstance(node, Sequence):
            return [self._make(item, at) for item in node.items]
        if isinstance(node, Parameter):
            return laws.ppf(node.distribution, float(next(at)))
        if isinstance(node, Choice):
            index = int(next(at))
            # The axes of all options are passed, one option counts.
            values = [self._make(option, at) for option in node.options]
            return values[index]
        assert isinstance(node, Constant)
        return plain(node.value)

    def _place(self, node: Node, value: Any, found: list[float | int]) -> None:
        """Appends the axes of a node; `value` is `_NOTHING` where it is not taken."""
        if isinstance(node, Group):
            for name, child in node.items:
                self._place(child, _NOTHING if value is _NOTHING else value[name], found)
        elif isinstance(node, Sequence):
            for index, item in enumerate(node.items):
                self._place(item, _NOTHING if value is _NOTHING else value[index], found)
        elif isinstance(node, Parameter):
            found.append(_MIDDLE if value is _NOTHING else _quantile(node, value))
        elif isinstance(node, Choice):
            chosen = 0 if value is _NOTHING else match(node, value)[0]
            found.append(chosen)
            for index, option in enumerate(node.options):
                taken = value is not _NOTHING and index == chosen
                self._place(option, value if taken else _NOTHING, found)


_NOTHING = object()


def _quantile(node: Parameter, value: float) -> float:
    """The middle of what is drawn as `value`."""
    distribution = node.distribution
    if isinstance(distribution, Integers):
        first, last = distribution.low // distribution.step, distribution.high // distribution.step
        index = int(value) // distribution.step
        if not distribution.log:
            return (index - first + 0.5) / (last - first + 1)
        low, high = math.log(first), math.log(last + 1)
        return (math.log(index) / 2 + math.log(index + 1) / 2 - low) / (high - low)
    if distribution.q is None:
        return laws.cdf(distribution, value)
    half = distribution.q / 2
    return (laws.cdf(distribution, value - half) + laws.cdf(distribution, value + half)) / 2
