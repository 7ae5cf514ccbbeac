"""Scores: the best runs of a sweep, kept as rows and configs come; on each kind of database."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backends.older import without_changes
from tune_bridge.backends import open_backend
from tune_bridge.backends.base import (
    Backend,
    LogRows,
    PatchRun,
    PatchSweep,
    PutRun,
    PutSweep,
    Row,
    Run,
    Sweep,
    new_id,
)
from tune_bridge.backends.schema import VERSION_TABLE
from tune_bridge.backends.scores import metric_of, score_of
from tune_bridge.errors import NotFoundError

CONFIG = {"metric": {"name": "loss", "goal": "minimize"}}


def _put(backend: Backend, *summaries: dict[str, Any], config: Any = CONFIG) -> str:
    """A sweep with runs "0<sweep>", "1<sweep>", ... that have these summaries."""
    sweep_id = new_id()
    runs = [
        PutRun(Run(id=f"{number}{sweep_id}", sweep_id=sweep_id, summary=summary, state="finished"))
        for number, summary in enumerate(summaries)
    ]
    backend.apply([PutSweep(Sweep(id=sweep_id, config=config)), *runs])
    return sweep_id


def _best(backend: Backend, sweep_id: str, **how: Any) -> list[tuple[int, float]]:
    found = backend.best_runs(sweep_id, limit=how.pop("limit", 10), **how)
    simple = Backend.best_runs(backend, sweep_id, limit=10, **how)
    assert found == simple[: len(found)], "as it is without a column for it"
    return [(int(run.id[0]), value) for run, value in found]


def test_order(backend: Backend) -> None:
    sweep_id = _put(
        backend, {"loss": 3}, {"loss": 1.5}, {}, {"loss": math.nan}, {"loss": -math.inf},
        {"loss": "1"}, {"loss": True}, {"loss": 1.5}, {"loss": {"min": 2, "max": 9}},
    )  # fmt: skip
    up = [(4, -math.inf), (1, 1.5), (7, 1.5), (8, 2.0), (0, 3.0)]
    assert _best(backend, sweep_id) == up
    assert _best(backend, sweep_id, limit=2) == up[:2]
    down = [(0, 3.0), (8, 2.0), (1, 1.5), (7, 1.5), (4, -math.inf)]
    assert _best(backend, sweep_id, descending=True) == down
    assert _best(backend, sweep_id, states=["failed"]) == []
    with pytest.raises(NotFoundError):
        backend.best_runs("none")


def test_rows_and_patches(backend: Backend) -> None:
    sweep_id = _put(backend, {}, {"loss": 5})
    run = f"0{sweep_id}"
    backend.apply([LogRows(run, [Row(0, 1.0, {"loss": 9.0}), Row(1, 2.0, {"loss": 4.0})])])
    assert _best(backend, sweep_id) == [(0, 4.0), (1, 5.0)]
    backend.apply([LogRows(run, [Row(2, 3.0, {"loss": math.nan})])])
    assert _best(backend, sweep_id) == [(1, 5.0)]
    backend.apply([PatchRun(run, {"summary": {"loss": 6}}, 4.0)])
    assert _best(backend, sweep_id) == [(1, 5.0), (0, 6.0)]
    backend.delete_run(f"1{sweep_id}")
    assert _best(backend, sweep_id) == [(0, 6.0)]


def test_another_metric(backend: Backend) -> None:
    sweep_id = _put(backend, {"loss": 1, "deep": {"a": 5}}, {"loss": 2, "deep.a": 4}, config={})
    assert _best(backend, sweep_id) == []
    for metric, best in (("loss", [(0, 1.0), (1, 2.0)]), ("deep.a", [(1, 4.0), (0, 5.0)])):
        backend.update_sweep(sweep_id, config={"metric": {"name": metric}})
        assert _best(backend, sweep_id) == best
        assert _best(backend, _put(backend, {"loss": 1})) == [(0, 1.0)], "others stay as they are"
    backend.update_sweep(sweep_id, config={"metric": None})
    assert _best(backend, sweep_id) == []
    backend.apply(
        [
            PutRun(Run(id=f"2{sweep_id}", sweep_id=sweep_id, summary={"x": 1})),
            PatchSweep(sweep_id, {"config": {"metric": {"name": "x"}}}, 1e12),
            LogRows(f"1{sweep_id}", [Row(0, 1.0, {"x": 0})]),
        ]
    )
    assert _best(backend, sweep_id) == [(1, 0.0), (2, 1.0)]


VALUES = st.floats() | st.integers() | st.text(max_size=2) | st.booleans() | st.none()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(VALUES, max_size=8), st.booleans())
def test_any_values(backend: Backend, values: list[Any], descending: bool) -> None:
    sweep_id = _put(backend, *({"loss": value} for value in values))
    _best(backend, sweep_id, descending=descending)


def test_ranges_of_many_sweeps(backend: Backend) -> None:
    some = _put(backend, {"loss": 3}, {"loss": math.inf}, {"loss": -1.5}, {"loss": -math.inf}, {})
    failed = Run(id=f"9{some}", sweep_id=some, state="failed", summary={"loss": -7})
    one = _put(backend, {"loss": 0})
    none = _put(backend, {"loss": math.nan}, {})
    bare = _put(backend, {"loss": 1}, config={})
    backend.apply([PutRun(failed)])
    asked = [some, "none", one, none, bare, one]
    for left_out, low in ((("failed", "crashed"), -1.5), ((), -7.0)):
        expected = {some: (low, 3.0), one: (0.0, 0.0)}
        assert backend.score_ranges(asked, leave_out=left_out) == expected
        assert Backend.score_ranges(backend, asked, leave_out=left_out) == expected
    assert backend.score_ranges([]) == {}


def test_scores_by_their_ends(backend: Backend) -> None:
    sweep_id = _put(backend, {"loss": 3}, {"loss": 1}, {}, {"loss": 2}, {"loss": math.nan})
    ends: dict[str, Any] = {"0": 30.0, "1": 10.0, "3": 20.0}
    for number, at in ends.items():
        backend.apply([PatchRun(f"{number}{sweep_id}", {"ended_at": at}, 1e12)])
    more = [("8", "running", 7), ("9", "failed", 9)]
    for number, state, loss in more:
        run = Run(id=f"{number}{sweep_id}", sweep_id=sweep_id, state=state, summary={"loss": loss})
        backend.apply([PutRun(run)])
    for left_out, expected in (((), [1, 2, 3, 7, 9]), (("failed",), [1, 2, 3, 7])):
        assert backend.scores(sweep_id, leave_out=left_out) == expected
        assert Backend.scores(backend, sweep_id, leave_out=left_out) == expected
    assert backend.scores("none") == Backend.scores(backend, "none") == []
    assert backend.scores(_put(backend, {"loss": 1}, config={})) == []


@pytest.mark.parametrize(
    ("config", "name"),
    [(CONFIG, "loss"), ({}, ""), ({"metric": "loss"}, ""), ({"metric": {"name": 3}}, "")],
)
def test_metric_of(config: dict[str, Any], name: str) -> None:
    assert metric_of(config) == name


def test_score_of_large_integers() -> None:
    assert score_of({"x": 10**400}, "x") == math.inf
    assert score_of({"x": -(10**400)}, "x") == -math.inf
    assert score_of({"a": {"b": 1}}, "a.b") == 1.0
    assert score_of({"a": {"b": 1}}, "a") is None


def test_scores_of_an_older_file(tmp_path: Path) -> None:
    path = str(tmp_path / "sweeps.db")
    with open_backend(path) as backend:
        sweep_id = _put(backend, {"loss": 2}, {"loss": math.nan}, {"loss": 1})
        other = _put(backend, {"loss": 2}, config={})
    with contextlib.closing(sqlite3.connect(path)) as connection:
        without_changes(connection)
        connection.execute("DROP TABLE tallies")
        connection.execute("DROP INDEX runs_by_score")
        connection.execute("ALTER TABLE runs DROP COLUMN score")
        connection.execute("ALTER TABLE sweeps DROP COLUMN metric")
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0003'")
        connection.commit()
    with open_backend(path) as backend:
        assert _best(backend, sweep_id) == [(2, 1.0), (0, 2.0)]
        assert _best(backend, other) == []
        backend.apply([LogRows(f"1{sweep_id}", [Row(0, 1.0, {"loss": 0})])])
        assert _best(backend, sweep_id)[0] == (1, 0.0)
