"""Importances of a sweep's parameters, computed when they are asked for and kept."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from tune_bridge.backends.base import Backend, Run
from tune_bridge.server.analysis.figures import Results
from tune_bridge.server.analysis.importance import FEW, Importance, measure
from tune_bridge.server.analysis.what_if import Outcome, what_if
from tune_bridge.server.views import Snapshot

__all__ = ["Analyst", "at_once"]

_KEEP = 64
_POINTS = 300  # of a curve
_SHARE = 20.0  # what was slow to compute is computed again after this many times its duration


class Analyst:
    """Computes what takes a while, and keeps what it has computed.

    Args:
        backend: Has the curves of runs; without it there are none.
    """

    def __init__(self, backend: Backend | None = None) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._outcomes: dict[tuple[str, str], tuple[int, list[Outcome]]] = {}
        self._known: OrderedDict[tuple[str, str, str], _Known] = OrderedDict()

    def known(self, snapshot: Snapshot, metric: str, kind: str) -> list[Importance]:
        """What was computed last; nothing when nothing was."""
        known = self._known.get((snapshot.sweep.id, metric, kind))
        return [] if known is None else known.found

    def importance(self, snapshot: Snapshot, metric: str, kind: str) -> list[Importance]:
        """The importance of each searched parameter for a metric, the largest first.

        While a sweep runs, what took long is not computed anew for every run that ends.

        Raises:
            MissingExtraError: The library of that measure is not installed.
        """
        results = Results.of(snapshot, metric)
        key, state = (snapshot.sweep.id, metric, kind), (len(results.indices), sum(results.values))
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                fresh = time.monotonic() < known.at + _SHARE * known.took
                if known.state == state or fresh:
                    return known.found
            began = time.monotonic()
            found = self._compute(snapshot, results, kind)
            now = time.monotonic()
            self._known[key] = _Known(state, found, now, now - began)
            self._known.move_to_end(key)
            while len(self._known) > _KEEP:
                self._known.popitem(last=False)
        return found

    def what_if(self, snapshot: Snapshot, metric: str) -> tuple[int, list[Outcome]]:
        """How many runs ran to their ends, and what early stopping would have done to them."""
        if self._backend is None:
            return 0, []
        whole = [run for run in snapshot.runs if run.state == "finished" and not run.stopped_early]
        if len(whole) < FEW:
            return len(whole), []
        with self._lock:
            known = self._outcomes.get((snapshot.sweep.id, metric))
            if known is None or known[0] != len(whole):
                points = self._backend.histories(snapshot.sweep.id, metric, max_points=_POINTS)
                longest = max((len(points.get(run.id, ())) for run in whole), default=0)
                every = max(1, round(max(run.rows for run in whole) / max(longest, 1)))
                curves = [[value for _, value in points.get(run.id, ())] for run in whole]
                goal = Results.of(snapshot, metric).goal
                found = what_if(curves, goal, parallel=at_once(whole), every=every)
                known = self._outcomes[snapshot.sweep.id, metric] = (len(whole), found)
                while len(self._outcomes) > _KEEP:
                    self._outcomes.pop(next(iter(self._outcomes)))
        return known

    @staticmethod
    def _compute(snapshot: Snapshot, results: Results, kind: str) -> list[Importance]:
        shown = snapshot.varied
        columns = {
            one.path: [snapshot.configs[index].get(one.path) for index in results.indices]
            for one in shown
        }
        log = frozenset(one.path for one in shown if one.log)
        return measure(columns, results.costs, kind, log)


def at_once(runs: Sequence[Run]) -> int:
    """How many runs ran at once, on average over the time in which some did."""
    spans = [
        (run.started_at, run.ended_at)
        for run in runs
        if run.started_at is not None and run.ended_at is not None
    ]
    if not spans:
        return 1
    busy = sum(end - start for start, end in spans)
    took = max(end for _, end in spans) - min(start for start, _ in spans)
    return max(1, round(busy / took)) if took > 0 else 1


class _Known(msgspec.Struct):
    state: tuple[int, float]
    found: list[Importance]
    at: float
    took: float
