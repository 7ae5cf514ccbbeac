"""Files of runs: their checkpoints and the output of their programs.

``<folder>/checkpoints/<sweep>/<run>/<id>.tar`` and ``<folder>/output/<sweep>/<run>/<attempt>.log``.
Every part of a path is checked: nothing that comes over the network names a place elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from tune_bridge.errors import (
    BackendError,
    InputError,
    NotFoundError,
    TooLargeError,
    TuneBridgeError,
)
from tune_bridge.server.shelf import ENDING, UPLOADING, Shelf

__all__ = ["Limits", "Store", "Upload"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is taken.

    Attributes:
        body: Bytes of a JSON body.
        chunk: Bytes of output in one request.
        output: Bytes of output of one attempt of a run; what comes after is dropped.
        checkpoint: Bytes of one checkpoint.
        kept: How many checkpoints of each run stay, beside those that somebody may start from.
    """

    body: int = 32 << 20
    chunk: int = 4 << 20
    output: int = 64 << 20
    checkpoint: int = 8 << 30
    kept: int = 2


class Upload:
    """A checkpoint on its way in: a temporary file until `commit`. A context manager.

    Args:
        target: Where it goes.
        limit: Bytes at most.
        done: Called when it is in its place.

    Raises:
        BackendError: The disk refuses.
    """

    def __init__(self, target: Path, limit: int, done: Callable[[], None] = lambda: None) -> None:
        self._target = target
        self._done = done
        self._limit = limit
        self._size = 0
        try:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, self._name = tempfile.mkstemp(dir=target.parent, prefix=UPLOADING)
        except OSError as error:
            raise _disk(error) from None
        self._file: BinaryIO = os.fdopen(descriptor, "wb")

    def write(self, data: bytes) -> None:
        """Adds bytes.

        Raises:
            TooLargeError: It is larger than what is taken.
            BackendError: The disk refuses.
        """
        self._size += len(data)
        if self._size > self._limit:
            raise TooLargeError(
                "the checkpoint is too large",
                expected=f"{self._limit} bytes at most",
                hint="save less, or start the server with a larger --max-checkpoint",
            )
        try:
            self._file.write(data)
        except OSError as error:
            raise _disk(error) from None

    def commit(self) -> None:
        """Puts it in its place, whole.

        Raises:
            BackendError: The disk refuses.
        """
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            Path(self._name).replace(self._target)
        except OSError as error:
            raise _disk(error) from None
        self._done()

    def __enter__(self) -> Upload:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        Path(self._name).unlink(missing_ok=True)


class Store:
    """The files of a place.

    Args:
        folder: Holds them; made when it is first needed.
        limits: How much is taken.
    """

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self.folder = self._folder = folder
        self.limits = limits or Limits()
        self._shelves: dict[str, Shelf] = {}
        self._lock = threading.Lock()

    def upload(self, sweep_id: str, run_id: str, checkpoint: str) -> Upload:
        """A checkpoint that is about to come.

        Raises:
            InputError: That is no name for one.
            BackendError: The disk refuses.
        """
        path = self._checkpoint(sweep_id, run_id, checkpoint)
        shelf = self.shelf(sweep_id)
        return Upload(path, self.limits.checkpoint, lambda: shelf.add(run_id, checkpoint))

    def checkpoint(self, sweep_id: str, run_id: str, checkpoint: str) -> Path:
        """The file of a checkpoint.

        Raises:
            NotFoundError: There is none.
            InputError: That is no name for one.
        """
        path = self._checkpoint(sweep_id, run_id, checkpoint)
        if not path.is_file():
            raise NotFoundError("no such checkpoint", found=repr(checkpoint))
        return path

    def has_checkpoint(self, sweep_id: str, run_id: str, checkpoint: str) -> bool:
        """Whether there is one."""
        return self._checkpoint(sweep_id, run_id, checkpoint).is_file()

    def shelf(self, sweep_id: str) -> Shelf:
        """The checkpoints of a sweep; at first by what lies in its folder.

        Raises:
            InputError: The sweep's id names no folder.
        """
        with self._lock:
            found = self._shelves.get(sweep_id)
            if found is None:
                folder = self._path("checkpoints", sweep_id)
                found = self._shelves[sweep_id] = Shelf(folder, self.limits.kept)
            return found

    def clear(self, needed: Callable[[str], set[str]]) -> None:
        """Deletes old checkpoints of all sweeps that were used since the start.

        Args:
            needed: The ids of a sweep that somebody may still start from.
        """
        for sweep_id, shelf in list(self._shelves.items()):
            with contextlib.suppress(TuneBridgeError, OSError):
                shelf.clear(lambda sweep_id=sweep_id: needed(sweep_id))  # type: ignore[misc]

    def remove(self, sweep_id: str, run_id: str | None = None) -> None:
        """Deletes the files of a run or of a sweep that was deleted.

        Checkpoints of a run from which another one is still to start go when it has.
        """
        with contextlib.suppress(InputError):  # an id that names no folder has none
            shutil.rmtree(
                self._path("output", sweep_id, *([run_id] if run_id else [])), ignore_errors=True
            )
            self.shelf(sweep_id).forget(run_id)
            if run_id is None:
                shutil.rmtree(self._path("checkpoints", sweep_id), ignore_errors=True)
                with self._lock:
                    self._shelves.pop(sweep_id, None)

    def add_output(
        self, sweep_id: str, run_id: str, attempt: int, offset: int, data: bytes
    ) -> None:
        """Writes output at its place within the output of an attempt; again changes nothing.

        Raises:
            InputError: Bytes before it are missing.
            BackendError: The disk refuses.
        """
        path = self._path("output", sweep_id, run_id, f"{attempt}.log")
        if offset >= self.limits.output:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
                size = file.seek(0, os.SEEK_END)
                if offset > size:
                    raise InputError(
                        "bytes of the output are missing", found=f"offset {offset}",
                        expected=f"{size} at most",
                    )  # fmt: skip
                file.seek(offset)
                file.write(data[: max(0, self.limits.output - offset)])
        except OSError as error:
            raise _disk(error) from None

    def outputs(self, sweep_id: str, run_id: str) -> list[Path]:
        """The files with the output of all attempts, in order.

        Raises:
            InputError: The id of the sweep or the run names no folder.
        """
        folder = self._path("output", sweep_id, run_id)
        files = [path for path in folder.glob("*.log") if path.stem.isdigit()]
        return sorted(files, key=lambda path: int(path.stem))

    def checkpoints(self, sweep_id: str, run_id: str) -> dict[str, tuple[int, float]]:
        """The checkpoints of a run that are here, by age: size in bytes, and when it came."""
        found: list[tuple[float, str, int]] = []
        with contextlib.suppress(InputError):  # an id that names no folder has none
            for path in self._path("checkpoints", sweep_id, run_id).glob(f"*{ENDING}"):
                with contextlib.suppress(OSError):  # it went just now
                    about = path.stat()
                    found.append((about.st_mtime, path.name.removesuffix(ENDING), about.st_size))
        return {name: (size, time) for time, name, size in sorted(found)}

    def _checkpoint(self, sweep_id: str, run_id: str, checkpoint: str) -> Path:
        _check(checkpoint)  # with the ending it might be a name although it is none
        return self._path("checkpoints", sweep_id, run_id, f"{checkpoint}{ENDING}")

    def _path(self, *parts: str) -> Path:
        for part in parts:
            _check(part)
        return self._folder.joinpath(*parts)


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(
            "no name for a file",
            found=repr(name[:200]),
            expected="at most 128 of letters, digits, _, . and -, the first no dot or dash",
        )


def _disk(error: OSError) -> BackendError:
    return BackendError(f"the server cannot write: {error.strerror or error}")
