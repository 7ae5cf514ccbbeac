"""Importances of a sweep's parameters, computed when they are asked for and kept."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

import msgspec

from tune_bridge.server.analysis.figures import Results
from tune_bridge.server.analysis.importance import Importance, measure
from tune_bridge.server.views import Dimension, Snapshot

__all__ = ["Analyst", "dimensions"]

_KEEP = 64
_SHARE = 20.0  # what was slow to compute is computed again after this many times its duration


def dimensions(snapshot: Snapshot) -> list[Dimension]:
    """The searched parameters; of a config that says nothing of them, those that vary."""
    keys = dict.fromkeys(key for config in snapshot.configs for key in config)
    named = {dimension.path: dimension for dimension in snapshot.plan.dimensions}
    found = []
    for key in keys:
        whole = named.get(key)
        below = any(key.startswith(f"{path}.") for path in named)
        if whole is not None or below or not named:
            values = {repr(config.get(key)) for config in snapshot.configs}
            if len(values) > 1:
                found.append(whole or Dimension(key))
    return found


class Analyst:
    """Computes importances, and keeps what it has computed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
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

    @staticmethod
    def _compute(snapshot: Snapshot, results: Results, kind: str) -> list[Importance]:
        shown = dimensions(snapshot)
        columns = {
            one.path: [snapshot.configs[index].get(one.path) for index in results.indices]
            for one in shown
        }
        log = frozenset(one.path for one in shown if one.log)
        return measure(columns, results.costs, kind, log)


class _Known(msgspec.Struct):
    state: tuple[int, float]
    found: list[Importance]
    at: float
    took: float
