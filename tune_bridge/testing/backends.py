"""The conformance suite of backends: every promise of `tune_bridge.backends.base`, as tests.

A new backend is tested by a subclass that says how to make an empty one::

    class TestMyBackend(BackendTestCase):
        @pytest.fixture
        def connect(self, tmp_path):
            return functools.partial(MyBackend, tmp_path / "place")

        @pytest.fixture
        def backend(self, connect):
            with connect() as backend:
                yield backend

``connect`` opens the same place again, also in another process; without it, the tests of several
openings are skipped.
"""

# ruff: noqa: D102 - a test says what it promises by its name

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tune_bridge.backends.base import (
    BEHIND,
    Backend,
    LogEvents,
    LogRows,
    Operation,
    PatchRun,
    PatchSweep,
    PutRun,
    PutSweep,
    Row,
    Run,
    RunQuery,
    Sweep,
    new_id,
)
from tune_bridge.backends.query import chosen
from tune_bridge.errors import BackendError, ConflictError, InputError, NotFoundError
from tune_bridge.testing.concurrent import ConcurrentWork, Connect
from tune_bridge.testing.operations import (
    NESTED,
    comparable,
    made_rows,
    made_run,
    made_sweep,
    scripts,
    snapshot,
)

__all__ = ["BackendTestCase"]


class BackendTestCase(ConcurrentWork):
    """Subclass it, give it a ``backend`` (and ``connect``) fixture, and run pytest."""

    @pytest.fixture
    def backend(self) -> Any:
        """An empty backend."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture 'backend'")

    @pytest.fixture
    def connect(self) -> Connect | None:
        """Opens the place of ``backend`` once more; has to be picklable."""
        return None

    @pytest.fixture
    def again(self, connect: Connect | None) -> Connect:
        """`connect`, or a skipped test."""
        if connect is None:
            pytest.skip("this backend says no way to open its place again")
        return connect

    # What is kept, and how exactly.

    def test_sweep_as_it_was(self, backend: Backend) -> None:
        sweep = Sweep(
            id=new_id(),
            project="p/ü",
            entity="e",
            name="a sweep",
            state="paused",
            config=NESTED,
            created_at=1.25,
            updated_at=2.5,
            message="why",
            meta=NESTED,
        )
        backend.apply([PutSweep(sweep)])
        assert comparable(backend.sweep(sweep.id)) == comparable(sweep)

    def test_run_as_it_was(self, backend: Backend) -> None:
        run = Run(
            id="any text: ü/1",
            sweep_id=made_sweep(backend),
            name="a run",
            state="running",
            config=NESTED,
            summary=NESTED,
            created_at=1.25,
            started_at=1.5,
            updated_at=2.5,
            stopped_early=True,
            message="why",
            exit_code=-9,
            meta=NESTED,
        )
        backend.apply([PutRun(run)])
        assert comparable(backend.run(run.id)) == comparable(run)
        assert comparable(backend.runs(run.sweep_id)) == comparable([run])

    def test_row_as_it_was(self, backend: Backend) -> None:
        run_id = made_run(backend)
        rows = [Row(0, 1.5, NESTED), Row(3, 2.5, {}), Row(2**40, 1e10, {"a": 1})]
        backend.apply([LogRows(run_id, rows)])
        assert comparable(backend.history(run_id)) == comparable(rows)
        assert comparable(backend.run(run_id).summary) == comparable({**NESTED, "a": 1})

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_what_json_cannot_say(self, backend: Backend, value: float) -> None:
        config = {"a": value, "b": [{"c": value}, None], "d": None, "e": "NaN"}
        run_id = made_run(backend, config=config, meta=config)
        backend.apply([LogRows(run_id, [Row(0, 1.0, config), Row(1, 2.0, {"a": 1.0})])])
        run = backend.run(run_id)
        for kept in (run.config, run.meta, backend.history(run_id)[0].values):
            assert comparable(kept) == comparable(config)
        assert comparable(run.summary) == comparable({**config, "a": 1.0})
        found = backend.histories(run.sweep_id, "a")[run_id]
        assert comparable(found) == comparable([(0, value), (1, 1.0)])

    def test_what_cannot_be_kept_is_refused(self, backend: Backend) -> None:
        run_id = made_run(backend)
        before = snapshot(backend, backend.run(run_id).sweep_id)
        for operation in (
            LogRows(run_id, [Row(0, 0.0, {"a": 1}), Row(1, 0.0, {"a": object()})]),
            PatchRun(run_id, {"config": {"a": object()}}, 1.0),
            PatchRun(run_id, {"no such attribute": 1}, 1.0),
            PatchRun(run_id, {"state": "no such state"}, 1.0),
            PatchSweep(backend.run(run_id).sweep_id, {"state": "killed"}, 1.0),
        ):
            with pytest.raises(InputError):
                backend.apply([PatchRun(run_id, {"name": "x"}, 1.0), operation])
        assert snapshot(backend, backend.run(run_id).sweep_id) == before

    def test_events_as_they_were(self, backend: Backend) -> None:
        sweep_id = made_sweep(backend)
        kept: list[dict[str, Any]] = [{"event": "tell", "result": NESTED}, {}, {"a": math.nan}]
        backend.apply([LogEvents(sweep_id, 0, kept[:1], 1.0)])
        backend.apply([LogEvents(sweep_id, 1, kept[1:], 2.0)])
        assert comparable(backend.events(sweep_id)) == comparable(kept)
        assert comparable(backend.events(sweep_id, first=2)) == comparable(kept[2:])
        assert backend.events(sweep_id, first=1, limit=1) == [{}]
        assert backend.events(made_sweep(backend)) == []

    def test_events_have_one_author(self, backend: Backend) -> None:
        sweep_id = made_sweep(backend)
        run_id = made_run(backend, sweep_id)
        first = LogEvents(sweep_id, 0, [{"n": 0}, {"n": 1}], 1.0)
        backend.apply([first])
        backend.apply([first])  # replayed
        backend.apply([LogEvents(sweep_id, 1, [{"n": 1}, {"n": 2}], 1.0)])  # known in part
        before = snapshot(backend, sweep_id)
        for refused in (
            LogEvents(sweep_id, 2, [{"n": "mine"}], 2.0),
            LogEvents(sweep_id, 1, [{"n": 1}, {"n": "mine"}], 2.0),
            LogEvents(sweep_id, 4, [{"n": 4}], 2.0),
        ):
            with pytest.raises(ConflictError):
                backend.apply([PatchRun(run_id, {"name": "x"}, 1.0), refused])
        assert [event["n"] for event in backend.events(sweep_id)] == [0, 1, 2]
        assert snapshot(backend, sweep_id) == before
        with pytest.raises(NotFoundError):
            backend.apply([LogEvents("nosweep", 0, [{}], 1.0)])
        with pytest.raises(NotFoundError):
            backend.events("nosweep")
        backend.delete_sweep(sweep_id)
        with pytest.raises(NotFoundError):
            backend.events(sweep_id)

    def test_events_behind_all_others(self, backend: Backend) -> None:
        """By one who could not know how many there are; a replay adds none again."""
        sweep_id = made_sweep(backend)
        behind = LogEvents(sweep_id, BEHIND, [{"n": n, "kept": NESTED} for n in range(600)], 1.0)
        backend.apply([behind])
        backend.apply([LogEvents(sweep_id, 600, [{"n": 600}], 2.0)])
        more = LogEvents(sweep_id, BEHIND, [{"n": 599, "kept": NESTED}, {"n": 601}], 3.0)
        backend.apply([behind, more])
        backend.apply([more, behind, LogEvents(sweep_id, BEHIND, [], 4.0)])
        assert [event["n"] for event in backend.events(sweep_id)] == list(range(602))
        with pytest.raises(NotFoundError):
            backend.apply([LogEvents("nosweep", BEHIND, [{}], 1.0)])

    def test_a_run_is_deleted_with_its_rows(self, backend: Backend) -> None:
        gone, kept = (
            made_run(backend, sweep_id := made_sweep(backend), rows=2),
            made_run(backend, sweep_id),
        )
        before = backend.version(sweep_id)
        for _ in range(2):
            backend.delete_run(gone)
            assert [run.id for run in backend.runs(sweep_id)] == [kept]
        assert backend.version(sweep_id) != before
        with pytest.raises(NotFoundError):
            backend.history(gone)

    # Atomic, durable, isolated.

    def test_all_or_nothing(self, backend: Backend) -> None:
        sweep_id = made_sweep(backend)
        run_id = made_run(backend, sweep_id)
        before = snapshot(backend, sweep_id)
        with pytest.raises(NotFoundError):
            backend.apply(
                [
                    PatchSweep(sweep_id, {"state": "finished"}, 5.0),
                    PutRun(Run(id=new_id(), sweep_id=sweep_id)),
                    LogRows(run_id, made_rows(5)),
                    PatchRun(run_id, {"name": "new"}, 5.0),
                    LogRows("no such run", made_rows(1)),
                ]
            )
        assert snapshot(backend, sweep_id) == before

    def test_operations_see_those_before_them(self, backend: Backend) -> None:
        sweep_id, run_id = new_id(), new_id()
        backend.apply(
            [
                PutSweep(Sweep(id=sweep_id)),
                PutRun(Run(id=run_id, sweep_id=sweep_id)),
                LogRows(run_id, made_rows(2)),
                LogRows(run_id, [Row(1, 200.0, {"loss": 9.0})]),
                PatchRun(run_id, {"summary": {"loss": 7.0}}, 300.0),
                PatchSweep(sweep_id, {"name": "named"}, 300.0),
            ]
        )
        run = backend.run(run_id)
        assert (run.rows, run.summary) == (2, {"loss": 7.0})
        assert backend.sweep(sweep_id).name == "named"
        assert backend.sweep(sweep_id).updated_at == 300.0

    def test_durable(self, backend: Backend, again: Connect) -> None:
        run_id = made_run(backend, config=NESTED)
        backend.apply([LogRows(run_id, made_rows(3))])
        sweep_id = backend.run(run_id).sweep_id
        before = snapshot(backend, sweep_id)
        backend.close()
        with again() as other:
            assert snapshot(other, sweep_id) == before

    def test_copies(self, backend: Backend) -> None:
        config = {"a": {"b": [1]}}
        sweep_id = made_sweep(backend, config=config, meta=config)
        run_id = made_run(backend, sweep_id, config=config)
        backend.apply([LogRows(run_id, [Row(0, 0.0, config)])])
        before = snapshot(backend, sweep_id)
        config["a"]["b"].append(2)
        for value in (
            backend.sweep(sweep_id).config,
            backend.sweeps()[0].meta,
            backend.run(run_id).config,
            backend.runs(sweep_id)[0].summary,
            backend.history(run_id)[0].values,
        ):
            value["a"]["b"].append(3)
            value["new"] = 1
        assert snapshot(backend, sweep_id) == before

    # Idempotent.

    # Several backends have the suite: their classes are the executors that differ.
    @settings(
        suppress_health_check=[
            HealthCheck.function_scoped_fixture, HealthCheck.differing_executors,
        ],
        max_examples=50,
    )  # fmt: skip
    @given(script=scripts(), data=st.data())
    def test_replay(self, backend: Backend, script: list[Operation], data: st.DataObject) -> None:
        sweep_id = script[0].sweep.id  # type: ignore[union-attr]
        for operation in script:
            backend.apply([operation])
        before = snapshot(backend, sweep_id)
        # A part of what was applied comes again, in its order: a spool that was cut, or the whole.
        kept = data.draw(st.lists(st.booleans(), min_size=len(script), max_size=len(script)))
        backend.apply([operation for operation, keep in zip(script, kept, strict=True) if keep])
        assert snapshot(backend, sweep_id) == before
        backend.apply(script)
        assert snapshot(backend, sweep_id) == before
        backend.delete_sweep(sweep_id)
        backend.apply(script)
        assert snapshot(backend, sweep_id) == before, "one apply is the same as many"

    def test_put_of_what_exists(self, backend: Backend) -> None:
        run_id = made_run(backend, name="first")
        sweep_id = backend.run(run_id).sweep_id
        before = snapshot(backend, sweep_id)
        backend.apply([PutSweep(Sweep(id=sweep_id, name="other"))])
        backend.apply([PutRun(Run(id=run_id, sweep_id=sweep_id, name="other", state="running"))])
        assert snapshot(backend, sweep_id) == before

    def test_rows_are_replaced_and_counted(self, backend: Backend) -> None:
        run_id = made_run(backend, rows=7)
        assert backend.run(run_id).rows == 0
        backend.apply([LogRows(run_id, made_rows(5))])
        backend.apply([LogRows(run_id, made_rows(5, first=3))])
        backend.apply([LogRows(run_id, [Row(20, 500.0, {}), Row(20, 501.0, {"b": 1})])])
        backend.apply([LogRows(run_id, [Row(10, 502.0, {}), Row(2, 503.0, {"loss": 99.0})])])
        backend.apply([LogRows(run_id, [])])
        rows = backend.history(run_id)
        assert [row.step for row in rows] == [*range(8), 10, 20]
        assert rows[2].values == {"loss": 99.0}
        run = backend.run(run_id)
        assert run.rows == 10
        assert run.summary == {"loss": 3.5, "b": 1}

    # The lives of runs and sweeps.

    def test_life_of_a_run(self, backend: Backend) -> None:
        run_id = made_run(backend)
        for state, at in (("running", 10.0), ("pending", 11.0), ("running", 12.0)):
            backend.apply([PatchRun(run_id, {"state": state}, at)])
        run = backend.run(run_id)
        assert (run.state, run.started_at, run.ended_at) == ("running", 10.0, None)
        end = {"state": "finished", "stopped_early": True, "message": "rung 3", "exit_code": 0}
        backend.apply([PatchRun(run_id, end, 20.0)])
        run = backend.run(run_id)
        assert (run.state, run.ended_at, run.stopped_early) == ("finished", 20.0, True)
        late = {"state": "failed", "message": "killed", "exit_code": -9}
        backend.apply([PatchRun(run_id, late, 21.0), PatchRun(run_id, {"state": "running"}, 22.0)])
        backend.apply([LogRows(run_id, made_rows(1))])
        run = backend.run(run_id)
        assert (run.state, run.message, run.exit_code) == ("finished", "rung 3", -9)
        assert (run.ended_at, run.rows) == (20.0, 1)

    def test_reopened_run(self, backend: Backend) -> None:
        run_id = made_run(backend)
        end = PatchRun(run_id, {"state": "finished"}, 20.0)
        reopen = PatchRun(run_id, {"state": "running"}, 30.0, reopen=True)
        backend.apply([PatchRun(run_id, {"state": "running"}, 10.0), end, reopen, end])
        run = backend.run(run_id)
        assert (run.state, run.started_at, run.ended_at) == ("running", 10.0, None)
        backend.apply([PatchRun(run_id, {"state": "failed"}, 40.0), reopen])
        assert (backend.run(run_id).state, backend.run(run_id).ended_at) == ("failed", 40.0)

    def test_end_counts_although_clocks_differ(self, backend: Backend) -> None:
        run_id = made_run(backend)
        backend.apply([PatchRun(run_id, {"state": "running"}, 10.0)])
        backend.apply([PatchRun(run_id, {"state": "killed"}, 9.0)])
        assert backend.run(run_id).state == "killed"

    def test_life_of_a_sweep(self, backend: Backend) -> None:
        sweep_id = made_sweep(backend, meta={"a": 1, "b": 1})
        backend.apply([PatchSweep(sweep_id, {"state": "finished", "meta": {"b": 2}}, 20.0)])
        backend.apply([PatchSweep(sweep_id, {"state": "running", "name": "n"}, 30.0)])
        sweep = backend.sweep(sweep_id)
        assert (sweep.state, sweep.ended_at, sweep.name) == ("finished", 20.0, "n")
        assert sweep.meta == {"a": 1, "b": 2}
        backend.update_sweep(sweep_id, state="running", reopen=True)
        assert (backend.sweep(sweep_id).state, backend.sweep(sweep_id).ended_at) == (
            "running",
            None,
        )

    def test_patches(self, backend: Backend) -> None:
        run_id = made_run(backend, config={"a": 1}, meta={"a": 1}, summary={"a": 1})
        new = {"b": 2}
        backend.apply([PatchRun(run_id, {"config": new, "meta": new, "summary": new}, 10.0)])
        run = backend.run(run_id)
        assert (run.config, run.meta) == ({"b": 2}, {"a": 1, "b": 2})
        assert run.summary == {"a": 1, "b": 2}
        assert run.updated_at == backend.sweep(run.sweep_id).updated_at == 10.0
        backend.update_run(run_id, name="new", exit_code=3)
        assert (backend.run(run_id).name, backend.run(run_id).exit_code) == ("new", 3)

    def test_create_sweep(self, backend: Backend) -> None:
        sweep = backend.create_sweep({"project": "p", "method": "grid"}, meta={"host": "h"})
        assert backend.sweep(sweep.id) == sweep
        assert (sweep.project, sweep.name, sweep.state) == ("p", sweep.id, "running")

    # What is asked for.

    def test_what_does_not_exist(self, backend: Backend) -> None:
        sweep_id = made_sweep(backend)
        for ask in (
            lambda: backend.sweep("none"),
            lambda: backend.run("none"),
            lambda: backend.runs("none"),
            lambda: backend.history("none"),
            lambda: backend.histories("none", "loss"),
            lambda: backend.apply([PutRun(Run(id="r", sweep_id="none"))]),
            lambda: backend.apply([PatchSweep("none", {}, 0.0)]),
            lambda: backend.apply([PatchRun("none", {}, 0.0)]),
            lambda: backend.apply([LogRows("none", [])]),
        ):
            with pytest.raises(NotFoundError, match="none"):
                ask()
        assert backend.runs(sweep_id) == []
        assert backend.histories(sweep_id, "loss") == {}
        assert backend.counts([sweep_id, "none"]) == {}
        assert backend.counts([]) == {}
        assert isinstance(backend.version("none"), str)
        backend.delete_sweep("none")

    def test_sweeps_newest_first(self, backend: Backend) -> None:
        ids = [made_sweep(backend, project="ab"[i % 2], created_at=float(i)) for i in range(5)]
        assert [sweep.id for sweep in backend.sweeps()] == ids[::-1]
        assert [sweep.id for sweep in backend.sweeps(project="a")] == ids[::2][::-1]
        assert [sweep.id for sweep in backend.sweeps(limit=2, offset=1)] == [ids[3], ids[2]]
        assert backend.sweeps(project="none") == []

    def test_runs_in_order_of_creation(self, backend: Backend) -> None:
        sweep_id = made_sweep(backend)
        states: Sequence[Any] = ("running", "finished", "failed")
        ids = [made_run(backend, sweep_id, state=states[i % 3]) for i in range(6)]
        made_run(backend)  # of another sweep
        assert [run.id for run in backend.runs(sweep_id)] == ids
        assert [run.id for run in backend.runs(sweep_id, states=["failed"])] == ids[2::3]
        assert backend.runs(sweep_id, states=[]) == []
        assert [run.id for run in backend.runs(sweep_id, limit=2, offset=3)] == ids[3:5]
        assert [run.id for run in backend.runs(sweep_id, offset=4)] == ids[4:]
        assert backend.counts([sweep_id]) == {sweep_id: {"running": 2, "finished": 2, "failed": 2}}

    def test_runs_are_found(self, backend: Backend) -> None:
        one, two = made_sweep(backend), made_sweep(backend)
        states: Sequence[Any] = ("running", "finished", "failed")
        for number in range(8):
            more = {"created_at": 100.0 + number, "updated_at": 200.0 - number}
            made_run(
                backend,
                (one, two)[number % 2],
                state=states[number % 3],
                summary={"n": number},
                **more,
            )
        everything = [*backend.runs(one), *backend.runs(two)]
        backend.apply([PatchRun(everything[1].id, {"name": "last"}, 300.0)])
        everything = [*backend.runs(one), *backend.runs(two)]
        middle = everything[4].created_at
        for query in (
            RunQuery(sweeps=(one, two, "none")),
            RunQuery(sweeps=(two,), descending=True, limit=2, offset=1),
            RunQuery(sweeps=(one, two), order="updated_at", descending=True, limit=3),
            RunQuery(sweeps=(one, two), order="updated_at", offset=5),
            RunQuery(sweeps=(one, two), states=(("running", False), ("failed", False)), limit=3),
            RunQuery(sweeps=(one, two), states=(("finished", True),)),
            RunQuery(sweeps=(one,), states=()),
            RunQuery(sweeps=(one,), ids=tuple(run.id for run in everything[2:6])),
            RunQuery(sweeps=(one, two), created=(middle, None), updated=(None, 195.0)),
            RunQuery(sweeps=()),
        ):
            found = backend.find_runs(query)
            assert [run.id for run in found] == [run.id for run in chosen(everything, query)]
            assert backend.count_runs(query) == sum(map(query.holds, everything))
            for key in ("n", "none"):
                values = [(run.id, run.summary.get(key)) for run in found]
                assert backend.summaries(query, key) == values

    def test_history_of_some_keys(self, backend: Backend) -> None:
        run_id = made_run(backend)
        odd = 'a "key"\n'
        rows = [
            Row(0, 0.0, {"loss": 1.0, "text": '"acc":'}),
            Row(1, 1.0, {"acc": None, "loss": math.nan}),
            Row(2, 2.0, {odd: 1, "nested": {"acc": 1}}),
        ]
        backend.apply([LogRows(run_id, rows[::-1])])
        assert [row.step for row in backend.history(run_id, min_step=1)] == [1, 2]
        assert backend.history(run_id, keys=["acc"]) == [Row(1, 1.0, {"acc": None})]
        assert [row.step for row in backend.history(run_id, keys=["acc", "loss"])] == [0, 1]
        assert backend.history(run_id, keys=[odd]) == [Row(2, 2.0, {odd: 1})]
        assert backend.history(run_id, keys=["none"]) == backend.history(run_id, keys=[]) == []
        assert backend.history(run_id, keys=["loss"], min_step=2) == []

    def test_histories_take_only_numbers(self, backend: Backend) -> None:
        sweep_id = made_sweep(backend)
        first, second, third = (made_run(backend, sweep_id) for _ in range(3))
        values = [1, 2.5, True, "3", None, [4], {"x": 5}, math.inf]
        rows = [Row(step, float(step), {"x": value}) for step, value in enumerate(values)]
        backend.apply(
            [LogRows(first, rows), LogRows(second, made_rows(2)), LogRows(third, rows[:1])]
        )
        assert backend.histories(sweep_id, "x") == {
            first: [(0, 1.0), (1, 2.5), (7, math.inf)],
            third: [(0, 1.0)],
        }
        found = backend.histories(sweep_id, "x")[third][0][1]
        assert type(found) is float

    @pytest.mark.parametrize("every", [1, 3])
    @pytest.mark.parametrize("gap", [1, 2])
    def test_thinning(self, backend: Backend, every: int, gap: int) -> None:
        sweep_id = made_sweep(backend)
        run_id, short = made_run(backend, sweep_id), made_run(backend, sweep_id)
        rows = [
            Row(step * gap, 0.0, {"x": step} if step % every == 0 else {"y": 1})
            for step in range(1000)
        ]
        backend.apply([LogRows(run_id, rows), LogRows(short, rows[:9])])
        everything = [(row.step, row.values["x"]) for row in rows if "x" in row.values]
        assert backend.histories(sweep_id, "x", max_points=1000)[run_id] == everything
        for points in (100, 7, 2, 1):
            found = backend.histories(sweep_id, "x", max_points=points)
            thinned = found[run_id]
            assert len(thinned) == points
            assert set(thinned) <= set(everything)
            assert thinned[-1] == everything[-1]
            assert thinned == sorted(thinned)
            if points > 2:
                gaps = [b[0] - a[0] for a, b in pairwise(thinned)]
                assert max(gaps) - min(gaps) <= every * gap, "thinned evenly"
            assert len(found[short]) == min(points, len(range(0, 9, every)))
        almost = len(everything) - 1
        assert len(backend.histories(sweep_id, "x", max_points=almost)[run_id]) == almost

    @pytest.mark.parametrize("every", [1, 3])
    @pytest.mark.parametrize("gap", [1, 2])
    def test_a_sample_of_a_run(self, backend: Backend, every: int, gap: int) -> None:
        run_id = made_run(backend, made_sweep(backend))
        rows = [
            Row(step * gap, step / 2, {"x": step, "t": -step} if step % every == 0 else {"t": 1})
            for step in range(300)
        ]
        backend.apply([LogRows(run_id, rows)])
        everything = [row for row in rows if "x" in row.values]
        assert backend.sample(run_id, "x", also=["t", "none"], max_rows=300) == everything
        for most in (50, 7, 2, 1):
            found = backend.sample(run_id, "x", also=["t"], max_rows=most)
            assert len(found) == most
            assert found[-1] == everything[-1]
            places = [everything.index(row) for row in found]
            if most > 2:
                gaps = [b - a for a, b in pairwise(places)]
                assert max(gaps) - min(gaps) <= 1, "thinned evenly"
        assert {key for row in backend.sample(run_id, "x") for key in row.values} == {"x"}
        assert backend.sample(run_id, "none", also=["t"]) == []
        with pytest.raises(NotFoundError):
            backend.sample("nosuch00", "x")

    def test_version(self, backend: Backend) -> None:
        sweep_id, other = made_sweep(backend), made_sweep(backend)
        run_id = made_run(backend, sweep_id)
        unchanged = backend.version(other)
        seen, seen_all = {backend.version(sweep_id)}, {backend.version()}
        operations: list[Operation] = [
            PatchSweep(sweep_id, {"name": "new"}, 1.0),
            PutRun(Run(id=new_id(), sweep_id=sweep_id)),
            PatchRun(run_id, {"state": "running"}, 2.0),
            LogRows(run_id, made_rows(1)),
            LogRows(run_id, [Row(0, 500.0, {"loss": 7.0})]),
        ]
        for number, operation in enumerate(operations, start=2):
            backend.apply([operation])
            seen.add(backend.version(sweep_id))
            seen_all.add(backend.version())
            assert len(seen) == len(seen_all) == number
        assert backend.version(sweep_id) == backend.version(sweep_id)
        assert backend.version(other) == unchanged
        backend.delete_sweep(sweep_id)
        assert backend.version(sweep_id) not in seen
        assert backend.version() not in seen_all

    def test_delete(self, backend: Backend) -> None:
        sweep_id, other = made_sweep(backend), made_sweep(backend)
        run_id, kept = made_run(backend, sweep_id), made_run(backend, other)
        backend.apply([LogRows(run_id, made_rows(3)), LogRows(kept, made_rows(2))])
        backend.delete_sweep(sweep_id)
        for ask in (
            lambda: backend.sweep(sweep_id),
            lambda: backend.run(run_id),
            lambda: backend.history(run_id),
        ):
            with pytest.raises(NotFoundError):
                ask()
        assert backend.counts([sweep_id]) == {}
        assert len(backend.history(kept)) == 2
        backend.apply([PutSweep(Sweep(id=sweep_id)), PutRun(Run(id=run_id, sweep_id=sweep_id))])
        assert backend.history(run_id) == []

    def test_close(self, backend: Backend) -> None:
        backend.close()
        backend.close()
        with pytest.raises(BackendError):
            backend.sweeps()
