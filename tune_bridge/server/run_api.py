"""The JSON twins of a run's page."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Query, Request
from starlette.responses import Response

from tune_bridge.backends.base import Run
from tune_bridge.server.run_beside import Beside
from tune_bridge.server.run_curves import Look, curves_data
from tune_bridge.server.run_files import RunFiles, told_checkpoints
from tune_bridge.server.run_life import Decision, Logs
from tune_bridge.server.values import json_bytes
from tune_bridge.server.views import Reader

__all__ = ["add_run_api"]

_MOST_ROWS = 100_000
_INT64 = 2**63 - 1


def add_run_api(app: FastAPI, reader: Reader, logs: Logs, files: RunFiles | None) -> None:
    """Adds the routes below ``/api/runs``."""
    backend = reader.backend

    @app.get("/api/runs/{run_id}")
    def run(run_id: str, request: Request) -> Response:
        found = backend.run(run_id)
        look = Look.of(request.url.query, None)
        compared = {}
        if look.others:
            beside = Beside.of(reader.snapshot(found.sweep_id), found, look.others)
            compared = {"compared": beside.data(everything=look.everything)}
        return _answer(
            {
                **msgspec.structs.asdict(found),
                "history_url": f"/api/runs/{run_id}/history",
                "output_url": f"/api/runs/{run_id}/output",
                **_story(found, logs, files),
                **compared,
            }
        )

    @app.get("/api/runs/{run_id}/history")
    def history(
        run_id: str,
        keys: Annotated[list[str] | None, Query()] = None,
        min_step: Annotated[int, Query(ge=0, le=_INT64)] = 0,
        limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = _MOST_ROWS,
    ) -> Response:
        wanted = [part for one in keys or () for part in one.split(",") if part]
        rows = backend.history(run_id, keys=wanted or None, min_step=min_step)
        shown = [{"step": row.step, "time": row.time, "values": row.values} for row in rows[:limit]]
        return _answer({"run_id": run_id, "rows": shown, "more": len(rows) > limit})

    @app.get("/api/runs/{run_id}/curves")
    def curves(run_id: str, request: Request) -> Response:
        found = backend.run(run_id)
        look = Look.of(request.url.query, None)
        snapshot = reader.snapshot(found.sweep_id)
        others = Beside.of(snapshot, found, look.others).others if look.others else ()
        changes = logs.life(found).changes
        return _answer(curves_data(reader, snapshot, found, look, changes, others))

    if files is not None:
        files.attach(app)


def _story(run: Run, logs: Logs, files: RunFiles | None) -> dict[str, Any]:
    life = logs.life(run)
    saved = told_checkpoints(run) if files is None else files.checkpoints(run, life)
    return {
        "config_changes": _plain(life.changes),
        "decision": None if life.decision is None else _decision(life.decision),
        "life": _plain(life.moments),
        "checkpoints": _plain(saved),
        "files": [] if files is None else _plain(files.files(run)),
    }


def _decision(decision: Decision) -> dict[str, Any]:
    return {**msgspec.structs.asdict(decision), "sentence": decision.sentence()}


def _plain(found: Any) -> list[dict[str, Any]]:
    return [msgspec.structs.asdict(one) for one in found]


def _answer(value: Any) -> Response:
    return Response(json_bytes(value), media_type="application/json")
