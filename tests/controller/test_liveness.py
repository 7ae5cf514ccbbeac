"""Whether the program that reports a sweep is still there: said, and read."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tune_bridge.backends import open_backend
from tune_bridge.backends.base import PatchRun, PatchSweep, PutRun, Run, Sweep
from tune_bridge.controller import steering
from tune_bridge.controller.listing import is_reported, reported
from tune_bridge.controller.liveness import HEARD, sign, unheard_since, unheard_words
from tune_bridge.controller.steering import Link, ask
from tune_bridge.errors import InputError

META = {"steered_by": "SweepScheduler"}


def until(true: Callable[[], object]) -> None:
    waiting = threading.Event()
    for _ in range(6000):
        if true():
            return
        waiting.wait(0.01)
    raise AssertionError("it does not happen")


@pytest.mark.parametrize(
    ("state", "meta", "now", "since"),
    [
        ("running", sign(100.0, 30.0), 219.0, None),
        ("running", sign(100.0, 30.0), 221.0, 100.0),
        ("paused", sign(100.0, 30.0), 221.0, 100.0),
        ("running", sign(500.0, 30.0), 221.0, None),  # its clock goes ahead
        ("finished", sign(100.0, 30.0), 221.0, None),
        ("running", {}, 1e9, None),
        ("running", {HEARD: "yes"}, 1e9, None),
        ("running", {HEARD: {"at": "then"}}, 1e9, None),
    ],
)
def test_who_is_not_heard_of(state, meta, now, since):
    assert unheard_since(Sweep(id="a", state=state, meta=meta), now) == since


@pytest.mark.parametrize("steered", [False, True])
def test_signs_of_life_without_results(tmp_path, steered):
    """They come from a thread: an experiment whose step takes an hour says that it is there."""
    with open_backend(str(tmp_path / "sweeps.db")) as backend:
        sweep = backend.create_sweep({})
        said: list[float] = []

        def put(operation: object) -> None:
            assert isinstance(operation, PatchSweep)
            backend.apply([operation])
            said.append(operation.time)

        link = Link(backend, sweep.id, put, known=0, steered=steered, every=0.01)
        until(lambda: len(said) > 2)
        link.close()
        heard = backend.sweep(sweep.id).meta[HEARD]
        assert heard["at"] in said[-2:]
        assert said[0] < said[1] < said[2]
        assert heard["every"] == 0.01


def test_no_signs_for_a_place_that_is_away(monkeypatch):
    """They would only fill the spool; the first one after it tells all that is to be known."""
    monkeypatch.setattr(steering, "_AWAY", 0.01)
    asked: list[int] = []
    signs: list[object] = []

    def away() -> bool:
        asked.append(len(signs))
        return len(asked) < 5

    link = Link("sqlite:///none.db", "a", signs.append, known=0, steered=False, away=away)
    until(lambda: signs)
    link.close()
    assert asked[:5] == [0] * 5


def test_nobody_is_asked_who_is_not_there(tmp_path):
    with open_backend(str(tmp_path / "sweeps.db")) as backend:
        sweep = backend.create_sweep({}, meta={**META, **sign(1.0)})
        with pytest.raises(InputError, match=r"nobody would do it: .* not heard of since 19"):
            ask(backend, sweep, "pause", {})
        assert backend.sweep(sweep.id).meta == sweep.meta
        assert is_reported(sweep)
        queue = reported(backend, sweep)
        assert (queue["gate"], queue["reason"]) == ("running", unheard_words(1.0))
        backend.apply([PatchSweep(sweep.id, {"meta": sign(4e9)}, 4e9)])  # it is restored
        alive = backend.sweep(sweep.id)
        ask(backend, alive, "pause", {})
        assert reported(backend, alive)["reason"] == ""
    assert not is_reported(Sweep(id="b"))


def test_what_is_gone_can_be_ended_and_comes_back(tmp_path):
    with open_backend(str(tmp_path / "sweeps.db")) as backend:
        sweep = backend.create_sweep({}, meta={**META, **sign(1.0)})
        runs = [Run(id=name, sweep_id=sweep.id, state="running") for name in ("a", "b")]
        backend.apply([*map(PutRun, runs), PatchRun("b", {"state": "finished"}, 2.0)])
        ask(backend, backend.sweep(sweep.id), "cancel", {})
        ended = backend.sweep(sweep.id)
        assert (ended.state, ended.message) == (
            "canceled", f"canceled by command: {unheard_words(1.0)}",
        )  # fmt: skip
        assert {run.id: run.state for run in backend.runs(sweep.id)} == {
            "a": "crashed", "b": "finished",
        }  # fmt: skip
        assert backend.run("a").message == f"its experiment was {unheard_words(1.0)}"
        with pytest.raises(InputError, match="is over"):
            ask(backend, ended, "cancel", {})
        # It was there all the time, and its place is back: what it said meanwhile counts.
        later = sweep.updated_at + 1
        backend.apply([
            PatchRun("a", {"state": "finished"}, later, reopen=True),
            PatchSweep(sweep.id, {"state": "finished"}, later, reopen=True),
        ])  # fmt: skip
        assert (backend.run("a").state, backend.sweep(sweep.id).state) == ("finished",) * 2
