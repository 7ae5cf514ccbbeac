"""The page of a sweep's analysis.

A drawing is made when it comes near to what the reader sees, and again when something changes that
it depends on (`Card.uses`, the sweep's version, the scheme): ``page_analysis.js`` says so to the
store ``want-NAME``, with what the reader has chosen.
"""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html
from dash.exceptions import PreventUpdate

from tune_bridge.server.addresses import Address
from tune_bridge.server.analysis.analyst import Analyst
from tune_bridge.server.analysis.cards import CHOICES, FIGURES, MOST, Card, View, cards, draw
from tune_bridge.server.analysis.importance import measures
from tune_bridge.server.analysis.lineage import changed
from tune_bridge.server.analysis.results import objectives
from tune_bridge.server.analysis.settings import block_of, call_of
from tune_bridge.server.analysis.what_if import RULES, best_setting
from tune_bridge.server.figures import message
from tune_bridge.server.lacking import no_runs
from tune_bridge.server.site import Made, Site, client, threaded
from tune_bridge.server.sweep_parts import tabs
from tune_bridge.server.values import number, text, to_yaml
from tune_bridge.server.views import Snapshot
from tune_bridge.server.widgets import card, code, dashed, graph, select, state_badge

__all__ = ["add", "advice", "page", "says"]

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
_METRIC = "-"  # the lineage's colour when it is no parameter


def advice(snapshot: Snapshot, metric: str | None, analyst: Analyst) -> list[Any]:
    """For each rule, the setting that saves most and loses nothing, to be copied."""
    played = analyst.what_if(snapshot, metric or "")
    parts: list[Any] = []
    for rule, (name, _) in RULES.items():
        best = best_setting([one for one in played.outcomes if one.rule == rule])
        if best is None:
            continue
        words = (
            f"{name}: on these {played.runs} runs this would have saved {best.saved:.0%} of the "
            f"reports, stopped {best.stopped} runs and kept the best value. In a sweep, and in Ray "
            "Tune:"
        )
        block = to_yaml(block_of(best, snapshot.sweep.config))
        parts += [
            html.P(words, className="tb-dim"),
            code(block, f"early-terminate-{rule}"),
            code(call_of(best), f"scheduler-{rule}"),
        ]
    return parts


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
        return [head, no_runs(snapshot)]
    view, shown = chosen.filled(snapshot, analyst), cards(snapshot)
    controls = _controls(snapshot, view, analyst, shown)
    placed = {name: [controls.pop(choice) for choice in _OWN.get(name, ())] for name in shown}
    return [
        dcc.Store(id="version", data=snapshot.version),
        dcc.Store(id="analysed", data=sweep.id),
        dcc.Store(id="analysis-uses", data={name: one.uses for name, one in shown.items()}),
        dcc.Store(id="analysis-near", data=[]),
        dcc.Store(id="analysis-remembered"),
        head,
        html.Div([controls.pop("metric"), controls.pop("log")], className="tb-controls"),
        *(_card(name, one, placed[name], snapshot, view) for name, one in shown.items()),
        html.Div(list(controls.values()), hidden=True),  # of cards that are left out
    ]


def _card(name: str, one: Card, controls: list[Any], snapshot: Snapshot, view: View) -> Any:
    drawing = graph(
        f"analysis-{name}",
        message(view.scheme, "computing"),
        className=f"tb-analysis tb-{name}",
        style={"height": "100%"},
    )
    # The room is there before the drawing is: what is far below must not seem near.
    room = html.Div(
        drawing, id=f"room-{name}", style={"height": f"{one.height(len(snapshot.varied))}px"}
    )
    parts: list[Any] = [
        dcc.Store(id=f"want-{name}"),
        *([html.Div(controls, className="tb-controls")] if controls else []),
        html.Div(room, className="tb-scroll tb-draw", tabIndex=0, **dashed(data_draws=name)),
    ]
    if name == "what_if":
        parts.append(html.Div(id="advice"))
    note = one.note or html.Span(_SAYS[view.measure or "correlation"], id="measure-says")
    return card(one.title, parts, note=note)


def _room(figure: dict[str, Any], height: int) -> dict[str, str]:
    """The size of a drawing: a few words need little, and a matrix scrolls on a phone."""
    across = max((len(one.get("dimensions", ())) for one in figure["data"]), default=0)
    style = {"height": f"{figure['layout'].get('height', height)}px"}
    return {**style, "minWidth": f"{_ACROSS * across}px"} if across else style


_ACROSS = 160  # pixels of a column of a matrix

_OWN = {
    "importance": ("measure",),
    "contour": ("one", "two", "pair"),
    "lineage": ("colour", "over"),
    "pareto": ("objectives",),
    "hypervolume": ("reference",),
}
"""Card -> the choices that stand on it; the others are on top of the page."""


def _controls(
    snapshot: Snapshot, view: View, analyst: Analyst, shown: dict[str, Card]
) -> dict[str, Any]:
    """What the reader chooses with, by name in the query."""
    paths = [one.path for one in snapshot.varied]
    declared = [one for one in objectives(snapshot) if one in snapshot.metrics]
    metrics = [*dict.fromkeys([*declared, *snapshot.metrics])]
    tints = changed(analyst.copies(snapshot)) if "lineage" in shown else []
    colour = view.colour if view.colour in tints else _METRIC
    kinds = [{"value": kind, "label": _WORDS[kind]} for kind in measures()]
    tinted = [{"value": _METRIC, "label": "the metric"}, *tints]
    selects: dict[str, tuple[str, Any, str | None, int]] = {
        "metric": ("Metric", metrics, view.metric, 220),
        "measure": ("Measure", kinds, view.measure, 180),
        "one": ("Across", paths, view.one, 200),
        "two": ("Up", paths, view.two, 200),
        "pair": ("Colours", ["rank", "value"], view.pair, 120),
        "colour": ("Colours", tinted, colour, 200),
        "over": ("Over", ["iteration", "time"], view.over, 120),
    }
    made: dict[str, Any] = {
        name: select(f"choose-{name}", *parts) for name, parts in selects.items()
    }
    made["log"] = dmc.Switch(id="choose-log", label="Log scale", checked=view.log, size="xs")
    made["objectives"] = dmc.MultiSelect(
        id="choose-objectives",
        label="Metrics",
        data=metrics,
        value=list(view.objectives),
        maxValues=MOST,
        searchable=True,
        size="xs",
        w=420,
        maw="100%",
    )
    made["reference"] = dmc.TextInput(
        id="choose-reference",
        label="Reference point",
        placeholder="a number for each, with commas",
        value=", ".join(map(number, view.reference)),
        debounce=300,
        size="xs",
        w=260,
    )
    return made


def says(kind: Any) -> str:
    """What a measure of importance means."""
    return _SAYS.get(str(kind), "")


def add(app: Dash, site: Site) -> None:
    """Wires the page up."""

    def add_figure(name: str) -> None:
        @app.callback(
            Output(f"analysis-{name}", "figure"),
            Output(f"room-{name}", "style"),
            Input(f"want-{name}", "data"),
            State("analysed", "data"),
            prevent_initial_call=True,
        )
        @threaded
        def drawn(chosen: Any, sweep_id: str) -> Any:
            if not isinstance(chosen, dict):
                raise PreventUpdate
            snapshot = site.reader.snapshot(sweep_id)
            figure = draw(name, snapshot, View.made(chosen), site.analyst)
            return figure, _room(figure, FIGURES[name].height(len(snapshot.varied)))

    for name in FIGURES:
        add_figure(name)

    @app.callback(
        Output("advice", "children"),
        Input("want-what_if", "data"),
        State("analysed", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def advised(chosen: Any, sweep_id: str) -> Any:
        if not isinstance(chosen, dict):
            raise PreventUpdate
        snapshot = site.reader.snapshot(sweep_id)
        return advice(
            snapshot, View.made(chosen).filled(snapshot, site.analyst).metric, site.analyst
        )

    @app.callback(
        Output("measure-says", "children"),
        Input("choose-measure", "value"),
        prevent_initial_call=True,
    )
    def explained(kind: Any) -> str:
        return says(kind)

    client(
        app,
        "analysis",
        Output("analysis-remembered", "data"),
        Input("version", "data"),
        Input("scheme", "data"),
        Input("analysis-near", "data"),
        *(Input(f"choose-{name}", _VALUE.get(name, "value")) for name in CHOICES),
        State("analysis-uses", "data"),
    )


_VALUE = {"log": "checked"}
"""Choice -> the property of its control that holds it."""
