"""The page of one sweep: its controls, drawings, table and details."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import dcc, html

from tune_bridge.server.figures import curves, parallel_coordinates, points_for
from tune_bridge.server.pages import chips, config_panel, no_runs, sweep_head
from tune_bridge.server.state import TOPS, Choices
from tune_bridge.server.table import columns, rows
from tune_bridge.server.views import Reader, Snapshot, select
from tune_bridge.server.widgets import card, dashed

__all__ = ["curve_figure", "metric_options", "parallel_figure", "sweep_page", "table_columns"]

_ROW = 34
_THEME = (
    "themeQuartz.withParams({backgroundColor: 'var(--tb-panel)', "
    "foregroundColor: 'var(--tb-ink)', headerBackgroundColor: 'var(--tb-soft)', "
    "borderColor: 'var(--tb-rule)', fontFamily: 'inherit', fontSize: 13, "
    "headerFontWeight: 550, spacing: 6, wrapperBorderRadius: 6})"
)
_GRAPH: Any = {"displaylogo": False, "responsive": True, "displayModeBar": False}


def metric_options(snapshot: Snapshot) -> list[str]:
    """What the metric can be."""
    return snapshot.metrics


def parallel_figure(snapshot: Snapshot, choices: Choices) -> dict[str, Any]:
    """Parallel coordinates of the chosen runs."""
    return parallel_coordinates(
        snapshot,
        select(snapshot, choices.show, choices.top),
        choices.metric_in(snapshot),
        log=choices.log,
        scheme=choices.scheme,
    )


def curve_figure(reader: Reader, snapshot: Snapshot, choices: Choices) -> dict[str, Any]:
    """Curves of the chosen runs."""
    indices = select(snapshot, choices.show, choices.top)
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


def sweep_page(reader: Reader, snapshot: Snapshot, choices: Choices) -> list[Any]:
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
                dcc.Graph(
                    id="parallel",
                    figure=parallel_figure(snapshot, choices),
                    config=_GRAPH,
                    className="tb-parallel",
                    responsive=True,
                ),
                className="tb-scroll",
            ),
            note="Drag along an axis to pick a range, drag its name to move it.",
        ),
        card(
            "Metric curves",
            dcc.Graph(
                id="curves",
                figure=curve_figure(reader, snapshot, choices),
                config=_GRAPH,
                className="tb-curves",
                responsive=True,
            ),
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
    return html.Div(
        [
            dmc.Select(
                id="metric",
                label="Metric",
                data=metric_options(snapshot),
                value=choices.metric_in(snapshot),
                allowDeselect=False,
                searchable=len(snapshot.metrics) > 8,
                size="xs",
                w=220,
            ),
            dmc.Select(
                id="top",
                label="Show",
                data=[
                    {"value": "", "label": "all runs"},
                    *({"value": str(top), "label": f"best {top}"} for top in TOPS),
                ],
                value=str(choices.top or ""),
                allowDeselect=False,
                size="xs",
                w=110,
            ),
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
        rowData=rows(snapshot, select(snapshot, choices.show, choices.top)),
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
