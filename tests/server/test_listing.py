"""The list of sweeps: what its address says, what it finds, what stands in a line."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.seed import CONFIG, make_sweep
from tune_bridge.backends.base import PatchRun, PutRun, PutSweep, Run, Sweep

pytest.importorskip("dash")

from tune_bridge.server.listing import ORDERS, STATES, Listing, find
from tune_bridge.server.sweep_list import spark_picture, sweeps_list
from tune_bridge.server.views import Reader

UNLIMITED = {name: value for name, value in CONFIG.items() if name != "run_cap"}


def query(href: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(href).query))


def shown(part) -> str:
    """A part of a page, as it is sent."""
    return json.dumps([one.to_plotly_json() for one in part if one], default=vars)


@given(
    st.builds(
        Listing,
        q=st.text().map(str.strip),
        project=st.text(),
        state=st.sampled_from(["", *STATES]),
        sort=st.sampled_from([f"{sign}{name}" for name in ORDERS for sign in ("", "-")]),
        offset=st.integers(0, 10**6),
    )
)
def test_an_address_and_back(listing):
    href = listing.href(offset=listing.offset)
    assert Listing.of(query(href)) == listing
    assert (href == "/") == (listing == Listing())


def test_nonsense_in_an_address():
    wrong = {"state": "tired", "sort": "-luck", "offset": "-3"}
    assert Listing.of(wrong) == Listing.of({"offset": "1" * 30, "sort": "-"}) == Listing()
    assert Listing(offset=200, q="x").href(sort="best") == "/?q=x&sort=best"


@pytest.fixture
def reader(backend):
    make_sweep(backend, 3, sweep_id="three000", name="Three", project="nlp")
    make_sweep(backend, 9, sweep_id="nine0000", name="nine", state="finished")
    make_sweep(backend, 0, sweep_id="none0000", name="", config=UNLIMITED)
    make_sweep(backend, 6, sweep_id="six00000", name="six", project="nlp", state="paused")
    return Reader(backend)


def ids(reader, limit=10, **chosen) -> list[str]:
    return [line.sweep.id[:4].rstrip("0") for line in find(reader, Listing(**chosen), limit).lines]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, ["six", "none", "nine", "thre"]),
        ({"sort": "created"}, ["thre", "nine", "none", "six"]),
        ({"sort": "name"}, ["nine", "none", "six", "thre"]),
        ({"sort": "-runs"}, ["nine", "six", "thre", "none"]),
        ({"sort": "runs"}, ["none", "thre", "six", "nine"]),
        ({"sort": "project"}, ["six", "thre", "none", "nine"]),
        ({"sort": "-state"}, ["nine", "six", "none", "thre"]),
        ({"project": "nlp"}, ["six", "thre"]),
        ({"project": "nl"}, []),
        ({"state": "paused"}, ["six"]),
        ({"project": "nlp", "state": "running"}, ["thre"]),
        ({"q": "NINE"}, ["nine"]),
        ({"offset": 2}, ["nine", "thre"]),
        ({"offset": 1, "sort": "name"}, ["none", "six", "thre"]),
    ],
)
def test_what_is_found(reader, chosen, expected):
    assert ids(reader, **chosen) == expected


def test_by_the_best_value_those_without_one_last(reader):
    best = {
        line.sweep.id[:4].rstrip("0"): line.best.value
        for line in find(reader, Listing(), 10).lines
        if line.best
    }
    up = sorted(best, key=best.__getitem__)
    assert ids(reader, sort="best") == [*up, "none"]
    assert ids(reader, sort="-best") == [*reversed(up), "none"]


def test_whether_there_are_more(reader):
    for sort in ("-created", "name"):
        assert find(reader, Listing(sort=sort), 3).more
        assert not find(reader, Listing(sort=sort), 4).more
        assert not find(reader, Listing(sort=sort, offset=1), 3).more


def test_the_twin_takes_the_same_query(client, reader):
    answer = client.get("/api/sweeps?project=nlp&sort=runs&limit=1").json()
    (line,) = answer["sweeps"]
    assert (line["id"], answer["more"]) == ("three000", True)
    assert {name: line[name] for name in ("runs", "run_cap", "running", "project")} == {
        "runs": 3, "run_cap": 1000, "running": 0, "project": "nlp",
    }  # fmt: skip
    assert line["spark"][-1] == line["best"]["value"]
    assert client.get("/api/sweeps?q=none").json()["sweeps"][0]["run_cap"] is None
    for wrong in ("state=tired", "sort=luck"):
        answer = client.get(f"/api/sweeps?{wrong}")
        assert answer.status_code == 422
        assert answer.json()["error"]["path"] == wrong.partition("=")[0]


def test_a_spark_line_says_the_same_in_words(reader):
    line = find(reader, Listing(q="nine"), 1).lines[0]
    picture = spark_picture(line)
    assert picture.alt.startswith("best val_loss so far: from ")
    assert picture.alt.endswith(f"to {line.best.value:.6g}")
    drawing = unquote(picture.src.removeprefix("data:image/svg+xml,"))
    points = re.search(r'points="([^"]+)"', drawing)[1].split()
    assert len(points) == len(line.spark)
    heights = [float(point.split(",")[1]) for point in points]
    assert heights == sorted(heights), "lower values are drawn lower"


def test_a_spark_line_is_in_the_order_of_the_ends(backend):
    backend.apply([PutSweep(Sweep(id="s", config=CONFIG))])
    for name, ended, loss in (("a", 30.0, 1.0), ("b", 10.0, 5.0), ("c", 20.0, 3.0)):
        run = Run(id=name, sweep_id="s", state="running", summary={"val_loss": loss})
        backend.apply([PutRun(run), PatchRun(name, {"state": "finished"}, ended)])
    backend.apply([PutRun(Run(id="d", sweep_id="s", state="failed", summary={"val_loss": 0}))])
    (line,) = find(Reader(backend), Listing(), 1).lines
    assert line.spark == (5.0, 3.0, 1.0)


def test_a_line(reader):
    listing = Listing(project="nlp")
    text = shown(sweeps_list(find(reader, listing, 10), listing, ["six00000"]))
    assert "6 / 1000" in text
    assert "6 of 1000 runs: " in text
    assert "2 running" in text
    assert text.count('"checked": true') == 1
    assert '"/?project=nlp&sort=-runs"' in text
    listing = Listing(q="none")
    assert '"children": "0"' in shown(sweeps_list(find(reader, listing, 10), listing, []))


def test_nothing_found_leads_back(reader):
    for listing in (Listing(state="failed"), Listing(offset=900), Listing(q="nowhere")):
        text = shown(sweeps_list(find(reader, listing, 10), listing, []))
        assert "Show all sweeps" in text


def test_pages_look_for_news_every_two_seconds(client):
    assert '"interval":2000' in client.get("/_dash-layout").text
