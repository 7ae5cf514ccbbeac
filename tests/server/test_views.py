"""What is computed for a page: axes, ticks, figures, table, numbers."""

from __future__ import annotations

import math

import pytest

from tests.server.seed import CONFIG, make_sweep
from tune_bridge.backends.base import Backend, LogRows, PutRun, PutSweep, Row, Run, Sweep

pytest.importorskip("dash")

from tune_bridge.server import views
from tune_bridge.server.axes import make_axis, ticks
from tune_bridge.server.figures import curves
from tune_bridge.server.packed import unpack
from tune_bridge.server.parallel import parallel_coordinates
from tune_bridge.server.selection import Selection
from tune_bridge.server.state import Choices
from tune_bridge.server.table import columns, rows
from tune_bridge.server.values import flatten, json_bytes, number, relative_time, to_yaml
from tune_bridge.server.views import Dimension, Plan, Reader, kind_of


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.000123456789, "0.000123457"),
        (1.5e-7, "1.5e-7"),
        (0.1 + 0.2, "0.3"),
        (12345678, "12345678"),
        (1e21, "1e21"),
        (-0.5, "-0.5"),
        (3.0, "3"),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
    ],
)
def test_numbers(value, shown):
    assert number(value) == shown


def test_relative_times():
    ages = [(1, "just now"), (59, "59 s ago"), (3700, "1 h ago"), (90000, "1 day ago")]
    assert [relative_time(0, age) for age, _ in ages] == [shown for _, shown in ages]


def test_json_is_strict():
    assert (
        json_bytes({"a": (math.nan, None, True), 1: "é"})
        == '{"a":["NaN",null,true],"1":"é"}'.encode()
    )


def test_flatten_keeps_empty_mappings():
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}


def test_yaml_reads_like_a_sweep_file():
    text = to_yaml({"method": "grid", "parameters": {"x": {"values": [1, 2]}}})
    assert text == "method: grid\nparameters:\n  x:\n    values: [1, 2]\n"


def test_ticks():
    assert ticks(1e-5, 1e-1, log=True) == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 1e-1])
    assert ticks(2, 8, log=True) == pytest.approx([2, 5])
    assert ticks(0, 0.6, log=False) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert ticks(3, 3, log=False) == [3]
    for low, high in [(1e-300, 1e300), (0.5, 0.50001), (1e6, 1e9)]:
        for log in (False, True):
            found = ticks(low, high, log=log)
            assert 2 <= len(found) <= 12
            slack = 1e-6 * high
            assert all(low - slack <= mark <= high + slack for mark in found)


def test_log_axis():
    axis = make_axis(Dimension("lr", log=True, low=1e-5, high=1e-1), [1e-4, 1e-2])
    assert axis.log
    assert axis.positions == pytest.approx([-4, -2])
    assert (axis.low, axis.high) == pytest.approx((-5, -1))
    assert axis.tick_texts == ["1e-5", "0.0001", "0.001", "0.01", "0.1"]


def test_values_outside_the_bounds_and_missing_ones_have_a_place():
    axis = make_axis(Dimension("lr", log=True, low=1e-3, high=1e-1), [1.0, None])
    assert axis.high == pytest.approx(0)
    assert axis.positions[1] == axis.low < -3
    assert axis.tick_texts[0] == "n/a"


def test_categories_keep_their_order_and_types():
    axis = make_axis(Dimension("o", options=("sgd", "adam")), ["adam", "sgd", "other", None])
    assert axis.tick_texts == ["n/a", "sgd", "adam", "other"]
    assert axis.positions == [1, 0, 2, -1]
    mixed = make_axis(Dimension("m", options=(1, True, "1", None)), [True, 1, "1"])
    assert len(set(mixed.positions)) == 3
    numbers = make_axis(Dimension("b", options=(64, 16, 32)), [16])
    assert numbers.tick_texts == ["16", "32", "64"]


def test_plan_takes_scales_from_the_space():
    plan = Plan.of(CONFIG)
    by_path = {dimension.path: dimension for dimension in plan.dimensions}
    assert by_path["lr"].log
    assert not by_path["dropout"].log
    assert (by_path["lr"].low, by_path["lr"].high) == (1e-5, 1e-1)
    assert by_path["optimizer"].options == ("adam", "adamw", "sgd")
    assert "epochs" not in by_path
    exponents = {"distribution": "log_uniform", "min": -5, "max": 0}
    plan = Plan.of({"method": "random", "parameters": {"lr": exponents}})
    assert plan.dimensions[0].high == 1
    assert plan.dimensions[0].low == pytest.approx(math.exp(-5))


def test_a_config_that_cannot_be_read_is_still_shown(backend):
    config = {"method": "random", "metric": {"name": "l"}, "parameters": {"a/b": {"min": 3}}}
    plan = Plan.of(config)
    assert plan.problem
    assert plan.objective == "l"
    assert Plan.of({}).dimensions == ()


@pytest.mark.parametrize("count", [0, 1, 2, 60])
def test_figures_of_few_and_many(backend, count):
    reader = Reader(backend)
    snapshot = reader.snapshot(make_sweep(backend, count))
    indices = range(len(snapshot.runs))
    histories = backend.histories(snapshot.sweep.id, "val_loss")
    for log in (False, True):
        for scheme in ("light", "dark"):
            metric = Choices().metric_in(snapshot)
            drawn = parallel_coordinates(snapshot, indices, metric, log=log, scheme=scheme)
            json_bytes(drawn)
            lines = curves(snapshot, indices, metric, histories, log=log, scheme=scheme)
            json_bytes(lines)
            assert bool(drawn["data"]) == bool(lines["data"]) == bool(count)
    assert len(rows(snapshot, indices)) == count


def test_parallel_coordinates_colour_the_best_strongest(backend):
    snapshot = Reader(backend).snapshot(make_sweep(backend, 60))
    figure = parallel_coordinates(
        snapshot, range(len(snapshot.runs)), "val_loss", log=True, scheme="light"
    )
    trace = figure["data"][0]
    assert [field for field, axis in figure["layout"]["meta"]["axes"].items() if axis["log"]] == [
        "c:lr",
        "c:weight_decay",
        "s:val_loss",
    ]
    metric = unpack(trace["dimensions"][-1]["values"])
    colour = unpack(trace["line"]["color"])
    assert colour.index(max(colour)) == metric.index(min(metric))


def test_texts_are_escaped_for_plotly(backend):
    name = "<b>x</b>"
    config = {"method": "random", "metric": {"name": name}}
    backend.apply([PutSweep(Sweep(id="esc00001", config=config, created_at=1.0))])
    for number_ in range(2):
        run = Run(id=f"e{number_}", sweep_id="esc00001", name=name, config={name: name * number_})
        backend.apply([PutRun(run), LogRows(run.id, [Row(0, 1.0, {name: 1.0})])])
    snapshot = Reader(backend).snapshot("esc00001")
    histories = backend.histories("esc00001", name)
    for figure in (
        parallel_coordinates(snapshot, [0, 1], name, log=False, scheme="light"),
        curves(snapshot, [0, 1], name, histories, log=False, scheme="light"),
    ):
        for trace in figure["data"]:
            trace.pop("hovertemplate", None)
            for axis in trace.get("dimensions", ()):
                axis.pop("name")  # for scripts: Plotly does not show it
                axis.pop("ticktext", None)  # Plotly takes it as a text (tests of the axes)
        figure["layout"].pop("uirevision")
        figure["layout"].pop("meta", None)
        assert b"&lt;b&gt;" in json_bytes(figure)
        assert b"<b>" not in json_bytes(figure)


def test_no_text_of_a_user_is_code_in_the_table(backend):
    evil = "alert(1)"
    backend.apply([PutSweep(Sweep(id="evil0001", created_at=1.0))])
    run = Run(id="e", sweep_id="evil0001", config={evil: 1, f"{evil}'": "a"})
    backend.apply([PutRun(run), LogRows("e", [Row(0, 1.0, {evil: math.nan})])])
    snapshot = Reader(backend).snapshot("evil0001")
    for column in columns(snapshot):
        plain = {"field", "colId", "headerName", "headerTooltip"}
        assert evil not in str({k: v for k, v in column.items() if k not in plain})
    assert rows(snapshot, [0])[0][f"s:{evil}"] == "NaN"


def test_best_and_top_follow_the_goal(backend):
    backend.apply([PutSweep(Sweep(id="goal0001", config=CONFIG, created_at=1.0))])
    values = [3.0, math.nan, 1.0, 2.0, -9.0]
    for index, value in enumerate(values):
        state = "failed" if value == -9 else "finished"
        run = Run(id=f"g{index}", sweep_id="goal0001", state=state, created_at=float(index))
        backend.apply([PutRun(run), LogRows(run.id, [Row(0, 1.0, {"val_loss": value})])])
    snapshot = Reader(backend).snapshot("goal0001")
    assert snapshot.best.run_id == "g2"
    assert Selection(top=2).chosen(snapshot) == [2, 3]
    assert Selection(show=("failed",)).chosen(snapshot) == [4]
    up = {**CONFIG, "metric": {"name": "val_loss", "goal": "maximize"}}
    backend.update_sweep("goal0001", config=up)
    assert Reader(backend).snapshot("goal0001").best.run_id == "g0"


def test_snapshots_are_read_once_for_each_version(backend, monkeypatch):
    make_sweep(backend, 5)
    reader = Reader(backend)
    first = reader.snapshot("abcd1234")
    assert reader.snapshot("abcd1234") is first
    backend.update_run(first.runs[0].id, message="news")
    second = reader.snapshot("abcd1234")
    assert second is not first
    assert second.runs[0].message == "news"


def test_choices_come_from_the_address():
    choices = Choices.of(
        '?metric=a&log=1&show=running,x&top=10&sort=[["c:lr","asc"],["x","up"]]&group=c:lr'
        '&cols=["name",1,"c:lr","name"]&pin=[]&axes=["s:loss"]&run=r1',
        "dark",
    )
    assert choices == Choices(
        selection=Selection(show=("running",), top=10, sort=(("c:lr", "asc"),)),
        metric="a",
        log=True,
        group="c:lr",
        columns=("name", "c:lr"),
        pins=(),
        axes=("s:loss",),
        run="r1",
        scheme="dark",
    )
    nonsense = "?top=x&log=x&filter=[1]&sort={&cols=1&pick=[]&group=nothing&axes={}"
    assert Choices.of(nonsense, None) == Choices()


def test_stopped_early_is_a_kind_of_its_own():
    assert (
        kind_of(Run(id="a", sweep_id="b", state="finished", stopped_early=True)) == "stopped_early"
    )
    assert kind_of(Run(id="a", sweep_id="b", state="killed")) == "killed"


def test_a_large_sweep_is_not_read_for_every_change(backend, monkeypatch):
    make_sweep(backend, 3)
    reader = Reader(backend)
    first = reader.snapshot("abcd1234")
    backend.update_sweep("abcd1234", name="new")
    assert reader.snapshot("abcd1234").sweep.name == "new"
    monkeypatch.setattr(type(backend), "changes", Backend.changes)  # which keeps no account
    monkeypatch.setattr(views, "_SLOW", -1.0)
    monkeypatch.setattr(views, "_SHARE", 1e9)
    known = reader.snapshot("abcd1234")
    backend.update_sweep("abcd1234", name="newer")
    assert reader.snapshot("abcd1234") is known
    monkeypatch.setattr(views, "_SHARE", 0.0)
    assert reader.snapshot("abcd1234").sweep.name == "newer"
    assert not first.fresh
