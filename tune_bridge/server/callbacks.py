"""What happens on every page: it is made, it polls, and its panels follow what is new."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from dash import Dash, Input, Output, State, html, no_update
from dash.exceptions import PreventUpdate

from tune_bridge.errors import BackendError, NotFoundError
from tune_bridge.server import compare_page, run_page, sweep_list, sweep_page
from tune_bridge.server.addresses import Address, scheme_of
from tune_bridge.server.analysis import page as analysis_page
from tune_bridge.server.choices import said
from tune_bridge.server.shell import UNREAD, away_page, missing_page
from tune_bridge.server.site import Made, Site, client, threaded
from tune_bridge.server.views import Reader

__all__ = ["add_callbacks", "make_page"]

_PAGES: dict[str, ModuleType] = {
    "sweeps": sweep_list,
    "compare": compare_page,
    "sweep": sweep_page,
    "analysis": analysis_page,
    "run": run_page,
}
"""`Address.page` -> the module that makes it; see `tune_bridge.server.site`."""


_AWAY = "away"
"""The version of a page that could not be made: every other one is news."""


def make_page(site: Site, path: str, search: str, scheme: Any) -> Made:
    """The page at an address."""
    address = Address.of(path)
    if address.page not in _PAGES:
        return Made(missing_page("There is no page at this address."), "", "Nothing here")
    try:
        made: Made = _PAGES[address.page].page(site, address, search, scheme_of(scheme))
    except NotFoundError:
        message = f"There is no sweep {address.sweep!r}. It may have been deleted."
        return Made(missing_page(message), "", "No such sweep")
    except BackendError as error:
        return Made(away_page(str(error)), _AWAY, "The sweeps cannot be read")
    return made


def add_callbacks(app: Dash, site: Site) -> None:
    """Wires the pages up."""
    _add_page(app, site)
    for module in _PAGES.values():
        module.add(app, site)
    _add_clientside(app)


def _add_page(app: Dash, site: Site) -> None:
    @app.callback(
        Output("page", "children"),
        Output("tick", "data"),
        Output("title", "data"),
        Input("where", "data"),
        prevent_initial_call=True,
    )
    @threaded
    def render(where: dict[str, Any]) -> Any:
        path, search = str(where["path"]), str(where.get("search") or "")
        content, version, title = make_page(site, path, search, where.get("scheme"))
        try:
            runs = version != _AWAY and _has_runs(site.reader, path)
        except BackendError:  # the page itself was still read
            runs = False
        return content, {"path": path, "version": version, "runs": runs}, title

    @app.callback(
        Output("odd", "children"),
        Input("address", "pathname"),
        Input("address", "search"),
    )
    @threaded
    def odd(path: str | None, search: str | None) -> Any:
        try:
            found = said(site.reader, path or "/", search) if search else []
        except NotFoundError:  # the page says so
            found = []
        return [html.P(sentence) for sentence in found]

    @app.callback(
        Output("tick", "data", allow_duplicate=True),
        Output("where", "data", allow_duplicate=True),
        Output("away", "children"),
        Input("beat", "data"),
        State("tick", "data"),
        State("where", "data"),
        State("away", "children"),
        prevent_initial_call=True,
    )
    @threaded
    def poll(
        beat: dict[str, Any], tick: dict[str, Any] | None, where: dict[str, Any], away: str | None
    ) -> Any:
        if tick is None or tick["path"] != where["path"] or not tick["version"]:
            raise PreventUpdate
        path = tick["path"]
        sweep_id = Address.of(path).sweep
        try:
            version = site.reader.version(sweep_id)
            if version == tick["version"] and not away:
                raise PreventUpdate
            runs = _has_runs(site.reader, path)
        except NotFoundError:  # deleted: the page says so
            version, runs = "", False
        except BackendError as error:
            if away or tick["version"] == _AWAY:
                raise PreventUpdate from None
            return no_update, no_update, f"{UNREAD} ({error})"
        if away or not version or runs != tick["runs"] or not runs:
            return no_update, {**where, "search": beat["search"], "again": beat["count"]}, ""
        return {"path": path, "version": version, "runs": runs}, no_update, no_update


def _has_runs(reader: Reader, path: str) -> bool:
    """Whether there is something to show: runs of the sweep, or sweeps."""
    sweep_id = Address.of(path).sweep
    if sweep_id is None:
        return bool(reader.backend.sweeps(limit=1))
    return bool(reader.backend.counts([sweep_id]).get(sweep_id))


def _add_clientside(app: Dash) -> None:
    client(app, "where", Output("where", "data"), Input("address", "pathname"))
    client(
        app,
        "beat",
        Output("beat", "data"),
        Input("clock", "n_intervals"),
        prevent_initial_call=True,
    )
    client(app, "scheme", Output("scheme", "data"), Input("address", "pathname"))
    client(app, "title", Input("title", "data"), prevent_initial_call=True)
    client(
        app,
        "version",
        Output("version", "data"),
        Input("tick", "data"),
        State("version", "data"),
        prevent_initial_call=True,
    )
