"""The server as a program: found, started, killed and started again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from tests.server.control_client import CONFIG
from tune_bridge.agents.http import Server, UnreachableError
from tune_bridge.backends import open_backend
from tune_bridge.errors import BackendError
from tune_bridge.server_process import ensure_server, files_of, find_server, own_place
from tune_bridge.wire import Claim, ClaimRequest, Command, End, NewSweep, Over, Report

pytestmark = pytest.mark.slow


def start(place: str, *arguments: str, key: str = "secret") -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tune_bridge", "server", "--backend", place, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "TUNE_BRIDGE_KEY": key},
    )


@contextlib.contextmanager
def running(place: str, *arguments: str, key: str = "secret"):
    process = start(place, "--port", "0", *arguments, key=key)
    try:
        line = process.stdout.readline()
        assert line.startswith("tune-bridge server: http"), line + process.stderr.read()
        yield process
    finally:
        process.kill()
        process.communicate()


def until(true, seconds: float = 60.0):
    """Waits for a condition; its value."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it does not happen"
        threading.Event().wait(0.02)
    return found


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "sweeps.db")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_serves_and_stops(place, how):
    with running(place) as process:
        found = until(lambda: find_server(place))
        assert found.pid == process.pid
        about = files_of(place).about
        assert stat.S_IMODE(about.stat().st_mode) == 0o600
        sweep = Server(found.url, found.key).create(NewSweep(config=CONFIG))["id"]
        waiting = []
        claim = ClaimRequest("a", "h", "1", 60.0)
        server = Server(found.url, found.key)
        server.command(sweep, Command("pause"))
        agent = threading.Thread(target=lambda: waiting.append(server.claim(sweep, claim)))
        agent.start()
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
        agent.join(60)
    assert process.returncode == 0
    assert err == ""
    assert "stopped" in out
    assert "secret" not in out
    assert find_server(place) is None
    assert not about.exists()


def test_one_process_drives_a_place(place):
    with running(place) as process:
        found = until(lambda: find_server(place))
        other = start(f"sqlite:///{place}", "--port", "0")
        _, err = other.communicate(timeout=60)
        assert other.returncode == 1
        assert f"process {process.pid} at {found.url}" in err
        assert "Traceback" not in err
        with pytest.raises(BackendError, match=str(process.pid)), own_place(place):
            pass
        assert find_server(place) == found


def test_a_server_of_the_past_is_not_found(place):
    with running(place) as process:
        until(lambda: find_server(place))
        process.kill()
        process.wait()
    assert files_of(place).about.exists()
    assert find_server(place) is None


def test_many_who_need_a_server_start_one(place):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(ensure_server(place))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    try:
        assert len(found) == 6
        assert len(set(found)) == 1
        assert found[0].key
        with pytest.raises(Exception, match="key"):
            Server(found[0].url).get("/api/server")
    finally:
        os.kill(found[0].pid, signal.SIGTERM)
        os.waitpid(found[0].pid, 0)


def test_a_server_that_cannot_start_says_why(tmp_path):
    place = tmp_path / "sweeps.db"
    place.write_text("no database at all, and long enough to be read as one" * 100)
    with pytest.raises(BackendError, match="not a database"):
        ensure_server(str(place))


def test_it_leaves_when_nobody_asks(place):
    process = start(place, "--port", "0", "--idle-exit", "0.5")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "stopped" in out


class Agent(threading.Thread):
    """Does what an agent does, with a server that may be away at any moment."""

    def __init__(self, place: str, sweep: str, name: str) -> None:
        super().__init__(daemon=True)
        self.place, self.sweep, self.label = place, sweep, name
        self.done: list[tuple[str, int]] = []
        self.reports: list[tuple[str, int, int]] = []
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            number = 0
            while True:
                number += 1
                request = ClaimRequest(self.label, "h", f"{number}", 5.0)
                answer = self.ask(lambda server, r=request: server.claim(self.sweep, r))
                if isinstance(answer, Over):
                    return
                if isinstance(answer, Claim):
                    self.work(answer)
        except BaseException as error:
            self.problem = error

    def work(self, claim: Claim) -> None:
        for seq in range(3):
            step = claim.first_step + seq
            row = (step, time.time(), {"loss": claim.config["x"] + step})
            report = Report(attempt=claim.attempt, seq=seq, rows=[row])
            verdict = self.ask(lambda server, r=report: server.report(claim.run, r))
            assert verdict.kind == "continue", verdict
            self.reports.append((claim.run, claim.attempt, step))
        end = End(claim.attempt, "finished")
        self.ask(lambda server: server.end(claim.run, end))
        self.done.append((claim.run, claim.attempt))

    def ask(self, call):
        while True:
            found = find_server(self.place)
            if found is not None:
                with contextlib.suppress(UnreachableError):
                    return call(Server(found.url, found.key))
            threading.Event().wait(0.05)


def test_killed_at_any_moment_it_goes_on(place):
    """SIGKILL, several times, in the middle of a sweep: nothing is lost, nothing done twice."""
    runs = 30
    agents: list[Agent] = []
    sweep = ""
    for life in range(4):
        with running(place) as process:
            found = until(lambda: find_server(place))
            server = Server(found.url, found.key)
            if not sweep:
                config = {**CONFIG, "run_cap": runs}
                sweep = server.create(NewSweep(config=config, seed=3))["id"]
                agents = [Agent(place, sweep, f"agent-{n}") for n in range(5)]
                for agent in agents:
                    agent.start()
            if life < 3:
                wanted = (life + 1) * runs // 4
                until(lambda w=wanted, a=agents: sum(len(each.done) for each in a) >= w)
                process.kill()
                process.wait()
            else:
                for agent in agents:
                    agent.join(120)
    assert [agent.problem for agent in agents if agent.problem] == []
    done = [item for agent in agents for item in agent.done]
    assert len(done) == runs
    assert {attempt for _, attempt in done} == {1}
    assert Counter(run for run, _ in done).most_common(1)[0][1] == 1
    with open_backend(place) as backend:
        kept = backend.runs(sweep)
        assert {run.id for run in kept} == {run for run, _ in done}
        assert {(run.state, run.rows) for run in kept} == {("finished", 3)}
        assert backend.sweep(sweep).state == "finished"
        starts = [
            note["run"]
            for event in backend.events(sweep)
            for note in event.get("did", ())
            if note.get("answer") == "start"
        ]
        assert len(starts) == len(set(starts)) == runs
        # The same runs that a controller would have given out that was never killed.
        from tune_bridge.engines import make_engine
        from tune_bridge.sweep_config import SweepConfig

        engine = make_engine(SweepConfig(config).experiment, sweep_id=sweep, seed=3)
        wanted_configs = {(a.run, a.config["x"]) for a in (engine.ask(time=0.0) for _ in starts)}
        assert {(run.id, run.config["x"]) for run in kept} == wanted_configs


def test_200_agents_wait_without_threads(place):
    """200 agents wait; a resumed sweep reaches all of them over connections that are open."""
    with running(place) as process:
        found = until(lambda: find_server(place))
        server = Server(found.url, found.key)
        sweep = server.create(NewSweep(config={**CONFIG, "run_cap": 200}))["id"]
        server.command(sweep, Command("pause"))
        port = int(found.url.rpartition(":")[2])
        sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        for number, line in enumerate(sockets):
            body = json.dumps(
                {"agent": f"a{number}", "host": "h", "request": "1", "wait": 60}
            ).encode()
            line.sendall(
                f"POST /api/sweeps/{sweep}/claims HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: Bearer {found.key}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
        threads = Path(f"/proc/{process.pid}/task")
        if threads.exists():
            assert len(list(threads.iterdir())) < 60
        server.command(sweep, Command("resume"))
        runs = set()
        for line in sockets:
            line.settimeout(60)
            text = b""
            while b"heartbeat" not in text:
                data = line.recv(65536)
                assert data, text
                text += data
            runs.add(json.loads(text.partition(b"\r\n\r\n")[2])["run"])
            line.close()
        assert len(runs) == 200
