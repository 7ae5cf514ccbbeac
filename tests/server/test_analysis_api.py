"""The JSON twin of the analysis page."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("dash")
pytest.importorskip("sklearn")

from tests.server.seed import make_sweep
from tune_bridge.server.analysis.api import PARTS
from tune_bridge.server.analysis.cards import FIGURES
from tune_bridge.server.views import Reader
from tune_bridge.sweep_config import SweepConfig

URL = "/api/sweeps/abcd1234/analysis"


def refuse(name: str) -> None:
    raise AssertionError(f"{name} is not strict JSON")


@pytest.fixture
def answer(client, backend):
    make_sweep(backend, 300)
    return json.loads(client.get(f"{URL}?measure=correlation").text, parse_constant=refuse)


def test_every_drawing_has_its_numbers(answer, backend) -> None:
    assert set(PARTS) == set(FIGURES) - {"contour", "ranks"}
    assert set(answer) == {"sweep", "version", "metric", *PARTS} - {"lineage"}
    snapshot = Reader(backend).snapshot("abcd1234")
    best = snapshot.best
    progress = answer["progress"]
    assert progress["best"][-1] == best.value
    assert progress["runs"][progress["values"].index(best.value)] == best.run_id
    assert len(answer["timeline"]["runs"]) == 300
    assert answer["distribution"]["values"] == sorted(progress["values"])
    assert answer["distribution"]["share"][-1] == 1.0
    slices = answer["slices"]
    assert slices["ranks"][slices["runs"].index(best.run_id)] == 1
    assert answer["importance"]["measure"] == "correlation"
    assert answer["pareto"]["metrics"] == ["val_loss", "accuracy"]
    assert answer["pareto"]["goals"] == ["minimize", "maximize"]


def test_rungs_count_runs(answer, backend) -> None:
    runs = Reader(backend).snapshot("abcd1234").runs
    rungs = answer["rungs"]["rungs"]
    assert [rung["at"] for rung in rungs] == [1, 3, 9, 27]
    for rung, after in zip(rungs, [*rungs[1:], None], strict=True):
        assert rung["came"] == sum(run.rows >= rung["at"] for run in runs)
        assert rung["let_on"] == rung["came"] - rung["stopped"]
        assert rung["stopped"] == sum(run.stopped_early and run.rows == rung["at"] for run in runs)
        assert after is None or after["came"] <= rung["let_on"]
        # W&B's threshold: the value at position n // eta, best first.
        assert rung["cutoff"] == sorted(rung["values"])[len(rung["values"]) // 3]


def test_the_advice_can_be_pasted(answer, backend) -> None:
    best, advice = answer["what_if"]["best"], answer["what_if"]["advice"]
    assert best["regret"] == 0
    assert best["saved"] == max(
        one["saved"] for one in answer["what_if"]["outcomes"] if one["regret"] == 0
    )
    config = dict(Reader(backend).snapshot("abcd1234").sweep.config)
    config.pop("early_terminate")
    scheduler = SweepConfig({**config, **advice["block"]}).experiment.scheduler
    assert best["setting"].items() <= scheduler.args.value.items()
    assert advice["tune"].startswith("scheduler=")


def test_parts_and_what_there_is_not(client, backend) -> None:
    make_sweep(backend, 30)
    found = client.get(f"{URL}?parts=progress,timeline&metric=accuracy&log=1").json()
    assert set(found) == {"sweep", "version", "metric", "progress", "timeline"}
    assert found["metric"] == "accuracy"
    assert found["progress"]["goal"] == "maximize"
    for query in ("metric=x", "objectives=x", "measure=x", "parts=x"):
        refused = client.get(f"{URL}?{query}")
        assert refused.status_code == 422
        assert refused.json()["error"]["path"] == query.partition("=")[0]
    assert client.get("/api/sweeps/none/analysis").status_code == 404


def test_a_sweep_without_runs(client, backend) -> None:
    make_sweep(backend, 0)
    found = client.get(URL).json()
    assert found["metric"] is None
    assert found["timeline"] == {"runs": [], "marks": []}
    assert found["rungs"]["rungs"] == []
