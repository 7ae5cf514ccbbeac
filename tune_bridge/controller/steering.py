"""Sweeps that Ray Tune drives: what is asked of them, and the log of what is decided there.

The process of the experiment is the one that decides. Whoever wants something - the command line,
a page - leaves it with the sweep (`ask`); the experiment looks twice a second (`Link`) and does it
(`tune_bridge.SweepScheduler`).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from tune_bridge.backends import open_backend
from tune_bridge.backends.base import (
    BEHIND,
    ENDED_SWEEP,
    Backend,
    LogEvents,
    Operation,
    PatchRun,
    PatchSweep,
    Sweep,
)
from tune_bridge.controller.liveness import EVERY, sign, unheard_since, unheard_words
from tune_bridge.controller.state import check_args
from tune_bridge.errors import InputError, NotFoundError, TuneBridgeError
from tune_bridge.wire import Command, Verb

__all__ = ["STEERED", "VERBS", "Link", "ask", "is_steered"]

STEERED = "steered_by"
"""Key of a sweep's meta data: who does what is asked."""

VERBS: frozenset[Verb] = frozenset({"pause", "resume", "stop", "cancel", "concurrency", "stop_run"})
"""What an experiment of Ray Tune can be asked for."""

_PREFIX = "asked."
_LOOK = 0.5  # seconds between two looks for what is asked
_AWAY = 5.0  # the same while the backend is away
_PAGE = 1000


def is_steered(sweep: Sweep) -> bool:
    """Whether the experiment that reports a sweep can be asked for something."""
    return STEERED in sweep.meta


def ask(backend: Backend, sweep: Sweep, verb: Verb, args: Mapping[str, Any]) -> None:
    """Leaves a command with a sweep.

    Raises:
        InputError: It cannot be done there, makes no sense, or comes too late; or nothing has been
            heard of the experiment for a while. Such a one can be canceled: that ends the sweep.
        NotFoundError: The sweep has no such run.
    """
    check_args(verb, args)
    if verb not in VERBS:
        raise InputError(
            f"Ray Tune drives sweep {sweep.id}, and {verb} is nothing that it can do",
            found=verb,
            expected=", ".join(sorted(VERBS)),
        )
    if sweep.state in ENDED_SWEEP:
        raise InputError(f"sweep {sweep.id} is over", found=sweep.state, expected="a running one")
    if (since := unheard_since(sweep)) is not None:
        if verb == "cancel":
            _end(backend, sweep, unheard_words(since))
            return
        raise InputError(
            f"nobody would do it: sweep {sweep.id} is {unheard_words(since)}",
            hint="Tuner.restore goes on with it, cancel ends it",
        )
    if verb == "stop_run" and backend.run(args["run"]).sweep_id != sweep.id:
        raise NotFoundError(f"sweep {sweep.id} has no such run", found=args["run"])
    now = time.time()
    command = {"verb": verb, "args": dict(args), "time": now}
    meta = {f"{_PREFIX}{time.time_ns():020}": command}
    backend.apply([PatchSweep(sweep.id, {"meta": meta}, now)])


def _end(backend: Backend, sweep: Sweep, why: str) -> None:
    """Ends a sweep whose experiment is gone, as of the last that is known of it.

    So whatever the experiment says later, should it be there after all, counts for more.
    """
    at = sweep.updated_at
    lost = {"state": "crashed", "message": f"its experiment was {why}"}
    over = {"state": "canceled", "message": f"canceled by command: {why}"}
    open_runs = backend.runs(sweep.id, states=("pending", "running"))
    runs = [PatchRun(run.id, lost, max(at, run.updated_at)) for run in open_runs]
    backend.apply([*runs, PatchSweep(sweep.id, over, at)])


class Link:
    """The way between an experiment and its sweep: events there, commands back.

    Args:
        place: The sweep's backend, or where it is.
        sweep_id: The sweep.
        put: Takes operations; never waits.
        known: Number of events that the sweep has: 0 for a new one, None when that has to be
            looked up.
        steered: Whether commands are looked for.
        away: Whether the backend is known to be away: signs of life are not kept for it.
        delivered: Waits until all that was put before is at the backend, and says whether it is.
        every: Seconds between two signs of life.
    """

    def __init__(
        self,
        place: Backend | str | None,
        sweep_id: str,
        put: Callable[[Operation], None],
        *,
        known: int | None,
        steered: bool,
        away: Callable[[], bool] = lambda: False,
        delivered: Callable[[], bool] = lambda: True,
        every: float = EVERY,
    ) -> None:
        self._place, self._sweep, self._put = place, sweep_id, put
        self._away, self._delivered, self._every = away, delivered, every
        self._kept = not isinstance(place, Backend) or place.keeps_events
        if not self._kept:  # neither are commands
            steered, known = False, 0
        self._steered = steered
        self._begun = time.time_ns()
        self._lock = threading.Lock()
        self._next = known
        self._waiting: list[dict[str, Any]] = []
        self._commands: deque[Command] = deque()
        self._seen: set[str] = set()
        self._ended = threading.Event()
        if self._kept:
            self._live()
            threading.Thread(target=self._main, name="tune-bridge-link", daemon=True).start()

    def log(self, event: dict[str, Any]) -> None:
        """Adds an event to the sweep's log, where there is one."""
        if not self._kept:
            return
        now = time.time()
        with self._lock:
            self._waiting.append({**event, "time": now})
            if self._next is not None:
                self._write(now)

    def _write(self, now: float) -> None:
        """Brings what waits on its way; the lock is held, and it is known where it belongs."""
        events, self._waiting = self._waiting, []
        if events and self._next is not None:
            self._put(LogEvents(self._sweep, self._next, events, now))
            self._next += len(events) if self._next != BEHIND else 0

    def _number(self, number: int) -> None:
        """From now on it is known where events belong."""
        with self._lock:
            if self._next is None:
                self._next = number
                self._write(time.time())

    def _live(self) -> None:
        """Leaves a sign of life, unless it would only wait with others."""
        if self._away():
            self._due = time.monotonic() + _AWAY
            return
        now = time.time()
        self._put(PatchSweep(self._sweep, {"meta": sign(now, self._every)}, now))
        self._due = time.monotonic() + self._every

    def take(self) -> list[Command]:
        """What was asked since the last time."""
        found = []
        while self._commands:
            found.append(self._commands.popleft())
        return found

    def close(self) -> None:
        """Ends it. Events whose numbers are not known yet come behind all that there are."""
        self._ended.set()
        self._number(BEHIND)

    def _main(self) -> None:
        backend: Backend | None = None
        pause = 0.0
        try:
            while not self._ended.wait(pause):
                pause = _LOOK
                try:
                    if self._steered or self._next is None:
                        backend = backend or self._opened()
                        self._look(backend)
                    elif backend is not None:
                        self._left(backend)
                        backend = None
                except NotFoundError:  # it is not written yet
                    pass
                except TuneBridgeError:
                    pause = _AWAY
                    self._number(BEHIND)
                if time.monotonic() >= self._due:
                    with contextlib.suppress(TuneBridgeError):  # closed in this moment
                        self._live()
                if not self._steered and self._next is not None:
                    pause = max(0.0, self._due - time.monotonic())
        finally:
            self._left(backend)

    def _opened(self) -> Backend:
        return self._place if isinstance(self._place, Backend) else open_backend(self._place)

    def _left(self, backend: Backend | None) -> None:
        if backend is not None and backend is not self._place:
            with contextlib.suppress(TuneBridgeError):
                backend.close()

    def _look(self, backend: Backend) -> None:
        if self._next is None:
            self._number(self._count(backend) if self._delivered() else BEHIND)
        if self._steered:
            for key, told in sorted(backend.sweep(self._sweep).meta.items()):
                if not key.startswith(_PREFIX) or key in self._seen:
                    continue
                self._seen.add(key)
                if int(key.removeprefix(_PREFIX)) >= self._begun:  # not of an earlier life
                    self._commands.append(Command(told["verb"], dict(told["args"])))

    def _count(self, backend: Backend) -> int:
        number = 0
        while page := backend.events(self._sweep, first=number, limit=_PAGE):
            number += len(page)
        return number
