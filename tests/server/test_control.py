"""The requests of agents, one by one: bodies, answers, errors, files, limits."""

from __future__ import annotations

import json
import math
import threading

import pytest

pytest.importorskip("fastapi")

from tests.server.control_client import CONFIG, LIMITS, Client
from tune_bridge.backends.base import LogEvents
from tune_bridge.controller.steering import Link
from tune_bridge.server import create_app


def test_a_run_from_its_claim_to_its_end(caller, backend):
    sweep = caller.sweep()
    claim = caller.claim(sweep)
    assert claim["kind"] == "run"
    assert 0 <= claim["config"]["x"] <= 1
    assert (claim["attempt"], claim["first_step"], claim["checkpoint"]) == (1, 0, None)
    run = claim["run"]
    rows = [[0, 5.0, {"loss": 0.5, "bad": {"$float": "nan"}}]]
    report = {"attempt": 1, "seq": 0, "rows": rows, "summary": {"note": "good"}}
    for _ in range(2):
        answer = caller.post(f"/api/runs/{run}/reports", report)
        assert answer.json() == {"kind": "continue", "reason": ""}
    beat = {"agent": "a", "runs": {run: 1, "unknown0": 1}}
    verdicts = caller.post(f"/api/sweeps/{sweep}/heartbeats", beat).json()["runs"]
    assert {name: verdict["kind"] for name, verdict in verdicts.items()} == {
        run: "continue", "unknown0": "kill",
    }  # fmt: skip
    queue = caller.http.get(f"/api/sweeps/{sweep}/queue").json()
    assert queue["runs"] == {"running": 1}
    assert [(agent["agent"], agent["run"]) for agent in queue["agents"]] == [("a", run)]
    for _ in range(2):
        assert caller.post(f"/api/runs/{run}/end", {"attempt": 1, "state": "finished"}).json() == {}
    kept = backend.run(run)
    assert (kept.state, kept.summary["note"], kept.rows) == ("finished", "good", 1)
    assert math.isnan(kept.summary["bad"])
    events = caller.http.get(f"/api/sweeps/{sweep}/events").json()["events"]
    assert [event["event"] for event in events] == ["claim", "tell", "hold", "end"]
    assert events[1]["result"]["bad"] == {"$float": "nan"}
    last = caller.http.get(f"/api/sweeps/{sweep}/events?first=3&limit=1").json()["events"]
    assert last == events[3:]


def test_what_is_asked_of_an_experiment_reaches_it(caller, backend):
    """Ray Tune drives it: the command waits with the sweep, and `Link` finds it there."""
    sweep = backend.create_sweep({}, meta={"steered_by": "SweepScheduler"})
    link = Link(backend, sweep.id, lambda operation: backend.apply([operation]), known=0,
                steered=True)  # fmt: skip
    try:
        path = f"/api/sweeps/{sweep.id}/commands"
        for body in ({"verb": "pause"}, {"verb": "concurrency", "args": {"number": 2}}):
            answer = caller.post(path, body)
            assert (answer.status_code, answer.json()) == (200, {"result": None})
        found, waiting = [], threading.Event()
        while len(found) < 2:
            found += link.take()
            waiting.wait(0.01)
        assert [command.verb for command in found] == ["pause", "concurrency"]
        assert found[1].args == {"number": 2}
        answer = caller.post(path, {"verb": "retry"})
        assert answer.status_code == 422
        assert "nothing that it can do" in answer.json()["error"]["message"]
        link.log({"event": "command", "verb": "pause"})
        assert [event["verb"] for event in backend.events(sweep.id)] == ["pause"]
    finally:
        link.close()


def test_events_go_on_behind_those_that_are_there(backend):
    sweep = backend.create_sweep({})
    backend.apply([LogEvents(sweep.id, 0, [{"event": "old"}], 0.0)])
    link = Link(backend, sweep.id, lambda operation: backend.apply([operation]), known=None,
                steered=False)  # fmt: skip
    waiting = threading.Event()
    link.log({"event": "new"})
    while len(events := backend.events(sweep.id)) < 2:
        waiting.wait(0.01)
    link.log({"event": "newer"})
    events = [event["event"] for event in backend.events(sweep.id)]
    assert events == ["old", "new", "newer"]
    link.close()


def test_the_same_request_gets_the_same_run(caller):
    sweep = caller.sweep()
    assert caller.claim(sweep, "1") == caller.claim(sweep, "1")
    assert caller.claim(sweep, "1")["run"] != caller.claim(sweep, "2")["run"]


def test_an_end_and_the_next_run_in_one_request(caller, backend):
    sweep = caller.sweep()
    run = caller.claim(sweep)["run"]
    wanted = {"agent": "a", "host": "h", "request": "s"}
    end = {"attempt": 1, "state": "finished", "next": wanted}
    following = caller.post(f"/api/runs/{run}/end", end).json()["next"]
    assert (following["kind"], following["attempt"]) == ("run", 1)
    assert following["run"] != run
    assert caller.post(f"/api/runs/{run}/end", end).json()["next"] == following
    assert caller.claim(sweep, "s") == following
    last = caller.claim(sweep, "t", "b")["run"]
    for each, name in ((following["run"], "u"), (last, "v")):
        end = {"attempt": 1, "state": "finished", "next": {**wanted, "request": name}}
        over = caller.post(f"/api/runs/{each}/end", end).json()["next"]
    assert over["kind"] == "over"
    assert backend.sweep(sweep).state == "finished"
    refused = caller.post("/api/runs/nobody00/end", end)
    assert refused.status_code == 404


def test_commands(caller):
    sweep = caller.sweep()
    path = f"/api/sweeps/{sweep}/commands"
    config = {"config": {"x": 0.5}}
    answer = caller.post(path, {"verb": "enqueue", "args": config}).json()
    assert caller.claim(sweep)["run"] == answer["result"]
    assert caller.post(path, {"verb": "pause"}).json() == {"result": None}
    assert caller.claim(sweep, "2") == {"kind": "wait", "reason": "the sweep is paused"}
    assert caller.post(path, {"verb": "cancel"}).status_code == 200
    assert caller.claim(sweep, "3")["kind"] == "over"
    for body in (
        {"verb": "resume"},
        {"verb": "explode"},
        {"verb": "enqueue", "args": {"config": {"x": 0.5}}},
        {"verb": "release", "args": {"host": 5}},
        {"verb": "release", "args": {"elephant": 5}},
        {"verb": "run_cap", "args": {"number": "many"}},
        {"verb": "stop_run"},
    ):
        answer = caller.post(path, body)
        assert answer.status_code in (404, 422), body
        assert answer.json()["error"]["message"]


@pytest.mark.parametrize("args", [
    {"number": -1}, {"number": 0}, {"number": 1.5}, {"number": True}, {"number": "3"}, {},
    {"number": [1]},
])  # fmt: skip
@pytest.mark.parametrize("verb", ["run_cap", "concurrency"])
def test_limits_are_numbers(caller, verb, args):
    sweep = caller.sweep()
    before = caller.http.get(f"/api/sweeps/{sweep}/queue").json()
    answer = caller.post(f"/api/sweeps/{sweep}/commands", {"verb": verb, "args": args})
    assert answer.status_code == 422
    assert caller.http.get(f"/api/sweeps/{sweep}/queue").json() == before


@pytest.mark.parametrize("config", [5, None, [1], {"x": "text"}, {"x": {"$float": "nan"}}, {}])
def test_what_is_no_configuration_is_refused(caller, config):
    sweep = caller.sweep()
    body = {"verb": "enqueue", "args": {"config": config}}
    answer = caller.post(f"/api/sweeps/{sweep}/commands", body)
    assert answer.status_code == 422
    assert caller.http.get(f"/api/sweeps/{sweep}/queue").json()["gate"] == "running"


@pytest.mark.parametrize("runs", [5, "abc", [5], {"a": 1}, ["nosuch00"]])
def test_what_are_no_runs_is_refused(caller, runs):
    sweep = caller.sweep()
    body = {"verb": "retry", "args": {"runs": runs}}
    assert caller.post(f"/api/sweeps/{sweep}/commands", body).status_code in (404, 422)
    assert caller.http.get(f"/api/sweeps/{sweep}/queue").json()["gate"] == "running"


@pytest.mark.parametrize("body", [
    b"", b"{", b"NaN", b"[]", b"5", b'{"agent": 5, "host": "h", "request": "r"}', b"\xff",
    b'{"agent": "a", "host": "h"}', b'{"agent": "a", "host": "h", "request": {"$tuple": 5}}',
    b'{"agent": "a", "host": "h", "request": "r", "wait": "long"}', b"[" * 50_000,
    b'{"$items": [1]}', b'{"$float": "x"}',
])  # fmt: skip
def test_bodies_are_read_strictly(caller, body):
    answer = caller.http.post(f"/api/sweeps/{caller.sweep()}/claims", content=body)
    assert answer.status_code == 422
    assert set(answer.json()) == {"error"}


def test_no_sweep_and_no_run(caller):
    claim = {"agent": "a", "host": "h", "request": "r"}
    assert caller.post("/api/sweeps/nosuch00/claims", claim).status_code == 404
    assert caller.http.get("/api/sweeps/nosuch00/queue").status_code == 404
    assert caller.http.get("/api/sweeps/nosuch00/events").status_code == 404
    end = {"attempt": 1, "state": "finished"}
    assert caller.post("/api/runs/nosuch00/end", end).status_code == 404
    assert caller.http.get("/api/runs/nosuch00/output").status_code == 404


def test_a_report_of_elsewhere_gives_out_no_runs(caller, backend):
    sweep = backend.create_sweep(CONFIG)
    answer = caller.post(
        f"/api/sweeps/{sweep.id}/claims", {"agent": "a", "host": "h", "request": "r"}
    )
    assert answer.status_code == 422
    assert "tune-bridge sweep" in answer.json()["error"]["hint"]


def test_what_no_engine_can_do_is_no_sweep(caller):
    body = {"config": {**CONFIG, "method": "bayes", "metric": None}}
    answer = caller.post("/api/sweeps", body)
    assert answer.status_code == 422
    assert caller.http.get("/api/sweeps").json()["sweeps"] == []


def test_a_dashboard_alone_takes_nothing(backend):
    from starlette.testclient import TestClient

    http = TestClient(create_app(backend), "http://localhost")
    assert http.post("/api/sweeps", json={"config": CONFIG}).status_code == 405
    assert http.post("/api/sweeps/x/claims", json={}).status_code in (404, 405)


# Files.


def test_output_is_kept_once_and_capped(caller):
    run = caller.claim(caller.sweep())["run"]
    path = f"/api/runs/{run}/output"
    for offset, data in ((0, b"one "), (0, b"one "), (4, b"two"), (0, b"one "), (7, b"\n")):
        assert caller.http.post(f"{path}?offset={offset}", content=data).json() == {}
    assert caller.http.get(path).text == "one two\n"
    assert caller.http.post(f"{path}?offset=50", content=b"gap").status_code == 422
    assert caller.http.post(f"{path}?offset=-1", content=b"x").status_code == 422
    assert caller.http.post(f"{path}?offset=0&attempt=2", content=b"x").status_code == 422
    assert caller.http.post(path, content=b"x").status_code == 422
    too_long = caller.http.post(f"{path}?offset=8", content=b"x" * (LIMITS.chunk + 1))
    assert too_long.status_code == 413
    for offset in (8, 1008, 2008, 3008, 10**15):
        done = caller.http.post(f"{path}?offset={offset}", content=b"x" * LIMITS.chunk)
        assert done.json() == {}
    assert len(caller.http.get(path).content) == LIMITS.output


def test_checkpoints_come_back_whole(caller, tmp_path):
    sweep = caller.sweep()
    run = caller.claim(sweep)["run"]
    path = f"/api/runs/{run}/checkpoints/0123abcd"
    assert caller.http.get(path).status_code == 404
    for data in (b"first", bytes(range(256)) * 10):
        assert caller.http.put(path, content=data).json() == {}
        assert caller.http.get(path).content == data
    files = [file for file in (tmp_path / "checkpoints").rglob("*") if file.is_file()]
    assert files == [tmp_path / "checkpoints" / sweep / run / "0123abcd.tar"]


@pytest.mark.parametrize("announced", [True, False])
def test_checkpoints_are_capped(caller, tmp_path, announced):
    run = caller.claim(caller.sweep())["run"]
    path = f"/api/runs/{run}/checkpoints/big"
    data = b"x" * (LIMITS.checkpoint + 1)
    content = data if announced else iter([data[:3000], data[3000:]])
    assert caller.http.put(path, content=content).status_code == 413
    assert not [file for file in (tmp_path / "checkpoints").rglob("*") if file.is_file()]


def test_bodies_are_capped(caller):
    sweep = caller.sweep()
    rows = [[0, 1.0, {"loss": 1.0, "text": "x" * LIMITS.body}]]
    run = caller.claim(sweep)["run"]
    body = {"attempt": 1, "seq": 0, "rows": rows}
    answer = caller.post(f"/api/runs/{run}/reports", body)
    assert answer.status_code == 413
    assert str(LIMITS.body) in answer.json()["error"]["expected"]
    pieces = iter([json.dumps(body).encode()])
    assert caller.http.post(f"/api/runs/{run}/reports", content=pieces).status_code == 413


@pytest.mark.parametrize("name", [
    "%2e%2e", "..%2f..%2fx", "a%2fb", "a%5cb", ".hidden", "-x", "a%00b", "ä", "a b",
    "%2fetc%2fpasswd", "....%2f%2f", "~", "x" * 200,
])  # fmt: skip
@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_no_path_leaves_the_folder(caller, tmp_path, name, method):
    run = caller.claim(caller.sweep())["run"]
    before = sorted(tmp_path.parent.rglob("*"))
    answer = caller.http.request(method, f"/api/runs/{run}/checkpoints/{name}", content=b"x")
    assert answer.status_code in (404, 405, 422)
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_odd_ids_in_the_backend_name_no_folder(caller, backend, tmp_path):
    from tune_bridge.backends.base import PutRun, Run

    sweep = caller.sweep()
    backend.apply([PutRun(Run(id="..", sweep_id=sweep)), PutRun(Run(id="a b", sweep_id=sweep))])
    for run in ("%2e%2e", "a%20b"):
        answer = caller.http.put(f"/api/runs/{run}/checkpoints/c", content=b"x")
        assert answer.status_code in (404, 422)
    assert not (tmp_path / "checkpoints").exists()


# Who may ask.


POSTS = (
    "/api/sweeps",
    "/api/sweeps/x/claims",
    "/api/runs/x/reports",
    "/api/runs/x/output?offset=0",
)


@pytest.mark.parametrize("headers", [
    {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://localhost:99"},
    {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
])  # fmt: skip
@pytest.mark.parametrize("path", POSTS)
def test_other_sites_are_refused(caller, path, headers):
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        answer = caller.post(path, {"config": CONFIG}, headers={**headers, "content-type": kind})
        assert answer.status_code == 403
    put = caller.http.put("/api/runs/x/checkpoints/y", content=b"x", headers=headers)
    assert put.status_code == 403
    assert caller.http.get("/api/sweeps").json()["sweeps"] == []


@pytest.mark.parametrize("path", POSTS)
def test_other_names_are_refused(caller, path):
    answer = caller.post(path, {"config": CONFIG}, headers={"host": "evil.example"})
    assert answer.status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_nothing_without_the_key(backend, tmp_path, host):
    caller = Client(backend, tmp_path, host=host, key="secret")
    gets = ("/api/server", "/api/sweeps/x/queue", "/api/sweeps/x/events", "/api/runs/x/output")
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic secret"}):
        for path in POSTS:
            assert caller.post(path, {"config": CONFIG}, headers=headers).status_code == 401
        for path in gets:
            assert caller.http.get(path, headers=headers).status_code == 401
        put = caller.http.put("/api/runs/x/checkpoints/y", content=b"x", headers=headers)
        assert put.status_code == 401
    right = {"authorization": "Bearer secret"}
    assert caller.post("/api/sweeps", {"config": CONFIG}, headers=right).status_code == 200
    assert caller.http.get("/api/server", headers=right).json()["place"] == "here"
