"""What happens on the pages: they are made, they poll, their panels follow the reader's choices."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from dash import ClientsideFunction, Dash, Input, Output, State, no_update
from dash.exceptions import PreventUpdate

from tune_bridge.errors import NotFoundError, TuneBridgeError
from tune_bridge.server import pages
from tune_bridge.server.addresses import Address
from tune_bridge.server.analysis.analyst import Analyst
from tune_bridge.server.analysis.page import FIGURES, View, advice, analysis_page, draw, says
from tune_bridge.server.control import Control
from tune_bridge.server.run_page import Look, fresh, run_figure, run_page
from tune_bridge.server.state import Choices, top_of
from tune_bridge.server.store import Store
from tune_bridge.server.sweep_page import (
    curve_figure,
    metric_options,
    parallel_figure,
    sweep_page,
    table_columns,
)
from tune_bridge.server.table import rows
from tune_bridge.server.views import KINDS, Reader, select

__all__ = ["add_callbacks"]


def _threaded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a callback in a thread, so that the backend's work does not hold up other requests."""

    @functools.wraps(function)
    async def run(*args: Any) -> Any:
        return await asyncio.to_thread(function, *args)

    return run


def _choices(metric: Any, log: Any, show: Any, top: Any, scheme: Any = None) -> Choices:
    return Choices(
        metric=metric if isinstance(metric, str) else None,
        log=bool(log),
        show=tuple(kind for kind in show or () if kind in KINDS),
        top=top_of(top),
        scheme="dark" if scheme == "dark" else "light",
    )


def make_page(
    reader: Reader,
    store: Store | None,
    analyst: Analyst,
    path: str,
    search: str,
    scheme: str | None,
) -> tuple[Any, str, str]:
    """The content, the version and the title of the page at an address."""
    address = Address.of(path)
    if address.page == "sweeps":
        version = reader.backend.version()
        query = {key: values[-1] for key, values in parse_qs(search.lstrip("?")).items()}
        given, words = query.get("offset", "0"), query.get("q", "")
        offset = int(given) if given.isascii() and given.isdigit() and len(given) < 9 else 0
        lines = reader.overviews(pages.PAGE_SIZE, offset, words)
        content = pages.sweeps_page(lines, offset, words)
        return content, version, "Sweeps · tune-bridge"
    if address.sweep is None:
        return pages.missing_page("There is no page at this address."), "", "Nothing here"
    try:
        if address.run is not None:
            look = Look.of(search, scheme)
            return run_page(reader, store, address.sweep, address.run, look)
        snapshot = reader.snapshot(address.sweep)
        if address.page == "analysis":
            view = View.of(search, scheme)
            title = f"{snapshot.sweep.name or snapshot.sweep.id}: analysis"
            return analysis_page(snapshot, view, analyst), snapshot.version, title
    except NotFoundError:
        message = f"There is no sweep {address.sweep!r}. It may have been deleted."
        return pages.missing_page(message), "", "No such sweep"
    content = sweep_page(reader, snapshot, Choices.of(search, scheme))
    title = f"{snapshot.sweep.name or snapshot.sweep.id} · tune-bridge"
    return content, snapshot.version, title


def add_callbacks(app: Dash, reader: Reader, analyst: Analyst, control: Control | None) -> None:
    """Wires the pages up."""
    store = None if control is None else control.store
    _add_page(app, reader, store, analyst)
    _add_list(app, reader)
    _add_analysis(app, reader, analyst)
    _add_panels(app, reader)
    _add_run(app, reader, store)
    _add_clientside(app)


def _add_page(app: Dash, reader: Reader, store: Store | None, analyst: Analyst) -> None:
    @app.callback(
        Output("page", "children"),
        Output("tick", "data"),
        Output("title", "data"),
        Input("where", "data"),
        prevent_initial_call=True,
    )
    @_threaded
    def render(where: dict[str, Any]) -> Any:
        path, search = str(where["path"]), str(where.get("search") or "")
        content, version, title = make_page(
            reader, store, analyst, path, search, where.get("scheme")
        )
        return content, {"path": path, "version": version, "runs": _has_runs(reader, path)}, title

    @app.callback(
        Output("tick", "data", allow_duplicate=True),
        Output("where", "data", allow_duplicate=True),
        Input("beat", "data"),
        State("tick", "data"),
        State("where", "data"),
        prevent_initial_call=True,
    )
    @_threaded
    def poll(_: Any, tick: dict[str, Any] | None, where: dict[str, Any]) -> Any:
        if tick is None or tick["path"] != where["path"] or not tick["version"]:
            raise PreventUpdate
        path = tick["path"]
        sweep_id = Address.of(path).sweep
        try:
            version = reader.backend.version(sweep_id)
        except NotFoundError:  # deleted: the page says so
            version = ""
        except TuneBridgeError:  # the backend is away for a moment
            raise PreventUpdate from None
        if version == tick["version"]:
            raise PreventUpdate
        runs = _has_runs(reader, path)
        if not version or runs != tick["runs"] or not runs:
            return no_update, {**where, "again": version}
        return {"path": path, "version": version, "runs": runs}, no_update


def _has_runs(reader: Reader, path: str) -> bool:
    """Whether there is something to show: runs of the sweep, or sweeps."""
    sweep_id = Address.of(path).sweep
    if sweep_id is None:
        return bool(reader.backend.sweeps(limit=1))
    return bool(reader.backend.counts([sweep_id]).get(sweep_id))


def _add_panels(app: Dash, reader: Reader) -> None:
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
    @_threaded
    def head(_: Any, sweep_id: str, show: Any) -> Any:
        snapshot = reader.snapshot(sweep_id)
        choices = _choices(None, False, show, None)
        return (
            pages.sweep_head(snapshot),
            pages.chips(snapshot, choices),
            metric_options(snapshot),
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
    @_threaded
    def table(_: Any, show: Any, top: Any, sweep_id: str, known: list[dict[str, Any]]) -> Any:
        snapshot = reader.snapshot(sweep_id)
        choices = _choices(None, False, show, top)
        made = table_columns(snapshot, choices)
        same = [(one["field"], one["filter"]) for one in made] == [
            (one.get("field"), one.get("filter")) for one in known or ()
        ]
        return (
            rows(snapshot, select(snapshot, choices.show, choices.top)),
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
    @_threaded
    def parallel(_: Any, *values: Any) -> Any:
        *chosen, sweep_id = values
        return parallel_figure(reader.snapshot(sweep_id), _choices(*chosen))

    @app.callback(
        Output("curves", "figure"),
        Input("version", "data"),
        *follow,
        Input("scheme", "data"),
        State("sweep", "data"),
        prevent_initial_call=True,
    )
    @_threaded
    def lines(_: Any, *values: Any) -> Any:
        *chosen, sweep_id = values
        return curve_figure(reader, reader.snapshot(sweep_id), _choices(*chosen))

    @app.callback(
        Output("details", "opened"),
        Output("details", "title"),
        Output("details", "children"),
        Input("runs", "selectedRows"),
        Input("version", "data"),
        prevent_initial_call=True,
    )
    @_threaded
    def details(selected: Any, _: Any) -> Any:
        if not isinstance(selected, list) or not selected:
            return False, no_update, no_update
        try:
            run = reader.backend.run(selected[0]["id"])
        except NotFoundError:
            return False, no_update, no_update
        return True, run.name or run.id, pages.run_details(run)


def _add_list(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output("sweeps-list", "children"),
        Input("search", "value"),
        Input("tick", "data"),
        State("offset", "data"),
        prevent_initial_call=True,
    )
    @_threaded
    def found(words: Any, tick: Any, offset: int) -> Any:
        if not tick or tick["path"] != "/":
            raise PreventUpdate
        shown = str(words or "")
        lines = reader.overviews(pages.PAGE_SIZE, offset, shown)
        return pages.sweeps_list(lines, offset, shown)


def _add_analysis(app: Dash, reader: Reader, analyst: Analyst) -> None:
    chosen = [
        Input("analysis-metric", "value"),
        Input("other", "value"),
        Input("measure", "value"),
        Input("pair-one", "value"),
        Input("pair-two", "value"),
        Input("analysis-log", "checked"),
        Input("scheme", "data"),
    ]

    def add(name: str) -> None:
        @app.callback(
            Output(f"analysis-{name}", "figure"),
            Input("version", "data"),
            *chosen,
            State("analysed", "data"),
        )
        @_threaded
        def drawn(_: Any, *values: Any) -> Any:
            *names, log, scheme, sweep_id = values
            view = View.made(*names, log=log, scheme=scheme)
            return draw(name, reader.snapshot(sweep_id), view, analyst)

    for name in FIGURES:
        add(name)

    @app.callback(
        Output("advice", "children"),
        Input("version", "data"),
        Input("analysis-metric", "value"),
        State("analysed", "data"),
    )
    @_threaded
    def advised(_: Any, metric: Any, sweep_id: str) -> Any:
        return advice(reader.snapshot(sweep_id), metric, analyst)

    @app.callback(
        Output("measure-says", "children"), Input("measure", "value"), prevent_initial_call=True
    )
    def explained(kind: Any) -> str:
        return says(kind)


def _add_run(app: Dash, reader: Reader, store: Store | None) -> None:
    @app.callback(
        Output("run-head", "children"),
        Output("run-parameters", "children"),
        Output("run-results", "children"),
        Output("run-output", "children"),
        Input("version", "data"),
        State("run", "data"),
        prevent_initial_call=True,
    )
    @_threaded
    def again(_: Any, where: dict[str, str]) -> Any:
        return fresh(reader, store, where)

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
    @_threaded
    def drawn(_: Any, y: Any, x: Any, smooth: Any, log: Any, scheme: Any, where: Any) -> Any:
        snapshot = reader.snapshot(where["sweep"])
        look = Look.made(y, x, smooth, log, scheme)
        return run_figure(reader, snapshot, reader.backend.run(where["run"]), look)


def _add_clientside(app: Any) -> None:
    def client(name: str, *parts: Any, **more: Any) -> None:
        app.clientside_callback(ClientsideFunction("tune_bridge", name), *parts, **more)

    client("where", Output("where", "data"), Input("address", "pathname"))
    client(
        "beat",
        Output("beat", "data"),
        Input("clock", "n_intervals"),
        prevent_initial_call=True,
    )
    client("scheme", Output("scheme", "data"), Input("address", "pathname"))
    client("title", Input("title", "data"), prevent_initial_call=True)
    client(
        "version",
        Output("version", "data"),
        Input("tick", "data"),
        State("version", "data"),
        prevent_initial_call=True,
    )
    client(
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
    client(
        "rememberRun",
        Output("run-remembered", "data"),
        Input("y", "value"),
        Input("x", "value"),
        Input("smooth", "value"),
        Input("run-log", "checked"),
        State("y", "data"),
    )
    client(
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
    client(
        "rememberSearch",
        Output("searched", "data"),
        Input("search", "value"),
        prevent_initial_call=True,
    )
    client("closed", Input("details", "opened"), prevent_initial_call=True)
