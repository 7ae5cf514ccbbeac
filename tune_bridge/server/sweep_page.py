"""The page of one sweep: its controls, drawings, table and details.

What a reader chooses is kept in the address by a script (``assets/page_sweep.js``). The script
writes it into two stores, as queries that `Choices.of` reads: ``drawn``, what the parallel
coordinates show, and ``chosen``, the same with what was picked on their axes, which everything else
follows. The table's first rows come with the page; for others it asks ``/api/sweeps/ID/table``,
block by block. The drawings come when those rows are there, because the browser can do nothing else
while it reads Plotly's program.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import dash_ag_grid as dag
import dash_mantine_components as dmc
import msgspec
from dash import Dash, Input, Output, State, dcc, html, no_update

from tune_bridge.errors import NotFoundError
from tune_bridge.server.addresses import Address, scheme_of
from tune_bridge.server.exports import has_parquet
from tune_bridge.server.figures import curves, histories_of, message
from tune_bridge.server.groups import groups
from tune_bridge.server.parallel import axes_of, parallel_coordinates
from tune_bridge.server.run_parts import run_details
from tune_bridge.server.sending import chosen_anew, news
from tune_bridge.server.site import Made, Site, client, threaded
from tune_bridge.server.state import TOPS, Choices
from tune_bridge.server.sweep_parts import chips, config_panel, no_runs, sweep_head
from tune_bridge.server.table import BLOCK, columns, first_block
from tune_bridge.server.values import number
from tune_bridge.server.views import Reader, Snapshot
from tune_bridge.server.widgets import NONE, card, dashed, graph, select

__all__ = ["add", "curve_figure", "page", "parallel_figure"]

_ROW = 34
_AXIS = 84  # pixels
_THEME = (
    "themeQuartz.withParams({backgroundColor: 'var(--tb-panel)', "
    "foregroundColor: 'var(--tb-ink)', headerBackgroundColor: 'var(--tb-soft)', "
    "borderColor: 'var(--tb-rule)', fontFamily: 'inherit', fontSize: 13, "
    "headerFontWeight: 550, spacing: 6, wrapperBorderRadius: 6})"
)


def page(site: Site, address: Address, search: str, scheme: str) -> Made:
    """The page at an address.

    Raises:
        NotFoundError: There is no such sweep.
    """
    snapshot = site.reader.snapshot(address.sweep or "")
    title = f"{snapshot.sweep.name or snapshot.sweep.id} · tune-bridge"
    return Made(_content(snapshot, Choices.of(search, scheme)), snapshot.version, title)


def parallel_figure(snapshot: Snapshot, choices: Choices) -> dict[str, Any]:
    """Parallel coordinates of the runs before any picks; what is not picked is faint."""
    return parallel_coordinates(
        snapshot,
        choices.selection.base(snapshot),
        choices.metric_in(snapshot),
        log=choices.log,
        scheme=choices.scheme,
        picks=choices.selection.picks,
        order=choices.axes,
    )


def curve_figure(reader: Reader, snapshot: Snapshot, choices: Choices) -> dict[str, Any]:
    """Curves of the chosen runs."""
    indices = choices.selection.chosen(snapshot)
    metric = choices.metric_in(snapshot)
    found = histories_of(reader.backend, snapshot, indices, metric) if metric else {}
    return curves(snapshot, indices, metric, found, log=choices.log, scheme=choices.scheme)


def table_columns(snapshot: Snapshot, choices: Choices) -> list[dict[str, Any]]:
    """The table's columns, sorted as the reader chose."""
    made = columns(snapshot, choices.columns, choices.pins)
    ways = {field: (way, place) for place, (field, way) in enumerate(choices.selection.sort)}
    for column in made:
        if column["field"] in ways:
            column["initialSort"], column["initialSortIndex"] = ways[column["field"]]
    return made


def _content(snapshot: Snapshot, choices: Choices) -> list[Any]:
    """The whole page; its drawings and rows come after it."""
    head = html.Section(sweep_head(snapshot), id="head")
    if not snapshot.runs:
        return [head, no_runs(snapshot), config_panel(snapshot)]
    return [
        dcc.Store(id="version", data=snapshot.version),
        dcc.Store(id="sweep", data=snapshot.sweep.id),
        dcc.Store(id="remembered"),
        dcc.Store(id="drawn"),
        dcc.Store(id="chosen"),
        dcc.Store(id="opened", data=choices.run),
        dcc.Store(id="known-columns", data=_digest(snapshot)),
        dcc.Store(id="refreshed"),
        dcc.Store(id="first-rows", data=first_block(snapshot, choices.selection, choices.columns)),
        dcc.Store(id="rows-shown"),
        head,
        _controls(snapshot, choices),
        html.Div(
            _drawings(
                html.Div("Loading", className="tb-parallel tb-dim"),
                html.Div("Loading", className="tb-curves tb-dim"),
                note="",
            ),
            id="drawings",
        ),
        card("Runs", [_above_table(snapshot, choices), _table(snapshot, choices)]),
        config_panel(snapshot),
        dmc.Drawer(
            id="details",
            position="right",
            size="md",
            withOverlay=False,
            lockScroll=False,
            trapFocus=False,
            title="Run",
            shadow="md",
            closeButtonProps={"aria-label": "Close"},
        ),
    ]


def _drawings(parallel: Any, curves: Any, note: Any) -> list[Any]:
    """The cards of the drawings, with these in them."""
    how = "Drag along an axis to choose runs everywhere below, drag its name to move it. "
    return [
        card(
            "Parallel coordinates",
            html.Div(parallel, className="tb-scroll", tabIndex=0),
            note=[how, note],
        ),
        card("Metric curves", curves),
    ]


def _controls(snapshot: Snapshot, choices: Choices) -> Any:
    selection = choices.selection
    tops = [{"value": str(top), "label": f"best {top}"} for top in TOPS]
    if selection.top is not None and selection.top not in TOPS:
        tops.append({"value": str(selection.top), "label": f"best {selection.top}"})
    tops.insert(0, {"value": "", "label": "all runs"})
    return html.Div(
        [
            select("metric", "Metric", snapshot.metrics, choices.metric_in(snapshot), 220),
            select("top", "Show", tops, str(selection.top or ""), 110),
            html.Div(
                [
                    html.Div("States", className="tb-field-label"),
                    html.Div(
                        dmc.ChipGroup(
                            chips(snapshot, selection.show),
                            id="show",
                            multiple=True,
                            value=list(selection.show),
                        ),
                        className="tb-show",
                        role="group",
                        **dashed(aria_label="States to show; none means all"),
                    ),
                ]
            ),
            dmc.TextInput(
                id="words",
                label="Search",
                placeholder="name, id, message, text",
                value=selection.words,
                debounce=300,
                size="xs",
                w=200,
            ),
            dmc.Switch(id="log", label="Log scale", checked=choices.log, size="xs"),
            html.Div(
                [
                    html.Span(id="chosen-count", role="status"),
                    html.Button("Clear", id="clear", className="tb-plain", hidden=True),
                ],
                className="tb-chosen",
            ),
        ],
        className="tb-controls",
    )


def _above_table(snapshot: Snapshot, choices: Choices) -> Any:
    by = [
        {"value": column["field"], "label": column["headerName"]}
        for column in columns(snapshot)
        if column["field"] == "state" or column["field"][:2] == "c:"
    ]
    twin = f"/api/sweeps/{quote(snapshot.sweep.id, safe='')}"
    asked = urlencode(choices.selection.query())
    forms = ["csv", *(["parquet"] if has_parquet() else [])]
    links = [
        html.A(
            {"csv": "CSV", "parquet": "Parquet"}[form],
            id=f"{form}-link",
            href=f"{twin}/runs.{form}{'?' if asked else ''}{asked}",
            className="tb-link",
            download=f"runs.{form}",
        )
        for form in forms
    ]
    links.append(html.A("one HTML file", href=f"{twin}/bundle.html", className="tb-link"))
    return html.Div(
        [
            html.Div(
                [
                    dmc.Select(
                        id="group",
                        label="Group by",
                        data=[{"value": "", "label": "nothing"}, *by],
                        value=choices.group or "",
                        allowDeselect=False,
                        searchable=True,
                        size="xs",
                        w=180,
                    ),
                    html.Details(
                        [
                            html.Summary("Columns"),
                            html.Div(id="columns-list", className="tb-drop"),
                        ],
                        id="columns-menu",
                        className="tb-menu",
                    ),
                    html.Div(
                        [
                            "Chosen runs as ",
                            *(part for link in links for part in (link, " ")),
                        ],
                        className="tb-dim tb-downloads",
                    ),
                    html.Div(
                        dcc.Link("Compare", href="", id="compare-runs", className="tb-link"),
                        id="compare-bar",
                        hidden=True,
                        role="status",
                    ),
                ],
                className="tb-controls",
            ),
            html.Div(id="groups", className="tb-scroll", tabIndex=0),
        ]
    )


def _groups(snapshot: Snapshot, choices: Choices) -> list[Any]:
    """The groups of the chosen runs as a table, whose lines pick a group."""
    field = choices.group
    if field is None:
        return []
    metric = choices.metric_in(snapshot)
    found, several = groups(snapshot, choices.selection, field, metric)
    heads = [field[2:] if field[:2] == "c:" else field, "Runs", f"Best {metric}", f"Mean {metric}"]
    picked = choices.selection.picks.get(field)
    lines = []
    for group in found:
        picks = {**choices.selection.picks, field: group.pick}
        query = msgspec.structs.replace(choices.selection, picks=picks).query()
        link = html.A(
            group.label,
            href=f"?{urlencode({**query, 'group': field})}",
            className="tb-link",
            **dashed(
                data_field=field,
                data_pick=json.dumps(group.pick),
                aria_current="true" if picked == group.pick else "false",
            ),
        )
        values = [NONE if one is None else number(one) for one in (group.best, group.mean)]
        lines.append(
            html.Tr(
                [html.Td(link), html.Td(f"{group.count:,}")]
                + [html.Td(value, className="tb-value") for value in values],
                className="tb-here" if picked == group.pick else "",
            )
        )
    table = html.Table(
        [html.Thead(html.Tr([html.Th(head) for head in heads])), html.Tbody(lines)],
        className="tb-table tb-groups",
    )
    if several > len(found):
        return [table, html.P(f"{len(found)} of {several} groups", className="tb-dim")]
    return [table]


def _table(snapshot: Snapshot, choices: Choices) -> Any:
    return dag.AgGrid(
        id="runs",
        rowModelType="infinite",  # the script has the rows
        columnDefs=table_columns(snapshot, choices),
        filterModel=choices.selection.filters,
        getRowId="params.data.id",
        defaultColDef={
            "sortable": True,
            "resizable": True,
            "floatingFilter": True,
            "suppressFloatingFilterButton": True,
            "cellDataType": False,
            "minWidth": 70,
        },
        dashGridOptions={
            "suppressFieldDotNotation": True,
            "selectionColumnDef": {"pinned": "left", "width": 40, "suppressHeaderMenuButton": True},
            "rowSelection": {
                "mode": "multiRow",
                "checkboxes": True,
                "headerCheckbox": False,
                "enableClickSelection": True,
            },
            "cacheBlockSize": BLOCK,
            "maxBlocksInCache": 20,
            "cacheOverflowSize": 2,
            "infiniteInitialRowCount": 1,
            "tooltipShowDelay": 300,
            "animateRows": False,
            "rowHeight": _ROW,
            "headerHeight": 38,
            "floatingFiltersHeight": 38,
            "ensureDomOrder": True,
            "enableCellTextSelection": True,
            "localeText": {"noRowsToShow": "No run fits the filter"},
            "maintainColumnOrder": True,
            "theme": {"function": _THEME},
        },
        className="tb-grid",
        style={
            "height": f"{min(max(len(snapshot.runs), 3), 16) * _ROW + 96}px",
            "width": "100%",
        },
    )


def _digest(snapshot: Snapshot) -> str:
    """Equal when the table's columns are the same."""
    return json.dumps([(column["field"], column["filter"]) for column in columns(snapshot)])


def _note(figure: dict[str, Any]) -> str:
    meta = figure["layout"].get("meta") or {}
    drawn, runs = meta.get("drawn", 0), meta.get("runs", 0)
    if drawn == runs:
        return ""
    return f"{drawn:,} of {runs:,} runs drawn: the best ones, and the others evenly."


def add(app: Dash, site: Site) -> None:
    """Wires the page up."""
    reader = site.reader
    _add_drawings(app, reader)

    @app.callback(
        Output("head", "children"),
        Output("show", "children"),
        Output("metric", "data"),
        Input("version", "data"),
        State("sweep", "data"),
        State("show", "value"),
        prevent_initial_call=True,
    )
    @threaded
    def head(_: Any, sweep_id: str, show: Any) -> Any:
        snapshot = reader.snapshot(sweep_id)
        return sweep_head(snapshot), chips(snapshot, show or ()), snapshot.metrics

    @app.callback(
        Output("runs", "columnDefs"),
        Output("known-columns", "data"),
        Input("version", "data"),
        State("sweep", "data"),
        State("known-columns", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def new_columns(_: Any, sweep_id: str, known: str) -> Any:
        snapshot = reader.snapshot(sweep_id)
        found = _digest(snapshot)
        return (no_update, no_update) if found == known else (columns(snapshot), found)

    @app.callback(
        Output("groups", "children"),
        Input("version", "data"),
        Input("chosen", "data"),
        Input("group", "value"),
        State("sweep", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def grouped(_: Any, chosen: Any, group: Any, sweep_id: str) -> Any:
        if chosen is None:
            return no_update
        choices = Choices.of(chosen, None)
        choices = msgspec.structs.replace(choices, group=group or None)
        return _groups(reader.snapshot(sweep_id), choices)

    @app.callback(
        Output("details", "opened"),
        Output("details", "title"),
        Output("details", "children"),
        Input("opened", "data"),
        Input("version", "data"),
    )
    @threaded
    def details(run_id: Any, _: Any) -> Any:
        if not run_id:
            return False, no_update, no_update
        try:
            run = reader.backend.run(str(run_id))
        except NotFoundError:
            return False, no_update, no_update
        return True, run.name or run.id, run_details(run)

    client(
        app,
        "remember",
        Output("remembered", "data"),  # without an output it would not run when the page is made
        Input("metric", "value"),
        Input("log", "checked"),
        Input("show", "value"),
        Input("top", "value"),
        Input("words", "value"),
        Input("group", "value"),
        State("metric", "data"),
        State("sweep", "data"),
        State("first-rows", "data"),
    )
    client(
        app,
        "refresh",
        Output("refreshed", "data"),
        Input("version", "data"),
        prevent_initial_call=True,
    )
    client(app, "closed", Input("details", "opened"), prevent_initial_call=True)


def _add_drawings(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output("drawings", "children"),
        Input("rows-shown", "data"),
        State("scheme", "data"),
        State("sweep", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def drawings(_: Any, scheme: Any, sweep_id: str) -> Any:
        loading = message(scheme_of(scheme), "Loading")
        wide = {"minWidth": _AXIS * (len(axes_of(reader.snapshot(sweep_id))) + 1)}
        made = _drawings(
            graph("parallel", loading, className="tb-parallel", style=wide),
            graph("curves", loading, className="tb-curves"),
            html.Span(id="drawn-note"),
        )
        return [*made, *map(dcc.Store, ("paced", "parallel-sent", "curves-sent"))]

    # The drawings of the page are made by this and the next one as soon as they are there.
    @app.callback(
        Output("parallel", "figure"),
        Output("parallel-sent", "data"),
        Output("drawn-note", "children"),
        Input("paced", "data"),
        Input("drawn", "data"),
        Input("scheme", "data"),
        State("chosen", "data"),
        State("sweep", "data"),
        State("parallel-sent", "data"),
    )
    @threaded
    def parallel(_: Any, drawn: Any, scheme: Any, chosen: Any, sweep_id: str, sent: Any) -> Any:
        if drawn is None:
            return no_update, no_update, no_update
        figure = parallel_figure(reader.snapshot(sweep_id), Choices.of(chosen, scheme))
        return *news(figure, sent, asked=chosen_anew("paced")), _note(figure)

    @app.callback(
        Output("curves", "figure"),
        Output("curves-sent", "data"),
        Input("paced", "data"),
        Input("chosen", "data"),
        Input("scheme", "data"),
        State("sweep", "data"),
        State("curves-sent", "data"),
    )
    @threaded
    def lines(_: Any, chosen: Any, scheme: Any, sweep_id: str, sent: Any) -> Any:
        if chosen is None:
            return no_update, no_update
        figure = curve_figure(reader, reader.snapshot(sweep_id), Choices.of(chosen, scheme))
        return news(figure, sent, asked=chosen_anew("paced"))

    client(
        app,
        "pace",
        Output("paced", "data"),
        Input("version", "data"),
        State("parallel-sent", "data"),
        State("curves-sent", "data"),
        prevent_initial_call=True,
    )
