"""Operations on disk, for as long as their backend is away.

A spool is a folder of segments: files of JSON lines, one operation each, oldest name first. A
segment is written by one process, which holds a lock on it while it lives; what a dead one left
behind belongs to whoever locks it next. How far a segment was replayed stands beside it in a
``.done`` file, so that a replay goes on where the last one stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from tune_bridge.backends import codec
from tune_bridge.backends.base import Operation
from tune_bridge.errors import InputError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no such locks; there, one writer per place
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "Segment",
    "Spool",
    "SpoolClosedError",
    "decode_operation",
    "encode_operation",
    "spool_folder",
]

_logger = logging.getLogger(__name__)
_decoder: msgspec.json.Decoder[Operation] = msgspec.json.Decoder(Operation)
_SUFFIX = ".jsonl"


def spool_folder(folder: Path, place: str) -> Path:
    """The folder of one place's spool; its name tells no password."""
    return folder / hashlib.sha256(place.encode()).hexdigest()[:16]


def encode_operation(operation: Operation) -> bytes:
    """One line of a segment.

    Raises:
        InputError: The operation holds what no file can hold.
    """
    return codec.dumps(operation).encode() + b"\n"


def decode_operation(line: bytes) -> Operation:
    """The inverse of `encode_operation`.

    Raises:
        InputError: It is no such line.
    """
    try:
        if line.startswith(b"~"):
            operation: Operation = msgspec.convert(codec.loads(line.decode()), Operation)
            return operation
        return _decoder.decode(line)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InputError("no operation of a spool", found=str(error)) from None


class SpoolClosedError(Exception):
    """The spool was closed by another thread."""


class Segment:
    """One file of a spool, locked for this process while it is open.

    Args:
        path: The file; it is made when there is none.

    Attributes:
        count: Operations that are not done.

    Raises:
        BlockingIOError: Another process (or spool) has it open.
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._done_path = path.with_name(path.name + ".done")
        # Unbuffered, so that what a full disk refused is not tried again behind our back.
        self._writer = path.open("ab", buffering=0)
        self._reader: BinaryIO | None = None
        try:
            if fcntl is not None:
                fcntl.flock(self._writer, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._reader = path.open("rb")
            self._done = self._read_done()
            self._seen, self._seen_lines = self._done, 0
            self._reader.seek(self._done)
            self.count = sum(block.count(b"\n") for block in iter(lambda: self._read(1 << 20), b""))
        except BaseException:
            self.close()
            raise

    def _read(self, size: int) -> bytes:
        return self._reader.read(size) if self._reader else b""

    def _read_done(self) -> int:
        try:
            return int(self._done_path.read_text())
        except (OSError, ValueError):
            return 0  # replayed from the start: what is there already changes nothing

    def append(self, lines: bytes, number: int) -> None:
        """Adds whole lines, or nothing.

        Raises:
            OSError: The disk refuses.
        """
        end = self._writer.seek(0, os.SEEK_END)
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[self._writer.write(rest) or 0 :]
        except OSError:
            self._writer.truncate(end)
            raise
        self.count += number

    def sync(self) -> None:
        """Returns when the lines are on the disk."""
        os.fsync(self._writer.fileno())

    def peek(self, limit: int) -> list[bytes]:
        """Up to `limit` lines that are not done; a last one that a crash cut off is none."""
        assert self._reader is not None
        self._reader.seek(self._done)
        lines = [line for line in islice(self._reader, limit) if line.endswith(b"\n")]
        self._seen, self._seen_lines = self._done + sum(map(len, lines)), len(lines)
        if not lines:
            self.count = 0
        return lines

    def advance(self) -> int:
        """What was peeked at last is done; returns the number of lines."""
        number, self._seen_lines = self._seen_lines, 0
        self._done = self._seen
        self.count -= number
        if self.count > 0:
            with contextlib.suppress(
                OSError
            ):  # then they are replayed again, which changes nothing
                self._done_path.write_text(str(self._done))
        return number

    def remove(self) -> None:
        """Deletes it, when all is done."""
        with contextlib.suppress(OSError):
            self._done_path.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Gives it back, for whoever comes next."""
        self._writer.close()
        if self._reader is not None:
            self._reader.close()


class Spool:
    """A queue of operations on disk; any thread may use it.

    In front are the segments that dead processes left, then this one's. Beside it there is an
    overflow: what came while the memory of a writer was full, and comes after what is in that
    memory. It joins the end of the queue when the writer says so.

    Args:
        folder: Made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.overflowing = False
        self._lock = threading.RLock()
        self._closed = False
        self._segments: list[Segment] = []
        self._overflow: Segment | None = None
        self._writable: Segment | None = None
        self._bad: list[tuple[str, str]] = []
        self._stamp = 0
        for path in sorted(folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else ():
            if path.name.startswith("refused"):
                continue
            with contextlib.suppress(BlockingIOError):
                segment = Segment(path)
                self._segments.append(segment)
        self._drop_empty()

    @property
    def count(self) -> int:
        """Number of operations, the overflow included."""
        with self._lock:
            number = sum(segment.count for segment in self._segments)
            return number + (self._overflow.count if self._overflow else 0)

    @property
    def waiting(self) -> bool:
        """Whether there is something in the queue, the overflow aside."""
        return bool(self._segments)

    def append(self, operations: Iterable[Operation]) -> int:
        """Puts operations at the end of the queue, on the disk.

        Returns:
            How many of them could not be written as text and were set aside.

        Raises:
            OSError: The disk refuses.
        """
        lines, refused = [], 0
        for operation in operations:
            try:
                lines.append(encode_operation(operation))
            except InputError as error:
                self.refuse(operation, str(error))
                refused += 1
        if lines:
            with self._open():
                if self._writable is None:
                    self._writable = self._new_segment(self._next_stamp())
                    self._segments.append(self._writable)
                self._writable.append(b"".join(lines), len(lines))
                self._writable.sync()
        return refused

    def overflow(self, operation: Operation) -> bool:
        """Adds one operation to the overflow; False when it could not be written as text.

        Raises:
            OSError: The disk refuses.
        """
        try:
            line = encode_operation(operation)
        except InputError as error:
            self.refuse(operation, str(error))
            return False
        with self._open():
            if self._overflow is None:
                # A stamp is left free before it, for what is still in the writer's memory.
                self._next_stamp()
                self._overflow = self._new_segment(self._next_stamp())
                self.overflowing = True
            self._overflow.append(line, 1)
        return True

    def adopt_overflow(self) -> bool:
        """Puts the overflow at the end of the queue; whether there was one."""
        with self._open():
            if self._overflow is None:
                return False
            self._segments.append(self._overflow)
            self._overflow, self._writable, self.overflowing = None, None, False
            return True

    def rescue(self, operations: Iterable[Operation]) -> int:
        """Puts operations between the queue and the overflow, and closes.

        For a writer that gives up while its thread hangs.

        Returns:
            How many of them could not be written as text and were set aside.

        Raises:
            OSError: The disk refuses.
        """
        with self._open():
            operations = list(operations)
            if operations and self._overflow is not None:
                stamp = int(self._overflow.path.name.partition("-")[0])
                self._writable = self._new_segment(stamp - 1)
                self._segments.append(self._writable)
            refused = self.append(operations)
            self.close()
            return refused

    def peek(self, limit: int) -> list[Operation]:
        """The first operations of the queue; they stay in it until `advance`."""
        with self._open():
            self._bad = []
            if not self._segments:
                return []
            operations = []
            for line in self._segments[0].peek(limit):
                try:
                    operations.append(decode_operation(line))
                except InputError as error:
                    self._bad.append((line.decode(errors="replace"), str(error)))
            return operations

    def advance(self) -> int:
        """What was peeked at last is done; lines that were no operations are set aside.

        Returns:
            The number of lines.
        """
        with self._open():
            if not self._segments:
                return 0
            for line, reason in self._bad:
                self.refuse(line, reason)
            self._bad = []
            number = self._segments[0].advance()
            self._drop_empty()
            return number

    def refuse(self, operation: Operation | str, reason: str) -> None:
        """Sets an operation aside that no backend will take, with the reason."""
        try:
            text = operation if isinstance(operation, str) else codec.dumps(operation)
        except InputError:
            text = repr(operation)
        name = type(operation).__name__ if not isinstance(operation, str) else "line"
        _logger.error("set aside in %s: %s: %s", self.folder, name, reason)
        line = json.dumps({"time": time.time(), "reason": reason, "operation": text})
        with contextlib.suppress(OSError), self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / f"refused-{os.getpid()}{_SUFFIX}").open("a") as file:
                file.write(line + "\n")

    def close(self) -> None:
        """Leaves the files to whoever comes next. Idempotent."""
        with self._lock:
            self._closed = True
            for segment in (*self._segments, self._overflow):
                if segment is not None:
                    segment.close()

    @contextlib.contextmanager
    def _open(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise SpoolClosedError
            yield

    def _next_stamp(self) -> int:
        self._stamp = max(time.time_ns(), self._stamp + 1)
        return self._stamp

    def _new_segment(self, stamp: int) -> Segment:
        self.folder.mkdir(parents=True, exist_ok=True)
        return Segment(self.folder / f"{stamp:020d}-{os.getpid()}{_SUFFIX}")

    def _drop_empty(self) -> None:
        while self._segments and self._segments[0].count <= 0:
            segment = self._segments.pop(0)
            if segment is self._writable:
                self._writable = None
            segment.remove()
