"""Our judges decide as Ray does: recorded experiments, call by call, and one that runs now.

A recording holds each call that Ray's controller made of its scheduler, in its order, with the
states that the trials had: in a cluster they lag behind the decisions (an actor has to start, a
checkpoint has to be saved), with us they do not. `record_tune` makes recordings.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.engines import record_tune
from tests.engines.agents import loss
from tests.engines.record_tune import ALONE, CASES, TRACES, experiment, record
from tune_bridge.engines.base import Checkpoint, Done, Exploit, Pause, Resume, Start, Stop
from tune_bridge.engines.engine import HostedEngine
from tune_bridge.engines.native.draws import Draws
from tune_bridge.engines.parts import EXHAUSTED, Proposal, Proposer, Refused
from tune_bridge.engines.tune import policies
from tune_bridge.engines.tune.schedulers import judge
from tune_bridge.values import Frozen

pytest.importorskip("ray.tune")

_LIVE = ("asha", "hyperband", "pbt")
_WORDS = {"STOP": Stop, "PAUSE": Pause}


def _text(config: dict[str, Any]) -> str:
    """Five digits: PB2's processes are fitted by an optimizer, which rounds as the machine does."""
    return ", ".join(f"{name} {value:.5g}" for name, value in config.items())


class Replay:
    """Sends a recording to our judge, and counts the differences."""

    def __init__(self, name: str, trace: dict[str, Any]) -> None:
        self.events = trace["events"]
        self.tags = trace["tags"]
        self.judge: Any = judge(experiment(name), Draws(experiment(name), 0), 0)
        self.recorder = record_tune.Recorder(trace["seed"])
        self.statuses: dict[str, str] = {}
        self.saving: set[str] = set()
        self.checkpoints: dict[str, int] = {}
        self.stopped: set[str] = set()
        self.exploits: list[Exploit] = []
        self.seen: Counter[str] = Counter()
        self.differences: list[Any] = []

    def run(self) -> Replay:
        for number, event in enumerate(self.events):
            self.at(number, event)
        return self

    def at(self, number: int, event: dict[str, Any]) -> None:
        started = {run for run, status in self.statuses.items() if status == "RUNNING"}
        self.statuses |= event.get("statuses", {})
        self.saving = set(event.get("saving", self.saving))
        self.checkpoints |= event.get("checkpoints", {})
        for run, status in self.statuses.items():
            if run not in self.judge.stage.by_run:
                continue
            trial = self.judge.stage.by_run[run]
            if status == "RUNNING" and run not in started:
                self.judge.start(run)
            trial.status = status
            trial.temporary_state.saving_to = object() if run in self.saving else None
        with self.recorder.isolated():
            ours, theirs = getattr(self, event["event"])(number, event)
        self.seen[event["event"]] += 1
        if ours != theirs:
            self.differences.append((number, event["event"], ours, theirs))

    def add(self, number: int, event: dict[str, Any]) -> tuple[Any, Any]:
        run, config = event["run"], dict(event["config"])
        if run in self.judge.stage.by_run:  # tried again: told with the error
            return None, None
        self.judge.add(run, config)
        return config, event["filled"]

    def choose(self, number: int, event: dict[str, Any]) -> tuple[Any, Any]:
        chosen = self.judge.choose()
        actions = self.judge.pending()
        stops = [action.run for action in actions if isinstance(action, Stop)]
        return (chosen, stops), (event.get("answer"), event.get("stops", []))

    def result(self, number: int, event: dict[str, Any]) -> tuple[Any, Any]:
        run, result = event["run"], dict(event["result"])
        iteration = result["training_iteration"]
        actions = self.judge.judge(run, result, Checkpoint(f"{run}@{iteration}", run, iteration))
        exploits = [action for action in actions if isinstance(action, Exploit)]
        self.exploits += exploits
        answer = event["answer"]
        self.seen[answer] += 1
        self.seen["exploits"] += len(exploits)
        expected = {(one, "Stop") for one in event.get("stops", ())}
        if answer in _WORDS:
            expected.add((run, _WORDS[answer].__name__))
        if answer == "STOP":
            self.stopped.add(run)
        said = {(one.run, type(one).__name__) for one in actions if not isinstance(one, Exploit)}
        return (
            said,
            {(one.run, one.donor, one.checkpoint.iteration, _text(one.new)) for one in exploits},
        ), (
            expected,
            {
                (one["run"], one["donor"], one["iteration"], _text(one["config"]))
                for one in event.get("exploits", ())
            },
        )

    def complete(self, number: int, event: dict[str, Any]) -> tuple[Any, Any]:
        run = event["run"]
        if run in self.stopped:  # our judge has completed it with its decision
            return None, None
        actions = self.judge.finish(run, event["result"])
        return [one.run for one in actions], event.get("stops", [])

    def error(self, number: int, event: dict[str, Any]) -> tuple[Any, Any]:
        run = event["run"]
        following = self.events[number + 1 : number + 2]  # none when it is the last one's end
        again = any(one["event"] == "add" and one["run"] == run for one in following)
        trial = self.judge.stage.by_run[run]
        trial.status = "RUNNING"
        actions = self.judge.fail(run, retry=again)
        return [one.run for one in actions], event.get("stops", [])

    def remove(self, number: int, event: dict[str, Any]) -> tuple[Any, Any]:
        run = event["run"]
        return [one.run for one in self.judge.remove(run)], event.get("stops", [])


def _check(name: str, trace: dict[str, Any]) -> Counter[str]:
    replay = Replay(name, trace).run()
    assert replay.differences == []
    _check_policies(replay, trace["policies"])
    return replay.seen


def _check_policies(replay: Replay, theirs: dict[str, str]) -> None:
    ours = policies.policies(replay.exploits)
    assert set(ours) == set(theirs)
    for run, text in ours.items():
        rows = [json.loads(line) for line in text.splitlines()]
        named = [[replay.tags[row[0]], replay.tags[row[1]], *row[2:]] for row in rows]
        told = [json.loads(line) for line in theirs[run].splitlines()]
        assert [row[:4] for row in named] == [row[:4] for row in told]
        for row, expected in zip(named, told, strict=True):
            assert [_text(one) for one in row[4:]] == [_text(one) for one in expected[4:]]


@pytest.mark.parametrize("name", CASES)
def test_a_recording(name: str) -> None:
    trace = json.loads((TRACES / f"{name}.json").read_text())
    seen = _check(name, trace)
    print(name, dict(seen))
    assert seen["result"] > 0
    assert seen["choose"] > 0


# Whole experiments


class _Listed(Proposer):
    """What Ray proposed."""

    foreign = False

    def __init__(self, configs: list[dict[str, Any]]) -> None:
        self.configs = list(configs)
        self.total = len(configs)

    def propose(self, run: str) -> Proposal | Refused:
        return Proposal(self.configs.pop(0)) if self.configs else EXHAUSTED


def _sequence(name: str, seed: int, configs: list[dict[str, Any]]) -> list[list[Any]]:
    """What `record_tune.sequence` holds, of an engine of ours with one agent."""
    told = experiment(name).replace(stop=Frozen({"training_iteration": CASES[name][1]}))
    proposer = _Listed(configs)
    decides: Any = judge(told, proposer, 0)
    recorder, call, order = record_tune.Recorder(seed), decides._call, list[str]()

    def isolated(inner: Any) -> None:
        with recorder.isolated():
            call(inner)

    def add(run: str, config: dict[str, Any]) -> None:
        order.append(run)
        type(decides).add(decides, run, config)

    decides._call, decides.add = isolated, add
    engine = HostedEngine(told, sweep_id="s", seed=0, proposer=proposer, judge=decides)
    rows: list[list[Any]] = []
    while not isinstance(answer := engine.ask(time=float(len(rows))), Done):
        assert isinstance(answer, Start | Resume)
        run, saved = answer.run, getattr(answer, "checkpoint", None)
        iteration, word = 0 if saved is None else saved.iteration, "CONTINUE"
        while word == "CONTINUE":
            iteration += 1
            value = loss(answer.config, iteration)
            actions = engine.tell(
                run, {"loss": value}, time=float(len(rows)), checkpoint=f"{run}-{iteration}"
            )
            word = next((_word(action) for action in actions if action.run == run), word)
            rows.append([order.index(run), iteration, value, word])
    return rows


def _word(action: Any) -> str:
    if isinstance(action, Stop) and action.info["rule"] == "stop":
        return "END"
    return {Stop: "STOP", Pause: "PAUSE", Exploit: "NOOP"}[type(action)]


@pytest.mark.parametrize("name", ALONE)
def test_a_whole_experiment(name: str) -> None:
    """Our engine orders the events itself: who runs when, until which report, with which values."""
    trace = json.loads((TRACES / f"alone_{name}.json").read_text())
    assert _sequence(name, trace["seed"], trace["configs"]) == trace["rows"]
    assert len(trace["rows"]) > 30


# Now


@pytest.fixture(scope="module")
def ray_session() -> Any:
    with record_tune.session(2):
        yield


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("name", _LIVE)
def test_an_experiment_that_runs_now(name: str, ray_session: None) -> None:
    seen = _check(name, record(name))
    assert seen["result"] > 10
    assert seen["exploits" if name == "pbt" else "STOP"] > 0
