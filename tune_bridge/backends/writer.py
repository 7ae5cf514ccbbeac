"""Logging that never blocks training: one thread that takes operations from all others.

`Writer.put` appends to a queue in memory and returns. The writer's thread opens the backend,
applies what has come in batches, and moves it to a spool on disk while the backend is away. The
order of operations is kept throughout: spool first, then memory, then what came while the memory
was full.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tune_bridge.backends import open_backend, places
from tune_bridge.backends.base import (
    BEHIND,
    Backend,
    LogEvents,
    LogRows,
    Operation,
    PatchRun,
    PutRun,
)
from tune_bridge.backends.spool import Spool, SpoolClosedError, spool_folder
from tune_bridge.errors import BackendError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Leftover", "Writer", "merge_rows", "replay_spool"]

_logger = logging.getLogger(__name__)
_FIRST_DELAY, _LONGEST_DELAY, _URGENT_DELAY = 0.25, 30.0, 0.05


class Leftover(msgspec.Struct, frozen=True):
    """What a writer could not bring to its backend.

    Attributes:
        count: Operations in the spool (those of earlier writers for the same place included).
        spool: The folder that holds them, or None when there are none.
        refused: Operations that the backend will never take; they stand there too, with the reason.
        lost: Operations that neither the backend nor the disk took.
    """

    count: int
    spool: Path | None
    refused: int = 0
    lost: int = 0


class Writer:
    """Brings operations to a backend, in the background. Use as a context manager, or call `close`.

    Args:
        backend: The backend, or where it is (see `tune_bridge.backends.open_backend`). A place is
            opened in the writer's thread, when the first operation comes.
        spool_dir: Where spools live; ``spool`` in the package's home folder without.
        max_batch: Operations of one `Backend.apply`.
        flush_interval: Seconds that an operation may wait for others before it is applied.
        max_pending: Operations in memory; what comes beyond goes to the disk at once.
    """

    def __init__(
        self,
        backend: Backend | str | None = None,
        *,
        spool_dir: Path | str | None = None,
        max_batch: int = 1_000,
        flush_interval: float = 0.25,
        max_pending: int = 50_000,
    ) -> None:
        if isinstance(backend, Backend):
            place = str(getattr(backend, "url", type(backend).__qualname__))
            self._backend: Backend | None = backend
        else:
            place = places.shown(backend)
            self._backend = None
        self._url = None if isinstance(backend, Backend) else places.canonical(backend)
        self._place = place
        self._own_backend = not isinstance(backend, Backend)
        self._max_batch = max_batch
        self._flush_interval = flush_interval
        self._max_pending = max_pending
        self._spool = Spool(
            spool_folder(Path(spool_dir) if spool_dir else places.home() / "spool", place)
        )
        self._changed = threading.Condition(threading.Lock())
        self._pending: deque[Operation] = deque()
        self._inflight: list[Operation] = []
        self._put = self._spool.count
        self._settled = self._refused = self._lost = self._waiting = 0
        self._closing = self._away = False
        self._thread = threading.Thread(target=self._main, name="tune-bridge-writer", daemon=True)
        self._thread.start()
        atexit.register(self._at_exit)

    @property
    def spool(self) -> Path:
        """The folder of this place's spool; it may not exist."""
        return self._spool.folder

    @property
    def away(self) -> bool:
        """Whether the backend did not answer when it was last asked."""
        return self._away

    def put(self, operation: Operation) -> None:
        """Takes an operation, in microseconds. Its values must not be changed afterwards.

        Raises:
            BackendError: The writer is closed.
        """
        with self._changed:
            if self._closing:
                raise BackendError(f"the writer for {self._place} is closed; nothing was logged")
            self._put += 1
            pending = self._pending
            if len(pending) >= self._max_pending or self._spool.overflowing:
                self._put_aside(operation)
                return
            pending.append(operation)
            if len(pending) == 1 or len(pending) == self._max_batch:
                self._changed.notify_all()

    def _put_aside(self, operation: Operation) -> None:
        """With the memory full; the lock is held."""
        try:
            if not self._spool.overflow(operation):
                self._refused += 1
                self._settled += 1
        except OSError as error:
            self._lose(1, error)
            self._settled += 1

    def flush(self, timeout: float = 30.0) -> bool:
        """Waits until all that was put is applied (or set aside for good).

        Args:
            timeout: Seconds to wait at most. A backend that is away is tried often meanwhile.

        Returns:
            Whether it is.
        """
        with self._changed:
            target = self._put
            self._waiting += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(
                    lambda: self._settled >= target or not self._thread.is_alive(), timeout
                ) and (self._settled >= target)
            finally:
                self._waiting -= 1

    def close(self, timeout: float = 30.0) -> Leftover:
        """Applies what is left, or leaves it in the spool. Idempotent.

        Args:
            timeout: Seconds that it may take.

        Returns:
            What is left.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        # What is left of the time is for writing to the disk what a stuck backend holds up.
        self._thread.join(timeout * 0.8)
        if self._thread.is_alive():
            self._give_up()
        self._spool.close()
        atexit.unregister(self._at_exit)
        with self._changed:
            if self._pending:
                self._lose(len(self._pending), OSError("the disk takes no spool"))
                self._pending.clear()
            count = self._spool.count
            folder = self._spool.folder if count or self._refused else None
            return Leftover(count, folder, self._refused, self._lost)

    def _give_up(self) -> None:
        """Saves what is in memory while the thread hangs in the backend."""
        with self._changed:
            left = [*self._inflight, *self._pending]
            self._inflight, self._pending = [], deque()
            try:
                self._refused += self._spool.rescue(left)
            except OSError as error:
                self._lose(len(left), error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _at_exit(self) -> None:
        left = self.close(timeout=10.0)
        if left.count:
            _logger.warning("%d operations for %s wait in %s", left.count, self._place, left.spool)

    def _main(self) -> None:
        delay = _FIRST_DELAY
        try:
            while self._wait_for_work():
                last = self._closing
                try:
                    self._drain()
                except (BackendError, OSError) as error:
                    self._go_away(error)
                    if last:
                        return
                    self._sit_out(delay)
                    delay = min(2 * delay, _LONGEST_DELAY)
                else:
                    delay = _FIRST_DELAY
        except SpoolClosedError:  # by a `close` that would wait no longer
            _logger.debug("the writer for %s was given up", self._place)
        finally:
            if self._own_backend and self._backend is not None:
                with contextlib.suppress(BackendError):
                    self._backend.close()
            with self._changed:
                self._changed.notify_all()

    def _wait_for_work(self) -> bool:
        """Waits for operations and lets a batch gather; False when closing and all is done."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closing or self._pending or self._spool.waiting or self._spool.overflowing
                )
            )
            if not self._spool.waiting:
                self._changed.wait_for(
                    lambda: self._closing or self._waiting or len(self._pending) >= self._max_batch,
                    self._flush_interval,
                )
            return bool(self._pending or self._spool.waiting or self._spool.overflowing)

    def _drain(self) -> None:
        """Applies all there is.

        Raises:
            BackendError: The backend is away; what it did not take is where it was.
        """
        while True:
            if self._spool.waiting:
                operations = self._spool.peek(self._max_batch)
                refused = self._apply(operations)
                self._settle(self._spool.advance(), refused)
                continue
            with self._changed:
                pending = self._pending
                self._inflight = [
                    pending.popleft() for _ in range(min(len(pending), self._max_batch))
                ]
            if self._inflight:
                number = len(self._inflight)
                refused = self._apply(self._inflight)
                with self._changed:
                    self._inflight = []
                self._settle(number, refused)
            elif not self._adopt_overflow():
                return

    def _settle(self, number: int, refused: Sequence[tuple[Operation, str]]) -> None:
        for operation, reason in refused:
            self._spool.refuse(operation, reason)
        with self._changed:
            self._settled += number
            self._refused += len(refused)
            self._changed.notify_all()

    def _apply(self, operations: Sequence[Operation]) -> list[tuple[Operation, str]]:
        """Applies operations; returns those that were refused for good, with the reason."""
        if self._backend is None:
            try:
                self._backend = open_backend(self._url)
            except BackendError:
                raise
            except Exception as error:
                raise BackendError(f"{self._place}: {type(error).__name__}: {error}") from error
        refused = apply_all(self._backend, operations)
        if self._away:
            self._away = False
            _logger.warning("%s is back; the spool is replayed", self._place)
        return refused

    def _go_away(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            _logger.warning(
                "%s: operations are kept in %s until it is back", error, self._spool.folder
            )
        self._move_to_spool()

    def _move_to_spool(self) -> None:
        """Moves the memory to the spool, and the overflow behind it."""
        with self._changed:
            self._inflight.extend(self._pending)
            self._pending.clear()
        try:
            refused = self._spool.append(self._inflight)
        except OSError as error:
            with self._changed:  # it stays in memory, which is bounded
                self._pending.extendleft(reversed(self._inflight))
                self._inflight = []
            _logger.error("%s: the spool cannot be written: %s", self._spool.folder, error)
            return
        with self._changed:
            self._inflight = []
            self._refused += refused
            self._settled += refused
        self._adopt_overflow()

    def _adopt_overflow(self) -> bool:
        """Queues what comes after the memory, unless there is something in the memory again."""
        with self._changed:
            return bool(self._pending) or self._spool.adopt_overflow()

    def _sit_out(self, delay: float) -> None:
        """Waits before the next try; the memory is moved to the spool meanwhile."""
        deadline = time.monotonic() + delay
        while (left := deadline - time.monotonic()) > 0:
            with self._changed:
                if self._waiting:
                    # Somebody waits for the backend: it is tried often.
                    self._changed.wait_for(lambda: self._closing, min(_URGENT_DELAY, left))
                    return
                self._changed.wait_for(
                    lambda: self._closing or self._waiting, min(self._flush_interval, left)
                )
                if self._closing:
                    return
                idle = not self._pending and not self._spool.overflowing
            if not idle:
                self._move_to_spool()

    def _lose(self, number: int, error: Exception) -> None:
        self._lost += number
        _logger.error("%d operations for %s are lost: %s", number, self._place, error)


def merge_rows(operations: Sequence[Operation]) -> list[Operation]:
    """Joins the rows of a run, wherever nothing else about that run lies between.

    Rows move ahead of operations of other runs, which they cannot touch; so do events of a sweep
    that come behind all others, whose author has no other ones.
    """
    merged: list[Operation] = []
    last: dict[str, int] = {}
    rows: dict[int, list[LogRows]] = {}
    events: dict[str, tuple[int, list[LogEvents]]] = {}
    for operation in operations:
        if isinstance(operation, LogRows):
            place = last.get(operation.run_id)
            if place is None:
                place = last[operation.run_id] = len(merged)
                merged.append(operation)
                rows[place] = []
            rows[place].append(operation)
            continue
        if isinstance(operation, PatchRun):
            last.pop(operation.id, None)
        elif isinstance(operation, PutRun):
            last.pop(operation.run.id, None)
        elif isinstance(operation, LogEvents) and operation.first == BEHIND:
            _, known = events.setdefault(operation.sweep_id, (len(merged), []))
            known.append(operation)
            if len(known) > 1:
                continue
        merged.append(operation)
    for place, parts in rows.items():
        if len(parts) > 1:
            merged[place] = LogRows(parts[0].run_id, [row for part in parts for row in part.rows])
    for sweep_id, (place, logs) in events.items():
        if len(logs) > 1:
            joined = [event for log in logs for event in log.events]
            merged[place] = LogEvents(sweep_id, BEHIND, joined, logs[-1].time)
    return merged


def apply_all(backend: Backend, operations: Sequence[Operation]) -> list[tuple[Operation, str]]:
    """Applies operations, and finds out which of them a backend refuses for good.

    Returns:
        The refused ones, with the reason; all others are applied.

    Raises:
        BackendError: The backend is away. Some operations may be applied; applying all again is
        safe.
    """
    if not operations:
        return []
    try:
        backend.apply(merge_rows(operations))
    except BackendError:
        raise
    except Exception as error:  # noqa: BLE001 - one operation must not block all others
        if len(operations) == 1:
            return [(operations[0], f"{type(error).__name__}: {error}")]
        half = len(operations) // 2
        return [*apply_all(backend, operations[:half]), *apply_all(backend, operations[half:])]
    return []


def replay_spool(path: Path | str, backend: Backend, *, max_batch: int = 1_000) -> int:
    """Brings what earlier writers left in a spool to a backend, and deletes it there.

    Args:
        path: A spool's folder, as `Leftover.spool` names it. Segments that a living writer holds
            are left alone.
        backend: Where to.
        max_batch: Operations of one `Backend.apply`.

    Returns:
        How many operations were applied. Refused ones are set aside in the folder.

    Raises:
        BackendError: The backend is away; what it did not take is still there.
    """
    spool = Spool(Path(path))
    number = 0
    try:
        while spool.waiting:
            operations = spool.peek(max_batch)
            refused = apply_all(backend, operations)
            for operation, reason in refused:
                spool.refuse(operation, reason)
            spool.advance()
            number += len(operations) - len(refused)
    finally:
        spool.close()
    return number
