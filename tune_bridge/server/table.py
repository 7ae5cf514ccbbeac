"""The table of runs: its columns and rows, as dash-ag-grid takes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tune_bridge.server.fields import values_of
from tune_bridge.server.selection import Selection
from tune_bridge.server.values import is_number, plain, text
from tune_bridge.server.views import KINDS, Snapshot

__all__ = ["BLOCK", "block", "cells", "columns", "first_block", "rows"]

BLOCK = 100
"""Rows that a table asks for at once."""

_HIDDEN = frozenset({"_step", "_timestamp", "_wandb"})
_LONG = 300
_PLAIN = frozenset({float, int})
_FIRST = 40
"""How many columns a table begins with: a few hundred would be sent for nothing."""


def _numeric(maps: Sequence[dict[str, Any]]) -> dict[str, bool]:
    """Keys, and whether all their values are numbers; in order of appearance."""
    found: dict[str, bool | None] = {}
    for one in maps:
        for key, value in one.items():
            if type(value) in _PLAIN and found.get(key):  # most are
                continue
            if value is None:
                found.setdefault(key, None)
            elif found.get(key) is not False:
                found[key] = is_number(value)
    return {key: bool(numeric) for key, numeric in found.items() if key not in _HIDDEN}


def _column(
    field: str, name: str, *, numeric: bool, formatter: str | None = None, **more: Any
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "field": field,
        "colId": field,
        "headerName": name,
        "headerTooltip": name,
        "filter": "agNumberColumnFilter" if numeric else "agTextColumnFilter",
        "valueFormatter": {"function": "tbNumber(params.value)"},
        **more,
    }
    if numeric:
        made |= {
            "type": "rightAligned",
            "valueFormatter": {"function": formatter or "tbNumber(params.value)"},
        }
    return made


def columns(
    snapshot: Snapshot, shown: Sequence[str] = (), pins: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Column definitions: name, state, the objective, the config, what was logged, times, message.

    No text of a user ends in a definition's code: fields are plain keys, names are plain texts.

    Args:
        snapshot: The sweep.
        shown: Fields of the visible columns, in order; none means the first 40.
        pins: Fields of the columns that stay at the left; None means the name.
    """
    made = _kept(snapshot)
    visible = shown or [column["field"] for column in made[:_FIRST]]
    places = {field: place for place, field in enumerate(visible)}
    if shown:
        made = sorted(made, key=lambda column: places.get(column["field"], len(places)))
    fixed = ("name",) if pins is None else pins
    return [
        {
            **column,
            **({} if column["field"] in places else {"initialHide": True}),
            **({"initialPinned": "left"} if column["field"] in fixed else {}),
        }
        for column in made
    ]


def _kept(snapshot: Snapshot) -> list[dict[str, Any]]:
    """All columns, found once for each snapshot."""
    if "columns" not in snapshot.__dict__:
        snapshot.__dict__["columns"] = _made(snapshot)
    found: list[dict[str, Any]] = snapshot.__dict__["columns"]
    return found


def _made(snapshot: Snapshot) -> list[dict[str, Any]]:
    objective = snapshot.plan.objective
    logged = _numeric(snapshot.summaries)
    configs = _numeric(snapshot.configs)
    searched = {dimension.path: i for i, dimension in enumerate(snapshot.searched)}
    made = [
        _column("name", "Run", numeric=False, width=150, cellClass="tb-name"),
        _column(
            "state",
            "State",
            numeric=False,
            width=130,
            tooltipField="message",
            cellClassRules={
                f"tb-state tb-{kind}": f"params.data && params.data.kind == '{kind}'"
                for kind in KINDS
            },
        ),
    ]
    if objective in logged:
        numeric = logged.pop(objective)
        classes = "ag-right-aligned-cell tb-objective"
        made.append(_column(f"s:{objective}", objective, numeric=numeric,
                            width=_width(objective), cellClass=classes))  # fmt: skip
    for prefix, kinds, order in (
        ("c", configs, lambda key: searched.get(key, len(searched))),
        ("s", logged, lambda key: (key.startswith("_"), key)),
    ):
        made += [
            _column(f"{prefix}:{key}", key, numeric=kinds[key], width=_width(key))
            for key in sorted(kinds, key=order)
        ]
    last = [
        _column(
            "runtime", "Runtime", numeric=True, formatter="tbDuration(params.value)", width=120
        ),
        _column("rows", "Rows", numeric=True, width=100),
        _column("created", "Created", numeric=True, formatter="tbTime(params.value)", width=170),
        _column("message", "Message", numeric=False, tooltipField="message", width=320),
    ]
    room = _FIRST - len(last)
    return [*made[:room], *last, *made[room:]]


def _width(key: str) -> int:
    return max(128, min(230, 58 + 8 * len(key)))


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value and text(value.replace("\n", " "), _LONG)
    if is_number(value):
        return plain(value) if abs(value) < 2**53 or not math.isfinite(value) else float(value)
    return text(value, _LONG)


def cells(snapshot: Snapshot, indices: Sequence[int], fields: Sequence[str]) -> list[list[Any]]:
    """What stands in the columns of the chosen runs; NaN and infinities are their names."""
    reads = [values_of(snapshot, field) for field in fields]
    return [[_cell(read(index)) for read in reads] for index in indices]


def block(
    snapshot: Snapshot, selection: Selection, fields: Sequence[str], offset: int, limit: int
) -> dict[str, Any]:
    """Some rows of the chosen runs in their order, with what a table has to know of all."""
    indices = selection.ordered(snapshot)
    return {
        "fields": list(fields),
        "rows": cells(snapshot, indices[offset : offset + limit], fields),
        "total": len(indices),
        "runs": len(snapshot.runs),
        "version": snapshot.version,
    }


def first_block(
    snapshot: Snapshot, selection: Selection, shown: Sequence[str] = ()
) -> dict[str, Any]:
    """The rows that a table begins with, which come with its page; see `columns`."""
    visible = [
        column["field"] for column in columns(snapshot, shown) if "initialHide" not in column
    ]
    fields = dict.fromkeys(("id", "kind", "message", *visible))
    return block(snapshot, selection, list(fields), 0, BLOCK)


def rows(snapshot: Snapshot, indices: Sequence[int]) -> list[dict[str, Any]]:
    """All columns of the chosen runs, by field, where they have a value."""
    fields = ["id", "kind", *(column["field"] for column in columns(snapshot))]
    return [
        {field: value for field, value in zip(fields, found, strict=True) if value is not None}
        for found in cells(snapshot, indices, fields)
    ]
