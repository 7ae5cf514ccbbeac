"""What the log of a sweep says of a run."""

from __future__ import annotations

from tune_bridge.backends.base import LogEvents, PutRun, PutSweep, Run, Sweep
from tune_bridge.server.run_life import Change, Decision, Logs, life_of

RUN = Run(id="a", sweep_id="s", created_at=1.0, started_at=2.0)
EXPLOIT = {
    "action": "exploit",
    "run": "a",
    "donor": "b",
    "reason": "in the worst 25%",
    "old": {"lr": 0.1, "net": {"depth": 2}, "same": 1},
    "new": {"lr": 0.2, "net": {"depth": 3}, "same": 1},
    "info": {"steps": [2, 4], "donor_config": {"lr": 0.3}},
}
EVENTS = [
    {"event": "claim", "agent": "x", "host": "gpu-1", "time": 2.0, "did": [
        {"answer": "start", "run": "a", "config": {}},
    ]},
    {"event": "tell", "run": "b", "result": {"loss": 1.0}, "time": 3.0},
    {"event": "tell", "run": "a", "result": {"loss": 2.0, "training_iteration": 3}, "time": 4.0,
     "checkpoint": "c1", "did": [EXPLOIT]},
    {"event": "end", "run": "a", "attempt": 1, "state": "killed", "time": 5.0},
    {"event": "claim", "agent": "y", "host": "gpu-2", "time": 6.0, "did": [
        {"answer": "resume", "run": "a", "config": {}},
    ]},
    {"event": "end", "run": "a", "state": "failed", "message": "boom\nmore", "exit_code": 3,
     "time": 7.0},
    {"event": "command", "verb": "retry", "args": {"runs": ["a"]}, "time": 8.0},
]  # fmt: skip


def place(backend, events=EVENTS, **run) -> Run:
    made = Run(id="a", sweep_id="s", created_at=1.0, **run)
    backend.apply([PutSweep(Sweep(id="s", created_at=1.0)), PutRun(made)])
    backend.apply([LogEvents("s", 0, events, 8.0)])
    return backend.run("a")


def test_the_life_of_a_run_that_agents_had(backend) -> None:
    logs = Logs(backend)
    life = logs.life(place(backend))
    assert [(one.time, one.what, one.text) for one in life.moments] == [
        (1.0, "created", ""),
        (2.0, "started", "on gpu-1"),
        (4.0, "checkpoint", "c1"),
        (4.0, "perturbed", "in the worst 25%"),
        (5.0, "left", "its program was ended"),
        (6.0, "resumed", "on gpu-2, attempt 2"),
        (7.0, "ended", "failed: boom (exit code 3)"),
        (8.0, "command", "retry"),
    ]
    assert [(one.id, one.iteration) for one in life.saved] == [("c1", 3)]
    assert [(c.key, c.old, c.new, c.donor, c.iteration) for c in life.changes] == [
        ("lr", 0.1, 0.2, "b", 3),
        ("net.depth", 2, 3, "b", 3),
    ]
    assert life.decision is None


def test_each_event_is_read_once(backend, monkeypatch) -> None:
    run = place(backend)
    logs, asked = Logs(backend), []
    read = backend.events
    monkeypatch.setattr(
        backend, "events", lambda sweep, **how: asked.append(how["first"]) or read(sweep, **how)
    )
    first = logs.of(run)
    backend.apply([LogEvents("s", len(EVENTS), [{"event": "lost", "run": "a", "time": 9.0}], 9.0)])
    assert [event["event"] for event in logs.of(run)[len(first) :]] == ["lost"]
    assert asked == [0, 7, 7, 8]
    assert logs.of(Run(id="other", sweep_id="s")) == []


def test_the_decision_of_a_scheduler(backend) -> None:
    stop = {
        "action": "stop",
        "run": "a",
        "reason": "loss 2 is worse than 1, the best 1/3 at training_iteration 9 (rank 7 of 12)",
        "info": {
            "time_attr": "training_iteration", "time": 9, "metric": "loss", "value": 2.0,
            "rung": 9, "cutoff": 1.0, "rank": 7, "of": 12, "rule": "AsyncHyperBandScheduler",
        },
    }  # fmt: skip
    events = [{"event": "decision", "run": "a", "step": 9, "time": 4.0, "did": [stop]}]
    run = place(backend, events, stopped_early=True, state="finished", message="ignored")
    decision = Logs(backend).life(run).decision
    assert decision is not None
    assert decision.sentence() == (
        "Ended by ASHA at training_iteration 9: loss 2 is worse than 1, the best 1/3 at "
        "training_iteration 9 (rank 7 of 12)."
    )
    assert decision.facts() == [
        ("Rung", "9"), ("Its value", "2"), ("Cut-off", "1"), ("Rank", "7 of 12")
    ]  # fmt: skip


def test_without_a_log_the_run_says_what_it_can() -> None:
    early = Run(
        id="a", sweep_id="s", created_at=1.0, started_at=2.0, ended_at=3.0, state="finished",
        stopped_early=True, message="hyperband: loss 2 is worse than 1",
        meta={"stopped_by": {"rule": "hyperband", "rung": 4, "cutoff": 1.0}, "host": "h"},
    )  # fmt: skip
    life = life_of(early, ())
    assert life.decision == Decision(
        3.0, "hyperband", "loss 2 is worse than 1", {"rung": 4, "cutoff": 1.0}
    )
    assert life.decision.sentence() == "Ended by W&B's hyperband: loss 2 is worse than 1."
    assert [(one.what, one.text) for one in life.moments] == [
        ("created", ""),
        ("started", "on h"),
        ("ended", "finished: hyperband: loss 2 is worse than 1"),
    ]
    lineage = [
        {"step": 0, "config": {"lr": 1}},
        {"step": 5, "config": {"lr": 2}, "time": 4.0, "donor": "b"},
        {"step": 9, "config": {"lr": 2}, "time": 5.0, "donor": "c"},
    ]
    copied = Run(id="a", sweep_id="s", meta={"lineage": lineage})
    assert life_of(copied, ()).changes == [
        Change(4.0, 5, None, "lr", 1, 2, "b"),
        Change(5.0, 9, None, "", None, None, "c"),
    ]
    assert life_of(Run(id="a", sweep_id="s", meta={"lineage": "text"}), ()).changes == []


def test_the_life_of_a_trial_of_tune(backend) -> None:
    events = [
        {"event": "started", "run": "a", "step": 0, "time": 2.0},
        {"event": "paused", "run": "a", "step": 3, "time": 3.0},
        {"event": "exploit", "run": "a", "step": 3, "time": 4.0, "did": [EXPLOIT]},
        {"event": "resumed", "run": "a", "step": 3, "time": 4.0},
        {"event": "recovered", "run": "a", "step": 4, "failures": 1, "error": "E: x", "time": 5.0},
        {"event": "ended", "run": "a", "step": 6, "state": "finished", "time": 6.0},
    ]
    life = Logs(backend).life(place(backend, events))
    assert [(one.what, one.text) for one in life.moments] == [
        ("created", ""),
        ("started", ""),
        ("paused", "at step 3"),
        ("perturbed", "in the worst 25%"),
        ("resumed", "at step 3"),
        ("retried", "attempt 1 failed: E: x"),
        ("ended", "finished"),
    ]
    assert {change.step for change in life.changes} == {3}
