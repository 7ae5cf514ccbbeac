"""The page of one run: its parameters, curves, output, and the way to have it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html
from dash.exceptions import PreventUpdate

from tune_bridge.backends.base import Run
from tune_bridge.errors import NotFoundError
from tune_bridge.server.addresses import Address, run_json
from tune_bridge.server.copies import copies
from tune_bridge.server.run_beside import MOST, Beside, beside_table, found, shortcuts
from tune_bridge.server.run_cards import (
    changes_card,
    decision_part,
    files_card,
    life_card,
    message_part,
    output_part,
)
from tune_bridge.server.run_curves import AXES, SMOOTH, Look, metrics_of, run_figure
from tune_bridge.server.run_files import told_files
from tune_bridge.server.run_life import Change, Logs, life_of
from tune_bridge.server.run_parts import run_facts
from tune_bridge.server.shell import missing_page
from tune_bridge.server.site import Made, Site, client, threaded
from tune_bridge.server.values import flatten, is_number, number, text, to_yaml
from tune_bridge.server.verbs import run_verbs
from tune_bridge.server.views import KINDS, Snapshot, kind_of
from tune_bridge.server.widgets import card, code, dashed, graph, select, sweep_link

__all__ = ["add", "page"]

_AWAY = (
    "This file is not here. Files of runs stand beside a SQLite file, or on the machine that "
    "reported them to PostgreSQL; tune-bridge server shows them there."
)
"""What stands at a file that a run tells of, and that this server does not find."""

_COPIES = {"Command line": "command", "YAML": "run-config", "Tune code": "run-tune"}
"""Label of what can be copied -> id of its text, in order."""


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
        *(message_part(run) if not run.stopped_early else []),
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


def _results(site: Site, snapshot: Snapshot, run: Run) -> Any:
    told = told_files(run.summary)
    about = tuple(f"{key}." for key in told)
    flat = {key: value for key, value in flatten(run.summary).items() if not key.startswith(about)}
    names = metrics_of(snapshot, run)
    keys = [*(name for name in names if name in flat), *(key for key in flat if key not in names)]
    shown: dict[str, Any] = {
        key: number(flat[key]) if is_number(flat[key]) else text(flat[key], 300) for key in keys
    }
    shown |= {key: _told_file(site, run, name) for key, name in told.items()}
    rows = [
        html.Tr([html.Td(text(key, 80)), html.Td(value, className="tb-value")])
        for key, value in shown.items()
    ]
    return html.Table(html.Tbody(rows), className="tb-table tb-pairs")


def _told_file(site: Site, run: Run, name: str) -> list[Any]:
    """A file that a result is: a link to it, or why there is none."""
    url = None if site.files is None else site.files.url(run, name)
    if url is not None:
        return [html.A(text(name, 200), href=url, className="tb-link")]
    return [text(name, 200), html.Div(_AWAY, className="tb-dim tb-away-file")]


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
    content = _content(site, snapshot, run, Look.of(search, scheme))
    return Made(content, snapshot.version, run.name or run.id)


def _run_in(snapshot: Snapshot, run_id: str) -> Run:
    place = snapshot.places.get(run_id)
    if place is None:
        raise NotFoundError("no such run", found=run_id)
    return snapshot.runs[place]


def _content(site: Site, snapshot: Snapshot, run: Run, look: Look) -> list[Any]:
    made = dict(copies(snapshot, run))
    output, size = output_part(site.files, run)
    return [
        dcc.Store(id="version", data=snapshot.version),
        dcc.Store(id="run", data={"sweep": snapshot.sweep.id, "run": run.id}),
        dcc.Store(id="run-remembered"),
        dcc.Store(id="with-remembered"),
        dcc.Store(id="run-output-size", data=size),
        html.Section(run_head(snapshot, run), id="run-head"),
        html.Div(decision_part(run, life_of(run, ()).decision), id="run-decision"),
        _beside_controls(site, snapshot, run, look),
        _curve_card(site, snapshot, run, look),
        html.Div(_beside(snapshot, run, look), id="run-beside"),
        html.Div(
            [
                card("Parameters", html.Div(_parameters(snapshot, run), id="run-parameters")),
                card("Results", html.Div(_results(site, snapshot, run), id="run-results")),
            ],
            className="tb-two",
        ),
        html.Div(id="run-story", className="tb-stack"),
        card("Output", html.Div(output, id="run-output")),
        card(
            "Again",
            html.Div(
                [
                    *(
                        part
                        for label, name in _COPIES.items()
                        if label in made
                        for part in (html.H3(label), code(made[label], name))
                    ),
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


def _curve_card(site: Site, snapshot: Snapshot, run: Run, look: Look) -> Any:
    names = metrics_of(snapshot, run)
    if not names:
        return card("Curves", html.P("Nothing logged yet", className="tb-dim"))
    axes = [{"value": key, "label": word} for key, word in AXES.items()]
    weights = [
        {"value": str(weight), "label": str(weight) if weight else "none"} for weight in SMOOTH
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
            graph("run-curves", _figure(site, snapshot, run, look), className="tb-curves"),
        ],
    )


def _beside_controls(site: Site, snapshot: Snapshot, run: Run, look: Look) -> Any:
    """What it is compared with."""
    return html.Div(
        [
            dmc.MultiSelect(
                id="with",
                label="Compare with",
                placeholder="name or id of a run",
                data=found(snapshot, run, "", look.others),
                value=list(look.others),
                searchable=True,
                clearable=True,
                hidePickedOptions=True,
                maxValues=MOST,
                filter={"function": "tbAll"},  # the server has searched
                nothingFoundMessage="no run of this sweep",
                size="xs",
                className="tb-with",
            ),
            dmc.Switch(
                id="with-all",
                label="All parameters",
                checked=look.everything,
                size="xs",
                className="tb-with-all",
            ),
            html.Div(_shortcuts(site, snapshot, run, look), id="with-links", className="tb-links"),
        ],
        className="tb-controls",
    )


def _shortcuts(site: Site, snapshot: Snapshot, run: Run, look: Look) -> list[Any]:
    changes = _known_changes(site.logs, run)
    return [
        html.A(
            word,
            href=f"?{look.query(others)}",
            className="tb-link",
            **dashed(data_with=json.dumps(others)),
        )
        for word, others in shortcuts(snapshot, run, look, changes)
    ]


def _beside(snapshot: Snapshot, run: Run, look: Look) -> list[Any]:
    """The card that compares; nothing as long as there is nobody to compare with."""
    beside = Beside.of(snapshot, run, look.others)
    notes = [html.P(note) for note in beside.notes]
    parts: list[Any] = [dmc.Alert(notes, color="yellow", className="tb-notes")] if notes else []
    if beside.others:
        parts.append(beside_table(beside, everything=look.everything))
    return [card("Side by side", parts)] if parts else []


def _figure(site: Site, snapshot: Snapshot, run: Run, look: Look) -> dict[str, Any]:
    others = Beside.of(snapshot, run, look.others).others
    return run_figure(site.reader, snapshot, run, look, _known_changes(site.logs, run), others)


def _known_changes(logs: Logs, run: Run) -> list[Change]:
    """The changes of a configuration; the log is read only where the run says that there are."""
    return logs.life(run).changes if "exploit" in run.meta else life_of(run, ()).changes


def _fresh(site: Site, where: Mapping[str, str]) -> tuple[Any, Any, Any]:
    """What may have changed on the page: head, parameters, results.

    Raises:
        NotFoundError: The sweep or the run is gone.
    """
    snapshot = site.reader.snapshot(where["sweep"])
    run = _run_in(snapshot, where["run"])
    return run_head(snapshot, run), _parameters(snapshot, run), _results(site, snapshot, run)


def _story(site: Site, where: Mapping[str, str]) -> tuple[Any, Any]:
    """What the log says of the run: the decision; changes, life and files.

    Raises:
        NotFoundError: The sweep or the run is gone.
    """
    run = _run_in(site.reader.snapshot(where["sweep"]), where["run"])
    life = site.logs.life(run)
    story = [
        *changes_card(run, life.changes),
        *files_card(site.files, run, life),
        *life_card(run, life),
    ]
    return decision_part(run, life.decision), story


def add(app: Dash, site: Site) -> None:
    """Wires the page up."""
    _add_parts(app, site)
    _add_curves(app, site)
    _add_beside(app, site)


def _add_parts(app: Dash, site: Site) -> None:
    @app.callback(
        Output("run-head", "children"),
        Output("run-parameters", "children"),
        Output("run-results", "children"),
        Input("version", "data"),
        State("run", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def again(_: Any, where: dict[str, str]) -> Any:
        return _fresh(site, where)

    @app.callback(
        Output("run-decision", "children"),
        Output("run-story", "children"),
        Input("version", "data"),
        State("run", "data"),
    )
    @threaded
    def told(_: Any, where: dict[str, str]) -> Any:
        return _story(site, where)

    @app.callback(
        Output("run-output", "children"),
        Output("run-output-size", "data"),
        Input("beat", "data"),
        State("run", "data"),
        State("run-output-size", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def printed(_: Any, where: dict[str, str], known: int) -> Any:
        if site.files is None:
            raise PreventUpdate
        content, size = output_part(site.files, site.reader.backend.run(where["run"]))
        if size == known:
            raise PreventUpdate
        return content, size

    client(app, "followOutput", Input("run-output-size", "data"))


def _add_curves(app: Dash, site: Site) -> None:
    @app.callback(
        Output("run-curves", "figure"),
        Input("version", "data"),
        Input("y", "value"),
        Input("x", "value"),
        Input("smooth", "value"),
        Input("run-log", "checked"),
        Input("scheme", "data"),
        Input("with", "value"),
        State("run", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def drawn(
        _: Any, y: Any, x: Any, smooth: Any, log: Any, scheme: Any, others: Any, where: Any
    ) -> Any:
        snapshot = site.reader.snapshot(where["sweep"])
        look = Look.made(y, x, smooth, log, scheme, others)
        return _figure(site, snapshot, _run_in(snapshot, where["run"]), look)

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


def _add_beside(app: Dash, site: Site) -> None:
    @app.callback(
        Output("run-beside", "children"),
        Output("with-links", "children"),
        Input("version", "data"),
        Input("with", "value"),
        Input("with-all", "checked"),
        State("run", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def compared(_: Any, others: Any, everything: Any, where: dict[str, str]) -> Any:
        snapshot = site.reader.snapshot(where["sweep"])
        run = _run_in(snapshot, where["run"])
        look = Look.made((), None, 0, False, None, others, everything)
        return _beside(snapshot, run, look), _shortcuts(site, snapshot, run, look)

    @app.callback(
        Output("with", "data"),
        Input("with", "searchValue"),
        Input("with", "value"),
        State("run", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def offered(words: Any, others: Any, where: dict[str, str]) -> Any:
        snapshot = site.reader.snapshot(where["sweep"])
        return found(snapshot, _run_in(snapshot, where["run"]), str(words or ""), others or ())

    client(
        app,
        "rememberWith",
        Output("with-remembered", "data"),
        Input("with", "value"),
        Input("with-all", "checked"),
    )
