"""The ASGI application: FastAPI with the JSON twins, Dash on the same server for the pages.

Dash serves one document at ``/`` and draws the page for the address in the browser. `Documents`
gives every address of a page that document (see `document`), with the status that fits, so that an
unknown sweep is a real 404.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tune_bridge import __version__
from tune_bridge.backends.base import Backend
from tune_bridge.errors import NotFoundError, TuneBridgeError
from tune_bridge.server.addresses import Address
from tune_bridge.server.analysis.analyst import Analyst
from tune_bridge.server.api import add_api, add_missing
from tune_bridge.server.callbacks import add_callbacks, make_page
from tune_bridge.server.choices import checked
from tune_bridge.server.compression import Compressed
from tune_bridge.server.control import Control
from tune_bridge.server.document import Pages, content_policy
from tune_bridge.server.keys import Keys
from tune_bridge.server.run_api import add_run_api
from tune_bridge.server.run_files import RunFiles
from tune_bridge.server.run_life import Logs
from tune_bridge.server.security import Guard, check_bind
from tune_bridge.server.shell import shell
from tune_bridge.server.site import Site
from tune_bridge.server.verbs import add_verbs
from tune_bridge.server.views import Reader

__all__ = ["build"]

_SERVED = (
    "/api/", "/assets/", "/_dash-", "/_reload-hash", "/_favicon.ico", "/login", "/wandb/", "/sdk/",
    "/artifactsV2/",
)  # fmt: skip
_WANDB = re.compile(r"/[^/]+/[^/]+/(runs|sweeps)/[^/]+")
"""Addresses that the wandb client prints; they lead on to ours."""

_ASIDE = 4
"""Pages that are made at once before they are asked for."""


class Documents:
    """Serves Dash's document at the address of every page.

    Args:
        app: The application, with the document at ``/``.
        backend: Knows which sweeps there are.
        make: Makes the page at a path with a query. What it reads for that is kept, so it is begun
            with the document, while the browser still reads programs.
    """

    def __init__(self, app: ASGIApp, backend: Backend, make: Callable[[str, str], Any]) -> None:
        self._app = app
        self._backend = backend
        self._make = make
        self._begun: dict[str, asyncio.Task[Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        path = scope.get("path", "")
        if (
            scope["type"] != "http"
            or scope["method"] not in ("GET", "HEAD")
            or path in ("/", "/api")
            or path.startswith(_SERVED)
            or (_WANDB.fullmatch(path) and Address.of(path).page == "missing")
        ):
            await self._app(scope, receive, send)
            return
        status = await asyncio.to_thread(self._status, path)
        if status == 200 and scope["method"] == "GET":
            self._begin(path, scope.get("query_string", b"").decode("ascii", "replace"))

        async def send_status(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                message = {**message, "status": status}
            await send(message)

        await self._app({**scope, "path": "/", "raw_path": b"/"}, receive, send_status)

    def _begin(self, path: str, query: str) -> None:
        """Makes a page aside, once for all who ask for it at the same time."""
        if path not in self._begun and len(self._begun) < _ASIDE:
            task = asyncio.create_task(asyncio.to_thread(self._make, path, f"?{query}"))
            self._begun[path] = task
            task.add_done_callback(lambda _: self._begun.pop(path))

    def _status(self, path: str) -> int:
        address = Address.of(path)
        if address.sweep is None:
            return 404 if address.page == "missing" else 200
        try:
            self._backend.sweep(address.sweep)
            if address.run is not None and self._backend.run(address.run).sweep_id != address.sweep:
                return 404
        except NotFoundError:
            return 404
        except TuneBridgeError:
            return 503
        return 200


def build(
    backend: Backend,
    *,
    host: str,
    key: str | None,
    own_key: str | None,
    poll: float,
    control: Control | None = None,
) -> FastAPI:
    """Makes the application; see `tune_bridge.server.create_app`."""
    keys = Keys(backend, key, own_key)
    check_bind(host, key, kept=keys.needed)
    reader = Reader(backend)
    app = FastAPI(
        title="tune-bridge",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        dependencies=[Depends(checked(reader))],
    )
    logs = Logs(backend)
    analyst = Analyst(backend, logs)
    files = None if control is None else RunFiles(control, logs)
    add_run_api(app, reader, logs, files)
    add_api(app, reader, analyst)
    if control is not None:
        control.attach(app)
    add_missing(app)
    server: Any = app  # Dash's annotation knows Flask only
    dash = Pages(server)
    dash.layout = shell(poll, steers=control is not None)
    site = Site(reader, analyst, logs, files)
    add_callbacks(dash, site)
    add_verbs(dash, control)
    hashes: Any = dash.csp_hashes()
    app.add_middleware(
        Documents, backend=backend, make=lambda path, query: make_page(site, path, query, None)
    )
    app.add_middleware(Compressed)
    app.add_middleware(Guard, host=host, keys=keys, policy=content_policy(list(hashes)))
    return app
