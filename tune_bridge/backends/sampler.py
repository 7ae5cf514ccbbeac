"""Points of one metric of a run, few of many: the database gives the rows that stay, no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tune_bridge.backends import codec
from tune_bridge.backends.dialect import Dialect

__all__ = ["Sampler", "even"]

_MANY = 4
"""Times the points: fewer rows than that are read faster than they are looked for."""

_POINTS = "SELECT step, data FROM history WHERE run = ? AND {} ORDER BY step"
_END = "SELECT step FROM history WHERE run = ? AND {} ORDER BY step {} LIMIT 1"
_SPREAD = (
    "SELECT (SELECT step FROM history WHERE run = ? AND step >= ? + value * ? / ? "
    "AND step < ? + (value + 1) * ? / ? AND {} ORDER BY step LIMIT 1) FROM {}"
)
_COUNT = "SELECT count(*) FROM history WHERE run = ? AND {}"
_INT64 = 2**63 - 1


def even(number: int, points: int) -> list[int]:
    """Up to `points` indexes of `number` things, evenly spread, with the first and the last."""
    if number <= points:
        return list(range(number))
    if points == 1:
        return [number - 1]
    return [i * (number - 1) // (points - 1) for i in range(points)]


class Sampler:
    """Reads points of runs, thinned evenly.

    Args:
        dialect: Of the database.
        key: The metric.
        most: How many points a run has at most.
    """

    def __init__(self, dialect: Dialect, key: str, most: int) -> None:
        self._dialect = dialect
        self._most = most
        self._needle = codec.key_text(key) or ""
        self._picker = codec.Picker(key)
        self._among = _POINTS.format(dialect.among)
        self._holding = _POINTS.format(dialect.holds)
        self._ends = [_END.format(dialect.holds, way) for way in ("ASC", "DESC")]
        self._spread = _SPREAD.format(dialect.holds, dialect.numbers)
        self._count = _COUNT.format(dialect.holds)

    def points(self, cursor: Any, seq: int, rows: int, last_step: int) -> list[tuple[int, float]]:
        """Those of one run; the last one is always there.

        Args:
            cursor: Of the dialect.
            seq: The run.
            rows: How many rows it has.
            last_step: The step of the last one.
        """
        if rows > self._most and rows == last_step + 1:  # steps without a gap
            points = self._among_these(cursor, seq, even(rows, self._most))
            if len(points) == self._most:  # of a metric that is in all rows
                return points
        if rows >= _MANY * self._most:
            steps = self._spread_out(cursor, seq)
            points = self._among_these(cursor, seq, steps) if steps else []
            if points and len(points) == len(steps):  # all of them are numbers
                return points
        cursor.execute(self._holding, (seq, self._needle))
        points = self._picker.points(cursor.fetchall())
        return [points[place] for place in even(len(points), self._most)]

    def _among_these(self, cursor: Any, seq: int, steps: Sequence[int]) -> list[tuple[int, float]]:
        cursor.execute(self._among, (seq, self._dialect.steps(steps)))
        return self._picker.points(cursor.fetchall())

    def _spread_out(self, cursor: Any, seq: int) -> list[int]:
        """The first step with the metric from each of as many marks on, and the last one.

        Each step is looked at once, and only until the first one that has it. None at all when
        there are not more of them than points, or when most lie close together.
        """
        ends = []
        for statement in self._ends:
            cursor.execute(statement, (seq, self._needle))
            if (row := cursor.fetchone()) is None:
                return []
            ends += row
        first, last = ends
        parts = self._most - 1
        if not parts or not parts <= last - first < _INT64 // (self._most + 1):
            return []
        span = (first, last - first, parts)
        numbers = self._dialect.steps(list(range(self._most)))
        cursor.execute(self._spread, (seq, *span, *span, self._needle, numbers))
        found = [step for (step,) in cursor.fetchall() if step is not None]
        if len(found) < self._most:
            cursor.execute(self._count, (seq, self._needle))
            if cursor.fetchone()[0] <= self._most or len(found) < self._most / 2:
                return []
        return found
