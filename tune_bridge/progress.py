"""Where a sweep stands while it runs, and what Ctrl-C does to it."""

from __future__ import annotations

import contextlib
import math
import signal
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tune_bridge.signals import handled

__all__ = ["Best", "Progress", "interrupts", "is_better"]


class Best(msgspec.Struct, frozen=True):
    """The best run so far.

    Attributes:
        trial_id: Tune's id of it.
        run_id: The run's id in the backend.
        config: Its parameters.
        value: Its last value of the metric.
    """

    trial_id: str
    run_id: str
    config: dict[str, Any]
    value: float


class Progress(msgspec.Struct, frozen=True):
    """Where a sweep stands.

    Attributes:
        done: Trials that ended well.
        failed: Trials that gave nothing usable.
        running: Trials that run.
        total: How many there will be; None when nobody knows.
        best: The best so far, or None.
        last: What happened last, for people: the first line of an error; may be empty.
    """

    done: int
    failed: int
    running: int
    total: int | None
    best: Best | None
    last: str = ""


@contextlib.contextmanager
def interrupts(first: Callable[[], None], second: Callable[[], None]) -> Iterator[None]:
    """Handles Ctrl-C in the main thread: the first calls `first`, the next `second` and raises.

    SIGTERM, as service managers and batch systems send it, counts as Ctrl-C.
    """
    pressed = 0

    def handle(number: int, frame: Any) -> None:
        nonlocal pressed
        pressed += 1
        if pressed == 1:
            first()
            return
        for each in signals:
            signal.signal(each, signal.default_int_handler)
        second()
        raise KeyboardInterrupt

    signals = (signal.SIGINT, signal.SIGTERM)
    with handled(signals, handle):
        yield


def is_better(value: float, than: float | None, mode: str) -> bool:
    """Whether a value beats another; everything beats None, nothing that is not finite does."""
    if not math.isfinite(value):
        return False
    return than is None or (value < than if mode == "min" else value > than)
