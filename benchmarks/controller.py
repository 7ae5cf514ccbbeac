"""Trials per second through the controller: over HTTP, in the process, and against Optuna.

The programs are trivial, so that what is measured is the queue alone: claim, five reports, end. The
peer is Optuna on SQLite with five reports per trial, which writes as durably.
"""

from __future__ import annotations

import functools
import os
import signal
import statistics
import tempfile
import threading
import time
from pathlib import Path

from tune_bridge.wire import Claim, ClaimRequest, Command, End, NewSweep, Over, Report

CONFIG = {
    "method": "random",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}},
}
TRIALS, AGENTS, REPORTS, EVENTS = 300, 200, 5, 10_000
LIVE = (100, 1_000, 10_000)


def _controller(folder: Path) -> list[tuple[str, str]]:
    from tune_bridge.backends import open_backend
    from tune_bridge.backends.base import Row
    from tune_bridge.controller import Controller

    rows = []
    with open_backend(str(folder / "own.db")) as backend:
        controller = Controller(backend, folder / "snapshots")
        cap = EVENTS // (REPORTS + 2)
        sweep = controller.sweep(controller.create({**CONFIG, "run_cap": cap}).id)
        started = time.perf_counter()
        while isinstance(claim := sweep.claim("agent", "host", str(time.perf_counter())), Claim):
            for step in range(REPORTS):
                row = Row(step, time.time(), {"loss": claim.config["x"] / (step + 1)})
                sweep.report(claim.run, claim.attempt, step, [row])
            sweep.end(claim.run, claim.attempt, "finished")
        seconds = time.perf_counter() - started
        rows.append(("controller alone, 5 reports per trial", f"{cap / seconds:.0f} trials/s"))
        for words, place in (("the log alone", None), ("a snapshot", folder / "snapshots")):
            controller.close()
            started = time.perf_counter()
            Controller(backend, place).sweep(sweep.id)
            seconds = time.perf_counter() - started
            rows.append((f"restart with {sweep.count:,} events, from {words}", f"{seconds:.2f} s"))
    return rows


def _live(folder: Path) -> list[tuple[str, str]]:
    """Processor time of an event of a sweep with so many runs at once."""
    from tune_bridge.backends import open_backend
    from tune_bridge.backends.base import Row
    from tune_bridge.controller import Controller

    rows = []
    with open_backend(str(folder / "live.db")) as backend:
        controller = Controller(backend)
        for number in LIVE:
            sweep = controller.sweep(controller.create(CONFIG).id)
            claim = functools.partial(sweep.claim, host="host", request="first")
            calls = [functools.partial(claim, f"agent-{n}") for n in range(number)]
            claims = [
                each for n in range(0, number, 500) for each in sweep.together(calls[n:][:500])
            ]
            started = time.process_time()
            for turn, given in enumerate(claims[:100]):
                row = Row(0, time.time(), {"loss": given.config["x"]})
                sweep.report(given.run, given.attempt, 0, [row])
                sweep.end(given.run, given.attempt, "crashed")
                sweep.claim(f"agent-{turn}", "host", "second")
            spent = (time.process_time() - started) / 300
            rows.append((f"an event with {number:,} live runs", f"{1000 * spent:.2f} ms"))
    return rows


def _optuna(folder: Path) -> list[tuple[str, str]]:
    try:
        import optuna
    except ImportError:
        return [("Optuna on SQLite", "not installed")]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'optuna.db'}", sampler=optuna.samplers.RandomSampler()
    )
    number = 60

    def objective(trial: optuna.Trial) -> float:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        for step in range(REPORTS):
            trial.report(x / (step + 1), step)
        return x + y

    started = time.perf_counter()
    study.optimize(objective, n_trials=number)
    seconds = time.perf_counter() - started
    return [("Optuna on SQLite, 5 reports per trial", f"{number / seconds:.0f} trials/s")]


def _http(folder: Path) -> list[tuple[str, str]]:
    from tune_bridge.agents.http import Server
    from tune_bridge.server_process import ensure_server

    found = ensure_server(str(folder / "http.db"))
    server = Server(found.url, found.key)
    try:
        one = _turns(server, 1, TRIALS // 3)
        many = _turns(server, AGENTS, TRIALS * 2)
        return [
            ("one agent over HTTP: trials", f"{one[0]:.0f} trials/s"),
            ("one agent over HTTP: from an end to the next start", f"{1000 * one[1]:.0f} ms"),
            (f"{AGENTS} agents at once over HTTP: trials", f"{many[0]:.0f} trials/s"),
        ]
    finally:
        os.kill(found.pid, signal.SIGTERM)
        os.waitpid(found.pid, 0)


def _turns(server: object, agents: int, trials: int) -> tuple[float, float]:
    """Trials per second, and the median of seconds from an end to the next claim's answer."""
    sweep = server.create(NewSweep(config={**CONFIG, "run_cap": trials}))["id"]
    server.command(sweep, Command("pause"))
    turns: list[float] = []

    def work(name: str) -> None:
        number, ended = 0, None
        while True:
            answer = server.claim(sweep, ClaimRequest(name, name, str(number), 20.0))
            if isinstance(answer, Over):
                return
            if not isinstance(answer, Claim):
                continue
            if ended is not None:
                turns.append(time.perf_counter() - ended)
            number += 1
            row = (0, time.time(), {"loss": answer.config["x"]})
            server.report(answer.run, Report(attempt=answer.attempt, seq=0, rows=[row]))
            server.end(answer.run, End(answer.attempt, "finished"))
            ended = time.perf_counter()

    threads = [threading.Thread(target=work, args=(f"agent-{n}",)) for n in range(agents)]
    for thread in threads:
        thread.start()
    server.command(sweep, Command("resume"))
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    return trials / (time.perf_counter() - started), statistics.median(turns or [0.0])


def run() -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [*_controller(folder), *_live(folder), *_optuna(folder), *_http(folder)]
