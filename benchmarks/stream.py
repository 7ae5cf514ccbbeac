"""History rows per second over HTTP, as the wandb client sends them, against what others reach.

The server is a process of its own; the clients are threads here, whose bodies are ready before the
clock starts. Beside it, in the same minute: the backend alone, W&B's own client offline (it writes
to a file and sends nothing), and MLflow's server, when TUNE_BRIDGE_MLFLOW names a Python that has
mlflow. All log rows of four metrics. PostgreSQL as the place: name one in TUNE_BRIDGE_BENCH_PLACE.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks._server import Client, serving, usage

CLIENTS, BATCH, BATCHES = 8, 1_000, 40
OFFLINE_ROWS, PEER_ROWS = 5_000, 4_000

_UPSERT = (
    "mutation UpsertBucket($name: String, $project: String) "
    "{upsertBucket(input: {name: $name, modelName: $project}) {bucket {id name}}}"
)
_OFFLINE = """
import os, sys, time
import wandb
rows = int(sys.argv[1])
run = wandb.init(project="p", mode="offline", settings=wandb.Settings(console="off"))
begun = time.perf_counter()
for step in range(rows):
    run.log({"loss": 1 / (step + 1), "accuracy": step / rows, "lr": 0.001, "epoch": step})
run.finish()
print(rows / (time.perf_counter() - begun))
"""
_MLFLOW = """
import sys, time, threading
from mlflow import MlflowClient
from mlflow.entities import Metric
url, rows, clients = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = MlflowClient(url)
runs = [client.create_run("0").info.run_id for _ in range(clients)]
def work(run):
    own = MlflowClient(url)
    for first in range(0, rows // clients, 250):
        own.log_batch(run, [Metric(name, step / 7, 0, step) for step in range(first, first + 250)
                            for name in ("loss", "accuracy", "lr", "epoch")])
threads = [threading.Thread(target=work, args=(run,)) for run in runs]
begun = time.perf_counter()
for thread in threads: thread.start()
for thread in threads: thread.join()
print(rows / (time.perf_counter() - begun))
"""


def bodies(batches: int, batch: int = BATCH) -> list[bytes]:
    """Requests of one client, as the client's core writes them."""
    made = []
    for number in range(batches):
        first = number * batch
        content = [
            json.dumps(
                {
                    "_runtime": step / 100,
                    "_step": step,
                    "_timestamp": 1.7e9 + step / 100,
                    "accuracy": step / (step + 900),
                    "epoch": step // 100,
                    "loss": 1 / (step + 1),
                    "lr": 0.001 * 0.999**step,
                }
            )
            for step in range(first, first + batch)
        ]
        files = {"wandb-history.jsonl": {"offset": first, "content": content}}
        made.append(json.dumps({"files": files}).encode())
    return made


def stream(url: str, key: str | None, clients: int, requests: list[bytes]) -> float:
    """Seconds that `clients` need, each for its own run."""
    made = [Client(url, key) for _ in range(clients)]
    names = [f"bench{os.getpid()}x{time.time_ns()}x{number}" for number in range(clients)]
    for client, name in zip(made, names, strict=True):
        variables = {"name": name, "project": "bench"}
        client.post("/graphql", json.dumps({"query": _UPSERT, "variables": variables}).encode())
    start = threading.Barrier(clients + 1)

    def work(client: Client, name: str) -> None:
        start.wait()
        for body in requests:
            client.post(f"/files/local/bench/{name}/file_stream", body)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(made, names, strict=True)]
    for thread in threads:
        thread.start()
    start.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun


def _backend(folder: Path, rows: int) -> float:
    from benchmarks.rows import _ours, batches

    return _ours(folder, batches(rows))


def _offline(folder: Path, rows: int) -> float:
    env = {**os.environ, "WANDB_MODE": "offline", "WANDB_DIR": str(folder), "WANDB_SILENT": "true"}
    command = [sys.executable, "-c", _OFFLINE, str(rows)]
    done = subprocess.run(
        command, env=env, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return float(done.stdout.split()[-1])


def _mlflow(folder: Path, rows: int, clients: int) -> float | None:
    python = os.environ.get("TUNE_BRIDGE_MLFLOW")
    if not python:
        return None
    with _mlflow_server(python, folder) as url:
        command = [python, "-c", _MLFLOW, url, str(rows), str(clients)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return float(done.stdout.split()[-1])


@contextmanager
def _mlflow_server(python: str, folder: Path) -> Iterator[str]:
    port = 40_000 + os.getpid() % 20_000
    url = f"http://127.0.0.1:{port}"
    place = f"sqlite:///{folder / 'mlflow.db'}"
    words = ["server", "--backend-store-uri", place, "--port", str(port), "--workers", "1"]
    process = subprocess.Popen(
        [python, "-m", "mlflow", *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: _answers(f"{url}/health"), 120)
        yield url
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise RuntimeError("it does not start")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


def run(
    clients: int = CLIENTS,
    batches: int = BATCHES,
    offline_rows: int = OFFLINE_ROWS,
    peer_rows: int = PEER_ROWS,
) -> list[tuple[str, str]]:
    requests = bodies(batches)
    number = clients * batches * BATCH
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = os.environ.get("TUNE_BRIDGE_BENCH_PLACE", str(folder / "sweeps.db"))
        with serving(place) as (found, pid):
            stream(found.url, found.key, 1, requests[:2])
            before = usage(pid)
            ours = number / stream(found.url, found.key, clients, requests)
            seconds = usage(pid) - before
        alone = _backend(folder, min(number, 100_000))
        offline = _offline(folder, offline_rows)
        peer = _mlflow(folder, peer_rows, clients)
    rows = [
        (f"{clients} clients, batches of {BATCH:,}", f"{ours:,.0f} rows/s"),
        ("processor time of the server", f"{1e6 * seconds / number:.1f} us per row"),
        ("the backend alone, one process", f"{alone:,.0f} rows/s"),
        ("W&B's client offline", f"{offline:,.0f} rows/s; ours is {ours / offline:.1f} times that"),
    ]
    if peer is None:
        rows.append(("MLflow's server", "not measured: set TUNE_BRIDGE_MLFLOW"))
    else:
        rows.append(("MLflow's server", f"{peer:,.0f} rows/s; ours is {ours / peer:.0f} times"))
    return rows
