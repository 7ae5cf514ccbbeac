"""The two verbs for tests of a dialect, and the comparison of laws behind every row called exact.

* `assert_identity`: an experiment written in a notation and read back is the same experiment.
* `assert_translates`: an experiment reads the same after a trip through another notation, or a note
  says why not.
* `assert_same_law`: two sources of values draw from one distribution.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tune_bridge.dialects.base import Dialect, get_dialect
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Level, Notes

__all__ = ["DRAWS", "assert_identity", "assert_same_law", "assert_translates"]

DRAWS = 100_000
"""Draws on each side of a comparison of laws."""

_SMALLEST_P = 1e-4
"""Tests use fixed seeds: a p-value below this is a different law, not bad luck."""


def assert_identity(dialect: str | Dialect, experiment: Experiment) -> Notes:
    """Writes an experiment, reads it back and asserts that nothing changed.

    Args:
        dialect: A dialect or its name.
        experiment: What is written.

    Returns:
        The writer's notes.
    """
    if isinstance(dialect, str):
        dialect = get_dialect(dialect)
    written = dialect.write(experiment)
    back = dialect.read(written.value)
    assert back.value == experiment, _difference(experiment, back.value)
    return written.notes


def assert_translates(
    experiment: Experiment, through: str | Dialect, *, level: Level = Level.EXACT
) -> Notes:
    """Sends an experiment's space through another notation and back.

    Asserts that the space is equal afterwards; or, where it is not, that a note at the parameter
    (or below) says so at a level of at most `level`.

    Args:
        experiment: What is translated.
        through: The other notation.
        level: The worst level that notes may have.

    Returns:
        The writer's notes.
    """
    dialect = get_dialect(through) if isinstance(through, str) else through
    written = dialect.write(experiment)
    assert written.notes.worst <= level, [str(note) for note in written.notes]
    back = dialect.read(written.value).value
    for path, node in experiment.searched.items():
        arrived = back.searched.get(path)
        if arrived == node:
            continue
        at = [note for note in written.notes if note.path.split(".", 1)[-1].startswith(path)]
        assert at or written.notes.at(path), f"{path}: {node} became {arrived} without a note"
    return written.notes


def _difference(one: Experiment, other: Experiment) -> str:
    import msgspec

    lines = []
    for field in msgspec.structs.fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if left != right:
            lines.append(f"{field.name}:\n  wrote {left!r}\n  read  {right!r}")
    return "\n".join(lines)


def assert_same_law(one: Sequence[Any], other: Sequence[Any], *, label: str = "") -> float:
    """Asserts that two samples come from one distribution.

    Discrete samples are compared by a chi-square test of homogeneity, cells with fewer than 10
    expected pooled; continuous ones by the two-sample Kolmogorov-Smirnov test.

    Args:
        one: Draws from one side; numbers, or any hashable values.
        other: Draws from the other side.
        label: For the message.

    Returns:
        The p-value.
    """
    from scipy import stats

    left, right = Counter(map(_cell, one)), Counter(map(_cell, other))
    if len({*left, *right}) > 2000:
        p = float(stats.ks_2samp([float(x) for x in one], [float(x) for x in other]).pvalue)
        assert p > _SMALLEST_P, f"{label}: Kolmogorov-Smirnov p = {p:.2g}"
        return p
    total_left, total_right = sum(left.values()), sum(right.values())
    cells = [(left[cell], right[cell]) for cell in sorted({*left, *right}, key=str)]
    share = min(total_left, total_right) / (total_left + total_right)
    large = [pair for pair in cells if sum(pair) * share >= 10]
    small = [pair for pair in cells if sum(pair) * share < 10]
    if small:
        large.append((sum(a for a, _ in small), sum(b for _, b in small)))
    large = [pair for pair in large if sum(pair)]
    if len(large) < 2:
        assert left.keys() == right.keys(), f"{label}: {left.keys()} against {right.keys()}"
        return 1.0
    p = float(stats.chi2_contingency(list(zip(*large, strict=True))).pvalue)
    assert p > _SMALLEST_P, f"{label}: chi-square p = {p:.2g}"
    return p


def _cell(value: Any) -> Any:
    """Numbers that differ in the last digits are one value; other values count by their text."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return repr(value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, int | float):
        number = float(value)
        return f"{number + 0.0:.10g}" if math.isfinite(number) else repr(number)
    return repr(value)
