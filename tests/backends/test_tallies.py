"""Numbers of runs by state, kept as they change; on each kind of database."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from tests.backends.older import without_changes
from tune_bridge.backends import open_backend
from tune_bridge.backends.base import Backend, Operation, PutRun, PutSweep, Run, RunQuery, Sweep
from tune_bridge.backends.schema import VERSION_TABLE
from tune_bridge.testing.operations import scripts


def _check(backend: Backend, sweep_id: str) -> None:
    runs = backend.runs(sweep_id)
    assert backend.counts([sweep_id]).get(sweep_id, {}) == Counter(run.state for run in runs)
    query = RunQuery(sweeps=(sweep_id,), limit=1, descending=True)
    assert backend.count_runs(query) == len(runs)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(scripts())
def test_they_are_what_there_is(backend: Backend, script: list[Operation]) -> None:
    sweep_id = script[0].sweep.id  # type: ignore[union-attr]
    for operation in script:
        backend.apply([operation])
        _check(backend, sweep_id)
    backend.apply(script)
    _check(backend, sweep_id)
    for run in backend.runs(sweep_id):
        for _ in range(2):
            backend.delete_run(run.id)
            _check(backend, sweep_id)
    backend.delete_sweep(sweep_id)
    backend.apply(script)
    _check(backend, sweep_id)


def test_those_of_an_older_file(tmp_path: Path) -> None:
    path = str(tmp_path / "sweeps.db")
    states = ("running", "finished", "finished")
    runs = [PutRun(Run(id=f"{n}", sweep_id="s", state=s)) for n, s in enumerate(states)]
    with open_backend(path) as backend:
        backend.apply([PutSweep(Sweep(id="s")), *runs])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        without_changes(connection)
        connection.execute("DROP TABLE tallies")
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0004'")
        connection.commit()
    with open_backend(path) as backend:
        assert backend.counts(["s"]) == {"s": {"running": 1, "finished": 2}}
        backend.update_run("0", state="failed")
        _check(backend, "s")
