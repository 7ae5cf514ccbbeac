"""The parts of the pages, as Dash components: the list of sweeps, a sweep's head, empty states."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import dcc, html

from tune_bridge.backends.base import Run
from tune_bridge.server.addresses import Address
from tune_bridge.server.state import Choices
from tune_bridge.server.values import absolute_time, duration, number, text, to_yaml
from tune_bridge.server.verbs import answers, sweep_verbs
from tune_bridge.server.views import KINDS, Overview, Plan, Snapshot, kind_of
from tune_bridge.server.widgets import (
    card,
    code,
    counts_bar,
    counts_legend,
    dashed,
    empty,
    moment,
    run_link,
    state_badge,
    sweep_link,
)

__all__ = [
    "PAGE_SIZE",
    "missing_page",
    "run_details",
    "run_facts",
    "shell",
    "sweep_head",
    "sweeps_page",
]

PAGE_SIZE = 100
_CHIPS = 12
_TABS: dict[Literal["sweep", "analysis"], str] = {"sweep": "Overview", "analysis": "Analysis"}
_NONE = "\N{EN DASH}"


def shell(poll: float) -> Any:
    """The frame of every page: the bar at the top, the stores, the clock that polls."""
    return dmc.MantineProvider(
        [
            dcc.Location(id="address", refresh=False),
            dcc.Store(id="where"),
            dcc.Store(id="scheme", data="light"),
            dcc.Store(id="tick"),
            dcc.Store(id="title"),
            dcc.Store(id="beat"),
            dcc.Interval(id="clock", interval=round(poll * 1000)),
            html.A("Skip to content", href="#page", className="tb-skip"),
            html.Header(
                [
                    dcc.Link("tune-bridge", href="/", className="tb-brand"),
                    html.Nav(dcc.Link("Sweeps", href="/"), **dashed(aria_label="Main")),
                ],
                className="tb-top",
            ),
            *answers(),
            html.Main(id="page", className="tb-page", tabIndex=-1),
        ],
        defaultColorScheme="auto",
        theme={
            "primaryColor": "blue",
            "defaultRadius": "md",
            "fontFamily": 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif',
        },
    )


def missing_page(what: str) -> Any:
    """Nothing stands at this address."""
    return empty(
        "Nothing here",
        html.P(what),
        dcc.Link("Back to all sweeps", href="/", className="tb-link"),
    )


def _search(plan: Plan) -> str:
    return " + ".join(
        part for part in (plan.searcher or plan.method or "custom", plan.scheduler) if part
    )


def sweeps_page(lines: Sequence[Overview], offset: int, words: str = "") -> Any:
    """The list of sweeps."""
    if not lines and not offset and not words:
        return empty(
            "No sweeps yet",
            html.P("Run a sweep here, or let a Tune experiment report to this place:"),
            dmc.Code("tune-bridge run sweep.yaml", block=True),
            dmc.Code("tune.run(train, callbacks=[tune_bridge.SweepCallback()])", block=True),
            html.P("It appears on this page by itself.", className="tb-dim"),
        )
    return html.Div(
        [
            html.Div(
                [
                    html.H1("Sweeps"),
                    dmc.TextInput(
                        id="search",
                        value=words,
                        placeholder="name, project, state, searcher, metric",
                        debounce=250,
                        size="xs",
                        w=300,
                        className="tb-search",
                        **dashed(aria_label="Search sweeps"),
                    ),
                ],
                className="tb-title",
            ),
            dcc.Store(id="searched"),
            dcc.Store(id="offset", data=offset),
            html.Div(sweeps_list(lines, offset, words), id="sweeps-list"),
        ]
    )


def sweeps_list(lines: Sequence[Overview], offset: int, words: str) -> list[Any]:
    """The table of sweeps, and the way to more of them."""
    if not lines:
        said = f"No sweep has {words!r} in it." if words else "There are no older sweeps."
        return [html.P(said, className="tb-dim tb-none")]
    heads = ["Sweep", "State", "Project", "Search", "Runs", "Best", "Created"]
    return [
        dmc.Paper(
            html.Div(
                html.Table(
                    [
                        html.Thead(html.Tr([html.Th(head, scope="col") for head in heads])),
                        html.Tbody([html.Tr(_sweep_cells(line)) for line in lines]),
                    ],
                    className="tb-table",
                    id="sweeps",
                ),
                className="tb-scroll",
            ),
            withBorder=True,
            radius="md",
        ),
        _pager(len(lines), offset, words),
    ]


def _pager(count: int, offset: int, words: str) -> Any:
    links = []
    more = f"&q={quote(words)}" if words else ""
    if offset:
        links.append(dcc.Link("Newer", href=f"/?offset={max(offset - PAGE_SIZE, 0)}{more}"))
    if count == PAGE_SIZE:
        links.append(dcc.Link("Older", href=f"/?offset={offset + PAGE_SIZE}{more}"))
    return html.Nav(links, className="tb-pager", **dashed(aria_label="Pages"))


def _sweep_cells(line: Overview) -> list[Any]:
    sweep, total = line.sweep, sum(line.counts.values())
    best: Any = _NONE
    if line.best is not None:
        best = html.Span(
            [
                html.Span(number(line.best.value), className="tb-value"),
                html.Span(text(line.plan.objective, 24), className="tb-dim"),
            ],
            className="tb-best-cell",
        )
    return [
        html.Td(
            [
                sweep_link(sweep.id, text(sweep.name or sweep.id, 60)),
                *([html.Div(sweep.id, className="tb-id")] if sweep.name else []),
            ]
        ),
        html.Td(state_badge(sweep.state)),
        html.Td(text(sweep.project, 30)),
        html.Td(_search(line.plan)),
        html.Td(
            html.Div(
                [html.Span(str(total), className="tb-value"), counts_bar(line.counts)],
                className="tb-runs-cell",
            )
        ),
        html.Td(best),
        html.Td(moment(sweep.created_at)),
    ]


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
        _search(plan),
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
            html.Div(_NONE, className="tb-big"),
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


def run_facts(run: Run) -> list[tuple[str, Any]]:
    """What is known of a run in a word each: name and value."""
    facts: list[tuple[str, Any]] = [
        ("Id", html.Span(run.id, className="tb-id")),
        ("Created", absolute_time(run.created_at)),
    ]
    if run.started_at is not None:
        end = run.ended_at if run.ended_at is not None else time.time()
        facts.append(("Runtime", duration(end - run.started_at)))
    facts.append(("Rows", str(run.rows)))
    if run.exit_code is not None:
        facts.append(("Exit code", str(run.exit_code)))
    for name, key in (("Host", "host"), ("Agent", "agent"), ("Attempt", "attempt")):
        if run.meta.get(key):
            facts.append((name, text(run.meta[key], 80)))
    return facts


def run_details(run: Run) -> list[Any]:
    """Everything about one run."""
    kind, facts = kind_of(run), run_facts(run)
    parts: list[Any] = [
        html.Span(KINDS[kind][0], className=f"tb-pill tb-{kind}"),
        html.Dl([part for name, value in facts for part in (html.Dt(name), html.Dd(value))]),
    ]
    if run.message.strip():
        parts += [html.H3("Message"), html.Pre(text(run.message, 20_000), className="tb-code")]
    for title, data in (("Config", run.config), ("Summary", run.summary), ("Meta", run.meta)):
        if data:
            parts += [html.H3(title), html.Pre(to_yaml(data), className="tb-code")]
    links = [
        run_link(run.sweep_id, run.id, "Open its page"),
        html.A(
            "JSON",
            href=f"/api/runs/{quote(run.id, safe='')}",
            className="tb-link",
            target="_blank",
            rel="noopener",
        ),
    ]
    return [html.Div(links, className="tb-links"), *parts]
