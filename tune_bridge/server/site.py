"""What every page is made from, and what it is made into.

A page is a module with two functions: ``page(site, address, search, scheme)`` makes what stands at
an address, and ``add(app, site)`` wires up what happens on it.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from dash import ClientsideFunction, Dash
from dash.exceptions import PreventUpdate

from tune_bridge.errors import BackendError
from tune_bridge.server.analysis.analyst import Analyst
from tune_bridge.server.run_files import RunFiles
from tune_bridge.server.run_life import Logs
from tune_bridge.server.views import Reader

__all__ = ["Made", "Site", "client", "threaded"]


class Site(msgspec.Struct, frozen=True):
    """What pages read from.

    Attributes:
        reader: Snapshots of sweeps.
        analyst: What takes a while to compute.
        logs: What the logs of sweeps say of runs.
        files: Of runs, or None where the place has none.
    """

    reader: Reader
    analyst: Analyst
    logs: Logs
    files: RunFiles | None = None


class Made(NamedTuple):
    """A page.

    Attributes:
        content: Dash components.
        version: Of what it shows; it is looked at again when `Backend.version` says another one,
            and never when this is "".
        title: Of the browser's window.
    """

    content: Any
    version: str
    title: str


def threaded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a callback in a thread, so that the backend's work does not hold up other requests."""

    @functools.wraps(function)
    async def run(*args: Any) -> Any:
        try:
            return await asyncio.to_thread(function, *args)
        except BackendError:  # it is away: the page says so, and is drawn again when it is back
            raise PreventUpdate from None

    return run


def client(app: Dash, name: str, *parts: Any, **more: Any) -> None:
    """Wires up a function of ``window.dash_clientside.tune_bridge``."""
    wired: Any = app
    wired.clientside_callback(ClientsideFunction("tune_bridge", name), *parts, **more)
