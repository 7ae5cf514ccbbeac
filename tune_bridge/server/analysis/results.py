"""The runs of a sweep that have a value of a metric."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from tune_bridge.backends.base import Run
from tune_bridge.backends.scores import sign_of
from tune_bridge.experiment import usual_goal
from tune_bridge.server.analysis import pareto
from tune_bridge.server.values import text
from tune_bridge.server.views import Snapshot, metric_value

__all__ = ["Goal", "Results", "Together", "in_order", "objectives", "run_name"]

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
    sign = sign_of(results.goal)
    best, found = math.inf, []
    for place in order:
        best = min(best, sign * results.values[place])
        found.append((results.indices[place], results.values[place], sign * best))
    return found


class Together(msgspec.Struct, frozen=True):
    """The runs of a sweep that have a value of each of several metrics.

    Attributes:
        parts: The metrics.
        indices: The runs, in the order of their ends; those that still run last.
        values: Their values, a tuple for each run.
    """

    parts: list[Results]
    indices: list[int]
    values: list[tuple[float, ...]]

    @classmethod
    def of(cls, snapshot: Snapshot, metrics: Sequence[str]) -> Together:
        """Reads them; there is one metric at least."""
        parts = [Results.of(snapshot, metric) for metric in metrics]
        known = [dict(zip(one.indices, one.values, strict=True)) for one in parts]
        there = [index for index in parts[0].indices if all(index in one for one in known)]
        runs = snapshot.runs
        there.sort(key=lambda index: runs[index].ended_at or math.inf)
        return cls(parts, there, [tuple(one[index] for one in known) for index in there])

    @property
    def signs(self) -> list[float]:
        """What makes a cost of each metric."""
        return [sign_of(one.goal) for one in self.parts]

    @property
    def costs(self) -> list[list[float]]:
        """The values, lower ones better."""
        signs = self.signs
        return [[sign * value for sign, value in zip(signs, row, strict=True)]
                for row in self.values]  # fmt: skip

    def front(self) -> list[int]:
        """The places of the runs that no other one dominates, by the first metric."""
        return pareto.front(self.costs)

    def reference(self, chosen: Sequence[float] = ()) -> list[float]:
        """Up to where a volume is measured: what is chosen, when it has as many values."""
        if len(chosen) == len(self.parts):
            return list(chosen)
        found = pareto.reference_of(self.costs)
        return [sign * cost for sign, cost in zip(self.signs, found, strict=True)]

    def growth(self, reference: Sequence[float]) -> pareto.Growth:
        """How the volume that the front dominates has grown."""
        end = [sign * value for sign, value in zip(self.signs, reference, strict=True)]
        return pareto.growth(self.costs, end)
