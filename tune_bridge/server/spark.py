"""A sweep's progress in little: the best value so far over its runs, in the order of their ends."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

__all__ = ["POINTS", "best_so_far", "spark_of"]

POINTS = 60
"""How many points a spark line has at most."""


def best_so_far(values: Iterable[float], *, maximize: bool) -> list[float]:
    """The best of all values up to each one; what is not finite is never the best.

    Values before the first finite one are left out.
    """
    found: list[float] = []
    best: float | None = None
    for value in values:
        if math.isfinite(value) and (best is None or (value > best if maximize else value < best)):
            best = value
        if best is not None:
            found.append(best)
    return found


def spark_of(values: Sequence[float], *, maximize: bool) -> tuple[float, ...]:
    """The points of a spark line, spread evenly; the first and the last one are always there."""
    line = best_so_far(values, maximize=maximize)
    if len(line) <= POINTS:
        return tuple(line)
    last = len(line) - 1
    return tuple(line[round(place * last / (POINTS - 1))] for place in range(POINTS))
