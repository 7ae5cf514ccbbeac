"""The parts of a sweep's pages: its head, its tabs, its config, what stands where no run is."""

from __future__ import annotations

import time
from typing import Any, Literal

import dash_mantine_components as dmc
from dash import dcc, html

from tune_bridge.server.addresses import Address
from tune_bridge.server.state import Choices
from tune_bridge.server.values import duration, number, text, to_yaml
from tune_bridge.server.verbs import sweep_verbs
from tune_bridge.server.views import KINDS, Plan, Snapshot
from tune_bridge.server.widgets import (
    NONE,
    card,
    code,
    counts_bar,
    counts_legend,
    dashed,
    empty,
    moment,
    run_link,
    state_badge,
)

__all__ = ["chips", "config_panel", "no_runs", "search_words", "sweep_head", "tabs"]

_CHIPS = 12
_TABS: dict[Literal["sweep", "analysis"], str] = {"sweep": "Overview", "analysis": "Analysis"}


def search_words(plan: Plan) -> str:
    """Who searches, and who stops runs."""
    return " + ".join(
        part for part in (plan.searcher or plan.method or "custom", plan.scheduler) if part
    )


def no_runs(snapshot: Snapshot) -> Any:
    """What a sweep without runs shows."""
    return empty(
        "No runs yet",
        html.P("Nobody has started a run of this sweep. Start one on this machine:"),
        dmc.Code("tune-bridge run sweep.yaml", block=True),
        html.P("This page fills by itself as soon as the first run starts.", className="tb-dim"),
    )


def tabs(sweep_id: str, here: str) -> Any:
    """The pages of one sweep."""
    links = [
        dcc.Link(
            word,
            href=Address(page, sweep_id).path,
            className="tb-tab tb-tab-here" if page == here else "tb-tab",
        )
        for page, word in _TABS.items()
    ]
    return html.Nav(links, className="tb-tabs", **dashed(aria_label="Pages of the sweep"))


def sweep_head(snapshot: Snapshot) -> list[Any]:
    """Name, state, counts and the best run."""
    sweep, plan = snapshot.sweep, snapshot.plan
    facts: list[Any] = [
        text(sweep.project, 40),
        search_words(plan),
        moment(sweep.created_at, "created "),
        *([html.Span(sweep.id, className="tb-id")] if sweep.name else []),
    ]
    head: list[Any] = [
        html.Div(
            [
                html.H1(text(sweep.name or sweep.id, 80)),
                state_badge(sweep.state),
                sweep_verbs(snapshot),
            ],
            className="tb-title",
        ),
        html.Div([html.Span(fact) for fact in facts], className="tb-facts"),
    ]
    if sweep.message:
        head.append(
            dmc.Alert(text(sweep.message, 600), color=_alert(sweep.state), className="tb-alert")
        )
    if plan.problem:
        head.append(
            dmc.Alert(
                f"The config could not be read in full: {text(plan.problem, 400)}",
                color="yellow",
                className="tb-alert",
            )
        )
    tiles = [_runs_tile(snapshot), _best_tile(snapshot)]
    return [*head, tabs(sweep.id, "sweep"), html.Div(tiles, className="tb-tiles")]


def _alert(state: str) -> str:
    return "red" if state in ("failed", "crashed") else "blue"


def _runs_tile(snapshot: Snapshot) -> Any:
    counts, sweep = snapshot.counts, snapshot.sweep
    end = sweep.ended_at if sweep.ended_at is not None else time.time()
    ran = duration(end - sweep.created_at)
    return dmc.Paper(
        [
            html.Div("Runs", className="tb-tile-label"),
            html.Div(
                [
                    html.Span(str(len(snapshot.runs)), className="tb-big"),
                    html.Span(
                        f"{'took' if sweep.ended_at is not None else 'for'} {ran}",
                        className="tb-dim",
                    ),
                ],
                className="tb-big-line",
            ),
            counts_bar(counts),
            counts_legend(counts),
        ],
        withBorder=True,
        radius="md",
        className="tb-tile",
    )


def _best_tile(snapshot: Snapshot) -> Any:
    plan, best = snapshot.plan, snapshot.best
    label = "Best run"
    if plan.objective:
        way = "highest" if plan.goal == "maximize" else "lowest"
        label = f"Best run: {way} {text(plan.objective, 40)}"
    if best is None:
        reason = "no run has a usable value" if plan.objective else "the sweep names no metric"
        body: list[Any] = [
            html.Div(NONE, className="tb-big"),
            html.Div(reason, className="tb-dim"),
        ]
    else:
        searched = [
            dimension.path for dimension in plan.dimensions if dimension.path in best.config
        ]
        keys = [*searched, *(key for key in best.config if key not in searched)]
        chips = [
            html.Span(
                [html.Span(text(key, 30), className="tb-dim"), text(best.config[key], 30)],
                className="tb-chip",
                title=f"{key} = {text(best.config[key], 300)}",
            )
            for key in keys[:_CHIPS]
        ]
        if len(keys) > _CHIPS:
            chips.append(html.Span(f"+{len(keys) - _CHIPS} more", className="tb-chip tb-dim"))
        body = [
            html.Div(
                [
                    html.Span(number(best.value), className="tb-big"),
                    run_link(snapshot.sweep.id, best.run_id, text(best.name, 50)),
                ],
                className="tb-big-line",
            ),
            html.Div(chips, className="tb-chips"),
        ]
    return dmc.Paper(
        [html.Div(label, className="tb-tile-label"), *body],
        withBorder=True,
        radius="md",
        className="tb-tile",
        id="best",
    )


def config_panel(snapshot: Snapshot) -> Any:
    """The sweep's config as YAML, with a button to copy it."""
    shown = to_yaml(snapshot.sweep.config)
    return card("Config", code(shown, "config"))


def chips(snapshot: Snapshot, choices: Choices) -> list[Any]:
    """The state filter: a chip for each kind that there is or that is chosen."""
    counts = snapshot.counts
    kinds = [kind for kind in KINDS if kind in counts or kind in choices.show]
    return [
        dmc.Chip(
            f"{KINDS[kind][0]} {counts.get(kind, 0)}", value=kind, size="xs", variant="outline"
        )
        for kind in kinds
    ]
