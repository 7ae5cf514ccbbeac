"""What of a filter a database can answer by itself, so that not every run has to be read.

`plan` takes a filter apart: conditions on sweeps, states, ids and times that all have to hold
become a question for the backend (`tune_bridge.backends.base.RunQuery`); the rest is looked at run
by run, for those alone that are left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from itertools import product
from typing import Any, get_args

import msgspec

from tune_bridge.backends.base import RunQuery, RunState

__all__ = ["Plan", "order_of", "plan"]

_SLACK = 1.0
"""Seconds: texts of times are compared again, exactly, where a bound has chosen."""

_ALL: frozenset[tuple[str, bool]] = frozenset(product(get_args(RunState), (False, True)))
_EARLY = ("finished", True)


class Plan(msgspec.Struct):
    """What a filter asks for.

    Attributes:
        sweeps: Ids of sweeps that may be meant; None for all of the project.
        states: Pairs for `RunQuery.states`; None for all.
        names: Ids as the client knows them; None for all.
        created: Bounds for `RunQuery.created`.
        updated: Bounds for `RunQuery.updated`.
        rest: What is to be looked at run by run; empty for nothing.
    """

    sweeps: frozenset[str] | None = None
    states: frozenset[tuple[str, bool]] | None = None
    names: frozenset[str] | None = None
    created: tuple[float | None, float | None] = (None, None)
    updated: tuple[float | None, float | None] = (None, None)
    rest: list[Any] = []


def plan(condition: Any) -> Plan:
    """Takes a filter apart; what makes no sense is in the rest, where it is refused."""
    made = Plan(rest=[])
    _read(condition, made)
    return made


def _read(condition: Any, made: Plan) -> None:
    if not isinstance(condition, Mapping):
        made.rest.append(condition)
        return
    for key, wanted in condition.items():
        if key == "$and" and isinstance(wanted, list):
            for item in wanted:
                _read(item, made)
            continue
        reader = _READERS.get(key.replace("_", "").lower())
        if reader is None or not reader(wanted, made):
            made.rest.append({key: wanted})


def _texts(wanted: Any) -> frozenset[str] | None:
    """The texts of which a value has to be one, when that is all that is asked."""
    if isinstance(wanted, str):
        return frozenset({wanted})
    if not isinstance(wanted, Mapping) or len(wanted) != 1:
        return None
    operator, operand = next(iter(wanted.items()))
    listed = operand if operator == "$in" else [operand] if operator == "$eq" else None
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        return None
    return frozenset(listed)


def _sweeps(wanted: Any, made: Plan) -> bool:
    found = _texts(wanted)
    if found is None:
        return False
    made.sweeps = found if made.sweeps is None else made.sweeps & found
    return True


def _states(wanted: Any, made: Plan) -> bool:
    found = _texts(wanted)
    pairs: frozenset[tuple[str, bool]]
    if found is not None:
        pairs = _pairs(found)
    elif isinstance(wanted, Mapping) and len(wanted) == 1 and ("$ne" in wanted or "$nin" in wanted):
        operand = next(iter(wanted.values()))
        others = _texts(operand if isinstance(operand, str) else {"$in": operand})
        if others is None:
            return False
        pairs = _ALL - _pairs(others)
    else:
        return False
    made.states = pairs if made.states is None else made.states & pairs
    return True


def _pairs(shown: frozenset[str]) -> frozenset[tuple[str, bool]]:
    """States as the client knows them: a run that was ended early is "killed" to it."""
    found = {pair for pair in _ALL if pair[0] in shown and pair != _EARLY}
    return frozenset(found | ({_EARLY} if "killed" in shown else set()))


def _names(wanted: Any, made: Plan) -> bool:
    found = _texts(wanted)
    if found is not None:
        made.names = found if made.names is None else made.names & found
    return False  # another project may have a run of that name: it is compared again


def _created(wanted: Any, made: Plan) -> bool:
    made.created = _bounds(wanted, made.created)
    return False


def _updated(wanted: Any, made: Plan) -> bool:
    made.updated = _bounds(wanted, made.updated)
    return False


def _bounds(
    wanted: Any, known: tuple[float | None, float | None]
) -> tuple[float | None, float | None]:
    low, high = known
    for operator, text in wanted.items() if isinstance(wanted, Mapping) else ():
        at = _seconds(text)
        if at is not None and operator in ("$gt", "$gte"):
            low = at - _SLACK if low is None else max(low, at - _SLACK)
        elif at is not None and operator in ("$lt", "$lte"):
            high = at + _SLACK if high is None else min(high, at + _SLACK)
    return low, high


def _seconds(text: Any) -> float | None:
    """A time as W&B writes it, and nothing else: texts are compared as texts."""
    if not isinstance(text, str) or not text.endswith("Z") or len(text) < 20:
        return None
    try:
        return datetime.fromisoformat(text[:-1]).replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None


_READERS: dict[str, Callable[[Any, Plan], bool]] = {
    "sweep": _sweeps,
    "state": _states,
    "name": _names,
    "createdat": _created,
    "heartbeatat": _updated,
    "updatedat": _updated,
}

_ORDERS: dict[str, Any] = {
    "createdat": "created_at",
    "heartbeatat": "updated_at",
    "updatedat": "updated_at",
}


def order_of(text: str | None, query: RunQuery) -> RunQuery | None:
    """A question in an order such as ``-created_at``; None for one that no column has."""
    text = text or "+created_at"
    column = _ORDERS.get(text.strip("+- ").replace("_", "").lower())
    if column is None or "," in text:
        return None
    return msgspec.structs.replace(query, order=column, descending=text.startswith("-"))
