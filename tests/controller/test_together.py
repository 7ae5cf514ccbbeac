"""Calls that are made durable together: each comes out as if it were alone."""

from __future__ import annotations

import pytest

from tests.controller.test_machine import HYPERBAND, RANDOM
from tests.controller.world import World
from tune_bridge.backends.base import Row
from tune_bridge.errors import BackendError, InputError, NotFoundError
from tune_bridge.wire import Claim, Over


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, RANDOM)
    yield made
    made.close()


@pytest.fixture
def written(world, monkeypatch):
    """How many operations there were in each transaction."""
    sizes: list[int] = []
    apply = world.backend.apply

    def count(operations):
        operations = list(operations)
        sizes.append(len(operations))
        apply(operations)

    monkeypatch.setattr(world.backend, "apply", count)
    return sizes


def row(step: int, loss: float = 1.0) -> Row:
    return Row(step, 0.0, {"loss": loss})


def test_one_transaction_for_all(world, written):
    sweep = world.sweep
    claims = sweep.together([lambda n=n: sweep.claim(f"a{n}", "h", "r") for n in range(3)])
    assert len({claim.run for claim in claims}) == 3
    assert len(written) == 1
    told = sweep.together(
        [lambda c=claim: sweep.report(c.run, 1, 0, [row(0)]) for claim in claims]
        + [lambda c=claim: sweep.end(c.run, 1, "finished") for claim in claims]
        + [lambda: sweep.claim("a0", "h", "s")]
    )
    assert len(written) == 2
    assert isinstance(told[-1], Claim)
    assert [run.state for run in world.backend.runs(world.id)].count("finished") == 3
    assert sweep.count == len(world.backend.events(world.id)) == 10
    world.check_restart()


def test_who_is_refused_changes_nothing_for_the_others(world):
    sweep = world.sweep
    one, gone, bad, after = sweep.together(
        [
            lambda: sweep.claim("a", "h", "r"),
            lambda: sweep.report("nobody", 1, 0, [row(0)]),
            lambda: sweep.command("enqueue", config={"no such": 1}),
            lambda: sweep.claim("b", "h", "r"),
        ]
    )
    assert isinstance(gone, NotFoundError)
    assert isinstance(bad, InputError)
    assert one.run != after.run
    assert {run.id for run in world.backend.runs(world.id)} == {one.run, after.run}
    world.check_restart()


def test_values_that_cannot_be_kept_are_the_fault_of_one(world):
    sweep = world.sweep
    one, two = (sweep.claim(name, "h", "r") for name in "ab")
    good, bad, end = sweep.together(
        [
            lambda: sweep.report(one.run, 1, 0, [row(0)]),
            lambda: sweep.report(two.run, 1, 0, [Row(2**70, 0.0, {"loss": 1.0})]),
            lambda: sweep.end(one.run, 1, "finished"),
        ]
    )
    assert (good.kind, end) == ("continue", None)
    assert isinstance(bad, InputError)
    assert world.backend.run(one.run).state == "finished"
    assert world.backend.run(two.run).rows == 0
    world.check_restart()


@pytest.mark.parametrize("how", ["before", "after"])
def test_nobody_is_told_what_was_not_written(world, how):
    sweep = world.sweep
    world.backend.fails = how
    calls = [lambda n=n: sweep.claim(f"a{n}", "h", "r") for n in range(3)]
    assert all(isinstance(found, BackendError) for found in sweep.together(calls))
    again = sweep.together(calls)
    assert len({claim.run for claim in again}) == 3
    assert {claim.attempt for claim in again} == {1}
    assert len(world.backend.runs(world.id)) == 3
    world.check_restart()


def test_what_has_to_read_what_was_not_written_yet(world):
    """Another attempt is told the first free step of its run, rows of just now included."""
    sweep = world.sweep
    one = sweep.claim("a", "h", "r")
    found = sweep.together(
        [
            lambda: sweep.report(one.run, 1, 0, [row(0), row(1)]),
            lambda: sweep.report(one.run, 1, 1, [row(2)], config={"more": 1}),
            lambda: sweep.end(one.run, 1, "crashed"),
            lambda: sweep.claim("b", "h", "s"),
        ]
    )
    again = found[-1]
    assert (again.run, again.attempt, again.first_step) == (one.run, 2, 3)
    assert world.backend.run(one.run).rows == 3
    world.check_restart()


def test_an_engine_that_fails_ends_the_sweep_for_all_that_come_after(world, monkeypatch):
    sweep = world.sweep
    one = sweep.claim("a", "h", "r")

    kind = type(sweep._fold.engine)
    ask = kind.ask

    def fail(engine, **keys):
        if engine._runs:
            raise RuntimeError("boom")
        return ask(engine, **keys)

    monkeypatch.setattr(kind, "ask", fail)
    told, failed, after = sweep.together(
        [
            lambda: sweep.report(one.run, 1, 0, [row(0)]),
            lambda: sweep.claim("b", "h", "r"),
            lambda: sweep.claim("c", "h", "r"),
        ]
    )
    assert told.kind == "continue"
    assert "boom" in str(failed)
    assert isinstance(after, Over)
    assert world.backend.sweep(world.id).state == "failed"
    assert world.backend.run(one.run).rows == 1


def test_who_waits_is_woken_when_it_is_written(world):
    sweep, seen = world.sweep, []
    stop = sweep.listen(lambda: seen.append(len(world.backend.runs(world.id))))
    sweep.together([lambda n=n: sweep.claim(f"a{n}", "h", "r") for n in range(3)])
    stop()
    assert seen == [3]


def test_decisions_are_those_of_calls_one_by_one(tmp_path):
    """A sweep in lock-step, with all calls of a round together, and one by one."""

    def run(name: str, together: bool) -> list[dict]:
        (tmp_path / name).mkdir()
        world = World(tmp_path / name, HYPERBAND)
        sweep = world.sweep

        def make(calls):
            return sweep.together(calls) if together else [call() for call in calls]

        try:
            claims = make([lambda n=n: sweep.claim(f"a{n}", "h", "r") for n in range(8)])
            for step in range(5):
                make(
                    [
                        lambda c=c, s=step, x=n / (step + 1): sweep.report(c.run, 1, s, [row(s, x)])
                        for n, c in enumerate(claims)
                    ]
                )
            make([lambda c=c: sweep.end(c.run, 1, "finished") for c in claims])
            return [
                {key: value for key, value in event.items() if key != "time"}
                for event in world.backend.events(world.id)
            ]
        finally:
            world.close()

    def plain(events: list[dict]) -> list[str]:
        """Without the ids of runs, which are those of their sweeps."""
        names: dict[str, str] = {}
        for event in events:
            for each in event.get("did", ()):
                names.setdefault(each["run"], f"run-{len(names)}")
        text = [repr(event) for event in events]
        for name, number in names.items():
            text = [line.replace(name, number) for line in text]
        return text

    one, other = run("one", False), run("other", True)
    assert plain(one) == plain(other)
    assert any("'action': 'stop'" in line for line in plain(one))
