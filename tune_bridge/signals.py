"""Signals that are handled for a while."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

__all__ = ["handled"]


@contextlib.contextmanager
def handled(
    signals: Iterable[signal.Signals], handler: Callable[[int, FrameType | None], Any]
) -> Iterator[None]:
    """Has signals handled by a function, and afterwards by whoever handled them before.

    In a thread that is not the main one, where Python allows no handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, handler) for each in signals}
    try:
        yield
    finally:
        for each, known in before.items():
            # None: it was not set from Python, and cannot be.
            signal.signal(each, signal.SIG_DFL if known is None else known)
