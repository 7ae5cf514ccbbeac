"""What takes a while to compute, kept: not computed twice, and not for every run that ends."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

__all__ = ["Kept"]

_SHARE = 20.0  # what was slow to compute is computed again after this many times its duration

_T = TypeVar("_T")


class Kept(Generic[_T]):
    """The latest value of each key.

    One thread at a time computes the value of a key; those of other keys do not wait for it.

    Args:
        keep: How many keys to keep; those asked for longest ago go first.
        clock: Seconds.
    """

    def __init__(self, keep: int = 64, clock: Callable[[], float] = time.monotonic) -> None:
        self._keep = keep
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()

    def last(self, key: Hashable) -> _T | None:
        """What was computed last; None when nothing was."""
        slot = self._slots.get(key)
        found: _T | None = None if slot is None else slot.value
        return found

    def get(self, key: Hashable, state: object, make: Callable[[], _T]) -> _T:
        """The value of a key.

        Args:
            key: What it is of.
            state: What it depends on: an equal one has the same value. One that is new is not
                looked at before 20 times the duration of the last computation have passed.
            make: Computes it; what it raises is raised, and nothing is kept.
        """
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > self._keep:
                self._slots.popitem(last=False)
        with slot.lock:
            known = slot.took is not None
            if known and (slot.state == state or self._clock() < slot.again):
                found: _T = slot.value
                return found
            began = self._clock()
            slot.value = value = make()
            now = self._clock()
            slot.state, slot.took = state, now - began
            slot.again = now + _SHARE * slot.took
            return value


class _Slot:
    """One key's value, its state, how long it took and when it may be computed again."""

    __slots__ = ("again", "lock", "state", "took", "value")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value: Any = None
        self.state: object = None
        self.took: float | None = None
        self.again = 0.0
