"""A server as a process, sweeps in it, and agents: in threads of this process, or as programs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tune_bridge import tune
from tune_bridge.agents import Agent, Done, Server
from tune_bridge.agents.programs import program_agent
from tune_bridge.backends import open_backend
from tune_bridge.backends.base import Row, Run
from tune_bridge.server_process import find_server
from tune_bridge.wire import NewSweep, Settings

KEY = "a key of tests"
METRIC = {"name": "loss", "goal": "minimize"}
BRIDGE = [sys.executable, "-m", "tune_bridge"]


def until(true: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Waits for a condition; its value."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.01)
    return found


class World:
    """One place with its server.

    Args:
        folder: For everything; programs are written to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = str(folder / "place" / "sweeps.db")
        Path(self.place).parent.mkdir()
        self.port = "0"
        self._processes: list[subprocess.Popen[str]] = []
        self.start()

    # The server.

    def start(self) -> None:
        """Starts the server; again at the same port."""
        self.process = subprocess.Popen(
            [*BRIDGE, "server", "--backend", self.place, "--port", self.port],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "TUNE_BRIDGE_KEY": KEY},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("tune-bridge server: http"), line + self.process.stdout.read()
        found = until(lambda: find_server(self.place))
        self.url = found.url
        self.port = self.url.rpartition(":")[2]
        self.server = Server(self.url, KEY)

    def kill(self) -> None:
        """The server, without a word."""
        self.process.kill()
        self.process.communicate()

    def close(self) -> None:
        """Ends all."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, out

    # Sweeps.

    def sweep(
        self, config: dict[str, Any] | None = None, *, settings: Settings | None = None, **more: Any
    ) -> str:
        """A new sweep; of random numbers x without a `config`, in which `more` is changed."""
        base = {
            "method": "random",
            "metric": METRIC,
            "parameters": {"x": {"min": 0.0, "max": 1.0}},
            "run_cap": 1,
        }
        made = {**(base if config is None else config), **more}
        new = NewSweep(config=made, settings=settings or Settings(), seed=1)
        return str(self.server.create(new)["id"])

    def tuned(self, runs: int, *, settings: Settings | None = None, **more: Any) -> str:
        """A new sweep, of an experiment of Ray Tune with one parameter x in its config."""
        told = {"config": {"x": tune.uniform(0.0, 1.0)}, **more}
        config = tune.run("train.py", metric="loss", mode="min", num_samples=runs, **told)
        return self.sweep(dict(config), settings=settings)

    def program(self, source: str, name: str = "train.py", folder: Path | None = None) -> Path:
        """A program in a folder; its name is the sweep's `program`."""
        path = (folder or self.folder) / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(textwrap.dedent(source))
        return path

    def runs(self, sweep: str) -> list[Run]:
        """Its runs, the first one first."""
        with open_backend(self.place) as backend:
            return sorted(backend.runs(sweep, limit=10_000), key=lambda run: int(run.name[4:]))

    def states(self, sweep: str) -> Counter[str]:
        return Counter(run.state for run in self.runs(sweep))

    def rows(self, run: str) -> list[Row]:
        with open_backend(self.place) as backend:
            return backend.history(run)

    def gate(self, sweep: str) -> tuple[str, str]:
        queue = self.server.get(f"/api/sweeps/{sweep}/queue")
        return queue["gate"], queue["reason"]

    def events(self, sweep: str) -> list[dict[str, Any]]:
        with open_backend(self.place) as backend:
            return backend.events(sweep)

    def output(self, run: str) -> str:
        return self.server._send("GET", f"/api/runs/{run}/output", b"", "text/plain").decode()

    # Agents.

    def function(self, sweep: str, function: Callable[..., Any], **more: Any) -> Done:
        """An agent of this process that runs a function; what it has done."""
        return Agent(self.server, sweep, function=function, metric="loss", **more).run()

    def work(self, sweep: str, **more: Any) -> Done:
        """An agent of this process that runs the sweep's program; what it has done."""
        more = {"folder": self.folder, "grace": 5.0, **more}
        return program_agent(self.server, sweep, **more).run()

    def agent(self, sweep: str, *arguments: str, folder: Path | None = None, **env: str) -> Any:
        """An agent as a process of its own."""
        process = subprocess.Popen(
            [*BRIDGE, "agent", sweep, "--server", self.url, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder or self.folder,
            env={**os.environ, "TUNE_BRIDGE_KEY": KEY, "PYTHONUNBUFFERED": "1", **env},
            start_new_session=True,  # Ctrl-C in a terminal reaches no program, as it should be
        )
        self._processes.append(process)
        return process


def ended(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, str, str]:
    """Exit code, output and errors of a process that ends by itself."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


class Sign:
    """What programs write to say that they are there: one line for each of them, with its pid."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pids(self) -> list[int]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [int(line) for line in lines]

    def wait(self, number: int = 1) -> list[int]:
        """The first `number` programs, once they are there."""
        return list(until(lambda: len(self.pids()) >= number and self.pids()))

    def alive(self) -> list[int]:
        return [pid for pid in self.pids() if _lives(pid)]


def _lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def in_thread(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Something that goes on in a thread, and what it will have returned."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    return thread, found


def as_json(text: str) -> Any:
    return json.loads(text)
