"""The controller, law by law."""

from __future__ import annotations

import math

import msgspec
import pytest

from tests.controller.world import LEASE, World
from tune_bridge.backends.base import Row
from tune_bridge.controller import Controller
from tune_bridge.controller.snapshots import Snapshots
from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.wire import Claim, Idle, Over, Verdict

CONFIG = {
    "method": "random",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}},
    "run_cap": 4,
}


@pytest.fixture
def make(tmp_path):
    worlds = []

    def world(config=None, **settings) -> World:
        folder = tmp_path / str(len(worlds))
        folder.mkdir()
        worlds.append(World(folder, {**CONFIG, **(config or {})}, check=True, **settings))
        return worlds[-1]

    yield world
    for each in worlds:
        each.close()


def told(world: World) -> list[dict]:
    """What the engine was told of results."""
    events = world.backend.events(world.id)
    return [event["result"] for event in events if event["event"] == "tell"]


def test_a_sweep_from_its_first_run_to_its_end(make):
    world = make()
    world.drain()
    runs = world.backend.runs(world.id)
    assert [run.name for run in runs] == ["run-1", "run-2", "run-3", "run-4"]
    assert {(run.state, run.rows) for run in runs} == {("finished", 3)}
    assert runs[0].meta["agent"].startswith("agent-")
    assert world.backend.sweep(world.id).state == "finished"
    assert "all 4 runs" in world.backend.sweep(world.id).message


def test_a_lost_run_goes_to_another_agent_once(make):
    world = make()
    one, two, three, *_ = world.agents
    claim = world.claim(one)
    world.report(one, {"loss": 1.0}, checkpoint=True)
    world.wait(LEASE + 1)
    assert world.backend.run(claim.run).state == "pending"
    again = world.claim(two)
    assert (again.run, again.attempt, again.first_step) == (claim.run, 2, 1)
    assert again.checkpoint.id == "c1"
    assert world.claim(three).run != claim.run
    assert world.report(one, {"loss": 0.5}).kind == "kill"
    world.end(one, "finished")
    assert world.sweep.state.runs[claim.run].status == "running"
    world.end(two, "finished")
    assert world.backend.run(claim.run).state == "finished"


def test_silence_for_less_than_a_lease_is_no_loss(make):
    world = make()
    one, two, *_ = world.agents
    claim = world.claim(one)
    for _ in range(5):
        world.wait(LEASE - 1)
        assert not world.sweep.state.runs[claim.run].missing
        world.heartbeat(one)
    world.wait(LEASE - 1)
    world.sweep.seen([claim.run])  # it has arrived, and waits for its turn
    world.wait(LEASE - 1)
    assert world.claim(two).run != claim.run


def test_a_free_agent_takes_one_lost_run_and_the_others_may_be_found(make):
    world = make(concurrency=2)
    one, two, three, _ = world.agents
    first, second = world.claim(one), world.claim(two)
    world.wait(LEASE + 1)
    given = world.claim(three)  # both are lost, and one of them is taken back
    (left, agent), old = ((second, two), one) if given.run == first.run else ((first, one), two)
    assert world.sweep.state.runs[left.run].missing
    assert world.report(agent, {"loss": 0.25}).kind == "continue"
    assert world.report(old, {"loss": 0.5}).kind == "kill"
    world.end(agent, "finished")
    assert world.backend.run(left.run).state == "finished"
    world.drain()
    assert {run.state for run in world.sweep.state.runs.values()} == {"finished"}


def test_an_agent_that_comes_back_in_time_keeps_its_run(make):
    world = make()
    one, two, *_ = world.agents
    claim = world.claim(one)
    world.wait(LEASE + 1)
    world.heartbeat(one)
    assert one.verdict.kind == "continue"
    assert world.backend.run(claim.run).state == "running"
    assert world.claim(two).run != claim.run


def test_a_repeated_claim_brings_an_agent_back(make):
    world = make()
    one, two, *_ = world.agents
    world.claim(one, arrives=False)
    world.wait(LEASE + 1)
    claim = world.claim(one)
    assert claim.attempt == 1
    assert world.claim(two).run != claim.run


def test_too_many_losses_are_a_crash_and_a_late_result_is_welcome(make):
    world = make(max_lost=0)
    one, *_ = world.agents
    claim = world.claim(one)
    world.report(one, {"loss": 1.0})
    world.wait(LEASE + 1)
    assert world.backend.run(claim.run).state == "crashed"
    assert world.report(one, {"loss": 0.5}).kind == "continue"
    world.heartbeat(one)
    assert one.verdict.kind == "continue"
    world.end(one, "finished")
    run = world.backend.run(claim.run)
    assert (run.state, run.rows, run.summary["loss"]) == ("finished", 2, 0.5)


def test_the_limit_counts_runs_that_somebody_has(make):
    world = make(concurrency=1)
    one, two, *_ = world.agents
    claim = world.claim(one)
    assert isinstance(world.claim(two), Idle)
    world.wait(LEASE + 1)  # the only run that may be is of an agent that is gone
    assert world.claim(two).run == claim.run


def test_a_failed_program_is_started_again(make):
    world = make(max_failures=1)
    one, *_ = world.agents
    claim = world.claim(one)
    world.end(one, "failed")
    again = world.claim(one)
    assert (again.run, again.attempt) == (claim.run, 2)
    world.end(one, "failed")
    assert world.backend.run(claim.run).state == "failed"
    assert world.claim(one).run != claim.run


def test_a_host_whose_programs_fail_is_quarantined(make):
    world = make({"run_cap": 9}, quarantine=3)
    one, two, _, other = world.agents
    assert (one.host, other.host) == ("host-0", "host-0")
    for agent in (one, other):
        world.claim(agent)
        world.end(agent, "failed")
    world.claim(one)
    world.end(one, "finished")  # not in a row
    for _ in range(3):
        world.claim(one)
        world.end(one, "failed")
    answer = world.claim(other)
    assert isinstance(answer, Over)
    assert "host-0 gets no more runs: 3 in a row" in answer.reason
    assert world.backend.sweep(world.id).message == answer.reason
    assert isinstance(world.claim(two), Claim)
    world.command("release", host="host-0")
    assert isinstance(world.claim(other), Claim)
    with pytest.raises(NotFoundError, match="host-9"):
        world.command("release", host="host-9")


def test_retry_by_command(make):
    world = make()
    one, two, *_ = world.agents
    first, second = world.claim(one), world.claim(two)
    world.end(one, "failed")
    world.end(two, "finished")
    with pytest.raises(InputError, match="has not failed"):
        world.command("retry", runs=[second.run])
    assert world.command("retry") == [first.run]
    assert world.claim(one).run == first.run


def test_a_finished_sweep_opens_for_more(make):
    world = make()
    world.drain()
    assert isinstance(world.claim(world.agents[0]), Over)
    with pytest.raises(InputError, match="over"):
        world.command("resume")
    world.most = 6
    world.command("run_cap", number=5)
    assert world.backend.sweep(world.id).state == "running"
    run = world.command("enqueue", config={"x": 0.5})
    assert world.claim(world.agents[0]).run == run
    world.drain()
    assert len(world.sweep.state.runs) >= 5


def test_nan_reaches_the_engine_and_missing_metrics_do_not(make):
    world = make()
    one, *_ = world.agents
    world.claim(one)
    world.report(one, {"loss": math.nan})
    world.report(one, {"accuracy": 1.0})
    assert len(told(world)) == 1
    world.restart()
    world.report(one, {"loss": 0.5})
    assert math.isnan(told(world)[0]["loss"])
    assert told(world)[1] == {"accuracy": 1.0, "loss": 0.5}


def test_a_checkpoint_that_came_alone_survives_a_restart(make):
    world = make()
    one, *_ = world.agents
    world.claim(one)
    world.report(one, {"accuracy": 1.0}, checkpoint=True)
    world.restart()
    world.report(one, {"loss": 0.5})
    event = world.backend.events(world.id)[-1]
    assert (event["event"], event["checkpoint"]) == ("tell", "c1")


def test_stop_ends_with_the_last_running_run(make):
    world = make()
    one, two, *_ = world.agents
    world.claim(one)
    world.command("stop")
    assert isinstance(world.claim(two), Over)
    assert world.sweep.state.gate == "stopping"
    world.end(one, "finished")
    assert world.sweep.state.gate == "finished"


def test_cancel_ends_all_now(make):
    world = make()
    one, two, *_ = world.agents
    claim = world.claim(one)
    world.command("cancel")
    world.heartbeat(one)
    assert one.verdict == Verdict("kill", "canceled by command")
    assert isinstance(world.claim(two), Over)
    world.end(one, "killed")
    assert world.backend.run(claim.run).state == "killed"
    assert world.backend.sweep(world.id).state == "canceled"
    for verb, args in (("retry", {}), ("resume", {}), ("enqueue", {"config": {"x": 0.5}})):
        with pytest.raises(InputError, match="canceled"):
            world.command(verb, **args)


def test_stop_one_run(make):
    world = make()
    one, *_ = world.agents
    claim = world.claim(one)
    world.report(one, {"loss": 0.5})
    world.command("stop_run", run=claim.run)
    assert world.report(one, {"loss": 0.4}).kind == "stop"
    world.end(one, "killed")
    run = world.backend.run(claim.run)
    assert (run.state, run.stopped_early) == ("finished", True)
    with pytest.raises(InputError, match="over"):
        world.command("stop_run", run=claim.run)
    with pytest.raises(NotFoundError):
        world.command("stop_run", run="nosuch00")


def test_what_was_not_written_was_not_answered(make):
    world = make()
    one, *_ = world.agents
    for how in ("before", "after"):
        world.backend.fails = how
        assert world.claim(one) is None
        claim = world.claim(one)
        assert len(world.sweep.state.runs) == len(world.backend.runs(world.id))
        world.backend.fails = how
        assert world.report(one, {"loss": 0.5}) is None
        assert world.repeat(one).kind == "continue"
        assert world.backend.run(claim.run).rows == 1
        world.backend.fails = how
        world.end(one, "finished")
        world.end(one, "finished")
        assert world.backend.run(claim.run).state == "finished"
    assert len(told(world)) == 2


def test_values_that_cannot_be_kept_change_nothing(make):
    world = make()
    one, *_ = world.agents
    claim = world.claim(one)
    with pytest.raises(InputError):
        world.sweep.report(claim.run, 1, 0, [Row(0, 1.0, {"loss": object()})])
    assert world.report(one, {"loss": 0.5}).kind == "continue"
    assert told(world) == [{"loss": 0.5}]


def test_an_engine_that_breaks_ends_the_sweep_clearly(make, monkeypatch):
    world = make()
    one, two, *_ = world.agents
    claim = world.claim(one)
    world.check = False
    broken_from(monkeypatch, world, world.now + 1)
    world.wait(2.0)
    with pytest.raises(InputError, match="ZeroDivisionError"):
        world.sweep.claim(two.name, two.host, "x")
    assert isinstance(world.claim(two), Over)
    world.heartbeat(one)
    assert one.verdict.kind == "kill"
    world.end(one, "killed")
    sweep = world.backend.sweep(world.id)
    assert sweep.state == "failed"
    assert "ZeroDivisionError" in sweep.message
    assert world.backend.run(claim.run).state == "killed"


def test_a_log_that_cannot_be_followed_is_left_alone(make, monkeypatch):
    world = make()
    world.claim(world.agents[0])
    with monkeypatch.context() as patch:
        broken_from(patch, world, 0.0)
        with pytest.raises(InputError, match="ZeroDivisionError"):
            world.restart()
    world.restart()  # with a library that works again
    world.drain()


def broken_from(patch, world: World, limit: float) -> None:
    """An engine that fails at a bug of its library from some time on."""
    kind = type(world.sweep._fold.engine)
    original = kind.ask

    def ask(self, *, time):
        return original(self, time=time) if time <= limit else 1 / 0

    patch.setattr(kind, "ask", ask)


def test_two_controllers_do_not_mix(make):
    world = make()
    one, two, *_ = world.agents
    other = Controller(world.backend, clock=lambda: world.now).sweep(world.id)
    mine = world.claim(one)
    assert world.claim(two) is not None
    # The other one knows nothing of that: what it decides is refused, and it reads again.
    from tune_bridge.errors import ConflictError

    with pytest.raises(ConflictError):
        other.claim("x", "h", "1")
    theirs = other.claim("x", "h", "1")
    assert theirs.run not in (mine.run, two.claim.run)


def test_a_snapshot_of_another_log_is_not_used(make):
    world = make()
    world.claim(world.agents[0])
    world.controller.close()
    files = list((world.folder / "snapshots").iterdir())
    assert len(files) == 1
    files[0].write_bytes(b"damaged")
    world.restart()
    assert len(world.sweep.state.runs) == 1
    files[0].chmod(0o666)
    world.restart()
    assert len(world.sweep.state.runs) == 1


def test_a_snapshot_that_knows_more_than_the_log_is_not_used(make):
    world = make()
    world.claim(world.agents[0])
    world.controller.close()
    snapshots = Snapshots(world.folder / "snapshots")
    snapshot = snapshots.read(world.id, about=world.sweep._about)
    assert snapshot.events == world.sweep.count == 1
    snapshots.write(world.id, msgspec.structs.replace(snapshot, events=2))
    world.restart()
    assert world.sweep.count == len(world.backend.events(world.id)) == 1


def test_a_start_reads_only_what_came_after_the_snapshot(make, monkeypatch):
    monkeypatch.setattr("tune_bridge.controller.sweep._REDONE", 0.0)
    monkeypatch.setattr("tune_bridge.controller.sweep._SHARE", 0)  # one is due after each event
    world = make()
    for agent in world.agents:
        world.claim(agent)
    before, asked = world.sweep.state, []
    events = world.backend.events

    def spy(sweep_id, *, first=0, limit=None):
        asked.append(first)
        return events(sweep_id, first=first, limit=limit)

    monkeypatch.setattr(world.backend, "events", spy)
    again = Controller(world.backend, world.folder / "snapshots").sweep(world.id)
    assert asked == [len(world.agents) - 1]
    assert (again.state, again.count) == (before, len(world.agents))


def test_listeners_hear_of_changes(make):
    world = make()
    heard = []
    stop = world.sweep.listen(lambda: heard.append(1))
    one, *_ = world.agents
    world.sweep.claim(one.name, one.host, "1")
    assert heard
    stop()
    heard.clear()
    world.sweep.claim(one.name, one.host, "2")
    assert not heard


@pytest.mark.parametrize(
    "more",
    [
        {"controller": {"type": "local"}, "early_terminate": {"type": "hyperband", "min_iter": 1}},
        {"scheduler": {"engine": "wandb"}},
        {"method": "custom"},
    ],
)
def test_a_sweep_that_is_steered_from_outside_waits_for_it(make, more):
    world = make({**more, "run_cap": 3})
    assert isinstance(world.claim(world.agents[0]), Idle)
    first = world.sweep.command("enqueue", config={"x": 1})
    second = world.sweep.command(
        "enqueue", config={"x": 7.0, "more": [1]}
    )  # does not fit: so be it
    assert [(run.id, run.state) for run in world.backend.runs(world.id)] == [
        (first, "pending"), (second, "pending"),
    ]  # fmt: skip
    claims = [world.claim(agent) for agent in world.agents[:3]]
    assert [claim.config for claim in claims[:2]] == [{"x": 1.0}, {"x": 7.0, "more": [1]}]
    assert isinstance(claims[0].config["x"], float), "as the space types it"
    assert isinstance(claims[2], Idle)
    for agent in world.agents[:2]:
        for loss in (9.0, 9.0, 9.0):
            assert world.report(agent, {"loss": loss}).kind == "continue"
        world.end(agent, "finished")
    assert world.backend.sweep(world.id).state == "running", "nothing to do is no end of it"
    waiting = world.sweep.command("enqueue", config={"x": 0.5})
    world.sweep.command("stop")
    assert world.backend.run(waiting).state == "killed"
    assert world.backend.sweep(world.id).state == "finished"
    assert isinstance(world.sweep.claim("a", "h", "r"), Over)


def test_an_enqueued_run_is_there_before_anybody_has_it(make):
    world = make()
    mine = world.sweep.command("enqueue", config={"x": 0.25})
    assert (world.backend.run(mine).state, world.backend.run(mine).config) == (
        "pending", {"x": 0.25},
    )  # fmt: skip
    world.drain()
    assert len(world.backend.runs(world.id)) == 4, "it counts for the cap"
    assert world.backend.run(mine).state == "finished"
