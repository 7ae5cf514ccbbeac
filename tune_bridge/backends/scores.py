"""What a run is worth: the value of its sweep's metric, as a number that a database can sort."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune_bridge.backends.base import Run

__all__ = ["goal_of", "metric_of", "range_of", "score_of", "scored", "sign_of"]

_AGGREGATES = ("best", "min", "max", "last", "mean")
"""What ``define_metric`` makes of a value in a summary; the first one that is there counts."""


def metric_of(config: Mapping[str, Any]) -> str:
    """The name of a sweep's metric; empty when its config names none."""
    metric = config.get("metric")
    name = metric.get("name") if isinstance(metric, Mapping) else None
    return name if isinstance(name, str) else ""


def goal_of(config: Mapping[str, Any]) -> str:
    """What is better of a sweep's metric: as W&B says, "minimize" unless the config has another."""
    metric = config.get("metric")
    goal = metric.get("goal") if isinstance(metric, Mapping) else None
    return "maximize" if goal == "maximize" else "minimize"


def sign_of(goal: str | None) -> float:
    """What a metric is multiplied with to be a cost: the lower, the better."""
    return -1.0 if goal == "maximize" else 1.0


def score_of(summary: Mapping[str, Any], metric: str) -> float | None:
    """The value of a metric in a summary, nested or with dots; None for none, NaN, or no number."""
    value = summary.get(metric)
    if value is None:
        value = _within(summary, metric.split("."))
    if isinstance(value, Mapping):
        value = next((value[name] for name in _AGGREGATES if name in value), None)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def scored(runs: Iterable[Run], metric: str) -> Iterator[tuple[Run, float]]:
    """The runs that have a value of a metric, with it."""
    for run in runs:
        value = score_of(run.summary, metric)
        if value is not None:
            yield run, value


def range_of(scores: Sequence[float]) -> tuple[float, float] | None:
    """The lowest and the highest finite one, or None."""
    finite = [score for score in scores if math.isfinite(score)]
    return (min(finite), max(finite)) if finite else None


def _within(summary: Any, path: list[str]) -> Any:
    for name in path:
        if not isinstance(summary, Mapping) or name not in summary:
            return None
        summary = summary[name]
    return summary
