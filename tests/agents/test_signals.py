"""Signals that come while others are being handled."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import pytest

from tune_bridge.agents.leaving import Asked, Leave, interrupts


class Worker:
    """Notes what it is asked; `nested` is called within the first time, before it is noted."""

    def __init__(self, nested: Callable[[], None] = lambda: None, busy: int = 1) -> None:
        self.busy = busy
        self.asked = Asked()
        self._nested: list[Callable[[], None]] = [nested]

    def leave(self, how: Leave) -> None:
        if self._nested:
            self._nested.pop()()
        self.asked.ask(how)


@pytest.mark.parametrize(
    ("signals", "how", "said"),
    [
        (["SIGINT"], "finish", ["leaving after"]),
        (["SIGINT", "SIGINT"], "stop", ["leaving after", "stopping"]),
        (["SIGINT"] * 3, "kill", ["leaving after", "stopping", "killing"]),
        (["SIGINT"] * 4, "kill", ["leaving after", "stopping", "killing", "killing"]),
        (["SIGTERM"], "preempt", ["another agent"]),
        (["SIGHUP"], "preempt", ["another agent"]),
        (["SIGTERM", "SIGTERM"], "preempt", ["another agent", "another agent"]),
        (["SIGINT", "SIGTERM"], "preempt", ["leaving after", "another agent"]),
        (["SIGTERM", "SIGINT"], "stop", ["another agent", "stopping"]),
        (["SIGINT", "SIGINT", "SIGTERM"], "stop", ["leaving after", "stopping", "stopping"]),
    ],
)
def test_what_signals_ask_for(signals: list[str], how: Leave, said: list[str]) -> None:
    worker, words = Worker(), list[str]()
    with interrupts(worker, words.append):
        for name in signals:
            signal.raise_signal(signal.Signals[name])
    assert worker.asked.how == how
    assert len(words) == len(said)
    assert all(part in text for part, text in zip(said, words, strict=True)), words


def test_without_a_run_one_ctrl_c_is_enough() -> None:
    worker, words = Worker(busy=0), list[str]()
    with interrupts(worker, words.append):
        signal.raise_signal(signal.SIGINT)
    assert (worker.asked.how, words) == ("stop", [])


def test_a_signal_within_the_handler_of_another_is_not_undone_by_it() -> None:
    worker, words = Worker(lambda: signal.raise_signal(signal.SIGINT)), list[str]()
    with interrupts(worker, words.append):
        signal.raise_signal(signal.SIGINT)
    assert worker.asked.how == "stop"
    assert [text.split()[0] for text in words] == ["leaving", "stopping"]


def test_a_handler_waits_for_nobody_who_says_something() -> None:
    """The line that is being said holds a lock, as a stream does."""
    lock, words, entered = threading.Lock(), list[str](), threading.Event()

    def say(text: str) -> None:
        entered.set()
        with lock:
            words.append(text)

    worker = Worker()
    with interrupts(worker, say):
        with lock:
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
            assert worker.asked.how == "kill"
            assert entered.wait(60)
        assert not words or words[0].startswith("leaving")
    assert [text.split()[0] for text in words] == ["leaving", "stopping", "killing"]


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interrupts(Worker(), lambda text: None):
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
