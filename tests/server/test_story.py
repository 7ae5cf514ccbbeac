"""What a sweep's log says: decisions, rungs, copies, pauses; against who decided them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("dash")
pytest.importorskip("ray.tune")

from tests.controller.world import World
from tests.engines.agents import SCHEDULERS, experiment, loss
from tune_bridge.backends.base import LogEvents, LogRows, PutRun, PutSweep, Row, Run, Sweep
from tune_bridge.engines.tune.policies import exploits
from tune_bridge.experiment import Algorithm
from tune_bridge.server.analysis import course
from tune_bridge.server.analysis.analyst import Analyst
from tune_bridge.server.analysis.cards import FIGURES, View, cards, draw
from tune_bridge.server.analysis.halving import brackets_of, placed
from tune_bridge.server.analysis.lineage import changed, members
from tune_bridge.server.analysis.rungs import asha_cutoff, asha_rungs, hyperband_cutoff, percentile
from tune_bridge.server.analysis.story import MARKS, Verdict, from_runs, told
from tune_bridge.server.views import Reader
from tune_bridge.sweep_config import SweepConfig

_SCHEDULERS = {
    **SCHEDULERS,
    "asha": Algorithm.of("AsyncHyperBandScheduler", max_t=9, reduction_factor=3),
    "hyperband_bands": Algorithm.of("HyperBandScheduler", max_t=3),
}


class Curves(World):
    """Runs whose loss falls with the iterations."""

    def result(self, agent):
        return {"loss": loss(agent.claim.config, agent.step)}


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Scheduler -> a sweep that agents have run to its end under it."""
    worlds: dict[str, Any] = {}

    def world(name: str) -> Any:
        if name not in worlds:
            config = dict(SweepConfig.from_experiment(experiment(_SCHEDULERS[name], 9)))
            made = Curves(tmp_path_factory.mktemp(name), {**config, "run_cap": 9}, agents=4)
            worlds[name] = made
            for _ in range(2000):
                idle = [made.work(agent, reports=9) for agent in made.agents]
                if all(idle):
                    break
                made.wait(1.0)
        return worlds[name]

    yield world
    for made in worlds.values():
        made.close()


def test_rungs_are_those_of_tune(played) -> None:
    world = played("asha")
    snapshot = Reader(world.backend).snapshot(world.id)
    found = Analyst(world.backend).rungs(snapshot)
    (bracket,) = world.sweep._fold.engine.judge.scheduler._brackets
    theirs = {at: recorded for at, recorded in bracket._rungs if recorded}
    assert {rung.at for rung in found} == set(theirs)
    stops = Analyst(world.backend).story(snapshot).verdicts
    for rung in found:
        recorded = theirs[rung.at]
        assert {snapshot.runs[index].id: -value for index, value, _ in rung.runs} == recorded
        assert rung.came == len(recorded)
        assert rung.cutoff == pytest.approx(-bracket.cutoff(recorded))
        assert rung.stopped == sum(one.at == rung.at and one.action == "stop" for one in stops)
    assert sum(rung.stopped for rung in found) > 0
    data = draw("rungs", snapshot, View(), Analyst(world.backend))["data"]
    assert len(data[1]["x"]) == sum(rung.stopped for rung in found)


@pytest.mark.parametrize("name", ["hyperband", "hyperband_bands", "bohb"])
def test_rungs_of_brackets_count_who_survived(played, name: str) -> None:
    world = played(name)
    snapshot = Reader(world.backend).snapshot(world.id)
    analyst = Analyst(world.backend)
    verdicts = analyst.story(snapshot).verdicts
    assert {one.action for one in verdicts} == {"stop", "pause"}
    found = {(rung.bracket, rung.at): rung for rung in analyst.rungs(snapshot)}
    assert sum(rung.stopped for rung in found.values()) == sum(
        one.action == "stop" for one in verdicts
    )
    told: dict[Any, set[str]] = {}
    for one in verdicts:
        told.setdefault((one.bracket, one.at), set()).add(one.run)
    # The last one to come and be let on is neither paused nor stopped.
    came = {key: {snapshot.runs[index].id for index, _, _ in rung.runs}
            for key, rung in found.items()}  # fmt: skip
    assert all(runs <= came[key] for key, runs in told.items())
    assert sum(map(len, came.values())) > sum(map(len, told.values()))
    scheduler = world.sweep._fold.engine.judge.scheduler
    theirs: dict[Any, set[str]] = {}
    law = {one.number: one for one in brackets_of(_SCHEDULERS[name])}
    reports = {run: len(line) for run, line in analyst.points(snapshot, "loss").items()}
    for trial, (bracket, band) in scheduler._trial_info.items():
        number = scheduler._hyperbands[band].index(bracket)
        for mark in law[number].marks:
            if reports[trial.trial_id] >= mark:
                theirs.setdefault((number, mark), set()).add(trial.trial_id)
    assert came == theirs
    for rung in found.values():
        for index, value, stopped in rung.runs:
            line = analyst.points(snapshot, "loss")[snapshot.runs[index].id]
            assert value == line[int(rung.at) - 1][1]
            if rung.cutoff is not None and len(scheduler._hyperbands) == 1:
                assert (value > rung.cutoff) == stopped
    gaps = analyst.story(snapshot).gaps
    assert set(gaps) == {one.run for one in verdicts if one.action == "pause"}
    assert all(back is None or left <= back for each in gaps.values() for left, back in each)


def test_the_lineage_is_what_the_population_did(played) -> None:
    world = played("pbt")
    snapshot = Reader(world.backend).snapshot(world.id)
    analyst = Analyst(world.backend)
    copies = analyst.copies(snapshot)
    known = exploits(world.backend.events(world.id))
    assert known
    assert [(one.run, one.donor, one.old, one.new) for one in copies] == [
        (one.run, one.donor if one.donor != one.run else None, one.old, one.new) for one in known
    ]
    assert [[one.at, one.donor_at] for one in copies] == [one.info["steps"] for one in known]
    assert changed(copies) == ["x"]
    points = analyst.points(snapshot, "loss")
    for member in analyst.members(snapshot, "loss"):
        own = [one for one in copies if one.run == snapshot.runs[member.index].id]
        assert len(member.configs) == len(own) + 1 == len(member.since)
        assert member.configs[-1] == snapshot.configs[member.index]
        for iteration, _, place in member.points:
            assert 1 <= iteration <= 2 * 9
            assert 0 <= place <= len(own)
        for place, one in enumerate(own):
            after = [at for at, _, config in member.points if config == place + 1]
            assert not after or after[0] == one.donor_at + 1
    figure = draw("lineage", snapshot, View(colour="x"), analyst)
    _, squares, arrows, rings = figure["data"]
    assert len(rings["x"]) == len(copies)
    assert len(squares["x"]) == sum(map(len, points.values()))
    assert len(arrows["x"]) == 3 * sum(one.donor is not None for one in copies)
    over = draw("lineage", snapshot, View(over="time"), analyst)["data"]
    assert over[3]["x"] == [1000 * one.time for one in copies]


def test_cards_that_can_never_apply_are_left_out(played) -> None:
    shown = {
        name: set(cards(Reader(played(name).backend).snapshot(played(name).id)))
        for name in ("asha", "pbt")
    }
    assert "rungs" in shown["asha"]
    assert "lineage" not in shown["asha"]
    assert "lineage" in shown["pbt"]
    assert "rungs" not in shown["pbt"]
    # There are one metric and one parameter.
    assert shown["asha"] | shown["pbt"] == set(FIGURES) - {
        "pareto", "hypervolume", "contour", "ranks",
    }  # fmt: skip


_RAY: list[dict[str, Any]] = [
    {"event": "started", "run": "a", "step": 0, "time": 1.0},
    {"event": "started", "run": "b", "step": 0, "time": 1.0},
    {
        "event": "decision", "run": "a", "step": 2, "time": 3.0,
        "did": [{"action": "pause", "run": "a", "reason": "waits", "info": {"time": 2}}],
    },
    {"event": "paused", "run": "a", "step": 2, "time": 3.5},
    {"event": "resumed", "run": "a", "step": 2, "time": 5.0},
    {
        "event": "exploit", "run": "a", "step": 2, "time": 5.0,
        "did": [
            {
                "action": "exploit", "run": "a", "donor": "b", "reason": "goes on from run b",
                "old": {"x": 1}, "new": {"x": 2}, "info": {"steps": [2, 4], "score": 9.0},
            }
        ],
    },
    {"event": "recovered", "run": "b", "failures": 1, "error": "boom", "time": 6.0},
    {"event": "command", "run": "b", "verb": "stop_run", "args": {"run": "b"}, "time": 7.0},
    {
        "event": "decision", "run": "b", "step": 4, "time": 8.0,
        "did": [
            {
                "action": "stop", "run": "b", "reason": "worse",
                "info": {"rung": 4, "cutoff": 0.5, "value": 0.7, "of": 3},
            }
        ],
    },
    {"event": "ended", "run": "b", "state": "finished", "message": "worse", "time": 8.5},
]  # fmt: skip


def test_the_log_of_an_experiment_of_ray(backend) -> None:
    config = {"method": "custom", "metric": {"name": "loss", "goal": "minimize"}}
    backend.apply(
        [
            PutSweep(Sweep(id="abcd1234", config=config, created_at=1.0)),
            *(
                PutRun(Run(id=run, sweep_id="abcd1234", created_at=1.0, started_at=1.0))
                for run in "ab"
            ),
            LogEvents("abcd1234", 0, _RAY, 9.0),
        ]
    )
    snapshot = Reader(backend).snapshot("abcd1234")
    story = Analyst(backend).story(snapshot)
    assert [(mark.run, mark.kind, mark.time) for mark in story.marks] == [
        ("a", "pause", 3.0), ("a", "resume", 5.0), ("a", "exploit", 5.0),
        ("b", "failure", 6.0), ("b", "command", 7.0),
    ]  # fmt: skip
    assert story.gaps == {"a": [(3.0, 5.0)]}
    (copy,) = story.copies
    assert (copy.run, copy.donor, copy.at, copy.donor_at, copy.score) == ("a", "b", 2, 4, 9.0)
    stop = story.verdicts[-1]
    assert (stop.run, stop.at, stop.cutoff, stop.value, stop.of) == ("b", 4.0, 0.5, 0.7, 3)
    data = course.timeline(snapshot, story, "light")["data"]
    bars = [trace for trace in data if trace["type"] == "bar"]
    first = [
        (base, base + x)
        for trace in bars
        for base, x, y in zip(trace["base"], trace["x"], trace["y"], strict=True)
        if y == 0
    ]
    assert first[0] == (1000, 3000)
    assert first[1][0] == 5000
    assert {trace["name"] for trace in data if trace["type"] == "scatter"} == {
        MARKS[mark.kind][0] for mark in story.marks
    }


def test_lineages_without_a_log() -> None:
    lineage = [
        {"step": 0, "config": {"x": 1}},
        {"step": 3, "config": {"x": 2}, "time": 7.0, "donor": "b"},
    ]
    run = Run(id="a", sweep_id="s", meta={"lineage": lineage})
    (copy,) = from_runs([run, Run(id="b", sweep_id="s")])
    assert (copy.run, copy.donor, copy.old, copy.new, copy.at) == ("a", "b", {"x": 1}, {"x": 2}, 3)
    assert told({}).marks == []


def test_iterations_that_are_logged_count(backend) -> None:
    """Ray's steps of a donor may be those before its last report; its rows say the iteration."""
    config = {"method": "custom", "metric": {"name": "loss", "goal": "minimize"}}
    run = Run(id="a", sweep_id="abcd1234", config={"x": 2}, started_at=1.0)
    steps = [(0, 1), (1, 2), (2, 5), (3, 6)]
    rows = [Row(step, 1.0 + step, {"loss": 1.0, "training_iteration": at}) for step, at in steps]
    backend.apply(
        [
            PutSweep(Sweep(id="abcd1234", config=config, created_at=1.0)),
            PutRun(run),
            LogRows("a", rows),
            LogEvents("abcd1234", 0, [_RAY[5]], 9.0),
        ]
    )
    snapshot = Reader(backend).snapshot("abcd1234")
    (member,) = Analyst(backend).members(snapshot, "loss")
    assert member.points == [(1, 1.0, 0), (2, 1.0, 0), (5, 1.0, 1), (6, 1.0, 1)]
    (without,) = members(snapshot, Analyst(backend).copies(snapshot), {"a": [(2, 7.0)]}, {})
    assert without.points[0][2] == 1


@given(
    begin=st.floats(0, 10),
    took=st.floats(0, 10),
    pauses=st.lists(st.floats(0, 20), max_size=6, unique=True),
    over=st.booleans(),
)
def test_spans_and_gaps_fill_a_run(
    begin: float, took: float, pauses: list[float], over: bool
) -> None:
    end = begin + took
    times = sorted(time for time in pauses if begin <= time <= end)
    gaps: list[tuple[float, float | None]] = list(zip(times[::2], times[1::2], strict=False))
    if len(times) % 2:
        gaps.append((times[-1], None))
    found = course.spans(begin, end, gaps)
    assert found
    assert all(begin <= left <= right <= end for left, right in found)
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(found))
    paused = sum((end if back is None else back) - left for left, back in gaps)
    assert sum(right - left for left, right in found) == pytest.approx(took - paused, abs=1e-9)


@given(
    costs=st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=30),
    eta=st.sampled_from([2, 3, 4]),
)
def test_cutoffs_let_about_a_share_on(costs: list[float], eta: int) -> None:
    for cutoff in (asha_cutoff(costs, eta), hyperband_cutoff(costs, eta)):
        assert min(costs) <= cutoff <= max(costs)
        kept = sum(cost <= cutoff for cost in costs)
        assert kept >= math.floor(len(costs) / eta)


@given(
    values=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30),
    share=st.sampled_from([1 - 1 / eta for eta in (2, 3, 4, 2.5)]),
)
def test_percentiles_are_those_of_numpy(values: list[float], share: float) -> None:
    import numpy as np

    assert percentile(sorted(values), share) == np.percentile(values, share * 100)


@pytest.mark.parametrize(("grace", "eta", "most"), [(1, 3, 81), (1, 4, 100), (2, 2, 33), (5, 3, 4)])
def test_milestones_are_those_of_tune(grace: int, eta: int, most: int) -> None:
    from ray.tune.schedulers.async_hyperband import _Bracket

    found = asha_rungs(grace, eta, most)
    if grace < most:
        assert found == sorted(at for at, _ in _Bracket(grace, most, eta, 0)._rungs)
    else:
        assert found == []


@given(
    st.sampled_from(["HyperBandScheduler", "HyperBandForBOHB"]),
    st.integers(2, 90),
    st.sampled_from([2, 3, 4]),
)
def test_brackets_are_those_of_tune(kind: str, most: int, eta: int) -> None:
    import ray.tune.schedulers as theirs

    scheduler = getattr(theirs, kind)(
        metric="loss", mode="min", max_t=most, reduction_factor=eta, time_attr="training_iteration"
    )
    law = brackets_of(Algorithm.of(kind, max_t=most, reduction_factor=eta))
    trials = [object() for _ in range(sum(one.room for one in law) + 1)]
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    band, second = scheduler._hyperbands
    filled = [(place, one) for place, one in enumerate(band) if one is not None]
    assert [(one.number, one.room) for one in law] == [(place, one._n0) for place, one in filled]
    assert len(second) >= 1
    for one, (_, bracket) in zip(law, filled, strict=True):
        marks = [bracket._cumul_r]
        while bracket._halves:
            bracket._live_trials = {}
            bracket.successive_halving("loss", -1.0)
            marks.append(bracket._cumul_r)
        assert list(one.marks) == list(dict.fromkeys(marks))
    names = [str(place) for place in range(len(trials))]
    own = placed(names, [], law)
    for trial, (at, one) in zip(trials[:-1], own, strict=False):
        assert at == 0
        assert band[one.number] is scheduler._trial_info[trial][0]
    assert own[-1] == (1, law[0])


def test_a_run_without_a_decision_is_beside_the_others() -> None:
    law = brackets_of(Algorithm.of("HyperBandScheduler", max_t=9))

    def told(run: str, bracket: int, band: int = 0) -> Verdict:
        return Verdict(run, "pause", 1.0, band=band, bracket=bracket)

    verdicts = [told("a", 0), told("c", 1), told("e", 2), told("f", 0, 1)]
    found = placed(["a", "b", "c", "d", "e", "f", "g"], verdicts, law)
    numbers = [(band, bracket.number) for band, bracket in found]
    assert numbers == [(0, 0), (0, 0), (0, 1), (0, 1), (0, 2), (1, 0), (1, 0)]
