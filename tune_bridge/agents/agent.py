"""The agent: slots that fetch runs and execute them, and one thread that says they live."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tune_bridge.agents.execution import Execution
from tune_bridge.agents.folders import own_folder
from tune_bridge.agents.function import run_function
from tune_bridge.agents.http import Server, UnreachableError
from tune_bridge.agents.leaving import Asked, Leave
from tune_bridge.agents.process import run_program
from tune_bridge.errors import InputError, TuneBridgeError
from tune_bridge.trial import ProgramSettings, Spare
from tune_bridge.wire import Answer, Claim, ClaimRequest, End, Heartbeat, Idle, Over

__all__ = ["Agent", "Done", "host_name", "visible_gpus"]

_HOLD = 20.0  # seconds that the server may hold a claim
_AWAY = (0.2, 5.0)  # seconds between two attempts while the server is away: first and longest
_PATIENCE = 300.0  # seconds that a server may be away before an agent without a run gives up
_FLUSH = 30.0  # seconds for the last rows of a run while the server is away
_AGAIN = 0.5  # seconds between two attempts to tell what is left
_BEAT = 5.0  # seconds between two signs of life at most
_SIGNALS = 0.1  # seconds until a signal is noticed


class Done(msgspec.Struct, frozen=True):
    """What an agent has done.

    Attributes:
        counts: Runs by how they ended here: finished, failed, stopped, paused, killed, crashed,
            preempted (given back, for another agent).
        reason: Why it left.
        left: Rows that could not be delivered.
    """

    counts: dict[str, int]
    reason: str
    left: int = 0


def host_name() -> str:
    """This machine, as it is shown."""
    return socket.gethostname() or "localhost"


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    import subprocess

    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            check=True,
            capture_output=True,
            text=True,
            timeout=10,
        )
        return done.stdout.split()
    return []


class Agent:
    """Runs of one sweep, on this machine.

    Args:
        server: Where the sweep is.
        sweep_id: The sweep.
        settings: How its programs are run; None for a function.
        function: What is called for each run instead of a program.
        metric: What the sweep optimises, or None.
        project: The sweep's project, as programs are told.
        name: The agent's name; a unique one without.
        count: How many runs it takes at most; None for no limit.
        jobs: Runs at once.
        slots: Environment variables of each slot, one mapping for each job; for ``--per-gpu``.
        say: Called with lines for people.
        patience: Seconds that the server may be away while the agent has nothing to do.

    Raises:
        InputError: There is neither a program nor a function, or both.
    """

    def __init__(
        self,
        server: Server,
        sweep_id: str,
        *,
        settings: ProgramSettings | None = None,
        function: Callable[..., Any] | None = None,
        metric: str | None = None,
        project: str = "",
        name: str | None = None,
        count: int | None = None,
        jobs: int = 1,
        slots: Sequence[Mapping[str, str]] | None = None,
        say: Callable[[str], None] | None = None,
        patience: float = _PATIENCE,
    ) -> None:
        if (settings is None) == (function is None):
            raise InputError(
                "an agent runs either a program or a function",
                expected="a program in the sweep config, or function=",
            )
        self.name = name or f"{host_name()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._server = server.copy()  # its claims can be interrupted, and nobody else's
        self._sweep = sweep_id
        self._settings, self._function, self._metric = settings, function, metric
        self._project = project
        self._slots = [dict(slot) for slot in slots] if slots else [{} for _ in range(jobs)]
        self._say = say or (lambda text: None)
        self._patience = patience
        self._lock = threading.Lock()
        self._left_to_take = count
        self._running: dict[str, Execution] = {}
        self._counts: dict[str, int] = {}
        self._reasons: list[str] = []
        self._problems: list[BaseException] = []
        self._undelivered = 0
        self._beat = _BEAT
        self._asked = Asked()
        self._leave_asked = False
        self._woken = threading.Event()
        self._begun = threading.Event()
        self._folder = Path()

    def run(self) -> Done:
        """Works until there is nothing more to do, or `leave` is called.

        Raises:
            TuneBridgeError: The server cannot be reached or refuses this agent.
        """
        # Daemons: a function that never reports must not keep the process.
        threads = [
            threading.Thread(
                target=self._work, args=(slot,), name=f"tune-bridge-slot-{number}", daemon=True
            )
            for number, slot in enumerate(self._slots)
        ]
        ended = threading.Event()
        beats = threading.Thread(
            target=self._beats, args=(ended,), name="tune-bridge-heartbeat", daemon=True
        )
        with own_folder() as self._folder:
            try:
                for thread in (*threads, beats):
                    thread.start()
                while any(thread.is_alive() for thread in threads):
                    next(filter(threading.Thread.is_alive, threads), beats).join(_SIGNALS)
                    if self._leave:
                        self._woken.set()
                        self._server.interrupt()
                    if self._leave == "kill" and self._function is not None:
                        self._abandon()
                        break
            finally:
                ended.set()
                self._begun.set()
        if self._problems:
            raise self._problems[0]
        reason = self._reasons[-1] if self._reasons else "it was asked to leave"
        return Done(dict(self._counts), reason, self._undelivered)

    def leave(self, how: Leave) -> None:
        """Ends the agent, as `Leave` says.

        May be called from a signal handler, and again with more force.
        """
        self._leave_asked = True
        self._asked.ask(how)  # and no more: `run` wakes who waits

    @property
    def _leave(self) -> Leave:
        return self._asked.how

    @property
    def busy(self) -> int:
        """How many runs it has."""
        return len(self._running)

    @property
    def left_by_hand(self) -> bool:
        """Whether `leave` was called."""
        return self._leave_asked

    def _is_leaving(self) -> bool:
        return bool(self._leave)

    def _stopping(self) -> Leave:
        how = self._leave
        return "" if how == "finish" else how

    def _work(self, slot: Mapping[str, str]) -> None:
        spare = Spare()
        try:
            claim: Claim | None = None
            while not self._leave and (claim is not None or self._take()):
                claim = claim or self._claim()
                if claim is None:
                    self._give_back()
                    return
                claim = self._execute(claim, slot, spare)
            if claim is not None:
                self._return(claim)
        except BaseException as error:  # noqa: BLE001 - told by `run`, in the thread that called it
            with self._lock:
                self._problems.append(error)
            self._asked.ask("finish")
        finally:
            spare.close()
            self._server.close()

    def _take(self) -> bool:
        with self._lock:
            if self._left_to_take is None:
                return True
            if self._left_to_take <= 0:
                self._reasons.append("it has had its number of runs")
                return False
            self._left_to_take -= 1
            return True

    def _give_back(self) -> None:
        with self._lock:
            if self._left_to_take is not None:
                self._left_to_take += 1

    def _claim(self) -> Claim | None:
        """The next run; None when there is none for this agent any more."""
        request, pause, away = secrets.token_hex(8), _AWAY[0], 0.0
        shown = ""
        while not self._is_leaving():
            asked = time.monotonic()
            away = away or asked
            try:
                answer = self._server.claim(
                    self._sweep, ClaimRequest(self.name, host_name(), request, _HOLD)
                )
            except UnreachableError as error:
                if self._is_leaving():
                    break
                if pause == _AWAY[0]:
                    self._say(f"{error}; trying again")
                if time.monotonic() - away > self._patience:
                    raise
                self._woken.wait(pause)
                pause = min(2 * pause, _AWAY[1])
                continue
            pause, away = _AWAY[0], 0.0
            if isinstance(answer, Claim) and self._is_leaving():
                self._return(answer)
                break
            if isinstance(answer, Claim):
                return answer
            if isinstance(answer, Over):
                with self._lock:
                    self._reasons.append(answer.reason)
                return None
            if isinstance(answer, Idle):
                if answer.reason != shown:
                    shown = answer.reason
                    self._say(f"waiting: {shown}")
                if time.monotonic() - asked < 1.0:  # a server that does not hold requests
                    self._woken.wait(1.0)
        return None

    def _return(self, claim: Claim) -> None:
        """Gives a run back that has not begun."""
        words = f"agent {self.name} left before it began"
        self._tell_end(claim, End(claim.attempt, "crashed", words, preempted=True))

    def _execute(self, claim: Claim, slot: Mapping[str, str], spare: Spare) -> Claim | None:
        """Runs it; the next one, if there is one already."""
        folder = self._folder / f"{claim.run}-{claim.attempt}"
        folder.mkdir()
        self._say(f"run {claim.run}: {_shown(claim.config)}")
        began = time.monotonic()
        try:
            kind, message, following = self._attempt(claim, folder, slot, spare)
        finally:
            with self._lock:
                self._running.pop(claim.run, None)
            shutil.rmtree(folder, ignore_errors=True)
        with self._lock:
            self._counts[kind] = self._counts.get(kind, 0) + 1
        seconds = time.monotonic() - began
        first = message.strip().splitlines()[0] if message.strip() else ""
        self._say(
            f"run {claim.run}: {kind} after {seconds:.1f} s" + (f": {first}" if first else "")
        )
        return following

    def _attempt(
        self, claim: Claim, folder: Path, slot: Mapping[str, str], spare: Spare
    ) -> tuple[str, str, Claim | None]:
        """Runs it and tells of its end; how it ended, and why, for people; and the next one."""
        about = {"sweep_id": self._sweep, "project": self._project, "agent": self.name}
        self._beat = claim.heartbeat
        try:
            execution = Execution(self._server, claim, folder, about, self._is_leaving)
        except TuneBridgeError as error:
            end = End(claim.attempt, "crashed", f"no checkpoint to start from: {error}")
            self._tell_end(claim, end)
            return end.state, end.message, None
        with self._lock:
            self._running[claim.run] = execution
        self._begun.set()
        if self._function is not None:
            end = run_function(execution, self._function, self._metric, self._stopping)
        else:
            assert self._settings is not None
            env = {**self._settings.env, **slot}
            settings = msgspec.structs.replace(self._settings, env=env)
            end = run_program(execution, settings, self._server, self._stopping, spare)
        self._deliver(execution)
        following = self._end_and_claim(claim, end)
        kind: str = "preempted" if end.preempted else end.state
        if kind == "killed" and not self._stopping():
            kind = {"stop": "stopped", "pause": "paused"}.get(execution.verdict.kind, kind)
        return kind, end.message, following

    def _end_and_claim(self, claim: Claim, end: End) -> Claim | None:
        """Tells of a run's end, and asks for the next one at once; that, if there is one."""
        if self._leave or not self._take():
            self._tell_end(claim, end)
            return None
        wanted = ClaimRequest(self.name, host_name(), secrets.token_hex(8))
        answer = self._tell_end(claim, msgspec.structs.replace(end, next=wanted))
        if isinstance(answer, Claim):
            return answer
        self._give_back()
        return None

    def _abandon(self) -> None:
        """Leaves functions alone that go on in their threads; their runs are over."""
        with self._lock:
            running = list(self._running.values())
        for execution in running:
            claim = execution.claim
            self._tell_end(claim, End(claim.attempt, "killed", "the agent was killed"))

    def _deliver(self, execution: Execution) -> None:
        """Sends what is left, for a bounded time."""
        until = time.monotonic() + _FLUSH
        with contextlib.suppress(TuneBridgeError):
            while not execution.outbox.flush():
                if time.monotonic() > until or self._leave == "kill":
                    with self._lock:
                        self._undelivered += execution.outbox.left
                    return
                time.sleep(_AGAIN)

    def _tell_end(self, claim: Claim, end: End) -> Answer | None:
        until = time.monotonic() + _FLUSH
        while True:
            try:
                return self._server.end(claim.run, end)
            except UnreachableError as error:
                if time.monotonic() > until or self._leave == "kill":
                    self._say(f"run {claim.run}: {error}; its end could not be told")
                    return None
                time.sleep(_AGAIN)
            except TuneBridgeError as error:
                self._say(f"run {claim.run}: {error}")
                return None

    def _beats(self, ended: threading.Event) -> None:
        while True:
            self._begun.wait()  # the first run says how often
            if ended.wait(min(self._beat, _BEAT)):
                break
            with self._lock:
                running = dict(self._running)
            if not running:
                self._begun.clear()
                continue
            beat = Heartbeat(
                self.name, {run: execution.claim.attempt for run, execution in running.items()}
            )
            with contextlib.suppress(TuneBridgeError):
                for run, verdict in self._server.heartbeat(self._sweep, beat).items():
                    if run in running:
                        running[run].outbox.judge(verdict)
            for execution in running.values():
                execution.catch_up()
        self._server.close()


def _shown(config: Mapping[str, Any]) -> str:
    items = []
    for key, value in config.items():
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        items.append(f"{key}={text if len(text) <= 40 else text[:37] + '...'}")
    return " ".join(items[:12]) + (" ..." if len(items) > 12 else "")
