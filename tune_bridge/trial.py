"""One program, run for one trial: started, listened to, stopped. No Ray in here.

`Program` is what a trial drives: `next` gives results as Tune wants them, `stop` ends everything
that was started. The work of ending belongs to `tune_bridge.guard`, a process of its own that
also acts when this one is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from tune_bridge.client import ADDRESS_ENV, TOKEN_ENV
from tune_bridge.command import (
    DEFAULT_COMMAND,
    Start,
    check_command,
    expand,
    json_arguments,
    wants_config_file,
)
from tune_bridge.errors import InputError, TuneBridgeError
from tune_bridge.reports import PAYLOAD, Listener, Reports
from tune_bridge.values import decode, encode, plain_json
from tune_bridge.wandb_env import wandb_env
from tune_bridge.wandb_relay import Relay, Upstream

__all__ = [
    "CONFIG_ENV",
    "Program",
    "ProgramError",
    "ProgramSettings",
    "RefusedError",
    "Spare",
    "printable",
    "resolve_program",
    "run_id",
]

CONFIG_ENV = "TUNE_BRIDGE_CONFIG"
"""The parameters as JSON, for programs in whatever language; not set when they are too many."""

_CONFIG_LIMIT = 100_000  # bytes; Linux takes 128 KiB in one variable
_CUT_AFTER = 5.0  # seconds for a connection that stays open when the program has ended
_SIGNAL_FIRST = 0.2  # seconds for the signal to arrive, should the program survive it
_HURRY_OFTEN = 0.5  # seconds between two looks for whether the grace period is to be cut
_OUTPUT = "output.log"
_SHOWN = 200  # letters of the last line in the first line of a message
_ALL_OUTPUT = "\n(all output: "
_CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
"""What a terminal takes for commands: colours, cursor movements, window titles."""


class ProgramSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the programs of one sweep are run.

    Attributes:
        program: The sweep's program, as `resolve_program` returns it.
        command: The sweep's command, or None for the default.
        cwd: The folder that programs run in; None for the one that the worker was started in (a
            cluster to which the folder is shipped).
        metric: What the sweep optimises, or None.
        sweep_id: The sweep, as programs are told.
        project: Its project, as programs are told.
        grace: Seconds between SIGTERM and SIGKILL.
        output_cap: Bytes of output that are kept per trial.
        lines: How many of the last lines an error message shows.
        stop_key: Name of the sign in Ray's key-value store that ends all programs of the sweep.
        env: Additional environment variables.
        results_dir: Folder on this machine for the output and checkpoints of programs, one folder
            per trial; None for the trial's own, on whatever machine it runs.
        needs_checkpoints: Why a program that saves no checkpoints is refused; empty when it is not.
        wandb_place: Where the sweep is kept, when a program's own calls of wandb are to report to
            its trial; None when they go wherever they went.
    """

    program: str | None = None
    command: tuple[Any, ...] | None = None
    cwd: str | None = None
    metric: str | None = None
    sweep_id: str = ""
    project: str = ""
    grace: float = 10.0
    output_cap: int = 50 * 1024 * 1024
    lines: int = 20
    stop_key: str = ""
    env: dict[str, str] = {}
    results_dir: str | None = None
    needs_checkpoints: str = ""
    wandb_place: str | None = None


def run_id(sweep_id: str, trial_id: str) -> str:
    """The id of a trial's run. Tune's ids are unique within an experiment only."""
    return f"{sweep_id}-{trial_id}" if sweep_id else trial_id


class ProgramError(TuneBridgeError):
    """A program's run gave nothing that a searcher could use.

    Args:
        message: What happened, with the last lines of output.
        outcome: How the run is remembered: "failed" when the program did not end well, "finished"
            when it did but reported no usable metric.
        exit_code: Of the program, or None when it did not start.
        payload: Rows and the like that no result carried.
    """

    def __init__(
        self,
        message: str,
        outcome: Literal["failed", "finished"] = "failed",
        exit_code: int | None = None,
        payload: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.outcome = outcome
        self.exit_code = exit_code
        self.payload = payload or {}

    @property
    def reason(self) -> str:
        """The message without the place of the output, which is another one for each trial."""
        return self.message.partition(_ALL_OUTPUT)[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.message, self.outcome, self.exit_code, self.payload))


class RefusedError(ProgramError):
    """No run of this program can do what the sweep asks for: the sweep ends."""


def resolve_program(
    program: str | None, command: tuple[Any, ...] | None, folder: Path
) -> tuple[str | None, Path]:
    """Finds a sweep's program and the folder that it is to run in.

    W&B's agent runs programs in the folder where it was started, whatever the sweep file's place;
    people keep sweep files beside their programs as well as in a folder of their own. So the
    sweep file's folder is tried first and the current folder second, and the one that has the
    program is used.

    Args:
        program: The sweep's program.
        command: The sweep's command.
        folder: The sweep file's folder.

    Returns:
        The program, unchanged, and the folder.

    Raises:
        InputError: The program is a file that is in neither folder, or the command starts nothing.
    """
    if program is None and command is None:
        raise InputError(
            "there is no program to run", path="program", expected="program: train.py, for example"
        )
    check_command(command, program)
    items = [str(item) for item in command or DEFAULT_COMMAND]
    if program is None:
        return None, folder
    if "${program}" not in items:
        return program, folder
    place = items.index("${program}")
    if place and items[place - 1] == "-m":
        return program, folder  # a module; whether there is one is known in the worker only
    for base in (folder, Path.cwd()):
        if (base / program).is_file():
            return program, base
    leads = all(item == "${env}" for item in items[:place])
    if leads and shutil.which(program):
        return program, folder
    raise InputError(
        "the program does not exist",
        path="program",
        found=program,
        expected="a file in " + " or in ".join(dict.fromkeys([str(folder), str(Path.cwd())])),
        hint="name it relative to the sweep file, or run where it is",
    )


def _start_guard() -> socket.socket:
    """A guard that waits for its program, as our end of its socket; it ends with that."""
    ours, theirs = socket.socketpair()
    guard = Path(__file__).with_name("guard.py")
    with theirs:
        # Isolated and without site-packages: it starts in a few milliseconds, and nothing of
        # the program's environment can reach it.
        subprocess.run(
            [sys.executable, "-I", "-S", str(guard), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            check=True,
        )
    return ours


class Spare:
    """A guard in advance, so that one program can follow the other at once. For one thread."""

    def __init__(self) -> None:
        self._ready: list[socket.socket] = []
        self._maker: threading.Thread | None = None

    def take(self) -> socket.socket:
        """A guard."""
        self._wait()
        return self._ready.pop() if self._ready else _start_guard()

    def make(self) -> None:
        """Starts the next one, in the background."""
        if self._maker is None:
            self._maker = threading.Thread(target=self._make, name="tune-bridge-spare", daemon=True)
            self._maker.start()

    def close(self) -> None:
        """Ends the one that waits."""
        self._wait()
        for guard in self._ready:
            guard.close()
        self._ready.clear()

    def _make(self) -> None:
        with contextlib.suppress(OSError, subprocess.SubprocessError):  # `take` says why
            self._ready.append(_start_guard())

    def _wait(self) -> None:
        if self._maker is not None:
            self._maker.join()
            self._maker = None


class Program:
    """One run of a program.

    Args:
        settings: How programs of this sweep are run.
        config: The trial's parameters.
        folder: Where output and the program's checkpoints go.
        about: Ids and names that the program is told.
        spare: Guards that run already; None to start one.
        upstream: Finds the server that gets what wandb says beside its rows; None when wandb is
            none of ours.

    Attributes:
        reports: What it has reported.
        pid: Of the program; None before it runs.
        exit_code: Set when it has ended; negative for a signal.
        output: The file with its output.
        checkpoint_dir: The folder that survives a pause.
    """

    def __init__(
        self,
        settings: ProgramSettings,
        config: Mapping[str, Any],
        folder: Path,
        about: Mapping[str, Any] | None = None,
        spare: Spare | None = None,
        upstream: Callable[[], Upstream] | None = None,
    ) -> None:
        self.settings = settings
        self._upstream = upstream
        self._relay: Relay | None = None
        self._spare = spare
        self.config: dict[str, Any] = decode(encode(dict(config)))  # numpy scalars become Python's
        self.reports = Reports(settings.metric)
        self.pid: int | None = None
        self.exit_code: int | None = None
        self.output = folder / _OUTPUT
        self.checkpoint_dir = folder / "program_checkpoint"
        self._folder = folder
        self._about = dict(about or {})
        self._ended = threading.Event()
        self._guard: socket.socket | None = None
        self._said: dict[str, Any] = {}
        self._problem = ""

    def start(self) -> None:
        """Starts the program.

        Raises:
            ProgramError: It could not be started.
        """
        settings = self.settings
        self.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        about = {
            "config": encode(self.config),
            "sweep_id": settings.sweep_id,
            "project": settings.project,
            "checkpoint_dir": str(self.checkpoint_dir),
            **self._about,
        }
        self._listener = Listener(about, self.reports)
        argv = self._argv()
        wandb: dict[str, str] = {}
        if self._upstream is not None:
            self._relay = Relay(self._upstream, self._listener.hear, self._listener.conclude)
            wandb = wandb_env(
                self._relay.url,
                self._relay.key,
                run=str(about.get("id", "")),
                config=self.config,
                sweep=settings.sweep_id,
                folder=self._folder,
            )
        config = json.dumps(plain_json(self.config)[0])
        start = {
            "argv": argv,
            "env": {
                **os.environ,
                **wandb,
                **settings.env,
                **({CONFIG_ENV: config} if len(config) <= _CONFIG_LIMIT else {}),
                ADDRESS_ENV: self._listener.address,
                TOKEN_ENV: self._listener.token,
                "PYTHONUNBUFFERED": "1",
            },
            "cwd": settings.cwd or os.environ.get("TUNE_ORIG_WORKING_DIR") or str(Path.cwd()),
            "output": str(self.output),
            "cap": settings.output_cap,
            "lines": settings.lines,
            "grace": settings.grace,
        }
        ours = self._spare.take() if self._spare is not None else _start_guard()
        ours.sendall(json.dumps(start).encode() + b"\n")
        self._guard = ours
        lines = ours.makefile("rb")
        first = json.loads(lines.readline() or b"{}")
        if "pid" not in first:
            lines.close()
            self._close()
            self._ended.set()
            reason = first.get("error", "its guard ended")
            raise ProgramError(f"{argv[0]!r} could not be started: {reason}")
        self.pid = first["pid"]
        threading.Thread(
            target=self._watch, args=(lines,), name="tune-bridge-watch", daemon=True
        ).start()

    def _argv(self) -> list[str]:
        settings, config_file = self.settings, None
        if wants_config_file(settings.command):
            path = self._folder / "config.json"
            path.write_text(json_arguments(self.config))
            config_file = str(path)
        # W&B's agent takes whatever `python` is on the PATH. Here it is the interpreter that runs
        # the sweep: who types .venv/bin/tune-bridge expects the packages of that environment, on
        # PATH or not. Another interpreter can be named in the command.
        return expand(
            settings.command,
            Start(self.config, settings.program, sys.executable or "python", config_file),
            {**os.environ, **settings.env},
        )

    def _watch(self, lines: Any) -> None:
        with lines:
            try:
                last = json.loads(lines.readline() or b"{}")
            except (OSError, ValueError):
                last = {}
        # A row that waits for its confirmation keeps its connection open until the trial
        # proceeds; a connection of somebody else is cut after a while.
        self._said = last
        self.exit_code = last.get("exit")
        self._ended.set()
        self._listener.drain(_CUT_AFTER)
        if self._relay is not None:
            self._relay.drain(_CUT_AFTER)
        self._listener.end()

    def next(self, timeout: float) -> dict[str, Any]:
        """The next result for Tune; the program goes on from the last one first.

        The last result has ``done`` set when it carries something, and is only Tune's marker for
        "the last one was the last" when it does not.

        Raises:
            queue.Empty: There is none after `timeout` seconds; call again.
            ProgramError: The program failed, or ended without anything that a searcher could use.
        """
        self._listener.proceed()
        result = self._listener.take(timeout)
        if result is not None:
            return result
        self._close()
        if self.exit_code != 0:
            raise ProgramError(self._why(), exit_code=self.exit_code, payload=self.reports.take())
        complaint = self.reports.complaint()
        if complaint:
            if not self._listener.connected and not self.by_wandb:
                complaint += (
                    " (it never called tune_bridge.init(); a program reports with "
                    "run = tune_bridge.init(); run.log({...}))"
                )
            raise ProgramError(complaint, "finished", 0, self.reports.take())
        return self._last()

    def _last(self) -> dict[str, Any]:
        if self.reports.waiting:
            result = {**self.reports.result(), "done": True}
            result[PAYLOAD]["final"] = True
            return result
        return {"__duplicate__": True, PAYLOAD: {}}

    def cut(self) -> dict[str, Any]:
        """Ends the program; what it has not said yet as the last result."""
        self.stop()
        return self._last()

    def waiting(self) -> dict[str, Any] | None:
        """Rows that wait for the metric, to be shown already; None when there are none."""
        return self._listener.collect()

    def stop(self, *, kill: bool = False, hurry: Callable[[], bool] | None = None) -> None:
        """Ends the program and waits until nothing of it is left. Idempotent.

        Args:
            kill: Without grace.
            hurry: Asked while the grace period runs; true ends it.
        """
        if self._guard is None:
            return
        if not self._ended.is_set():
            self.signal(kill=kill)
            # A program that waits in `log` has to hear of its end before the answer lets it go on.
            self._ended.wait(_SIGNAL_FIRST)
            self._listener.stop()
            # The guard ends within the grace period; a guard that was killed closes its socket.
            latest = time.monotonic() + self.settings.grace + 30
            while not self._ended.wait(_HURRY_OFTEN) and time.monotonic() < latest:
                if hurry is not None and not kill and hurry():
                    kill = True
                    self.signal(kill=True)
        self._close()

    def signal(self, *, kill: bool = False) -> None:
        """Begins to end the program, without waiting."""
        if self._guard is not None:
            with contextlib.suppress(OSError):
                self._guard.sendall(b"k" if kill else b"s")

    @property
    def by_wandb(self) -> bool:
        """Whether it has reported by wandb."""
        return self._relay is not None and self._relay.heard

    @property
    def ended(self) -> bool:
        """Whether the program and everything that it started has ended."""
        return self._ended.is_set()

    def _close(self) -> None:
        if hasattr(self, "_listener"):
            self._listener.close()
        if self._relay is not None:
            self._relay.close()
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def _why(self) -> str:
        code = self.exit_code
        if code is None:
            text = "the program's guard was killed, and the program with it"
        elif code < 0:
            with contextlib.suppress(ValueError):
                name = signal.Signals(-code).name
                text = f"the program was ended by {name}"
                if name == "SIGKILL":
                    text += " (was there enough memory?)"
                return self._with_tail(text)
            text = f"the program was ended by signal {-code}"
        else:
            text = f"the program failed with exit code {code}"
        return self._with_tail(text)

    def _with_tail(self, text: str) -> str:
        tail = [printable(line) for line in self._said.get("tail", ()) if line.strip()]
        if tail:
            text += f": {tail[-1].strip()[:_SHOWN]}"
        if len(tail) > 1:
            text += "; its last lines:\n" + "\n".join(f"    {line}" for line in tail)
        return f"{text}{_ALL_OUTPUT}{self.output})"


def printable(line: str) -> str:
    """A line of output without anything that a terminal would obey."""
    plain = _CONTROL.sub("", line.expandtabs())
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in plain)
