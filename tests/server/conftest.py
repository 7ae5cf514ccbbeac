"""A backend with sweeps in it, the application over it, a real server and a real browser."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tune_bridge.backends.local import LocalBackend
from tune_bridge.server import create_app


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    with LocalBackend.open(str(tmp_path / "sweeps.db")) as opened:
        yield opened


@pytest.fixture
def client(backend):
    from starlette.testclient import TestClient

    with contextlib.closing(TestClient(create_app(backend), "http://localhost")) as made:
        yield made


@pytest.fixture
def caller(backend, tmp_path):
    """An application over `backend` that also steers its sweeps, asked as agents do."""
    from tests.server.control_client import Client

    made = Client(backend, tmp_path)
    with made.http:
        yield made


@pytest.fixture
def control(backend: LocalBackend, tmp_path: Path):
    """What steers the sweeps of `backend`, for the pages."""
    from tune_bridge.controller import Controller
    from tune_bridge.server.control import Control
    from tune_bridge.server.store import Store

    return Control(Controller(backend), Store(tmp_path / "files"))


@pytest.fixture
def address(backend: LocalBackend, control) -> Iterator[str]:
    """The address of a real server over `backend`, polling four times a second."""
    with serving(create_app(backend, poll=0.25, control=control)) as at:
        yield at


@contextlib.contextmanager
def serving(app, port: int = 0) -> Iterator[str]:
    """The address of a real server with an application; it ends with the block."""
    import uvicorn

    with socket.create_server(("127.0.0.1", port)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app, lifespan="off", ws="none", log_level="warning", access_log=False)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture
def page(chromium, address: str) -> Iterator:
    """A page that fails its test for an error in the console or a request to anybody else."""
    context = chromium.new_context(base_url=address, viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    problems: list[str] = []
    own = (f"{address}/", "data:", "blob:")
    opened.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("request", lambda r: None if r.url.startswith(own) else problems.append(r.url))
    opened.on("websocket", lambda socket: problems.append(socket.url))
    yield opened
    context.close()
    assert problems == []
