"""What makes no sense in an address: pages say it, their twins refuse it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest

pytest.importorskip("dash")

from tests.server.seed import make_sweep
from tune_bridge.server import choices
from tune_bridge.server.choices import CHOICES, TWINS, said
from tune_bridge.server.views import Reader

SWEEP = "/sweeps/abcd1234"
RUN = f"{SWEEP}/runs/abcd0001"

ODD = [
    ("/", {"stat": "failed"}, "“stat” is not a choice of this page; it has: q, project, state"),
    ("/", {"utm_source": "mail"}, "“utm_source” is not a choice of this page"),
    ("/", {"sort": "nonsense"}, "sort=nonsense: no such column; it takes: created, name"),
    ("/", {"state": "tired"}, "state=tired: no such state; it takes: "),
    ("/compare", {"over": "moon"}, "over=moon: no such choice; it takes: runs, time."),
    (SWEEP, {"show": "exploded"}, "show=exploded: this makes no sense; it takes: "),
    (SWEEP, {"sort": "nonsense"}, "sort=nonsense: this makes no sense; it takes: a JSON list."),
    (SWEEP, {"metric": "nosuch"}, "metric=nosuch: no run has logged such a number; it takes: val"),
    (SWEEP, {"group": "lr"}, "group=lr: no such column"),
    (SWEEP, {"cols": "name"}, "cols=name: not a JSON list of columns."),
    (SWEEP, {"pin": '["lr"]'}, "pin=lr: no such column"),
    (SWEEP, {"run": "gone"}, "run=gone: no such run in this sweep."),
    (f"{SWEEP}/analysis", {"measure": "luck"}, "measure=luck: no such choice; it takes: "),
    (f"{SWEEP}/analysis", {"one": "lrr"}, "one=lrr: no parameter that varies; it takes: lr, "),
    (SWEEP, {"tick": "abcd0001,gone"}, "tick=gone: no such run in this sweep."),
    (RUN, {"x": "nosuch"}, "x=nosuch: no such axis; it takes: _step, _timestamp, "),
    (RUN, {"y": "nosuch"}, "y=nosuch: no run has logged such a number; it takes: val_loss"),
]
GOOD = [
    ("/", {"q": "a", "project": "p", "state": "failed", "sort": "-best", "offset": 100}),
    ("/", {}),
    ("/compare", {"sweep": "abcd1234", "metric": "val_loss", "over": "time", "log": 1}),
    (SWEEP, {"show": "failed,stopped_early", "top": 25, "sort": '[["s:val_loss","asc"]]'}),
    (SWEEP, {"pick": '{"c:lr":[[0,1]]}', "q": "x", "group": "c:lr", "run": "abcd0001"}),
    (SWEEP, {"tick": "abcd0001,abcd0002"}),
    (SWEEP, {"metric": "accuracy", "log": 1, "axes": '["c:lr"]', "cols": '["name"]', "pin": "[]"}),
    (f"{SWEEP}/analysis", {"metric": "accuracy", "one": "lr", "two": "dropout", "pair": "value"}),
    (RUN, {"y": "accuracy", "x": "_timestamp", "smooth": 0.5, "log": 1}),
]


@pytest.fixture
def reader(backend) -> Reader:
    make_sweep(backend, 6)
    return Reader(backend)


@pytest.mark.parametrize(("path", "query", "begins"), ODD)
def test_a_page_says_what_makes_no_sense(reader, path, query, begins) -> None:
    (sentence,) = said(reader, path, f"?{urlencode(query)}")
    assert sentence.startswith(begins)
    assert sentence.endswith(".")


@pytest.mark.parametrize(("path", "query"), GOOD)
def test_a_page_is_silent_about_what_it_knows(reader, path, query) -> None:
    assert said(reader, path, f"?{urlencode(query)}") == []


def twins(path: str) -> list[str]:
    """The addresses for programs that take the query of a page."""
    page = {"/": "sweeps", "/compare": "compare", SWEEP: "sweep", RUN: "run"}.get(path, "analysis")
    return [
        address.format(sweep_id="abcd1234", run_id="abcd0001")
        for address, (takes, _) in TWINS.items()
        if takes == page
    ]


@pytest.mark.parametrize(("path", "query", "begins"), ODD)
def test_twins_refuse_it(client, reader, path, query, begins) -> None:
    (name,) = query
    for address in twins(path):
        answer = client.get(address, params=query)
        assert answer.status_code == 422
        assert answer.json()["error"]["path"] == name


def test_twins_answer_what_pages_show(client, reader) -> None:
    for path, query in GOOD:
        for address in twins(path):
            assert client.get(address, params=query).status_code in (200, 501), (address, query)


def test_every_twin_is_there(client) -> None:
    known = json.loads(client.get("/api/openapi.json").text)["paths"]
    assert set(TWINS) - set(known) == set()
    assert {page for page, _ in TWINS.values()} == set(CHOICES)


ASSETS = Path(choices.__file__).parent / "assets"
SETS = re.compile(r'(?:query\.(?:set|append)|put)\((?:query, )?"(\w+)"')


@pytest.mark.parametrize(("script", "page"), [("list", "sweeps"), ("compare", "compare"),
                                              ("sweep", "sweep"), ("run", "run")])  # fmt: skip
def test_what_scripts_put_into_addresses_is_known(script, page) -> None:
    written = set(SETS.findall((ASSETS / f"page_{script}.js").read_text("utf-8")))
    of_twins = {name for takes, also in TWINS.values() if takes == page for name in also}
    assert written
    assert written - of_twins <= set(CHOICES[page]) | {"y"}  # of the link to a run


def test_all_at_once_and_each_once(reader) -> None:
    sentences = said(reader, "/", "?a=1&sort=x&a=2&b=1&state=y")
    assert [sentence.split("=")[0].split("”")[0] for sentence in sentences] == [
        "“a", "sort", "“b", "state",
    ]  # fmt: skip
