"""The commands for sweeps that agents run, against a real server that they start themselves."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi")

from tune_bridge.agents.http import Server
from tune_bridge.backends import open_backend
from tune_bridge.cli.main import main
from tune_bridge.server_process import ensure_server, find_server
from tune_bridge.wire import Claim, ClaimRequest, End, Over, Report

pytestmark = pytest.mark.slow

SWEEP = """
program: train.py
method: random
metric: {name: loss, goal: minimize}
parameters:
  lr: {min: 0.0, max: 1.0}
  opt.kind: {values: [adam, sgd]}
run_cap: 5
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = str(tmp_path_factory.mktemp("place") / "sweeps.db")
    address = ensure_server(place)
    yield place
    os.kill(address.pid, signal.SIGTERM)
    _, status = os.waitpid(address.pid, 0)
    assert status == 0
    assert find_server(place) is None


@pytest.fixture
def server(place):
    found = find_server(place)
    return Server(found.url, found.key)


@pytest.fixture
def say(place, capsys):
    """Runs a command; its exit code, output and errors."""

    def run(*arguments: str, here: bool = True) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, *(["--backend", place] if here else [])])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture
def sweep(say, tmp_path: Path):
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    code, out, _ = say("sweep", str(file), "--json", "--seed", "1")
    assert code == 0
    return json.loads(out)["id"]


def take(server, sweep, request="r") -> Claim | Over:
    answer = server.claim(sweep, ClaimRequest("agent", "host", request))
    assert isinstance(answer, Claim | Over), answer
    return answer


def finish(server, sweep, number, loss):
    claim = take(server, sweep, f"r{number}")
    server.report(claim.run, Report(attempt=1, seq=0, rows=[(0, 1.0, {"loss": loss})]))
    server.end(claim.run, End(1, "finished"))
    return claim


def test_sweep_says_how_to_run_it(say, place, tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    code, out, _ = say("sweep", str(file), "--project", "lab", "--name", "mine", "--max-lost", "7")
    assert code == 0
    assert "in project lab" in out
    assert "run it with: tune-bridge agent " in out
    sweep_id = out.split()[1]
    with open_backend(place) as backend:
        assert backend.sweep(sweep_id).name == "mine"
    # Nobody has seen the key of this machine's own server: the address lets a browser in.
    browser = httpx.Client(follow_redirects=True)
    page = browser.get(out.splitlines()[0].rpartition(" ")[2])
    assert (page.status_code, page.url.path) == (200, f"/sweeps/{sweep_id}")
    assert httpx.get(page.url).status_code == 401
    shown = json.loads(say("status", sweep_id, "--json")[1])
    assert shown["settings"]["max_lost"] == 7


def test_what_no_engine_can_do_is_refused(say, tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP.replace("metric: {name: loss, goal: minimize}", "").replace(
        "method: random", "method: bayes"))  # fmt: skip
    code, _, err = say("sweep", str(file))
    assert code == 1
    assert err.startswith("error: ")
    assert "Traceback" not in err


def test_pause_and_resume(say, server, sweep):
    assert say("pause", sweep)[0] == 0
    assert server.claim(sweep, ClaimRequest("a", "h", "x")).reason == "the sweep is paused"
    assert "paused" in say("status", sweep)[1]
    assert say("resume", sweep)[0] == 0
    assert isinstance(take(server, sweep), Claim)
    (line,) = [line for line in json.loads(say("ls", "--json")[1]) if line["id"] == sweep]
    told = json.loads(say("status", sweep, "--json")[1])
    assert (line["state"], told["gate"]) == ("running", "running")  # one word everywhere


def test_stop_lets_runs_finish(say, server, sweep):
    claim = take(server, sweep)
    assert say("stop", f"entity/project/{sweep}")[0] == 0
    assert isinstance(take(server, sweep, "other"), Over)
    assert "running, stopping" in say("status", sweep)[1]
    assert server.report(claim.run, Report(attempt=1, seq=0)).kind == "continue"
    server.end(claim.run, End(1, "finished"))
    assert json.loads(say("status", sweep, "--json")[1])["gate"] == "finished"
    code, _, err = say("resume", sweep)
    assert code == 1
    assert "over" in err


def test_stop_one_run(say, server, sweep):
    claim = take(server, sweep)
    code, out, _ = say("stop", f"{sweep}/{claim.run}")
    assert code == 0
    assert claim.run in out
    assert server.report(claim.run, Report(attempt=1, seq=0)).kind == "stop"
    assert json.loads(say("status", sweep, "--json")[1])["gate"] == "running"


def test_cancel_ends_all_now(say, server, sweep):
    claim = take(server, sweep)
    assert say("cancel", sweep)[0] == 0
    assert server.report(claim.run, Report(attempt=1, seq=0)).kind == "kill"
    assert isinstance(take(server, sweep, "other"), Over)
    assert say("retry", sweep)[0] == 1


def test_retry(say, server, sweep):
    claim = take(server, sweep)
    server.end(claim.run, End(1, "failed", "boom"))
    code, out, _ = say("retry", sweep, claim.run, "--json")
    assert code == 0
    assert json.loads(out)["runs"] == [claim.run]
    again = take(server, sweep, "again")
    assert (again.run, again.attempt, again.config) == (claim.run, 2, claim.config)
    code, _, err = say("retry", sweep, "nosuchrun")
    assert code == 1
    assert "nosuchrun" in err


def test_enqueue(say, server, sweep, tmp_path):
    pairs = ("--set", "lr=1e-1", "--set", "opt.kind=sgd")
    code, out, _ = say("enqueue", sweep, *pairs, "--json")
    assert code == 0
    claim = take(server, sweep)
    assert [claim.run] == json.loads(out)["runs"]
    assert claim.config == {"lr": 0.1, "opt.kind": "sgd"}
    points = tmp_path / "points.json"
    points.write_text('[{"lr": 0.2, "opt.kind": "adam"}, {"lr": 0.3, "opt.kind": "adam"}]')
    assert say("enqueue", sweep, "--file", str(points))[0] == 0
    assert [take(server, sweep, f"q{n}").config["lr"] for n in range(2)] == [0.2, 0.3]
    code, _, err = say("enqueue", sweep, "--set", "lr=7", "--set", "opt.kind=sgd")
    assert code == 1
    assert "lr" in err
    assert say("enqueue", sweep)[0] == 2
    assert say("enqueue", sweep, "--set", "lr")[0] == 2


def test_limits(say, server, sweep):
    assert say("concurrency", sweep, "1")[0] == 0
    take(server, sweep)
    assert "at once" in server.claim(sweep, ClaimRequest("a", "h", "x")).reason
    assert say("concurrency", sweep, "none")[0] == 0
    assert say("run-cap", sweep, "2")[0] == 0
    second = take(server, sweep, "second")
    assert isinstance(second, Claim)
    assert server.claim(sweep, ClaimRequest("a", "h", "third")).reason.startswith("all 2 runs")
    assert say("run-cap", sweep, "0")[0] == 2


def test_a_host_that_fails_is_quarantined_and_released(say, server, sweep):
    for number in range(3):
        server.end(take(server, sweep, str(number)).run, End(1, "failed", "no GPU"))
    assert "no GPU" in take(server, sweep, "next").reason
    assert "host gets no more runs" in say("status", sweep)[1]
    assert say("release", sweep, "host")[0] == 0
    assert isinstance(take(server, sweep, "next"), Claim)
    assert say("release", sweep, "nobody")[0] == 1


def test_best_and_ls_and_events(say, server, sweep):
    assert say("best", sweep)[0] == 1
    finish(server, sweep, 0, 0.5)
    good = finish(server, sweep, 1, 0.25)
    assert say("best", sweep)[1].startswith(f"run {good.run}: 0.25")
    shown = json.loads(say("best", sweep, "--json")[1])
    assert (shown["run"], shown["value"], shown["config"]) == (good.run, 0.25, good.config)
    assert f"lr: {good.config['lr']}" in say("best", sweep, "--yaml")[1]
    command = say("best", sweep, "--command")[1]
    assert f"train.py --lr={good.config['lr']}" in command
    code, out, _ = say("ls", "--json", "-n", "1000")
    line = next(line for line in json.loads(out) if line["id"] == sweep)
    assert (code, line["best"]["value"]) == (0, 0.25)
    assert sweep in say("ls", "-n", "1000")[1]
    code, out, _ = say("events", sweep, "--jsonl")
    log = [json.loads(text) for text in out.splitlines()]
    assert [event["event"] for event in log] == ["claim", "tell", "end"] * 2
    assert log[0]["did"][0]["answer"] == "start"
    assert len(say("events", sweep)[1].splitlines()) == 6


def test_a_server_that_is_named(say, place, server, sweep):
    address = find_server(place)
    given = ("--server", address.url, "--key", address.key)
    finish(server, sweep, 0, 0.5)
    for command in ("status", "best", "events"):
        assert say(command, sweep, *given, here=False)[0] == 0
    assert sweep in say("ls", *given, "-n", "1000", here=False)[1]
    code, _, err = say("status", sweep, "--server", address.url, "--key", "no", here=False)
    assert code == 1
    assert "TUNE_BRIDGE_KEY" in err


def test_watch_ends_with_the_sweep(say, server, sweep):
    say("cancel", sweep)
    code, out, _ = say("status", sweep, "--watch")
    assert code == 0
    assert "canceled" in out


@pytest.mark.parametrize("verb", ["pause", "stop", "status", "best", "events", "retry"])
def test_no_such_sweep(say, verb):
    code, _, err = say(verb, "nosuch00")
    assert code == 1
    assert "nosuch00" in err
    assert "Traceback" not in err
