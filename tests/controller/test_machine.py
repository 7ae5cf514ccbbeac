"""The controller under everything that can happen, in any order."""

from __future__ import annotations

import math
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.controller.world import LEASE, World
from tune_bridge.errors import InputError

SPACE = {"x": {"min": 0.0, "max": 1.0}, "kind": {"values": ["a", "b"]}}
METRIC = {"name": "loss", "goal": "minimize"}
RANDOM = {"method": "random", "metric": METRIC, "parameters": SPACE, "run_cap": 8}
HYPERBAND = {
    **RANDOM,
    "early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 2},
    "run_cap": 10,
}
GRID = {"method": "grid", "metric": METRIC, "parameters": {
    "x": {"values": [0.1, 0.2, 0.3]}, "kind": {"values": ["a", "b"]}}, "run_cap": 6}  # fmt: skip

numbers = st.integers(0, 3)
losses = st.sampled_from([0.1, 0.5, 2.0, math.nan, math.inf])
arrives = st.booleans()


class Machine(RuleBasedStateMachine):
    """One sweep, four agents."""

    config = RANDOM

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name), self.config, max_failures=1, quarantine=4)

    def teardown(self) -> None:
        try:
            self.world.check_restart()
            self.world.drain()
        finally:
            self.world.close()
            self.folder.cleanup()

    @rule(number=numbers, arrives=arrives)
    def claim(self, number: int, arrives: bool) -> None:
        self.world.claim(self.world.agents[number], arrives=arrives)

    @rule(number=numbers, loss=losses, checkpoint=st.booleans(), arrives=arrives)
    def report(self, number: int, loss: float, checkpoint: bool, arrives: bool) -> None:
        agent = self.world.agents[number]
        if agent.claim is not None:
            self.world.report(agent, {"loss": loss}, checkpoint=checkpoint, arrives=arrives)

    @rule(number=numbers, checkpoint=st.booleans())
    def report_without_the_metric(self, number: int, checkpoint: bool) -> None:
        agent = self.world.agents[number]
        if agent.claim is not None:
            self.world.report(agent, {"accuracy": 0.5}, checkpoint=checkpoint)

    @rule(number=numbers, arrives=arrives)
    def preempt(self, number: int, arrives: bool) -> None:
        agent = self.world.agents[number]
        if agent.claim is not None:
            self.world.end(agent, "crashed", arrives=arrives, preempted=True)

    @rule(number=numbers)
    def repeat(self, number: int) -> None:
        agent = self.world.agents[number]
        if agent.last is not None:
            before = len(self.world.backend.events(self.world.id))
            self.world.repeat(agent)
            self.world.repeat(agent)
            assert len(self.world.backend.events(self.world.id)) <= before + 2

    @rule(
        number=numbers,
        state=st.sampled_from(["finished", "finished", "failed", "crashed", "killed"]),
        arrives=arrives,
    )
    def end(self, number: int, state: str, arrives: bool) -> None:
        agent = self.world.agents[number]
        if agent.claim is not None:
            self.world.end(agent, state, arrives=arrives)

    @rule(number=numbers)
    def obey(self, number: int) -> None:
        agent = self.world.agents[number]
        if agent.claim is not None and agent.verdict.kind != "continue":
            self.world.end(agent, "killed")

    @rule(number=numbers)
    def heartbeat(self, number: int) -> None:
        self.world.heartbeat(self.world.agents[number])

    @rule(number=numbers)
    def vanish(self, number: int) -> None:
        self.world.vanish(self.world.agents[number])

    @rule(seconds=st.sampled_from([0.0, 1.0, LEASE / 2, LEASE + 1]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule(snapshot=st.booleans())
    def restart(self, snapshot: bool) -> None:
        self.world.restart(snapshot=snapshot)

    @rule(how=st.sampled_from(["before", "after"]))
    def fail(self, how: str) -> None:
        self.world.backend.fails = how

    @rule(verb=st.sampled_from(["pause", "resume", "retry"]))
    def command(self, verb: str) -> None:
        self._command(verb)

    @rule(x=st.sampled_from([0.25, 7.0]))
    def enqueue(self, x: float) -> None:
        self.world.most += 1
        self._command("enqueue", config={"x": x, "kind": "a"})

    @rule(number=st.sampled_from([1, 2, None]))
    def concurrency(self, number: int | None) -> None:
        self._command("concurrency", number=number)

    @rule(number=st.integers(1, 12))
    def run_cap(self, number: int) -> None:
        self.world.most = max(self.world.most, number)
        self._command("run_cap", number=number)

    @precondition(lambda self: self.world.sweep.state.runs)
    @rule(data=st.data())
    def stop_run(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(list(self.world.sweep.state.runs)))  # ids are random
        self._command("stop_run", run=run)

    @precondition(lambda self: len(self.world.sweep.state.runs) > 4)
    @rule(verb=st.sampled_from(["stop", "cancel"]))
    def finish(self, verb: str) -> None:
        self._command(verb)

    def _command(self, verb: str, **args: object) -> None:
        try:
            self.world.command(verb, **args)
        except InputError:
            self.world.check_restart()

    @invariant()
    def always(self) -> None:
        self.world.check_always()


class HyperbandMachine(Machine):
    config = HYPERBAND


class GridMachine(Machine):
    config = GRID


# Shrinking such a run takes minutes; its steps are printed, and few enough to be read.
EXAMPLES = settings(
    max_examples=15,
    stateful_step_count=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    report_multiple_bugs=False,
)
TestRandom = Machine.TestCase
TestRandom.settings = EXAMPLES
TestHyperband = pytest.mark.slow(HyperbandMachine.TestCase)
TestHyperband.settings = EXAMPLES
TestGrid = pytest.mark.slow(GridMachine.TestCase)
TestGrid.settings = EXAMPLES


@pytest.mark.slow
def test_thousands_of_trials_with_agents_that_crash(tmp_path):
    draws = random.Random(5)
    world = World(tmp_path, {**HYPERBAND, "run_cap": 1500}, agents=200, max_lost=50)
    chaos = 20_000
    while chaos and world.sweep.state.gate == "open":
        chaos -= 1
        agent = draws.choice(world.agents)
        luck = draws.random()
        if luck < 0.01:
            world.vanish(agent)
        elif luck < 0.02:
            world.claim(agent, arrives=False)
        elif luck < 0.03 and agent.last is not None:
            world.repeat(agent)
        elif luck < 0.031:
            world.backend.fails = draws.choice(["before", "after"])
        elif luck < 0.0315:
            world.restart(snapshot=draws.random() < 0.5)
        else:
            world.work(agent)
        if chaos % 100 == 0:
            world.wait(draws.choice([1.0, LEASE / 3]))
            for other in world.agents:
                world.heartbeat(other)
    world.check_restart()
    world.drain(limit=100_000)
    assert len(world.sweep.state.runs) == 1500
    assert {run.state for run in world.sweep.state.runs.values()} <= {"finished", "crashed"}
    world.close()
