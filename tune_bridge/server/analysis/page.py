"""The page of a sweep's analysis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dash_mantine_components as dmc
import msgspec
from dash import Dash, Input, Output, State, dcc, html

from tune_bridge.errors import TuneBridgeError
from tune_bridge.server.addresses import Address, query_of, scheme_of
from tune_bridge.server.analysis import figures
from tune_bridge.server.analysis.analyst import Analyst
from tune_bridge.server.analysis.importance import MEASURES, measures
from tune_bridge.server.analysis.results import Results
from tune_bridge.server.analysis.what_if import best_setting
from tune_bridge.server.figures import message
from tune_bridge.server.site import Made, Site, client, threaded
from tune_bridge.server.sweep_parts import tabs
from tune_bridge.server.values import text, to_yaml
from tune_bridge.server.views import Dimension, Snapshot
from tune_bridge.server.widgets import card, code, graph, select, state_badge

__all__ = ["FIGURES", "View", "add", "advice", "draw", "page", "says"]

_WORDS = {
    "forest": "random forest",
    "ped_anova": "PED-ANOVA",
    "correlation": "correlation",
}
_SAYS = {
    "forest": "The share of the ranking that a random forest explains by each parameter.",
    "ped_anova": "How differently the best tenth of the runs is spread along each parameter.",
    "correlation": "Spearman's rho with its sign; for categories the share of variance, η².",
}
_HEIGHT = 340


class View(msgspec.Struct, frozen=True):
    """What a reader has chosen, kept in the query of the address.

    Attributes:
        metric: The metric, or None for the objective.
        other: The second metric, or None.
        measure: Key of `MEASURES`, or None for the first that can be computed.
        one: Parameter of the pair's first axis, or None for the most important one.
        two: Of its second axis, or None.
        log: The metric is drawn on a log scale.
        scheme: "light" or "dark".
    """

    metric: str | None = None
    other: str | None = None
    measure: str | None = None
    one: str | None = None
    two: str | None = None
    log: bool = False
    scheme: str = "light"

    @classmethod
    def of(cls, search: str, scheme: str | None) -> View:
        """Reads an address's query; what makes no sense is left out."""
        query = query_of(search)
        names = ("metric", "other", "measure", "one", "two")
        log = query.get("log") == "1"
        return cls.made(*(query.get(name) for name in names), log=log, scheme=scheme)

    @classmethod
    def made(
        cls, metric: Any, other: Any, measure: Any, one: Any, two: Any, *, log: Any, scheme: Any
    ) -> View:
        """From what the controls say."""
        texts = [value if isinstance(value, str) else None for value in (metric, other, one, two)]
        return cls(
            texts[0],
            texts[1],
            measure if measure in MEASURES else None,
            texts[2],
            texts[3],
            bool(log),
            scheme_of(scheme),
        )

    def filled(self, snapshot: Snapshot, analyst: Analyst) -> View:
        """With everything that was left open."""
        names = snapshot.metrics
        metric = self.metric if self.metric in names else next(iter(names), None)
        others = [name for name in names if name != metric]
        other = self.other if self.other in others else next(iter(others), None)
        kinds = measures()
        kind = self.measure if self.measure in kinds else next(iter(kinds), "correlation")
        view = msgspec.structs.replace(self, metric=metric, other=other, measure=kind)
        paths = [one.path for one in snapshot.varied]
        if metric is not None:
            found = [one.path for one in analyst.known(snapshot, metric, kind)]
            paths.sort(key=lambda path: found.index(path) if path in found else len(found))
        one = self.one if self.one in paths else next(iter(paths), None)
        rest = [path for path in paths if path != one]
        two = self.two if self.two in rest else next(iter(rest), None)
        return msgspec.structs.replace(view, one=one, two=two)


class _Case(msgspec.Struct, frozen=True):
    """What a drawing is made from."""

    snapshot: Snapshot
    view: View
    analyst: Analyst

    @property
    def results(self) -> Results:
        return Results.of(self.snapshot, self.view.metric or "")

    def dimension(self, path: str | None) -> Dimension | None:
        return next((one for one in self.snapshot.varied if one.path == path), None)


def _progress(case: _Case) -> Any:
    return figures.progress(case.results, log=case.view.log, scheme=case.view.scheme)


def _importance(case: _Case) -> Any:
    view = case.view
    if view.metric is None:
        return message(view.scheme, "No run has a value yet")
    kind = view.measure or "correlation"
    found = case.analyst.importance(case.snapshot, view.metric, kind)
    return figures.importances(found, kind, view.scheme)


def _slices(case: _Case) -> Any:
    view, shown = case.view, case.snapshot.varied
    return figures.slices(case.results, shown, log=view.log, scheme=view.scheme)


def _contour(case: _Case) -> Any:
    one, two = case.dimension(case.view.one), case.dimension(case.view.two)
    if one is None or two is None:
        return message(case.view.scheme, "Two parameters are needed")
    return figures.contour(case.results, one, two, case.view.scheme)


def _distribution(case: _Case) -> Any:
    return figures.distribution(case.results, log=case.view.log, scheme=case.view.scheme)


def _pareto(case: _Case) -> Any:
    if case.view.other is None:
        return message(case.view.scheme, "Only one metric was logged")
    other = Results.of(case.snapshot, case.view.other)
    return figures.pareto(case.results, other, case.view.scheme)


def _what_if(case: _Case) -> Any:
    runs, found = case.analyst.what_if(case.snapshot, case.view.metric or "")
    return figures.outcomes(found, runs, case.view.scheme)


FIGURES: dict[str, tuple[str, str, Callable[[_Case], Any]]] = {
    "progress": ("Progress", "Each run's value, and the best one so far.", _progress),
    "importance": ("Importance", "", _importance),
    "slices": ("Slices", "The metric over each parameter; the best runs are strongest.", _slices),
    "contour": ("Pair", "Runs coloured by rank, over what a forest expects between.", _contour),
    "distribution": (
        "Distribution",
        "The share of runs that are as good as a value.",
        _distribution,
    ),
    "pareto": ("Two metrics", "Runs on the Pareto front are beaten in both by none.", _pareto),
    "survival": (
        "Early stopping",
        "How far runs got.",
        lambda case: figures.survival(case.snapshot, case.view.scheme),
    ),
    "what_if": (
        "What if",
        (
            "What early stopping would have saved and lost on the runs that ran to their ends; the "
            "numbers are min_iter."
        ),
        _what_if,
    ),
    "timeline": (
        "Timeline",
        "When each run ran; the latest ones when there are many.",
        lambda case: figures.timeline(case.snapshot, case.view.scheme),
    ),
}
"""Id -> heading, what it shows, and how it is made."""


def advice(snapshot: Snapshot, metric: str | None, analyst: Analyst) -> list[Any]:
    """The block of the setting that saves most and loses nothing, to be copied."""
    runs, found = analyst.what_if(snapshot, metric or "")
    best = best_setting(found)
    if best is None:
        return []
    words = (
        f"On these {runs} runs this would have saved {best.saved:.0%} of the reports, stopped "
        f"{best.stopped} runs and kept the best value:"
    )
    block = to_yaml({"early_terminate": best.setting})
    return [html.P(words, className="tb-dim"), code(block, "early-terminate")]


def draw(name: str, snapshot: Snapshot, view: View, analyst: Analyst) -> Any:
    """One drawing; why there is none when it cannot be made."""
    try:
        return FIGURES[name][2](_Case(snapshot, view.filled(snapshot, analyst), analyst))
    except TuneBridgeError as error:
        return message(view.scheme, str(error))


def page(site: Site, address: Address, search: str, scheme: str) -> Made:
    """The page at an address.

    Raises:
        NotFoundError: There is no such sweep.
    """
    snapshot = site.reader.snapshot(address.sweep or "")
    title = f"{snapshot.sweep.name or snapshot.sweep.id}: analysis"
    content = _content(snapshot, View.of(search, scheme), site.analyst)
    return Made(content, snapshot.version, title)


def _content(snapshot: Snapshot, chosen: View, analyst: Analyst) -> list[Any]:
    """The whole page."""
    sweep = snapshot.sweep
    head = html.Section(
        [
            html.Div(
                [html.H1(text(sweep.name or sweep.id, 80)), state_badge(sweep.state)],
                className="tb-title",
            ),
            tabs(sweep.id, "analysis"),
        ]
    )
    if not snapshot.runs:
        return [head, card("Analysis", html.P("No run has a value yet", className="tb-dim"))]
    view = chosen.filled(snapshot, analyst)
    return [
        dcc.Store(id="version", data=snapshot.version),
        dcc.Store(id="analysed", data=sweep.id),
        dcc.Store(id="analysis-remembered"),
        head,
        _controls(snapshot, view),
        *(
            card(
                title,
                [
                    *_own_controls(name, snapshot, view),
                    html.Div(
                        graph(
                            f"analysis-{name}",
                            message(view.scheme, "computing"),
                            className=f"tb-analysis tb-{name}",
                            style=_size(name, snapshot),
                        ),
                        className="tb-scroll",
                    ),
                    *([html.Div(id="advice")] if name == "what_if" else []),
                ],
                note=note or html.Span(_SAYS[view.measure or "correlation"], id="measure-says"),
            )
            for name, (title, note, _) in FIGURES.items()
        ),
    ]


def _size(name: str, snapshot: Snapshot) -> dict[str, str]:
    count = len(snapshot.varied)
    heights = {"importance": figures.bars_height(count), "slices": figures.slices_height(count)}
    return {"height": f"{heights.get(name, _HEIGHT)}px"}


def _controls(snapshot: Snapshot, view: View) -> Any:
    return html.Div(
        [
            select("analysis-metric", "Metric", snapshot.metrics, view.metric, 220),
            dmc.Switch(id="analysis-log", label="Log scale", checked=view.log, size="xs"),
        ],
        className="tb-controls",
    )


def _own_controls(name: str, snapshot: Snapshot, view: View) -> list[Any]:
    paths = [one.path for one in snapshot.varied]
    made: dict[str, list[Any]] = {
        "importance": [
            select(
                "measure",
                "Measure",
                [{"value": kind, "label": _WORDS[kind]} for kind in measures()],
                view.measure,
                180,
            )
        ],
        "contour": [
            select("pair-one", "Across", paths, view.one, 200),
            select("pair-two", "Up", paths, view.two, 200),
        ],
        "pareto": [select("other", "Second metric", snapshot.metrics, view.other, 220)],
    }
    return [html.Div(made[name], className="tb-controls")] if name in made else []


def says(kind: Any) -> str:
    """What a measure of importance means."""
    return _SAYS.get(str(kind), "")


def add(app: Dash, site: Site) -> None:
    """Wires the page up."""
    chosen = [
        Input("analysis-metric", "value"),
        Input("other", "value"),
        Input("measure", "value"),
        Input("pair-one", "value"),
        Input("pair-two", "value"),
        Input("analysis-log", "checked"),
        Input("scheme", "data"),
    ]

    def add_figure(name: str) -> None:
        @app.callback(
            Output(f"analysis-{name}", "figure"),
            Input("version", "data"),
            *chosen,
            State("analysed", "data"),
        )
        @threaded
        def drawn(_: Any, *values: Any) -> Any:
            *names, log, scheme, sweep_id = values
            view = View.made(*names, log=log, scheme=scheme)
            return draw(name, site.reader.snapshot(sweep_id), view, site.analyst)

    for name in FIGURES:
        add_figure(name)

    @app.callback(
        Output("advice", "children"),
        Input("version", "data"),
        Input("analysis-metric", "value"),
        State("analysed", "data"),
    )
    @threaded
    def advised(_: Any, metric: Any, sweep_id: str) -> Any:
        return advice(site.reader.snapshot(sweep_id), metric, site.analyst)

    @app.callback(
        Output("measure-says", "children"), Input("measure", "value"), prevent_initial_call=True
    )
    def explained(kind: Any) -> str:
        return says(kind)

    client(
        app,
        "rememberAnalysis",
        Output("analysis-remembered", "data"),
        Input("analysis-metric", "value"),
        Input("other", "value"),
        Input("measure", "value"),
        Input("pair-one", "value"),
        Input("pair-two", "value"),
        Input("analysis-log", "checked"),
        prevent_initial_call=True,
    )
