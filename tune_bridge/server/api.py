"""The JSON twins of the pages: what a page shows, for programs.

Numbers that JSON cannot say are the strings "NaN", "Infinity" and "-Infinity". An error is
``{"error": {"status": ..., "message": ...}}``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tune_bridge.backends.base import Run
from tune_bridge.errors import (
    BackendError,
    InputError,
    MissingExtraError,
    NotFoundError,
    OccupiedError,
    TooLargeError,
)
from tune_bridge.server.analysis.analyst import Analyst
from tune_bridge.server.analysis.api import add_analysis_api
from tune_bridge.server.analysis.importance import measures
from tune_bridge.server.bundle import bundle
from tune_bridge.server.compare_page import View, compared
from tune_bridge.server.lines import best_data, line, sweep_data
from tune_bridge.server.listing import Listing, find
from tune_bridge.server.runs_api import add_runs_of_sweep
from tune_bridge.server.security import error_response
from tune_bridge.server.values import json_bytes
from tune_bridge.server.views import Reader

__all__ = ["add_api", "add_missing"]

_INT64 = 2**63 - 1
_Texts = Annotated[list[str] | None, Query()]


def _answer(value: Any) -> Response:
    return Response(json_bytes(value), media_type="application/json")


def _struct(value: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _run(run: Run) -> dict[str, Any]:
    return _struct(run)


def _split(texts: list[str] | None) -> list[str]:
    """A repeated or comma-separated parameter."""
    return [part for text in texts or () for part in text.split(",") if part]


def add_api(app: FastAPI, reader: Reader, analyst: Analyst) -> None:
    """Adds the routes below ``/api`` and the error handlers."""
    _add_sweeps(app, reader)
    _add_shown(app, reader, analyst)
    add_analysis_api(app, reader, analyst)
    add_runs_of_sweep(app, reader)
    _add_error_handlers(app)


def _add_sweeps(app: FastAPI, reader: Reader) -> None:
    @app.get("/api/sweeps")
    def sweeps(
        q: str = "",
        project: str = "",
        state: str = "",
        sort: str = "-created",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=_INT64)] = 0,
    ) -> Response:
        query = {"q": q, "project": project, "state": state, "sort": sort}
        listing = msgspec.structs.replace(Listing.of(query), offset=offset)
        found = find(reader, listing, limit)
        lines = [line(overview) for overview in found.lines]
        return _answer({"sweeps": lines, "more": found.more, "limit": limit, "offset": offset})

    @app.get("/api/compare")
    def compare(
        sweep: _Texts = None, metric: str | None = None, over: Literal["runs", "time"] = "runs"
    ) -> Response:
        return _answer(compared(reader, View.made(_split(sweep), metric, over, False, None)))

    @app.get("/api/sweeps/{sweep_id}")
    def sweep(sweep_id: str) -> Response:
        snapshot = reader.snapshot(sweep_id)
        return _answer(
            {
                **sweep_data(snapshot.sweep),
                "version": snapshot.version,
                "counts": snapshot.counts,
                "best": best_data(snapshot.best),
                "metrics": snapshot.metrics,
                "runs_url": f"/api/sweeps/{snapshot.sweep.id}/runs",
            }
        )


def _add_shown(app: FastAPI, reader: Reader, analyst: Analyst) -> None:
    @app.get("/api/sweeps/{sweep_id}/importance")
    def importance(sweep_id: str, metric: str | None = None, measure: str = "") -> Response:
        snapshot = reader.snapshot(sweep_id)
        chosen, kind = metric or next(iter(snapshot.metrics), None), measure or measures()[0]
        found = analyst.importance(snapshot, chosen, kind) if chosen else []
        return _answer(
            {"metric": chosen, "measure": kind, "parameters": [_struct(one) for one in found]}
        )

    @app.get("/api/sweeps/{sweep_id}/bundle")
    def bundled(sweep_id: str) -> Response:
        return _answer({"html": bundle(reader, sweep_id, analyst)})

    @app.get("/api/sweeps/{sweep_id}/bundle.html")
    def bundle_file(sweep_id: str) -> Response:
        return Response(
            bundle(reader, sweep_id, analyst),
            media_type="text/html; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="sweep.html"'},
        )


def add_missing(app: FastAPI) -> None:
    """Answers all other addresses below ``/api``: without it, they would be pages. Comes last."""

    @app.get("/api/{rest:path}", include_in_schema=False)
    def missing(rest: str) -> Response:
        return error_response(404, "no such address", found=f"/api/{rest}")


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(NotFoundError)
    def not_found(_: Request, error: NotFoundError) -> Response:
        more = {"found": error.found} if error.found else {}
        return error_response(404, error.message, **more)

    @app.exception_handler(InputError)
    def refused(_: Request, error: InputError) -> Response:
        shown = ("path", "found", "expected", "hint")
        more = {name: getattr(error, name) for name in shown if getattr(error, name)}
        return error_response(
            413 if isinstance(error, TooLargeError) else 422, error.message, **more
        )

    @app.exception_handler(MissingExtraError)
    def missing(_: Request, error: MissingExtraError) -> Response:
        return error_response(501, str(error))

    @app.exception_handler(OccupiedError)
    def occupied(_: Request, error: OccupiedError) -> Response:
        return error_response(409, str(error))

    @app.exception_handler(BackendError)
    def backend_error(_: Request, error: BackendError) -> Response:
        return error_response(503, str(error))

    @app.exception_handler(HTTPException)
    def http_error(_: Request, error: HTTPException) -> Response:
        return error_response(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"][1:])
        return error_response(422, first["msg"], path=path, found=str(first.get("input", "")))

    @app.exception_handler(Exception)
    def broken(_: Request, error: Exception) -> Response:
        return error_response(500, f"the server failed: {type(error).__name__}")
