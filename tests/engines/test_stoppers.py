"""Tune's Stoppers and time budget behind the engine's rule."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from tests.engines.agents import Agents, engine_of, experiment
from tune_bridge.engines import restore_engine
from tune_bridge.engines.base import Done, Start, Stop, StopAll
from tune_bridge.engines.tune.stoppers import stop_rule
from tune_bridge.errors import InputError, SpecError
from tune_bridge.experiment import Experiment
from tune_bridge.values import Frozen

pytest.importorskip("ray.tune")


def _stopped_by(kind: str, count: int = 4, **args: Any) -> Experiment:
    return experiment(None, count, stop=Frozen({"$stopper": {kind: args}}))


def _started(told: Experiment, count: int = 1) -> tuple[Any, list[str]]:
    engine = engine_of(told)
    return engine, [engine.ask(time=0.0).run for _ in range(count)]  # type: ignore[union-attr]


def late(trial_id: str, result: dict[str, Any]) -> bool:
    """A criterion of a user, who gets nested results as from Ray."""
    return bool(result["eval"]["loss"] < 0.5 and result["eval/loss"] < 0.5)


def broken(trial_id: str, result: dict[str, Any]) -> bool:
    """A criterion that fails."""
    return bool(result["no such thing"])


def test_without_a_stopper_there_is_no_rule() -> None:
    assert stop_rule(experiment(None, 4)) is None
    assert stop_rule(experiment(None, 4, stop=Frozen({"training_iteration": 3}))) is None


def test_a_number_of_iterations() -> None:
    engine, (run, other) = _started(_stopped_by("MaximumIterationStopper", max_iter=2), 2)
    assert engine.tell(run, {"loss": 1.0}, time=1.0) == ()
    assert engine.tell(other, {"loss": 1.0}, time=1.0) == ()
    (action,) = engine.tell(run, {"loss": 1.0}, time=2.0)
    assert isinstance(action, Stop)
    assert (action.run, action.info["rule"]) == (run, "stopper")
    assert "MaximumIterationStopper" in action.reason


def test_the_plateau_of_a_run() -> None:
    told = _stopped_by("TrialPlateauStopper", metric="loss", num_results=3, grace_period=3)
    engine, (run,) = _started(told)
    values = [3.0, 2.0, 1.0, 1.001, 1.0]
    answers = [engine.tell(run, {"loss": value}, time=float(n)) for n, value in enumerate(values)]
    assert [len(actions) for actions in answers] == [0, 0, 0, 0, 1]


def test_reports_without_the_metric_are_no_plateau() -> None:
    told = _stopped_by("TrialPlateauStopper", metric="loss", num_results=2, grace_period=2)
    engine, (run,) = _started(told)
    assert engine.tell(run, {"loss": 1.0}, time=0.0) == ()
    assert engine.tell(run, {"accuracy": 1.0}, time=1.0) == ()
    assert len(engine.tell(run, {"loss": 1.0}, time=2.0)) == 1


def test_the_plateau_of_all_runs() -> None:
    told = _stopped_by("ExperimentPlateauStopper", metric="loss", top=2, mode="min", std=0.01)
    engine, (run, other) = _started(told, 2)
    assert engine.tell(run, {"loss": 1.0}, time=0.0) == ()
    stop, everything = engine.tell(other, {"loss": 1.001}, time=1.0)
    assert isinstance(stop, Stop)
    assert isinstance(everything, StopAll)
    assert "ExperimentPlateauStopper on loss" in everything.reason
    assert isinstance(engine.ask(time=2.0), Done)


@pytest.mark.parametrize(
    "told",
    [
        _stopped_by("TimeoutStopper", timeout=60.0),
        experiment(None, 4, extras=Frozen({"tune": {"time_budget_s": 60}})),
        _stopped_by("CombinedStopper", stoppers=({"TimeoutStopper": {"timeout": 60}},)),
    ],
)
def test_time_is_that_of_the_events(told: Experiment) -> None:
    engine, (run,) = _started(told)
    assert engine.tell(run, {"loss": 1.0}, time=59.0) == ()
    engine = restore_engine(engine.snapshot())
    (action,) = engine.tell(run, {"loss": 1.0}, time=60.5)
    assert isinstance(action, StopAll)
    assert "60 seconds" in action.reason
    assert isinstance(engine.ask(time=61.0), Done)


def test_time_that_is_up_when_somebody_asks() -> None:
    engine, _ = _started(_stopped_by("TimeoutStopper", timeout=10))
    answer = engine.ask(time=11.0)
    assert isinstance(answer, Done)
    assert [type(action) for action in answer.actions] == [StopAll]


def test_several_stoppers() -> None:
    stoppers = (
        {"MaximumIterationStopper": {"max_iter": 5}},
        {"TrialPlateauStopper": {"metric": "loss", "num_results": 2, "grace_period": 2}},
    )
    engine, (run, other) = _started(_stopped_by("CombinedStopper", stoppers=stoppers), 2)
    engine.tell(run, {"loss": 1.0}, time=0.0)
    (action,) = engine.tell(run, {"loss": 1.0}, time=1.0)
    assert "TrialPlateauStopper" in action.reason
    answers = [engine.tell(other, {"loss": float(n)}, time=2.0 + n) for n in range(5)]
    assert [len(actions) for actions in answers] == [0, 0, 0, 0, 1]
    assert "MaximumIterationStopper" in answers[-1][0].reason


def test_a_function_by_reference() -> None:
    function = {"$function": f"{__name__}:late"}
    engine, (run,) = _started(_stopped_by("FunctionStopper", function=function))
    assert engine.tell(run, {"eval": {"loss": 0.6}}, time=0.0) == ()
    engine = restore_engine(engine.snapshot())
    assert len(engine.tell(run, {"eval": {"loss": 0.4}}, time=1.0)) == 1


def test_a_function_that_fails_is_named() -> None:
    function = {"$function": f"{__name__}:broken"}
    engine, (run,) = _started(_stopped_by("FunctionStopper", function=function))
    with pytest.raises(InputError, match="KeyError: 'no such thing'"):
        engine.tell(run, {"loss": 0.6}, time=0.0)


@pytest.mark.parametrize(
    ("kind", "args", "words"),
    [
        ("ExperimentPlateauStopper", {"metric": "loss", "top": 1}, "refuses"),
        ("TimeoutStopper", {"timeout": -1}, "0 or more"),
        ("FunctionStopper", {"function": {"$function": "no_such_module:f"}}, "imported"),
        ("FunctionStopper", {"function": {"$function": "math:no_such_name"}}, "imported"),
    ],
)
def test_what_cannot_be_is_refused(kind: str, args: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        stop_rule(_stopped_by(kind, **args))


def test_a_sweep_with_a_stopper_comes_to_its_end() -> None:
    engine = engine_of(_stopped_by("MaximumIterationStopper", count=30, max_iter=3))
    agents = Agents(engine, agents=4, crashes=0.05).drain()
    assert len(agents.over) == 30
    starts = [answer for answer in agents.answers if isinstance(answer, Start)]
    assert len(starts) == 30


def test_rules_are_pickled_with_the_engine() -> None:
    rule = stop_rule(experiment(None, 4, extras=Frozen({"tune": {"time_budget_s": 60}})))
    assert rule is not None
    assert rule.stop_all(0.0) == ""
    assert pickle.loads(pickle.dumps(rule)).stop_all(61.0)
