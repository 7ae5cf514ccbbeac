"""A sweep whose engine thinks for long keeps nobody from the others."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.server.wandb.test_wire import CONFIG, Wire

MANY = 40
"""More than the server has threads."""


@pytest.fixture
def wire(tmp_path):
    made = Wire(tmp_path)
    with contextlib.closing(made.backend), made.http:
        yield made


def test_programs_and_agents_of_a_slow_sweep_take_no_threads_from_others(wire):
    slow, quick = wire.sweep(CONFIG + "name: slow\n"), wire.sweep(CONFIG + "name: quick\n")
    agent, other = wire.agent(slow), wire.agent(quick)
    (command,) = wire.beat(agent)
    name = command["run_id"]
    wire.upsert(name, sweep=slow)
    sweep = wire.controller.sweep(slow)
    with ThreadPoolExecutor(MANY + 1) as pool:
        with sweep.lock:  # as while it asks its engine
            beats = [pool.submit(wire.beat, agent, name) for _ in range(MANY // 2)]
            rows = [
                pool.submit(wire.rows, {"loss": n}, offset=n, run=name) for n in range(MANY // 2)
            ]
            seen = sweep.seen_at(name)
            (command,) = pool.submit(wire.beat, other).result(60)
            assert command["type"] == "run"
            assert wire.upsert(command["run_id"], sweep=quick)["inserted"] is False
            assert not any(each.done() for each in beats)
        assert all(each.result(60) == [] for each in beats)
        assert all(each.result(60).status_code == 200 for each in rows)
    assert sweep.seen_at(name) >= seen
    assert wire.beat(agent, name) == []
