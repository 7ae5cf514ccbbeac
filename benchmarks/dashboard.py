"""The dashboard beside Optuna's: time to the first row and to the plot, bytes, memory.

Both show the same trials (8 parameters, 10 reports each) to a fresh Chromium, from servers that
have just started: each visit meets a server that has read nothing yet. What an empty page of Dash
with a table takes then is the floor, so that times can be told on a busy machine. Then what ours
alone is asked: curves of a million rows, importances of 20 parameters, a sweep of 100,000 runs.

What is not there within 100 seconds is told as that.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._server import Client, memory, serving
from benchmarks._trials import fill_optuna, fill_ours, trials
from benchmarks._visits import LIMIT, SWEEP, seen
from tune_bridge.backends.local import LocalBackend

SIZES = (1_000, 10_000)
PARAMETERS, REPORTS = 8, 10
LARGE = 100_000
CURVES = (1_000, 1_000)  # runs, and rows of each
IMPORTANCE = (10_000, 20)  # runs, and parameters

_MEGA = 1e6
_SEEN = {
    "row": ("first row", 1.0, "s"),
    "plot": ("parallel plot", 1.0, "s"),
    "again row": ("first row of a second visit", 1.0, "s"),
    "again plot": ("plot of a second visit", 1.0, "s"),
    "freeze": ("longest freeze of the page", 1.0, "s"),
    "program": ("programs sent to a new reader", _MEGA, "MB"),
    "data": ("data sent", _MEGA, "MB"),
    "again program": ("programs sent for a second visit", _MEGA, "MB"),
    "memory": ("memory of the server", 1.0, "MB"),
    "heap": ("objects of the page", 1.0, "MB"),
}
"""What a visit tells -> words, and its unit."""


def _said(found: dict[str, float], name: str) -> str:
    _, unit, word = _SEEN[name]
    if name not in found:
        return f"not within {LIMIT:.0f} s"
    return (
        f"{found[name] / unit:.2f} {word}" if word != "MB" or unit > 1 else f"{found[name]:.0f} MB"
    )


def _over(found: dict[str, float], floor: dict[str, float], name: str) -> str:
    return f"{found[name] / floor[name]:.1f}" if name in found and name in floor else "no"


def _beside(folder: Path, number: int) -> list[tuple[str, str]]:
    ours, theirs = str(folder / f"{number}.db"), f"sqlite:///{folder}/{number}-optuna.db"
    with LocalBackend.open(ours) as backend:
        fill_ours(backend, SWEEP, number, PARAMETERS, REPORTS)
    fill_optuna(theirs, "study", number, PARAMETERS, REPORTS)
    one, floor, other = seen("ours", ours), seen("floor", ""), seen("optuna", theirs)
    lines = [
        (f"{words}", f"{_said(one, name)} and {_said(other, name)}")
        for name, (words, *_) in _SEEN.items()
    ]
    lines += [
        (
            f"{_SEEN[name][0]}, times an empty page's ({_said(floor, name)})",
            f"{_over(one, floor, name)} and {_over(other, floor, name)}",
        )
        for name in ("row", "again row")
    ]
    return [(f"{number:,} runs, ours and Optuna's: {what}", value) for what, value in lines]


def _timed(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _curves(folder: Path, number: int, rows: int) -> list[tuple[str, str]]:
    place = str(folder / "curves.db")
    with LocalBackend.open(place) as backend:
        fill_ours(backend, SWEEP, number, PARAMETERS, rows, metrics=4)
        taken = [
            _timed(functools.partial(backend.histories, SWEEP, "loss", max_points=points))
            for points in (60, 500)
        ]
    found = seen("curves", place)
    return [
        (
            f"{number * rows:,} history rows: sampled to 60 and 500 points a run",
            f"{taken[0]:.2f} and {taken[1]:.2f} s",
        ),
        (
            f"{number * rows:,} history rows: page with its curves",
            f"{_said(found, 'plot')}, {_said(found, 'data')} of data",
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


def _large(folder: Path, number: int) -> list[tuple[str, str]]:
    place = str(folder / "large.db")
    with LocalBackend.open(place) as backend:
        fill_ours(backend, SWEEP, number, PARAMETERS, 1)
    found = seen("ours", place)
    with serving(place) as (server, pid), LocalBackend.open(place) as backend:
        client = Client(server.url, server.key)
        before = memory(pid)
        lines = _timed(lambda: client.get("/api/sweeps"))
        read = _timed(lambda: client.get(f"/api/sweeps/{SWEEP}"))
        backend.update_run(f"{SWEEP}-7", message="changed")
        changed = _timed(lambda: client.get(f"/api/sweeps/{SWEEP}"))
        held = memory(pid)
    return [
        *((f"{number:,} runs: {words}", _said(found, name)) for name, (words, *_) in _SEEN.items()),
        (f"{number:,} runs: list of sweeps", f"{1000 * lines:.0f} ms"),
        (
            f"{number:,} runs: read, and read again after a change",
            f"{read:.2f} and {changed:.2f} s",
        ),
        (f"{number:,} runs: memory before and after", f"{before:.0f} and {held:.0f} MB"),
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in sizes:
            found += _beside(folder, number)
        found += _curves(folder, *curves)
        found += _large(folder, large)
    return found
