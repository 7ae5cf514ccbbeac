"""What stands in a column for a run, and how values compare: for tables, filters and exports.

A column's field is the name of a fixed one, ``c:KEY`` for a key of the flat config, or ``s:KEY``
for a key of the flat summary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tune_bridge.server.values import is_number, plain, text
from tune_bridge.server.views import KINDS, Snapshot, kind_of

__all__ = ["FIXED", "is_field", "order_of", "pick_of", "same_key", "values_of"]

_Read = Callable[[Snapshot, int], Any]


def _runtime(snapshot: Snapshot, index: int) -> float | None:
    run = snapshot.runs[index]
    if run.started_at is None:
        return None
    end = run.ended_at if run.ended_at is not None else snapshot.read_at
    return round(max(end - run.started_at, 0.0), 1)


FIXED: dict[str, _Read] = {
    "id": lambda snapshot, index: snapshot.runs[index].id,
    "name": lambda snapshot, index: snapshot.runs[index].name or snapshot.runs[index].id,
    "kind": lambda snapshot, index: kind_of(snapshot.runs[index]),
    "state": lambda snapshot, index: KINDS[kind_of(snapshot.runs[index])][0],
    "runtime": _runtime,
    "rows": lambda snapshot, index: snapshot.runs[index].rows,
    "created": lambda snapshot, index: snapshot.runs[index].created_at,
    "message": lambda snapshot, index: snapshot.runs[index].message.strip() or None,
}
"""Fields that every run has; ``kind`` is the key of `KINDS`, ``state`` its word."""


def is_field(name: object) -> bool:
    """Whether a column can have this field; there may be no run that has a value."""
    return isinstance(name, str) and (name in FIXED or name[:2] in ("c:", "s:"))


def values_of(snapshot: Snapshot, field: str) -> Callable[[int], Any]:
    """What a column holds, by the index of the run; None where a run has nothing."""
    if field in FIXED:
        read = FIXED[field]
        return lambda index: read(snapshot, index)
    maps = snapshot.configs if field[:2] == "c:" else snapshot.summaries
    key = field[2:]
    return lambda index: maps[index].get(key)


def order_of(value: Any) -> tuple[int, Any]:
    """A key to sort by: numbers, then texts without regard to case."""
    return (0, value) if is_number(value) else (1, text(value).casefold())


def same_key(value: Any) -> tuple[str, Any]:
    """Equal for equal options: ``1`` is ``1.0``, but neither ``true`` nor ``"1"``.

    What JSON cannot say is its text: NaN is "NaN", a list its JSON.
    """
    if isinstance(value, bool):
        return "bool", value
    if is_number(value) and abs(value) < math.inf:
        return "number", value
    return "text", value if isinstance(value, str) else text(value)


def pick_of(value: Any) -> Any:
    """A value as JSON picks it: equal to it by `same_key`, and never a list."""
    return text(value) if isinstance(value, list | dict) else plain(value)
