"""What is done with the document of a page."""

from __future__ import annotations

import queue

import pytest

from tests.server.seed import make_sweep

pytest.importorskip("dash")

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tune_bridge.server.app import Documents


def test_a_page_is_begun_with_its_document(backend) -> None:
    make_sweep(backend, 3)
    begun: queue.Queue[tuple[str, str]] = queue.Queue()
    app = Documents(
        Starlette(routes=[Route("/", lambda _: PlainTextResponse("the document"))]),
        backend,
        lambda path, query: begun.put((path, query)),
    )
    with TestClient(app, "http://localhost") as client:
        assert client.get("/sweeps/none0000").status_code == 404
        assert client.head("/sweeps/abcd1234").status_code == 200
        assert client.get("/sweeps/abcd1234?top=2").text == "the document"
        assert begun.get(timeout=60) == ("/sweeps/abcd1234", "?top=2")
    assert begun.empty()
