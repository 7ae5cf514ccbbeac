"""W&B's early termination, decision by decision against W&B's own package."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweeps.hyperband_stopping import hyperband_stop_runs
from sweeps.run import RunState, SweepRun

from tune_bridge.engines import make_engine
from tune_bridge.engines.base import Start, Stop
from tune_bridge.engines.native.hyperband import Hyperband, bands
from tune_bridge.errors import InputError
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.space import Group, Parameter, Uniform
from tune_bridge.values import Frozen

SPACE = Group((("x", Parameter(Uniform(0, 1))),))

settings = st.one_of(
    st.builds(dict, min_iter=st.integers(1, 3), eta=st.sampled_from([1.5, 2, 3, 4])),
    st.builds(dict, max_iter=st.integers(4, 27), s=st.integers(1, 3), eta=st.sampled_from([2, 3])),
    st.builds(dict, min_iter=st.integers(1, 4)),
)
values = st.one_of(
    st.integers(-5, 5).map(float),
    st.floats(-1, 1),
    st.sampled_from([math.nan, math.inf, None, True]),
)
reports = st.lists(st.tuples(st.integers(0, 7), values), max_size=120)


def experiment(args, goal="minimize", **more):
    return Experiment(
        SPACE,
        objective=Objective("loss", goal),
        scheduler=Algorithm.of("hyperband", **args),
        num_samples=None,
        **more,
    )


class Oracle:
    """`hyperband_stop_runs` of sweeps 0.2.0, looking at all runs after each report.

    That release takes the row after the band's; a first row that is worse than all others shifts
    it to where 0.3.0 looks.
    """

    def __init__(self, args, goal):
        self.config = {
            "method": "random",
            "metric": {"name": "loss", "goal": goal},
            "parameters": {"x": {"min": 0.0, "max": 1.0}},
            "early_terminate": {"type": "hyperband", **args},
        }
        self.first = {"loss": 1e300 if goal == "minimize" else -1e300}
        self.runs = {}

    def start(self, run):
        state = RunState.running
        self.runs[run] = SweepRun(name=run, state=state, sampledHistory=[dict(self.first)])

    def end(self, run, state):
        self.runs[run].state = state

    def report(self, run, value):
        self.runs[run].history.append({} if value is None else {"loss": value})
        stopped = hyperband_stop_runs(list(self.runs.values()), self.config)
        for one in stopped:
            one.state = RunState.finished
        return {one.name for one in stopped}


@given(args=settings, goal=st.sampled_from(["minimize", "maximize"]), reports=reports)
def test_decisions_are_those_of_wandb(args, goal, reports):
    engine = make_engine(experiment({**args, "strict": False}, goal), sweep_id="s", seed=0)
    oracle = Oracle(args, goal)
    runs = []
    for _ in range(8):
        answer = engine.ask(time=0.0)
        assert isinstance(answer, Start)
        runs.append(answer.run)
        oracle.start(answer.run)
    over = set()
    for index, value in reports:
        run = runs[index]
        if run in over:
            continue
        if value is True:  # this one ends
            engine.end(run, "finished", time=1.0)
            oracle.end(run, RunState.finished)
            over.add(run)
            continue
        row = {"other": 1} if value is None else {"loss": value}
        actions = engine.tell(run, row, time=1.0)
        assert all(isinstance(action, Stop) for action in actions)
        stopped = {action.run for action in actions}
        assert stopped == oracle.report(run, value)
        over |= stopped


@given(args=settings, reports=reports)
def test_strict_looks_at_the_value_in_the_band(args, reports):
    """The rule of 0.3.0, said once more without any bookkeeping."""
    engine = make_engine(experiment(args), sweep_id="s", seed=0)
    runs = [engine.ask(time=0.0).run for _ in range(8)]
    histories = {run: [] for run in runs}
    running = set(runs)
    eta, rungs = args.get("eta", 3), bands(args)
    for index, value in reports:
        run = runs[index]
        if run not in running or value is True:
            continue
        stopped = {action.run for action in engine.tell(run, {"loss": value}, time=1.0)}
        if value is not None and math.isfinite(value):
            histories[run].append(value)
        expected = set()
        for name in running:
            reached = [band for band in rungs if band <= len(histories[name])]
            if reached:
                band = reached[-1]
                there = sorted(h[band - 1] for h in histories.values() if len(h) >= band)
                if histories[name][band - 1] > there[int((1 / eta) * len(there))]:
                    expected.add(name)
        assert stopped == expected
        running -= stopped


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"min_iter": 3}, [3, 9, 27, 81]),
        ({"min_iter": 2, "eta": 1.5}, [2, 3, 4, 6]),
        ({"max_iter": 27, "s": 2}, [3, 9]),
        ({"max_iter": 5, "s": 2, "eta": 2}, [1, 2]),
        ({"max_iter": 10, "s": 9, "eta": 3, "min_iter": 50}, [1, 3]),
    ],
)
def test_bands(args, expected):
    assert bands(args)[: len(expected)] == expected


@pytest.mark.parametrize("args", [{}, {"max_iter": 2, "s": 3, "eta": 3}, {"max_iter": 9, "s": 0}])
def test_no_bands(args):
    with pytest.raises(InputError, match="early_terminate: hyperband has no band"):
        bands(args)


def test_a_metric_is_needed():
    bare = Experiment(SPACE, scheduler=Algorithm.of("hyperband", min_iter=1))
    with pytest.raises(InputError, match="early_terminate needs a metric"):
        Hyperband(bare)


def test_a_stop_says_why():
    engine = make_engine(experiment({"min_iter": 1, "eta": 2}), sweep_id="s", seed=0)
    one, two, three = [engine.ask(time=0.0).run for _ in range(3)]
    assert engine.tell(one, {"loss": 1}, time=1.0) == ()
    assert engine.tell(two, {"loss": 2}, time=1.0) == ()
    (stop,) = engine.tell(three, {"loss": 3}, time=1.0)
    assert stop.run == three
    assert stop.reason == ("hyperband: loss 3 is worse than 2, the threshold of 3 runs at report 1")
    assert stop.info == {
        "rule": "hyperband",
        "rung": 1,
        "cutoff": 2,
        "value": 3,
        "runs": 3,
        "strict": True,
    }


def test_a_value_that_meets_a_stop_criterion_counts():
    engine = make_engine(
        experiment({"min_iter": 1, "eta": 2}, stop=Frozen({"good": 1})), sweep_id="s", seed=0
    )
    one, two, three = [engine.ask(time=0.0).run for _ in range(3)]
    engine.tell(one, {"loss": 2}, time=1.0)
    engine.tell(two, {"loss": 1, "good": 1}, time=1.0)
    (stop,) = engine.tell(three, {"loss": 3}, time=1.0)
    assert (stop.run, stop.info["runs"]) == (three, 3)


def test_a_run_that_is_tried_again_is_looked_at_again():
    engine = make_engine(experiment({"min_iter": 1, "eta": 2}), sweep_id="s", seed=0)
    one, two, three = [engine.ask(time=0.0).run for _ in range(3)]
    engine.tell(one, {"loss": 5}, time=1.0)
    engine.end(one, "crashed", time=1.0, retry=True)
    for run in (two, three):
        assert engine.tell(run, {"loss": 1}, time=2.0) == ()
    assert engine.ask(time=3.0).run == one
    (stop,) = engine.tell(two, {"loss": 1}, time=4.0)
    assert stop.run == one
