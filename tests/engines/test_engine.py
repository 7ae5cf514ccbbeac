"""The hosted engine: order of calls, limits, books, retries, what is late."""

from __future__ import annotations

import math
import random
import subprocess
import sys

import numpy as np
import pytest

from tune_bridge.engines import make_engine, restore_engine, snapshots
from tune_bridge.engines.base import (
    Checkpoint,
    Done,
    Exploit,
    Pause,
    Resume,
    Start,
    Stop,
    StopAll,
    Wait,
)
from tune_bridge.engines.engine import HostedEngine
from tune_bridge.engines.native.fifo import Fifo
from tune_bridge.engines.parts import LATER, Proposal, Proposer
from tune_bridge.errors import InputError
from tune_bridge.experiment import Experiment, Objective
from tune_bridge.space import Choice, Constant, Group, Integers, Parameter, Uniform
from tune_bridge.values import Frozen

SPACE = Group(
    (
        ("lr", Parameter(Uniform(1e-4, 1e-1, scale="log"))),
        ("layers", Parameter(Integers(1, 4))),
        ("net", Group((("kind", Choice((Constant.of("a"), Constant.of("b")))),))),
        ("epochs", Constant.of(5)),
    )
)
LOSS = Objective("loss")


class Recorder(Proposer):
    """Proposes numbers and writes down what it is told."""

    def __init__(self, answers=None, foreign=False):
        self.log = []
        self.answers = answers
        self.foreign = foreign

    def propose(self, run):
        if self.answers is not None:
            answer = self.answers.pop(0) if self.answers else LATER
            if not isinstance(answer, dict):
                return answer
            return Proposal(answer)
        return Proposal({"x": random.random() if self.foreign else len(self.log)})

    def progress(self, run, result):
        self.log.append(("progress", run, dict(result)))

    def close(self, run, result, *, failed):
        self.log.append(("close", run, result, failed))

    def learn(self, run, config, result):
        self.log.append(("learn", run, config, result))

    def closed(self):
        return {entry[1]: entry[2:] for entry in self.log if entry[0] == "close"}


class Script(Fifo):
    """Answers what it is told to, and writes down what it is told."""

    def __init__(self, ahead=0):
        self.ahead = ahead
        self.next = ()
        self.chosen = None
        self.log = []
        self.due = ()

    def add(self, run, config):
        self.log.append(("add", run))

    def choose(self):
        chosen, self.chosen = self.chosen, None
        return chosen

    def start(self, run):
        self.log.append(("start", run))

    def judge(self, run, result, checkpoint):
        self.log.append(("judge", run, result, checkpoint))
        actions, self.next = self.next, ()
        return actions

    def pending(self):
        due, self.due = self.due, ()
        return due

    def finish(self, run, result):
        self.log.append(("finish", run))
        return ()

    def fail(self, run, *, retry):
        self.log.append(("fail", run, retry))
        return ()

    def remove(self, run):
        self.log.append(("remove", run))
        return ()

    def said(self, *kinds):
        return [entry[:2] for entry in self.log if entry[0] in kinds]


def hosted(experiment=None, proposer=None, judge=None, **more):
    return HostedEngine(
        experiment or Experiment(SPACE, objective=LOSS, num_samples=None),
        sweep_id="sweep",
        seed=1,
        proposer=proposer or Recorder(),
        judge=judge or Script(),
        **more,
    )


def start(engine, time=0.0):
    answer = engine.ask(time=time)
    assert isinstance(answer, Start), answer
    return answer.run


def test_results_are_complete_flat_and_plain():
    engine = hosted()
    run = start(engine, 10.0)
    engine.tell(run, {"loss": np.float32(0.5), "a": {"b": np.int64(3)}, "t": (1, 2)}, time=12.5)
    engine.tell(run, {"loss": float("nan")}, time=13.0)
    first, second = [entry[2] for entry in engine.proposer.log]
    assert first == {
        "loss": 0.5,
        "a/b": 3,
        "t": [1, 2],
        "training_iteration": 1,
        "time_this_iter_s": 2.5,
        "time_total_s": 2.5,
        "timestamp": 12,
        "trial_id": run,
        "done": False,
        "config": {"x": 0},
    }
    assert type(first["loss"]) is float
    assert type(first["a/b"]) is int
    assert (second["training_iteration"], second["time_total_s"]) == (2, 3.0)
    assert math.isnan(second["loss"])


def test_what_the_program_says_of_its_iterations_is_kept():
    engine = hosted()
    run = start(engine)
    engine.tell(run, {"loss": 1, "training_iteration": 7, "time_total_s": 100.0}, time=1.0)
    engine.tell(run, {"loss": 1}, time=2.0)
    engine.tell(run, {"loss": 1, "training_iteration": "many"}, time=3.0)
    found = [(e[2]["training_iteration"], e[2]["time_total_s"]) for e in engine.proposer.log]
    assert found == [(7, 100.0), (8, 101.0), (9, 102.0)]


def test_pause_and_resume_count_on_from_the_checkpoint():
    judge = Script()
    engine = hosted(judge=judge)
    run = start(engine)
    engine.tell(run, {"loss": 3}, time=1.0, checkpoint="c1")
    judge.next = (Pause(run, "others first"),)
    assert engine.tell(run, {"loss": 2}, time=3.0) == (Pause(run, "others first"),)
    assert engine.tell(run, {"loss": 9}, time=4.0) == ()  # late
    assert len(judge.said("judge")) == 2
    judge.chosen = run
    assert engine.ask(time=50.0) == Resume(run, {"x": 0}, Checkpoint("c1", run, 1, 1.0))
    engine.tell(run, {"loss": 1}, time=52.0)
    last = engine.proposer.log[-1][2]
    assert (last["training_iteration"], last["time_total_s"]) == (2, 3.0)


def test_a_checkpoint_may_come_alone_after_a_pause():
    judge = Script()
    engine = hosted(judge=judge)
    run = start(engine)
    judge.next = (Pause(run, "p"),)
    engine.tell(run, {"loss": 2}, time=3.0)
    engine.tell(run, {}, time=4.0, checkpoint="late")
    judge.chosen = run
    answer = engine.ask(time=5.0)
    assert answer.checkpoint == Checkpoint("late", run, 1, 3.0)


def test_an_exploit_takes_config_checkpoint_and_count_of_the_donor():
    judge = Script()
    engine = hosted(judge=judge)
    donor, run = start(engine), start(engine)
    for time in (1.0, 2.0, 3.0):
        engine.tell(donor, {"loss": 1}, time=time, checkpoint=f"d{time:g}")
    saved = Checkpoint("d3", donor, 3, 3.0)
    judge.next = (Exploit(run, donor, saved, {"x": 0}, {"x": 99}, "better"),)
    engine.tell(run, {"loss": 5}, time=4.0)
    judge.chosen = run
    assert engine.ask(time=9.0) == Resume(run, {"x": 99}, saved)
    engine.tell(run, {"loss": 4}, time=10.0)
    last = engine.proposer.log[-1][2]
    assert (last["training_iteration"], last["time_total_s"]) == (4, 4.0)
    assert last["config"] == {"x": 99}


def test_stop_criteria_come_before_the_judge():
    experiment = Experiment(
        SPACE, objective=LOSS, num_samples=None, stop=Frozen({"training_iteration": 2, "a/b": 5})
    )
    engine = hosted(experiment)
    one, two = start(engine), start(engine)
    assert engine.tell(one, {"loss": 1}, time=1.0) == ()
    (stop,) = engine.tell(one, {"loss": 0}, time=2.0)
    assert (stop.run, stop.info["key"]) == (one, "training_iteration")
    (stop,) = engine.tell(two, {"a": {"b": 6}, "loss": 4}, time=3.0)
    assert (stop.reason, stop.info["value"]) == ("a/b reached 5", 6)
    assert engine.judge.said("judge", "finish") == [
        ("judge", one),
        ("finish", one),
        ("finish", two),
    ]
    closed = engine.proposer.closed()
    assert closed[one][0]["loss"] == 0
    assert closed[one][0]["done"] is True
    assert engine.end(one, "finished", time=4.0) == ()  # it is over already
    assert len(engine.proposer.closed()) == 2


def test_a_program_can_say_that_it_is_done():
    engine = hosted()
    run = start(engine)
    (stop,) = engine.tell(run, {"loss": 1, "done": True}, time=1.0)
    assert stop.info["rule"] == "done"


def test_a_stop_of_the_judge_closes_the_run_once():
    engine = hosted()
    run, other = start(engine), start(engine)
    engine.tell(other, {"loss": 2}, time=1.0)
    engine.judge.next = (Stop(run, "worse"), Stop(other, "worse"), Stop(run, "again"))
    assert engine.tell(run, {"loss": 5}, time=1.0) == (Stop(run, "worse"), Stop(other, "worse"))
    assert {k: (v[0]["loss"], v[1]) for k, v in engine.proposer.closed().items()} == {
        run: (5, False),
        other: (2, False),
    }
    assert engine.judge.said("finish", "remove") == []
    assert ("progress", run) not in [e[:2] for e in engine.proposer.log]


@pytest.mark.parametrize(("goal", "good", "bad"), [("minimize", 0.1, 0.3), ("maximize", 0.9, 0.1)])
def test_the_target_ends_the_sweep(goal, good, bad):
    target = 0.2 if goal == "minimize" else 0.8
    engine = hosted(Experiment(SPACE, objective=Objective("loss", goal, target), num_samples=None))
    run, other = start(engine), start(engine)
    assert engine.tell(run, {"loss": bad}, time=1.0) == ()
    assert engine.tell(run, {"loss": math.nan}, time=1.0) == ()
    (action,) = engine.tell(run, {"loss": good}, time=2.0)
    assert action == StopAll(f"loss reached the target {target:g}")
    assert engine.tell(other, {"loss": good}, time=3.0) == ()
    assert engine.end(other, "failed", time=3.0, retry=True) == ()
    assert engine.ask(time=4.0) == Done(action.reason)
    with pytest.raises(InputError, match="has ended"):
        engine.enqueue({"lr": 0.01, "layers": 1, "net": {"kind": "a"}}, time=5.0)


def test_what_a_searcher_cannot_use_reaches_it_as_a_failure():
    engine = hosted()
    runs = [start(engine) for _ in range(6)]
    nan, missing, silent, failed, earlier, killed = runs
    engine.tell(nan, {"loss": math.nan}, time=1.0)
    engine.tell(missing, {"other": 1}, time=1.0)
    engine.tell(failed, {"loss": 1}, time=1.0)
    engine.tell(earlier, {"loss": 1}, time=1.0)
    engine.tell(earlier, {"other": 1}, time=1.0)
    engine.tell(killed, {"loss": 1}, time=1.0)
    for run in runs:
        engine.end(run, {failed: "failed", killed: "killed"}.get(run, "finished"), time=2.0)
    closed = engine.proposer.closed()
    assert {run: closed[run][1] for run in runs} == {
        nan: True,
        missing: True,
        silent: True,
        failed: True,
        earlier: False,
        killed: False,
    }
    assert closed[silent][0] is None
    assert closed[earlier][0]["loss"] == 1


def test_a_retry_goes_on_from_the_last_checkpoint():
    engine = hosted(Experiment(SPACE, objective=LOSS, num_samples=1), Recorder([{"x": 1}]))
    run = start(engine)
    engine.tell(run, {"loss": 1}, time=1.0, checkpoint="c")
    engine.end(run, "crashed", time=2.0, retry=True)
    engine.end(run, "crashed", time=2.0, retry=True)
    assert engine.judge.log[-1] == ("fail", run, True)
    assert engine.proposer.closed() == {}
    answer = engine.ask(time=3.0)
    assert isinstance(answer, Resume)
    assert answer.checkpoint.iteration == 1
    engine.end(run, "failed", time=4.0)
    assert engine.proposer.closed()[run][1] is True
    # A person wants it once more.
    assert isinstance(engine.ask(time=5.0), Done)
    engine.end(run, "failed", time=6.0, retry=True)
    assert isinstance(engine.ask(time=7.0), Resume)
    engine.tell(run, {"loss": 0.5}, time=8.0)
    engine.end(run, "finished", time=9.0)
    assert engine.proposer.log[-1][0] == "learn"
    assert engine.end(run, "finished", time=9.0, retry=True) == ()


def test_a_run_that_was_given_up_may_still_finish():
    engine = hosted()
    run = start(engine)
    engine.end(run, "crashed", time=1.0, retry=True)
    engine.tell(run, {"loss": 0.25}, time=2.0)  # its agent comes back
    engine.end(run, "finished", time=3.0)
    assert engine.proposer.closed()[run][0]["loss"] == 0.25
    assert engine.judge.said("remove") == [("remove", run)]
    assert isinstance(engine.ask(time=4.0), Start)


def test_limits():
    proposer = Recorder()
    proposer.total = 3
    engine = hosted(Experiment(SPACE, num_samples=3), proposer)
    runs = [start(engine) for _ in range(3)]
    answer = engine.ask(time=1.0)
    assert isinstance(answer, Wait)
    assert answer.closing
    assert answer.reason == "all 3 runs have been given out; 3 running"
    engine.limit(4, time=2.0)
    runs.append(start(engine))
    engine.limit(None, time=3.0)
    for run in runs:
        engine.end(run, "finished", time=4.0)
    assert engine.ask(time=5.0) == Done("all 3 runs have been given out")
    assert engine.ask(time=6.0) == Done("all 3 runs have been given out")
    engine.limit(5, time=7.0)
    start(engine)


def test_lowering_the_limit_takes_out_who_has_not_started():
    judge = Script(ahead=3)
    engine = hosted(judge=judge)
    run = start(engine)
    assert len(judge.said("add")) == 4
    engine.limit(2, time=1.0)
    assert len(judge.said("remove")) == 2
    other = start(engine)
    assert [name for _, name in judge.said("add")][:2] == [run, other]
    assert engine.ask(time=2.0).closing


def test_proposals_ahead():
    judge = Script(ahead=1)
    engine = hosted(judge=judge)
    run = start(engine)
    assert [kind for kind, _ in judge.said("add", "start")] == ["add", "start", "add"]
    judge.chosen = run  # it runs: not to be chosen
    assert start(engine) != run


def test_max_concurrent():
    engine = hosted(Experiment(SPACE, num_samples=None, max_concurrent=2), judge=Script(ahead=5))
    run, _ = start(engine), start(engine)
    assert isinstance(engine.ask(time=1.0), Wait)
    engine.end(run, "finished", time=2.0)
    start(engine)


def test_a_searcher_that_waits_for_nothing_ends_the_sweep():
    engine = hosted(proposer=Recorder([{"x": 1}]))
    run = start(engine)
    answer = engine.ask(time=1.0)
    assert isinstance(answer, Wait)
    assert not answer.closing
    engine.end(run, "failed", time=2.0)
    done = engine.ask(time=3.0)
    assert done == Done("the searcher waits for results, and no run is live")
    assert engine.ask(time=4.0) == done
    extra = engine.enqueue({"lr": 0.01, "layers": 1, "net": {"kind": "a"}}, time=5.0)
    assert engine.ask(time=6.0).run == extra


def test_a_paused_run_goes_on_when_nothing_else_can_happen():
    judge = Script()
    engine = hosted(proposer=Recorder([{"x": 1}]), judge=judge)
    run = start(engine)
    judge.next = (Pause(run, "for ever"),)
    engine.tell(run, {"loss": 1}, time=1.0)
    assert isinstance(engine.ask(time=2.0), Resume)


def test_actions_of_the_judge_go_with_the_next_answer():
    judge = Script()
    engine = hosted(judge=judge)
    run = start(engine)
    judge.due = (Stop(run, "halved"),)
    answer = engine.ask(time=1.0)
    assert isinstance(answer, Start)
    assert answer.actions == (Stop(run, "halved"),)
    assert engine.proposer.closed()[run][1] is True  # it never reported


def test_enqueued_points_are_checked_typed_and_run_next():
    engine = hosted(judge=Script(ahead=2))
    start(engine)
    run = engine.enqueue({"net": {"kind": "b"}, "layers": 2.0, "lr": 1e-2}, time=1.0)
    answer = engine.ask(time=2.0)
    assert (answer.run, answer.info) == (run, {"enqueued": True})
    assert answer.config == {"lr": 0.01, "layers": 2, "net": {"kind": "b"}, "epochs": 5}
    assert type(answer.config["layers"]) is int
    engine.tell(run, {"loss": 1}, time=3.0)
    engine.end(run, "finished", time=3.0)
    assert engine.proposer.log[-1][:3] == ("learn", run, answer.config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 1}, "lr: out of its bounds; found 1, expected 0.0001 to 0.1"),
        ({"lr": "x"}, "lr: not a number"),
        ({"lr": math.nan}, "lr: not a finite number"),
        ({"layers": 2.5}, "layers: not a value of it; found 2.5, expected an integer, 1 to 4"),
        ({"layers": True}, "layers: not a number"),
        ({"net": {"kind": "c"}}, "net.kind: none of the options fits; found 'c'"),
        ({"net": {"knd": "a"}}, "net.knd: the space has no such parameter.*did you mean kind"),
        ({"net": {}}, "net.kind: a parameter is missing"),
        ({"net": 3}, "net: not a mapping"),
        ({"epochs": 6}, "epochs: another value than the constant; found 6, expected 5"),
    ],
)
def test_enqueued_points_that_do_not_fit(change, message):
    engine = hosted()
    with pytest.raises(InputError, match=message):
        engine.enqueue({"lr": 0.01, "layers": 1, "net": {"kind": "a"}, **change}, time=0.0)
    assert engine.ask(time=0.0).info == {}


def test_initial_points_are_checked():
    experiment = Experiment(SPACE, points=(Frozen({"lr": 0.01}), Frozen({"net.kind": "a"})))
    with pytest.raises(InputError, match=r"points\[1\].net.kind: the space has no such parameter"):
        make_engine(experiment, sweep_id="s", seed=0)


def test_foreign_parts_have_random_states_of_their_own():
    def draws(engine):
        return [engine.ask(time=0.0).config["x"] for _ in range(4)]

    random.seed(5)
    np.random.seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist()
    one = draws(hosted(proposer=Recorder(foreign=True)))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    random.seed(6)
    engine = hosted(proposer=Recorder(foreign=True))
    assert draws(engine)[:4] == one
    assert len(set(one)) == 4
    again = restore_engine(engine.snapshot())
    assert draws(again) == draws(engine)


def test_foreign_parts_print_nothing(capsys):
    class Loud(Recorder):
        def propose(self, run):
            print("hello")
            return super().propose(run)

    start(hosted(proposer=Loud(foreign=True)))
    assert capsys.readouterr() == ("", "")


def test_a_snapshot_is_ours_and_of_this_version():
    snapshot = hosted().snapshot()
    with pytest.raises(InputError, match="not a snapshot"):
        restore_engine(b"\x80\x05")
    version = f"engine {snapshots.VERSION}\n".encode()
    with pytest.raises(InputError, match="another version"):
        restore_engine(snapshot.replace(version, b"engine 0\n"))


def test_late_and_unknown_reports_are_ignored():
    engine = hosted()
    run = start(engine)
    engine.end(run, "finished", time=1.0)
    log = list(engine.proposer.log)
    assert engine.tell(run, {"loss": 1}, time=2.0) == ()
    assert engine.tell("nobody", {"loss": 1}, time=2.0) == ()
    assert engine.end(run, "failed", time=2.0) == ()
    assert engine.end("nobody", "failed", time=2.0) == ()
    assert engine.proposer.log == log


def test_a_native_engine_loads_nothing_heavy():
    program = """
import sys
from tune_bridge.dialects.sweep import SweepDialect
from tune_bridge.engines import make_engine, restore_engine

config = {
    "method": "random",
    "metric": {"name": "loss"},
    "early_terminate": {"type": "hyperband", "min_iter": 1},
    "parameters": {"x": {"min": 0.0, "max": 1.0}, "y": {"values": [1, 2]}},
}
engine = make_engine(SweepDialect().read(config).value, sweep_id="s", seed=1)
run = engine.ask(time=0.0).run
engine.tell(run, {"loss": 1.0}, time=1.0)
print(sorted({"numpy", "ray", "skopt", "pandas", "torch", "hyperopt"} & set(sys.modules)))
restore_engine(engine.snapshot())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_what_agents_cannot_run_is_refused_before_a_sweep_is_made(monkeypatch) -> None:
    from tune_bridge.engines import drives
    from tune_bridge.errors import UnsupportedError
    from tune_bridge.experiment import Algorithm

    told = Experiment(space=Group((("x", Parameter(Uniform(0, 1))),)))
    with pytest.raises(UnsupportedError, match=r"cannot run NoSuchSearch: no engine knows it"):
        make_engine(told.replace(searcher=Algorithm("NoSuchSearch")), sweep_id="s", seed=1)
    monkeypatch.setitem(drives.DRIVES, "PB2", "it is too new")
    with pytest.raises(UnsupportedError, match=r"^scheduler: agents cannot run PB2: it is too new"):
        make_engine(told.replace(scheduler=Algorithm("PB2")), sweep_id="s", seed=1)
