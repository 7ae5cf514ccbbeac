"""Several objectives: the Pareto front, and the volume that it dominates.

Everything here is about costs, lower ones better, a row for each run. The hypervolume is that of
the part of the space that some run dominates, up to a reference point. It is computed exactly, by
slices along one objective after the other (While, Hingston, Barone, Huband, IEEE TEC 2006), and
where these would be too many, by the share of 8,192 points of Sobol's sequence that are dominated,
which is right to half a percent of the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

__all__ = ["Growth", "front", "growth", "hypervolume", "reference_of"]

_SLICES = 40_000
"""Sweeps of two objectives, of some 20 us each, that an exact history may take."""

_POINTS = 13  # the logarithm of their number
_WORST = 5  # percent of the runs


class Growth(msgspec.Struct, frozen=True):
    """How the dominated volume has grown.

    Attributes:
        places: The rows that have made it larger.
        volumes: What it was from each of them on.
        exact: Whether it is computed and not estimated.
    """

    places: list[int]
    volumes: list[float]
    exact: bool


def front(costs: Sequence[Sequence[float]]) -> list[int]:
    """The rows that no other one dominates, ascending by the first cost; of equal ones, one."""
    import numpy as np

    if not len(costs):
        return []
    values = np.asarray(costs, dtype=float)
    # Who dominates another comes before it; the first of equal ones, too.
    left = np.lexsort(values.T[::-1])
    found: list[int] = []
    if values.shape[1] == 2:
        second = values[left, 1]
        lowest = np.concatenate([[np.inf], np.minimum.accumulate(second)[:-1]])
        return [int(place) for place in left[second < lowest]]
    while left.size:
        first, rest = left[0], left[1:]
        found.append(int(first))
        left = rest[(values[rest] < values[first]).any(axis=1)]
    return found


def reference_of(costs: Sequence[Sequence[float]]) -> list[float]:
    """A reference point: the worst costs of the front, or of all but a twentieth of the runs.

    Of the two the worse one, so that a run that diverged does not make all others look the same,
    and nothing of the front is cut off.
    """
    import numpy as np

    values = np.asarray(costs, dtype=float)
    worst = np.percentile(values, 100 - _WORST, axis=0, method="higher")
    return [float(value) for value in np.maximum(worst, values[front(costs)].max(axis=0))]


def hypervolume(costs: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """The volume that some row dominates, up to the reference point; exact."""
    import numpy as np

    return _volume(np.asarray(costs, dtype=float).reshape(-1, len(reference)), _array(reference))


def growth(costs: Sequence[Sequence[float]], reference: Sequence[float]) -> Growth:
    """How the volume has grown with each row, in their order."""
    import numpy as np

    values, end = np.asarray(costs, dtype=float).reshape(-1, len(reference)), _array(reference)
    places, fronts = [], 0
    best = np.empty((0, len(end)))
    for place, value in enumerate(values):
        if (value < end).all() and not (best <= value).all(axis=1).any():
            best = np.vstack([best[(best < value).any(axis=1)], value])
            places.append(place)
            fronts = max(fronts, len(best))
    if len(places) * fronts ** max(len(end) - 2, 0) <= _SLICES:
        return Growth(places, _summed(values[places], end), exact=True)
    return Growth(places, _estimated(values[places], end), exact=False)


def _array(numbers: Sequence[float]) -> Array:
    import numpy as np

    return np.asarray(numbers, dtype=float)


def _volume(values: Array, end: Array) -> float:
    import numpy as np

    values = values[(values < end).all(axis=1)]
    if not len(values):
        return 0.0
    if len(values) == 1 or len(end) == 1:
        return float(np.prod(end - values.min(axis=0)))
    if len(end) == 2:
        order = np.lexsort((values[:, 1], values[:, 0]))
        first, second = values[order].T
        lowest = np.minimum.accumulate(second)
        widths = np.append(first[1:], end[0]) - first
        return float(widths @ (end[1] - lowest))
    values = values[np.argsort(values[:, -1], kind="stable")]
    depths = np.append(values[1:, -1], end[-1]) - values[:, -1]
    return sum(
        float(depth) * _volume(values[: place + 1, :-1], end[:-1])
        for place, depth in enumerate(depths)
        if depth > 0
    )


def _summed(values: Array, end: Array) -> list[float]:
    """The volume with each row: what it adds is what the others of its own box leave."""
    import numpy as np

    found, total = [], 0.0
    best = np.empty((0, len(end)))
    for value in values:
        inside = np.maximum(best, value)
        total += float(np.prod(end - value)) - _volume(inside[front(inside)], end)
        best = np.vstack([best[(best < value).any(axis=1)], value])
        found.append(total)
    return found


def _estimated(values: Array, end: Array) -> list[float]:
    import numpy as np
    from scipy.stats import qmc

    low = values.min(axis=0)
    box = float(np.prod(end - low))
    points = low + qmc.Sobol(len(end), seed=0).random_base2(_POINTS) * (end - low)
    found, left = [], points
    for value in values:
        left = left[(left < value).any(axis=1)]
        found.append(box * (1 - len(left) / len(points)))
    return found
