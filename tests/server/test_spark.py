"""The best value so far, and its few points."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_bridge.server.spark import POINTS, best_so_far, spark_of


@pytest.mark.parametrize(
    ("values", "maximize", "line"),
    [
        ([3, 4, 1, 2], False, [3, 3, 1, 1]),
        ([3, 4, 1, 2], True, [3, 4, 4, 4]),
        ([math.nan, 2, -math.inf, math.inf, 1], False, [2, 2, 2, 1]),
        ([math.inf, math.nan], True, []),
        ([], False, []),
    ],
)
def test_best_so_far(values, maximize, line):
    assert best_so_far(values, maximize=maximize) == line
    assert spark_of(values, maximize=maximize) == tuple(line)


@given(st.lists(st.floats(), max_size=400), st.booleans())
def test_few_points_that_never_get_worse(values, maximize):
    line, points = best_so_far(values, maximize=maximize), spark_of(values, maximize=maximize)
    assert len(points) == min(len(line), POINTS)
    assert points[:1] == tuple(line[:1])
    assert points[-1:] == tuple(line[-1:])
    assert list(points) == sorted(points, reverse=not maximize)
