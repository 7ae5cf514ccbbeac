"""Writing files so that a reader sees the old content or the new one, and nothing between.

And names of files that come from elsewhere: as parts of paths that lead nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

from tune_bridge.errors import InputError, NotFoundError

__all__ = ["UPLOADING", "name_part", "name_parts", "read_bytes", "write_text"]

UPLOADING = ".upload-"
"""How the names of files begin that are on their way into a folder of files."""

_LONGEST_PART = 255
_LONGEST = 1024


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


def name_parts(name: str) -> list[str]:
    """A file's name with slashes, as the parts of a path that stays below its folder.

    Raises:
        InputError: That is no name for a file.
    """
    if len(name) > _LONGEST:
        raise _refusal(name)
    return [name_part(text) for text in name.split("/")]


def name_part(text: str) -> str:
    """One part of it, quoted as in an address.

    Raises:
        InputError: That is no name for a file.
    """
    made = quote(text, safe=" ()+,=@")
    if text in ("", ".", "..") or len(made) > _LONGEST_PART or "\0" in text:
        raise _refusal(text)
    return f"%2E{made[1:]}" if made.startswith(".") else made


def _refusal(name: str) -> InputError:
    return InputError(
        "no name for a file",
        found=repr(name[:200]),
        expected="a relative path without . and .. in it",
    )
