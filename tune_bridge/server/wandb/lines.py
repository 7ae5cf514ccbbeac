"""Files of lines that are addressed by their numbers: console output and system metrics.

The client says "from line 40 on: ..." and may say lines again, or change them (progress bars).
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from tune_bridge.errors import BackendError
from tune_bridge.server.wandb.files import Files

__all__ = ["Lines"]


class Lines:
    """Files of lines of all runs. Thread-safe.

    Args:
        folder: Holds them.
        limit: Bytes of one file at most; what comes after is dropped.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._files = Files(folder, limit)
        self._limit = limit
        self._lock = threading.Lock()
        self._counts: dict[Path, int] = {}

    def write(self, owner: Sequence[str], name: str, offset: int, lines: Sequence[str]) -> None:
        """Sets the lines from number `offset` on; those that are missing before are empty.

        Raises:
            BackendError: The disk refuses.
        """
        path = self._files.path(owner, name)
        texts = [line.replace("\n", " ").replace("\r", " ") for line in lines]
        try:
            with self._lock:
                count = self._count(path)
                if offset >= count:
                    self._append(path, [*[""] * min(offset - count, 10_000), *texts])
                elif texts:
                    self._replace(path, offset, texts)
        except OSError as error:
            raise BackendError(f"the server cannot write: {error.strerror or error}") from None

    def count(self, owner: Sequence[str], name: str) -> int:
        """The number of lines."""
        with self._lock:
            return self._count(self._files.path(owner, name))

    def path(self, owner: Sequence[str], name: str) -> Path:
        """The file with the lines; it need not be there."""
        return self._files.path(owner, name)

    def last(self, owner: Sequence[str], name: str, number: int) -> list[str]:
        """The last lines."""
        return self._read(self._files.path(owner, name))[-number:]

    def delete(self, owner: Sequence[str]) -> None:
        """Removes all lines of a run."""
        with self._lock:
            for name in ("output", "events"):
                self._counts.pop(self._files.path(owner, name), None)
            self._files.delete(owner)

    def _count(self, path: Path) -> int:
        found = self._counts.get(path)
        if found is None:
            found = self._counts[path] = len(self._read(path))
        return found

    def _append(self, path: Path, lines: list[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        size = path.stat().st_size if path.exists() else 0
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as file:
            data = "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
            if size + len(data) <= self._limit:
                file.write(data)
        self._counts[path] += len(lines)

    def _replace(self, path: Path, offset: int, lines: list[str]) -> None:
        there = self._read(path)
        there[offset : offset + len(lines)] = lines
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".upload-")
        with os.fdopen(descriptor, "wb") as file:
            file.write("".join(f"{line}\n" for line in there).encode("utf-8", "backslashreplace"))
        Path(name).replace(path)
        self._counts[path] = max(self._counts[path], len(there))

    @staticmethod
    def _read(path: Path) -> list[str]:
        try:
            lines = path.read_text("utf-8", "replace").split("\n")
        except OSError:
            return []
        return lines[:-1]
