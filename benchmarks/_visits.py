"""A dashboard visited by a fresh Chromium, in a process of its own that ends in time.

``python -m benchmarks._visits KIND PLACE`` starts a server that has read nothing yet, opens its
page twice, and writes a line of JSON for each thing that it finds as soon as it is known. What is
not known when the time is over stays out.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple
from urllib.request import urlopen

from benchmarks._browser import chromium, visit
from benchmarks._server import memory, serving

LIMIT = 100.0
"""Seconds that the visits of one dashboard take at most."""

SWEEP = "abcd1234"


class Served(NamedTuple):
    """A dashboard that runs: where its page is, its process, and where one logs in."""

    url: str
    pid: int
    login: str = ""


class Kind(NamedTuple):
    """A dashboard of a place, and what to wait for on its page: name and selector."""

    serve: Callable[[str], AbstractContextManager[Served]]
    wanted: dict[str, str]


@contextlib.contextmanager
def _ours(place: str) -> Iterator[Served]:
    with serving(place) as (server, pid):
        login = f"{server.url}/login?key={server.key}"
        yield Served(f"{server.url}/sweeps/{SWEEP}", pid, login)


@contextlib.contextmanager
def _program(url: str, *command: str) -> Iterator[Served]:
    """A server by its command; ``{port}`` is its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, *(part.replace("{port}", str(port)) for part in command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    root = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while True:
            try:
                urlopen(f"{root}{url}").close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{command[1]} does not start") from None
                time.sleep(0.05)
        yield Served(f"{root}{url}", process.pid)
    finally:
        process.terminate()
        process.wait()


def _optunas(place: str) -> AbstractContextManager[Served]:
    """Its page with a table and a plot beside each other; that of the table alone stays empty."""
    code = "from optuna_dashboard._cli import main; main()"
    url = "/dashboard/studies/1/smartSelection"
    return _program(url, "-c", code, place, "--port", "{port}", "--quiet")


def _floor(place: str) -> AbstractContextManager[Served]:
    """An empty page of Dash with one table of 20 rows."""
    return _program("/", "-m", "benchmarks._floor", "{port}")


_ROW = ".ag-center-cols-container .ag-row .ag-cell-value:not(:empty)"
_PLOT = "#parallel .parcoords .y-axis"
_LINES = "#curves .scatterlayer .trace, #curves .gl-container canvas"
KINDS = {
    "ours": Kind(_ours, {"row": _ROW, "plot": _PLOT}),
    "curves": Kind(_ours, {"row": _ROW, "plot": _LINES}),
    # An empty table has one row, which says so.
    "optuna": Kind(_optunas, {"row": "tbody tr + tr td:not(:empty)", "plot": ".parcoords .y-axis"}),
    "floor": Kind(_floor, {"row": _ROW}),
}


def seen(kind: str, place: str, limit: float = LIMIT) -> dict[str, float]:
    """What was found within so many seconds; names of the second visit begin with ``again ``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks._visits", kind, place],
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    try:
        written, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with its server and its browser
        written, _ = process.communicate()
    return dict(json.loads(line) for line in written.splitlines())


def main(kind: str, place: str) -> None:
    """Visits it."""

    def tell(name: str, value: float) -> None:
        print(json.dumps([name, value]), flush=True)

    with KINDS[kind].serve(place) as served, chromium() as browser:
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        if served.login:
            context.request.get(served.login, max_redirects=0)
        visit(context, served.url, KINDS[kind].wanted, tell)
        tell("memory", memory(served.pid))
        wanted = KINDS[kind].wanted
        visit(context, served.url, wanted, lambda name, value: tell(f"again {name}", value))
        context.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
