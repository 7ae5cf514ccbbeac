"""The page of one run: its parameters, curves, output, and the way to have it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import dash_mantine_components as dmc
import msgspec
from dash import Dash, Input, Output, State, dcc, html

from tune_bridge.backends.base import Row, Run
from tune_bridge.command import Start, expand
from tune_bridge.errors import NotFoundError, TuneBridgeError
from tune_bridge.server.addresses import Address, run_json, scheme_of
from tune_bridge.server.figures import run_curves
from tune_bridge.server.run_parts import run_facts
from tune_bridge.server.shell import missing_page
from tune_bridge.server.site import Made, Site, client, threaded
from tune_bridge.server.store import Store
from tune_bridge.server.values import flatten, is_number, number, text, to_yaml
from tune_bridge.server.verbs import run_verbs
from tune_bridge.server.views import KINDS, Reader, Snapshot, kind_of
from tune_bridge.server.widgets import card, code, graph, select, sweep_link

__all__ = ["AXES", "Look", "add", "command_of", "page", "run_figure", "tail"]

AXES = {"_step": "step", "_timestamp": "time", "training_iteration": "training iteration"}
"""What a curve can be drawn over: the key of a row -> its word."""

_TAIL = 64 * 1024
_SMOOTH = (0, 0.5, 0.8, 0.9, 0.95)


class Look(msgspec.Struct, frozen=True):
    """What a reader has chosen on a run's page, kept in the query of its address.

    Attributes:
        metrics: The metrics that are drawn.
        over: Key of `AXES`.
        smooth: Weight of what came before in the exponential moving average, from 0 to below 1.
        log: Draw on a log scale.
        scheme: "light" or "dark".
    """

    metrics: tuple[str, ...] = ()
    over: str = "_step"
    smooth: float = 0.0
    log: bool = False
    scheme: str = "light"

    @classmethod
    def of(cls, search: str, scheme: str | None) -> Look:
        """Reads an address's query; what makes no sense is left out."""
        query = parse_qs(search.lstrip("?"))
        last = {key: values[-1] for key, values in query.items()}
        return cls.made(
            query.get("y"), last.get("x"), last.get("smooth"), last.get("log") == "1", scheme
        )

    @classmethod
    def made(cls, metrics: Any, over: Any, smooth: Any, log: Any, scheme: Any) -> Look:
        """From what the controls say."""
        try:
            weight = float(smooth or 0)
        except (TypeError, ValueError):
            weight = 0.0
        return cls(
            metrics=tuple(str(name) for name in metrics or ()),
            over=over if over in AXES else "_step",
            smooth=weight if weight in _SMOOTH else 0.0,
            log=bool(log),
            scheme=scheme_of(scheme),
        )

    def drawn(self, snapshot: Snapshot, run: Run) -> list[str]:
        """The metrics to draw: the chosen ones that there are, else the objective."""
        names = metrics_of(snapshot, run)
        return [name for name in self.metrics if name in names] or names[:1]


def metrics_of(snapshot: Snapshot, run: Run) -> list[str]:
    """Keys that hold numbers in a run, the objective first."""
    summary = flatten(run.summary)
    names = [name for name in snapshot.metrics if is_number(summary.get(name))]
    return names or snapshot.metrics


def command_of(snapshot: Snapshot, run: Run) -> str | None:
    """The command line that runs a run's program with its parameters; None when it has none."""
    config = snapshot.sweep.config
    program, command = config.get("program"), config.get("command")
    if not isinstance(program, str) or not isinstance(command, list | None):
        return None
    try:
        items = expand(tuple(command) if command else None, Start(run.config, program), {})
    except TuneBridgeError:
        return None
    return shlex.join(items)


def run_figure(reader: Reader, snapshot: Snapshot, run: Run, look: Look) -> dict[str, Any]:
    """The curves of a run."""
    names = look.drawn(snapshot, run)
    rows: list[Row] = reader.backend.history(run.id, keys=[*names, look.over]) if names else []
    return run_curves(
        names,
        [_points(rows, name, look.over) for name in names],
        over=AXES[look.over],
        times=look.over == "_timestamp",
        smooth=look.smooth,
        log=look.log,
        scheme=look.scheme,
    )


def _points(rows: Sequence[Row], name: str, over: str) -> list[tuple[float, float]]:
    found = []
    for row in rows:
        value: Any = row.values.get(name)
        place = _place(row, over)
        if is_number(value) and is_number(place):
            found.append((float(place), float(value)))
    return found


def _place(row: Row, over: str) -> Any:
    """Where a row stands on the axis."""
    if over == "_step":
        return row.step
    return row.time if over == "_timestamp" else row.values.get(over)


def run_head(snapshot: Snapshot, run: Run) -> list[Any]:
    """Its name, state, facts, what can be done with it, and why it ended."""
    kind = kind_of(run)
    sweep = snapshot.sweep
    return [
        html.Div(
            ["In ", sweep_link(sweep.id, text(sweep.name or sweep.id, 60))], className="tb-dim"
        ),
        html.Div(
            [
                html.H1(text(run.name or run.id, 80)),
                html.Span(KINDS[kind][0], className=f"tb-pill tb-{kind}"),
                run_verbs(snapshot, run),
            ],
            className="tb-title",
        ),
        html.Dl(
            [part for name, value in run_facts(run) for part in (html.Dt(name), html.Dd(value))],
            className="tb-facts-list",
        ),
        *(
            [html.Pre(text(run.message, 20_000), className=f"tb-code tb-message tb-on-{kind}")]
            if run.message.strip()
            else []
        ),
    ]


def _parameters(snapshot: Snapshot, run: Run) -> Any:
    flat = flatten(run.config)
    searched = [dimension.path for dimension in snapshot.plan.dimensions]
    mine = [key for path in searched for key in flat if key == path or key.startswith(f"{path}.")]
    rest = [key for key in flat if key not in mine]
    rows = [
        html.Tr([html.Td(text(key, 80)), html.Td(text(flat[key], 300), className="tb-value")])
        for key in [*dict.fromkeys(mine), *rest]
    ]
    return html.Table(html.Tbody(rows), className="tb-table tb-pairs")


def _results(snapshot: Snapshot, run: Run) -> Any:
    flat = flatten(run.summary)
    names = metrics_of(snapshot, run)
    keys = [*(name for name in names if name in flat), *(key for key in flat if key not in names)]
    rows = [
        html.Tr(
            [
                html.Td(text(key, 80)),
                html.Td(
                    number(flat[key]) if is_number(flat[key]) else text(flat[key], 300),
                    className="tb-value",
                ),
            ]
        )
        for key in keys
    ]
    return html.Table(html.Tbody(rows), className="tb-table tb-pairs")


def tail(pieces: Iterable[bytes], size: int = _TAIL) -> tuple[str, bool]:
    """The end of an output as text, and whether something came before."""
    kept, cut = b"", False
    for piece in pieces:
        kept += piece
        if len(kept) > size:
            kept, cut = kept[-size:], True
    shown = kept.decode("utf-8", "replace")
    return (shown.partition("\n")[2] if cut else shown), cut


def run_output(store: Store | None, run: Run) -> list[Any]:
    """The end of what its program has printed."""
    shown, cut = "", False
    if store is not None:
        try:
            shown, cut = tail(_pieces(store, run))
        except (OSError, TuneBridgeError):
            shown = ""
    if not shown.strip():
        return [html.P("Nothing is kept of what its program has printed.", className="tb-dim")]
    parts: list[Any] = [html.Pre(text(shown), className="tb-code tb-output", tabIndex=0)]
    if cut:
        parts.insert(0, html.P("The end of it:", className="tb-dim"))
    parts.append(html.A("All of it", href=f"{run_json(run.id)}/output", className="tb-link"))
    return parts


def _pieces(store: Store, run: Run) -> Iterator[bytes]:
    return store.output(run.sweep_id, run.id)


def page(site: Site, address: Address, search: str, scheme: str) -> Made:
    """The page at an address.

    Raises:
        NotFoundError: There is no such sweep.
    """
    sweep_id, run_id = address.sweep or "", address.run or ""
    snapshot = site.reader.snapshot(sweep_id)
    try:
        run = _run_in(snapshot, run_id)
    except NotFoundError:
        words = f"There is no run {run_id!r} in sweep {sweep_id!r}. It may have been deleted."
        return Made([missing_page(words)], "", "No such run")
    content = _content(site.reader, site.store, snapshot, run, Look.of(search, scheme))
    return Made(content, snapshot.version, run.name or run.id)


def _run_in(snapshot: Snapshot, run_id: str) -> Run:
    for run in snapshot.runs:
        if run.id == run_id:
            return run
    raise NotFoundError("no such run", found=run_id)


def _content(
    reader: Reader, store: Store | None, snapshot: Snapshot, run: Run, look: Look
) -> list[Any]:
    command = command_of(snapshot, run)
    return [
        dcc.Store(id="version", data=snapshot.version),
        dcc.Store(id="run", data={"sweep": snapshot.sweep.id, "run": run.id}),
        dcc.Store(id="run-remembered"),
        html.Section(run_head(snapshot, run), id="run-head"),
        _curve_card(reader, snapshot, run, look),
        html.Div(
            [
                card("Parameters", html.Div(_parameters(snapshot, run), id="run-parameters")),
                card("Results", html.Div(_results(snapshot, run), id="run-results")),
            ],
            className="tb-two",
        ),
        card("Output", html.Div(run_output(store, run), id="run-output")),
        card(
            "Again",
            html.Div(
                [
                    *([html.H3("Command line"), code(command, "command")] if command else []),
                    html.H3("Configuration"),
                    code(to_yaml(run.config), "run-config"),
                    *([html.H3("About"), code(to_yaml(run.meta), "run-meta")] if run.meta else []),
                    html.P(
                        html.A(
                            "JSON",
                            href=run_json(run.id),
                            className="tb-link",
                        )
                    ),
                ],
                className="tb-again",
            ),
        ),
    ]


def _curve_card(reader: Reader, snapshot: Snapshot, run: Run, look: Look) -> Any:
    names = metrics_of(snapshot, run)
    if not names:
        return card("Curves", html.P("Nothing logged yet", className="tb-dim"))
    axes = [{"value": key, "label": word} for key, word in AXES.items()]
    weights = [
        {"value": str(weight), "label": str(weight) if weight else "none"} for weight in _SMOOTH
    ]
    return card(
        "Curves",
        [
            html.Div(
                [
                    dmc.MultiSelect(
                        id="y",
                        label="Metrics",
                        data=names,
                        value=look.drawn(snapshot, run),
                        searchable=True,
                        maxValues=8,
                        size="xs",
                        w=320,
                    ),
                    select("x", "Over", axes, look.over, 160),
                    select("smooth", "Smoothing", weights, str(look.smooth or 0), 110),
                    dmc.Switch(id="run-log", label="Log scale", checked=look.log, size="xs"),
                ],
                className="tb-controls",
            ),
            graph("run-curves", run_figure(reader, snapshot, run, look), className="tb-curves"),
        ],
    )


def _fresh(
    reader: Reader, store: Store | None, where: Mapping[str, str]
) -> tuple[Any, Any, Any, Any]:
    """What may have changed on the page: head, parameters, results, output.

    Raises:
        NotFoundError: The sweep or the run is gone.
    """
    snapshot = reader.snapshot(where["sweep"])
    run = _run_in(snapshot, where["run"])
    return (
        run_head(snapshot, run),
        _parameters(snapshot, run),
        _results(snapshot, run),
        run_output(store, run),
    )


def add(app: Dash, site: Site) -> None:
    """Wires the page up."""

    @app.callback(
        Output("run-head", "children"),
        Output("run-parameters", "children"),
        Output("run-results", "children"),
        Output("run-output", "children"),
        Input("version", "data"),
        State("run", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def again(_: Any, where: dict[str, str]) -> Any:
        return _fresh(site.reader, site.store, where)

    @app.callback(
        Output("run-curves", "figure"),
        Input("version", "data"),
        Input("y", "value"),
        Input("x", "value"),
        Input("smooth", "value"),
        Input("run-log", "checked"),
        Input("scheme", "data"),
        State("run", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def drawn(_: Any, y: Any, x: Any, smooth: Any, log: Any, scheme: Any, where: Any) -> Any:
        snapshot = site.reader.snapshot(where["sweep"])
        look = Look.made(y, x, smooth, log, scheme)
        return run_figure(site.reader, snapshot, site.reader.backend.run(where["run"]), look)

    client(
        app,
        "rememberRun",
        Output("run-remembered", "data"),
        Input("y", "value"),
        Input("x", "value"),
        Input("smooth", "value"),
        Input("run-log", "checked"),
        State("y", "data"),
    )
