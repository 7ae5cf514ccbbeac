"""Parallel coordinates of many runs, of conditional and categorical spaces, and their picks."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("dash")

from tests.server.seed import CONFIG, make_sweep
from tune_bridge.backends.base import LogRows, PutRun, PutSweep, Row, Run, Sweep
from tune_bridge.server.axes import labels, make_axis
from tune_bridge.server.figures import curves, sample
from tune_bridge.server.packed import pack, unpack
from tune_bridge.server.parallel import parallel_coordinates
from tune_bridge.server.selection import Selection
from tune_bridge.server.state import Choices
from tune_bridge.server.sweep_page import parallel_figure
from tune_bridge.server.sweep_parts import time_left
from tune_bridge.server.table import columns
from tune_bridge.server.values import json_bytes
from tune_bridge.server.views import Dimension, Plan, Reader, Snapshot


def snapshot_of(runs, configs, summaries, config=CONFIG, **sweep) -> Snapshot:
    return Snapshot(
        sweep=Sweep(id="s", config=config, **sweep),
        version="1",
        plan=Plan.of(config),
        runs=runs,
        configs=configs,
        summaries=summaries,
        read_at=0.0,
    )


def drawn(snapshot: Snapshot, metric="val_loss", **more):
    indices = list(range(len(snapshot.runs)))
    return parallel_coordinates(snapshot, indices, metric, log=False, scheme="light", **more)


@given(st.lists(st.one_of(st.floats(width=32), st.integers(-(2**40), 2**40))))
def test_packed_numbers_come_back(values) -> None:
    packed = pack(values)
    json.dumps(packed)
    for before, after in zip(values, unpack(packed), strict=True):
        assert math.isnan(after) if before != before else after == pytest.approx(before, rel=1e-7)


def test_small_numbers_are_small() -> None:
    assert pack([1, -1, 3.0])["dtype"] == "i1"
    assert pack([0.1, 0.2, math.nan])["dtype"] == "f4"
    assert pack([1e300, 1.0])["dtype"] == "f8"
    assert pack([1.0, 1.0 + 1e-9])["dtype"] == "f8"


@given(st.integers(0, 60), st.integers(1, 20))
def test_a_sample_has_the_best_and_the_others_evenly(count, most) -> None:
    runs = [Run(id=f"r{i}", sweep_id="s", state="finished") for i in range(count)]
    losses = [{"val_loss": float((i * 37) % 61)} for i in range(count)]
    snapshot = snapshot_of(runs, [{} for _ in runs], losses)
    found = sample(snapshot, range(count), most)
    assert len(found) == min(count, most)
    assert found == sorted(set(found))
    assert set(snapshot.ranked()[: most // 2]) <= set(found)


def test_ten_thousand_runs_are_few_bytes() -> None:
    count, keys = 10_000, [f"p{i}" for i in range(20)]
    space = {key: {"min": 0.0, "max": 1.0} for key in keys}
    config = {**CONFIG, "parameters": space}
    runs = [Run(id=f"run{i}", sweep_id="s", state="finished") for i in range(count)]
    configs = [{k: math.sin(i * 7 + j) ** 2 for j, k in enumerate(keys)} for i in range(count)]
    losses = [{"val_loss": math.cos(i) + 2} for i in range(count)]
    snapshot = snapshot_of(runs, configs, losses, config)
    figure = drawn(snapshot)
    meta = figure["layout"]["meta"]
    assert meta["runs"] == count
    assert len(unpack(figure["data"][0]["line"]["color"])) == meta["drawn"] < count
    assert len(json_bytes(figure)) < 450_000
    points = {run.id: [(step, math.sin(i + step)) for step in range(10)]
              for i, run in enumerate(runs)}  # fmt: skip
    lines = curves(snapshot, range(count), "val_loss", points, log=False, scheme="light")
    assert len(json_bytes(lines)) < 400_000


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("missing", [[], [None]])
def test_a_pick_of_numbers_stands_where_it_was_drawn(log, missing) -> None:
    axis = make_axis(Dimension("lr", log=log, low=1e-4, high=1.0), [1e-4, 0.5, 1.0, *missing])
    (found,) = axis.plotly("c:lr", [[0.01, 0.1]])["constraintrange"]
    assert [10**end if log else end for end in found] == pytest.approx([0.01, 0.1])
    without = axis.plotly("c:lr", [None]).get("constraintrange")
    assert (without is not None) is bool(missing)
    if without:
        assert without[0][0] < axis.missing < without[0][1] < axis.meaning()["start"]


def test_a_pick_of_options_stands_at_them() -> None:
    axis = make_axis(Dimension("o", options=("sgd", "adam", 1, True)), ["adam", None])
    found = axis.plotly("c:o", ["adam", True, "nothing"])["constraintrange"]
    assert [sum(ends) / 2 for ends in found] == [1.0, 3.0]
    assert axis.meaning()["options"] == ["sgd", "adam", 1, True]


def test_ticks_are_in_order_and_each_has_its_text() -> None:
    for values in ([1e-4, 1.0], [1e-4, 1.0, None], [2, 8]):
        made = make_axis(Dimension("lr", log=True), values).plotly("c:lr")
        assert made["tickvals"] == sorted(set(made["tickvals"]))
        assert len(set(made["ticktext"])) == len(made["ticktext"]) == len(made["tickvals"])


def test_tags_are_texts() -> None:
    """Plotly reads them in the name of an axis, and not at its ticks."""
    made = make_axis(Dimension("<i>o</i>", options=("<b>x</b>", "a&b")), ["a&b"]).plotly("c:o")
    assert made["label"] == "&lt;i&gt;o&lt;/i&gt;"
    assert {"<b>x</b>", "a&b"} <= set(made["ticktext"])


def test_names_of_axes_tell_them_apart() -> None:
    assert labels(["a.lr", "b.lr", "c.depth"]) == ["a.lr", "b.lr", "depth"]
    assert labels(["net.a.lr", "net.b.lr", "lr"]) == ["a.lr", "b.lr", "lr"]
    assert labels(["model.loss", "depth"], ["loss"]) == ["model.loss", "depth"]
    long = "learning_rate_of_the_{}_layer_of_the_network"
    assert labels([long.format("first"), "x"]) == ["learning…e_network", "x"]
    assert len(set(labels([long.format("first"), long.format("last")]))) == 2


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join)


@given(st.lists(PATHS, min_size=1, max_size=8, unique=True))
def test_no_two_axes_have_one_name(paths) -> None:
    found = labels(paths)
    assert len(set(found)) == len(paths)
    assert all(
        path == name or path.endswith(f".{name}") for path, name in zip(paths, found, strict=True)
    )


def test_the_drawing_shows_what_is_not_picked_too(backend) -> None:
    snapshot = Reader(backend).snapshot(make_sweep(backend, 60))
    picks = {"c:optimizer": ["sgd"], "c:lr": [[1e-4, 1e-2]]}
    choices = Choices(selection=Selection(picks=picks), axes=("s:val_loss", "c:layers"))
    figure = parallel_figure(snapshot, choices)
    assert figure["layout"]["meta"]["drawn"] > len(choices.selection.chosen(snapshot)) > 0
    axes = figure["data"][0]["dimensions"]
    assert [axis["name"] for axis in axes][:2] == ["s:val_loss", "c:layers"]
    assert {axis["name"] for axis in axes if "constraintrange" in axis} == set(picks)


def test_conditions_many_axes_texts_and_no_metric(backend) -> None:
    space = {f"p{i}": {"min": 0.0, "max": 1.0} for i in range(50)}
    config = {"method": "random", "metric": {"name": "grade"}, "parameters": space}
    backend.apply([PutSweep(Sweep(id="odd", config=config, created_at=1.0))])
    for i in range(4):
        values = {f"p{j}": j / 50 for j in range(50) if i or j % 2}
        run = Run(id=f"r{i}", sweep_id="odd", config=values)
        backend.apply([PutRun(run)])
    reader = Reader(backend)
    assert "No run has a value yet" in str(drawn(reader.snapshot("odd"), None))
    backend.update_sweep("odd", config={"method": "random", "parameters": space})
    nothing = drawn(reader.snapshot("odd"), None)
    backend.update_sweep("odd", config=config)
    assert len(nothing["data"][0]["dimensions"]) == 40
    for i in range(3):
        backend.apply([LogRows(f"r{i}", [Row(0, 1.0, {"grade": "abc"[i]})])])
    snapshot = reader.snapshot("odd")
    assert snapshot.metrics == []
    graded = drawn(snapshot, None)
    last = graded["data"][0]["dimensions"][-1]
    assert (last["name"], last["ticktext"]) == ("s:grade", ["n/a", "a", "b", "c"])
    json_bytes(graded)


def test_time_left_is_said_when_it_is_known() -> None:
    def left(ended: int, now: float, cap: int | None = 50, state: str = "running") -> float | None:
        config = {**CONFIG, "run_cap": cap} if cap else {"method": "random"}
        runs = [Run(id=f"r{i}", sweep_id="s", ended_at=10.0 * i) for i in range(ended)]
        empty = [{} for _ in runs]
        return time_left(snapshot_of(runs, empty, empty, config, state=state), now)

    assert left(20, 190.0) == pytest.approx(300)
    assert left(20, 280.0) == pytest.approx(600)  # it has stalled
    assert left(9, 90.0) is None
    assert left(50, 500.0) is None
    assert left(20, 190.0, cap=None) is None
    assert left(20, 190.0, state="paused") is None


def test_columns_as_the_reader_wants_them(backend) -> None:
    values = {f"k{i:03}": i for i in range(200)}
    backend.apply([PutSweep(Sweep(id="wide", created_at=1.0))])
    backend.apply([PutRun(Run(id="r", sweep_id="wide", config=values))])
    snapshot = Reader(backend).snapshot("wide")

    def shown(made: list[dict]) -> list[str]:
        return [one["field"] for one in made if not one.get("initialHide")]

    first = columns(snapshot)
    assert len(first) == 206
    assert len(shown(first)) == 40
    assert {"name", "state", "c:k000", "message"} <= set(shown(first))
    assert [one["field"] for one in first if one.get("initialPinned")] == ["name"]
    wanted = columns(snapshot, ["c:k150", "name"], ["c:k150"])
    assert shown(wanted) == ["c:k150", "name"]
    assert [one["field"] for one in wanted if one.get("initialPinned")] == ["c:k150"]
