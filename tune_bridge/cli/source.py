"""Where an experiment comes from: a sweep file, or a Python file that builds one.

A Python file is executed in a child process, as ``python FILE`` would, and what it builds is taken
from there: a `SweepConfig`, a ``Tuner`` (Ray's own or the recording one). A call of Ray's own
``tune.run`` or ``Tuner.fit`` is taken instead of being run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from tune_bridge.dialects.base import Dialect
from tune_bridge.errors import InputError, NotFoundError, SpecError
from tune_bridge.notes import Level, Note, Notes
from tune_bridge.sweep_config import SweepConfig

__all__ = ["TIMEOUT", "load_source"]

TIMEOUT = 60.0
"""Seconds that a Python file may take to build its experiment."""

_PYTHON = (".py",)
_YAML = (".yaml", ".yml", ".json")


def load_source(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    timeout: float = TIMEOUT,
    origin: str | None = None,
) -> SweepConfig:
    """Loads a sweep from a YAML file, or from a Python file by executing it in a child process.

    Args:
        path: The file; its ending says what it is.
        name: For a Python file that builds several experiments, the variable that is meant.
        timeout: Seconds that a Python file may take.
        origin: The notation of a JSON file, or of the variable in a Python file; None for a sweep
            and for what Ray and tune-bridge build.

    Raises:
        NotFoundError: There is no such file.
        InputError: It is neither, or it builds no experiment or several.
        SpecError: It is malformed.
    """
    source = Path(path)
    suffix = source.suffix.lower()
    if origin is not None and suffix in _YAML:
        return _read_data(source, origin)
    if suffix in _YAML:
        return SweepConfig.load(source)
    if suffix not in _PYTHON:
        raise InputError(
            "cannot tell what this file is",
            source=os.fspath(path),
            found=f"the ending {suffix!r}" if suffix else "no ending",
            expected=".yaml, .yml, .json or .py",
        )
    if source.is_dir():
        raise InputError("cannot read: it is a folder", source=os.fspath(path))
    if not source.is_file():
        raise NotFoundError("no such file", source=os.fspath(path))
    return _execute(source, name, timeout, origin)


def _read_data(source: Path, origin: str) -> SweepConfig:
    """A file that holds the plain data of a notation: JSON, or YAML."""
    from tune_bridge.dialects.base import get_dialect
    from tune_bridge.dialects.sweep import yaml_file
    from tune_bridge.files import read_bytes

    dialect = get_dialect(origin)
    if origin == "sweep":
        return SweepConfig.load(source)
    data = yaml_file.load(read_bytes(source), os.fspath(source)).data
    try:
        return from_notation(dialect, data)
    except InputError as error:
        raise error.at(os.fspath(source), None, None) from None


def from_notation(dialect: Dialect, value: Any) -> SweepConfig:
    """An object of another notation as a sweep, with the notes of reading it alone."""
    read = dialect.read(value)
    config = SweepConfig(SweepConfig.from_experiment(read.value))
    config._notes = read.notes
    return config


def _execute(source: Path, name: str | None, timeout: float, origin: str | None) -> SweepConfig:
    import json
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory(prefix="tune-bridge-") as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "tune_bridge.cli.capture", str(source), str(answer)]
        command += [name or "", origin or ""]
        try:
            # What the file prints belongs to the user, but not among our output.
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InputError(
                f"still running after {timeout:g} seconds",
                source=str(source),
                hint="build the experiment without training, or give --timeout",
            ) from None
        try:
            data: dict[str, Any] = json.loads(answer.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            raise InputError(
                "ended the interpreter before it built an experiment", source=str(source)
            ) from None
    if "error" in data:
        raise SpecError(**data["error"])
    config = SweepConfig(data["config"])
    config._notes = Notes(Note(Level[note.pop("level").upper()], **note) for note in data["notes"])
    return config
