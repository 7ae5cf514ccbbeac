"""W&B's early termination, ``early_terminate: {type: hyperband}``.

The rule is that of W&B's ``sweeps`` package 0.3.0, ``hyperband_stopping.py``. Bands are numbers of
reports: ``min_iter * eta**k``, or ``max_iter / eta**k`` for k from 1 to ``s``, rounded down. The
threshold of a band is the value at position ``n // eta`` among the n values that runs had there,
best first; every run that ever got there counts. At each report all running runs are looked at, and
one is stopped when it is worse than the threshold of the highest band that it has reached: by its
value at that band when strict, by its best value so far when not.

The releases differ. 0.3.0 takes the value of report number ``band``; 0.2.0 that of the report after
it, and knows no strict rule. Strict is 0.3.0's default.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from tune_bridge.engines.base import Action, Checkpoint, Stop
from tune_bridge.engines.native.fifo import Fifo
from tune_bridge.errors import InputError
from tune_bridge.experiment import Experiment

__all__ = ["Hyperband", "bands"]

_BANDS = 100
"""How many bands ``min_iter`` has at most, as in ``sweeps``."""


def bands(args: Mapping[str, Any]) -> list[int]:
    """The bands of ``early_terminate``, ascending, in reports.

    Args:
        args: ``max_iter`` and ``s`` (they win), or ``min_iter``; ``eta``, 3 by default.

    Raises:
        InputError: There are none.
    """
    eta = args.get("eta", 3)
    found: list[int] = []
    if "max_iter" in args:
        band: float = args["max_iter"]
        for _ in range(args.get("s", 0)):
            band /= eta
            if band < 1:
                break
            found.append(int(band))
    elif "min_iter" in args:
        band = args["min_iter"]
        for _ in range(_BANDS):
            found.append(int(band))
            band *= eta
    if not found:
        raise InputError(
            "hyperband has no band",
            path="early_terminate",
            found=", ".join(f"{key} {value}" for key, value in args.items()) or "nothing",
            expected="min_iter, or max_iter / eta of 1 or more and s of 1 or more",
        )
    return sorted(set(found))


class _History(msgspec.Struct):
    """What is known of a run: how many values, the best one, its highest band and its value there.

    Values are to be minimized here.
    """

    number: int = 0
    best: float = math.inf
    band: int = -1
    there: float = math.inf


class Hyperband(Fifo):
    """Stops runs that are worse than a share ``1 / eta`` of those that got as far.

    Args:
        experiment: Its scheduler has the arguments, its objective the metric.

    Raises:
        InputError: There is no metric, or no band.
    """

    def __init__(self, experiment: Experiment) -> None:
        args = {} if experiment.scheduler is None else experiment.scheduler.args.value
        if experiment.objective is None:
            raise InputError(
                "early_terminate needs a metric",
                path="metric",
                expected="the name of what runs report",
            )
        self._metric = experiment.objective.name
        self._sign = 1.0 if experiment.objective.goal == "minimize" else -1.0
        self._bands = bands(args)
        self._share = 1.0 / args.get("eta", 3)
        self._strict = bool(args.get("strict", True))
        self._values: list[list[float]] = [[] for _ in self._bands]
        self._runs: dict[str, _History] = {}
        self._running: dict[str, None] = {}
        self._unseen: dict[str, None] = {}  # have started since the last look

    def start(self, run: str) -> None:
        """It may be stopped from now on."""
        self._running[run] = self._unseen[run] = None

    def judge(
        self, run: str, result: dict[str, Any], checkpoint: Checkpoint | None
    ) -> tuple[Action, ...]:
        """Looks at all running runs whose lot may have changed."""
        return self._look(run, result)

    def _look(self, run: str, result: Mapping[str, Any]) -> tuple[Action, ...]:
        changed = self._note(self._runs.setdefault(run, _History()), result.get(self._metric))
        look = {run: None, **self._unseen}
        self._unseen = {}
        if changed >= 0:
            look.update((name, None) for name in self._running if self._at(name, changed))
        stops = [self._stop(name) for name in look if name in self._running]
        return tuple(stop for stop in stops if stop is not None)

    def _note(self, history: _History, value: Any) -> int:
        """Adds a value to a history; the band that it is the value of, or -1."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return -1
        if not math.isfinite(value):
            return -1
        cost = self._sign * value
        history.number += 1
        history.best = min(history.best, cost)
        above = history.band + 1
        if above >= len(self._bands) or history.number < self._bands[above]:
            return -1
        history.band, history.there = above, cost
        bisect.insort(self._values[above], cost)
        return above

    def _at(self, run: str, band: int) -> bool:
        history = self._runs.get(run)
        return history is not None and history.band == band

    def _stop(self, run: str) -> Stop | None:
        history = self._runs.get(run)
        if history is None or history.band < 0:
            return None
        values = self._values[history.band]
        threshold = values[int(self._share * len(values))]
        cost = history.there if self._strict else history.best
        if cost <= threshold:
            return None
        del self._running[run]
        band = self._bands[history.band]
        value, cutoff = self._sign * cost, self._sign * threshold
        return Stop(
            run,
            f"hyperband: {self._metric} {value:g} is worse than {cutoff:g}, "
            f"the threshold of {len(values)} runs at report {band}",
            {
                "rule": "hyperband",
                "rung": band,
                "cutoff": cutoff,
                "value": value,
                "runs": len(values),
                "strict": self._strict,
            },
        )

    def finish(self, run: str, result: Mapping[str, Any] | None) -> tuple[Action, ...]:
        """Its values still count; a last one that no `judge` has seen comes as "done"."""
        self._gone(run)
        return self._look(run, result) if result is not None and result.get("done") else ()

    def fail(self, run: str, *, retry: bool) -> tuple[Action, ...]:
        """Its values still count, and go on being counted after a retry."""
        return self._gone(run)

    def remove(self, run: str) -> tuple[Action, ...]:
        """Its values still count."""
        return self._gone(run)

    def _gone(self, run: str) -> tuple[Action, ...]:
        self._running.pop(run, None)
        self._unseen.pop(run, None)
        return ()
