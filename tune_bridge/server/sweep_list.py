"""The list of sweeps."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, dcc, html
from dash.exceptions import PreventUpdate

from tune_bridge.backends.base import Sweep
from tune_bridge.controller.liveness import unheard_since
from tune_bridge.server.addresses import Address, query_of
from tune_bridge.server.lines import run_cap_of
from tune_bridge.server.listing import STATES, Found, Listing, find
from tune_bridge.server.site import Made, Site, client, threaded
from tune_bridge.server.sweep_parts import search_words
from tune_bridge.server.values import number, text
from tune_bridge.server.views import Overview, Reader
from tune_bridge.server.widgets import (
    NONE,
    counts_bar,
    dashed,
    empty,
    moment,
    select,
    state_badge,
    sweep_link,
)

__all__ = ["PAGE_SIZE", "add", "page", "spark_picture"]

PAGE_SIZE = 100
_ANY = "any"
_WIDTH, _HEIGHT = 96, 24
_LINE = "#228be6"


class _Column(NamedTuple):
    title: str
    order: str = ""  # key of `ORDERS`, with a minus where the highest come first at first
    wide: bool = False  # a phone has no room for it

    def looks(self) -> str:
        """Its class: a phone has the columns in other places."""
        return f"tb-of-{self.title.lower()}{' tb-wide' if self.wide else ''}"


_COLUMNS = (
    _Column("Sweep", "name"),
    _Column("State", "state"),
    _Column("Project", "project", wide=True),
    _Column("Method", wide=True),
    _Column("Runs", "-runs"),
    _Column("Now", wide=True),
    _Column("Best", "best"),
    _Column("Progress", wide=True),
    _Column("Created", "-created", wide=True),
)


def page(site: Site, address: Address, search: str, scheme: str) -> Made:
    """The list at an address."""
    version = site.reader.backend.version()
    query = query_of(search)
    listing, picked = Listing.of(query), _picked(query)
    content = _content(site.reader, listing, picked, version)
    return Made(content, version, "Sweeps · tune-bridge")


def _picked(query: dict[str, str]) -> list[str]:
    return [one for one in query.get("pick", "").split(",") if one]


def _content(reader: Reader, listing: Listing, picked: list[str], version: str) -> Any:
    found = find(reader, listing, PAGE_SIZE)
    if not found.lines and listing == Listing():
        return empty(
            "No sweeps yet",
            html.P("Run a sweep here, or let a Tune experiment report to this place:"),
            dmc.Code("tune-bridge run sweep.yaml", block=True),
            dmc.Code("tune.run(train, callbacks=[tune_bridge.SweepCallback()])", block=True),
            html.P("It appears on this page by itself.", className="tb-dim"),
            level=1,
        )
    return html.Div(
        [
            dcc.Store(id="version", data=version),
            dcc.Store(id="picked", data=picked),
            dcc.Store(id="searched"),
            html.Div(
                [
                    html.H1("Sweeps"),
                    html.Div(
                        [
                            dmc.TextInput(
                                id="search",
                                value=listing.q,
                                placeholder="name, searcher, metric",
                                label="Search",
                                debounce=250,
                                size="xs",
                                className="tb-search",
                            ),
                            select(
                                "sweep-state", "State", [_ANY, *STATES], listing.state or _ANY, 130
                            ),
                            dcc.Link("Compare", href="/compare", id="compare", className="tb-go"),
                        ],
                        className="tb-controls tb-list-controls",
                    ),
                ],
                className="tb-title",
            ),
            html.Div(sweeps_list(found, listing, picked), id="sweeps-list"),
        ]
    )


def sweeps_list(found: Found, listing: Listing, picked: list[str]) -> list[Any]:
    """The table of sweeps, and the way to more of them."""
    chosen = _project(listing)
    if not found.lines:
        said = "No sweep is like that." if listing.narrowed else "There are no older sweeps."
        if listing.q and not listing.project and not listing.state:
            said = f"No sweep has {listing.q!r} in it."
        back = dcc.Link("Show all sweeps", href="/", className="tb-link")
        return [*chosen, html.P([said, " ", back], className="tb-dim tb-none")]
    return [
        *chosen,
        dmc.Paper(
            html.Div(
                html.Table(
                    [
                        html.Thead(
                            html.Tr([_head_of_picks(), *map(_head(listing), _COLUMNS)], role="row"),
                            role="rowgroup",
                        ),
                        html.Tbody(
                            [
                                html.Tr(_cells(line, listing, picked), role="row")
                                for line in found.lines
                            ],
                            role="rowgroup",
                        ),
                    ],
                    className="tb-table",
                    id="sweeps",
                    role="table",  # a phone has cards, which are no table to a browser
                ),
                className="tb-scroll",
                tabIndex=0,
                role="region",
                **dashed(aria_label="Sweeps"),
            ),
            withBorder=True,
            radius="md",
        ),
        _pager(found.more, listing),
    ]


def _project(listing: Listing) -> list[Any]:
    if not listing.project:
        return []
    return [
        html.P(
            [
                "Project ",
                html.Strong(text(listing.project, 60)),
                " ",
                dcc.Link("all projects", href=listing.href(project=""), className="tb-link"),
            ],
            className="tb-only",
        )
    ]


def _head_of_picks() -> Any:
    return html.Th(
        html.Span("Compare", className="tb-unseen"),
        scope="col",
        role="columnheader",
        className="tb-of-pick",
    )


def _head(listing: Listing) -> Any:
    def head(column: _Column) -> Any:
        name, looks = column.order.removeprefix("-"), column.looks()
        if not name:
            return html.Th(column.title, scope="col", role="columnheader", className=looks)
        way = listing.sorted_by(name)
        turned = {"ascending": f"-{name}", "descending": name}.get(way, column.order)
        link = dcc.Link(
            column.title, href=listing.href(sort=turned), className=f"tb-sort tb-sort-{way}"
        )
        return html.Th(
            link, scope="col", role="columnheader", className=looks, **dashed(aria_sort=way)
        )

    return head


def _pager(more: bool, listing: Listing) -> Any:
    links = []
    if listing.offset:
        before = max(listing.offset - PAGE_SIZE, 0)
        links.append(dcc.Link("Newer", href=listing.href(offset=before), className="tb-link"))
    if more:
        after = listing.offset + PAGE_SIZE
        links.append(dcc.Link("Older", href=listing.href(offset=after), className="tb-link"))
    return html.Nav(links, className="tb-pager", **dashed(aria_label="Pages")) if links else None


def _cells(line: Overview, listing: Listing, picked: list[str]) -> list[Any]:
    sweep, name = line.sweep, line.sweep.name or line.sweep.id
    running = line.counts.get("running", 0)
    box = dmc.Checkbox(
        id={"type": "pick", "sweep": sweep.id},
        checked=sweep.id in picked,
        size="xs",
        radius="sm",
        **dashed(aria_label=f"Compare {text(name, 60)}"),
    )
    cells = (
        [
            sweep_link(sweep.id, text(name, 60)),
            *([html.Div(sweep.id, className="tb-id")] if sweep.name else []),
        ],
        _state(sweep),
        dcc.Link(
            text(sweep.project, 30), href=listing.href(project=sweep.project), className="tb-in"
        ),
        search_words(line.plan),
        _runs(line),
        html.Span(f"{running} running", className="tb-pill tb-running") if running else NONE,
        _best(line),
        spark_picture(line),
        moment(sweep.created_at),
    )
    return [
        html.Td(box, role="cell", className="tb-of-pick"),
        *(
            html.Td(cell, role="cell", className=column.looks())
            for column, cell in zip(_COLUMNS, cells, strict=True)
        ),
    ]


def _state(sweep: Sweep) -> list[Any]:
    since = unheard_since(sweep)
    unheard = [] if since is None else [html.Div(moment(since, "heard of "), className="tb-dim")]
    return [state_badge(sweep.state), *unheard]


def _runs(line: Overview) -> Any:
    total, cap = sum(line.counts.values()), run_cap_of(line.sweep.config)
    shown = str(total) if cap is None else f"{total} / {cap}"
    return html.Div(
        [html.Span(shown, className="tb-value"), counts_bar(line.counts, of=cap)],
        className="tb-runs-cell",
    )


def _best(line: Overview) -> Any:
    if line.best is None:
        return NONE
    return html.Span(
        [
            html.Span(number(line.best.value), className="tb-value"),
            html.Span(text(line.plan.objective, 24), className="tb-dim"),
        ],
        className="tb-best-cell",
    )


def spark_picture(line: Overview) -> Any:
    """The best value so far over the runs, as a small picture that says the same in words."""
    points = line.spark
    if len(points) < 2:
        return NONE
    low, high = min(points), max(points)
    tall = high - low or 1.0
    places = " ".join(
        f"{1 + (_WIDTH - 2) * place / (len(points) - 1):.1f},"
        f"{2 + (_HEIGHT - 4) * ((high - value) / tall if high > low else 0.5):.1f}"
        for place, value in enumerate(points)
    )
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f'<polyline fill="none" stroke="{_LINE}" stroke-width="1.6" stroke-linejoin="round" '
        f'points="{places}"/></svg>'
    )
    words = (
        f"best {text(line.plan.objective, 40)} so far: "
        f"from {number(points[0])} to {number(points[-1])}"
    )
    source = f"data:image/svg+xml,{quote(drawing)}"
    return html.Img(
        src=source, alt=words, title=words, className="tb-spark", width=_WIDTH, height=_HEIGHT
    )


def add(app: Dash, site: Site) -> None:
    """Wires the list up."""

    @app.callback(
        Output("sweeps-list", "children"),
        Input("address", "search"),
        Input("version", "data"),
        State("address", "pathname"),
        State("picked", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def listed(search: str | None, _: Any, path: str, picked: list[str] | None) -> Any:
        if Address.of(path).page != "sweeps":
            raise PreventUpdate
        listing = Listing.of(query_of(search or ""))
        return sweeps_list(find(site.reader, listing, PAGE_SIZE), listing, picked or [])

    client(
        app,
        "narrow",
        Output("searched", "data"),
        Input("search", "value"),
        Input("sweep-state", "value"),
        prevent_initial_call=True,
    )
    client(
        app,
        "narrowed",
        Output("search", "value"),
        Output("sweep-state", "value"),
        Input("address", "search"),
        State("search", "value"),
        State("sweep-state", "value"),
        State("picked", "data"),
        prevent_initial_call=True,
    )
    client(
        app,
        "pick",
        Output("picked", "data"),
        Input({"type": "pick", "sweep": ALL}, "checked"),
        State({"type": "pick", "sweep": ALL}, "id"),
        State("picked", "data"),
        prevent_initial_call=True,
    )
    client(
        app,
        "toCompare",
        Output("compare", "href"),
        Output("compare", "children"),
        Output("compare", "className"),
        Input("picked", "data"),
    )
