"""The JSON twin of the analysis page: the numbers behind each drawing.

The query is the page's (`tune_bridge.server.analysis.cards.CHOICES`), and ``parts``: which
drawings, all without it. Unlike drawings, numbers are whole: nothing is rounded, thinned or left
out, but for curves, which the database thins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Query, Request
from starlette.responses import Response

from tune_bridge.server.analysis.analyst import Analyst
from tune_bridge.server.analysis.cards import Case, View, cards, reference_of
from tune_bridge.server.analysis.importance import measures
from tune_bridge.server.analysis.results import Results, in_order
from tune_bridge.server.analysis.settings import block_of, call_of
from tune_bridge.server.analysis.what_if import best_setting
from tune_bridge.server.security import error_response
from tune_bridge.server.values import json_bytes
from tune_bridge.server.views import Reader

__all__ = ["PARTS", "add_analysis_api", "part_of"]


def _ids(case: Case, indices: list[int]) -> list[str]:
    return [case.snapshot.runs[index].id for index in indices]


def _progress(case: Case) -> Any:
    line = in_order(case.results)
    return {
        "goal": case.results.goal,
        "runs": _ids(case, [index for index, _, _ in line]),
        "values": [value for _, value, _ in line],
        "best": [best for _, _, best in line],
    }


def _importance(case: Case) -> Any:
    kind = case.view.measure or "correlation"
    found = case.analyst.importance(case.snapshot, case.view.metric or "", kind)
    return {"measure": kind, "parameters": found}


def _slices(case: Case) -> Any:
    results = case.results
    configs = [case.snapshot.configs[index] for index in results.indices]
    return {
        "runs": _ids(case, results.indices),
        "values": results.values,
        "ranks": _ranks(results),
        "parameters": {
            one.path: [config.get(one.path) for config in configs] for one in case.snapshot.varied
        },
    }


def _ranks(results: Results) -> list[int]:
    """The place of each run, 1 for the best."""
    order = sorted(range(len(results.values)), key=results.costs.__getitem__)
    found = [0] * len(order)
    for rank, place in enumerate(order, 1):
        found[place] = rank
    return found


def _intermediate(case: Case) -> Any:
    points = case.analyst.points(case.snapshot, case.view.metric or "")
    return {
        "runs": [
            {
                "run": run.id,
                "state": run.state,
                "stopped_early": run.stopped_early,
                "steps": [step for step, _ in points[run.id]],
                "values": [value for _, value in points[run.id]],
            }
            for run in case.snapshot.runs
            if run.id in points
        ]
    }


def _rungs(case: Case) -> Any:
    return {
        "metric": case.snapshot.plan.objective,
        "scheduler": case.snapshot.plan.scheduler,
        "rungs": [
            {
                "at": rung.at,
                "bracket": rung.bracket,
                "came": rung.came,
                "let_on": rung.let_on,
                "stopped": rung.stopped,
                "cutoff": rung.cutoff,
                "runs": _ids(case, [index for index, _, _ in rung.runs]),
                "values": [value for _, value, _ in rung.runs],
                "stopped_there": [stopped for _, _, stopped in rung.runs],
            }
            for rung in case.analyst.rungs(case.snapshot)
        ],
        "decisions": case.analyst.story(case.snapshot).verdicts,
    }


def _survival(case: Case) -> Any:
    ended = [run for run in case.snapshot.runs if run.ended_at is not None and run.rows]
    return {
        "runs": [run.id for run in ended],
        "reports": [run.rows for run in ended],
        "stopped_early": [run.stopped_early for run in ended],
    }


def _what_if(case: Case) -> Any:
    played = case.analyst.what_if(case.snapshot, case.view.metric or "")
    best = best_setting(played.outcomes)
    config = case.snapshot.sweep.config
    advice = None if best is None else {"block": block_of(best, config), "tune": call_of(best)}
    return {**msgspec.structs.asdict(played), "best": best, "advice": advice}


def _lineage(case: Case) -> Any:
    snapshot = case.snapshot
    return {
        "copies": case.analyst.copies(snapshot),
        "members": [
            {
                "run": snapshot.runs[member.index].id,
                "configs": member.configs,
                "since": member.since,
                "iterations": [iteration for iteration, _, _ in member.points],
                "values": [value for _, value, _ in member.points],
                "config": [place for _, _, place in member.points],
            }
            for member in case.analyst.members(snapshot, case.view.metric or "")
        ],
    }


def _timeline(case: Case) -> Any:
    story = case.analyst.story(case.snapshot)
    return {
        "runs": [
            {
                "run": run.id,
                "state": run.state,
                "stopped_early": run.stopped_early,
                "started_at": run.started_at,
                "ended_at": run.ended_at,
                "paused": story.gaps.get(run.id, []),
            }
            for run in case.snapshot.runs
        ],
        "marks": story.marks,
    }


def _distribution(case: Case) -> Any:
    values = sorted(case.results.values, reverse=case.results.goal == "maximize")
    return {"values": values, "share": [(at + 1) / len(values) for at in range(len(values))]}


def _pareto(case: Case) -> Any:
    """The runs of the front."""
    found = case.together
    if found is None:
        return None
    best = found.front()
    return {
        "metrics": [one.metric for one in found.parts],
        "goals": [one.goal for one in found.parts],
        "runs": _ids(case, [found.indices[place] for place in best]),
        "values": [found.values[place] for place in best],
    }


def _hypervolume(case: Case) -> Any:
    """The runs that made it larger, by their ends."""
    found = case.together
    if found is None or not found.indices:
        return None
    reference = found.reference(case.view.reference)
    grown = found.growth(reference)
    return {
        "metrics": [one.metric for one in found.parts],
        "goals": [one.goal for one in found.parts],
        "reference": reference,
        "runs": _ids(case, [found.indices[place] for place in grown.places]),
        "ended": [place + 1 for place in grown.places],
        "volumes": grown.volumes,
        "exact": grown.exact,
    }


PARTS: dict[str, Callable[[Case], Any]] = {
    "progress": _progress,
    "importance": _importance,
    "slices": _slices,
    "intermediate": _intermediate,
    "rungs": _rungs,
    "survival": _survival,
    "what_if": _what_if,
    "lineage": _lineage,
    "timeline": _timeline,
    "distribution": _distribution,
    "pareto": _pareto,
    "hypervolume": _hypervolume,
}
"""Drawing -> its numbers; those of the pairs are the slices'."""


def part_of(case: Case, name: str) -> Any:
    """The numbers of one drawing, as plain data."""
    return msgspec.to_builtins(PARTS[name](case))


def add_analysis_api(app: FastAPI, reader: Reader, analyst: Analyst) -> None:
    """Adds ``/api/sweeps/ID/analysis``."""

    @app.get("/api/sweeps/{sweep_id}/analysis")
    def analysis(
        request: Request, sweep_id: str, parts: Annotated[list[str] | None, Query()] = None
    ) -> Response:
        snapshot = reader.snapshot(sweep_id)
        wanted = [part for text in parts or () for part in text.split(",") if part]
        allowed = {
            "parts": (wanted, list(PARTS)),
            "metric": (request.query_params.getlist("metric"), snapshot.metrics),
            "objectives": (request.query_params.getlist("objectives"), snapshot.metrics),
            "measure": (request.query_params.getlist("measure"), measures()),
        }
        for name, (given, expected) in allowed.items():
            unknown = [value for value in given if value not in expected]
            if unknown:
                return error_response(
                    422, f"no such {name}", path=name, found=unknown[0], expected=expected
                )
        view = View.of(request.url.query, None).filled(snapshot, analyst)
        point = request.query_params.get("reference")
        if point is not None and len(reference_of(point) or ()) != len(view.objectives):
            return error_response(
                422,
                "no point of the objectives",
                path="reference",
                found=point,
                expected=f"a number for each of {', '.join(view.objectives)}, with commas",
            )
        case = Case(snapshot, view, analyst)
        shown = [
            name
            for name in PARTS
            if name in (wanted or cards(snapshot)) and (view.metric or name in _WITHOUT)
        ]
        answer = {
            "sweep": snapshot.sweep.id,
            "version": snapshot.version,
            "metric": view.metric,
            **{name: part_of(case, name) for name in shown},
        }
        return Response(json_bytes(answer), media_type="application/json")


_WITHOUT = frozenset({"rungs", "survival", "timeline"})
"""Drawings of sweeps whose runs have no value yet."""
