"""The parts of a sweep's pages: its head, its tabs, its config, what stands where no run is."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from typing import Any, Literal

import dash_mantine_components as dmc
from dash import dcc, html

from tune_bridge.controller.liveness import unheard_since, unheard_words
from tune_bridge.server.addresses import Address
from tune_bridge.server.copies import copies
from tune_bridge.server.lacking import no_best, no_runs
from tune_bridge.server.lines import run_cap_of
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
    moment,
    run_link,
    state_badge,
)

__all__ = ["chips", "config_panel", "no_runs", "search_words", "sweep_head", "tabs", "time_left"]

_ALL = re.compile(r"all \d+ runs have been given out")
"""What an engine says at a run cap: of a finished sweep, the number of runs says it already."""

_CHIPS = 12
_FEW = 10
_TABS: dict[Literal["sweep", "analysis"], str] = {"sweep": "Overview", "analysis": "Analysis"}


def search_words(plan: Plan) -> str:
    """Who searches, and who stops runs."""
    return " + ".join(
        part for part in (plan.searcher or plan.method or "custom", plan.scheduler) if part
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
    if sweep.message and not (sweep.state == "finished" and _ALL.fullmatch(sweep.message)):
        head.append(
            dmc.Alert(text(sweep.message, 600), color=_alert(sweep.state), className="tb-alert")
        )
    if (since := unheard_since(sweep)) is not None:
        words = unheard_words(since)
        head.append(dmc.Alert(words[0].upper() + words[1:], color="yellow", className="tb-alert"))
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
    took = duration(end - snapshot.began)
    facts = [f"{'took' if sweep.ended_at is not None else 'for'} {took}"]
    if running := counts.get("running"):
        facts.append(f"{running:,} running now")
    left = time_left(snapshot, time.time())
    if left is not None:
        facts.append(f"about {duration(left)} left at this pace")
    cap = run_cap_of(sweep.config)
    shown = f"{len(snapshot.runs):,}"
    return dmc.Paper(
        [
            html.Div("Runs", className="tb-tile-label"),
            html.Div(
                [
                    html.Span(shown, className="tb-big"),
                    *([html.Span(f"of {cap:,} runs")] if cap is not None else []),
                    html.Span(" · ".join(facts), className="tb-dim"),
                ],
                className="tb-big-line",
            ),
            counts_bar(counts, of=cap),
            counts_legend(counts),
        ],
        withBorder=True,
        radius="md",
        className="tb-tile",
    )


def time_left(snapshot: Snapshot, now: float) -> float | None:
    """Seconds until the run cap is reached and all runs have ended, at the pace of the last runs.

    None where nothing honest can be said: no cap, not running, or fewer than 10 runs have ended.
    The pace is that of the last half of the ended runs, up to now: a sweep that stalls gets slower.
    """
    cap = run_cap_of(snapshot.sweep.config)
    if cap is None or snapshot.sweep.state != "running":
        return None
    ends = sorted(run.ended_at for run in snapshot.runs if run.ended_at is not None)
    if len(ends) < _FEW or len(ends) >= cap:
        return None
    recent = ends[len(ends) // 2 :]
    span = max(now, recent[-1]) - recent[0]
    return (cap - len(ends)) * span / (len(recent) - 1)


def _best_tile(snapshot: Snapshot) -> Any:
    plan, best = snapshot.plan, snapshot.best
    label = "Best run"
    if plan.objective:
        way = "highest" if plan.goal == "maximize" else "lowest"
        label = f"Best run: {way} {text(plan.objective, 40)}"
    if best is None:
        body: list[Any] = [
            html.Div(NONE, className="tb-big"),
            html.Div(no_best(snapshot), className="tb-dim tb-why"),
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
                    _copy_menu(snapshot, best.run_id),
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


def _copy_menu(snapshot: Snapshot, run_id: str) -> Any:
    """The forms in which the best run can be copied; a script copies what a button holds."""
    run = snapshot.runs[snapshot.places[run_id]]
    buttons = [
        html.Button(label, className="tb-item", **dashed(data_copied=shown))
        for label, shown in copies(snapshot, run)
    ]
    return html.Details(
        [html.Summary("Copy best as"), html.Div(buttons, className="tb-drop")],
        className="tb-menu",
    )


def config_panel(snapshot: Snapshot) -> Any:
    """The sweep's config as YAML, with a button to copy it."""
    shown = to_yaml(snapshot.sweep.config)
    return card("Config", code(shown, "config"))


def chips(snapshot: Snapshot, show: Collection[str]) -> list[Any]:
    """The state filter: a chip for each kind that there is or that is chosen."""
    counts = snapshot.counts
    kinds = [kind for kind in KINDS if kind in counts or kind in show]
    return [
        dmc.Chip(
            f"{KINDS[kind][0]} {counts.get(kind, 0):,}", value=kind, size="xs", variant="outline"
        )
        for kind in kinds
    ]
