"""The guard: a small process that ends a program when its trial ends, however that happens.

It is run as a script by file name, with the standard library alone, and it detaches itself from the
process that starts it: Ray kills the children of a worker that ends, and the guard has to survive
that to end the program with grace. It talks over one inherited socket:

* in: a JSON object with the start, then single letters: ``s`` stop with grace, ``k`` kill at
  once. The end of the stream - the trial's process is gone, however it died - means ``s``.
* out: ``{"pid": ...}`` when the program runs, ``{"error": ...}`` when it could not be started, at
  last ``{"exit": code, "tail": [...], "stopped": ..., "killed": ...}``; a negative code is a
  signal's number.

To stop is SIGTERM to everything that the program started, and SIGKILL after the grace period. The
process by which wandb sends what it was told goes last, so that a program can still finish. On
Linux the guard is the reaper of its descendants, so that also those which left the process group
are found, and the program dies with the guard should that be killed itself. Elsewhere the process
group has to do.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

_SUBREAPER, _DEATH_SIGNAL = 36, 1  # PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG of linux/prctl.h
_CHUNK = 65536
_AFTER = 5.0  # seconds that what a program left behind gets, when the program itself has ended well
_MESSENGERS = frozenset({"wandb-core"})
_ATTEMPTS = 100  # of SIGKILL, five a second: a process stuck in the kernel cannot be waited for


def _prctl(option: int, value: int) -> None:
    """Calls prctl where there is one (Linux); elsewhere nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _parents() -> dict[int, int]:
    """Process -> its parent, for all living processes; empty without /proc."""
    table: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in parentheses may hold anything, blanks and parentheses included.
            state, parent = (folder / "stat").read_text("latin-1").rpartition(")")[2].split()[:2]
            if state not in "ZX":
                table[int(folder.name)] = int(parent)
    return table


def descendants(root: int) -> list[int]:
    """Living processes below `root`; empty without /proc."""
    table = _parents()
    found, frontier = [], [root]
    while frontier:
        parent = frontier.pop()
        below = [pid for pid, above in table.items() if above == parent]
        found += below
        frontier += below
    return found


def _name(pid: int) -> str:
    """What a process is called; empty when it is gone, and without /proc."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text("latin-1").strip()
    return ""


class Tail:
    """Output on its way to a file: all of it up to `cap` bytes, and always the last lines.

    Args:
        path: The file.
        cap: Bytes that the file may hold.
        lines: How many of the last lines are kept.
    """

    def __init__(self, path: str, cap: int, lines: int) -> None:
        self._file = Path(path).open("ab", buffering=0)  # noqa: SIM115 - closed by close()
        self._left = cap
        self._cut = False
        self._lines: deque[bytes] = deque(maxlen=lines)
        self._open = b""

    def write(self, data: bytes) -> None:
        """Takes the next bytes of output."""
        if not self._cut:
            part = data[: self._left]
            self._left -= len(part)
            with contextlib.suppress(OSError):  # a full disk must not end the program
                self._file.write(part)
                if len(part) < len(data):
                    self._cut = True
                    self._file.write(b"\n[output cut here: the file has reached its limit]\n")
        *whole, rest = (self._open + data).split(b"\n")
        self._lines.extend(whole)
        self._open = rest[-_CHUNK:]

    def close(self) -> list[str]:
        """Ends the file; when it was cut, the last lines are put at its end.

        Returns:
            The last lines as text; bytes that are no UTF-8 are replaced.
        """
        if self._open:
            self._lines.append(self._open)
        if self._cut:
            with contextlib.suppress(OSError):
                self._file.write(b"[the last lines]\n" + b"\n".join(self._lines) + b"\n")
        self._file.close()
        # A progress bar rewrites its line: what was last on the screen is what counts.
        shown = [line.rstrip(b"\r").rpartition(b"\r")[2] for line in self._lines]
        return [line[-2000:].decode("utf-8", "replace") for line in shown]


class Guard:
    """One program, from its start to the end of everything that it started.

    Args:
        channel: The socket to the trial.
        start: ``argv``, ``env``, ``cwd``, ``output`` (a file), ``cap`` (its bytes), ``lines``
            (kept), ``grace`` (seconds).
    """

    def __init__(self, channel: socket.socket, start: dict[str, Any]) -> None:
        self._channel: socket.socket | None = channel
        self._grace = float(start["grace"])
        self._start = start
        self._code: int | None = None
        self._deadline: float | None = None
        self._stopped = self._killed = self._spared = False
        self._attempts = 0

    def run(self) -> None:
        """Starts the program and stays until nothing of it is left."""
        self._wakeup, write_end = os.pipe()
        for end in (self._wakeup, write_end):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self._stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        start = self._start
        tail = Tail(start["output"], start["cap"], start["lines"])
        try:
            program = subprocess.Popen(
                start["argv"],
                env=start["env"],
                cwd=start["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Safe here: this process has a single thread.
                preexec_fn=_before_program,  # noqa: PLW1509
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._say({"error": f"{type(error).__name__}: {error}"})
            tail.close()
            return
        assert program.stdout is not None
        self._pid, self._output = program.pid, program.stdout.fileno()
        os.set_blocking(self._output, False)
        self._say({"pid": program.pid})
        while self._busy():
            self._turn(tail)
        self._drain(tail)
        self._say(
            {
                "exit": self._code,
                "tail": tail.close(),
                "stopped": self._stopped,
                "killed": self._killed,
            }
        )
        # Popen must not try to reap what was reaped here.
        program.returncode = self._code

    def _busy(self) -> bool:
        """Whether something of the program is alive; brings about its end when its time is up."""
        self._reap()
        now = time.monotonic()
        if self._code is not None:
            left = self._left()
            if not left:
                return False
            if self._spared:
                self._spared = False
                self._signal(signal.SIGTERM)
            if self._deadline is None:
                # The program ended by itself and left processes behind: the trial's processors
                # are given to the next trial, so they have to go too.
                self._deadline = now + min(_AFTER, self._grace)
                self._signal(signal.SIGTERM)
        if self._deadline is not None and now >= self._deadline:
            if self._attempts == _ATTEMPTS:
                return False
            self._attempts += 1
            self._killed = self._killed or self._code is None
            self._signal(signal.SIGKILL)
            self._deadline = now + 0.2
        return True

    def _turn(self, tail: Tail) -> None:
        sources: list[Any] = [self._wakeup, self._output]
        if self._channel is not None:
            sources.append(self._channel)
        timeout = None
        if self._deadline is not None:
            # Descendants that are not our children send no signal when they end: look again soon.
            timeout = max(0.0, min(0.05, self._deadline - time.monotonic()))
        try:
            ready, _, _ = select.select([s for s in sources if s != -1], [], [], timeout)
        except InterruptedError:
            return
        if self._wakeup in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeup, _CHUNK)
        if self._output in ready:
            self._read(tail)
        if self._channel is not None and self._channel in ready:
            self._listen()

    def _read(self, tail: Tail) -> bool:
        try:
            data = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            os.close(self._output)
            self._output = -1
            return False
        tail.write(data)
        return True

    def _drain(self, tail: Tail) -> None:
        while self._output != -1 and self._read(tail):
            pass

    def _listen(self) -> None:
        assert self._channel is not None
        try:
            letters = self._channel.recv(64)
        except OSError:
            letters = b""
        if b"k" in letters:
            self._stopped = True
            self._deadline = time.monotonic()
        elif b"s" in letters or not letters:
            self._stop()
        if not letters:
            self._channel = None

    def _stop(self) -> None:
        self._stopped = True
        if self._deadline is None:
            self._deadline = time.monotonic() + self._grace
            self._signal(signal.SIGTERM)

    def _left(self) -> bool:
        with contextlib.suppress(OSError):
            os.killpg(self._pid, 0)
            return True
        return bool(descendants(os.getpid()))

    def _signal(self, number: int) -> None:
        below = descendants(os.getpid())
        last = set()
        if number != signal.SIGKILL and self._code is None:
            last = {pid for pid in below if _name(pid) in _MESSENGERS}
        self._spared = bool(last)
        if not last:
            with contextlib.suppress(OSError):
                os.killpg(self._pid, number)
        for pid in below:
            with contextlib.suppress(OSError):
                if pid not in last and (last or os.getpgid(pid) != self._pid):
                    os.kill(pid, number)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self._pid:
                    self._code = os.waitstatus_to_exitcode(status)

    def _say(self, message: dict[str, Any]) -> None:
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.sendall(json.dumps(message).encode() + b"\n")


def _before_program() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _prctl(_DEATH_SIGNAL, signal.SIGKILL)


def _receive(channel: socket.socket) -> dict[str, Any] | None:
    """The first line; None when the trial is gone before it came."""
    data = b""
    while not data.endswith(b"\n"):
        part = channel.recv(_CHUNK)
        if not part:
            return None
        data += part
    start: dict[str, Any] = json.loads(data)
    return start


def main() -> None:
    """Detaches and guards; the number of the socket is the only argument."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    if os.fork():
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    _prctl(_SUBREAPER, 1)
    start = _receive(channel)
    if start is not None:
        Guard(channel, start).run()


if __name__ == "__main__":
    main()
