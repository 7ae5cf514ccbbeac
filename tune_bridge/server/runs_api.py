"""The runs of a sweep for programs: the query of its page gives the same runs in the same order."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from starlette.responses import Response, StreamingResponse

from tune_bridge.errors import InputError
from tune_bridge.server.exports import runs_csv, runs_parquet
from tune_bridge.server.fields import is_field
from tune_bridge.server.groups import groups
from tune_bridge.server.selection import Selection
from tune_bridge.server.table import block
from tune_bridge.server.values import json_bytes
from tune_bridge.server.views import Reader

__all__ = ["add_runs_of_sweep"]

_MAX = 10_000
_INT64 = 2**63 - 1
_Limit = Annotated[int, Query(ge=1, le=_MAX)]
_Offset = Annotated[int, Query(ge=0, le=_INT64)]
_FIELDS = '["name", "state"]'


def _answer(value: Any) -> Response:
    return Response(json_bytes(value), media_type="application/json")


def _selection(request: Request) -> Selection:
    """What the query says; parameters with commas may also be repeated."""
    query: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        joined = name in ("show", "state") and query.get(name)
        query[name] = f"{query[name]},{value}" if joined else value
    return Selection.of(query, strict=True)


def add_runs_of_sweep(app: FastAPI, reader: Reader) -> None:
    """Adds the routes below ``/api/sweeps/ID`` that answer runs."""

    @app.get("/api/sweeps/{sweep_id}/runs")
    def runs(
        request: Request,
        sweep_id: str,
        limit: _Limit = 1000,
        offset: _Offset = 0,
        group: str | None = None,
        metric: str | None = None,
    ) -> Response:
        selection = _selection(request)
        more: dict[str, Any] = {"limit": limit, "offset": offset}
        if selection == Selection(state=selection.state) and group is None:
            backend, states = reader.backend, selection.state
            found = backend.runs(sweep_id, states=states or None, limit=limit, offset=offset)
            counts = backend.counts([sweep_id]).get(sweep_id, {})
            total = sum(n for name, n in counts.items() if not states or name in states)
        else:
            snapshot = reader.snapshot(sweep_id)
            indices = selection.ordered(snapshot)
            found = [snapshot.runs[index] for index in indices[offset : offset + limit]]
            total = len(indices)
            if group is not None:
                made, several = groups(
                    snapshot, selection, _field(group, "group"), metric or snapshot.ranking
                )
                more |= {"groups": [_fields_of(one) for one in made], "groups_total": several}
        return _answer({"runs": [_fields_of(run) for run in found], "total": total, **more})

    @app.get("/api/sweeps/{sweep_id}/table")
    def table(
        request: Request,
        sweep_id: str,
        limit: _Limit = 100,
        offset: _Offset = 0,
        fields: str = _FIELDS,
    ) -> Response:
        selection, snapshot = _selection(request), reader.snapshot(sweep_id)
        return _answer(block(snapshot, selection, _fields(fields), offset, limit))

    @app.get("/api/sweeps/{sweep_id}/runs.csv")
    def csv(request: Request, sweep_id: str) -> Response:
        selection, snapshot = _selection(request), reader.snapshot(sweep_id)
        return StreamingResponse(
            runs_csv(snapshot, selection.ordered(snapshot)),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="runs.csv"'},
        )

    @app.get("/api/sweeps/{sweep_id}/runs.parquet")
    def parquet(request: Request, sweep_id: str) -> Response:
        selection, snapshot = _selection(request), reader.snapshot(sweep_id)
        return Response(
            runs_parquet(snapshot, selection.ordered(snapshot)),
            media_type="application/vnd.apache.parquet",
            headers={"Content-Disposition": 'attachment; filename="runs.parquet"'},
        )


def _fields_of(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _field(name: Any, parameter: str) -> str:
    if not is_field(name):
        expected = "name, state, runtime, rows, created, message, c:KEY or s:KEY"
        raise InputError("no such column", path=parameter, found=str(name), expected=expected)
    return str(name)


def _fields(given: str) -> list[str]:
    try:
        names = json.loads(given)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list):
        raise InputError("no list", path="fields", found=given, expected="a JSON list of columns")
    return [_field(name, "fields") for name in names]
