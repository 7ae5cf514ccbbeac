"""Writer: nothing waits for the backend, nothing is lost, nothing comes twice."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_bridge.backends import open_backend
from tune_bridge.backends.base import (
    BEHIND,
    LogEvents,
    LogRows,
    Operation,
    PatchRun,
    PutRun,
    PutSweep,
    Row,
    Run,
    Sweep,
)
from tune_bridge.backends.local import LocalBackend
from tune_bridge.backends.spool import Segment, Spool, decode_operation, encode_operation
from tune_bridge.backends.writer import Writer, merge_rows, replay_spool
from tune_bridge.errors import BackendError, InputError

SOON = 60.0
"""Seconds within which things happen even on a busy machine."""


class Flaky(LocalBackend):
    """A backend that can be away, or hang; it notes what it applied."""

    def __init__(self, engine, **more) -> None:
        super().__init__(engine, **more)
        self.away = False
        self.applied: list[Operation] = []
        self.tried = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def apply(self, operations: Iterable[Operation]) -> None:
        operations = list(operations)
        self.tried.set()
        self.go.wait(SOON)
        if self.away:
            raise BackendError("gone fishing")
        super().apply(operations)
        self.applied += operations

    def steps(self, run_id: str = "r") -> list[int]:
        """Steps in the order in which they were applied."""
        return [
            row.step
            for operation in self.applied
            if isinstance(operation, LogRows) and operation.run_id == run_id
            for row in operation.rows
        ]


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Flaky]:
    with Flaky.open(str(tmp_path / "sweeps.db")) as backend:
        backend.apply([PutSweep(Sweep(id="s")), PutRun(Run(id="r", sweep_id="s"))])
        backend.tried.clear()
        backend.applied.clear()
        yield backend
        backend.go.set()


@pytest.fixture
def spool_dir(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def row(step: int, run_id: str = "r") -> LogRows:
    return LogRows(run_id, [Row(step, float(step), {"x": step, "nan": math.nan})])


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        os.sched_yield()


def segments(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.jsonl")) if "refused" not in path.name]


class TestWriting:
    def test_applies_what_is_put(self, tmp_path: Path, spool_dir: Path) -> None:
        place = str(tmp_path / "new" / "sweeps.db")
        with Writer(place, spool_dir=spool_dir) as writer:
            writer.put(PutSweep(Sweep(id="s")))
            writer.put(PutRun(Run(id="r", sweep_id="s")))
            for step in range(500):
                writer.put(row(step))
            assert writer.flush(SOON)
            with open_backend(place) as backend:
                assert [found.step for found in backend.history("r")] == list(range(500))
        left = writer.close()
        assert (left.count, left.spool, left.refused, left.lost) == (0, None, 0, 0)
        assert not spool_dir.exists(), "no spool where none was needed"

    def test_close_applies_the_rest(self, backend: Flaky, spool_dir: Path) -> None:
        writer = Writer(backend, spool_dir=spool_dir, flush_interval=SOON)
        for step in range(2500):
            writer.put(row(step))
        assert writer.close(SOON).count == 0
        assert backend.steps() == list(range(2500))
        assert len(backend.applied) < 10, "rows are merged"
        assert backend.sweeps(), "a backend that was handed over stays open"

    def test_flush_does_not_wait_for_the_interval(self, backend: Flaky, spool_dir: Path) -> None:
        with Writer(backend, spool_dir=spool_dir, flush_interval=10 * SOON) as writer:
            writer.put(row(0))
            assert writer.flush(SOON)
            assert backend.steps() == [0]

    def test_put_from_many_threads(self, backend: Flaky, spool_dir: Path) -> None:
        backend.apply([PutRun(Run(id=f"r{i}", sweep_id="s")) for i in range(4)])
        with Writer(backend, spool_dir=spool_dir, max_batch=50) as writer:

            def work(run_id: str) -> None:
                for step in range(200):
                    writer.put(row(step, run_id))

            threads = [threading.Thread(target=work, args=(f"r{i}",)) for i in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        for i in range(4):
            assert backend.steps(f"r{i}") == list(range(200))

    def test_put_does_not_wait_for_a_stuck_backend(self, backend: Flaky, spool_dir: Path) -> None:
        backend.go.clear()
        with Writer(backend, spool_dir=spool_dir, flush_interval=0.0) as writer:
            writer.put(row(0))
            assert backend.tried.wait(SOON)
            for step in range(1, 1000):
                writer.put(row(step))
            assert backend.steps() == []
            backend.go.set()
            assert writer.flush(SOON)
        assert backend.steps() == list(range(1000))

    def test_closed(self, backend: Flaky, spool_dir: Path) -> None:
        writer = Writer(backend, spool_dir=spool_dir)
        writer.put(row(0))
        assert writer.close() == writer.close()
        with pytest.raises(BackendError, match="closed"):
            writer.put(row(1))

    def test_program_that_ends_without_close(self, backend: Flaky, spool_dir: Path) -> None:
        code = (
            "from tests.backends.test_writer import *\n"
            f"writer = Writer({backend.url!r}, spool_dir={str(spool_dir)!r}, flush_interval=60)\n"
            "for step in range(5): writer.put(row(step))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert backend.run("r").rows == 5


class TestAway:
    def test_away_and_back(self, backend: Flaky, spool_dir: Path) -> None:
        backend.away = True
        with Writer(backend, spool_dir=spool_dir, flush_interval=0.0, max_batch=7) as writer:
            for step in range(100):
                writer.put(row(step))
            until(lambda: segments(writer.spool))
            for step in range(100, 200):
                writer.put(row(step))
            assert not writer.flush(0.0)
            backend.away = False
            for step in range(200, 300):
                writer.put(row(step))
            assert writer.flush(SOON)
            assert backend.steps() == list(range(300)), "in order, each once"
            assert segments(writer.spool) == []
        run = backend.run("r")
        assert run.rows == 300
        assert math.isnan(run.summary["nan"]), "a spool keeps what JSON cannot say"

    def test_opened_late(self, tmp_path: Path, spool_dir: Path) -> None:
        place = tmp_path / "not yet" / "sweeps.db"
        place.parent.write_text("a file where the folder should be")
        writer = Writer(str(place), spool_dir=spool_dir, flush_interval=0.0)
        writer.put(PutSweep(Sweep(id="s")))
        until(lambda: segments(writer.spool))
        place.parent.unlink()
        assert writer.flush(SOON)
        assert writer.close().count == 0
        with open_backend(str(place)) as backend:
            assert backend.sweep("s").id == "s"

    def test_close_leaves_a_spool(self, backend: Flaky, spool_dir: Path) -> None:
        backend.away = True
        writer = Writer(backend, spool_dir=spool_dir)
        for step in range(10):
            writer.put(row(step))
        left = writer.close(SOON)
        assert left.count == 10
        assert left.spool == writer.spool
        with pytest.raises(BackendError):
            replay_spool(left.spool, backend)
        backend.away = False
        assert replay_spool(left.spool, backend) == 10
        assert replay_spool(left.spool, backend) == 0
        assert backend.steps() == list(range(10))
        assert segments(left.spool) == []

    def test_later_writer_replays_first(self, backend: Flaky, spool_dir: Path) -> None:
        backend.away = True
        first = Writer(backend, spool_dir=spool_dir)
        for step in range(10):
            first.put(row(step))
        assert first.close(SOON).count == 10
        second = Writer(backend, spool_dir=spool_dir)
        second.put(row(10))
        assert second.close(SOON).count == 11
        backend.away = False
        with Writer(backend, spool_dir=spool_dir) as third:
            third.put(row(11))
            assert third.flush(SOON)
        assert backend.steps() == list(range(12))

    def test_another_place_is_left_alone(
        self, backend: Flaky, spool_dir: Path, tmp_path: Path
    ) -> None:
        backend.away = True
        first = Writer(backend, spool_dir=spool_dir)
        first.put(row(0))
        left = first.close(SOON)
        with Writer(str(tmp_path / "other.db"), spool_dir=spool_dir) as other:
            other.put(PutSweep(Sweep(id="s")))
            assert other.flush(SOON)
        assert len(segments(left.spool)) == 1

    def test_a_living_writer_keeps_its_spool(self, backend: Flaky, spool_dir: Path) -> None:
        backend.away = True
        with Writer(backend, spool_dir=spool_dir, flush_interval=0.0) as writer:
            writer.put(row(0))
            until(lambda: segments(writer.spool))
            assert replay_spool(writer.spool, backend) == 0
            backend.away = False
        assert backend.steps() == [0]

    def test_killed_writer(self, tmp_path: Path, spool_dir: Path, backend: Flaky) -> None:
        context = multiprocessing.get_context("spawn")
        reader, sender = context.Pipe(duplex=False)
        place = str(tmp_path / "sweeps.db")
        process = context.Process(target=_spool_until_killed, args=(place, spool_dir, sender))
        process.start()
        assert reader.poll(SOON)
        folder = reader.recv()
        process.kill()
        process.join(SOON)
        with segments(folder)[-1].open("ab") as file:
            file.write(b'{"op":"log_rows","run_id":"r","ro')  # a line that was cut off
        assert replay_spool(folder, backend) == 20
        assert backend.steps() == list(range(20))


def _spool_until_killed(place: str, spool_dir: Path, sender) -> None:
    with Flaky.open(place) as backend:
        backend.away = True
        writer = Writer(backend, spool_dir=spool_dir, flush_interval=0.0)
        for step in range(20):
            writer.put(row(step))
        until(lambda: writer._spool.count == 20)
        sender.send(writer.spool)
        threading.Event().wait()


class TestBounds:
    def test_memory_overflows_to_the_disk(self, backend: Flaky, spool_dir: Path) -> None:
        backend.go.clear()
        with Writer(
            backend, spool_dir=spool_dir, flush_interval=0.0, max_batch=5, max_pending=10
        ) as writer:
            writer.put(row(0))
            assert backend.tried.wait(SOON)
            for step in range(1, 100):
                writer.put(row(step))
            assert len(writer._pending) == 10
            assert len(segments(writer.spool)) == 1
            backend.go.set()
            for step in range(100, 200):
                writer.put(row(step))
            assert writer.flush(SOON)
        assert backend.steps() == list(range(200))
        assert segments(writer.spool) == []

    def test_overflow_while_away(self, backend: Flaky, spool_dir: Path) -> None:
        backend.go.clear()
        backend.away = True
        with Writer(
            backend, spool_dir=spool_dir, flush_interval=0.0, max_batch=5, max_pending=10
        ) as writer:
            writer.put(row(0))
            assert backend.tried.wait(SOON)
            for step in range(1, 100):
                writer.put(row(step))
            backend.go.set()
            until(lambda: writer._spool.count == 100 and not writer._spool.overflowing)
            backend.away = False
            assert writer.flush(SOON)
        assert backend.steps() == list(range(200))[:100]

    @pytest.mark.parametrize("max_pending", [10, 1000])
    def test_close_is_bounded(self, backend: Flaky, spool_dir: Path, max_pending: int) -> None:
        backend.go.clear()
        writer = Writer(backend, spool_dir=spool_dir, flush_interval=0.0, max_pending=max_pending)
        writer.put(row(0))
        assert backend.tried.wait(SOON)
        for step in range(1, 100):
            writer.put(row(step))
        start = time.monotonic()
        left = writer.close(timeout=0.2)
        assert time.monotonic() - start < SOON / 2
        assert left.count == 100, "what hangs in the backend counts as left"
        backend.go.set()
        writer._thread.join(SOON)
        assert not writer._thread.is_alive()
        assert replay_spool(left.spool, backend) == 100
        assert backend.steps()[-100:] == list(range(100))
        assert backend.run("r").rows == 100

    def test_disk_and_backend_away(
        self, backend: Flaky, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        blocked = tmp_path / "file"
        blocked.write_text("")
        backend.away = True
        writer = Writer(backend, spool_dir=blocked, flush_interval=0.0, max_pending=10)
        for step in range(30):
            writer.put(row(step))
        left = writer.close(SOON)
        assert (left.count, left.lost) == (0, 30)
        assert "are lost" in caplog.text


class TestRefused:
    def test_does_not_block_the_queue(
        self, backend: Flaky, spool_dir: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with Writer(backend, spool_dir=spool_dir, flush_interval=SOON) as writer:
            writer.put(row(0))
            writer.put(row(0, run_id="no such run"))
            writer.put(row(1))
            writer.put(LogRows("r", [Row(2, 2.0, {"x": object()})]))
            writer.put(PatchRun("r", {"no such attribute": 1}, 3.0))
            writer.put(row(3))
            assert writer.flush(SOON)
            left = writer.close()
        assert backend.steps() == [0, 1, 3]
        assert (left.count, left.refused) == (0, 3)
        (path,) = left.spool.glob("refused-*.jsonl")
        notes = [json.loads(line) for line in path.read_text().splitlines()]
        assert "no such run" in notes[0]["reason"]
        assert decode_operation(notes[0]["operation"].encode()).run_id == "no such run"
        assert "object" in notes[1]["reason"]
        assert "no such attribute" in notes[2]["reason"]
        assert caplog.text.count("set aside") == 3

    def test_while_away(self, backend: Flaky, spool_dir: Path) -> None:
        backend.away = True
        with Writer(backend, spool_dir=spool_dir, flush_interval=0.0) as writer:
            writer.put(row(0))
            writer.put(LogRows("r", [Row(1, 1.0, {"x": object()})]))
            writer.put(row(0, run_id="no such run"))
            writer.put(row(2))
            until(lambda: writer._spool.count == 3)
            (segment,) = segments(writer.spool)
            with segment.open("ab") as file:
                file.write(b"this is no operation\n")
            backend.away = False
            assert writer.flush(SOON)
            writer.put(row(3))
        assert writer.close().refused == 2
        assert backend.steps() == [0, 2, 3]


class TestParts:
    def test_merge_rows(self) -> None:
        patch, put = PatchRun("a", {}, 0.0), PutRun(Run(id="b", sweep_id="s"))
        a, b = row(0, "a"), row(0, "b")
        merged = merge_rows([a, b, a, patch, a, a, b, put, b])
        assert [type(operation).__name__ for operation in merged] == [
            "LogRows", "LogRows", "PatchRun", "LogRows", "PutRun", "LogRows",
        ]  # fmt: skip
        assert [
            (operation.run_id, len(operation.rows))
            for operation in merged
            if isinstance(operation, LogRows)
        ] == [("a", 2), ("b", 2), ("a", 2), ("b", 1)]

    def test_merge_events(self) -> None:
        """Those that come behind all others: each question what is there costs a look at all."""
        one, two = (LogEvents("s", BEHIND, [{"n": n}], float(n)) for n in (1, 2))
        other, third = LogEvents("t", BEHIND, [{"n": 3}], 3.0), LogEvents("s", 7, [{"n": 4}], 4.0)
        merged = merge_rows([row(0, "a"), one, other, two, third])
        both = LogEvents("s", BEHIND, [{"n": 1}, {"n": 2}], 2.0)
        assert merged[1:] == [both, other, third]

    @given(
        st.dictionaries(
            st.text(),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                max_leaves=5,
            ),
        )
    )
    def test_lines(self, values: dict[str, object]) -> None:
        operation = LogRows("r", [Row(0, 0.5, values)])
        line = encode_operation(operation)
        assert line.count(b"\n") == 1
        # As text, in which NaN equals NaN and 1 is not 1.0.
        assert repr(decode_operation(line)) == repr(operation)

    def test_line_that_is_none(self) -> None:
        for line in (b"nonsense\n", b"{}\n", b"~{}\n", b"~\xff\n"):
            with pytest.raises(InputError):
                decode_operation(line)

    def test_replay_goes_on_where_it_stopped(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path)
        spool.append(map(row, range(10)))
        assert spool.peek(4) == spool.peek(4)
        assert len(spool.peek(4)) == 4
        assert spool.advance() == 4
        spool.close()
        again = Spool(tmp_path)
        assert again.count == 6
        (first, *_) = again.peek(100)
        assert first.rows[0].step == 4
        again.close()

    def test_segment_is_locked(self, tmp_path: Path) -> None:
        segment = Segment(tmp_path / "1.jsonl")
        with pytest.raises(BlockingIOError):
            Segment(tmp_path / "1.jsonl")
        segment.close()
        Segment(tmp_path / "1.jsonl").close()
