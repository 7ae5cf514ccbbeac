"""All of it on PostgreSQL: the server, agents, the dashboard's data, a real wandb client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from tests.postgres import Cluster
from tests.server.test_control_process import running, until
from tune_bridge.agents.http import Server
from tune_bridge.backends import open_backend
from tune_bridge.errors import InputError
from tune_bridge.server_process import find_server
from tune_bridge.wire import Claim, ClaimRequest, End, NewSweep, Report

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

CONFIG = {
    "method": "random",
    "run_cap": 8,
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}},
}
PROGRAM = """
import math
import wandb

with wandb.init(project="p", config={"lr": 0.1}) as run:
    for step in range(3):
        run.log({"loss": 1 / (step + 1), "odd": math.nan})
    run.summary["text"] = "a\\0b"
api = wandb.Api()
found = api.run(run.path)
print(found.state, found.config, found.summary["loss"], len(list(found.scan_history())))
"""
KEY = "local-" + "0123456789" * 4


def test_server_agents_and_dashboard(postgres: Cluster, tmp_path: Path) -> None:
    url = postgres.ready()
    with running(url, key=KEY) as process:
        found = until(lambda: find_server(url))
        server = Server(found.url, found.key)
        sweep = server.create(NewSweep(config=CONFIG))["id"]

        def agent(name: str) -> None:
            own = Server(found.url, found.key)
            number = 0
            while isinstance(
                claim := own.claim(sweep, ClaimRequest(name, "h", f"{number}", 1.0)), Claim
            ):
                number += 1
                for step in range(3):
                    rows = [(step, float(step), {"loss": claim.config["x"]})]
                    report = Report(attempt=claim.attempt, seq=step, rows=rows)
                    own.report(claim.run, report)
                own.end(claim.run, End(claim.attempt, "finished"))

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(agent, "abc"))

        about = _get(found, f"/api/sweeps/{sweep}")
        assert about["state"] == "finished"
        with open_backend(url) as backend:
            runs = backend.runs(sweep)
            assert len(runs) == 8
            assert all(run.rows == 3 and run.state == "finished" for run in runs)
            assert about["best"]["value"] == min(run.config["x"] for run in runs)

        env = {
            **os.environ, "HOME": str(tmp_path), "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true",
            "WANDB_BASE_URL": found.url, "WANDB_API_KEY": KEY,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split("\n")[-2] == "finished {'lr': 0.1} 0.3333333333333333 3"
        page = _get(found, "/", raw=True)
        assert "<title>" in page
        process.kill()
        out, err = process.communicate()
        assert postgres.password not in out + err

    # The next server goes on where this one was, whatever its end was like.
    with running(url, key=KEY):
        found = until(lambda: find_server(url))
        assert _get(found, "/api/sweeps")["sweeps"]
        with pytest.raises(InputError):
            Server(found.url, "wrong").create(NewSweep(config=CONFIG))


def _get(address, path: str, *, raw: bool = False):
    request = urllib.request.Request(
        f"{address.url}{path}", headers={"Authorization": f"Bearer {address.key}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read().decode()
    return text if raw else json.loads(text)
