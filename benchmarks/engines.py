"""Configurations per second of the native engines, against W&B's own package; a restart.

Times are those of the processor, so that other work on the machine does not count. Both sides give
configurations one at a time: ours through the whole engine (ids, limits, books), W&B's by
`sweeps.next_run`. W&B's grid needs the runs so far to know where it is, and lists the whole product
first; it is measured at its beginning, where it is fastest.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

NUMBER, PEER_NUMBER = 20_000, 300
ROUNDS = 3
EVENTS, TAIL = 10_000, 500

PARAMETERS: dict[str, Any] = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
    "dropout": {"distribution": "uniform", "min": 0.0, "max": 0.5},
    "layers": {"distribution": "int_uniform", "min": 1, "max": 8},
    "optimizer": {"values": ["sgd", "adam", "lion"]},
    "epochs": {"value": 20},
}
RANDOM = {"method": "random", "parameters": PARAMETERS}
GRID = {
    "method": "grid",
    "parameters": {f"p{index}": {"values": list(range(10))} for index in range(4)},
}
HUGE = {
    "method": "grid",
    "parameters": {f"p{index}": {"values": list(range(10))} for index in range(12)},
}


def _engine(config: dict[str, Any]) -> Any:
    from tune_bridge.dialects.sweep import SweepDialect
    from tune_bridge.engines import make_engine

    return make_engine(SweepDialect().read(config).value, sweep_id="bench", seed=0)


def _ours(config: dict[str, Any], number: int) -> float:
    engine = _engine(config)
    number = min(number, engine.proposer.total or number)
    start = time.process_time()
    for _ in range(number):
        engine.ask(time=0.0)
    return number / (time.process_time() - start)


def _peer(config: dict[str, Any], number: int) -> float:
    from sweeps import next_run

    start = time.process_time()
    for _ in range(number):
        next_run(config, [])
    return number / (time.process_time() - start)


def _compare(config: dict[str, Any], number: int) -> tuple[float, float]:
    """Medians of rounds in turn: a machine that slows down slows both."""
    pairs = [(_ours(config, NUMBER), _peer(config, number)) for _ in range(ROUNDS)]
    return statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs)


def _restart(config: dict[str, Any]) -> tuple[float, int]:
    """Seconds from a snapshot and the last events of a log to the next configuration."""
    from tune_bridge.engines import restore_engine
    from tune_bridge.engines.base import Asked, Ended, Event, Told, replay

    engine = _engine(config)
    log: list[Event] = []
    snapshot = b""
    clock = 0.0

    def say(event: Event) -> Any:
        log.append(event)
        return engine.handle(event)

    while len(log) < EVENTS:
        clock += 1.0
        run = say(Asked(clock)).run
        for value in range(3):
            say(Told(run, {"loss": 1.0 / (value + 1)}, clock))
        say(Ended(run, "finished", clock))
        if not snapshot and len(log) >= EVENTS - TAIL:
            snapshot = engine.snapshot()
            seen = len(log)
    start = time.process_time()
    again = restore_engine(snapshot)
    replay(again, log[seen:])
    answer = again.ask(time=clock)
    took = time.process_time() - start
    assert answer == engine.ask(time=clock)
    return took, len(snapshot)


def run() -> list[tuple[str, str]]:
    """Measures; name and figure."""
    results = []
    cases: list[tuple[str, dict[str, Any], int]] = [
        ("random, 4 parameters", RANDOM, PEER_NUMBER),
        ("grid, 10,000 points", GRID, 5),
    ]
    for name, config, number in cases:
        _peer(config, 1)  # its imports
        ours, peer = _compare(config, number)
        results += [
            (f"native {name}", f"{ours:,.0f} configurations/s"),
            (
                f"sweeps {name}",
                f"{peer:,.1f} configurations/s; ours is {ours / peer:,.0f} times that",
            ),
        ]
    huge = statistics.median(_ours(HUGE, NUMBER) for _ in range(ROUNDS))
    results.append(("native grid, 10**12 points", f"{huge:,.0f} configurations/s"))
    took, size = _restart({**RANDOM, "metric": {"name": "loss"}})
    results.append(
        (
            f"restart after {EVENTS:,} events, {TAIL} of them since the snapshot",
            f"{took:.3f} s, {size / 1e6:.1f} MB",
        )
    )
    return results


if __name__ == "__main__":
    for name, figure in run():
        print(f"{name:58}{figure}")
