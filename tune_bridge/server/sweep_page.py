"""The page of one sweep: its controls, drawings, table and details."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update

from tune_bridge.errors import NotFoundError
from tune_bridge.server.addresses import Address
from tune_bridge.server.figures import curves, parallel_coordinates, points_for
from tune_bridge.server.run_parts import run_details
from tune_bridge.server.site import Made, Site, client, threaded
from tune_bridge.server.state import TOPS, Choices
from tune_bridge.server.sweep_parts import chips, config_panel, no_runs, sweep_head
from tune_bridge.server.table import columns, rows
from tune_bridge.server.views import Reader, Snapshot, chosen_runs
from tune_bridge.server.widgets import card, dashed, graph, select

__all__ = ["add", "page"]

_ROW = 34
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
    content = _content(site.reader, snapshot, Choices.of(search, scheme))
    return Made(content, snapshot.version, title)


def parallel_figure(snapshot: Snapshot, choices: Choices) -> dict[str, Any]:
    """Parallel coordinates of the chosen runs."""
    return parallel_coordinates(
        snapshot,
        chosen_runs(snapshot, choices.show, choices.top),
        choices.metric_in(snapshot),
        log=choices.log,
        scheme=choices.scheme,
    )


def curve_figure(reader: Reader, snapshot: Snapshot, choices: Choices) -> dict[str, Any]:
    """Curves of the chosen runs."""
    indices = chosen_runs(snapshot, choices.show, choices.top)
    metric = choices.metric_in(snapshot)
    found = (
        reader.backend.histories(
            snapshot.sweep.id, metric, max_points=points_for(len(snapshot.runs))
        )
        if metric
        else {}
    )
    return curves(snapshot, indices, metric, found, log=choices.log, scheme=choices.scheme)


def table_columns(snapshot: Snapshot, choices: Choices) -> list[dict[str, Any]]:
    """The table's columns, sorted as the reader chose."""
    made = columns(snapshot)
    ways = {field: (way, place) for place, (field, way) in enumerate(choices.sort)}
    for column in made:
        if column["field"] in ways:
            column["initialSort"], column["initialSortIndex"] = ways[column["field"]]
    return made


def _content(reader: Reader, snapshot: Snapshot, choices: Choices) -> list[Any]:
    """The whole page."""
    head = html.Section(sweep_head(snapshot), id="head")
    twin = f"/api/sweeps/{quote(snapshot.sweep.id, safe='')}"
    if not snapshot.runs:
        return [head, no_runs(snapshot), config_panel(snapshot)]
    return [
        dcc.Store(id="version", data=snapshot.version),
        dcc.Store(id="sweep", data=snapshot.sweep.id),
        dcc.Store(id="remembered"),
        head,
        _controls(snapshot, choices),
        card(
            "Parallel coordinates",
            html.Div(
                graph("parallel", parallel_figure(snapshot, choices), className="tb-parallel"),
                className="tb-scroll",
                tabIndex=0,
            ),
            note="Drag along an axis to pick a range, drag its name to move it.",
        ),
        card(
            "Metric curves",
            graph("curves", curve_figure(reader, snapshot, choices), className="tb-curves"),
        ),
        card(
            "Runs",
            _table(snapshot, choices),
            note=[
                "Select a row (click, or space) for its details. Download: ",
                html.A("CSV", href=f"{twin}/runs.csv", className="tb-link"),
                ", ",
                html.A("one HTML file", href=f"{twin}/bundle.html", className="tb-link"),
                ".",
            ],
        ),
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


def _controls(snapshot: Snapshot, choices: Choices) -> Any:
    tops = [{"value": str(top), "label": f"best {top}"} for top in TOPS]
    tops.insert(0, {"value": "", "label": "all runs"})
    return html.Div(
        [
            select("metric", "Metric", snapshot.metrics, choices.metric_in(snapshot), 220),
            select("top", "Show", tops, str(choices.top or ""), 110),
            html.Div(
                [
                    html.Div("States", className="tb-field-label"),
                    html.Div(
                        dmc.ChipGroup(
                            chips(snapshot, choices),
                            id="show",
                            multiple=True,
                            value=list(choices.show),
                        ),
                        className="tb-show",
                        role="group",
                        **dashed(aria_label="States to show; none means all"),
                    ),
                ]
            ),
            dmc.Switch(id="log", label="Log scale", checked=choices.log, size="xs"),
        ],
        className="tb-controls",
    )


def _table(snapshot: Snapshot, choices: Choices) -> Any:
    count = len(snapshot.runs)
    return dag.AgGrid(
        id="runs",
        rowData=rows(snapshot, chosen_runs(snapshot, choices.show, choices.top)),
        columnDefs=table_columns(snapshot, choices),
        filterModel=choices.filters,
        selectedRows={"ids": [choices.run]} if choices.run else [],
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
            "rowSelection": {
                "mode": "singleRow",
                "checkboxes": False,
                "enableClickSelection": True,
            },
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
        style={"height": f"{min(max(count, 3), 16) * _ROW + 96}px", "width": "100%"},
    )


def add(app: Dash, site: Site) -> None:
    """Wires the page up."""
    follow = [
        Input("metric", "value"),
        Input("log", "checked"),
        Input("show", "value"),
        Input("top", "value"),
    ]

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
        snapshot = site.reader.snapshot(sweep_id)
        choices = Choices.made(None, False, show, None)
        return (
            sweep_head(snapshot),
            chips(snapshot, choices),
            snapshot.metrics,
        )

    @app.callback(
        Output("runs", "rowData"),
        Output("runs", "columnDefs"),
        Input("version", "data"),
        Input("show", "value"),
        Input("top", "value"),
        State("sweep", "data"),
        State("runs", "columnDefs"),
        prevent_initial_call=True,
    )
    @threaded
    def table(_: Any, show: Any, top: Any, sweep_id: str, known: list[dict[str, Any]]) -> Any:
        snapshot = site.reader.snapshot(sweep_id)
        choices = Choices.made(None, False, show, top)
        made = table_columns(snapshot, choices)
        same = [(one["field"], one["filter"]) for one in made] == [
            (one.get("field"), one.get("filter")) for one in known or ()
        ]
        return (
            rows(snapshot, chosen_runs(snapshot, choices.show, choices.top)),
            no_update if same else made,
        )

    @app.callback(
        Output("parallel", "figure"),
        Input("version", "data"),
        *follow,
        Input("scheme", "data"),
        State("sweep", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def parallel(_: Any, *values: Any) -> Any:
        *chosen, sweep_id = values
        return parallel_figure(site.reader.snapshot(sweep_id), Choices.made(*chosen))

    @app.callback(
        Output("curves", "figure"),
        Input("version", "data"),
        *follow,
        Input("scheme", "data"),
        State("sweep", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def lines(_: Any, *values: Any) -> Any:
        *chosen, sweep_id = values
        return curve_figure(site.reader, site.reader.snapshot(sweep_id), Choices.made(*chosen))

    @app.callback(
        Output("details", "opened"),
        Output("details", "title"),
        Output("details", "children"),
        Input("runs", "selectedRows"),
        Input("version", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def details(selected: Any, _: Any) -> Any:
        if not isinstance(selected, list) or not selected:
            return False, no_update, no_update
        try:
            run = site.reader.backend.run(selected[0]["id"])
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
        Input("runs", "filterModel"),
        Input("runs", "selectedRows"),
        State("metric", "data"),
    )
    client(app, "closed", Input("details", "opened"), prevent_initial_call=True)
