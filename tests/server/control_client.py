"""An application with a controller, and requests to it as agents send them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from tune_bridge.backends.local import LocalBackend
from tune_bridge.controller import Controller
from tune_bridge.server import create_app
from tune_bridge.server.control import Control
from tune_bridge.server.store import Limits, Store

CONFIG = {
    "method": "random",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}},
    "run_cap": 3,
}
LIMITS = Limits(body=100_000, chunk=1_000, output=1_500, checkpoint=5_000)


class Client:
    """The application of a place, without a network between."""

    def __init__(self, backend: LocalBackend, folder: Path, **more: Any) -> None:
        self.folder = folder
        self.controller = Controller(backend, folder / "snapshots")
        self.control = control = Control(self.controller, Store(folder, LIMITS), "here")
        app = create_app(backend, control=control, **more)
        self.http = TestClient(app, "http://localhost", raise_server_exceptions=False)

    def post(self, path: str, body: Any, **more: Any) -> Any:
        """The answer to a JSON body."""
        return self.http.post(path, content=json.dumps(body).encode(), **more)

    def sweep(self, **more: Any) -> str:
        """A new sweep."""
        answer = self.post("/api/sweeps", {"config": {**CONFIG, **more}, "seed": 1})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def claim(self, sweep: str, request: str = "r", agent: str = "a", **more: Any) -> Any:
        """The answer to a claim."""
        body = {"agent": agent, "host": "h", "request": request, **more}
        return self.post(f"/api/sweeps/{sweep}/claims", body).json()
