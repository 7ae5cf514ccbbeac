"""ConfigSpace's conditions as values of selectors, and back.

A condition is EQ, NEQ, IN, LT or GT of one parent, or AND and OR of such. Those that hold for
certain values of each of their parents are branches of a tree: that is all but an OR over several
parents, and comparisons with a parent that has no list of values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tune_bridge.dialects.flat_conditions import MOST_VALUES, Name, When
from tune_bridge.dialects.flat_space import Named
from tune_bridge.dialects.python_space import short
from tune_bridge.errors import SpecError

__all__ = ["names_in", "read_conditions", "write_conditions"]

_TESTS: dict[str, Callable[[int, list[int]], bool]] = {
    "EQ": lambda place, wanted: place in wanted,
    "IN": lambda place, wanted: place in wanted,
    "NEQ": lambda place, wanted: place not in wanted,
    "LT": lambda place, wanted: place < wanted[0],
    "GT": lambda place, wanted: place > wanted[0],
}
"""Whether the value at a place in the order counts, given the places of those that are named."""


def _values(spec: dict[str, Any]) -> list[Any] | None:
    """What a hyperparameter can be, in order; None where it has no list."""
    if spec["type"] == "uniform_int" and spec["upper"] - spec["lower"] < MOST_VALUES:
        return list(range(spec["lower"], spec["upper"] + 1))
    if spec["type"] == "constant":
        return [spec["value"]]
    return spec.get("choices") or spec.get("sequence")


def read_conditions(
    conditions: list[Any], specs: dict[str, dict[str, Any]]
) -> tuple[dict[str, When], list[Any]]:
    """The conditions that a tree can say, by the name of the child, and the others as they are.

    Raises:
        SpecError: A condition names a hyperparameter that is not there, or is none.
    """
    whens: dict[str, When] = {}
    unsaid = []
    for condition in conditions:
        child = condition.get("child") if isinstance(condition, dict) else None
        if not isinstance(child, str):
            raise SpecError("not a condition", path="conditions", found=short(condition))
        for name in names_in(condition):
            if name not in specs:
                raise SpecError(
                    "a condition on a hyperparameter that is not there",
                    path="conditions",
                    found=short(name),
                    expected=f"one of {', '.join(specs)}",
                )
        when = _when(condition, specs)
        if child in whens:
            when = _both(whens.pop(child), when)
        if when is None or not all(when.values()):
            unsaid.append(condition)
        else:
            whens[child] = when
    return _without_loops(whens, conditions, unsaid)


def _without_loops(
    whens: dict[str, When], conditions: list[Any], unsaid: list[Any]
) -> tuple[dict[str, When], list[Any]]:
    """What depends on itself in the end is no tree."""
    for child in list(whens):
        seen: set[str] = set()
        above = [child]
        while above:
            for parent in map("/".join, whens.get(above.pop(), ())):
                if parent not in seen:
                    seen.add(parent)
                    above.append(parent)
        if child in seen:
            del whens[child]
            unsaid += [c for c in conditions if c.get("child") == child]
    return whens, unsaid


def _when(condition: Any, specs: dict[str, dict[str, Any]]) -> When | None:
    kind = condition.get("type")
    if kind in ("AND", "OR"):
        parts = [_when(part, specs) for part in condition["conditions"]]
        joined = parts[0]
        for part in parts[1:]:
            joined = _both(joined, part) if kind == "AND" else _either(joined, part)
        return joined
    values = _values(specs[condition["parent"]])
    named = condition["values"] if kind == "IN" else [condition.get("value")]
    if kind not in _TESTS or values is None:
        return None
    places = [values.index(value) for value in named if value in values]
    if not places:
        return None
    kept = [value for place, value in enumerate(values) if _TESTS[kind](place, places)]
    return {tuple(condition["parent"].split("/")): tuple(kept)}


def _both(one: When | None, other: When | None) -> When | None:
    if one is None or other is None:
        return None
    shared = {
        name: tuple(value for value in one[name] if value in other[name])
        for name in one
        if name in other
    }
    return {**one, **other, **shared}


def _either(one: When | None, other: When | None) -> When | None:
    if one is None or other is None or one.keys() != other.keys() or len(one) != 1:
        return None
    ((name, values),) = one.items()
    more = tuple(value for value in other[name] if value not in values)
    return {name: values + more}


def names_in(clause: Any) -> set[str]:
    """The hyperparameters that a condition or a forbidden clause names."""
    if isinstance(clause, list | tuple):
        return {name for item in clause for name in names_in(item)}
    if not isinstance(clause, dict):
        return set()
    own = {clause[key] for key in ("child", "parent", "name", "left", "right") if key in clause}
    return own | names_in(clause.get("conditions", [])) | names_in(clause.get("clauses", []))


def write_conditions(rows: list[Named]) -> list[dict[str, Any]]:
    """The conditions of rows, as ConfigSpace serialises them."""
    found = []
    for child, _, when in rows:
        parts = [_written(child, name, values) for name, values in when.items()]
        if len(parts) > 1:
            found.append({"type": "AND", "child": child, "conditions": parts})
        else:
            found += parts
    return found


def _written(child: str, parent: Name, values: tuple[Any, ...]) -> dict[str, Any]:
    start = {"child": child, "parent": "/".join(parent)}
    if len(values) == 1:
        return {"type": "EQ", **start, "value": values[0]}
    return {"type": "IN", **start, "values": list(values)}
