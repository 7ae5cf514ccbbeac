"""Why there is nothing to show, and what to do about it, in sentences."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import html

from tune_bridge.server.values import text
from tune_bridge.server.views import NO_RESULT, Snapshot, metric_value
from tune_bridge.server.widgets import empty, run_link

__all__ = ["no_best", "no_runs"]

_FEW = 5
_GOING = frozenset({"running", "pending"})
_ENDS = {"failed": "failed", "crashed": "crashed", "canceled": "was canceled"}


def no_runs(snapshot: Snapshot) -> Any:
    """What a sweep without runs shows."""
    sweep = snapshot.sweep
    if sweep.state in _ENDS or sweep.state == "finished":
        how = _ENDS.get(sweep.state, "ended")
        words = f"The sweep {how} before a run started. A clone begins with its config."
        return empty("No runs", html.P(words))
    paused = "It is paused: no run starts before it is resumed. " if sweep.state == "paused" else ""
    return empty(
        "No runs yet",
        html.P(f"{paused}Agents start its runs, wherever its program is:"),
        dmc.Code(f"tune-bridge agent {text(sweep.id, 80)}", block=True),
        html.P("A sweep of Ray Tune, or of tune-bridge run, starts its runs by itself."),
        html.P("This page fills by itself as soon as the first run starts.", className="tb-dim"),
    )


def no_best(snapshot: Snapshot) -> list[Any]:
    """Why a sweep has no best run, and how it gets one: texts and links."""
    runs, name = snapshot.runs, snapshot.plan.objective
    if runs and all(run.state in NO_RESULT for run in runs):
        return _all_failed(snapshot)
    if not name:
        return [
            "The sweep names no metric, so that no run is better than another. Clone it with ",
            dmc.Code("metric: {name: loss, goal: minimize}"),
            " in its config.",
        ]
    shown = text(name, 40)
    if name in snapshot.metrics:
        if any(metric_value(summary, name) is not None for summary in snapshot.summaries):
            return [f"Only runs that failed have a value of {shown}."]
        return [f"{shown} is NaN or infinite in all runs that logged it."]
    if not runs or any(run.state in _GOING for run in runs):
        return [f"No run has logged {shown} yet."]
    logged = snapshot.metrics
    if logged:
        names = ", ".join(text(one, 40) for one in logged[:_FEW])
        more = " and others" if len(logged) > _FEW else ""
        advice = "Log it by its name, or clone the sweep with another metric."
        return [f"No run has logged {shown}; they log {names}{more}. {advice}"]
    return [
        f"No run has logged {shown}. A program logs it with ",
        dmc.Code(f'wandb.log({{"{shown}": ...}})'),
        ", a trainable of Ray Tune with ",
        dmc.Code(f'tune.report({{"{shown}": ...}})'),
        ".",
    ]


def _all_failed(snapshot: Snapshot) -> list[Any]:
    """That all runs failed, with the last words of the last one."""
    last = snapshot.runs[-1]
    said = [line.strip() for line in last.message.splitlines() if line.strip()]
    link = run_link(snapshot.sweep.id, last.id, text(last.name or last.id, 40))
    number = len(snapshot.runs)
    begin = (
        "The only run failed: " if number == 1 else f"All {number:,} runs failed; the last one: "
    )
    return [begin, link, f": {text(said[-1], 200)}" if said else "", "."]
