"""Agents that hang up while they are given a run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from tests.server.control_client import CONFIG
from tune_bridge.backends.local import LocalBackend
from tune_bridge.controller import Controller, SweepController
from tune_bridge.server.lane import Lane
from tune_bridge.wire import Claim, ClaimRequest, Idle, Over


@pytest.fixture
def sweep(backend: LocalBackend, tmp_path: Path) -> SweepController:
    controller = Controller(backend, tmp_path / "snapshots")
    return controller.sweep(controller.create({**CONFIG, "run_cap": 1}, seed=1).id)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs it in a thread of its own: this one has the browser's loop once a page was opened."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, main).result()


def asks(agent: str, request: str = "r") -> ClaimRequest:
    return ClaimRequest(agent, "host", request)


def test_a_run_is_back_at_once_when_its_agent_has_hung_up(sweep, pool, backend):
    async def main() -> None:
        lane = Lane(sweep, pool)
        here, gone = (asyncio.get_running_loop().create_future() for _ in range(2))
        gone.set_result(None)
        assert isinstance(await lane.claim(asks("one"), gone), Idle)
        (run,) = backend.runs(sweep.id)
        assert (run.state, run.message) == ("pending", "its agent hung up")
        claim = await lane.claim(asks("two"), here)
        assert isinstance(claim, Claim)
        assert (claim.run, claim.attempt, claim.checkpoint) == (run.id, 2, None)
        await lane.call(sweep.end, claim.run, 2, "finished")
        assert isinstance(await lane.claim(asks("two", "again"), here), Over)

    run(main())
    did = [each for event in backend.events(sweep.id) for each in event.get("did", ())]
    assert [each["answer"] for each in did] == ["start", "done"]  # the engine knows nothing of it


def test_an_agent_that_asks_again_on_another_line_keeps_its_run(sweep, pool):
    """The first line is gone, and what it was given is the same that the second one is."""

    async def main() -> None:
        lane = Lane(sweep, pool)
        here, gone = (asyncio.get_running_loop().create_future() for _ in range(2))
        first = asyncio.ensure_future(lane.claim(asks("one"), gone))
        second = asyncio.ensure_future(lane.claim(asks("one"), here))
        await asyncio.sleep(0)  # both have asked
        gone.set_result(None)
        one, two = await asyncio.gather(first, second)
        assert isinstance(two, Claim)
        assert (two.attempt, one) == (1, two)
        assert not lane._latest

    run(main())
    assert sweep.state.live
