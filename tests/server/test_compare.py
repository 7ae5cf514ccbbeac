"""Sweeps beside each other: what is computed, drawn, shown and sent."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.seed import CONFIG, make_sweep
from tune_bridge.backends.base import PatchRun, PutRun, PutSweep, Run, Sweep

pytest.importorskip("dash")

from tune_bridge.server.addresses import Address
from tune_bridge.server.compare import Comparison, Side, edf, progress
from tune_bridge.server.compare_page import MOST, Read, View
from tune_bridge.server.views import Plan, Reader, Snapshot

METRIC = {"name": "loss", "goal": "minimize"}


def snapshot(name: str, *values, goal="minimize", metric="loss", start=1000.0, every=3600.0):
    """A sweep whose runs start together and end one after the other, with these losses."""
    config = {"method": "random", "metric": {"name": metric, "goal": goal}, "parameters": {}}
    runs = [
        Run(
            id=f"{name}{number}",
            sweep_id=name,
            name=f"run {number}",
            state="finished",
            started_at=start,
            ended_at=start + every * (number + 1),
        )
        for number in range(len(values))
    ]
    sweep = Sweep(id=name, name=name, config=config, created_at=start)
    plan = Plan(method="random", objective=metric, goal=goal)
    configs = [{"lr": 0.1 * number, "same": 1} for number in range(len(values))]
    summaries = [{} if value is None else {metric: value} for value in values]
    return Snapshot(sweep, "1", plan, runs, configs, summaries, read_at=start)


def test_what_is_computed():
    one, two = snapshot("one", 5.0, None, 3.0, 4.0, 1.0), snapshot("two", 2.0, 9.0, every=600.0)
    found = Comparison.of([one, two])
    a, b = found.sides
    assert (found.metric, found.goal, found.notes) == ("loss", "minimize", [])
    assert (a.line, b.line) == ([5.0, 3.0, 3.0, 1.0], [2.0, 2.0])
    assert a.steps("runs") == [(1, 5.0), (2, 3.0), (4, 1.0)]
    assert a.steps("time") == [(1.0, 5.0), (3.0, 3.0), (5.0, 1.0)]
    assert found.target == 2.0
    assert [found.runs_to_target(side) for side in found.sides] == [4, 1]
    assert (a.median, b.median) == (3.5, 5.5)
    assert (a.seconds, b.seconds) == (5 * 3600.0, 1200.0)
    assert (a.per_hour, b.per_hour) == (1.0, 6.0)
    assert (a.best.run_id, a.best.value, found.leading) == ("one4", 1.0, 0)
    assert found.parameters() == [("lr", [0.4, 0.0]), ("same", [1, 1])]


def test_highest_is_best():
    pair = [snapshot(name, *values, goal="maximize") for name, values in
            (("one", (5.0, 9.0)), ("two", (7.0, 8.0, 1.0)))]  # fmt: skip
    found = Comparison.of(pair)
    assert found.target == 8.0
    assert [found.runs_to_target(side) for side in found.sides] == [2, 2]
    assert edf(found, log=False, scheme="light")["data"][1]["x"] == [8.0, 7.0, 1.0]


def test_goals_that_do_not_agree_are_said():
    found = Comparison.of([snapshot("one", 5.0), snapshot("two", 7.0, goal="maximize")])
    assert found.goal == "minimize"
    (note,) = found.notes
    assert "do not agree" in note


def test_another_metric():
    pair = [snapshot("one", 5.0), snapshot("two", 7.0, metric="accuracy", goal="maximize")]
    found = Comparison.of(pair, "accuracy")
    assert (found.metric, found.goal) == ("accuracy", "maximize")
    assert found.notes == ["No run has a value of accuracy: one."]
    assert found.target is None
    unknown = Comparison.of(pair, "nope")
    assert unknown.metric == "loss"
    assert "No run has a number named 'nope'." in unknown.notes


def test_nothing_to_draw():
    found = Comparison.of([snapshot("one"), snapshot("two", None)])
    assert (found.metric, found.target, found.leading) == (None, None, None)
    for figure in (progress(found, "runs", log=False, scheme="dark"),
                   edf(found, log=True, scheme="light")):  # fmt: skip
        assert figure["data"] == []
        assert "No run has a value yet" in json.dumps(figure)
    assert Comparison.of([]).sides == []


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.booleans())
def test_lines_hold_every_change(values, maximize):
    goal = "maximize" if maximize else "minimize"
    side = Side.of(snapshot("one", *values, goal=goal), "loss", "#000", maximize=maximize)
    steps = dict(side.steps("runs"))
    best = None
    for place, value in enumerate(values):
        best = value if best is None else max(best, value) if maximize else min(best, value)
        known = max(at for at in steps if at <= place + 1)
        assert steps[known] == best
    figure = edf(Comparison.of([side.snapshot]), log=False, scheme="light")
    assert figure["data"][0]["y"][-1] == 1.0


def test_names_of_users_stay_texts():
    figure = progress(Comparison.of([snapshot("<b>x</b>", 1.0)]), "runs", log=False, scheme="light")
    assert figure["data"][0]["name"] == "&lt;b&gt;x&lt;/b&gt;"


def test_what_differs_in_the_configs(backend):
    other = {**CONFIG, "method": "random", "run_cap": 7, "name": "x"}
    make_sweep(backend, 2)
    make_sweep(backend, 2, sweep_id="other000", config=other)
    reader = Reader(backend)
    found = Comparison.of([reader.snapshot("abcd1234"), reader.snapshot("other000")])
    assert found.settings() == [("method", ["bayes", "random"]), ("run_cap", [1000, 7])]


def test_failed_runs_have_no_value_and_running_ones_come_last(backend):
    backend.apply([PutSweep(Sweep(id="s", config={"metric": METRIC}))])
    for name, state, loss in (("a", "running", 2.0), ("b", "failed", 0.0), ("c", "finished", 3.0)):
        run = Run(id=name, sweep_id="s", state="running", summary={"loss": loss}, updated_at=5.0)
        backend.apply([PutRun(run), PatchRun(name, {"state": state}, 10.0)])
    (side,) = Comparison.of([Reader(backend).snapshot("s")]).sides
    assert side.values == [3.0, 2.0]


def test_an_address_and_its_view(backend):
    search = "?sweep=a&sweep=b,a&metric=x&over=time&log=1"
    assert View.of(search, "dark") == View(("a", "b"), "x", "time", True, "dark")
    assert View.of("?over=moon&metric=", None) == View()
    assert Address.of("/compare") == Address("compare")
    assert Address("compare").path == "/compare"
    ids = [make_sweep(backend, 0, sweep_id=f"sweep00{number}") for number in range(MOST + 1)]
    read = Read.of(Reader(backend), ids)
    assert (len(read.snapshots), read.left) == (MOST, [ids[-1]])
    assert "left out: sweep008" in read.notes()[0]


def test_the_twin(client, backend):
    make_sweep(backend, 8)
    make_sweep(backend, 5, sweep_id="efgh5678", name="other", config={**CONFIG, "run_cap": 5})
    answer = client.get("/api/compare?sweep=abcd1234&sweep=efgh5678&sweep=nope&over=time").json()
    assert [side["id"] for side in answer["sweeps"]] == ["abcd1234", "efgh5678"]
    assert answer["unknown"] == ["nope"]
    assert answer["notes"] == ["There is no sweep 'nope'."]
    assert answer["settings"] == {"run_cap": [1000, 5]}
    bests = [side["best"]["value"] for side in answer["sweeps"]]
    assert answer["target"] == max(bests)
    assert [side["progress"][-1][1] for side in answer["sweeps"]] == bests
    assert all(0 < side["progress"][0][0] < 4 for side in answer["sweeps"])
    assert client.get("/api/compare?over=moon").status_code == 422
    assert client.get("/api/compare").json()["sweeps"] == []
    assert math.isfinite(answer["sweeps"][0]["runs_per_hour"])
    for path, status in (("/compare", 200), ("/compare?sweep=nope", 200), ("/comparison", 404)):
        assert client.get(path).status_code == status
