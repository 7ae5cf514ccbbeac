"""Ray's schedulers as judges, driven without a cluster."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.engines.agents import (
    MEDIAN,
    PBT,
    SCHEDULERS,
    STEPS,
    Agents,
    curve,
    engine_of,
    experiment,
)
from tune_bridge.engines import restore_engine
from tune_bridge.engines.base import Done, Exploit, Pause, Resume, Start, Stop
from tune_bridge.engines.native.draws import Draws
from tune_bridge.engines.tune import policies, schedulers
from tune_bridge.errors import InputError, SpecError, UnsupportedError
from tune_bridge.experiment import Algorithm

pytest.importorskip("ray.tune")

_SLOW = ("pb2",)
_NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name in _SLOW else name for name in SCHEDULERS
]
_PAUSES = ("hyperband", "bohb", "median", "median_soft", "pbt", "pbt_synch", "pb2")
_STOPS = ("asha", "asha_brackets", "hyperband", "bohb", "median", "median_alone", "resources")
_COPIES = ("pbt", "pbt_synch", "pb2")


def _count(name: str, count: int) -> int:
    return 8 if name in _SLOW else count


def _kinds(agents: Agents) -> set[str]:
    return {type(action).__name__ for action in agents.actions}


def _runs(engine: Any, count: int) -> list[str]:
    return [engine.ask(time=0.0).run for _ in range(count)]


# Whole sweeps


@pytest.mark.parametrize("name", _NAMES)
def test_a_sweep_comes_to_its_end(name: str) -> None:
    count = _count(name, 40)
    agents = Agents(engine_of(experiment(SCHEDULERS[name], count)), agents=5).drain()
    assert len(agents.over) == count
    assert ("Stop" in _kinds(agents)) == (name in _STOPS)
    assert ("Pause" in _kinds(agents)) == (name in _PAUSES)
    assert ("Exploit" in _kinds(agents)) == (name in _COPIES)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("agents", [1, 4, 50])
def test_no_crash_holds_the_others_up(name: str, agents: int) -> None:
    count = _count(name, 150)
    engine = engine_of(experiment(SCHEDULERS[name], count))
    driver = Agents(engine, agents=agents, crashes=0.06, seed=agents).drain()
    assert len(driver.over) == count


@pytest.mark.parametrize("name", _NAMES)
def test_a_restart_after_each_event_changes_nothing(name: str) -> None:
    told = experiment(SCHEDULERS[name], _count(name, 24))
    agents = Agents(engine_of(told), agents=4, crashes=0.03).drain()
    engine: Any = engine_of(told)
    for number, (event, answer) in enumerate(zip(agents.events, agents.answers, strict=True)):
        assert engine.handle(event) == answer, f"event {number}"
        engine = restore_engine(engine.snapshot())
    assert len(agents.events) > (30 if name in _SLOW else 80)


@pytest.mark.parametrize("name", _NAMES)
def test_every_decision_says_why(name: str) -> None:
    agents = Agents(engine_of(experiment(SCHEDULERS[name], _count(name, 20))), agents=4).drain()
    for action in agents.actions:
        assert isinstance(action, Stop | Pause | Exploit)
        assert action.reason
        assert action.info["rule"]
        json.dumps(action.info, allow_nan=False)


# Reasons


def _told(scheduler: Algorithm, values: list[float], iteration: int = 1) -> list[Any]:
    """The actions after one report of each of some runs, in order."""
    engine = engine_of(experiment(scheduler, len(values)))
    runs = [engine.ask(time=0.0) for _ in values]
    told = []
    for run, value in zip(runs, values, strict=True):
        assert isinstance(run, Start)
        result = {"loss": value, "training_iteration": iteration}
        told.append(engine.tell(run.run, result, time=1.0, checkpoint=f"{run.run}-c"))
    return told


def test_asha_names_rung_cut_off_and_rank() -> None:
    *_, last = _told(Algorithm.of("ASHAScheduler", max_t=9, reduction_factor=3), [0.3, 0.1, 0.2])
    (stop,) = last
    assert isinstance(stop, Stop)
    assert stop.info == {
        "rule": "ASHAScheduler",
        "time_attr": "training_iteration",
        "metric": "loss",
        "time": 1,
        "value": 0.2,
        "rung": 1,
        "cutoff": pytest.approx(0.1 + 0.2 / 3),
        "rank": 2,
        "of": 3,
        "bracket": 0,
    }
    assert "rank 2 of 3" in stop.reason


def test_asha_names_the_longest_time() -> None:
    ((stop,),) = _told(Algorithm.of("ASHAScheduler", max_t=9), [0.3], iteration=9)
    assert stop.reason == "training_iteration 9 has reached max_t 9"


def test_the_median_rule_names_the_median() -> None:
    *_, last = _told(Algorithm.of("MedianStoppingRule", **MEDIAN), [0.1, 0.2, 0.3, 0.4], 2)
    (stop,) = last
    assert (stop.info["median"], stop.info["best"], stop.info["of"]) == (0.2, 0.4, 3)


def test_hyperband_names_bracket_and_rank() -> None:
    scheduler = Algorithm.of("HyperBandScheduler", max_t=3)
    told = _told(scheduler, [0.1, 0.3, 0.2, 0.5, 0.4], iteration=3)
    said = [
        (type(action), action.info["bracket"], action.info["milestone"], action.info.get("rank"))
        for actions in told
        for action in actions
    ]
    assert said == [
        (Pause, 0, 3, None),
        (Stop, 0, 3, 1),  # both are at the end of their bracket
        (Stop, 0, 3, 2),
        (Pause, 1, 1, None),
        (Pause, 1, 1, None),
        (Stop, 1, 1, 3),  # one of three would go on, but its time is over as well
        (Stop, 1, 1, 1),
        (Stop, 1, 1, 2),
    ]


def test_a_population_names_donor_and_change() -> None:
    agents = Agents(engine_of(experiment(SCHEDULERS["pbt"], 8)), agents=8).drain()
    exploit = next(action for action in agents.actions if isinstance(action, Exploit))
    assert exploit.donor in exploit.reason
    assert exploit.info["donor_score"] < exploit.info["score"]
    assert exploit.info["quantile"] == 0.25
    assert exploit.old != exploit.new


# Checkpoints and copies


def test_a_copy_goes_on_from_its_donor() -> None:
    agents = Agents(engine_of(experiment(SCHEDULERS["pbt"], 6)), agents=6).drain()
    exploits = {}
    for event, answer in zip(agents.events, agents.answers, strict=True):
        for action in answer if isinstance(answer, tuple) else ():
            if isinstance(action, Exploit):
                assert action.checkpoint.run == action.donor
                exploits[action.run] = action
        if isinstance(answer, Resume) and answer.run in exploits:
            exploit = exploits.pop(answer.run)
            assert answer.config == exploit.new
            assert answer.checkpoint == exploit.checkpoint
        del event


def test_without_checkpoints_nothing_is_copied() -> None:
    engine = engine_of(experiment(SCHEDULERS["pbt"], 4))
    runs = [engine.ask(time=0.0) for _ in range(4)]
    for iteration in (1, 2, 3, 4, 5, 6):
        for run in runs:
            assert isinstance(run, Start)
            assert engine.tell(run.run, curve(run.config, iteration), time=float(iteration)) == ()


def test_a_checkpoint_that_comes_after_the_report_is_copied() -> None:
    """A program that reports, then saves: its checkpoint comes with its next report."""
    engine = engine_of(experiment(SCHEDULERS["pbt"], 3))
    good, fair, bad = runs = _runs(engine, 3)

    def tell(run: str, iteration: int, checkpoint: str | None = None) -> tuple[Any, ...]:
        result = {"loss": float(runs.index(run)), "training_iteration": iteration}
        return engine.tell(run, result, time=1.0, checkpoint=checkpoint)

    assert tell(fair, 2) == ()
    assert tell(good, 2) == ()
    assert tell(good, 3, "late") == ()
    (action,) = tell(bad, 2)
    assert isinstance(action, Exploit)
    assert (action.run, action.donor, action.checkpoint.id) == (bad, good, "late")


def test_a_population_waits_for_its_places() -> None:
    """Fewer agents than members: all are made at once, and take turns."""
    engine = engine_of(experiment(SCHEDULERS["pbt"], 6))
    agents = Agents(engine, agents=2).drain()
    order = [answer.run for answer in agents.answers if isinstance(answer, Start | Resume)]
    assert len(set(order[:6])) == 6
    assert len(order) > 12


def test_missing_mutations_are_drawn_for_the_run() -> None:
    mutations = {"y": [1, 2, 3], **PBT["hyperparam_mutations"]}  # type: ignore[dict-item]
    scheduler = Algorithm.of(
        "PopulationBasedTraining", **{**PBT, "hyperparam_mutations": mutations}
    )
    answer = engine_of(experiment(scheduler, 4)).ask(time=0.0)
    assert isinstance(answer, Start)
    assert answer.config["y"] in (1, 2, 3)


@pytest.mark.parametrize(
    ("scheduler", "needs"),
    [
        (None, False),
        (SCHEDULERS["asha"], False),
        (SCHEDULERS["resources"], False),
        (SCHEDULERS["median_alone"], False),
        (SCHEDULERS["median"], True),
        (Algorithm.of("MedianStoppingRule", hard_stop=False), True),
        (SCHEDULERS["hyperband"], True),
        (SCHEDULERS["bohb"], True),
        (SCHEDULERS["pbt"], True),
        (SCHEDULERS["pb2"], True),
    ],
)
def test_who_needs_checkpoints_says_so(scheduler: Algorithm | None, needs: bool) -> None:
    engine = engine_of(experiment(scheduler, 4))
    assert bool(engine.needs_checkpoints) == needs
    assert engine.needs_checkpoints == schedulers.needs_checkpoints(scheduler)


@pytest.mark.parametrize(
    ("name", "more", "ahead"),
    [
        ("asha", {}, 0),
        ("median_alone", {}, 0),
        ("median", {}, 200),
        ("hyperband", {}, 200),
        ("pbt", {}, 200),
        ("bohb", {"searcher": Algorithm("TuneBOHB")}, 1),
        ("bohb", {"searcher": Algorithm("TuneBOHB"), "max_concurrent": 4}, 4),
    ],
)
def test_as_many_runs_wait_as_in_tune(name: str, more: dict[str, Any], ahead: int) -> None:
    told = experiment(SCHEDULERS[name], 4, **more)
    assert schedulers.judge(told, Draws(told, 1), 1).ahead == ahead


# What is lost


def _halved() -> tuple[Any, list[str]]:
    """A bracket of HyperBand after its first halving: three runs, at their second milestone."""
    engine = engine_of(experiment(Algorithm.of("HyperBandScheduler", max_t=9), 17))
    agents = Agents(engine, agents=1)
    while True:
        agents.step()
        halved = [
            bracket
            for band in engine.judge.base._hyperbands  # type: ignore[attr-defined]
            for bracket in band
            if bracket is not None and bracket._halves < 2 and bracket._n == 3
        ]
        if halved and any(bracket.is_being_processed for bracket in halved):
            return agents, [trial.trial_id for trial in halved[0].current_trials()]


def test_a_lost_run_does_not_block_a_halved_bracket() -> None:
    agents, runs = _halved()
    lost = runs[-1]
    if lost in agents.running:
        agents.end(lost, "crashed")
    else:
        agents.end(lost, "killed")
    agents.drain()
    assert agents.over == set(agents.configs)


def test_the_last_of_a_synchronous_population_may_be_lost() -> None:
    engine = engine_of(experiment(SCHEDULERS["pbt_synch"], 4))
    runs = _runs(engine, 4)
    for run in runs[:3]:
        for iteration in (1, 2):
            result = {"loss": float(runs.index(run)), "training_iteration": iteration}
            actions = engine.tell(run, result, time=1.0, checkpoint=f"{run}-{iteration}")
    assert [type(action) for action in actions] == [Pause]
    actions = engine.end(runs[3], "crashed", time=2.0)
    assert [(type(action), action.run) for action in actions] == [(Exploit, runs[2])]
    assert isinstance(engine.ask(time=3.0), Resume)


def test_reports_without_the_metric_are_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("asha", "hyperband", "median", "pbt"):
        engine = engine_of(experiment(SCHEDULERS[name], 4))
        start = engine.ask(time=0.0)
        assert isinstance(start, Start)
        with caplog.at_level(logging.WARNING):
            assert engine.tell(start.run, {"accuracy": 1.0}, time=1.0) == ()
            assert engine.tell(start.run, {"loss": "low"}, time=1.0) == ()
        assert "without a number for 'loss'" in caplog.text
        engine.tell(start.run, {"loss": 0.5}, time=2.0)
        engine.end(start.run, "finished", time=3.0)


def test_the_clock_is_the_events() -> None:
    scheduler = Algorithm.of("MedianStoppingRule", grace_period=60.0)
    engine = engine_of(experiment(scheduler, 4))
    runs = _runs(engine, 4)
    early = [engine.tell(run, {"loss": float(n)}, time=30.0) for n, run in enumerate(runs)]
    late = [engine.tell(run, {"loss": float(n)}, time=90.0) for n, run in enumerate(runs)]
    assert early == [()] * 4
    assert [len(actions) for actions in late] == [0, 0, 0, 1]


# Replay


def _policy() -> tuple[str, str, dict[str, Any]]:
    agents = Agents(engine_of(experiment(SCHEDULERS["pbt"], 6)), agents=6).drain()
    exploits = [action for action in agents.actions if isinstance(action, Exploit)]
    run = exploits[-1].run
    return policies.policy(exploits, run), run, exploits[-1].new


@pytest.mark.parametrize("as_path", [False, True])
def test_a_policy_is_replayed(as_path: bool, tmp_path: Path) -> None:
    text, run, last = _policy()
    value = text
    if as_path:
        file = tmp_path / f"pbt_policy_{run}.txt"
        file.write_text(text)
        value = str(file)
    scheduler = Algorithm.of("PopulationBasedTrainingReplay", policy_file=value)
    engine = engine_of(experiment(scheduler, 1))
    assert engine.needs_checkpoints
    answer = engine.ask(time=0.0)
    rows = [json.loads(line) for line in text.splitlines()]
    changes = {step: config for _, _, _, step, _, config in rows}
    for iteration in range(1, 12):
        assert isinstance(answer, Start | Resume)
        result = curve(answer.config, iteration)
        actions = engine.tell(answer.run, result, time=1.0, checkpoint=f"c{iteration}")
        for action in actions:
            assert isinstance(action, Exploit)
            assert action.donor == action.run
            assert action.checkpoint.iteration == iteration
            assert action.new == changes[iteration]
            answer = engine.ask(time=2.0)
            assert isinstance(answer, Resume)
            assert answer.config == action.new
    assert answer.config == last


def test_a_replay_without_checkpoints_waits_for_one() -> None:
    text, _, _ = _policy()
    engine = engine_of(
        experiment(Algorithm.of("PopulationBasedTrainingReplay", policy_file=text), 1)
    )
    answer = engine.ask(time=0.0)
    assert isinstance(answer, Start)
    for iteration in range(1, 10):
        assert engine.tell(answer.run, curve(answer.config, iteration), time=1.0) == ()
    (action,) = engine.tell(answer.run, curve(answer.config, 10), time=1.0, checkpoint="late")
    assert isinstance(action, Exploit)


def test_a_replayed_run_may_be_tried_again() -> None:
    text, _, _ = _policy()
    engine = engine_of(
        experiment(Algorithm.of("PopulationBasedTrainingReplay", policy_file=text), 1)
    )
    agents = Agents(engine, agents=1, crashes=0.0)
    agents.ask()
    (run,) = agents.running
    for _ in range(3):
        agents.report(run) if run in agents.running else agents.ask()
    if run not in agents.running:
        agents.ask()
    agents.end(run, "crashed", retry=True)
    agents.drain()
    assert agents.over == {run}


# Refusals


@pytest.mark.parametrize(
    ("told", "error", "words"),
    [
        (experiment(SCHEDULERS["pbt"], None), UnsupportedError, "size of its population"),
        (
            experiment(SCHEDULERS["pbt"], 4, searcher=Algorithm("HyperOptSearch")),
            UnsupportedError,
            "beside a searcher",
        ),
        (
            experiment(SCHEDULERS["asha"], 4).replace(objective=None),
            SpecError,
            "without a metric",
        ),
        (experiment(Algorithm.of("ASHAScheduler", max_t=-1), 4), SpecError, "refuses"),
        (
            experiment(Algorithm.of("PopulationBasedTraining", **STEPS), 4),
            SpecError,
            "hyperparam_mutations",
        ),
        (
            experiment(Algorithm.of("PopulationBasedTrainingReplay", policy_file="no.txt"), 1),
            SpecError,
            "not found",
        ),
        (
            experiment(Algorithm.of("PopulationBasedTrainingReplay", policy_file="[1"), 1),
            SpecError,
            "refuses",
        ),
        (
            experiment(Algorithm.of("PopulationBasedTrainingReplay", policy_file="[]"), 2),
            SpecError,
            "refuses",
        ),
    ],
)
def test_what_cannot_be_is_refused(told: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        schedulers.judge(told, Draws(told, 1), 1)


def test_a_function_that_fails_is_named() -> None:
    scheduler = Algorithm.of(
        "PopulationBasedTraining", custom_explore_fn={"$function": "math:sqrt"}, **PBT
    )
    engine = engine_of(experiment(scheduler, 4))
    with pytest.raises(InputError, match="TypeError"):
        Agents(engine, agents=4).drain()


def test_the_end_is_the_end() -> None:
    agents = Agents(engine_of(experiment(SCHEDULERS["asha"], 6)), agents=2).drain()
    assert isinstance(agents.engine.ask(time=agents.time + 1), Done)


def test_what_a_copied_run_still_saves_does_not_count() -> None:
    engine = engine_of(experiment(SCHEDULERS["pbt"], 3))
    good, fair, bad = runs = _runs(engine, 3)
    actions: tuple[Any, ...] = ()
    for run in (fair, good, bad):
        result = {"loss": float(runs.index(run)), "training_iteration": 2}
        actions = engine.tell(run, result, time=1.0, checkpoint=f"{run}-c")
    (action,) = actions
    assert isinstance(action, Exploit)
    assert action.run == bad
    engine.tell(bad, {}, time=2.0, checkpoint="too late")
    answer = engine.ask(time=3.0)
    assert isinstance(answer, Resume)
    assert answer.checkpoint == action.checkpoint


def test_an_enqueued_member_takes_the_place_of_one_that_waits() -> None:
    engine = engine_of(experiment(SCHEDULERS["pbt"], 4))
    agents = Agents(engine, agents=2)
    agents.ask()
    run = agents.enqueue({"x": 0.5})
    agents.drain()
    assert run in agents.over
    assert len(agents.configs) == 4
