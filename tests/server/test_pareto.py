"""Fronts and the volumes that they dominate, against Optuna and pymoo."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("dash")
pytest.importorskip("sklearn")

import numpy as np

from tests.server.seed import make_sweep
from tune_bridge.backends.base import PatchRun, PutRun, PutSweep, Run, Sweep
from tune_bridge.server import notebook
from tune_bridge.server.analysis.analyst import Analyst
from tune_bridge.server.analysis.cards import View, cards, draw
from tune_bridge.server.analysis.pareto import front, growth, hypervolume, reference_of
from tune_bridge.server.analysis.results import Together
from tune_bridge.server.views import Reader


def rows(least: int = 1, most: int = 14) -> st.SearchStrategy[list[list[float]]]:
    """Rows of two to five costs, with many ties."""
    return st.integers(2, 5).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 6).map(float), min_size=width, max_size=width),
            min_size=least,
            max_size=most,
        )
    )


def dominates(one: list[float], two: list[float]) -> bool:
    return one != two and all(a <= b for a, b in zip(one, two, strict=True))


@given(rows())
def test_the_front_is_what_nobody_dominates(costs: list[list[float]]) -> None:
    found = front(costs)
    best = [one for one in costs if not any(dominates(other, one) for other in costs)]
    assert {tuple(costs[place]) for place in found} == set(map(tuple, best))
    assert len({tuple(costs[place]) for place in found}) == len(found)
    assert all(costs.index(costs[place]) == place for place in found)  # the oldest of equal ones
    assert [costs[place][0] for place in found] == sorted(costs[place][0] for place in found)


@settings(deadline=None)
@given(rows())
def test_volumes_are_those_of_optuna(costs: list[list[float]]) -> None:
    wfg = pytest.importorskip("optuna._hypervolume.wfg")
    end = [6.5] * len(costs[0])
    theirs = wfg.compute_hypervolume(np.array(costs), np.array(end))
    assert hypervolume(costs, end) == pytest.approx(theirs)


@pytest.mark.parametrize("width", [2, 3, 4])
def test_volumes_are_those_of_pymoo(width: int) -> None:
    hv = pytest.importorskip("pymoo.indicators.hv")
    rng = random.Random(width)
    costs = [[rng.random() for _ in range(width)] for _ in range(40)]
    end = [0.8] * width  # some are beyond it
    assert hypervolume(costs, end) == pytest.approx(hv.HV(ref_point=np.array(end))(np.array(costs)))


@settings(deadline=None)
@given(rows())
def test_growth_is_the_volume_of_all_so_far(costs: list[list[float]]) -> None:
    end = [5.0] * len(costs[0])
    found = growth(costs, end)
    assert found.exact
    known = dict(zip(found.places, found.volumes, strict=True))
    volume = 0.0
    for place in range(len(costs)):
        volume = known.get(place, volume)
        assert volume == pytest.approx(hypervolume(costs[: place + 1], end))
        assert (place in known) == (hypervolume(costs[:place], end) < volume - 1e-9)


def test_what_is_estimated_is_near() -> None:
    rng = random.Random(1)
    costs = [[rng.random() for _ in range(4)] for _ in range(150)]
    end = [1.0] * 4
    found = growth(costs, end)
    assert not found.exact
    assert found.volumes == sorted(found.volumes)
    for share in (0.1, 0.5, 1.0):
        at = found.places[round(share * (len(found.places) - 1))]
        volume = found.volumes[found.places.index(at)]
        assert volume == pytest.approx(hypervolume(costs[: at + 1], end), abs=0.005)


@given(rows())
def test_the_reference_keeps_the_front_and_no_outlier(costs: list[list[float]]) -> None:
    end = reference_of(costs)
    assert all(max(costs[place][at] for place in front(costs)) <= end[at] for at in range(len(end)))
    many = costs * 40
    assert reference_of([*many, [1e9] * len(end)]) == reference_of(many)


SEARCH = {"OptunaSearch": {"metric": ["loss", "height", "size"], "mode": ["min", "max", "min"]}}


@pytest.fixture
def snapshot(backend):
    """A sweep of three objectives; one run failed, one has two of them."""
    config = {
        "method": "bayes",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
        "controller": {"type": "cloud", "tune": {"version": 1, "search_alg": SEARCH}},
    }
    backend.apply([PutSweep(Sweep(id="abcd1234", config=config, created_at=1.0))])
    rng = random.Random(0)
    for number in range(30):
        run = Run(
            id=f"r{number:02d}", sweep_id="abcd1234", state="running", created_at=1.0 + number
        )
        summary = {"loss": rng.random(), "height": rng.random(), "size": rng.random(), "more": 1.0}
        if number == 7:
            del summary["size"]
        state = "failed" if number == 3 else "finished"
        ended = {"summary": summary, "state": state}
        backend.apply([PutRun(run), PatchRun(run.id, ended, 100.0 - number)])
    return Reader(backend).snapshot("abcd1234")


def test_objectives_are_drawn_in_pairs(snapshot, backend) -> None:
    found = Together.of(snapshot, ["loss", "height", "size"])
    assert {3, 7}.isdisjoint(found.indices)
    assert len(found.indices) == 28
    ends = [snapshot.runs[index].ended_at for index in found.indices]
    assert ends == sorted(ends)
    assert found.costs[0][1] == -found.values[0][1]
    figure = draw("pareto", snapshot, View(), Analyst(backend))
    rest, best = figure["data"]
    assert [len(one["values"]) for one in best["dimensions"]] == [len(found.front())] * 3
    assert len(rest["text"]) + len(best["text"]) == 28
    assert best["dimensions"][1]["label"] == "height \N{UPWARDS ARROW}"
    assert figure["layout"]["yaxis3"]["title"]["text"] == "size \N{DOWNWARDS ARROW}"
    view = View.of("?objectives=size&objectives=loss&objectives=nothing", None)
    two = draw("pareto", snapshot, view, Analyst(backend))
    assert two["data"][1]["x"] == sorted(two["data"][1]["x"])
    assert two["data"][1]["y"] == sorted(two["data"][1]["y"], reverse=True)
    assert two["layout"]["xaxis"]["title"]["text"] == "size \N{DOWNWARDS ARROW}"


def test_what_a_sweep_is_about_comes_first(snapshot, backend) -> None:
    assert list(cards(snapshot))[:3] == ["pareto", "hypervolume", "progress"]
    make_sweep(backend, 3, sweep_id="single")
    assert next(iter(cards(Reader(backend).snapshot("single")))) == "progress"


def test_the_volume_says_up_to_where(snapshot, client, backend) -> None:
    url = "/api/sweeps/abcd1234/analysis?parts=hypervolume"
    found = client.get(url).json()["hypervolume"]
    assert found["metrics"] == ["loss", "height", "size"]
    assert found["goals"] == ["minimize", "maximize", "minimize"]
    assert found["exact"]
    assert found["volumes"] == sorted(found["volumes"])
    chosen = client.get(f"{url}&reference=1,0,1").json()["hypervolume"]
    assert chosen["reference"] == [1.0, 0.0, 1.0]
    assert 0 < chosen["volumes"][-1] < 1
    last = Together.of(snapshot, found["metrics"])
    flipped = [[loss, -height, size] for loss, height, size in last.values]
    assert chosen["volumes"][-1] == pytest.approx(hypervolume(flipped, [1.0, 0.0, 1.0]))
    for point in ("1,2", "x", "1,2,nan"):
        refused = client.get(f"{url}&reference={point}")
        assert refused.status_code == 422
        assert refused.json()["error"]["path"] == "reference"
    words = draw("hypervolume", snapshot, View.of("?reference=1,0,1", None), Analyst(backend))
    (note,) = words["layout"]["annotations"]
    assert note["text"].replace("<br>", " ").replace("\xa0", " ") == (
        "reference point (chosen): loss 1, height 0, size 1"
    )
    nobody = draw("hypervolume", snapshot, View.of("?reference=0,0,0", None), Analyst(backend))
    assert "No run is better" in nobody["layout"]["annotations"][0]["text"]
    assert nobody["layout"]["height"] < 150


def test_a_notebook_shows_all_objectives(snapshot) -> None:
    shown = notebook.summary(snapshot, None)
    heads = "".join(f"<th>{name}</th>" for name in ("state", "loss", "height", "size"))
    assert heads in shown
