"""The two verbs for tests of a dialect, and the comparison of laws behind every row called exact.

* `assert_identity`: an experiment written in a notation and read back is the same experiment.
* `assert_translates`: every parameter has the same law after a trip through another notation, or a
  note says why not.
* `assert_same_law`: two sources of values draw from one distribution.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence as Draws
from typing import Any

from tune_bridge import laws
from tune_bridge.dialects.base import Dialect, get_dialect
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Level, Notes
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Integers,
    Node,
    Operation,
    Parameter,
    Sequence,
    leaves,
)

__all__ = ["DRAWS", "assert_identity", "assert_same_law", "assert_translates", "flat", "same_law"]

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
    experiment: Experiment, through: str | Dialect, *, level: Level = Level.LOST
) -> Notes:
    """Sends an experiment's space through another notation and back.

    Asserts that every searched parameter arrives with the same law and the same types, or that a
    note below `Level.EXACT` stands at its path. The laws are compared by their formulas
    (`same_law`), so that a hundred random spaces cost nothing.

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
    arrived = flat(dialect.read(written.value).value.space)
    below = {
        note.path.removeprefix("parameters.").split("[")[0]
        for note in written.notes
        if note.level > Level.EXACT
    }
    for path, node in flat(experiment.space).items():
        dotted = ".".join(path)
        assert path in arrived or dotted in below, f"{dotted} is gone without a note"
        if dotted not in below:
            assert same_law(node, arrived[path]), f"{dotted}: {node} became {arrived[path]}"
    return written.notes


def flat(space: Group) -> dict[tuple[str, ...], Node]:
    """Leaves by path; a constant mapping and a group of constants are the same thing."""
    found: dict[tuple[str, ...], Node] = {}
    for path, node in leaves(space):
        value = node.value if isinstance(node, Constant) else None
        if isinstance(value, dict) and value and all(isinstance(key, str) for key in value):
            items = tuple((key, Constant.of(item)) for key, item in value.items())
            below = flat(Group(items))
            found |= {(*path, *rest): child for rest, child in below.items()}
        else:
            found[path] = node
    return found


def same_law(one: Node, other: Node) -> bool:
    """Whether two nodes stand for the same law on the same values, by their formulas.

    Discrete laws are compared cell by cell, continuous ones at 33 quantiles, conditions option by
    option; an option that stands there several times has the sum of its weights.
    """
    if one == other:
        return True
    if isinstance(one, Group | Constant) and isinstance(other, Group | Constant):
        ours, theirs = _mapping(one), _mapping(other)
        if ours is not None and theirs is not None:
            return ours.keys() == theirs.keys() and all(same_law(ours[k], theirs[k]) for k in ours)
    if isinstance(one, Sequence) and isinstance(other, Sequence):
        same_form = one.kind == other.kind and len(one.items) == len(other.items)
        return same_form and all(map(same_law, one.items, other.items))
    if isinstance(one, Operation) and isinstance(other, Operation):
        left_parts, right_parts = dict(one.arguments), dict(other.arguments)
        same = one.name == other.name and left_parts.keys() == right_parts.keys()
        return same and all(same_law(left_parts[k], right_parts[k]) for k in left_parts)
    if isinstance(one, Choice) and isinstance(other, Choice) and not (one.plain and other.plain):
        return _same_condition(one, other)
    left, right = _table(one), _table(other)
    if left is not None and right is not None:
        keys = {*left, *right}
        return all(math.isclose(left.get(k, 0), right.get(k, 0), abs_tol=1e-9) for k in keys)
    if not isinstance(one, Parameter) or not isinstance(other, Parameter):
        return False
    if (left is None) != (right is None):
        return False
    return all(
        math.isclose(
            laws.ppf(one.distribution, k / 34),
            laws.ppf(other.distribution, k / 34),
            rel_tol=1e-7,
            abs_tol=1e-9,
        )
        for k in range(1, 34)
    )


def _mapping(node: Group | Constant) -> dict[str, Node] | None:
    """The children of a group, or of a constant that is a mapping."""
    if isinstance(node, Group):
        return dict(node.items)
    value = node.value
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return None
    return {key: Constant.of(item) for key, item in value.items()}


def _same_condition(one: Choice, other: Choice) -> bool:
    """Whether each option has the same weight on both sides, whatever their order."""

    def weighted(choice: Choice) -> list[tuple[Node, float]]:
        weights = choice.weights or [1 / len(choice.options)] * len(choice.options)
        return list(zip(choice.options, weights, strict=True))

    return all(
        math.isclose(
            math.fsum(weight for node, weight in weighted(one) if same_law(node, option)),
            math.fsum(weight for node, weight in weighted(other) if same_law(node, option)),
            abs_tol=1e-9,
        )
        for option in (*one.options, *other.options)
    )


def _table(node: Node) -> dict[tuple[str, str], float] | None:
    """Probability by type and value of a discrete leaf; None for a continuous or a vast one."""
    if isinstance(node, Constant):
        return {_key(node.value): 1.0}
    if isinstance(node, Choice) and node.plain:
        table: dict[tuple[str, str], float] = {}
        weights = node.weights or [1 / len(node.options)] * len(node.options)
        for value, weight in zip(node.values(), weights, strict=True):
            table[_key(value)] = table.get(_key(value), 0.0) + weight
        return table
    if not isinstance(node, Parameter):
        return None
    try:
        cells = laws.cell_probabilities(node.distribution, limit=20_000)
    except ValueError:
        return None
    whole = isinstance(node.distribution, Integers) or node.distribution.integer
    return {_key(int(v) if whole else v): weight for v, weight in cells.items()}


def _key(value: Any) -> tuple[str, str]:
    if isinstance(value, float):
        return "float", f"{value + 0.0:.9g}"
    return type(value).__name__, repr(value)


def _difference(one: Experiment, other: Experiment) -> str:
    import msgspec

    lines = []
    for field in msgspec.structs.fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if left != right:
            lines.append(f"{field.name}:\n  wrote {left!r}\n  read  {right!r}")
    return "\n".join(lines)


def assert_same_law(one: Draws[Any], other: Draws[Any], *, label: str = "") -> float:
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
