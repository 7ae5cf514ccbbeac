"""Runs outside of sweeps have no agent: those that fall silent have crashed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tune_bridge.backends.base import Backend, PatchRun
from tune_bridge.errors import NotFoundError

__all__ = ["SILENCE", "Watch"]

SILENCE = 300.0
"""Seconds; the client says something at least every thirty."""

_PAGE = 500
_OTHERS = frozenset({"attempt", "trial_id"})
"""Marks of runs that somebody else watches: a controller, or Ray Tune."""


class Watch:
    """Knows when runs that no controller drives were last heard of. Thread-safe.

    Args:
        backend: Where the runs are.
        clock: Seconds since the epoch.
    """

    def __init__(self, backend: Backend, clock: Callable[[], float] = time.time) -> None:
        self._backend = backend
        self._clock = clock
        self._lock = threading.Lock()
        self._heard: dict[str, float] = {}
        self._begun = False

    def heard(self, run_id: str) -> None:
        """A run has said something."""
        with self._lock:
            self._heard[run_id] = self._clock()

    def ended(self, run_id: str) -> None:
        """A run is over: nobody waits for it."""
        with self._lock:
            self._heard.pop(run_id, None)

    def look(self) -> None:
        """Counts runs as crashed that were silent for too long."""
        now = self._clock()
        if not self._begun:
            self._begun = True
            self._recall(now)
        with self._lock:
            silent = [run_id for run_id, at in self._heard.items() if now - at > SILENCE]
            for run_id in silent:
                del self._heard[run_id]
        for run_id in silent:
            try:
                run = self._backend.run(run_id)
            except NotFoundError:
                continue
            if run.state == "running" and not _OTHERS & run.meta.keys():
                words = f"nothing was heard of it for {SILENCE:.0f} seconds"
                changes = {"state": "crashed", "message": words}
                self._backend.apply([PatchRun(run_id, changes, now)])

    def _recall(self, now: float) -> None:
        """Waits for the runs, too, that were running when an earlier process ended."""
        offset = 0
        while page := self._backend.sweeps(limit=_PAGE, offset=offset):
            offset += len(page)
            for sweep in page:
                try:
                    running = self._backend.runs(sweep.id, states=["running"])
                except NotFoundError:
                    continue
                with self._lock:
                    for run in running:
                        if "wandb.internal" in run.meta and not _OTHERS & run.meta.keys():
                            self._heard.setdefault(run.id, now)
