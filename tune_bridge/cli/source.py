"""Where an experiment comes from: a sweep file, or a Python file that builds one.

A Python file is executed in a child process, as ``python FILE`` would, without network. Searches
that it starts - Ray's ``tune.run`` and ``Tuner.fit``, ``fmin``, ``wandb.sweep`` and the like - are
taken instead of being run, and so are variables that hold a `SweepConfig` or a ``Tuner``.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tune_bridge.dialects.base import Dialect
from tune_bridge.errors import InputError, NotFoundError, SpecError
from tune_bridge.notes import Level, Note, Notes
from tune_bridge.sweep_config import SweepConfig

__all__ = ["FILE", "TIMEOUT", "Built", "check_file", "from_notation", "load_source", "load_sources"]

TIMEOUT = 60.0
"""Seconds that a Python file may take to build its experiments."""

FILE = "file"
"""Path of the notes that are about the file as a whole."""

_PYTHON = (".py",)
_YAML = (".yaml", ".yml", ".json")
_PART = re.compile(r"(?P<file>.+\.(py|ya?ml|json)):(?P<name>[^:/\\]+)", re.IGNORECASE)


class Built(NamedTuple):
    """One experiment of a file.

    Attributes:
        number: Its place among those of the file, from 1.
        name: The variable that holds it, if any.
        line: The line that starts the search, if known.
        config: The sweep.
    """

    number: int
    name: str | None
    line: int | None
    config: SweepConfig

    @property
    def title(self) -> str:
        """Its name, or its number with the line."""
        return self.name or (f"{self.number} (line {self.line})" if self.line else str(self.number))


def load_source(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    timeout: float = TIMEOUT,
    origin: str | None = None,
    arguments: Iterable[str] = (),
) -> SweepConfig:
    """Loads a sweep from a YAML file, or from a Python file by executing it in a child process.

    Args:
        path: The file; its ending says what it is. ``FILE.py:NAME`` is ``FILE.py`` with a name.
        name: For a Python file, the variable that is meant, or the number of the experiment.
        timeout: Seconds that a Python file may take.
        origin: The notation of a JSON file, or of the variable in a Python file; None for a sweep
            and for what Ray and tune-bridge build.
        arguments: What a Python file finds in ``sys.argv`` after its name.

    Raises:
        NotFoundError: There is no such file.
        InputError: It is neither, or it builds no experiment or several.
        SpecError: It is malformed.
    """
    built = load_sources(path, name=name, timeout=timeout, origin=origin, arguments=arguments)
    if len(built) > 1:
        raise InputError(
            f"the file builds {len(built)} experiments",
            source=os.fspath(path),
            found=", ".join(item.title for item in built),
            expected="one",
            hint=f"choose with {os.fspath(path)}:{built[0].name or 1}",
        )
    return built[0].config


def load_sources(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    timeout: float = TIMEOUT,
    origin: str | None = None,
    arguments: Iterable[str] = (),
) -> list[Built]:
    """All experiments of a file, in the order in which it builds them: at least one.

    Args:
        path: As for `load_source`.
        name: As for `load_source`; it leaves one.
        timeout: As for `load_source`.
        origin: As for `load_source`.
        arguments: As for `load_source`.

    Raises:
        NotFoundError: There is no such file.
        InputError: It is neither, or it builds no experiment.
        SpecError: It is malformed.
    """
    part = _PART.fullmatch(os.fspath(path))
    if part and _mode(path) is None:
        if name is not None and name != part["name"]:
            raise InputError(
                "two experiments are named", source=part["file"], found=f"{part['name']} and {name}"
            )
        path, name = part["file"], part["name"]
    check_file(path)
    source = Path(path)
    suffix = source.suffix.lower()
    if suffix in _YAML:
        if name not in (None, "1"):
            raise InputError(
                f"no experiment called {name!r}",
                source=os.fspath(path),
                found="one sweep",
                hint="names and numbers are of Python files; leave it out",
            )
        data = origin is not None and origin != "sweep"
        config = _read_data(source, str(origin)) if data else SweepConfig.load(source)
        return [Built(1, None, None, config)]
    if suffix not in _PYTHON:
        raise InputError(
            "cannot tell what this file is",
            source=os.fspath(path),
            found=f"the ending {suffix!r}" if suffix else "no ending",
            expected=".yaml, .yml, .json or .py",
        )
    built = _execute(source, name, timeout, origin, arguments)
    if name is None or origin is not None:
        return built
    chosen = [item for item in built if name in (item.name, str(item.number))]
    if not chosen:
        raise InputError(
            f"no experiment called {name!r}",
            source=os.fspath(path),
            found=", ".join(item.title for item in built) or "none",
        )
    return chosen


def check_file(path: str | os.PathLike[str]) -> None:
    """Refuses what is no plain file: a pipe that nobody writes to would be waited for without end.

    Raises:
        NotFoundError: There is none.
        InputError: It is something else, or cannot be looked at.
    """
    mode = _mode(path)
    if mode is None:
        raise NotFoundError("no such file", source=os.fspath(path))
    if not stat.S_ISREG(mode):
        what = "it is a folder" if stat.S_ISDIR(mode) else "it is no plain file"
        raise InputError(f"cannot read: {what}", source=os.fspath(path))


def _mode(path: str | os.PathLike[str]) -> int | None:
    """What kind of file it is; None when there is none.

    Raises:
        InputError: It cannot be looked at.
    """
    try:
        return Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read: {why}", source=os.fspath(path)) from None


def _read_data(source: Path, origin: str) -> SweepConfig:
    """A file that holds the plain data of a notation: JSON, or YAML."""
    from tune_bridge.dialects.base import get_dialect
    from tune_bridge.dialects.sweep import yaml_file
    from tune_bridge.files import read_bytes

    dialect = get_dialect(origin)
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


def _execute(
    source: Path, name: str | None, timeout: float, origin: str | None, given: Iterable[str]
) -> list[Built]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="tune-bridge-") as folder:
        answer = Path(folder) / "answer.jsonl"
        arguments = [str(source), str(answer), name or "", origin or "", *given]
        ended = _child(["-m", "tune_bridge.cli.capture", *arguments], folder, timeout)
        messages = _messages(answer)
    last = messages[-1] if messages else {}
    if "error" in last:
        raise SpecError(**last["error"])
    # A later line of an experiment is what became of it.
    found = {m["experiment"]["number"]: m["experiment"] for m in messages if "experiment" in m}
    if "end" in last:
        remarks = last["end"]["remarks"]
    elif ended:
        remarks = [{"what": "ended by its time", "why": f"{timeout:g} seconds were over"}]
    else:
        remarks = [{"what": "ended the interpreter", "why": "nothing else was built before"}]
    if not found:
        raise InputError(
            f"still running after {timeout:g} seconds"
            if ended
            else "ended the interpreter before it built an experiment",
            source=str(source),
            hint="build the experiment without training, or give --timeout" if ended else "",
        )
    return [_built(data, remarks) for data in found.values()]


def _built(data: dict[str, Any], remarks: list[dict[str, Any]]) -> Built:
    config = SweepConfig(data["config"])
    notes = [Note(Level[note.pop("level").upper()], **note) for note in data["notes"]]
    notes += [Note(Level.EXACT, FILE, **remark) for remark in remarks]
    config._notes = Notes(notes)
    return Built(data["number"], data["name"], data["line"], config)


def _messages(answer: Path) -> list[dict[str, Any]]:
    import json

    found: list[dict[str, Any]] = []
    try:
        for line in answer.read_text("utf-8").splitlines():
            found += [json.loads(line)]
    except (FileNotFoundError, ValueError):
        # It ended before the first line, or within one.
        pass
    return found


_MARK = "TUNE_BRIDGE_CHILD"
"""Variable in the environment of the child and of everything that it starts."""


def _child(arguments: list[str], mark: str, timeout: float) -> bool:
    """Runs Python in a process of its own, and ends all that is left of it afterwards.

    Returns:
        Whether its time was over.
    """
    import subprocess

    child = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        # What the file prints belongs to the user, but not among our output.
        stdout=2,
        env={**os.environ, _MARK: mark},
        start_new_session=True,
    )
    try:
        child.wait(timeout)
    except subprocess.TimeoutExpired:
        return True
    finally:
        # Also when a key was pressed: the child's session does not hear of that.
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
        _end(mark)
        child.wait()
    return False


def _end(mark: str) -> None:
    """Kills every process that has the mark in its environment, where there is a /proc."""
    text = f"{_MARK}={mark}".encode()
    for _ in range(20):
        left = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if text in (folder / "environ").read_bytes().split(b"\0"):
                    left.append(int(folder.name))
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
