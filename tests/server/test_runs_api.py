"""The runs of a sweep for programs: JSON, cells, groups, CSV and Parquet of one selection."""

from __future__ import annotations

import csv
import io
import json
import math
from urllib.parse import urlencode

import pytest

pytest.importorskip("dash")

from tests.server.seed import make_sweep
from tune_bridge.backends.base import LogRows, PutRun, Row, Run
from tune_bridge.server import exports
from tune_bridge.server.state import Choices
from tune_bridge.server.table import first_block
from tune_bridge.server.values import json_bytes
from tune_bridge.server.views import Reader

URL = "/api/sweeps/abcd1234"
CHOSEN = {
    "show": "finished,stopped_early",
    "filter": json.dumps(
        {"c:optimizer": {"filterType": "text", "type": "equals", "filter": "sgd"}}
    ),
    "pick": json.dumps({"c:lr": [[1e-4, 1e-1]], "c:batch_size": [16, 64]}),
    "sort": json.dumps([["c:batch_size", "desc"], ["s:val_loss", "asc"]]),
}


@pytest.fixture
def wanted(backend) -> list[str]:
    """The runs of `CHOSEN`, in order, found by hand."""
    make_sweep(backend, 200)
    found = [
        run
        for run in backend.runs("abcd1234")
        if run.state == "finished"
        and run.config["optimizer"] == "sgd"
        and 1e-4 <= run.config["lr"] <= 1e-1
        and run.config["batch_size"] in (16, 64)
    ]
    assert len(found) > 5
    found.sort(key=lambda run: (-run.config["batch_size"], run.summary["val_loss"]))
    return [run.id for run in found]


def test_all_answers_hold_the_selection_in_its_order(backend, client, wanted) -> None:
    runs = client.get(f"{URL}/runs", params=CHOSEN).json()
    assert [run["id"] for run in runs["runs"]] == wanted
    assert runs["total"] == len(wanted)
    part = client.get(f"{URL}/runs", params={**CHOSEN, "limit": 3, "offset": 2}).json()
    assert [run["id"] for run in part["runs"]] == wanted[2:5]
    table = client.get(
        f"{URL}/table", params={**CHOSEN, "limit": 3, "fields": '["id", "c:lr", "c:no"]'}
    ).json()
    assert [row[0] for row in table["rows"]] == wanted[:3]
    assert table["rows"][0][1:] == [runs["runs"][0]["config"]["lr"], None]
    assert (table["total"], table["runs"]) == (len(wanted), 200)
    snapshot, choices = Reader(backend).snapshot("abcd1234"), Choices.of(urlencode(CHOSEN), None)
    first = first_block(snapshot, choices.selection, ["c:lr", "c:no"])
    assert first["fields"] == ["id", "kind", "message", "c:lr"]
    fields = {"fields": json.dumps(first["fields"])}
    assert (
        json.loads(json_bytes(first))
        == client.get(f"{URL}/table", params={**CHOSEN, **fields}).json()
    )
    lines = csv.DictReader(io.StringIO(client.get(f"{URL}/runs.csv", params=CHOSEN).text))
    assert [line["id"] for line in lines] == wanted
    best = client.get(f"{URL}/runs", params={"top": "10", "show": "finished"}).json()
    assert best["total"] == 10


def test_parquet_has_types(client, backend, wanted) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    odd = {"half": 0.5, "mixed": "a", "big": 10**30, "yes": True, "list": [1]}
    backend.apply(
        [
            PutRun(Run(id="odd", sweep_id="abcd1234", config=odd, created_at=1e9)),
            LogRows("odd", [Row(0, 1.0, {"val_loss": math.nan})]),
            PutRun(Run(id="even", sweep_id="abcd1234", config={"mixed": 1}, created_at=1e9)),
        ]
    )
    answer = client.get(f"{URL}/runs.parquet", params=CHOSEN)
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    assert parquet.read_table(io.BytesIO(answer.content))["id"].to_pylist() == wanted
    table = parquet.read_table(io.BytesIO(client.get(f"{URL}/runs.parquet").content))
    lines = next(csv.reader(io.StringIO(client.get(f"{URL}/runs.csv").text)))
    assert table.column_names == lines
    types = {field.name: str(field.type) for field in table.schema}
    assert types["config.lr"] == types["summary.val_loss"] == "double"
    assert types["config.batch_size"] == types["rows"] == "int64"
    assert types["config.mixed"] == types["config.big"] == types["config.list"] == "string"
    assert (types["config.yes"], types["stopped_early"]) == ("bool", "bool")
    assert types["created_at"] == "timestamp[us, tz=UTC]"
    row = {name: table[name][table["id"].to_pylist().index("odd")].as_py() for name in lines}
    assert math.isnan(row["summary.val_loss"])
    assert row["config.lr"] is None
    assert row["config.big"] == str(10**30)
    assert row["created_at"].timestamp() == 1e9


def test_without_pyarrow(client, backend, monkeypatch) -> None:
    import sys

    make_sweep(backend, 1)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer = client.get(f"{URL}/runs.parquet")
    assert answer.status_code == 501
    assert "tune-bridge[ray]" in answer.json()["error"]["message"]


def test_groups(client, backend) -> None:
    make_sweep(backend, 120)
    runs = backend.runs("abcd1234")
    answer = client.get(f"{URL}/runs", params={"group": "c:optimizer"}).json()
    assert [group["label"] for group in answer["groups"]] == ["adam", "adamw", "sgd"]
    for group in answer["groups"]:
        values = [
            run.summary["val_loss"] for run in runs if run.config["optimizer"] == group["label"]
        ]
        assert group["count"] == len(values)
        assert group["best"] == min(values)
        assert group["mean"] == pytest.approx(sum(values) / len(values))


@pytest.mark.parametrize("field", ["state", "c:optimizer", "c:lr", "c:layers", "s:val_loss", "c:x"])
def test_picking_a_group_gives_its_runs(client, backend, field) -> None:
    make_sweep(backend, 120)
    odd = {"lr": math.nan, "optimizer": ["a"], "layers": "8", "x": None}
    backend.apply([PutRun(Run(id="odd", sweep_id="abcd1234", config=odd))])
    groups = client.get(f"{URL}/runs", params={"group": field}).json()["groups"]
    assert sum(group["count"] for group in groups) == 121
    for group in groups:
        pick = {"pick": json.dumps({field: group["pick"]}), "group": field}
        found = client.get(f"{URL}/runs", params=pick).json()
        assert found["total"] == group["count"]
        assert found["groups"] == groups


@pytest.mark.parametrize(
    "query",
    ["show=happy", "sort=[[1]]", "filter=1", "pick=x", "top=-1", "group=nothing"],
)
def test_nonsense_is_refused_by_its_name(client, backend, query) -> None:
    make_sweep(backend, 1)
    for path in ("runs", "table", "runs.csv", "runs.parquet"):
        answer = client.get(f"{URL}/{path}?{query}")
        if query.startswith("group") and path != "runs":
            continue
        assert answer.status_code == 422
        assert answer.json()["error"]["path"] == query.partition("=")[0]
    assert client.get(f"{URL}/table?fields=[1]").json()["error"]["path"] == "fields"


def test_parquet_is_offered_where_it_can_be_made() -> None:
    pytest.importorskip("pyarrow")
    assert exports.has_parquet()
