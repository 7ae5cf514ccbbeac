"""A run beside others of its sweep."""

from __future__ import annotations

import pytest

from tune_bridge.backends.base import LogRows, PutRun, PutSweep, Row, Run, Sweep

pytest.importorskip("dash")

from tests.server.seed import make_sweep
from tests.server.test_run_page import texts
from tune_bridge.server.run_beside import MOST, Beside, beside_table, found, shortcuts
from tune_bridge.server.run_curves import Look, run_figure
from tune_bridge.server.run_life import Change
from tune_bridge.server.views import Reader

CONFIG = {
    "method": "random",
    "metric": {"name": "acc", "goal": "maximize"},
    "parameters": {"lr": {"min": 0.0, "max": 1.0}},
}
RUNS = {
    "one": ({"lr": 0.1, "net": {"depth": 2}, "flag": True}, {"acc": 0.5, "note": "<b>"}),
    "two": ({"lr": 0.1, "net": {"depth": 3}, "flag": 1}, {"acc": 0.75, "note": "<b>"}),
    "three": ({"lr": 0.2, "net": {"depth": 2}}, {"acc": float("nan"), "extra": 3}),
}


@pytest.fixture
def reader(backend) -> Reader:
    operations = [PutSweep(Sweep(id="s", name="s", project="p", config=CONFIG))]
    for place, (name, (config, summary)) in enumerate(RUNS.items()):
        run = Run(id=name, sweep_id="s", name=f"run {name}", config=config, state="finished",
                  created_at=100.0 + place, started_at=100.0, ended_at=160.0)  # fmt: skip
        rows = [Row(0, 1000.0 * place, {**summary, "loss": 1.0}),
                Row(4, 1000.0 * place + 8, {**summary, "loss": 2.0})]  # fmt: skip
        operations += [PutRun(run), LogRows(name, rows)]
    backend.apply(operations)
    return Reader(backend)


def test_what_differs_is_told_and_the_rest_on_demand(reader) -> None:
    snapshot = reader.snapshot("s")
    beside = Beside.of(snapshot, snapshot.runs[0], ("two", "three"))
    few = {line.key: line.values for line in beside.config(everything=False)}
    assert list(few) == ["lr", "net.depth", "flag"]
    assert few["lr"] == [0.1, 0.1, 0.2]
    assert few["flag"][:2] == [True, 1]  # not the same, although equal to Python
    alike = Beside.of(snapshot, snapshot.runs[0], ("two",))
    assert [line.key for line in alike.config(everything=False)] == ["net.depth", "flag"]
    lines = alike.config(everything=True)
    assert [(line.key, line.differs) for line in lines] == [
        ("lr", False), ("net.depth", True), ("flag", True),
    ]  # fmt: skip
    shown = texts(beside_table(alike, everything=False))
    assert "What differs in the configuration" in shown
    assert "lr" not in shown
    assert "lr" in texts(beside_table(alike, everything=True))
    same = Beside.of(snapshot, snapshot.runs[0], ())
    assert "Nothing differs in the configuration" in texts(beside_table(same, everything=False))


def test_results_stand_with_their_difference_to_the_run(reader) -> None:
    snapshot = reader.snapshot("s")
    beside = Beside.of(snapshot, snapshot.runs[0], ("two", "three"))
    lines = {line.key: line for line in beside.results()}
    assert next(iter(lines)) == "acc"
    assert lines["acc"].differences()[:2] == [None, 0.25]
    assert lines["note"].differences() == [None, None, None]
    assert lines["extra"].differences() == [None, None, None]
    assert beside.leads() == 1
    shown = texts(beside_table(beside, everything=False))
    assert "0.75 +0.25" in shown
    assert "NaN" in shown
    back = Beside.of(snapshot, snapshot.runs[1], ("one",))
    assert "0.5 \N{MINUS SIGN}0.25" in texts(beside_table(back, everything=False))


def test_wrong_ids_and_too_many_are_said(backend) -> None:
    make_sweep(backend, 12)
    snapshot = Reader(backend).snapshot("abcd1234")
    ids = [run.id for run in snapshot.runs]
    beside = Beside.of(snapshot, snapshot.runs[0], ("<b>", ids[0], ids[1], ids[1], "../x"))
    assert [run.id for run in beside.others] == [ids[1]]
    assert beside.notes == [
        "There is no run '<b>' in this sweep.", "There is no run '../x' in this sweep.",
    ]  # fmt: skip
    beside = Beside.of(snapshot, snapshot.runs[0], ids)
    assert len(beside.others) == MOST
    assert beside.notes[0].startswith("A run is compared with 8 others at most; left out: ")


def test_runs_are_found_by_name_and_id_and_never_all_of_them(backend) -> None:
    make_sweep(backend, 300)
    snapshot = Reader(backend).snapshot("abcd1234")
    run, other = snapshot.runs[0], snapshot.runs[250]
    assert len(found(snapshot, run, "", ())) == 20
    best = snapshot.best
    assert best is not None
    assert found(snapshot, run, "", ())[0]["value"] == best.run_id
    for words in (other.id, other.name.upper()):
        assert other.id in [one["value"] for one in found(snapshot, run, words, ())]
    chosen = found(snapshot, run, "no such thing", (other.id, "gone"))
    assert [one["value"] for one in chosen] == [other.id, "gone"]
    assert run.id not in [one["value"] for one in found(snapshot, run, run.id, ())]


def test_shortcuts_lead_to_the_best_run_and_the_donors(reader) -> None:
    snapshot = reader.snapshot("s")
    one, two, three = snapshot.runs
    copied = [Change(1.0, 1, 1, "lr", 1, 2, "three"), Change(2.0, 2, 2, "lr", 2, 3, "gone")]
    assert shortcuts(snapshot, one, Look(), copied) == [
        ("with the best run", ["two"]), ("with its donor", ["three"]),
    ]  # fmt: skip
    assert shortcuts(snapshot, two, Look(), ()) == []
    chosen = Look(others=("two",))
    assert shortcuts(snapshot, one, chosen, copied) == [("with its donor", ["two", "three"])]
    both = [*copied, Change(3.0, 3, 3, "lr", 2, 3, "two")]
    assert shortcuts(snapshot, one, Look(), both)[1] == (
        "with its 2 donors", ["two", "three"],
    )  # fmt: skip
    assert shortcuts(snapshot, three, Look(others=("two", "one")), both) == []


def test_the_address_says_all_of_it() -> None:
    look = Look.of("?with=a,b&with=b,%20c&all=1&y=loss&log=1&smooth=0.5&x=_timestamp", None)
    assert look.others == ("a", "b", "c")
    assert look.everything
    assert Look.of(look.query(look.others), None) == look
    assert Look().query(()) == ""


def test_curves_of_several_runs_have_a_colour_each(reader) -> None:
    snapshot = reader.snapshot("s")
    one, *others = snapshot.runs
    figure = run_figure(reader, snapshot, one, Look(over="_timestamp"), (), others)
    names = [trace["name"] for trace in figure["data"]]
    assert names == ["run one", "run two", "run three"]
    assert len({trace["line"]["color"] for trace in figure["data"]}) == 3
    assert [trace["x"] for trace in figure["data"]] == [[0.0, 8.0]] * 3  # each from its own start
    several = Look(metrics=("acc", "loss"), scheme="dark")
    drawn = run_figure(reader, snapshot, one, several, (), others[:1])["data"]
    assert [trace["name"] for trace in drawn if trace["showlegend"]] == [
        "run one", "run two", "acc", "loss",
    ]  # fmt: skip
    lines = {trace["name"]: trace["line"] for trace in drawn}
    assert lines["run one: acc"]["color"] == lines["run one: loss"]["color"]
    assert lines["run one: acc"]["dash"] != lines["run one: loss"]["dash"]
    assert lines["run one: acc"]["dash"] == lines["run two: acc"]["dash"]


def test_programs_are_told_the_same(client, reader) -> None:
    found = client.get("/api/runs/one?with=two,none").json()["compared"]
    assert [run["id"] for run in found["runs"]] == ["one", "two"]
    assert found["notes"] == ["There is no run 'none' in this sweep."]
    assert found["config"] == [
        {"key": "net.depth", "values": [2, 3], "has": [True, True]},
        {"key": "flag", "values": [True, 1], "has": [True, True]},
    ]
    (acc,) = [line for line in found["summary"] if line["key"] == "acc"]
    assert acc["differences"] == [None, 0.25]
    assert "compared" not in client.get("/api/runs/one").json()
    curves = client.get("/api/runs/one/curves?with=two&y=loss").json()["curves"]
    assert [(curve["run_id"], curve["y"]) for curve in curves] == [
        ("one", [1.0, 2.0]), ("two", [1.0, 2.0]),
    ]  # fmt: skip


@pytest.mark.browser
@pytest.mark.slow
def test_a_run_is_compared_on_its_page(page, reader) -> None:
    from playwright.sync_api import expect

    # Rows that are ticked on the sweep's page lead to it; what is ticked is in the address.
    page.goto("/sweeps/s")
    for name in ("one", "three"):
        page.locator(f".ag-row[row-id={name}] input[type=checkbox]").check()
    page.wait_for_function("location.search === '?tick=one%2Cthree'")
    page.reload()
    expect(page.locator(".ag-row[row-id=three] input[type=checkbox]")).to_be_checked()
    assert page.get_by_role("dialog").count() == 0  # no details are opened by a tick
    page.get_by_role("link", name="Compare 2 ticked runs").click()
    expect(page.locator("#run-beside").get_by_role("link", name="run three")).to_be_visible()
    assert page.url.endswith("/sweeps/s/runs/one?with=three")

    page.goto("/sweeps/s/runs/one?y=loss&with=none")
    beside = page.locator("#run-beside")
    expect(beside).to_contain_text("There is no run 'none' in this sweep.")
    traces = "#run-curves .scatterlayer .trace"
    page.wait_for_selector(traces)

    # One press compares with the best run; it is in the address, and the metric stays there.
    page.get_by_role("link", name="with the best run").click()
    expect(beside.get_by_role("link", name="run two")).to_be_visible()
    page.wait_for_function("location.search === '?y=loss&with=none,two'")
    page.wait_for_function(f"document.querySelectorAll('{traces}').length === 2")
    expect(beside).to_contain_text("net.depth")
    expect(beside.get_by_role("row", name="lr")).to_have_count(0)
    page.locator("#with-all").press("Space")
    expect(beside.get_by_role("row", name="lr")).to_be_visible()

    # Another is searched for by its id; the server offers what it has found.
    field = page.locator("#with")
    field.fill("three")
    page.get_by_role("option", name="run three").click()
    page.wait_for_function("location.search === '?y=loss&with=none,two,three&all=1'")
    page.wait_for_function(f"document.querySelectorAll('{traces}').length === 3")
    page.reload()
    expect(beside.get_by_role("link", name="run three")).to_be_visible()
    page.wait_for_function(f"document.querySelectorAll('{traces}').length === 3")
