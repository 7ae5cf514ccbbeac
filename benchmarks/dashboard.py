"""The dashboard beside Optuna's: time to the first row and to the plot, bytes, memory.

Both show the same trials (8 parameters, 10 reports each) to a fresh Chromium, from servers that
have just started: each visit meets a server that has read nothing yet. Then what ours alone is
asked: curves of a million rows, importances of 20 parameters, a sweep of 100,000 runs.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

from benchmarks._browser import Visit, chromium, visit
from benchmarks._server import Client, memory, serving
from benchmarks._trials import fill_optuna, fill_ours, trials
from tune_bridge.backends.local import LocalBackend

SIZES = (1_000, 10_000)
PARAMETERS, REPORTS = 8, 10
LARGE = 100_000
CURVES = (1_000, 1_000)  # runs, and rows of each
IMPORTANCE = (10_000, 20)  # runs, and parameters

_SWEEP = "abcd1234"
_ROW = ".ag-center-cols-container .ag-row .ag-cell-value"
_PLOT = "#parallel .parcoords .y-axis"
_LINES = "#curves .scatterlayer .trace, #curves .gl-container canvas"
_ROW_OF_OPTUNA = "tbody tr td"
_PLOT_OF_OPTUNA = ".parcoords .y-axis"


class Seen(NamedTuple):
    """What a dashboard takes to show some trials."""

    row: float
    plot: float
    first: Visit
    again: Visit
    memory: float


@contextlib.contextmanager
def _optuna_dashboard(place: str) -> Iterator[tuple[str, int]]:
    """Optuna's dashboard of a storage, and its process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    code = "from optuna_dashboard._cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, place, "--port", str(port), "--quiet"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while True:
            try:
                urlopen(f"{url}/dashboard/").close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("Optuna's dashboard does not start") from None
                time.sleep(0.05)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()


def _ours(browser: Any, place: str, wanted: tuple[str, ...] = (_ROW, _PLOT)) -> Seen:
    with serving(place) as (server, pid):
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        context.request.get(f"{server.url}/login?key={server.key}", max_redirects=0)
        url = f"{server.url}/sweeps/{_SWEEP}"
        first = visit(context, url, wanted)
        held = memory(pid)
        again = visit(context, url, wanted)
        context.close()
    return Seen(first.seconds[0], first.seconds[-1], first, again, held)


def _optunas(browser: Any, place: str) -> Seen:
    """Its page with a table and a plot beside each other; that of the table alone stays empty."""
    with _optuna_dashboard(place) as (url, pid):
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        address = f"{url}/dashboard/studies/1/smartSelection"
        first = visit(context, address, (_ROW_OF_OPTUNA, _PLOT_OF_OPTUNA))
        held = memory(pid)
        again = visit(context, address, (_ROW_OF_OPTUNA, _PLOT_OF_OPTUNA))
        context.close()
    row, plot = first.seconds
    return Seen(row, plot, first, again, held)


def _mega(number: int) -> str:
    return f"{number / 1e6:.2f}"


def _beside(browser: Any, folder: Path, number: int) -> list[tuple[str, str]]:
    ours, theirs = str(folder / f"{number}.db"), f"sqlite:///{folder}/{number}-optuna.db"
    with LocalBackend.open(ours) as backend:
        fill_ours(backend, _SWEEP, number, PARAMETERS, REPORTS)
    fill_optuna(theirs, "study", number, PARAMETERS, REPORTS)
    one, other = _ours(browser, ours), _optunas(browser, theirs)
    pairs = {
        "first row": [f"{seen.row:.2f}" for seen in (one, other)],
        "parallel plot": [f"{seen.plot:.2f}" for seen in (one, other)],
        "sent to a new reader, programs + data": [_bytes(seen.first) for seen in (one, other)],
        "sent for a second visit": [_bytes(seen.again) for seen in (one, other)],
        "plot of a second visit": [f"{seen.again.seconds[-1]:.2f}" for seen in (one, other)],
        "memory of the server": [f"{seen.memory:.0f}" for seen in (one, other)],
    }
    units = {"sent": "MB", "memory": "MB"}
    return [
        (
            f"{number:,} runs, ours and Optuna's: {what}",
            f"{' and '.join(values)} {units.get(what.split()[0], 's')}",
        )
        for what, values in pairs.items()
    ]


def _bytes(visit: Visit) -> str:
    return f"{_mega(visit.program)} + {_mega(visit.data)}"


def _timed(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _curves(browser: Any, folder: Path, number: int, rows: int) -> list[tuple[str, str]]:
    place = str(folder / "curves.db")
    with LocalBackend.open(place) as backend:
        fill_ours(backend, _SWEEP, number, PARAMETERS, rows, metrics=4)
        taken = [
            _timed(functools.partial(backend.histories, _SWEEP, "loss", max_points=points))
            for points in (60, 500)
        ]
    seen = _ours(browser, place, (_ROW, _LINES))
    return [
        (
            f"{number * rows:,} history rows: sampled to 60 and 500 points a run",
            f"{taken[0]:.2f} and {taken[1]:.2f} s",
        ),
        (
            f"{number * rows:,} history rows: page with its curves",
            f"{seen.plot:.2f} s, {_mega(seen.first.data)} MB of data",
        ),
    ]


def _importance(number: int, parameters: int) -> list[tuple[str, str]]:
    from tune_bridge.server.analysis.importance import measure, measures

    made = list(trials(number, parameters, 1))
    columns = {name: [trial.params[name] for trial in made] for name in made[0].params}
    target = [trial.values[-1] for trial in made]
    log = frozenset(name for name in columns if int(name[1:]) % 3 == 2)
    found = []
    for kind in measures():
        measure({name: values[:50] for name, values in columns.items()}, target[:50], kind, log)
        taken = _timed(functools.partial(measure, columns, target, kind, log))
        found.append(
            (f"importance of {number:,} runs x {parameters} parameters: {kind}", f"{taken:.2f} s")
        )
    return found


def _large(browser: Any, folder: Path, number: int) -> list[tuple[str, str]]:
    place = str(folder / "large.db")
    with LocalBackend.open(place) as backend:
        fill_ours(backend, _SWEEP, number, PARAMETERS, 1)
    seen = _ours(browser, place)
    with serving(place) as (server, pid), LocalBackend.open(place) as backend:
        client = Client(server.url, server.key)
        before = memory(pid)
        lines = _timed(lambda: client.get("/api/sweeps"))
        read = _timed(lambda: client.get(f"/api/sweeps/{_SWEEP}"))
        backend.update_run(f"{_SWEEP}-7", message="changed")
        changed = _timed(lambda: client.get(f"/api/sweeps/{_SWEEP}"))
        held = memory(pid)
    return [
        (f"{number:,} runs: first row and plot", f"{seen.row:.2f} and {seen.plot:.2f} s"),
        (f"{number:,} runs: data sent", f"{_mega(seen.first.data)} MB"),
        (f"{number:,} runs: list of sweeps", f"{1000 * lines:.0f} ms"),
        (
            f"{number:,} runs: read, and read again after a change",
            f"{read:.2f} and {changed:.2f} s",
        ),
        (
            f"{number:,} runs: memory before and after, and with the page",
            f"{before:.0f}, {held:.0f} and {seen.memory:.0f} MB",
        ),
    ]


def run(
    sizes: tuple[int, ...] = SIZES,
    large: int = LARGE,
    curves: tuple[int, int] = CURVES,
    importance: tuple[int, int] = IMPORTANCE,
) -> list[tuple[str, str]]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = _importance(*importance)
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        folder = Path(name)
        for number in sizes:
            found += _beside(browser, folder, number)
        found += _curves(browser, folder, *curves)
        found += _large(browser, folder, large)
    return found
