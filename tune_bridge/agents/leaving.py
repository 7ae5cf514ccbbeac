"""How agents leave: what was asked of them, and the signals that ask.

A signal may come while the handler of the one before still runs, at any point of it. So handlers
take no lock (the one before may hold it), write nothing back that they have read (it would undo
what came between), and leave talking to a thread (a stream that is being written to refuses).
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

from tune_bridge.signals import handled
from tune_bridge.wire import End

__all__ = ["Asked", "Leave", "Leaver", "interrupts", "left", "stronger"]

Leave = Literal["", "finish", "preempt", "stop", "kill"]
"""How an agent is to leave; not at all when empty.

"finish" what runs; "preempt": end it with grace and give it back, for another agent to go on with;
"stop" it with grace, or "kill" it, for good.
"""

_FORCE: tuple[Leave, ...] = ("", "finish", "preempt", "stop", "kill")
_AFTER: dict[Leave, Leave] = {"": "finish", "finish": "stop", "preempt": "stop"}
"""What one more Ctrl-C does."""
_SAID: dict[Leave, str] = {
    "finish": "leaving after the current run; Ctrl-C again stops it",
    "preempt": "stopping the current run; another agent goes on with it",
    "stop": "stopping the current run; Ctrl-C again kills it",
    "kill": "killing the current run",
}


def stronger(one: Leave, other: Leave) -> Leave:
    """The one with more force."""
    return max(one, other, key=_FORCE.index)


class Asked:
    """How somebody is to leave: the strongest of all that was asked for."""

    def __init__(self) -> None:
        self._asked: set[Leave] = set()

    def ask(self, how: Leave) -> None:
        """Once more; from a signal handler or any thread."""
        self._asked.add(how)

    @property
    def how(self) -> Leave:
        """With the most force."""
        return next((how for how in reversed(_FORCE) if how in self._asked), "")


def left(attempt: int, leave: Leave, exit_code: int | None = None) -> End:
    """The end of a run that was ended because its agent leaves.

    Args:
        attempt: Of the claim.
        leave: How the agent leaves.
        exit_code: Of the program.
    """
    if leave == "preempt":
        return End(attempt, "crashed", "its agent had to leave", exit_code, preempted=True)
    return End(attempt, "killed", "the agent was stopped", exit_code)


class Leaver(Protocol):
    """An agent, or many: see `tune_bridge.agents.Agent`."""

    @property
    def busy(self) -> int:
        """How many runs it has."""

    def leave(self, how: Leave) -> None:
        """Ends it; called within a signal handler."""


@contextmanager
def interrupts(worker: Leaver, say: Callable[[str], None]) -> Iterator[None]:
    """Ctrl-C, in the main thread: finish the current run and leave; stop it; kill it.

    SIGTERM, as service managers and batch systems send it when they take a machine away, and the
    end of the terminal end the current run at once and give it back: nobody has said that it is
    not wanted.

    Args:
        worker: Who leaves.
        say: Called with lines for people, in another thread.
    """
    pressed: list[Leave] = []
    words: queue.SimpleQueue[str | None] = queue.SimpleQueue()  # handlers may put, also nested

    def handle(number: int, frame: Any) -> None:
        once: Leave = "finish" if worker.busy else "stop"
        pressed.append(once if number == signal.SIGINT else "preempt")
        how = _asked_by(pressed)
        if worker.busy:
            words.put(_SAID[how])
        worker.leave(how)

    def speak() -> None:
        while (text := words.get()) is not None:
            say(text)

    speaker = threading.Thread(target=speak, name="tune-bridge-signals", daemon=True)
    speaker.start()
    signals = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # the terminal was closed; nohup ignores it
    if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:
        signals.append(hangup)
    try:
        with handled(signals, handle):
            yield
    finally:
        words.put(None)
        speaker.join()


def _asked_by(pressed: list[Leave]) -> Leave:
    """What signals ask for together: each Ctrl-C for more than what was asked for before."""
    how: Leave = ""
    for least in list(pressed):
        how = stronger(how if least == "preempt" else _AFTER.get(how, "kill"), least)
    return how
