"""The list of sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html
from dash.exceptions import PreventUpdate

from tune_bridge.server.addresses import Address, query_of
from tune_bridge.server.site import Made, Site, client, threaded
from tune_bridge.server.sweep_parts import search_words
from tune_bridge.server.values import number, text
from tune_bridge.server.views import Overview
from tune_bridge.server.widgets import (
    NONE,
    counts_bar,
    dashed,
    empty,
    moment,
    state_badge,
    sweep_link,
)

__all__ = ["PAGE_SIZE", "add", "page"]

PAGE_SIZE = 100


def page(site: Site, address: Address, search: str, scheme: str) -> Made:
    """The list at an address."""
    version = site.reader.backend.version()
    query = query_of(search)
    given, words = query.get("offset", "0"), query.get("q", "")
    offset = int(given) if given.isascii() and given.isdigit() and len(given) < 9 else 0
    lines = site.reader.overviews(PAGE_SIZE, offset, words)
    return Made(sweeps_page(lines, offset, words), version, "Sweeps · tune-bridge")


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
    best: Any = NONE
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
        html.Td(search_words(line.plan)),
        html.Td(
            html.Div(
                [html.Span(str(total), className="tb-value"), counts_bar(line.counts)],
                className="tb-runs-cell",
            )
        ),
        html.Td(best),
        html.Td(moment(sweep.created_at)),
    ]


def add(app: Dash, site: Site) -> None:
    """Wires the list up."""

    @app.callback(
        Output("sweeps-list", "children"),
        Input("search", "value"),
        Input("tick", "data"),
        State("offset", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def found(words: Any, tick: Any, offset: int) -> Any:
        if not tick or tick["path"] != "/":
            raise PreventUpdate
        shown = str(words or "")
        lines = site.reader.overviews(PAGE_SIZE, offset, shown)
        return sweeps_list(lines, offset, shown)

    client(
        app,
        "rememberSearch",
        Output("searched", "data"),
        Input("search", "value"),
        prevent_initial_call=True,
    )
