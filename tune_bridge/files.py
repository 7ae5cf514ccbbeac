"""Writing files so that a reader sees the old content or the new one, and nothing between."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from tune_bridge.errors import InputError, NotFoundError

__all__ = ["read_bytes", "write_text"]


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Writes a text file under a temporary name and renames it.

    Args:
        path: The file; an existing one is replaced and keeps its permissions. Devices and pipes
            (``/dev/stdout``, ``/dev/null``) are written to.
        text: Its content, written as UTF-8.

    Returns:
        The path.

    Raises:
        InputError: It cannot be written; the old file, if any, is untouched.
    """
    target = Path(path)
    temporary = ""
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            with target.open("w", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
            return target
        real = Path(os.path.realpath(target))
        mode = real.stat().st_mode & 0o777 if real.exists() else 0o666 & ~_umask()
        handle, temporary = tempfile.mkstemp(
            dir=real.parent, prefix=f".{real.name}.", suffix=".tmp"
        )
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(real)
    except BaseException as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        if isinstance(error, OSError):
            raise InputError(
                f"cannot write: {error.strerror or error}",
                source=str(target),
                hint="choose another place, or make the folder",
            ) from None
        raise
    return target


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Reads a file.

    Raises:
        NotFoundError: There is none.
        InputError: It cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise NotFoundError("no such file", source=str(path)) from None
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror or error}", source=str(path)) from None
