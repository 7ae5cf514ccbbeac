"""Whether the program that reports a sweep is still there.

An experiment of Ray Tune has no agents with leases: one process reports all of its runs, and
whether it is slow or dead, its rows do not tell. So it leaves a sign of life in the sweep's meta
data, from a thread of its own, however long a step takes: when, and how often it means to. It
replaces itself, and is all that a reader needs.
"""

from __future__ import annotations

import time
from typing import Any

from tune_bridge.backends.base import ENDED_SWEEP, Sweep

__all__ = ["EVERY", "HEARD", "sign", "unheard_since", "unheard_words"]

HEARD = "heard"
"""Key of a sweep's meta data: the last sign of life, ``at`` and ``every`` in seconds."""

EVERY = 30.0
"""Seconds between two signs of life."""

_MISSED = 4  # so many in a row, and nobody is there; clocks may differ by two of them


def sign(now: float, every: float = EVERY) -> dict[str, Any]:
    """Meta data that say: somebody is there."""
    return {HEARD: {"at": now, "every": every}}


def unheard_since(sweep: Sweep, now: float | None = None) -> float | None:
    """When the program that reports a sweep was last heard of, when that is too long ago.

    Args:
        sweep: The sweep.
        now: The time; that of this machine without.

    Returns:
        None when it is heard of, when the sweep is over, and for sweeps without such a program:
        those that agents run, and those that an older version reports.
    """
    heard = sweep.meta.get(HEARD)
    if sweep.state in ENDED_SWEEP or not isinstance(heard, dict):
        return None
    at, every = heard.get("at"), heard.get("every")
    if not isinstance(at, int | float) or not isinstance(every, int | float):
        return None
    passed = (time.time() if now is None else now) - at
    return float(at) if passed > _MISSED * every else None


def unheard_words(since: float) -> str:
    """What a reader is told, with the local time."""
    at = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(since)).strip()
    return f"not heard of since {at} (the program that reports it may have ended)"
