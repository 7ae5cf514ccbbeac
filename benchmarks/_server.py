"""A server as its own process, and a client that costs little, for benchmarks."""

from __future__ import annotations

import base64
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tune_bridge.server_process import Address, find_server

_READY = 90.0


class Client:
    """Requests over one connection, as the wandb client authenticates them."""

    def __init__(self, url: str, key: str | None) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)
        token = base64.b64encode(f"api:{key or ''}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def post(self, path: str, body: bytes) -> bytes:
        return self._ask("POST", path, body)

    def get(self, path: str) -> bytes:
        return self._ask("GET", path, None)

    def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status != 200 or data.startswith(b'{"errors"'):
            raise RuntimeError(f"{path}: {answer.status} {data[:300]!r}")
        return data


@contextmanager
def serving(place: str) -> Iterator[tuple[Address, int]]:
    """A server of a place, and its process."""
    env = {**os.environ, "TUNE_BRIDGE_BACKEND": place, "TUNE_BRIDGE_KEY": "k" * 40}
    process = subprocess.Popen(
        [sys.executable, "-m", "tune_bridge", "server", "--port", "0"],
        env=env,
        stdout=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + _READY
        while (found := find_server(place)) is None:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the server does not start")
            time.sleep(0.05)
        yield found, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def usage(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """Megabytes that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
