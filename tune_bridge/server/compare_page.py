"""The page that compares sweeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import parse_qs

import dash_mantine_components as dmc
import msgspec
from dash import Dash, Input, Output, State, dcc, html, no_update

from tune_bridge.errors import NotFoundError
from tune_bridge.server.addresses import Address, scheme_of
from tune_bridge.server.compare import Comparison, Side, edf, progress
from tune_bridge.server.lines import best_data, run_cap_of
from tune_bridge.server.site import Made, Site, client, threaded
from tune_bridge.server.values import duration, number, text
from tune_bridge.server.views import Reader, Snapshot
from tune_bridge.server.widgets import (
    NONE,
    card,
    counts_bar,
    counts_legend,
    dashed,
    empty,
    graph,
    run_link,
    select,
    state_badge,
    sweep_link,
)

__all__ = ["MOST", "View", "add", "compared", "page"]

MOST = 8
"""How many sweeps are compared at most."""

_OVER = {"runs": "number of runs", "time": "time"}


class View(msgspec.Struct, frozen=True):
    """What a reader has chosen, kept in the query of the address.

    Attributes:
        sweeps: Ids of the sweeps, each once.
        metric: The metric, or None for what the sweeps aim at.
        over: A key of `_OVER`: what the progress is drawn over.
        log: The metric is drawn on a log scale.
        scheme: "light" or "dark".
    """

    sweeps: tuple[str, ...] = ()
    metric: str | None = None
    over: Literal["runs", "time"] = "runs"
    log: bool = False
    scheme: str = "light"

    @classmethod
    def of(cls, search: str, scheme: Any) -> View:
        """Reads an address's query; what makes no sense is left out."""
        query = parse_qs(search.lstrip("?"))
        return cls.made(
            [part for given in query.get("sweep", ()) for part in given.split(",") if part],
            query.get("metric", [""])[-1],
            query.get("over", [""])[-1],
            query.get("log", [""])[-1] == "1",
            scheme,
        )

    @classmethod
    def made(cls, sweeps: Sequence[str], metric: Any, over: Any, log: Any, scheme: Any) -> View:
        """From what the controls say."""
        return cls(
            tuple(dict.fromkeys(sweeps)),
            metric if isinstance(metric, str) and metric else None,
            "time" if over == "time" else "runs",
            bool(log),
            scheme_of(scheme),
        )


class Read(msgspec.Struct, frozen=True):
    """The sweeps of a view.

    Attributes:
        snapshots: Those that there are, at most `MOST`.
        unknown: Ids that no sweep has.
        left: Ids that are beyond `MOST`.
    """

    snapshots: list[Snapshot]
    unknown: list[str]
    left: list[str]

    @classmethod
    def of(cls, reader: Reader, sweeps: Sequence[str]) -> Read:
        """Reads them."""
        snapshots: list[Snapshot] = []
        unknown: list[str] = []
        for sweep_id in sweeps[:MOST]:
            try:
                snapshots.append(reader.snapshot(sweep_id))
            except NotFoundError:
                unknown.append(sweep_id)
        return cls(snapshots, unknown, list(sweeps[MOST:]))

    def notes(self) -> list[str]:
        """What is not there, as sentences."""
        said = [f"There is no sweep {text(one, 40)!r}." for one in self.unknown]
        if self.left:
            said.append(f"{MOST} sweeps are compared at most; left out: {', '.join(self.left)}.")
        return said


def page(site: Site, address: Address, search: str, scheme: str) -> Made:
    """The page at an address."""
    version = site.reader.backend.version()
    view = View.of(search, scheme)
    read = Read.of(site.reader, view.sweeps)
    if not read.snapshots:
        said = read.notes() or ["Tick sweeps in the list, and press the button above it."]
        content: Any = empty(
            "Nothing to compare",
            *map(html.P, said),
            dcc.Link("Back to all sweeps", href="/", className="tb-link"),
            level=1,
        )
        return Made(content, version, "Nothing to compare · tune-bridge")
    return Made(_content(read, view, version), version, "Compare sweeps · tune-bridge")


def _content(read: Read, view: View, version: str) -> list[Any]:
    comparison = Comparison.of(read.snapshots, view.metric)
    return [
        dcc.Store(id="version", data=version),
        dcc.Store(id="compared", data=list(view.sweeps)),
        dcc.Store(id="compare-remembered"),
        html.Div([html.H1("Compare sweeps")], className="tb-title"),
        html.Div(
            [
                select("compare-metric", "Metric", comparison.metrics, comparison.metric, 200),
                select(
                    "compare-over",
                    "Progress over",
                    [{"value": key, "label": word} for key, word in _OVER.items()],
                    view.over,
                    160,
                ),
                dmc.Switch(id="compare-log", label="log scale", checked=view.log, size="xs"),
            ],
            className="tb-controls",
        ),
        html.Div(_notes(read, comparison), id="compare-notes"),
        card(
            "Best value so far",
            graph(
                "compare-progress",
                progress(comparison, view.over, log=view.log, scheme=view.scheme),
                className="tb-curves",
            ),
            note="In the order in which the runs ended.",
        ),
        card("Side by side", html.Div(_tables(comparison), id="compare-tables")),
        card(
            "Distribution",
            graph(
                "compare-edf",
                edf(comparison, log=view.log, scheme=view.scheme),
                className="tb-curves",
            ),
            note="The share of each sweep's runs that are at least as good as a value.",
        ),
    ]


def _notes(read: Read, comparison: Comparison) -> list[Any]:
    said = [*read.notes(), *comparison.notes]
    if len(read.snapshots) == 1:
        said.append("There is only one sweep here: tick others in the list.")
    if not said:
        return []
    back = dcc.Link("Back to all sweeps", href="/", className="tb-link")
    return [dmc.Alert([*(html.P(one) for one in said), back], color="yellow", className="tb-notes")]


def _state(side: Side, _: Comparison) -> Any:
    return state_badge(side.snapshot.sweep.state)


def _runs(side: Side, _: Comparison) -> Any:
    counts, cap = side.snapshot.counts, run_cap_of(side.snapshot.sweep.config)
    total = sum(counts.values())
    shown = str(total) if cap is None else f"{total} / {cap}"
    return [
        html.Span(shown, className="tb-value"),
        counts_bar(counts, of=cap),
        counts_legend(counts),
    ]


def _best(side: Side, comparison: Comparison) -> Any:
    best = side.best
    if best is None:
        return NONE
    leads = comparison.leading is not None and comparison.sides[comparison.leading] is side
    return [
        html.Span(number(best.value), className="tb-value tb-leads" if leads else "tb-value"),
        " ",
        run_link(side.snapshot.sweep.id, best.run_id, text(best.name, 40)),
    ]


def _number(value: float | None) -> str:
    return NONE if value is None else number(value)


def _to_target(side: Side, comparison: Comparison) -> Any:
    runs = comparison.runs_to_target(side)
    return NONE if runs is None else f"{runs} of {len(side.values)}"


_FACTS: tuple[tuple[str, Callable[[Side, Comparison], Any]], ...] = (
    ("State", _state),
    ("Project", lambda side, _: text(side.snapshot.sweep.project, 40)),
    ("Method", lambda side, _: side.snapshot.plan.method or NONE),
    ("Searcher", lambda side, _: side.snapshot.plan.searcher or NONE),
    ("Scheduler", lambda side, _: side.snapshot.plan.scheduler or NONE),
    ("Runs", _runs),
    ("Best value", _best),
    ("Median", lambda side, _: _number(side.median)),
    ("Time taken", lambda side, _: duration(side.seconds)),
    ("Runs an hour", lambda side, _: NONE if side.per_hour is None else f"{side.per_hour:.3g}"),
    ("Runs to the target", _to_target),
)
"""The rows of the table: a heading, and what stands below a sweep."""


def _tables(comparison: Comparison) -> list[Any]:
    facts = [(word, [make(side, comparison) for side in comparison.sides]) for word, make in _FACTS]
    parts = [_table(comparison, "Facts", facts)]
    if comparison.target is not None:
        parts.append(
            html.P(
                f"The target is {number(comparison.target)}: the best value of the sweep that got "
                "least far.",
                className="tb-dim",
            )
        )
    for title, rows in (
        ("Configuration of the best run", comparison.parameters()),
        ("What differs in the sweeps' configs", comparison.settings()),
    ):
        if rows:
            shown = [(text(key, 60), [_value(one) for one in values]) for key, values in rows]
            differs = [any(repr(one) != repr(values[0]) for one in values) for _, values in rows]
            parts += [html.H3(title), _table(comparison, title, shown, differs)]
    return parts


def _value(value: Any) -> str:
    return NONE if value is None else text(value, 80)


def _table(
    comparison: Comparison,
    title: str,
    rows: Sequence[tuple[str, Sequence[Any]]],
    differs: Sequence[bool] = (),
) -> Any:
    marks = differs or [False] * len(rows)
    heads = [
        html.Th(
            [
                html.Span(className="tb-dot", style={"background": side.colour}),
                sweep_link(side.snapshot.sweep.id, text(side.name, 40)),
            ],
            scope="col",
        )
        for side in comparison.sides
    ]
    corner = html.Td(html.Span(title, className="tb-unseen"))
    body = [
        html.Tr(
            [html.Th(word, scope="row"), *map(html.Td, cells)],
            className="tb-differs" if mark else None,
        )
        for (word, cells), mark in zip(rows, marks, strict=True)
    ]
    return html.Div(
        html.Table(
            [html.Thead(html.Tr([corner, *heads])), html.Tbody(body)],
            className="tb-table tb-compare",
        ),
        className="tb-scroll",
        tabIndex=0,
        role="region",
        **dashed(aria_label=title),
    )


def compared(reader: Reader, view: View) -> dict[str, Any]:
    """The same as data."""
    read = Read.of(reader, view.sweeps)
    comparison = Comparison.of(read.snapshots, view.metric)
    return {
        "metric": comparison.metric,
        "metrics": comparison.metrics,
        "goal": comparison.goal,
        "over": view.over,
        "target": comparison.target,
        "unknown": read.unknown,
        "notes": [*read.notes(), *comparison.notes],
        "sweeps": [_side(side, comparison, view) for side in comparison.sides],
        "parameters": _keyed(comparison.parameters()),
        "settings": _keyed(comparison.settings()),
    }


def _keyed(rows: Sequence[tuple[str, list[Any]]]) -> Mapping[str, Any]:
    return dict(rows)


def _side(side: Side, comparison: Comparison, view: View) -> dict[str, Any]:
    sweep, plan = side.snapshot.sweep, side.snapshot.plan
    return {
        "id": sweep.id,
        "name": sweep.name,
        "project": sweep.project,
        "state": sweep.state,
        "url": f"/sweeps/{sweep.id}",
        "method": plan.method,
        "searcher": plan.searcher,
        "scheduler": plan.scheduler,
        "counts": side.snapshot.counts,
        "run_cap": run_cap_of(sweep.config),
        "best": best_data(side.best),
        "median": side.median,
        "seconds": side.seconds,
        "runs_per_hour": side.per_hour,
        "runs_to_target": comparison.runs_to_target(side),
        "progress": side.steps(view.over),
    }


def add(app: Dash, site: Site) -> None:
    """Wires the page up."""
    chosen = [
        Input("compare-metric", "value"),
        Input("compare-over", "value"),
        Input("compare-log", "checked"),
    ]

    @app.callback(
        Output("compare-progress", "figure"),
        Output("compare-edf", "figure"),
        Output("compare-tables", "children"),
        Output("compare-notes", "children"),
        Output("compare-metric", "data"),
        *chosen,
        Input("version", "data"),
        Input("scheme", "data"),
        State("compared", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def drawn(metric: Any, over: Any, log: Any, _: Any, scheme: Any, sweeps: list[str]) -> Any:
        view = View.made(sweeps or (), metric, over, log, scheme)
        read = Read.of(site.reader, view.sweeps)
        if not read.snapshots:  # all of them were deleted; the drawings stay
            said = _notes(read, Comparison.of([]))
            return no_update, no_update, no_update, said, no_update
        comparison = Comparison.of(read.snapshots, view.metric)
        return (
            progress(comparison, view.over, log=view.log, scheme=view.scheme),
            edf(comparison, log=view.log, scheme=view.scheme),
            _tables(comparison),
            _notes(read, comparison),
            comparison.metrics,
        )

    client(
        app,
        "rememberCompare",
        Output("compare-remembered", "data"),
        *chosen,
        prevent_initial_call=True,
    )
