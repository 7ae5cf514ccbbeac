"""Runs by what they have in common: a column's values, or ranges of them where there are many."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from tune_bridge.server.axes import ticks
from tune_bridge.server.fields import order_of, pick_of, same_key, values_of
from tune_bridge.server.selection import Selection
from tune_bridge.server.values import is_number, number, text
from tune_bridge.server.views import Snapshot, metric_value

__all__ = ["Group", "groups"]

_MANY = 12
_MOST = 100


class Group(msgspec.Struct, frozen=True):
    """Runs that have something in common.

    Attributes:
        label: What they have in common.
        pick: What to pick of the column to have these runs; see `Selection.picks`.
        count: How many they are.
        best: Their best value of the metric, or None.
        mean: The mean of their finite values, or None.
    """

    label: str
    pick: list[Any]
    count: int
    best: float | None
    mean: float | None


def groups(
    snapshot: Snapshot, selection: Selection, field: str, metric: str | None
) -> tuple[list[Group], int]:
    """The groups of the chosen runs by a column, whatever is picked of that column itself.

    More than 12 different numbers are put into ranges.

    Args:
        snapshot: The sweep.
        selection: The runs.
        field: The column; see `tune_bridge.server.fields`.
        metric: What `best` and `mean` are of.

    Returns:
        The first 100 groups, and how many there are.
    """
    rest = {name: picked for name, picked in selection.picks.items() if name != field}
    indices = msgspec.structs.replace(selection, picks=rest).chosen(snapshot)
    read = values_of(snapshot, field)
    members: dict[Any, list[int]] = {}
    shown: dict[Any, Any] = {}
    for index in indices:
        value = read(index)
        key = None if value is None else same_key(value)
        members.setdefault(key, []).append(index)
        shown.setdefault(key, value)
    numbers = [value for value in shown.values() if is_number(value) and abs(value) < 1e300]
    if len(numbers) > _MANY:
        found = _ranges(snapshot, field, numbers, members, shown)
    else:
        keys = sorted(
            members, key=lambda key: (key is None, shown[key] != shown[key], order_of(shown[key]))
        )
        found = [(*_named(shown[key]), members[key]) for key in keys]
    made = [_group(snapshot, metric, *one) for one in found[:_MOST]]
    return made, len(found)


def _ranges(
    snapshot: Snapshot,
    field: str,
    numbers: Sequence[float],
    members: dict[Any, list[int]],
    shown: dict[Any, Any],
) -> list[tuple[str, list[Any], list[int]]]:
    low, high = min(numbers), max(numbers)
    log = low > 0 and any(
        f"c:{dimension.path}" == field and dimension.log for dimension in snapshot.plan.dimensions
    )
    inner = [mark for mark in ticks(low, high, log) if low < mark < high]
    ends = [low, *inner, high]
    ranged = {same_key(value) for value in numbers}
    found = []
    for place, (start, end) in enumerate(itertools.pairwise(ends)):
        last = end if place == len(ends) - 2 else math.nextafter(end, -math.inf)
        inside = [
            index
            for key, indices in members.items()
            if key in ranged and start <= shown[key] <= last
            for index in indices
        ]
        if inside:
            found.append((f"{number(start)} to {number(end)}", [[start, last]], inside))
    rest = {key: indices for key, indices in members.items() if key not in ranged}
    return found + [(*_named(shown[key]), indices) for key, indices in rest.items()]


def _named(value: Any) -> tuple[str, list[Any]]:
    """A value's label, and how it is picked."""
    return "n/a" if value is None else text(value, 80), [pick_of(value)]


def _group(
    snapshot: Snapshot, metric: str | None, label: str, pick: list[Any], indices: Sequence[int]
) -> Group:
    values = [
        value
        for index in indices
        if (value := metric_value(snapshot.summaries[index], metric)) is not None
    ]
    up = snapshot.plan.goal == "maximize" or metric != snapshot.plan.objective
    return Group(
        label,
        pick,
        len(indices),
        (max(values) if up else min(values)) if values else None,
        math.fsum(values) / len(values) if values else None,
    )
