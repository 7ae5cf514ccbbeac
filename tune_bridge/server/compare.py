"""Several sweeps beside each other: what differs, and which one got further, sooner."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from tune_bridge.experiment import usual_goal
from tune_bridge.server.figures import COLOURS, RULE, layout, message
from tune_bridge.server.spark import best_so_far
from tune_bridge.server.values import flatten, text
from tune_bridge.server.views import NO_RESULT, Best, Snapshot, metric_value

__all__ = ["Comparison", "Side", "edf", "progress"]

_POINTS = 1000
_CARRIED = "controller.tune."
_NOT_SHOWN = frozenset({"name", "project", "entity", "description"})


class Side(msgspec.Struct, frozen=True, dict=True):
    """One sweep of a comparison, its runs in the order of their ends.

    Attributes:
        snapshot: The sweep.
        colour: How it is drawn.
        values: The metric's values of the runs that have one.
        ends: When these runs ended (last changed, for those that run), seconds since the epoch.
        runs: Their indices in the snapshot.
        line: The best value so far at each of them.
    """

    snapshot: Snapshot
    colour: str
    values: list[float]
    ends: list[float]
    runs: list[int]
    line: list[float]

    @classmethod
    def of(cls, snapshot: Snapshot, metric: str | None, colour: str, *, maximize: bool) -> Side:
        """Reads a sweep; runs that failed or crashed have no value."""
        found = []
        for index, run in enumerate(snapshot.runs):
            value = metric_value(snapshot.summaries[index], metric)
            if value is not None and run.state not in NO_RESULT:
                end = run.ended_at if run.ended_at is not None else run.updated_at
                found.append((run.ended_at is None, end, index, value))
        found.sort()
        values = [value for *_, value in found]
        return cls(
            snapshot,
            colour,
            values,
            [end for _, end, _, _ in found],
            [index for *_, index, _ in found],
            best_so_far(values, maximize=maximize),
        )

    @property
    def name(self) -> str:
        """What the sweep is called."""
        sweep = self.snapshot.sweep
        return sweep.name or sweep.id

    @property
    def seconds(self) -> float:
        """From its first start to its last sign of life."""
        last = max((run.ended_at or run.updated_at for run in self.snapshot.runs), default=0.0)
        return max(last - self.snapshot.began, 0.0)

    @property
    def per_hour(self) -> float | None:
        """Runs that ended in an hour, or None when none has."""
        ended = sum(run.ended_at is not None for run in self.snapshot.runs)
        return 3600 * ended / self.seconds if ended and self.seconds else None

    @property
    def median(self) -> float | None:
        """Of the values, or None without any."""
        return statistics.median(self.values) if self.values else None

    @property
    def best(self) -> Best | None:
        """The first run with the best value."""
        if not self.line:
            return None
        index = self.runs[self.values.index(self.line[-1])]
        run = self.snapshot.runs[index]
        return Best(run.id, run.name or run.id, self.line[-1], self.snapshot.configs[index])

    def steps(self, over: str) -> list[tuple[float, float]]:
        """Where the best value changes, and where it ends: pairs of runs or hours, and the value.

        Args:
            over: "runs", or "time" for hours since the first start.
        """
        last = len(self.line) - 1
        begin = self.snapshot.began
        return [
            (place + 1 if over == "runs" else max(self.ends[place] - begin, 0) / 3600, value)
            for place, value in enumerate(self.line)
            if place in (0, last) or value != self.line[place - 1]
        ]


class Comparison(msgspec.Struct, frozen=True):
    """Sweeps beside each other.

    Attributes:
        sides: The sweeps.
        metric: The metric that they are compared by, or None when no run has a number.
        metrics: All that can be chosen: those of every sweep first, then the others.
        goal: What is better.
        notes: What the reader has to know, as sentences.
    """

    sides: list[Side]
    metric: str | None
    metrics: list[str]
    goal: Literal["minimize", "maximize"]
    notes: list[str]

    @classmethod
    def of(cls, snapshots: Sequence[Snapshot], metric: str | None = None) -> Comparison:
        """Compares sweeps by a metric; without one by what most of them aim at."""
        metrics = _metrics(snapshots)
        chosen = metric if metric in metrics else next(iter(metrics), None)
        goal, notes = _goal(snapshots, chosen)
        if metric is not None and metric != chosen:
            notes.append(f"No run has a number named {text(metric, 60)!r}.")
        sides = [
            Side.of(snapshot, chosen, COLOURS[place % len(COLOURS)], maximize=goal == "maximize")
            for place, snapshot in enumerate(snapshots)
        ]
        lacking = [side.name for side in sides if side.snapshot.runs and not side.values]
        if chosen is not None and lacking:
            names = ", ".join(text(name, 40) for name in lacking)
            notes.append(f"No run has a value of {text(chosen, 60)}: {names}.")
        return cls(sides, chosen, metrics, goal, notes)

    @property
    def target(self) -> float | None:
        """The best value of the sweep that got least far: each one reached it."""
        bests = [side.line[-1] for side in self.sides if side.line]
        worst = min if self.goal == "maximize" else max
        return worst(bests) if len(bests) > 1 else None

    def runs_to_target(self, side: Side) -> int | None:
        """How many runs of a sweep had ended when it reached `target`, or None when it has not."""
        target = self.target
        if target is None:
            return None
        up = self.goal == "maximize"
        for place, value in enumerate(side.line):
            if value >= target if up else value <= target:
                return place + 1
        return None

    @property
    def leading(self) -> int | None:
        """Index of the side with the best value; None when two have it."""
        bests = {place: side.line[-1] for place, side in enumerate(self.sides) if side.line}
        if not bests:
            return None
        best = (max if self.goal == "maximize" else min)(bests.values())
        found = [place for place, value in bests.items() if value == best]
        return found[0] if len(found) == 1 else None

    def parameters(self) -> list[tuple[str, list[Any]]]:
        """The best runs' configs beside each other: each key with its values, None for none."""
        bests = [side.best for side in self.sides]
        configs = [{} if best is None else best.config for best in bests]
        keys: dict[str, None] = {}
        for side in self.sides:
            keys.update((dimension.path, None) for dimension in side.snapshot.plan.dimensions)
        for config in configs:
            keys.update(dict.fromkeys(config))
        shown = [key for key in keys if any(key in config for config in configs)]
        return [(key, [config.get(key) for config in configs]) for key in shown]

    def settings(self) -> list[tuple[str, list[Any]]]:
        """What differs between the sweeps' own configs: each key with its values, None for none."""
        configs = [_settings(side.snapshot.sweep.config) for side in self.sides]
        keys: dict[str, None] = {}
        for config in configs:
            keys.update(dict.fromkeys(config))
        rows = [(key, [config.get(key) for config in configs]) for key in keys]
        return [
            (key, values)
            for key, values in rows
            if key not in _NOT_SHOWN and any(repr(value) != repr(values[0]) for value in values)
        ]


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """A sweep's config by its keys; what Tune alone reads stays in one piece each."""
    flat = flatten(config)
    controller = config.get("controller")
    carried = controller.get("tune") if isinstance(controller, dict) else None
    if isinstance(carried, dict):
        flat = {key: value for key, value in flat.items() if not key.startswith(_CARRIED)}
        flat |= {f"{_CARRIED}{key}": value for key, value in carried.items()}
    return flat


def _metrics(snapshots: Sequence[Snapshot]) -> list[str]:
    """Those that all sweeps have come first, the most common objective before the others."""
    counts: dict[str, int] = {}
    aims: dict[str, int] = {}
    for snapshot in snapshots:
        for name in snapshot.metrics:
            counts[name] = counts.get(name, 0) + 1
        objective = snapshot.plan.objective
        if objective in snapshot.metrics:
            aims[objective] = aims.get(objective, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], -aims.get(name, 0)))


def _goal(
    snapshots: Sequence[Snapshot], metric: str | None
) -> tuple[Literal["minimize", "maximize"], list[str]]:
    """What is better; and that the sweeps do not agree on it."""
    plans = [snapshot.plan for snapshot in snapshots if snapshot.plan.objective == metric]
    goals = {plan.goal for plan in plans}
    if metric is None or not plans:
        return usual_goal(metric or "") or "minimize", []
    if len(goals) == 1:
        return plans[0].goal, []
    said = f"The sweeps do not agree whether high or low values of {text(metric, 60)} are good"
    return plans[0].goal, [f"{said}: here, as in the first of them, it is to {plans[0].goal}."]


def progress(comparison: Comparison, over: str, *, log: bool, scheme: str) -> dict[str, Any]:
    """The best value so far of each sweep, over the number of its runs or over its time."""
    title = "runs that ended" if over == "runs" else "hours since the first run started"
    lines = [(side, side.steps(over)) for side in comparison.sides]
    figure = _drawn(comparison, lines, title, comparison.metric, log=log, scheme=scheme)
    figure["layout"]["xaxis"]["rangemode"] = "tozero"
    return figure


def edf(comparison: Comparison, *, log: bool, scheme: str) -> dict[str, Any]:
    """The share of each sweep's runs that are at least as good as a value."""
    lines = []
    for side in comparison.sides:
        values = sorted(side.values, reverse=comparison.goal == "maximize")
        every = math.ceil(len(values) / _POINTS) or 1
        places = [*range(0, len(values) - 1, every), len(values) - 1] if values else []
        lines.append((side, [(values[at], (at + 1) / len(values)) for at in places]))
    figure = _drawn(comparison, lines, comparison.metric, "share of runs", log=False, scheme=scheme)
    if figure["data"]:
        figure["layout"]["xaxis"]["type"] = "log" if log else "linear"
        figure["layout"]["yaxis"].update(range=[0, 1.02], tickformat=".0%")
    return figure


def _drawn(
    comparison: Comparison,
    lines: Sequence[tuple[Side, list[tuple[float, float]]]],
    across: str | None,
    up: str | None,
    *,
    log: bool,
    scheme: str,
) -> dict[str, Any]:
    if comparison.metric is None or not any(points for _, points in lines):
        return message(scheme, "No run has a value yet")
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines" if len(points) > 1 else "markers",
                "name": html.escape(text(side.name, 40), quote=False),
                "uid": f"side{place}",
                "x": [x for x, _ in points],
                "y": [y for _, y in points],
                "line": {"color": side.colour, "width": 2, "shape": "hv"},
                "marker": {"color": side.colour, "size": 7},
                "hovertemplate": "<b>%{fullData.name}</b><br>%{x:.6g}: %{y:.6g}<extra></extra>",
            }
            for place, (side, points) in enumerate(lines)
            if points
        ],
        "layout": layout(
            scheme,
            margin={"l": 64, "r": 16, "t": 8, "b": 44},
            xaxis=_axis(scheme, text(across, 40)),
            yaxis=_axis(scheme, text(up, 40), type="log" if log else "linear", nticks=8),
            hovermode="closest",
            showlegend=True,
            legend={"orientation": "h", "y": 1.02, "x": 0, "yanchor": "bottom"},
            uirevision=f"{across}|{up}|{log}",
        ),
    }


def _axis(scheme: str, title: str, **more: Any) -> dict[str, Any]:
    return {
        "gridcolor": RULE[scheme],
        "linecolor": RULE[scheme],
        "zeroline": False,
        "exponentformat": "e",
        "title": {"text": html.escape(title, quote=False), "standoff": 8},
        **more,
    }
