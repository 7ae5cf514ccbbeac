"""The conformance suite of backends, where several threads and processes use one at a time."""

# ruff: noqa: D102 - a test says what it promises by its name

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tune_bridge.backends.base import Backend, LogRows, PatchSweep, Row
from tune_bridge.testing.operations import made_rows, made_run, made_sweep

__all__ = ["ConcurrentWork", "Connect"]

Connect = Callable[[], Backend]


def _write_rows(connect: Connect, run_id: str, first: int, number: int) -> None:
    """Writes rows one by one; what another process does in these tests."""
    with connect() as backend:
        for row in made_rows(number, first):
            backend.apply([LogRows(run_id, [row])])


def _in_process(target: Callable[..., None], *arguments: Any) -> multiprocessing.Process:
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    return process  # type: ignore[return-value]


class ConcurrentWork:
    """A part of `tune_bridge.testing.backends.BackendTestCase`."""

    def test_threads(self, backend: Backend) -> None:
        sweep_id = made_sweep(backend)
        start = threading.Barrier(4)

        def work(number: int) -> str:
            start.wait()
            run_id = made_run(backend, sweep_id)
            for row in made_rows(20):
                backend.apply([LogRows(run_id, [row]), PatchSweep(sweep_id, {}, row.time)])
                assert len(backend.history(run_id)) == backend.run(run_id).rows == row.step + 1
                backend.counts([sweep_id])
            return run_id

        with ThreadPoolExecutor(4) as pool:
            ids = set(pool.map(work, range(4)))
        assert {run.id for run in backend.runs(sweep_id)} == ids
        assert [run.rows for run in backend.runs(sweep_id)] == [20] * 4

    def test_one_run_from_many_threads(self, backend: Backend) -> None:
        run_id = made_run(backend)
        start = threading.Barrier(4)

        def work(number: int) -> None:
            start.wait()
            for step in range(number, 80, 4):
                backend.apply([LogRows(run_id, [Row(step, float(step), {f"k{step}": step})])])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        run = backend.run(run_id)
        assert run.rows == len(run.summary) == len(backend.history(run_id)) == 80

    def test_another_process_writes(self, backend: Backend, again: Connect) -> None:
        run_id = made_run(backend)
        process = _in_process(_write_rows, again, run_id, 0, 40)
        for row in made_rows(40, first=40):
            backend.apply([LogRows(run_id, [row])])
        process.join(120)
        assert process.exitcode == 0
        assert backend.run(run_id).rows == 80
        assert [row.step for row in backend.history(run_id)] == list(range(80))

    def test_a_reader_sees_whole_applies(self, backend: Backend, again: Connect) -> None:
        sweep_id = made_sweep(backend)
        first, second = made_run(backend, sweep_id), made_run(backend, sweep_id)
        done = threading.Event()

        def write() -> None:
            try:
                for row in made_rows(60):
                    backend.apply([LogRows(first, [row]), LogRows(second, [row])])
            finally:
                done.set()

        thread = threading.Thread(target=write)
        thread.start()
        with again() as other:
            looks = 0
            while not done.is_set() or looks == 0:
                rows = [run.rows for run in other.runs(sweep_id)]
                assert rows[0] == rows[1]
                looks += 1
            thread.join()
            assert [run.rows for run in other.runs(sweep_id)] == [60, 60]
