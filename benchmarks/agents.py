"""From one run's end to the next one's beginning, and runs per second, with a real server.

W&B's agent asks for its next run every 5 seconds.
"""

from __future__ import annotations

import itertools
import os
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tune_bridge.agents import Agent, Server
from tune_bridge.agents.programs import program_agent
from tune_bridge.server_process import ensure_server
from tune_bridge.wire import NewSweep

_FUNCTIONS, _PROGRAMS = 200, 30
_CONFIG = {
    "method": "random",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}},
}


def _functions(server: Server, jobs: int, logs: int) -> float:
    """Runs per second."""
    config = {**_CONFIG, "run_cap": _FUNCTIONS}
    sweep = server.create(NewSweep(config=config, seed=1))["id"]

    def function(config: Any) -> float:
        import tune_bridge

        run = tune_bridge.init()
        for step in range(logs):
            run.log({"loss": step})
        return float(config.x)

    begin = time.perf_counter()
    Agent(server, sweep, function=function, metric="loss", jobs=jobs).run()
    return _FUNCTIONS / (time.perf_counter() - begin)


def _programs(server: Server) -> list[float]:
    """Milliseconds between the times that successive programs print."""
    command = ["/bin/sh", "-c", "date +%s%N"]
    config = {**_CONFIG, "run_cap": _PROGRAMS, "command": command}
    sweep = server.create(NewSweep(config=config, seed=1))["id"]
    program_agent(server, sweep, folder=Path.cwd()).run()
    runs = server.get(f"/api/sweeps/{sweep}/runs?limit={_PROGRAMS}")["runs"]
    times = sorted(
        int(server._send("GET", f"/api/runs/{run['id']}/output", b"", "text/plain")) for run in runs
    )
    return [(after - before) / 1e6 for before, after in itertools.pairwise(times)]


def run() -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        address = ensure_server(str(Path(folder, "sweeps.db")))
        try:
            server = Server(address.url, address.key)
            rows = []
            for jobs, logs in ((1, 0), (4, 0), (1, 5)):
                rate = _functions(server, jobs, logs)
                what = f"functions, {jobs} at once, {logs + 1} reports each"
                rows.append((what, f"{rate:.0f} runs/s"))
            gaps = _programs(server)
            middle, most = statistics.median(gaps), max(gaps)
            rows.append(("programs: from one to the next", f"{middle:.0f} ms (at most {most:.0f})"))
            return rows
        finally:
            os.kill(address.pid, signal.SIGTERM)
            os.waitpid(address.pid, 0)
