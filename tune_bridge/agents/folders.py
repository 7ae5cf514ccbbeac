"""Folders of agents, which vanish with them."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["own_folder"]

_PREFIX = "tune-bridge-agent-"


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for an agent's files, removed at its end; so are those of agents that were killed.

    A folder belongs to the process that holds the lock of the file beside it, while that lives.
    """
    base = Path(tempfile.gettempdir())
    for lock in base.glob(f"{_PREFIX}*.lock"):
        with contextlib.suppress(OSError), lock.open("rb+") as file:
            if _lock(file):
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink()
    descriptor, name = tempfile.mkstemp(prefix=_PREFIX, suffix=".new")
    with os.fdopen(descriptor, "rb+") as file:
        _lock(file)
        lock = Path(name).rename(Path(name).with_suffix(".lock"))  # locked when it is first seen
        folder = lock.with_suffix("")
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _lock(file: IO[bytes]) -> bool:
    """Locks a file until it is closed or the process is gone; false when another one has it."""
    try:
        import fcntl
    except ImportError:  # Windows: what a killed agent leaves stays
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
