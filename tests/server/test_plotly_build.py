"""Our part of Plotly: it has what is drawn, and pages and bundles use it and nothing else."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

pytest.importorskip("dash")

from plotly import validator_cache
from plotly.offline import get_plotlyjs_version

from tests.server.seed import make_sweep
from tune_bridge.server import plotly_build

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "tune_bridge" / "server"


def known() -> set[str]:
    """All the types of traces that there are."""
    return set(validator_cache.ValidatorCache.get_validator("", "data").class_strs_map)


def drawn() -> dict[str, set[str]]:
    """Types of traces in our sources -> the files that draw them."""
    found: dict[str, set[str]] = {}
    for path in SERVER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Dict):
                continue
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "type":
                    for part in ast.walk(value):
                        if isinstance(part, ast.Constant) and isinstance(part.value, str):
                            found.setdefault(part.value, set()).add(path.name)
    return {kind: files for kind, files in found.items() if kind in known()}


def test_every_trace_that_is_drawn_is_in_it():
    there = plotly_build.about().traces
    assert there <= known()
    used = drawn()
    assert {"scatter", "parcoords", "splom", "contour", "bar"} <= set(used)
    assert {kind: files for kind, files in used.items() if kind not in there} == {}
    assert there - set(used) == set(), "what is drawn no more can be left out"


def test_its_version():
    """The one that is pinned; and of the same major version as the one that Dash was made for."""
    version = plotly_build.about().version
    pinned = json.loads((ROOT / "tools" / "plotly" / "package.json").read_text("utf-8"))
    assert version == pinned["devDependencies"]["plotly.js"]
    assert version.split(".")[0] == get_plotlyjs_version().split(".")[0]


def test_its_licences():
    head, _, program = plotly_build.source().partition("*/\n")
    assert "MIT License" in head
    assert "Plotly Technologies Inc." in head
    assert program.startswith("var Plotly=")
    licences = (SERVER / "assets" / "plotly.licenses.txt").read_text("utf-8")
    parts = re.findall(r"[\w@/.-]+ [\w.]+ \([^)]+\)", head.partition("It contains: ")[2])
    assert len(parts) > 50
    assert [part for part in parts if part not in licences] == []
    assert "MIT License" in (SERVER / "assets" / "regenerator.js").read_text("utf-8")[:200]


def test_it_is_kept_by_readers(client):
    text = client.get("/").text
    assert f'data-plotly="{plotly_build.address()}"' in text
    found = client.get(plotly_build.address())
    assert "immutable" in found.headers["cache-control"]
    assert found.content == plotly_build.source().encode()


LARGEST = 1_950_000
"""Bytes of a first visit, everything counted but the data of more runs (0.1 MB for 10,000)."""


@pytest.mark.browser
@pytest.mark.slow
def test_a_first_visit(chromium, backend, address):
    """What a page with drawings sends to a new reader over a network without TLS: gzip."""
    make_sweep(backend, 60)
    context = chromium.new_context(base_url=address, extra_http_headers={"Accept-Encoding": "gzip"})
    page = context.new_page()
    page.set_default_timeout(60_000)
    problems: list[str] = []
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    urls: dict[str, str] = {}
    sent: dict[str, int] = {}
    session = context.new_cdp_session(page)
    session.on(
        "Network.requestWillBeSent", lambda e: urls.update({e["requestId"]: e["request"]["url"]})
    )
    session.on(
        "Network.loadingFinished",
        lambda e: sent.update({e["requestId"]: int(e["encodedDataLength"])}),
    )
    session.send("Network.enable")
    page.goto("/sweeps/abcd1234")
    for there in (".ag-row .ag-cell-value", "#parallel .parcoords .y-axis", "#curves .main-svg"):
        page.wait_for_selector(there, state="attached")
    traces = page.evaluate("[Plotly.version, ...Object.keys(Plotly.PlotSchema.get().traces)]")
    context.close()
    version, kinds = plotly_build.about()
    assert (traces[0], set(traces[1:])) == (version, kinds)
    asked = {url for url in urls.values() if "plotly" in url}
    assert asked == {f"{address}{plotly_build.address()}"}
    assert not [
        url
        for url in urls.values()
        if url.endswith(".map") or "dash_table" in url or "polyfill" in url
    ]
    sizes = {urls[key].rsplit("/", 1)[-1]: size for key, size in sent.items()}
    assert 1_500_000 < sum(sent.values()) < LARGEST, sizes
    assert problems == []
