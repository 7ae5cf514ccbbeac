"""Compressed answers: the same content, and only where nobody waits for it bit by bit."""

from __future__ import annotations

import gzip
import json
import re

import pytest

from tests.server.seed import make_sweep

pytest.importorskip("dash")

import brotli
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tune_bridge.server.compression import Compressed

LONG = {"values": list(range(5000))}


def _get(client, path: str, **headers: str):
    return client.get(path, headers={"Accept-Encoding": "gzip", **headers})


@pytest.mark.parametrize("path", ["/sweeps/abcd1234", "/api/sweeps/abcd1234/runs"])
def test_pages_and_data(client, backend, path):
    make_sweep(backend, 60)
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    found = _get(client, path)
    assert "content-encoding" not in plain.headers
    assert found.headers["content-encoding"] == "gzip"
    assert found.headers["vary"] == "Accept-Encoding"
    assert int(found.headers["content-length"]) < len(plain.content) / 2
    one, other = (re.sub(r'"end_id":"[^"]*"', "", text) for text in (found.text, plain.text))
    same = one == other  # but for a mark that Dash draws for each document
    assert same
    assert found.headers["content-security-policy"] == plain.headers["content-security-policy"]


def test_small_answers_are_left_alone(client, backend):
    make_sweep(backend, 0)
    assert "content-encoding" not in _get(client, "/api/runs/nope").headers


def test_what_a_page_is_told(client, backend):
    """The answers to a page's questions have no type of content."""
    make_sweep(backend, 60)
    asked = client.get("/_dash-dependencies").json()
    render = next(one for one in asked if "page.children" in one["output"])
    where = {"path": "/sweeps/abcd1234", "search": "", "scheme": "light"}
    body = {
        "output": render["output"],
        "outputs": [
            dict(zip(("id", "property"), name.split("."), strict=True))
            for name in render["output"].strip(".").split("...")
        ],
        "inputs": [{"id": "where", "property": "data", "value": where}],
        "changedPropIds": ["where.data"],
        "state": [],
    }
    found = client.post("/_dash-update-component", json=body, headers={"Accept-Encoding": "gzip"})
    assert found.status_code == 200
    assert found.headers["content-encoding"] == "gzip"
    assert "response" in found.json()


def test_programs_are_kept_by_readers(client):
    page = _get(client, "/").text
    program = re.search(r'"(/_dash-component-suites/[^"]*dash_renderer[^"]*)"', page)
    asset = re.search(r'"(/assets/base\.js\?m=[^"]*)"', page)
    assert program is not None
    assert asset is not None
    for path in (program[1], asset[1]):
        found = _get(client, path)
        assert found.headers["content-encoding"] == "gzip"
        assert "immutable" in found.headers["cache-control"]
    part = "/_dash-component-suites/dash/dcc/async-graph.js"
    found = _get(client, part)
    assert found.headers["cache-control"] == "no-cache"
    again = _get(client, part, **{"If-None-Match": found.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.fixture
def raw(tmp_path):
    """What goes over the wire, for answers of each kind."""
    (tmp_path / "log.txt").write_text("line\n" * 40_000)

    async def bits():
        for number in range(100):
            yield f"line {number}\n" * 100

    def answer(request: Request) -> Response:
        kind = request.path_params["kind"]
        if kind == "stream":
            return StreamingResponse(bits(), media_type="text/plain")
        if kind == "file":
            return FileResponse(tmp_path / "log.txt")
        if kind == "picture":
            return Response(b"\0" * 5000, media_type="image/png")
        if kind == "update-component":  # as Dash answers: without a type
            return Response(json.dumps(LONG))
        if kind == "error":
            return JSONResponse(LONG, 500)
        return JSONResponse(LONG)

    paths = ["/api/{kind}", "/graphql/{kind}", "/_dash-{kind}"]
    app = Starlette(routes=[Route(path, answer, methods=["GET", "POST"]) for path in paths])
    app.add_middleware(Compressed)
    return TestClient(app)


@pytest.mark.parametrize(
    ("method", "path", "packed"),
    [
        ("GET", "/api/json", True),
        ("POST", "/_dash-update-component", True),
        ("GET", "/api/file", True),
        ("POST", "/api/json", False),
        ("GET", "/api/stream", False),
        ("GET", "/api/picture", False),
        ("GET", "/api/error", False),
        ("GET", "/graphql/json", False),
    ],
)
def test_which_answers(raw, method, path, packed):
    sent = raw.request(method, path, headers={"Accept-Encoding": "identity"}).content
    with raw.stream(method, path, headers={"Accept-Encoding": "gzip"}) as found:
        assert ("content-encoding" in found.headers) == packed
        wire = b"".join(found.iter_raw())
    assert (gzip.decompress(wire) if packed else wire) == sent


@pytest.mark.parametrize(
    ("offer", "way"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("BR ; q=0.1", "br"),
        ("gzip;q=0.000", None),
        ("deflate", None),
        ("", None),
    ],
)
def test_which_way(raw, offer, way):
    sent = raw.get("/api/json", headers={"Accept-Encoding": "identity"}).content
    with raw.stream("GET", "/api/json", headers={"Accept-Encoding": offer}) as found:
        assert found.headers.get("content-encoding") == way
        wire = b"".join(found.iter_raw())
    unpack = {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[way]
    assert unpack(wire) == sent


def test_each_way_of_a_program_is_kept(client):
    sizes = {}
    for _ in range(2):
        for way in ("identity", "gzip", "br"):
            found = client.get("/assets/plotly.js", headers={"Accept-Encoding": way})
            assert found.headers.get("content-encoding", "identity") == way
            assert len(found.content) > 1_000_000
            sizes.setdefault(way, set()).add(int(found.headers["content-length"]))
    assert {len(found) for found in sizes.values()} == {1}
    (plain,), (gzipped,), (small,) = sizes.values()
    assert small < gzipped < plain / 2
