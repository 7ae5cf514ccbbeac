"""Large sweeps and many agents: what takes longer when there are 100,000 runs, or 1,000 agents.

The server is a process of its own, over a sweep that was made before: with few runs, and with many.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks._server import Client, memory, serving, usage
from tune_bridge.backends.base import LogRows, Operation, Row
from tune_bridge.backends.local import LocalBackend
from tune_bridge.wire import Claim

FEW, MANY = 1_000, 100_000
AGENTS, PERIOD, SECONDS = 1_000, 5.0, 20.0
WORK = 400
ROUNDS = 21

_CONFIG = {
    "method": "random",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}},
}
_RUNS = (
    "query Runs($project: String, $entity: String, $first: Int, $order: String, "
    "$filters: JSONString) "
    "{project(name: $project, entityName: $entity) {runs(first: $first, order: $order, "
    "filters: $filters) {edges {node {id name state config summaryMetrics}} "
    "pageInfo {endCursor hasNextPage}}}}"
)


class _Gathered(LocalBackend):
    """Writes in large steps: what makes a sweep in minutes that took agents days."""

    def __init__(self, engine: Any, **more: Any) -> None:
        super().__init__(engine, **more)
        self._held: list[Operation] = []

    def apply(self, operations: Iterable[Operation]) -> None:
        self._held += operations
        if len(self._held) > 20_000:
            self.flush()

    def flush(self) -> None:
        held, self._held = self._held, []
        super().apply(held)


def make(place: str, runs: int, live: int = 1) -> tuple[str, list[str]]:
    """A sweep with so many runs that are over; its id, and the runs that are not."""
    from tune_bridge.controller import Controller

    with _Gathered.open(place) as backend:
        assert isinstance(backend, _Gathered)
        controller = Controller(backend, Path(f"{place}.snapshots"))
        made = controller.create(_CONFIG)
        backend.flush()
        sweep = controller.sweep(made.id)
        running = []
        for number in range(runs + live):
            claim = sweep.claim("agent", f"host{number % 50}", str(number))
            assert isinstance(claim, Claim)
            if number < runs:
                row = Row(0, time.time(), {"loss": claim.config["x"]})
                backend.apply([LogRows(claim.run, [row])])
                sweep.end(claim.run, claim.attempt, "finished")
            else:
                running.append(claim.run)
        backend.flush()
        sweep.save()
    return made.id, running


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _in_turns(*calls: Callable[[], Any]) -> tuple[float, ...]:
    """Medians of what calls take, in turns: other work on the machine meets all of them."""
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, times in zip(calls, found, strict=True):
            times.append(_seconds(call))
    return tuple(map(statistics.median, found))


def _questions(client: Client, sweep: str, run: str) -> dict[str, Callable[[], Any]]:
    beat = json.dumps({"agent": "agent", "runs": {run: 1}}).encode()
    report = iter(range(1_000_000))

    def told() -> None:
        number = next(report)
        rows = [[number, time.time(), {"other": number}]]
        body = {"attempt": 1, "seq": number, "rows": rows}
        client.post(f"/api/runs/{run}/reports", json.dumps(body).encode())

    def runs(order: str) -> bytes:
        variables = {
            "project": "uncategorized",
            "entity": "local",
            "first": 1 if "summary" in order else 50,
            "order": order,
            "filters": json.dumps({"sweep": sweep}),
        }
        return client.post(
            "/graphql", json.dumps({"query": _RUNS, "variables": variables}).encode()
        )

    return {
        "heartbeat": lambda: client.post(f"/api/sweeps/{sweep}/heartbeats", beat),
        "report": told,
        "page of 100 runs": lambda: client.get(f"/api/sweeps/{sweep}/runs?limit=100"),
        "wandb's list of runs, first page": lambda: runs("+created_at"),
        "wandb's best_run": lambda: runs("+summary_metrics.loss"),
    }


def _sizes(folder: Path, few: int, many: int) -> list[tuple[str, str]]:
    places = [str(folder / f"{runs}.db") for runs in (few, many)]
    made = [make(place, runs) for place, runs in zip(places, (few, many), strict=True)]
    with contextlib.ExitStack() as stack:
        asked, read = [], []
        for place, (sweep, running) in zip(places, made, strict=True):
            server, _ = stack.enter_context(serving(place))
            client = Client(server.url, server.key)
            asked.append(_questions(client, sweep, running[0]))
            read.append(_seconds(functools.partial(client.get, f"/api/sweeps/{sweep}")))
        pairs = {name: _in_turns(*(calls[name] for calls in asked)) for name in asked[0]}
    pairs["the dashboard's data, read anew"] = tuple(read)
    return [
        (
            f"{name}: {few:,} and {many:,} runs",
            f"{1000 * small:.1f} and {1000 * large:.1f} ms, {large / small:.1f} times",
        )
        for name, (small, large) in pairs.items()
    ]


async def _beats(url: str, key: str, path: str, bodies: list[bytes], seconds: float) -> list[float]:
    """Times of all answers of agents that beat every `PERIOD` seconds, evenly spread."""
    parts = urlsplit(url)
    token = base64.b64encode(f"api:{key}".encode()).decode()
    taken: list[float] = []
    begun = time.perf_counter() + 2.0

    async def agent(number: int, body: bytes) -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Basic {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        data = head.encode() + body
        due = begun + PERIOD * number / len(bodies)
        while due < begun + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            sent = time.perf_counter()
            writer.write(data)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(answer[:200])
            words = answer.lower().partition(b"content-length:")[2]
            await reader.readexactly(int(words.split(b"\r\n")[0]))
            taken.append(time.perf_counter() - sent)
            due += PERIOD
        writer.close()

    await asyncio.gather(*(agent(number, body) for number, body in enumerate(bodies)))
    return taken


def _agents(folder: Path, agents: int, seconds: float) -> list[tuple[str, str]]:
    place = str(folder / "agents.db")
    sweep, running = make(place, 0, agents)
    with serving(place) as (server, pid):
        bodies = [json.dumps({"agent": "agent", "runs": {run: 1}}).encode() for run in running]
        before = usage(pid)
        path = f"/api/sweeps/{sweep}/heartbeats"
        taken = sorted(asyncio.run(_beats(server.url, server.key or "", path, bodies, seconds)))
        busy = usage(pid) - before
    middle, late = (1000 * taken[len(taken) * part // 100] for part in (50, 99))
    return [
        (
            f"{agents:,} agents, a heartbeat every {PERIOD:g} s",
            f"median {middle:.1f} ms, 99% within {late:.1f} ms",
        ),
        ("processor time of the server", f"{1000 * busy / len(taken):.2f} ms per heartbeat"),
    ]


def _load(folder: Path, work: int) -> list[tuple[str, str]]:
    """Memory of a server after so many runs, and after three times as many."""
    from benchmarks.stream import bodies, stream

    place = str(folder / "load.db")
    requests = bodies(1, 100)
    found = []
    with serving(place) as (server, pid):
        stream(server.url, server.key, 8, requests)
        for rounds in (work // 8, 2 * work // 8):
            for _ in range(rounds):
                stream(server.url, server.key, 8, requests)
            found.append(memory(pid))
    return [
        (
            f"memory after {work:,} and {3 * work:,} runs of 100 rows",
            f"{found[0]:.0f} and {found[1]:.0f} MB",
        )
    ]


def run(
    few: int = FEW,
    many: int = MANY,
    agents: int = AGENTS,
    seconds: float = SECONDS,
    work: int = WORK,
) -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [
            *_agents(folder, agents, seconds),
            *_sizes(folder, few, many),
            *_load(folder, work),
        ]
