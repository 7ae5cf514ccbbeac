"""Samples of long histories, made by the database; on each kind of it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tune_bridge.backends.base import Backend, LogRows, PutRun, PutSweep, Row, Run, Sweep


def _logged(backend: Backend, rows: list[Row]) -> None:
    backend.delete_sweep("s")
    backend.apply([PutSweep(Sweep(id="s")), PutRun(Run(id="r", sweep_id="s")), LogRows("r", rows)])


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from([1, 2.5, None, "x", {"y": 1}, "other"])),
        unique_by=lambda pair: pair[0],
        max_size=80,
    ),
    st.integers(1, 12),
)
def test_any_history(backend: Backend, logged: list[tuple[int, object]], points: int) -> None:
    rows = [
        Row(step, 0.0, {"y": 1} if value == "other" else {"x": value})
        for step, value in sorted(logged)
    ]
    _logged(backend, rows)
    whole = [
        (row.step, float(value))
        for row in rows
        if isinstance(value := row.values.get("x"), int | float)
    ]
    found = backend.histories("s", "x", max_points=points).get("r", [])
    if len(whole) <= points:
        assert found == whole
    else:
        assert points / 2 <= len(found) <= points
        assert found == sorted(found)
        assert set(found) <= set(whole)
        assert found[-1] == whole[-1]


@pytest.mark.parametrize("wide", [1, 2**40])
def test_few_rows_are_read_of_many(
    backend: Backend, wide: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps with gaps, and a metric that only every second row has."""
    from tune_bridge.backends import codec

    rows = [
        Row(step * 7 * wide, 0.0, {"x": step} if step % 2 else {"y": 0}) for step in range(2000)
    ]
    _logged(backend, rows)
    read = 0
    points = codec.Picker.points

    def counted(self: codec.Picker, some: list[tuple[int, str]]) -> list[tuple[int, float]]:
        nonlocal read
        read += len(some)
        return points(self, some)

    monkeypatch.setattr(codec.Picker, "points", counted)
    found = backend.histories("s", "x", max_points=50)["r"]
    assert len(found) == read == 50
    assert found[-1] == (1999 * 7 * wide, 1999.0)


def test_steps_that_are_far_apart(backend: Backend) -> None:
    _logged(backend, [Row(step * 2**52, 0.0, {"x": step}) for step in range(1000)])
    found = backend.histories("s", "x", max_points=40)["r"]
    assert len(found) == 40
    assert found[-1] == (999 * 2**52, 999.0)
