"""Tune's schedulers under the controller: runs that pause, go on, and start as copies of others."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("ray")

from tests.controller.world import LEASE, World
from tests.engines.agents import SCHEDULERS, experiment, loss
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.wire import Claim

pytestmark = pytest.mark.slow


class Curves(World):
    """Runs whose loss falls with the iterations."""

    def result(self, agent):
        return {"loss": loss(agent.claim.config, agent.step)}


@pytest.fixture
def make(tmp_path):
    worlds = []

    def world(name: str, count: int, **more) -> World:
        config = dict(SweepConfig.from_experiment(experiment(SCHEDULERS[name], count)))
        worlds.append(Curves(tmp_path, {**config, "run_cap": count}, **more))
        return worlds[-1]

    yield world
    for each in worlds:
        each.close()


@pytest.mark.parametrize("name", ["resources", "hyperband", "median", "pbt", "pbt_synch", "pb2"])
def test_whatever_happens_every_run_comes_to_its_end(make, name):
    draws = random.Random(11)
    count = 9
    world = make(name, count, agents=5, max_lost=100)
    for number in range(400):
        agent = draws.choice(world.agents)
        luck = draws.random()
        if luck < 0.03:
            world.vanish(agent)
        elif luck < 0.05:
            world.claim(agent, arrives=False)
        elif luck < 0.07 and agent.last is not None:
            world.repeat(agent)
        elif luck < 0.08:
            world.backend.fails = draws.choice(["before", "after"])
        elif luck < 0.09:
            world.restart(snapshot=draws.random() < 0.5)
        else:
            world.work(agent, reports=9)
        if number % 20 == 0:
            world.wait(draws.choice([1.0, LEASE / 2]))
            world.check_always()
            for other in world.agents:
                world.heartbeat(other)
    world.check_restart()
    world.drain()
    runs = world.sweep.state.runs
    assert len(runs) == count
    assert {run.state for run in runs.values()} == {"finished"}


def test_a_paused_run_goes_on_from_its_checkpoint(make):
    world = make("pbt", 4, agents=4)
    paused = exploited = 0
    for _ in range(200):
        for agent in world.agents:
            before = agent.claim
            world.work(agent, reports=9)
            if agent.verdict.kind == "pause":
                paused += 1
            claim = agent.claim
            if before is None and isinstance(claim, Claim) and claim.attempt > 1:
                assert claim.checkpoint is not None
                assert world.saved[claim.checkpoint.id] == claim.checkpoint.run
                exploited += claim.checkpoint.run != claim.run
                assert world.backend.run(claim.run).config == claim.config
    assert paused
    assert exploited
    world.drain()


def test_a_run_may_be_wanted_while_its_agent_still_leaves(make):
    """Nobody else runs: it is wanted again before its agent has ended it, and never has two."""
    world = make("pbt", 2, agents=3)
    one, two, three = world.agents
    world.work(one)
    world.work(two)
    for _ in range(12):
        for agent in (one, two):
            if agent.claim is not None and agent.verdict.kind == "continue":
                world.report(agent, world.result(agent), checkpoint=True)
    leaving = [run for run in world.sweep.state.runs.values() if run.status == "leaving"]
    assert leaving
    given = world.claim(three)
    assert not isinstance(given, Claim) or given.run not in [run.id for run in leaving]
    assert world.sweep.state.runs[leaving[0].id].status == "leaving"
    world.restart()
    for agent in (one, two):
        if agent.claim is not None:
            world.end(agent, "killed")
    assert isinstance(world.claim(three), Claim)
    world.check_restart()
    world.drain()


def test_programs_that_cannot_checkpoint_are_refused_at_once(make):
    world = make("pbt", 4)
    agent = world.agents[0]
    claim = world.claim(agent)
    from tune_bridge.backends.base import Row

    verdict = world.sweep.report(claim.run, 1, 0, [Row(0, 1.0, {"loss": 1.0})])
    assert verdict.kind == "kill"
    assert "run.save_checkpoint" in verdict.reason
    assert world.backend.sweep(world.id).state == "failed"
