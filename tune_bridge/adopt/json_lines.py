"""JSON as Ray writes it (with NaN and Infinity), and its errors with line and column."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tune_bridge.errors import InputError
from tune_bridge.notes import Notes

__all__ = ["read_json", "read_lines"]


def read_json(path: Path) -> Any:
    """The content of a file.

    Raises:
        InputError: It cannot be read, or is not JSON; with line and column.
    """
    try:
        return json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise InputError(
            f"not JSON: {error.msg}", source=str(path), line=error.lineno, column=error.colno
        ) from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"cannot be read: {_why(error)}", source=str(path)) from None


def read_lines(path: Path, notes: Notes) -> Iterator[dict[str, Any]]:
    """The objects of a file with one on each line, one at a time.

    A last line that is cut off (its writer was killed, or is writing it) is left out with a note.

    Raises:
        InputError: It cannot be read, or another line is no object; with line and column.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                    if not isinstance(value, dict):
                        raise InputError(
                            "not a result",
                            source=str(path),
                            line=number,
                            column=1,
                            expected="an object",
                        )
                except (ValueError, RecursionError) as error:
                    if not line.endswith(b"\n"):
                        notes.lost(str(path), f"line {number} was left out", "it is cut off")
                        return
                    raise InputError(
                        f"not JSON: {getattr(error, 'msg', _why(error))}",
                        source=str(path),
                        line=number,
                        column=getattr(error, "colno", 1),
                        hint="remove the line to adopt the others",
                    ) from None
                yield value
    except OSError as error:
        raise InputError(f"cannot be read: {_why(error)}", source=str(path)) from None


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
