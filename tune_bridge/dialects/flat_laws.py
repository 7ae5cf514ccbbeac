"""What the writers of flat notations propose for a law, and how far a proposal is from it."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import msgspec

from tune_bridge import laws
from tune_bridge.errors import UnsupportedError
from tune_bridge.space import (
    Beta,
    Choice,
    Constant,
    Distribution,
    Integers,
    Node,
    Normal,
    Operation,
    Parameter,
    Uniform,
)
from tune_bridge.values import Frozen

__all__ = [
    "FAR",
    "MOST_OPTIONS",
    "SAME",
    "distance",
    "gap",
    "missing",
    "proposals",
    "score",
    "shape",
    "unrounded",
    "value_bounds",
    "whole",
]

MOST_OPTIONS = 256
"""The longest list of values that a distribution is written as."""

_MOST_CELLS = 20_000
FAR = 0.5
"""A law at this distance or beyond is another one."""
SAME = 1e-9

_BULK = (0.025, 0.975)
"""Quantiles between which a normal or beta law is replaced: wider bounds are further from it."""


# Proposals ----------------------------------------------------------------------------------------


def proposals(leaf: Node) -> Iterator[tuple[str, dict[str, Any]]]:
    """Forms near a node's law, the likeliest first: kind, and what its maker takes."""
    if isinstance(leaf, Constant):
        yield "constant", {"value": leaf.value}
        yield "options", {"values": [leaf.value], "weights": None}
    elif isinstance(leaf, Choice):
        weights = None if leaf.weights is None or leaf.grid else list(leaf.weights)
        yield "options", {"values": leaf.values(), "weights": weights}
        if weights is not None:
            yield from _ranges(leaf.values())
    elif isinstance(leaf, Parameter):
        yield from _laws(leaf.distribution)


def _ranges(values: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ranges of all the integers that a list holds, for notations without weights."""
    if len(values) > 1 and all(type(v) is int and v == values[0] + i for i, v in enumerate(values)):
        for log in (False, True) if values[0] > 0 else (False,):
            yield "int", {"low": values[0], "high": values[-1], "step": 1, "log": log}


def whole(node: Node) -> Node:
    """The integer part of a parameter as a weighted list, where it has few values."""
    first = node.args[0] if isinstance(node, Operation) and node.name == "int" else None
    if not isinstance(first, Parameter) or first.shared:
        return node
    cells = laws.whole_probabilities(first.distribution, MOST_OPTIONS)
    return Choice(tuple(map(Constant.of, cells)), tuple(cells.values())) if cells else node


def _laws(law: Distribution) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(law, Integers):
        yield from _integers(law)
        return
    if law.q is not None:
        yield from _cells(law)
    if isinstance(law, Uniform):
        low, high = value_bounds(law)
        if law.q is not None and law.integer:
            first, last = round(low), round(high)
            if first < last and (law.scale == "linear" or first > 0):
                log = law.scale != "linear"
                yield "int", {"low": first, "high": last, "step": 1, "log": log}
        yield "float", {"low": low, "high": high, "log": law.scale != "linear"}
        return
    yield "beta" if isinstance(law, Beta) else "normal", {"law": law}
    log = isinstance(law, Normal) and law.scale == "log"
    low, high = (float(laws.ppf(_unrounded(law), u)) for u in _BULK)
    if low < high and (not log or low > 0):
        yield "float", {"low": low, "high": high, "log": log}


def _integers(law: Integers) -> Iterator[tuple[str, dict[str, Any]]]:
    low, high, step = law.low, law.high, law.step
    if low == high:
        yield "constant", {"value": low}
        yield "options", {"values": [low], "weights": None}
        return
    yield "int", {"low": low, "high": high, "step": step, "log": law.log}
    half = step / 2
    if step == 1:
        yield "rounded", {"low": low - half, "high": high + half, "log": law.log}
    if law.count <= MOST_OPTIONS:
        values = list(range(low, high + 1, step))
        weights = laws.log_integer_weights(law) if law.log else None
        yield "options", {"values": values, "weights": weights}
    if law.log:
        yield "int", {"low": low, "high": high, "step": step, "log": False}
    if step > 1:
        yield "int", {"low": low, "high": high, "step": 1, "log": law.log}
        yield "rounded", {"low": low - 0.5, "high": high + 0.5, "log": law.log}
    if not law.log or low > half:
        yield "float", {"low": low - half, "high": high + half, "log": law.log}


def _cells(law: Uniform | Normal | Beta) -> Iterator[tuple[str, dict[str, Any]]]:
    """Proposals for a rounded law, by its values and their weights."""
    log = not isinstance(law, Beta) and law.scale != "linear"
    if isinstance(law, Uniform) and law.integer and law.q == 1:
        low, high = value_bounds(law)
        yield "rounded", {"low": low, "high": high, "log": log}
    try:
        cells = laws.cell_probabilities(law, _MOST_CELLS)
    except ValueError:
        return
    cast = int if law.integer else float
    values = [cast(value) for value in cells]
    if len(values) == 1:
        yield "constant", {"value": values[0]}
        yield "options", {"values": values, "weights": None}
        return
    bulk = [cast(laws.ppf(law, u)) for u in _BULK]
    if not isinstance(law, Uniform):
        yield from _range(bulk[0], bulk[1], law, log)
    yield from _range(values[0], values[-1], law, log)
    if len(values) <= MOST_OPTIONS:
        total = math.fsum(cells.values())
        weights = [weight / total for weight in cells.values()]
        even = max(weights) - min(weights) < 1e-12
        yield "options", {"values": values, "weights": None if even else weights}
        if not isinstance(law, Uniform):
            near = [value for value in values if bulk[0] <= value <= bulk[1]]
            yield "options", {"values": near, "weights": None}
    if law.integer:
        yield "int", {"low": values[0], "high": values[-1], "step": 1, "log": False}


def _range(low: Any, high: Any, law: Any, log: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """The multiples of a quantum from `low` to `high`."""
    if low == high:
        return
    if not law.integer:
        yield "grid", {"low": low, "high": high, "step": law.q}
        return
    yield "int", {"low": low, "high": high, "step": int(law.q), "log": False}
    if log and low > 0:
        yield "int", {"low": low, "high": high, "step": int(law.q), "log": True}


def value_bounds(law: Uniform) -> tuple[float, float]:
    """The bounds of the values, whatever the scale."""
    low, high = laws.transformed_bounds(law)
    if law.scale == "linear":
        return low, high
    if not law.exponents:
        return law.low, law.high
    try:
        found = (
            (math.exp(low), math.exp(high))
            if law.scale == "log"
            else (
                math.exp(-high),
                math.exp(-low),
            )
        )
    except OverflowError:
        raise UnsupportedError(
            "an exponent beyond what a float can hold", found=f"{law.low:g}, {law.high:g}"
        ) from None
    return found


# Distances ----------------------------------------------------------------------------------------


def distance(one: Node, other: Node) -> float:
    """Total variation distance of two leaves; 1.0 between a discrete and a continuous law.

    That of two continuous laws is summed over 500 cells between their quantiles.
    """
    if one == other:
        return 0.0
    left, right = _table(one), _table(other)
    if left is not None and right is not None:
        away = 0.5 * math.fsum(abs(left.get(k, 0) - right.get(k, 0)) for k in {*left, *right})
        return away if away > SAME else 0.0
    if not isinstance(one, Parameter) or not isinstance(other, Parameter):
        return 1.0
    if (left is None) != (right is None) or _kind(one) != _kind(other):
        return 1.0
    return _summed(one.distribution, other.distribution)


def _kind(node: Parameter) -> Any:
    """What two laws with too many values have to have in common: the values, or that none has."""
    law = node.distribution
    if isinstance(law, Integers):
        return int, float(law.step)
    return (int if law.integer else float, law.q) if law.q is not None else None


def _discrete(node: Parameter) -> bool:
    return isinstance(node.distribution, Integers) or node.distribution.q is not None


@functools.lru_cache(maxsize=1024)
def _summed(one: Any, other: Any) -> float:
    """Half the differences of two laws in the cells between their quantiles."""
    grid = [k / 34 for k in range(1, 34)]
    if all(math.isclose(laws.ppf(one, u), laws.ppf(other, u), rel_tol=1e-9) for u in grid):
        return 0.0
    points = sorted({laws.ppf(law, k / 250) for law in (one, other) for k in range(1, 250)})
    before, away = (0.0, 0.0), 0.0
    for here in [*((_up_to(one, x), _up_to(other, x)) for x in points), (1.0, 1.0)]:
        away += abs((here[0] - before[0]) - (here[1] - before[1]))
        before = here
    return 0.5 * away


def _up_to(law: Distribution, x: float) -> float:
    """Probability that a draw, rounded, is at most `x`, which is one of its values."""
    if not isinstance(law, Integers):
        return laws.cdf(law, x if law.q is None else x + law.q / 2)
    first, last, here = (k // law.step for k in (law.low, law.high, int(x)))
    if here < first:
        return 0.0
    if law.log:
        return min(math.log((here + 1) / first) / math.log((last + 1) / first), 1.0)
    return min((here + 1 - first) / law.count, 1.0)


def _table(node: Node) -> dict[Any, float] | None:
    """Probability by type and value; None for a continuous or a vast law."""
    if isinstance(node, Constant):
        return {_key(node.value): 1.0}
    table: dict[Any, float] = {}
    if isinstance(node, Choice):
        weights = node.weights or (1 / len(node.options),) * len(node.options)
        for option, weight in zip(node.options, weights, strict=True):
            key = _key(option.value) if isinstance(option, Constant) else option
            table[key] = table.get(key, 0.0) + weight
        return table
    if not isinstance(node, Parameter):
        return None
    law = node.distribution
    try:
        cells = laws.cell_probabilities(law, _MOST_CELLS)
    except ValueError:
        return None
    whole = isinstance(law, Integers) or law.integer
    return {_key(int(value) if whole else value): weight for value, weight in cells.items()}


def _key(value: Any) -> Any:
    """Floats count by 12 digits, so that ``3 * 0.1`` is ``0.3``; all else by type and content."""
    if type(value) is float:
        return f"{value + 0.0:.12g}"
    return (type(value), value) if type(value) in (int, str, bool) else Frozen(value)


def missing(leaf: Node, says: Node) -> bool:
    """Whether a choice or a constant can be what `says` cannot."""
    return isinstance(leaf, Choice | Constant) and bool(
        set(_table(leaf) or ()) - set(_table(says) or ())
    )


def unrounded(leaf: Node, says: Node) -> bool:
    """Whether `says` is a continuous law in place of a rounded one."""
    if not isinstance(leaf, Parameter) or not isinstance(says, Parameter):
        return False
    return _discrete(leaf) and not _discrete(says)


def shape(leaf: Node, says: Node) -> float:
    """The distance to a continuous law without the rounding, and to any other one as it is."""
    if not unrounded(leaf, says):
        return distance(leaf, says)
    assert isinstance(leaf, Parameter)
    assert isinstance(says, Parameter)
    return _summed(_unrounded(leaf.distribution), says.distribution)


def _unrounded(law: Distribution) -> Uniform | Normal | Beta:
    if not isinstance(law, Integers):
        return msgspec.structs.replace(law, q=None, integer=False)
    half = law.step / 2
    log = law.log and law.low > half
    return Uniform(law.low - half, law.high + half, "log" if log else "linear")


def score(leaf: Node, says: Node) -> float:
    """The distance, where leaving out the rounding counts as less than moving all the weight."""
    away = shape(leaf, says)
    return FAR + 0.1 + (0.9 - FAR) * away if unrounded(leaf, says) else away


def gap(leaf: Node) -> str:
    """By how much values move where they are not rounded, and what to do."""
    law = leaf.distribution if isinstance(leaf, Parameter) else None
    step: Any = getattr(law, "q", None) or getattr(law, "step", 1)
    return f"values move by up to {step / 2:g}; round in the program"
