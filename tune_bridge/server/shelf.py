"""Which checkpoints of a sweep lie in its folder, and which of them are old.

The newest ones of each run stay, whatever is made of them. Those that newer ones have followed are
old: they go as soon as nobody may start from them any more (`Shelf.clear`).
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from tune_bridge.files import UPLOADING

__all__ = ["ENDING", "UPLOADING", "Shelf"]

ENDING = ".tar"


class Shelf:
    """The checkpoints of one sweep: ``<folder>/<run>/<id>.tar``. Thread-safe.

    What lies there by an earlier server is looked at once; what that one has not got whole goes.

    Args:
        folder: Of the sweep; it need not be there.
        newest: How many of each run stay.
    """

    def __init__(self, folder: Path, newest: int) -> None:
        self._folder = folder
        self._newest = newest
        self._lock = threading.Lock()
        self._runs: dict[str, deque[str]] = {}
        self._old: dict[tuple[str, str], None] = {}
        found: list[tuple[int, str, str]] = []
        for path in folder.glob("*/*"):
            if path.name.startswith(UPLOADING):
                path.unlink(missing_ok=True)
            elif path.suffix == ENDING:
                found.append((path.stat().st_mtime_ns, path.parent.name, path.stem))
        for _, run_id, checkpoint in sorted(found):
            self.add(run_id, checkpoint)

    @property
    def old(self) -> int:
        """How many are old."""
        return len(self._old)

    def add(self, run_id: str, checkpoint: str) -> None:
        """One has come in; again changes nothing."""
        with self._lock:
            names = self._runs.setdefault(run_id, deque())
            if checkpoint in names or (run_id, checkpoint) in self._old:
                return
            names.append(checkpoint)
            while len(names) > self._newest:
                self._old[run_id, names.popleft()] = None

    def forget(self, run_id: str | None = None) -> None:
        """A run is deleted, or all are: nothing of it is new any more."""
        with self._lock:
            for name in list(self._runs) if run_id is None else [run_id]:
                for checkpoint in self._runs.pop(name, ()):
                    self._old[name, checkpoint] = None

    def clear(self, needed: Callable[[], set[str]]) -> None:
        """Deletes what is old and not needed.

        Args:
            needed: Asked, when there is anything old, for the ids that somebody may start from.
        """
        with self._lock:
            old = list(self._old)
        if not old:
            return
        kept = needed()
        for run_id, checkpoint in old:
            if checkpoint in kept:
                continue
            with contextlib.suppress(OSError):
                (self._folder / run_id / f"{checkpoint}{ENDING}").unlink(missing_ok=True)
                (self._folder / run_id).rmdir()  # when it is empty
            with self._lock:
                self._old.pop((run_id, checkpoint), None)
