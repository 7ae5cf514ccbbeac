"""The table of runs: its columns and rows, as dash-ag-grid takes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tune_bridge.server.fields import values_of
from tune_bridge.server.values import is_number, plain, text
from tune_bridge.server.views import KINDS, Snapshot

__all__ = ["cells", "columns", "rows"]

_HIDDEN = frozenset({"_step", "_timestamp", "_wandb"})
_LONG = 300


def _keys(maps: Sequence[dict[str, Any]]) -> list[str]:
    found: dict[str, None] = {}
    for one in maps:
        found.update(dict.fromkeys(one))
    return [key for key in found if key not in _HIDDEN]


def _numeric(maps: Sequence[dict[str, Any]], key: str) -> bool:
    values = [one[key] for one in maps if one.get(key) is not None]
    return bool(values) and all(is_number(value) for value in values)


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


def columns(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Column definitions: name, state, the objective, the config, what was logged, times, message.

    No text of a user ends in a definition's code: fields are plain keys, names are plain texts.
    """
    objective = snapshot.plan.objective
    logged = _keys(snapshot.summaries)
    logged.sort(key=lambda key: (key != objective, key.startswith("_"), key))
    configs = _keys(snapshot.configs)
    searched = {dimension.path: i for i, dimension in enumerate(snapshot.plan.dimensions)}
    configs.sort(key=lambda key: searched.get(key, len(searched)))
    made = [
        _column("name", "Run", numeric=False, pinned="left", width=150, cellClass="tb-name"),
        _column(
            "state",
            "State",
            numeric=False,
            width=130,
            tooltipField="message",
            cellClassRules={
                f"tb-state tb-{kind}": f"params.data.kind == '{kind}'" for kind in KINDS
            },
        ),
    ]
    if objective in logged:
        logged.remove(objective)
        made.append(
            _summary_column(snapshot, objective, cellClass="ag-right-aligned-cell tb-objective")
        )
    for key in configs:
        number = _numeric(snapshot.configs, key)
        made.append(_column(f"c:{key}", key, numeric=number, width=_width(key)))
    made += [_summary_column(snapshot, key) for key in logged]
    made += [
        _column(
            "runtime", "Runtime", numeric=True, formatter="tbDuration(params.value)", width=120
        ),
        _column("rows", "Rows", numeric=True, width=100),
        _column("created", "Created", numeric=True, formatter="tbTime(params.value)", width=170),
        _column("message", "Message", numeric=False, tooltipField="message", width=320),
    ]
    return made


def _width(key: str) -> int:
    return max(128, min(230, 58 + 8 * len(key)))


def _summary_column(snapshot: Snapshot, key: str, **more: Any) -> dict[str, Any]:
    number = _numeric(snapshot.summaries, key)
    return _column(f"s:{key}", key, numeric=number, width=_width(key), **more)


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


def rows(snapshot: Snapshot, indices: Sequence[int]) -> list[dict[str, Any]]:
    """All columns of the chosen runs, by field, where they have a value."""
    fields = ["id", "kind", *(column["field"] for column in columns(snapshot))]
    return [
        {field: value for field, value in zip(fields, found, strict=True) if value is not None}
        for found in cells(snapshot, indices, fields)
    ]
