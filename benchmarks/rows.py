"""Rows per second into the local backend, against what writes fastest and against a peer.

The yardstick is the `executemany` of sqlite3 for the same rows as ready text: once into the same
table with the same pragmas and as many commits, once as fast as it goes (one transaction, a table
without any key). The peer is the tracking store of MLflow on SQLite, `log_batch`.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROWS, BATCH, RUNS = 200_000, 1_000, 20
PEER_ROWS = 4_000
ROUNDS = 5

Batches = list[tuple[int, list[tuple[int, float, dict[str, float]]]]]


def batches(rows: int) -> Batches:
    """What is written: `BATCH` rows of one run after the other, four metrics in each."""
    result: Batches = []
    for number in range(rows // BATCH):
        run, first = number % RUNS, number // RUNS * BATCH
        result.append(
            (
                run,
                [
                    (
                        step,
                        1_700_000_000.0 + step,
                        {
                            "training_iteration": step,
                            "loss": math.exp(-step / 5_000) + run / 97,
                            "accuracy": 1 - math.exp(-step / 3_000),
                            "lr": 1e-3 * 0.999**step,
                        },
                    )
                    for step in range(first, first + BATCH)
                ],
            )
        )
    return result


def _raw(folder: Path, rows: Batches) -> float:
    return _executemany(
        folder,
        _texts(rows),
        "CREATE TABLE history (run INTEGER, step INTEGER, time REAL, data TEXT, "
        "PRIMARY KEY (run, step)) WITHOUT ROWID",
    )


def _bare(folder: Path, rows: Batches) -> float:
    everything = [row for batch in _texts(rows) for row in batch]
    return _executemany(
        folder,
        [everything],
        "CREATE TABLE history (run INTEGER, step INTEGER, time REAL, data TEXT)",
    )


def _texts(rows: Batches) -> list[list[tuple[int, int, float, str]]]:
    import msgspec

    return [
        [(run, step, at, msgspec.json.encode(values).decode()) for step, at, values in batch]
        for run, batch in rows
    ]


def _executemany(folder: Path, texts: list[list[tuple[int, int, float, str]]], table: str) -> float:
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(table)
    start = time.perf_counter()
    for batch in texts:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO history VALUES (?, ?, ?, ?)", batch)
        connection.execute("COMMIT")
    took = time.perf_counter() - start
    connection.close()
    return sum(map(len, texts)) / took


def _ours(folder: Path, rows: Batches) -> float:
    from tune_bridge.backends.base import LogRows, PutRun, Row, Run
    from tune_bridge.backends.local import LocalBackend

    with LocalBackend.open(str(folder / "ours.db")) as backend:
        sweep = backend.create_sweep({"method": "random"})
        backend.apply([PutRun(Run(id=f"run{i}", sweep_id=sweep.id)) for i in range(RUNS)])
        operations = [LogRows(f"run{run}", [Row(*row) for row in batch]) for run, batch in rows]
        start = time.perf_counter()
        for operation in operations:
            backend.apply([operation])
        took = time.perf_counter() - start
        expected = sum(len(operation.rows) for operation in operations)
        assert sum(run.rows for run in backend.runs(sweep.id)) == expected
    return expected / took


def _peer(folder: Path, rows: Batches) -> float:
    from mlflow.entities import Metric
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    store = SqlAlchemyStore(f"sqlite:///{folder / 'peer.db'}", str(folder / "artifacts"))
    experiment = store.create_experiment("rows")
    runs = [
        store.create_run(experiment, "user", int(time.time() * 1000), [], f"run{i}").info.run_id
        for i in range(RUNS)
    ]
    operations = [
        (
            runs[run],
            [
                Metric(key, value, int(at * 1000), step)
                for step, at, values in batch
                for key, value in values.items()
            ],
        )
        for run, batch in rows
    ]
    start = time.perf_counter()
    for run_id, metrics in operations:
        for first in range(0, len(metrics), 1_000):  # its limit for one call
            store.log_batch(run_id, metrics[first : first + 1_000], [], [])
    took = time.perf_counter() - start
    return sum(len(batch) for _, batch in rows) / took


def _median(
    measures: list[Callable[[Path, Batches], float]], rows: Batches, rounds: int
) -> list[float]:
    """Medians of several measures, taken in turn: a machine that slows down slows all of them."""
    found: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for measure, values in zip(measures, found, strict=True):
            with tempfile.TemporaryDirectory() as folder:
                values.append(measure(Path(folder), rows))
    return [statistics.median(values) for values in found]


def run() -> list[tuple[str, str]]:
    """Measures; name and figure, medians of `ROUNDS` rounds."""
    bare, raw, ours = _median([_bare, _raw, _ours], batches(ROWS), ROUNDS)
    results = [
        ("sqlite3 executemany, no key, one commit", f"{bare:,.0f} rows/s"),
        ("sqlite3 executemany, same table and commits", f"{raw:,.0f} rows/s"),
        (
            "LocalBackend.apply",
            f"{ours:,.0f} rows/s, {ours / bare:.2f} and {ours / raw:.2f} of these",
        ),
    ]
    try:
        (peer,) = _median([_peer], batches(PEER_ROWS), 1)
    except ImportError as error:
        results.append(("MLflow log_batch, SQLite", f"not measured: {error}"))
    else:
        results.append(
            (
                "MLflow log_batch, SQLite",
                f"{peer:,.0f} rows/s; ours is {ours / peer:.0f} times that",
            )
        )
    return results


if __name__ == "__main__":
    for name, figure in run():
        print(f"{name:46}{figure}")
