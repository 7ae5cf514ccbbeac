"""The JSON twins of the pages."""

from __future__ import annotations

import json
import math
import time

import pytest

from tests.server.seed import make_sweep
from tune_bridge.backends.base import LogRows, PatchRun, PutRun, Row, Run

pytest.importorskip("dash")


def strict(response):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(response.content, parse_constant=refuse)


@pytest.fixture
def seeded(backend):
    return make_sweep(backend, 40)


def test_sweeps(client, backend, seeded):
    make_sweep(backend, 0, sweep_id="newer000", now=time.time() + 60)
    body = strict(client.get("/api/sweeps"))
    assert [line["id"] for line in body["sweeps"]] == ["newer000", seeded]
    empty, line = body["sweeps"]
    assert empty["best"] is None
    assert empty["counts"] == {}
    assert sum(line["counts"].values()) == 40
    assert line["counts"]["stopped_early"] > line["counts"]["finished"]
    assert (line["method"], line["metric"], line["goal"]) == ("bayes", "val_loss", "minimize")
    assert line["url"] == f"/sweeps/{seeded}"
    assert len(strict(client.get("/api/sweeps?limit=1&offset=1"))["sweeps"]) == 1


def test_sweep_has_config_and_best(client, backend, seeded):
    body = strict(client.get(f"/api/sweeps/{seeded}"))
    assert body["config"]["metric"] == {"name": "val_loss", "goal": "minimize"}
    assert body["metrics"][0] == "val_loss"
    lowest = min(
        run.summary["val_loss"]
        for run in backend.runs(seeded)
        if run.state not in ("failed", "crashed")
    )
    assert body["best"]["value"] == lowest


def test_runs_by_state_in_pages(client, seeded):
    url = f"/api/sweeps/{seeded}/runs"
    whole = strict(client.get(url))
    assert whole["total"] == len(whole["runs"]) == 40
    some = strict(client.get(f"{url}?limit=7&offset=35"))
    assert [run["id"] for run in some["runs"]] == [run["id"] for run in whole["runs"][35:]]
    assert some["total"] == 40
    running = strict(client.get(f"{url}?state=running"))
    assert {run["state"] for run in running["runs"]} == {"running"}
    both = strict(client.get(f"{url}?state=running,failed"))
    assert strict(client.get(f"{url}?state=running&state=failed"))["runs"] == both["runs"]
    assert both["total"] == len(both["runs"]) > running["total"]


def test_run_and_history(client, backend, seeded):
    run = backend.runs(seeded)[0]
    body = strict(client.get(f"/api/runs/{run.id}"))
    assert body["config"] == run.config
    rows = strict(client.get(body["history_url"]))["rows"]
    assert len(rows) == run.rows
    part = strict(client.get(f"{body['history_url']}?limit=2"))
    assert (part["rows"], part["more"]) == (rows[:2], True)
    assert client.get(f"{body['history_url']}?limit=100001").status_code == 422
    cut = strict(client.get(f"{body['history_url']}?keys=val_loss,epoch&min_step=1"))["rows"]
    assert [row["step"] for row in cut] == list(range(1, run.rows))
    assert all(set(row["values"]) == {"val_loss", "epoch"} for row in cut)


def test_numbers_that_json_cannot_say(client, backend, seeded):
    backend.apply(
        [
            PutRun(Run(id="odd", sweep_id=seeded, config={"x": math.inf}, created_at=1.0)),
            LogRows("odd", [Row(0, 1.0, {"val_loss": math.nan, "down": -math.inf})]),
        ]
    )
    body = strict(client.get("/api/runs/odd"))
    assert body["config"]["x"] == "Infinity"
    assert body["summary"] == {"val_loss": "NaN", "down": "-Infinity"}
    assert strict(client.get("/api/runs/odd/history"))["rows"][0]["values"]["val_loss"] == "NaN"
    assert strict(client.get(f"/api/sweeps/{seeded}"))["best"]["run_id"] != "odd"


@pytest.mark.parametrize(
    "path",
    [
        "/api/sweeps/nope",
        "/api/sweeps/nope/runs",
        "/api/runs/nope",
        "/api/runs/nope/history",
        "/api/nope",
        "/api",
    ],
)
def test_what_is_not_there(client, path):
    response = client.get(path)
    assert response.status_code == 404
    error = strict(response)["error"]
    assert error["status"] == 404
    assert error["message"]
    assert "sweeps.db" not in response.text


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "offset=-1", "state=happy", "offset=99999999999999999999999"],
)
def test_wrong_questions(client, seeded, query):
    response = client.get(f"/api/sweeps/{seeded}/runs?{query}")
    assert response.status_code == 422
    assert strict(response)["error"]["path"] == query.partition("=")[0]


def test_a_failed_run_keeps_its_message(client, backend, seeded):
    backend.apply([PutRun(Run(id="bad", sweep_id=seeded, state="running", created_at=1.0))])
    changes = {"state": "failed", "message": "exit code 1", "exit_code": 1}
    backend.apply([PatchRun("bad", changes, 2.0)])
    body = strict(client.get("/api/runs/bad"))
    assert (body["state"], body["message"], body["exit_code"]) == ("failed", "exit code 1", 1)


def test_pages_have_their_status(client, seeded):
    for path, status in [("/", 200), (f"/sweeps/{seeded}", 200), ("/sweeps/no", 404), ("/x", 404)]:
        response = client.get(path)
        assert response.status_code == status, path
        assert "react-entry-point" in response.text
