"""Comparing laws: exactly where both can be written down, by draws where one is a library's."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tune_bridge.laws import cdf, cell_probabilities, total_variation
from tune_bridge.space import Choice, Integers, Node, Parameter

LEAST = 1e-4
"""The p-value below which draws are not from the law; the seeds are fixed."""


def discrete(node: Node) -> dict[Any, float] | None:
    """Value -> probability, or None for a continuous law."""
    if isinstance(node, Choice):
        weights = node.weights or (1 / len(node.options),) * len(node.options)
        table: dict[Any, float] = {}
        for value, weight in zip(node.values(), weights, strict=True):
            key = float(value) if isinstance(value, int | float) else repr(value)
            table[key] = table.get(key, 0.0) + weight
        return table
    assert isinstance(node, Parameter)
    law = node.distribution
    return cell_probabilities(law) if isinstance(law, Integers) or law.q is not None else None


def same_law(one: Node, other: Node) -> None:
    """Asserts that two nodes have one law."""
    left, right = discrete(one), discrete(other)
    if left is not None and right is not None:
        assert total_variation(left, right) < 1e-9
        return
    assert left is None
    assert right is None
    assert isinstance(one, Parameter)
    assert isinstance(other, Parameter)
    for x in (-3.0, 1e-4, 2e-4, 0.01, 0.5, 1.0, 2.0, 3.3, 30.0):
        expected = cdf(one.distribution, x)  # type: ignore[arg-type]
        assert cdf(other.distribution, x) == pytest.approx(expected, abs=1e-12)  # type: ignore[arg-type]


def drawn_from(draws: list[Any], node: Node) -> float:
    """The p-value of draws under the law of a node: chi-square, or Kolmogorov and Smirnov."""
    import numpy as np
    from scipy import stats

    table = discrete(node)
    if table is None:
        assert isinstance(node, Parameter)
        law = node.distribution
        result = stats.kstest(
            np.array([float(x) for x in draws]),
            lambda points: np.array([cdf(law, float(x)) for x in points]),  # type: ignore[arg-type]
        )
        return float(result.pvalue)
    counts = Counter(
        f"{float(x) + 0.0:.10g}" if isinstance(x, int | float) else repr(x) for x in draws
    )
    expected = {
        (f"{key + 0.0:.10g}" if isinstance(key, float) else key): weight * len(draws)
        for key, weight in table.items()
    }
    assert set(counts) <= set(expected)
    # Cells that are too thin for the test are joined.
    thick = [key for key, count in expected.items() if count >= 5]
    rest = len(draws) - sum(counts[key] for key in thick)
    rest_expected = len(draws) - sum(expected[key] for key in thick)
    observed = [counts[key] for key in thick] + ([rest] if rest_expected >= 1 else [])
    wanted = [expected[key] for key in thick] + ([rest_expected] if rest_expected >= 1 else [])
    scale = sum(observed) / sum(wanted)
    if len(observed) < 2:
        return 1.0
    return float(stats.chisquare(observed, [x * scale for x in wanted]).pvalue)
