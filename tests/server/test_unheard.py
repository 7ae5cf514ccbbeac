"""What readers see of an experiment whose program is not heard of any more."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("dash")

from tests.server.control_client import Client
from tune_bridge.backends import open_backend
from tune_bridge.backends.base import PatchSweep, PutRun, Run
from tune_bridge.cli.ls import _state
from tune_bridge.controller.liveness import sign, unheard_words
from tune_bridge.server.listing import Listing, find
from tune_bridge.server.sweep_list import sweeps_list
from tune_bridge.server.sweep_parts import sweep_head
from tune_bridge.server.verbs import run_verbs
from tune_bridge.server.views import Reader

WORDS = unheard_words(1.0)


@pytest.fixture
def backend(tmp_path):
    with open_backend(str(tmp_path / "sweeps.db")) as made:
        yield made


@pytest.fixture
def sweep(backend):
    """A sweep that was last heard of long ago."""
    made = backend.create_sweep(
        {"parameters": {"x": {"value": 1}}}, meta={"steered_by": "SweepScheduler", **sign(1.0)}
    )
    backend.apply([PutRun(Run(id="run0", sweep_id=made.id, state="running", created_at=1.0))])
    return made


def alive(backend, sweep) -> None:
    backend.apply([PatchSweep(sweep.id, {"meta": sign(4e9)}, 4e9)])


def dumped(content) -> str:
    return json.dumps(content, default=lambda part: part.to_plotly_json())


def disabled(content):
    """Each button's verb, and whether it cannot be pressed."""
    for part in content.values() if isinstance(content, dict) else content:
        if isinstance(part, dict) and "data-verb" in part:
            yield part["data-verb"], part["disabled"]
        if isinstance(part, dict | list):
            yield from disabled(part)


def test_the_page_says_so_and_its_buttons_wait(backend, sweep):
    reader = Reader(backend)
    snapshot = reader.snapshot(sweep.id)
    head = dumped(sweep_head(snapshot))
    assert "Not heard of since" in head
    buttons = {"pause": True, "stop": True, "cancel": False, "clone": False}
    assert dict(disabled(json.loads(head))) == buttons
    bar = dumped(run_verbs(snapshot, snapshot.runs[0]))
    assert f"The experiment is {WORDS}" in bar
    alive(backend, sweep)
    snapshot = reader.snapshot(sweep.id)
    shown = dumped([sweep_head(snapshot), run_verbs(snapshot, snapshot.runs[0])])
    assert "heard of since" not in shown
    assert not any(dict(disabled(json.loads(shown))).values())


def test_a_page_is_drawn_again_when_a_sweep_falls_silent(backend, sweep):
    """Nothing has changed at the place then."""
    alive(backend, sweep)
    reader = Reader(backend)
    reader.snapshot(sweep.id)
    assert len(reader.overviews(10)) == 1
    before = (reader.version(sweep.id), reader.version(None))
    assert before == (backend.version(sweep.id), backend.version(None))
    backend.apply([PatchSweep(sweep.id, {"meta": sign(2.0)}, 5e9)])
    reader.snapshot(sweep.id)
    reader.overviews(10)
    assert reader.version(sweep.id) == f"{backend.version(sweep.id)} (1 unheard)"
    assert reader.version(None) == f"{backend.version()} (1 unheard)"


def test_the_twins_and_the_status(backend, sweep, tmp_path):
    caller = Client(backend, tmp_path / "control")
    path = f"/api/sweeps/{sweep.id}"
    listed = dumped(sweeps_list(find(Reader(backend), Listing(), 9), Listing(), []))
    assert "heard of " in listed
    (line,) = caller.http.get("/api/sweeps").json()["sweeps"]
    assert line["unheard_since"] == caller.http.get(path).json()["unheard_since"] == 1.0
    queue = caller.http.get(f"{path}/queue").json()
    assert (queue["gate"], queue["reason"], queue["runs"]) == ("running", WORDS, {"running": 1})
    assert _state({**queue, "best": None})
    refused = caller.post(f"{path}/commands", {"verb": "pause"})
    assert refused.status_code == 422
    assert WORDS in refused.json()["error"]["message"]
    alive(backend, sweep)
    (line,) = caller.http.get("/api/sweeps").json()["sweeps"]
    assert line["unheard_since"] is caller.http.get(path).json()["unheard_since"] is None
    assert caller.post(f"{path}/commands", {"verb": "pause"}).status_code == 200
