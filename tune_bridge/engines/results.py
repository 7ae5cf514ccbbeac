"""What a program reports, as searchers and schedulers want it: flat, complete, plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["flatten", "is_usable", "plain", "reaches"]

_PLAIN = frozenset({int, float, str, bool, type(None)})


def plain(value: Any) -> Any:
    """A value without tuples and without numpy's types; containers are copied."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's and torch's scalars and arrays
        return plain(value.tolist())
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def flatten(result: Mapping[str, Any]) -> dict[str, Any]:
    """Nested metrics by their paths, ``a/b``, as Tune names them; values are `plain`."""
    flat: dict[str, Any] = {}
    for key, value in result.items():
        if isinstance(value, Mapping) and value:
            flat.update({f"{key}/{below}": item for below, item in flatten(value).items()})
        else:
            flat[str(key)] = value if type(value) in _PLAIN else plain(value)
    return flat


def is_usable(value: Any) -> bool:
    """Whether a value is a number that can be compared: no NaN, but infinities."""
    return isinstance(value, int | float) and not math.isnan(value)


def reaches(value: Any, bound: float, goal: str = "maximize") -> bool:
    """Whether a reported value is at `bound` or beyond it, in the direction of `goal`."""
    if not is_usable(value):
        return False
    return bool(value <= bound) if goal == "minimize" else bool(value >= bound)
