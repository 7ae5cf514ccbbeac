"""What an address can ask of each page, and what makes no sense there: one table.

A page says it in a line, and shows what it understood; its JSON twin answers nothing else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from tune_bridge.errors import InputError
from tune_bridge.server.addresses import Address
from tune_bridge.server.analysis import cards
from tune_bridge.server.analysis.importance import measures
from tune_bridge.server.fields import is_field
from tune_bridge.server.listing import ORDERS, STATES
from tune_bridge.server.run_curves import AXES, SMOOTH
from tune_bridge.server.selection import NAMES, Selection
from tune_bridge.server.views import Reader, Snapshot

__all__ = ["CHOICES", "TWINS", "checked", "said"]

_Read = Callable[[], Snapshot]
_Rule = Callable[[str, str, _Read], None]
"""Refuses a value of a parameter by `InputError`; reads the sweep where that is needed."""


def _refuse(name: str, value: str, what: str, expected: Iterable[str] = ()) -> None:
    shown = value if len(value) <= 60 else f"{value[:59]}…"
    raise InputError(what, path=name, found=shown, expected=", ".join(expected))


def _text(name: str, value: str, read: _Read) -> None:
    """What does not fit finds nothing, or is said where it is missing."""


def _one_of(*known: str, what: str = "no such choice") -> _Rule:
    def rule(name: str, value: str, read: _Read) -> None:
        if value not in known:
            _refuse(name, value, what, known)

    return rule


def _whole(name: str, value: str, read: _Read) -> None:
    if not (value.isascii() and value.isdigit() and len(value) < 9):
        _refuse(name, value, "not a whole number")


def _selected(name: str, value: str, read: _Read) -> None:
    Selection.of({name: value}, strict=True)


def _field(name: str, value: str, read: _Read) -> None:
    if not is_field(value):
        _refuse(name, value, "no such column", ("name", "state", "...", "c:KEY", "s:KEY"))


def _fields(name: str, value: str, read: _Read) -> None:
    try:
        data = json.loads(value)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, list):
        _refuse(name, value, "not a JSON list of columns")
    for one in data or ():
        _field(name, one if isinstance(one, str) else json.dumps(one), read)


def _metric(name: str, value: str, read: _Read) -> None:
    known = read().metrics
    if value not in known:
        _refuse(name, value, "no run has logged such a number", known[:20])


def _parameter(name: str, value: str, read: _Read) -> None:
    known = [one.path for one in read().varied]
    if value not in known:
        _refuse(name, value, "no parameter that varies", known[:20])


def _run(name: str, value: str, read: _Read) -> None:
    if value not in read().places:
        _refuse(name, value, "no such run in this sweep")


def _measure(name: str, value: str, read: _Read) -> None:
    if value not in measures():  # it takes a look at what is installed
        _refuse(name, value, "no such choice", measures())


def _runs(name: str, value: str, read: _Read) -> None:
    for one in filter(None, value.split(",")):
        _run(name, one, read)


_ON = _one_of("0", "1")

CHOICES: dict[str, dict[str, _Rule]] = {
    "sweeps": {
        "q": _text,
        "project": _text,
        "state": _one_of(*STATES, what="no such state"),
        "sort": _one_of(*ORDERS, *(f"-{name}" for name in ORDERS), what="no such column"),
        "offset": _whole,
        "pick": _text,
    },
    "compare": {"sweep": _text, "metric": _text, "over": _one_of("runs", "time"), "log": _ON},
    "sweep": {
        **dict.fromkeys(NAMES, _selected),
        "metric": _metric,
        "log": _ON,
        "group": _field,
        "axes": _fields,
        "cols": _fields,
        "pin": _fields,
        "run": _run,
        "tick": _runs,
    },
    "analysis": {
        **dict.fromkeys(cards.CHOICES, _text),
        "metric": _metric,
        "measure": _measure,
        "one": _parameter,
        "two": _parameter,
        "pair": _one_of("rank", "value"),
        "over": _one_of("iteration", "time"),
        "log": _ON,
    },
    "run": {
        "y": _metric,
        "x": _one_of(*AXES, what="no such axis"),
        "smooth": _one_of(*map(str, SMOOTH)),
        "log": _ON,
        "with": _text,
        "all": _ON,
    },
    "missing": {},
}
"""`Address.page` -> its parameters, each with what can stand there."""

TWINS: dict[str, tuple[str, tuple[str, ...]]] = {
    "/api/sweeps": ("sweeps", ("limit", "offset")),
    "/api/compare": ("compare", ()),
    "/api/sweeps/{sweep_id}": ("missing", ()),
    "/api/sweeps/{sweep_id}/runs": ("sweep", ("limit", "offset")),
    "/api/sweeps/{sweep_id}/table": ("sweep", ("fields", "limit", "offset")),
    "/api/sweeps/{sweep_id}/runs.csv": ("sweep", ()),
    "/api/sweeps/{sweep_id}/runs.parquet": ("sweep", ()),
    "/api/sweeps/{sweep_id}/analysis": ("analysis", ("parts",)),
    "/api/sweeps/{sweep_id}/importance": ("analysis", ()),
    "/api/runs/{run_id}": ("run", ()),
    "/api/runs/{run_id}/curves": ("run", ()),
    "/api/runs/{run_id}/history": ("missing", ("keys", "min_step", "limit")),
}
"""Address for programs -> the page whose query it takes, and what it takes besides."""


def _problems(
    rules: Mapping[str, _Rule], also: Iterable[str], query: str, read: _Read
) -> Iterator[InputError]:
    """What makes no sense in a query, in its order; each parameter once."""
    unknown: set[str] = set()
    for name, value in parse_qsl(query):
        rule = rules.get(name)
        try:
            if rule is not None:
                rule(name, value, read)
            elif name not in also and name not in unknown:
                unknown.add(name)
                known = ", ".join([*rules, *also]) or "none"
                raise InputError("no such parameter", path=name, expected=known)
        except InputError as error:
            yield error


def said(reader: Reader, path: str, search: str) -> list[str]:
    """What makes no sense in the address of a page, as sentences.

    Raises:
        NotFoundError: There is no such sweep.
        BackendError: The place of the sweeps cannot be reached.
    """
    address = Address.of(path)
    rules = CHOICES[address.page]
    if address.page == "missing":
        return []
    found = _problems(rules, (), search.lstrip("?"), lambda: reader.snapshot(address.sweep or ""))
    return [_sentence(error) for error in found]


def _sentence(error: InputError) -> str:
    if not error.found:
        return f"“{error.path}” is not a choice of this page; it has: {error.expected}."
    known = f"; it takes: {error.expected}" if error.expected else ""
    return f"{error.path}={error.found}: {error.message}{known}."


def checked(reader: Reader) -> Callable[[Request], Awaitable[None]]:
    """What refuses a query that makes no sense, before a twin answers: a dependency of FastAPI."""

    def check(request: Request, page: str, also: tuple[str, ...]) -> None:
        rules = {name: rule for name, rule in CHOICES[page].items() if name not in also}
        for error in _problems(rules, also, request.url.query, lambda: _read(reader, request)):
            raise error

    async def dependency(request: Request) -> None:
        route: Any = request.scope.get("route")
        found = TWINS.get(getattr(route, "path", ""))
        if found is not None and request.url.query:
            await asyncio.to_thread(check, request, *found)

    return dependency


def _read(reader: Reader, request: Request) -> Snapshot:
    asked = request.path_params
    sweep = asked.get("sweep_id") or reader.backend.run(asked["run_id"]).sweep_id
    return reader.snapshot(sweep)
