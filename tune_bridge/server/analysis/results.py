"""The runs of a sweep that have a value of a metric."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from tune_bridge.backends.base import Run
from tune_bridge.experiment import usual_goal
from tune_bridge.server.values import text
from tune_bridge.server.views import Snapshot, metric_value

__all__ = ["Goal", "Results", "front", "in_order", "objectives", "run_name", "shared"]

Goal = Literal["minimize", "maximize"]


def run_name(run: Run) -> str:
    """How a run is called in a drawing; escaped, since Plotly reads tags."""
    return html.escape(text(run.name or run.id, 40), quote=False)


class Results(msgspec.Struct, frozen=True):
    """The runs of a sweep that have a value of a metric.

    Attributes:
        snapshot: The sweep.
        metric: The metric.
        goal: "minimize" or "maximize"; of another metric than the objective, what is usual.
        indices: The runs, in order of creation.
        values: Their values.
    """

    snapshot: Snapshot
    metric: str
    goal: Goal
    indices: list[int]
    values: list[float]

    @classmethod
    def of(cls, snapshot: Snapshot, metric: str) -> Results:
        """Reads them; runs that failed have no value."""
        found = []
        for index, run in enumerate(snapshot.runs):
            value = metric_value(snapshot.summaries[index], metric)
            if value is not None and run.state not in ("failed", "crashed"):
                found.append((index, value))
        goal = _goal(snapshot, metric)
        return cls(snapshot, metric, goal, [one for one, _ in found], [two for _, two in found])

    def only(self, places: Sequence[int]) -> Results:
        """Some of the runs, by their places in `indices`."""
        return msgspec.structs.replace(
            self,
            indices=[self.indices[place] for place in places],
            values=[self.values[place] for place in places],
        )

    @property
    def costs(self) -> list[float]:
        """The values, lower ones better."""
        return [-value for value in self.values] if self.goal == "maximize" else self.values

    def name(self, index: int) -> str:
        """How a run is called in a drawing."""
        run = self.snapshot.runs[index]
        return run_name(run)

    def thinned(self, most: int) -> Results:
        """At most so many runs: the best ones, a sixth of them, and every n-th of the others."""
        if len(self.indices) <= most:
            return self
        order = sorted(range(len(self.indices)), key=self.costs.__getitem__)
        best, rest = order[: most // 6], order[most // 6 :]
        every = math.ceil(len(rest) / (most - len(best)))
        return self.only(sorted([*best, *rest[::every]]))


def _goal(snapshot: Snapshot, metric: str) -> Goal:
    if metric == snapshot.plan.objective:
        return snapshot.plan.goal
    return objectives(snapshot).get(metric) or usual_goal(metric) or "minimize"


def objectives(snapshot: Snapshot) -> dict[str, Goal]:
    """The declared objectives and their goals; several for a searcher that takes several.

    Tune's OptunaSearch names them in lists, ``metric`` and ``mode``, in the carry.
    """
    plan = snapshot.plan
    found: dict[str, Goal] = {plan.objective: plan.goal} if plan.objective else {}
    at: Any = snapshot.sweep.config
    for name in ("controller", "tune", "search_alg"):
        at = at.get(name) if isinstance(at, Mapping) else None
    while isinstance(at, Mapping) and len(at) == 1:
        (args,) = at.values()
        if not isinstance(args, Mapping):
            break
        names, modes = args.get("metric"), args.get("mode")
        if isinstance(names, list) and isinstance(modes, list):
            for name, mode in zip(names, modes, strict=False):
                found[str(name)] = "maximize" if mode == "max" else "minimize"
        at = args.get("searcher")
    return found


def in_order(results: Results) -> list[tuple[int, float, float]]:
    """The runs by their ends (those that still run last): index, value, and the best so far."""
    runs = results.snapshot.runs
    order = sorted(
        range(len(results.indices)),
        key=lambda place: runs[results.indices[place]].ended_at or math.inf,
    )
    sign = -1.0 if results.goal == "maximize" else 1.0
    best, found = math.inf, []
    for place in order:
        best = min(best, sign * results.values[place])
        found.append((results.indices[place], results.values[place], sign * best))
    return found


def shared(one: Results, two: Results) -> list[tuple[int, float, float]]:
    """The runs that have both metrics: index and values."""
    second = dict(zip(two.indices, two.values, strict=True))
    return [
        (index, value, second[index])
        for index, value in zip(one.indices, one.values, strict=True)
        if index in second
    ]


def front(one: Results, two: Results) -> list[tuple[int, float, float]]:
    """The Pareto front: the runs that no other one beats in both metrics, by the first metric.

    Of runs that are equal in both, the oldest one.
    """
    signs = [-1.0 if results.goal == "maximize" else 1.0 for results in (one, two)]
    found, lowest = [], math.inf
    for item in sorted(shared(one, two), key=lambda x: (signs[0] * x[1], signs[1] * x[2])):
        if signs[1] * item[2] < lowest:
            lowest = signs[1] * item[2]
            found.append(item)
    return found
