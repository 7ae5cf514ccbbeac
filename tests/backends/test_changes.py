"""What has changed since: added to what was there, it is what there is; on each database."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tune_bridge.backends.base import (
    Backend,
    LogRows,
    Operation,
    PatchRun,
    PutRun,
    PutSweep,
    Row,
    Run,
    RunQuery,
    Sweep,
)
from tune_bridge.testing.operations import comparable

_RUNS = st.sampled_from(["a", "b", "c", "d"])
_TIMES = st.sampled_from([0.0, 1.0, 2.0, 3.0])  # clocks go back, and stand still
_ANYTHING = st.lists(
    st.one_of(
        st.tuples(st.just("put"), _RUNS, _TIMES),
        st.tuples(st.just("patch"), _RUNS, _TIMES),
        st.tuples(st.just("log"), _RUNS, _TIMES),
        st.tuples(st.just("delete"), _RUNS, _TIMES),
        st.tuples(st.just("recreate"), _RUNS, _TIMES),
        st.tuples(st.just("look"), _RUNS, _TIMES),
    ),
    max_size=25,
)


def _do(backend: Backend, what: str, run: str, at: float, number: int) -> None:
    there = {one.id for one in backend.runs("s")}
    operations: list[Operation] = []
    if what == "put":
        operations = [PutRun(Run(id=run, sweep_id="s", created_at=at, updated_at=at))]
    elif what == "patch" and run in there:
        operations = [PatchRun(run, {"message": str(number), "state": "running"}, at)]
    elif what == "log" and run in there:
        operations = [LogRows(run, [Row(number, at, {"x": number})])]
    elif what == "delete":
        backend.delete_run(run)
    elif what == "recreate":
        backend.delete_sweep("s")
        operations = [PutSweep(Sweep(id="s")), PutRun(Run(id=run, sweep_id="s", created_at=at))]
    backend.apply(operations)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(_ANYTHING)
def test_added_to_what_was_there_they_are_what_there_is(
    backend: Backend, steps: list[tuple[str, str, float]]
) -> None:
    from tune_bridge.server.views import Reader

    backend.delete_sweep("s")
    backend.apply([PutSweep(Sweep(id="s"))])
    reader = Reader(backend)
    reader.snapshot("s")
    for number, (what, run, at) in enumerate(steps):
        _do(backend, what, run, at, number)
        if what == "look":
            _compare(reader, backend)
    _compare(reader, backend)


def _compare(reader: object, backend: Backend) -> None:
    from tune_bridge.server.views import Reader

    found, read = reader.snapshot("s"), Reader(backend).snapshot("s")  # type: ignore[attr-defined]
    for name in ("sweep", "version", "runs", "configs", "summaries"):
        assert comparable(getattr(found, name)) == comparable(getattr(read, name))
    assert found.places == {run.id: place for place, run in enumerate(read.runs)}


def test_only_what_has_changed(backend: Backend) -> None:
    runs = [PutRun(Run(id=f"{n}", sweep_id="s", created_at=float(n))) for n in range(5)]
    backend.apply([PutSweep(Sweep(id="s")), *runs, LogRows("3", [Row(0, 9.0, {"x": 1})])])
    seen = backend.version("s")
    nothing = backend.changes("s", seen)
    assert nothing is not None
    assert (nothing.version, nothing.runs) == (seen, [])
    backend.apply([PatchRun("3", {"message": "late"}, 5.0), LogRows("1", [Row(0, 0.0, {"x": 1})])])
    found = backend.changes("s", seen)
    assert found is not None
    assert [run.id for run in found.runs] == ["1", "3"]
    assert found.version == backend.version("s") != seen
    backend.delete_run("2")
    assert backend.changes("s", seen) is None
    assert backend.changes("s", found.version) is None
    assert backend.changes("s", backend.version("s")) is not None
    assert backend.changes("s", "") is None


def test_those_stopped_early_are_counted(backend: Backend) -> None:
    ended = [
        PutRun(Run(id=f"{n}", sweep_id="s", state="finished", stopped_early=n % 3 == 0))
        for n in range(7)
    ]
    backend.apply([PutSweep(Sweep(id="s")), *ended])
    assert backend.count_runs(RunQuery(sweeps=("s",), states=(("finished", True),))) == 3


def test_two_sweeps_in_one_step(connect: Callable[[], Backend]) -> None:
    with connect() as one, connect() as other:
        one.apply([PutSweep(Sweep(id=name)) for name in "st"])
        seen = {name: one.version(name) for name in "st"}
        one.apply([PutRun(Run(id=name + name, sweep_id=name)) for name in "st"])
        for name in "st":
            found = other.changes(name, seen[name])
            assert found is not None
            assert [run.id for run in found.runs] == [name + name]
