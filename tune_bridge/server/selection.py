"""Which runs of a sweep are meant, and in which order: what the query of an address says.

The table, the drawings, the counts and the downloads of a sweep's page all follow one `Selection`.
A page leaves out what makes no sense in its address; the addresses for programs refuse it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from tune_bridge.errors import InputError
from tune_bridge.server.fields import is_field, order_of, same_key, values_of
from tune_bridge.server.values import is_number, text
from tune_bridge.server.views import KINDS, Snapshot, kind_of

__all__ = ["NAMES", "Selection"]

_Test = Callable[[Any], bool]
_KEPT = 24

_TEXT: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda cell, wanted: wanted in cell,
    "notContains": lambda cell, wanted: wanted not in cell,
    "equals": lambda cell, wanted: cell == wanted,
    "notEqual": lambda cell, wanted: cell != wanted,
    "startsWith": lambda cell, wanted: cell.startswith(wanted),
    "endsWith": lambda cell, wanted: cell.endswith(wanted),
}
_NUMBER: dict[str, Callable[[float, float, float], bool]] = {
    "equals": lambda cell, one, _: cell == one,
    "notEqual": lambda cell, one, _: cell != one,
    "greaterThan": lambda cell, one, _: cell > one,
    "greaterThanOrEqual": lambda cell, one, _: cell >= one,
    "lessThan": lambda cell, one, _: cell < one,
    "lessThanOrEqual": lambda cell, one, _: cell <= one,
    "inRange": lambda cell, one, two: one < cell < two,
}
_WITHOUT = frozenset({"notContains", "notEqual"})
"""Conditions on a text that hold where there is none, as in ag-grid."""


class Selection(msgspec.Struct, frozen=True):
    """Which runs are meant, and in which order.

    States, words and conditions come first, then the best of what is left, then the picks: so the
    parallel coordinates draw what the picks were made among.

    Attributes:
        show: Keys of `KINDS`; none means all.
        state: W&B's states; none means all.
        words: Each has to be in the name, id, state, message or a text of the config.
        filters: Conditions by field, as ag-grid writes them.
        top: Only that many best runs, or None.
        picks: By field, what was picked on its axis: pairs of numbers are ranges with their ends,
            other values are options, None stands for runs that have none.
        sort: Fields with "asc" or "desc", in order of importance.
    """

    show: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    words: str = ""
    filters: dict[str, Any] = {}
    top: int | None = None
    picks: dict[str, list[Any]] = {}
    sort: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, query: Mapping[str, str], *, strict: bool = False) -> Selection:
        """Reads a query; see `NAMES` for its parameters, others are not looked at.

        Args:
            query: Parameters by name.
            strict: Refuse what makes no sense, instead of leaving it out.

        Raises:
            InputError: With `strict`, about the first parameter that makes no sense.
        """
        refuse = _raise if strict else _ignore
        given = {
            attribute: read(query[name], name, refuse)
            for name, (attribute, read) in NAMES.items()
            if query.get(name)
        }
        return cls(**given)

    def query(self) -> dict[str, str]:
        """The parameters that say this; `Selection.of` reads them back."""
        made = {
            "show": ",".join(self.show),
            "state": ",".join(self.state),
            "q": self.words,
            "filter": _dumped(self.filters),
            "top": str(self.top or ""),
            "pick": _dumped(self.picks),
            "sort": _dumped(self.sort),
        }
        return {name: shown for name, shown in made.items() if shown}

    def base(self, snapshot: Snapshot) -> list[int]:
        """Indices of the runs before any picks, in order of creation."""
        return _kept(snapshot, ("base", self._key()), lambda: self._base(snapshot))

    def chosen(self, snapshot: Snapshot) -> list[int]:
        """Indices of the runs, in order of creation."""
        if not self.picks:
            return self.base(snapshot)
        return _kept(snapshot, ("chosen", self._key()), lambda: self._picked(snapshot))

    def ordered(self, snapshot: Snapshot) -> list[int]:
        """Indices of the runs, in the order that was asked for.

        Equal ones stay in order of creation; whichever way, runs with NaN come after the others and
        runs without a value come last.
        """
        if not self.sort:
            return self.chosen(snapshot)
        return _kept(snapshot, ("ordered", self._key()), lambda: self._ordered(snapshot))

    def _key(self) -> str:
        return json.dumps(self.query(), sort_keys=True)

    def _base(self, snapshot: Snapshot) -> list[int]:
        found: Iterable[int] = range(len(snapshot.runs))
        runs = snapshot.runs
        if self.show:
            found = [index for index in found if kind_of(runs[index]) in self.show]
        if self.state:
            found = [index for index in found if runs[index].state in self.state]
        if words := self.words.casefold().split():
            found = [index for index in found if _has_words(snapshot, index, words)]
        for field, model in self.filters.items():
            read, test = values_of(snapshot, field), _test_of(model)
            found = [index for index in found if test(read(index))]
        if self.top is not None:
            allowed = set(found)
            best = (index for index in snapshot.ranked() if index in allowed)
            found = sorted([index for index, _ in zip(best, range(self.top), strict=False)])
        return list(found)

    def _picked(self, snapshot: Snapshot) -> list[int]:
        found = self.base(snapshot)
        for field, picked in self.picks.items():
            read, test = values_of(snapshot, field), _pick_test(picked)
            found = [index for index in found if test(read(index))]
        return found

    def _ordered(self, snapshot: Snapshot) -> list[int]:
        found = self.chosen(snapshot)
        for field, way in reversed(self.sort):
            read = values_of(snapshot, field)
            pairs = [(read(index), index) for index in found]
            full = [pair for pair in pairs if pair[0] is not None and pair[0] == pair[0]]
            full.sort(key=lambda pair: order_of(pair[0]), reverse=way == "desc")
            found = [
                *(index for _, index in full),
                *(index for value, index in pairs if value is not None and value != value),
                *(index for value, index in pairs if value is None),
            ]
        return found


def _kept(snapshot: Snapshot, key: tuple[str, str], make: Callable[[], list[int]]) -> list[int]:
    """What was found in a snapshot, kept with it: a table asks for one order block by block."""
    kept: dict[Any, list[int]] = snapshot.__dict__.setdefault("selected", {})
    found = kept.get(key)
    if found is None:
        found = kept[key] = make()
        for old in list(kept)[:-_KEPT]:
            kept.pop(old, None)
    return list(found)


def _has_words(snapshot: Snapshot, index: int, words: list[str]) -> bool:
    run = snapshot.runs[index]
    parts = [run.name, run.id, KINDS[kind_of(run)][0], run.message]
    parts += [value for value in snapshot.configs[index].values() if isinstance(value, str)]
    shown = "\n".join(parts).casefold()
    return all(word in shown for word in words)


# Reading a query.

_Refuse = Callable[[str, Any, str], None]


def _raise(name: str, found: Any, expected: str) -> None:
    shown = found if isinstance(found, str) else text(found)
    raise InputError("this makes no sense", path=name, found=shown, expected=expected)


def _ignore(name: str, found: Any, expected: str) -> None:
    pass


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if value else ""


def _listed(known: Iterable[str], what: str) -> Callable[[str, str, _Refuse], tuple[str, ...]]:
    def read(given: str, name: str, refuse: _Refuse) -> tuple[str, ...]:
        parts = [part for part in given.split(",") if part]
        for part in parts:
            if part not in known:
                refuse(name, part, f"{what}: {', '.join(sorted(known))}")
        return tuple(dict.fromkeys(part for part in parts if part in known))

    return read


def _words(given: str, name: str, refuse: _Refuse) -> str:
    return " ".join(given.split())


def _top(given: str, name: str, refuse: _Refuse) -> int | None:
    if given.isascii() and given.isdigit() and 0 < int(given[:12]) < 10**9:
        return int(given)
    refuse(name, given, "a number from 1 on")
    return None


def _json(given: str, kind: type, name: str, refuse: _Refuse) -> Any:
    try:
        found = json.loads(given, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, kind):
        return found
    refuse(name, given, f"a JSON {'list' if kind is list else 'object'}")
    return kind()


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _sort(given: str, name: str, refuse: _Refuse) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for item in _json(given, list, name, refuse):
        good = isinstance(item, list) and len(item) == 2 and is_field(item[0])
        if good and item[1] in ("asc", "desc"):
            found.setdefault(*item)
        else:
            refuse(name, item, 'pairs of a column and "asc" or "desc"')
    return tuple(found.items())


def _filters(given: str, name: str, refuse: _Refuse) -> dict[str, Any]:
    found = {}
    for field, model in _json(given, dict, name, refuse).items():
        if not is_field(field):
            refuse(name, field, "columns: name, state, ..., c:KEY of the config, s:KEY logged")
        elif not _is_model(model):
            refuse(name, model, "ag-grid's filter model of a text or a number")
        else:
            found[field] = model
    return found


def _is_model(model: Any) -> bool:
    if not isinstance(model, dict) or model.get("filterType") not in ("text", "number"):
        return False
    if "operator" not in model:
        return _is_condition(model, model["filterType"])
    conditions = model.get("conditions")
    return (
        model["operator"] in ("AND", "OR")
        and isinstance(conditions, list)
        and bool(conditions)
        and all(_is_condition(one, model["filterType"]) for one in conditions)
    )


def _is_condition(one: Any, kind: str) -> bool:
    if not isinstance(one, dict) or one.get("filterType", kind) != kind:
        return False
    way = one.get("type")
    if way in ("blank", "notBlank"):
        return True
    if kind == "text":
        return way in _TEXT and isinstance(one.get("filter"), str)
    return (
        way in _NUMBER
        and is_number(one.get("filter"))
        and (way != "inRange" or is_number(one.get("filterTo")))
    )


def _picks(given: str, name: str, refuse: _Refuse) -> dict[str, list[Any]]:
    found = {}
    for field, picked in _json(given, dict, name, refuse).items():
        if not is_field(field):
            refuse(name, field, "columns: c:KEY of the config, s:KEY logged")
        elif not (isinstance(picked, list) and picked and all(map(_is_pick, picked))):
            refuse(name, picked, "a list of pairs of numbers, options or null")
        else:
            found[field] = picked
    return found


def _is_pick(item: Any) -> bool:
    if isinstance(item, list):
        return len(item) == 2 and all(is_number(end) for end in item)
    return not isinstance(item, dict)


NAMES: dict[str, tuple[str, Callable[[str, str, _Refuse], Any]]] = {
    "show": ("show", _listed(KINDS, "states")),
    "state": (
        "state",
        _listed(frozenset(KINDS) - {"stopped_early"}, "W&B's states"),
    ),
    "q": ("words", _words),
    "filter": ("filters", _filters),
    "top": ("top", _top),
    "pick": ("picks", _picks),
    "sort": ("sort", _sort),
}
"""Parameter -> its attribute, and what reads it."""


# Conditions.


def _test_of(model: Mapping[str, Any]) -> _Test:
    """A filter model as a test of a cell."""
    if "operator" not in model:
        return _condition(model, model["filterType"])
    tests = [_condition(one, model["filterType"]) for one in model["conditions"]]
    join = all if model["operator"] == "AND" else any
    return lambda cell: join(test(cell) for test in tests)


def _condition(one: Mapping[str, Any], kind: str) -> _Test:
    way = one["type"]
    if way in ("blank", "notBlank"):
        return lambda cell: (cell is None or cell == "") is (way == "blank")
    if kind == "text":
        compare, wanted = _TEXT[way], one["filter"].casefold()
        without = way in _WITHOUT
        return lambda cell: without if cell is None else compare(text(cell).casefold(), wanted)
    test, low, high = _NUMBER[way], one["filter"], one.get("filterTo", math.inf)
    return lambda cell: is_number(cell) and test(cell, low, high)


def _pick_test(picked: Iterable[Any]) -> _Test:
    ranges = [item for item in picked if isinstance(item, list)]
    options = {same_key(item) for item in picked if not isinstance(item, list | None)}
    without = any(item is None for item in picked)

    def test(cell: Any) -> bool:
        if cell is None:
            return without
        if same_key(cell) in options:
            return True
        return is_number(cell) and any(low <= cell <= high for low, high in ranges)

    return test
