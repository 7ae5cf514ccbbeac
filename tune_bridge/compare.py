"""Two experiments side by side: what differs, and by how much.

Both are drawn from with coupled seeds, so that equal parameters give equal values and a difference
is one of laws, not of luck. Discrete values are compared by total variation, continuous ones by the
Kolmogorov-Smirnov distance; both are 0 for the same law and at most 1.
"""

from __future__ import annotations

import bisect
import math
import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from tune_bridge import laws
from tune_bridge.dialects.sweep.conditions import branch_names
from tune_bridge.dialects.sweep.distributions import write_parameter
from tune_bridge.errors import InputError
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Notes
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Integers,
    Node,
    Operation,
    Parameter,
    Sequence,
    Uniform,
)

__all__ = ["DRAWS", "SETTINGS", "Change", "compare", "describe", "distance"]

DRAWS = 20_000
"""Draws from each side."""

SETTINGS = (
    "program", "trainable", "command", "objective", "searcher", "scheduler", "num_samples",
    "run_cap", "stop", "points", "seed", "max_concurrent", "resources", "space_in", "extras",
)  # fmt: skip
"""Attributes that are compared; names and descriptions say nothing about what is run."""

_DISCRETE = 200


class Change(msgspec.Struct, frozen=True):
    """One difference.

    Attributes:
        path: Dotted path of a parameter, or the name of a setting.
        kind: "parameter" or "setting".
        what: In words: "added", "removed", "widened above by 10x", "20 -> 50".
        before: How the first side has it; empty when it has not.
        after: How the second side has it; empty when it has not.
        distance: Between the laws, 0 to 1; None for a setting.
    """

    path: str
    kind: Literal["parameter", "setting"]
    what: str
    before: str
    after: str
    distance: float | None = None


def compare(one: Experiment, other: Experiment, *, draws: int = DRAWS) -> list[Change]:
    """All differences, parameters first; empty when the experiments are the same.

    Args:
        one: The first experiment.
        other: The second.
        draws: Draws from each side for a parameter that is not equal as written.
    """
    before, after = dict(_flat(one.space)), dict(_flat(other.space))
    changes: list[Change] = []
    for path in [*before, *(path for path in after if path not in before)]:
        left, right = before.get(path), after.get(path)
        if left is None or right is None:
            what = "added" if left is None else "removed"
            changes.append(_change(path, what, left, right, 1.0))
        elif left != right:
            apart = distance(left, right, path, draws)
            if getattr(left, "grid", False) != getattr(right, "grid", False):
                # One side enumerates, the other one draws, whatever the values are.
                apart = 1.0
            what = _words(left, right, apart)
            if what:
                changes.append(_change(path, what, left, right, apart))
    changes = _moved(changes)
    for name in SETTINGS:
        old, new = getattr(one, name), getattr(other, name)
        if old != new:
            left_text, right_text = _text(old), _text(new)
            what = f"{left_text} -> {right_text}"
            changes.append(Change(name, "setting", what, left_text, right_text))
    return changes


def _change(path: str, what: str, left: Node | None, right: Node | None, apart: float) -> Change:
    before, after = (describe(node) if node is not None else "" for node in (left, right))
    return Change(path, "parameter", what, before, after, apart)


def _flat(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Leaves by path, those inside of branches by the branch's name: ``optimizer[sgd].momentum``.

    A choice between search spaces stands there itself as a choice between the names.
    """
    if isinstance(node, Group):
        for name, child in node.items:
            yield from _flat(child, f"{path}.{name}" if path else name)
    elif isinstance(node, Sequence):
        yield path, Constant.of(f"a {node.kind} of {len(node.items)}")
        for index, item in enumerate(node.items):
            yield from _flat(item, f"{path}[{index}]")
    elif isinstance(node, Operation):
        yield path, Constant.of(f"{node.name} of {len(node.arguments)}")
        for where, argument in node.arguments:
            yield from _flat(argument, f"{path}{where}")
    elif isinstance(node, Choice) and not node.plain:
        names = branch_names(node)[1]
        yield path, Choice(tuple(map(Constant.of, names)), node.weights, grid=node.grid)
        for name, option in zip(names, node.options, strict=True):
            yield from _flat(option, f"{path}[{name}]")
    else:
        yield path, node


def _moved(changes: list[Change]) -> list[Change]:
    """A parameter that went into a branch, or out of one, is one change and not two."""
    removed = {c.path: c for c in changes if c.what == "removed"}
    result = []
    for change in changes:
        old = next(
            (
                path
                for path, gone in removed.items()
                if change.what == "added"
                and _last(path) == _last(change.path)
                and gone.before == change.after
            ),
            None,
        )
        if old is None:
            result.append(change)
            continue
        gone = removed.pop(old)
        result = [c for c in result if c.path != old]
        where = _condition(change.path)
        what = f"now only with {where}" if where else "now always"
        result.append(Change(change.path, "parameter", what, gone.before, change.after, 1.0))
    return result


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _condition(path: str) -> str:
    found = re.findall(r"([^.\[\]]+)\[([^\]]+)\]", path)
    return " and ".join(f"{name}={branch}" for name, branch in found)


def distance(one: Node, other: Node, seed: str = "", draws: int = DRAWS) -> float:
    """The distance of the laws of two leaves, by draws with coupled seeds.

    Args:
        one: A leaf.
        other: Another one.
        seed: Any text; equal texts give equal numbers.
        draws: How many draws from each.
    """
    left, right = (_draw(node, seed, draws) for node in (one, other))
    if {type(value) for value in left}.isdisjoint(type(value) for value in right):
        return 1.0  # a program that is given 2.0 where it was given 2 may end there
    numbers = all(_is_number(value) for value in (*left, *right))
    if numbers and all(map(_close, left, right)):
        return 0.0  # coupled draws of one law, spelled otherwise, differ in their last digits
    if numbers and len({*left, *right}) > _DISCRETE:
        return _kolmogorov(left, right)
    tables = Counter(map(_key, left)), Counter(map(_key, right))
    keys = {*tables[0], *tables[1]}
    return 0.5 * sum(abs(tables[0][key] - tables[1][key]) for key in keys) / draws


def _close(one: float, other: float) -> bool:
    return type(one) is type(other) and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def _draw(node: Node, seed: str, draws: int) -> list[Any]:
    rng = random.Random(f"compare:{seed}")
    draw = laws.drawer(node)
    return [draw(rng, {}) for _ in range(draws)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(value: Any) -> str:
    if not _is_number(value):
        return repr(value)
    return f"{type(value).__name__} {float(value):.9g}"


def _kolmogorov(one: list[float], other: list[float]) -> float:
    left, right = sorted(one), sorted(other)
    return max(
        abs(bisect.bisect_right(left, x) / len(left) - bisect.bisect_right(right, x) / len(right))
        for x in (*left[:: max(1, len(left) // 2000)], *right[:: max(1, len(right) // 2000)])
    )


# Words --------------------------------------------------------------------------------------------


def _words(one: Node, other: Node, apart: float) -> str:
    """What changed, in terms of distributions; empty when only the spelling did."""
    if isinstance(one, Constant) and isinstance(other, Constant):
        return f"{one.value!r} -> {other.value!r}"
    if _types(one) != _types(other):
        return f"other values: {_types(one)} -> {_types(other)}"
    moved = _bounds(one, other)
    if moved and apart > 1e-9:
        return moved
    if getattr(one, "grid", False) != getattr(other, "grid", False):
        return "now a grid" if getattr(other, "grid", False) else "no longer a grid"
    if apart <= 1e-9:
        return ""
    return f"another law, {apart:.2g} away"


def _types(node: Node) -> str:
    if isinstance(node, Parameter):
        d = node.distribution
        return "integers" if isinstance(d, Integers) or d.integer else "floats"
    return "a constant" if isinstance(node, Constant) else "options"


def _bounds(one: Node, other: Node) -> str:
    """How far the ends of a range moved, when both sides are ranges on the same scale."""
    if not (isinstance(one, Parameter) and isinstance(other, Parameter)):
        return ""
    left, right = one.distribution, other.distribution
    if not isinstance(left, Uniform | Integers) or not isinstance(right, Uniform | Integers):
        return ""
    log = _log(left)
    if log != _log(right):
        return "now on a log scale" if not log else "no longer on a log scale"
    (low, high), (new_low, new_high) = _range(left), _range(right)
    words = []
    for side, old, new, wider in (
        ("below", low, new_low, new_low < low),
        ("above", high, new_high, new_high > high),
    ):
        if math.isclose(old, new, rel_tol=1e-9, abs_tol=1e-12):
            continue
        verb = "widened" if wider else "narrowed"
        ratio = max(old, new) / min(old, new) if min(old, new) > 0 else math.inf
        by = f"{ratio:.3g}x" if log or 2 <= ratio < math.inf else f"{abs(new - old):.3g}"
        words.append(f"{verb} {side} by {by}")
    return ", ".join(words)


def _log(d: Uniform | Integers) -> bool:
    return d.log if isinstance(d, Integers) else d.scale != "linear"


def _range(d: Uniform | Integers) -> tuple[float, float]:
    if isinstance(d, Integers):
        return d.low, d.high
    if not d.exponents:
        return d.low, d.high
    low, high = (d.low, d.high) if d.scale == "log" else (-d.high, -d.low)
    return math.exp(low), math.exp(high)


def describe(node: Node) -> str:
    """A leaf in W&B's words, on one line."""
    try:
        entry = write_parameter(node, "x", Notes())
    except InputError:
        return repr(node)
    if "value" in entry:
        return repr(entry["value"])
    words = [str(entry.pop("distribution", ""))]
    words += [
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in entry.items()
    ]
    return " ".join(words).strip()


def _text(value: Any) -> str:
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.asdict(value)
        parts = [_text(item) for item in fields.values() if item not in (None, "")]
        return " ".join(part for part in parts if part not in ("{}", "()"))
    if hasattr(value, "data") and hasattr(value, "value"):
        value = value.value
    if isinstance(value, tuple):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    return "none" if value is None else value if isinstance(value, str) else repr(value)
