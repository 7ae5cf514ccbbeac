"""The page of a sweep in a browser: one selection for table, drawings, counts and downloads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.server.conftest import serving
from tests.server.seed import make_sweep
from tune_bridge.backends.base import PutRun, PutSweep, Run, Sweep
from tune_bridge.backends.local import LocalBackend
from tune_bridge.server import create_app

pytest.importorskip("dash")
pytest.importorskip("playwright")

from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROWS = ".ag-center-cols-container .ag-row"
MANY = 6000


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[LocalBackend]:
    path = tmp_path_factory.mktemp("sweeps") / "sweeps.db"
    with LocalBackend.open(str(path)) as backend:
        make_sweep(backend, 60)
        backend.apply([PutSweep(Sweep(id="many0000", created_at=1.0))])
        backend.apply(
            [
                PutRun(Run(id=f"run{i}", sweep_id="many0000", config={"x": i}, created_at=2.0 + i))
                for i in range(MANY)
            ]
        )
        yield backend


@pytest.fixture(scope="module")
def site(place: LocalBackend) -> Iterator[str]:
    with serving(create_app(place, poll=0.5)) as address:
        yield address


@pytest.fixture
def tab(chromium, site: str) -> Iterator:
    context = chromium.new_context(base_url=site, viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(120_000)
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    yield opened
    context.close()
    assert problems == []


def query(page) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(page.url).query).items()}


def first_rows(page, names: list[str]) -> None:
    """Waits until the table begins with these runs."""
    page.wait_for_function(
        """(names) => names.every((name, place) => document.querySelector(
            `.ag-row[row-index="${place}"] [col-id="name"]`)?.textContent === name)""",
        arg=names,
    )


def chosen(place: LocalBackend) -> list[Run]:
    """The runs with sgd, the best first."""
    found = [run for run in place.runs("abcd1234") if run.config["optimizer"] == "sgd"]
    return sorted(found, key=lambda run: run.summary["val_loss"])


def test_an_address_says_it_all_and_clear_undoes_it(tab, place) -> None:
    pick = quote(json.dumps({"c:optimizer": ["sgd"]}))
    sort = quote(json.dumps([["s:val_loss", "asc"]]))
    wanted = chosen(place)
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(urlsplit(request.url).path))
    tab.goto(f"/sweeps/abcd1234?pick={pick}&sort={sort}&run={wanted[0].id}&group=c:optimizer")
    first_rows(tab, [run.name for run in wanted[:3]])
    assert "/api/sweeps/abcd1234/table" not in asked  # they have come with the page
    expect(tab.locator("#chosen-count")).to_have_text(f"{len(wanted)} of 60 runs chosen")
    expect(tab.get_by_role("dialog")).to_contain_text("Config")
    expect(tab.locator("#groups tbody tr")).to_have_count(3)
    expect(tab.locator("#groups .tb-here")).to_contain_text("sgd")
    tab.wait_for_function(
        """() => document.querySelector('#parallel .js-plotly-plot')?._fullData?.[0]
            ?.dimensions?.find((axis) => axis.name === 'c:optimizer')?.constraintrange"""
    )
    link = parse_qs(urlsplit(tab.locator("#csv-link").get_attribute("href")).query)
    assert json.loads(link["pick"][0]) == {"c:optimizer": ["sgd"]}
    tab.locator("#clear").click()
    expect(tab.locator("#chosen-count")).to_have_text("")
    tab.wait_for_function("!location.search.includes('pick')")
    assert json.loads(query(tab)["sort"]) == [["s:val_loss", "asc"]]


def test_a_brush_chooses_runs_everywhere(tab, place) -> None:
    tab.goto("/sweeps/abcd1234")
    tab.wait_for_selector("#parallel .parcoords .y-axis", state="attached")
    tab.evaluate(
        """() => {
            const plot = document.querySelector('#parallel .js-plotly-plot');
            const axes = plot.data[0].dimensions;
            const place = axes.findIndex((axis) => axis.name === 'c:optimizer');
            const sgd = plot.layout.meta.axes['c:optimizer'].options.indexOf('sgd');
            const name = `dimensions[${place}].constraintrange`;
            return window.Plotly.restyle(plot, {[name]: [[[sgd - 0.2, sgd + 0.2]]]}, [0]);
        }"""
    )
    wanted = chosen(place)
    expect(tab.locator("#chosen-count")).to_have_text(f"{len(wanted)} of 60 runs chosen")
    assert json.loads(query(tab)["pick"]) == {"c:optimizer": ["sgd"]}
    for drawing in ("#parallel", "#curves"):
        assert tab.locator(drawing).bounding_box()["height"] > 300
    tab.wait_for_function(
        """() => { const texts = [...document.querySelectorAll('.ag-row [col-id="c:optimizer"]')]
            .map((cell) => cell.textContent).filter((text) => text);
            return texts.length && texts.every((text) => text === 'sgd'); }"""
    )


def test_the_drawings_come_when_their_program_does(tab) -> None:
    refused: list[str] = []

    def answer(route) -> None:
        if len(refused) < 2:  # when it is fetched early, and when it is read
            refused.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    tab.route("**/plotly*", answer)
    tab.goto("/sweeps/abcd1234")
    tab.wait_for_selector("#parallel .parcoords .y-axis", state="attached")
    assert len(refused) == 2


def test_six_thousand_runs_are_sorted_and_scrolled_by_the_server(tab) -> None:
    tab.goto("/sweeps/many0000?sort=" + quote(json.dumps([["c:x", "desc"]])))
    first_rows(tab, [f"run{MANY - 1}", f"run{MANY - 2}"])
    tab.evaluate("window.dash_ag_grid.getApi('runs').ensureIndexVisible(5000, 'top')")
    expect(tab.locator('.ag-row[row-index="5000"] [col-id="name"]')).to_have_text(
        f"run{MANY - 5001}"
    )


def test_columns_are_hidden_and_pinned(tab) -> None:
    tab.goto("/sweeps/abcd1234")
    tab.wait_for_selector(ROWS)
    tab.get_by_text("Columns", exact=True).click()
    tab.get_by_label("Search columns").fill("layers")
    tab.get_by_role("checkbox", name="layers").uncheck()
    tab.wait_for_function("location.search.includes('cols')")
    assert "c:layers" not in json.loads(query(tab)["cols"])
    tab.get_by_label("Search columns").fill("dropout")
    tab.get_by_role("button", name="Pin dropout to the left").click()
    tab.wait_for_function("location.search.includes('pin')")
    tab.reload()
    tab.wait_for_selector('.ag-pinned-left-header [col-id="c:dropout"]')
    assert tab.locator('.ag-header-cell[col-id="c:layers"]').count() == 0


def test_a_group_chooses_its_runs(tab, place) -> None:
    tab.goto("/sweeps/abcd1234?group=c:optimizer")
    tab.locator("#groups").get_by_role("link", name="sgd").click()
    expect(tab.locator("#chosen-count")).to_have_text(f"{len(chosen(place))} of 60 runs chosen")
    assert json.loads(query(tab)["pick"]) == {"c:optimizer": ["sgd"]}


def test_the_best_run_is_copied(tab, site: str) -> None:
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site)
    tab.goto("/sweeps/abcd1234")
    tab.get_by_text("Copy best as").click()
    tab.get_by_role("button", name="Command line").click()
    expect(tab.locator("#best")).to_contain_text("Copied")
    assert "train.py --lr=" in tab.evaluate("navigator.clipboard.readText()")
