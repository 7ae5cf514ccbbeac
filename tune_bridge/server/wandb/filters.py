"""Filters, orders and pages of runs, as the public API of the client says them."""

from __future__ import annotations

import functools
import heapq
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tune_bridge.errors import InputError

__all__ = [
    "MISSING",
    "Record",
    "connection",
    "first_by_value",
    "matches",
    "ordered",
    "page",
    "window",
]

Record = Callable[[str], Any]
"""Gives the value of a field of a run, by its name; `MISSING` without one."""

_T = TypeVar("_T")
_DEPTH = 20
_LARGEST = 1000
_LONGEST_PATTERN = 1000
_PATTERN_MEMORY = 1 << 20

MISSING = object()


def matches(condition: Any, get: Record, depth: int = 0) -> bool:
    """Whether a run is what a filter asks for.

    Args:
        condition: MongoDB's notation: ``$and``, ``$or``, ``$not``, ``$nor``, and fields with
            values or comparisons.
        get: The run's fields.
        depth: How deep this condition stands in the filter.

    Raises:
        InputError: It is no filter.
    """
    if not isinstance(condition, Mapping):
        raise InputError("a filter must be a mapping", found=repr(condition)[:100])
    if depth > _DEPTH:
        raise InputError("the filter is nested too deeply", expected=f"{_DEPTH} levels")
    for key, wanted in condition.items():
        group = _GROUPS.get(key)
        if group is not None:
            items = wanted if isinstance(wanted, list) else [wanted]
            if not group(matches(item, get, depth + 1) for item in items):
                return False
        elif key.startswith("$"):
            raise InputError("no such operator in a filter", found=key, expected=", ".join(_GROUPS))
        elif not _field(get(key), wanted):
            return False
    return True


_GROUPS: dict[str, Callable[[Any], bool]] = {
    "$and": all,
    "$or": any,
    "$nor": lambda found: not any(found),
    "$not": lambda found: not any(found),
}


def _field(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping) and any(str(key).startswith("$") for key in wanted):
        for operator, operand in wanted.items():
            test = _TESTS.get(operator)
            if test is None:
                raise InputError(
                    "no such operator in a filter", found=operator, expected=", ".join(_TESTS)
                )
            if not test(value, operand):
                return False
        return True
    return _equal(value, wanted)


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, list) and not isinstance(wanted, list):
        return wanted in value
    return wanted is None if value is MISSING else bool(value == wanted)


def _compare(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(value: Any, wanted: Any) -> bool:
        try:
            return value is not MISSING and value is not None and holds(value, wanted)
        except TypeError:
            return False

    return test


@functools.lru_cache(maxsize=100)
def _pattern(text: str) -> Any:
    """A pattern that takes time in proportion to the text it looks at, whatever it says."""
    import re2

    if len(text) > _LONGEST_PATTERN:
        raise InputError("the pattern is too long", expected=f"{_LONGEST_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    try:
        return re2.compile(text, options)
    except re2.error as error:
        said = error.args[0]
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise InputError(
            f"the pattern is malformed, or needs what takes too long: {words}", found=repr(text)
        ) from None


def _regex(value: Any, pattern: Any) -> bool:
    found = _pattern(str(pattern))
    return isinstance(value, str) and found.search(value) is not None


def _listed(wanted: Any) -> list[Any]:
    return wanted if isinstance(wanted, list) else [wanted]


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": lambda value, wanted: not _equal(value, wanted),
    "$in": lambda value, wanted: any(_equal(value, item) for item in _listed(wanted)),
    "$nin": lambda value, wanted: not any(_equal(value, item) for item in _listed(wanted)),
    "$gt": _compare(lambda value, wanted: value > wanted),
    "$gte": _compare(lambda value, wanted: value >= wanted),
    "$lt": _compare(lambda value, wanted: value < wanted),
    "$lte": _compare(lambda value, wanted: value <= wanted),
    "$exists": lambda value, wanted: (value is not MISSING) == bool(wanted),
    "$regex": _regex,
    "$not": lambda value, wanted: not _field(value, wanted),
}


def ordered(items: list[tuple[_T, Record]], order: str | None) -> list[tuple[_T, Record]]:
    """Runs in an order such as ``-created_at`` or ``+summary_metrics.loss,name``.

    Those without the value (or with one that has no order, as NaN) come last, either way.
    """
    for part in reversed((order or "+created_at").split(",")):
        descending, key = part.startswith("-"), part.strip("+- ")
        if not key:
            continue
        keyed = [(_orderable(get(key)), item, get) for item, get in items]
        there = [entry for entry in keyed if entry[0] is not None]
        absent = [entry for entry in keyed if entry[0] is None]
        there.sort(key=lambda entry: _rank(entry[0]), reverse=descending)
        items = [(item, get) for _, item, get in (*there, *absent)]
    return items


def first_by_value(items: list[tuple[_T, Any]], number: int, *, descending: bool) -> list[_T]:
    """The first ones of those with values, as `ordered` would order them."""
    keyed = [(item, _orderable(value)) for item, value in items]
    there = [pair for pair in keyed if pair[1] is not None]
    choose = heapq.nlargest if descending else heapq.nsmallest
    found = [item for item, _ in choose(number, there, key=lambda pair: _rank(pair[1]))]
    absent = [item for item, value in keyed if value is None]
    return found + absent[: number - len(found)]


def _orderable(value: Any) -> Any:
    if isinstance(value, Mapping):  # what define_metric(summary=...) makes of a summary
        found = [value[key] for key in ("best", "min", "max", "last", "mean") if key in value]
        value = found[0] if found else None
    if value is MISSING or value is None or value != value:
        return None
    return value if isinstance(value, str | int | float) else str(value)


def _rank(value: float | str) -> tuple[bool, Any]:
    """Numbers before texts, each by themselves."""
    return isinstance(value, str), value


def page(items: list[_T], first: Any, after: Any, node: Callable[[_T], Any]) -> dict[str, Any]:
    """A page of a list as a GraphQL connection.

    Args:
        items: All of them.
        first: How many.
        after: The cursor of the last one of the page before.
        node: Makes what is sent of one.

    Raises:
        InputError: The cursor is not one of ours.
    """
    start, count = window(first, after)
    chosen = items[start : start + count]
    return connection(chosen, start, node, more=start + len(chosen) < len(items))


def window(first: Any, after: Any) -> tuple[int, int]:
    """Where a page begins, and how many it shows.

    Raises:
        InputError: The cursor is not one of ours.
    """
    try:
        start = int(after) if after else 0
        count = _LARGEST if first is None else int(first)
    except ValueError:
        raise InputError("no such page", found=repr(after)) from None
    if start < 0 or count < 0 or start >= 2**62:
        raise InputError("no such page", found=f"{first} after {after!r}")
    return start, min(count, _LARGEST)


def connection(
    shown: list[_T], start: int, node: Callable[[_T], Any], *, more: bool
) -> dict[str, Any]:
    """A GraphQL connection of what a page shows, the first of it being number `start`."""
    return {
        "edges": [
            {"node": node(item), "cursor": str(start + number + 1)}
            for number, item in enumerate(shown)
        ],
        "pageInfo": {
            "__typename": "PageInfo",
            "endCursor": str(start + len(shown)) if shown else None,
            "hasNextPage": more,
        },
    }
