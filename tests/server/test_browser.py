"""The pages in a real browser. Every test also fails for console errors and foreign requests."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.server.seed import CONFIG, START, make_sweep
from tune_bridge.backends.base import LogRows, PatchRun, PutRun, PutSweep, Row, Run, Sweep

pytest.importorskip("dash")
pytest.importorskip("playwright")

from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EVIL = "<script>window.pwned=1</script><img src=x onerror=window.pwned=1><b>x</b>"
ROWS = ".ag-center-cols-container .ag-row"
DRAWN = "#parallel .parcoords .y-axis"


def query(page) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(page.url).query).items()}


def cells(page, column: str) -> list[str]:
    """The texts of a column, from the top; ag-grid keeps only what is visible in the page."""
    return page.evaluate(
        """(column) => [...document.querySelectorAll(`.ag-row [col-id="${column}"]`)]
            .map((cell) => [Number(cell.closest('.ag-row').getAttribute('row-index')),
                            cell.textContent])
            .sort((a, b) => a[0] - b[0]).map((pair) => pair[1])""",
        column,
    )


def wait_cells(page, column: str, condition: str) -> list[str]:
    page.wait_for_function(
        """([column, condition]) => {
            const texts = [...document.querySelectorAll(`.ag-row [col-id="${column}"]`)]
                .map((cell) => cell.textContent);
            return texts.length > 0 && texts.every((text) => new RegExp(condition).test(text));
        }""",
        arg=[column, condition],
    )
    return cells(page, column)


def open_sweep(page, query: str = "") -> None:
    page.goto(f"/sweeps/abcd1234{query}")
    page.wait_for_selector(ROWS)
    page.wait_for_selector(DRAWN)


def filter_box(page, name: str):
    return page.get_by_label(f"{name} Filter Input").first


def test_from_the_list_to_a_sweep_and_back(page, backend):
    make_sweep(backend, 12)
    make_sweep(backend, 0, sweep_id="empty000", name="nothing yet")
    page.goto("/")
    expect(page.locator("#sweeps tbody tr")).to_have_count(2)
    page.get_by_role("link", name="resnet baseline").click()
    page.wait_for_selector(ROWS)
    expect(page).to_have_title("resnet baseline · tune-bridge")
    assert page.locator(".ag-row").count() >= 12
    page.get_by_role("link", name="Sweeps").click()
    expect(page.locator("#sweeps tbody tr")).to_have_count(2)
    page.get_by_role("link", name="nothing yet").click()
    expect(page.get_by_text("No runs yet")).to_be_visible()
    page.go_back()
    expect(page.locator("#sweeps")).to_be_visible()


def test_nothing_at_all(page):
    page.goto("/")
    expect(page.get_by_text("No sweeps yet")).to_be_visible()
    expect(page.get_by_text("tune-bridge run sweep.yaml")).to_be_visible()


def test_unknown_sweep(chromium, address):
    context = chromium.new_context()
    page = context.new_page()
    assert page.goto(f"{address}/sweeps/nope").status == 404
    page.get_by_role("link", name="Back to all sweeps").click()
    expect(page.get_by_text("No sweeps yet")).to_be_visible()
    context.close()


def test_sort_and_filter_live_in_the_address(page, backend):
    make_sweep(backend, 60)
    open_sweep(page)
    page.locator('.ag-header-cell[col-id="s:val_loss"] .ag-header-cell-text').click()
    page.wait_for_function("location.search.includes('sort')")
    lowest = min(run.summary["val_loss"] for run in backend.runs("abcd1234"))
    page.wait_for_function(
        """(wanted) => document.querySelector('.ag-row[row-index="0"] [col-id="s:val_loss"]')
            ?.textContent === wanted""",
        arg=f"{lowest:.6g}",
    )
    shown = [float(text) for text in cells(page, "s:val_loss")]
    assert shown == sorted(shown)
    filter_box(page, "optimizer").fill("sgd")
    assert set(wait_cells(page, "c:optimizer", "^sgd$")) == {"sgd"}
    page.wait_for_function("location.search.includes('filter')")
    assert json.loads(query(page)["sort"]) == [["s:val_loss", "asc"]]
    before = cells(page, "name")
    page.reload()
    page.wait_for_selector(ROWS)
    assert set(wait_cells(page, "c:optimizer", "^sgd$")) == {"sgd"}
    assert cells(page, "name")[: len(before)] == before


def test_choices_live_in_the_address(page, backend):
    make_sweep(backend, 60)
    open_sweep(page)
    page.get_by_text(re.compile(r"^finished \d+$")).last.click()
    assert set(wait_cells(page, "state", "^finished$")) == {"finished"}
    page.locator("#log").click()
    page.locator("#metric").click()
    page.get_by_role("option", name="accuracy").click()
    page.wait_for_function(
        "['show=finished', 'log=1', 'metric=accuracy'].every((s) => location.search.includes(s))"
    )
    page.wait_for_function(
        "document.querySelector('#curves .js-plotly-plot').layout.yaxis.type === 'log'"
    )
    page.reload()
    page.wait_for_selector(ROWS)
    assert set(wait_cells(page, "state", "^finished$")) == {"finished"}
    expect(page.locator("#metric")).to_have_value("accuracy")
    expect(page.locator("#log")).to_be_checked()


def test_news_appear_without_touching_the_choices(page, backend):
    make_sweep(backend, 30)
    open_sweep(page)
    filter_box(page, "optimizer").fill("sgd")
    wait_cells(page, "c:optimizer", "^sgd$")
    page.locator('.ag-header-cell[col-id="s:val_loss"] .ag-header-cell-text').click()
    page.locator(f"{ROWS} >> nth=0").click()
    expect(page.locator(".ag-row-selected").first).to_be_visible()
    chosen = page.locator(".ag-row-selected").first.get_attribute("row-id")
    page.evaluate("window.kept = true")

    config = {**backend.runs("abcd1234")[0].config, "optimizer": "sgd"}
    for run_id, optimizer in (("newsgd", "sgd"), ("newadam", "adam")):
        run = Run(
            id=run_id,
            sweep_id="abcd1234",
            name=run_id,
            state="running",
            config={**config, "optimizer": optimizer},
            created_at=time.time(),
        )
        backend.apply([PutRun(run), LogRows(run_id, [Row(0, time.time(), {"val_loss": 0.001})])])
    expect(page.locator('.ag-row[row-index="0"] [col-id="name"]')).to_have_text("newsgd")
    expect(page.locator("#best")).to_contain_text("0.001")
    page.wait_for_function(
        """() => [...document.querySelector('#parallel .js-plotly-plot')._fullData[0]
            .dimensions.at(-1).values].some((value) => Math.abs(value - 0.001) < 1e-9)"""
    )
    assert set(cells(page, "c:optimizer")) == {"sgd"}
    assert page.locator(".ag-row-selected").first.get_attribute("row-id") == chosen
    assert page.evaluate("window.kept") is True
    assert json.loads(query(page)["sort"]) == [["s:val_loss", "asc"]]

    backend.apply([PatchRun("newsgd", {"state": "failed", "message": "boom"}, time.time())])
    expect(page.locator('.ag-row[row-index="0"] [col-id="state"]')).to_have_text("failed")


def test_search_for_sweeps(page, backend):
    for number in range(5):
        make_sweep(backend, 1, sweep_id=f"sweep00{number}", name=f"number {number}")
    page.goto("/")
    expect(page.locator("#sweeps tbody tr")).to_have_count(5)
    box = page.get_by_label("Search")
    box.fill("number 3")
    expect(page.locator("#sweeps tbody tr")).to_have_count(1)
    page.wait_for_function("location.search === '?q=number+3'")
    make_sweep(backend, 1, sweep_id="sweep013", name="number 13")
    expect(page.locator("#sweeps tbody tr")).to_have_count(2)
    expect(box).to_have_value("number 3")
    page.reload()
    expect(page.locator("#sweeps tbody tr")).to_have_count(2)
    box.fill("nowhere")
    expect(page.get_by_text("No sweep has 'nowhere' in it.")).to_be_visible()
    box.fill("")
    expect(page.locator("#sweeps tbody tr")).to_have_count(6)


def test_the_first_run_opens_the_page_up(page, backend):
    make_sweep(backend, 0)
    page.goto("/sweeps/abcd1234")
    expect(page.get_by_text("No runs yet")).to_be_visible()
    run = Run(id="first", sweep_id="abcd1234", state="running", config={"lr": 0.1}, created_at=1.0)
    backend.apply([PutRun(run)])
    page.wait_for_selector(ROWS)
    expect(page.locator("#parallel")).to_contain_text("No run has a value yet")
    backend.apply([LogRows("first", [Row(0, 1.0, {"val_loss": 1.0})])])
    page.wait_for_selector(DRAWN)


def test_a_deleted_sweep_says_so(page, backend):
    make_sweep(backend, 2)
    open_sweep(page)
    backend.delete_sweep("abcd1234")
    expect(page.get_by_text("It may have been deleted")).to_be_visible()


def test_no_news_no_work(page, backend):
    make_sweep(backend, 5)
    open_sweep(page)
    quiet = 0
    for _ in range(60):  # the drawings come after the first rows
        with page.expect_response(lambda response: "update-component" in response.url) as answer:
            pass
        quiet = quiet + 1 if answer.value.status == 204 else 0
        if quiet == 5:
            return
    raise AssertionError("something is sent though nothing is new")


def test_parallel_coordinates_have_log_ticks(page, backend):
    make_sweep(backend, 60)
    open_sweep(page)
    axes = page.evaluate(
        """() => [...document.querySelectorAll('#parallel .y-axis')].map((axis) => ({
            label: axis.querySelector('.axis-title').textContent,
            ticks: [...axis.querySelectorAll('.tick text')].map((tick) => tick.textContent.trim()),
        }))"""
    )
    by_label = {axis["label"]: [tick for tick in axis["ticks"] if tick] for axis in axes}
    assert list(by_label)[-1] == "val_loss"
    assert set(by_label["lr"]) == {"1e-5", "0.0001", "0.001", "0.01", "0.1"}
    assert set(by_label["optimizer"]) == {"adam", "adamw", "sgd"}
    assert page.evaluate(
        "[...document.querySelectorAll('#parallel canvas')].some((c) => c.width > 100)"
    )
    page.wait_for_function("document.querySelector('#curves .js-plotly-plot').data.length >= 4")


def test_details_of_a_failed_run(page, backend):
    make_sweep(backend, 3)
    backend.apply(
        [
            PutRun(Run(id="bad", sweep_id="abcd1234", name="bad run", state="running")),
            PatchRun("bad", {"state": "failed", "message": "first\nCUDA out of memory"}, START),
        ]
    )
    open_sweep(page)
    page.locator('.ag-row[row-id="bad"] [col-id="state"]').click()
    drawer = page.get_by_role("dialog")
    expect(drawer).to_contain_text("CUDA out of memory")
    page.wait_for_function("location.search.includes('run=bad')")
    drawer.get_by_role("button", name="Close").click()
    expect(drawer).not_to_be_visible()
    page.wait_for_function("!location.search.includes('run=bad')")
    page.goto("/sweeps/abcd1234?run=bad")
    expect(page.get_by_role("dialog")).to_contain_text("CUDA out of memory")


def test_a_thousand_runs(page, backend):
    make_sweep(backend, 1000)
    open_sweep(page)
    expect(page.locator("#head")).to_contain_text("1,000")
    drawn = page.evaluate(
        """document.querySelector('#parallel .js-plotly-plot')._fullData[0]
            .dimensions[0].values.length"""
    )
    assert drawn == 1000
    page.locator("#top").click()
    page.get_by_role("option", name="best 10", exact=True).click()
    page.wait_for_function(
        """() => document.querySelector('#parallel .js-plotly-plot')._fullData[0]
            .dimensions[0].values.length === 10"""
    )


def test_texts_of_users_stay_texts(page, backend):
    config = {
        **CONFIG,
        "metric": {"name": EVIL, "goal": "maximize"},
        "parameters": {EVIL: {"values": [EVIL, "b"]}, "a'b": {"min": 0.0, "max": 1.0}},
        "description": EVIL,
    }
    sweep = Sweep(
        id="abcd1234", name=EVIL, project=EVIL, message=EVIL, config=config, created_at=START
    )
    backend.apply([PutSweep(sweep)])
    for number in range(4):
        run = Run(
            id=f"r{number}",
            sweep_id="abcd1234",
            name=EVIL,
            state="running",
            config={EVIL: EVIL if number % 2 else "b", "a'b": 0.1, "nested": {EVIL: [EVIL]}},
            created_at=START,
            meta={EVIL: EVIL},
        )
        backend.apply(
            [
                PutRun(run),
                LogRows(run.id, [Row(0, START, {EVIL: 1.0 * number, "text": EVIL})]),
                PatchRun(run.id, {"state": "failed", "message": EVIL}, START),
            ]
        )
    backend.apply([PutRun(Run(id="ok", sweep_id="abcd1234", name=EVIL, config={EVIL: EVIL}))])
    backend.apply([LogRows("ok", [Row(0, START, {EVIL: 2.0})])])
    page.goto("/")
    expect(page.locator("#sweeps tbody tr")).to_have_count(1)
    open_sweep(page)
    page.locator(".ag-row[row-id=r1]").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("<script>")
    page.locator(".ag-row[row-id=r1] [col-id=state]").hover()
    expect(page.locator(".ag-tooltip, .ag-tooltip-custom")).to_contain_text("<script>")
    page.locator("#curves .nsewdrag").hover()
    assert page.evaluate("window.pwned") is None
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("#page b, #curves tspan[style*=bold]").count() == 0


def test_by_keyboard(page, backend):
    make_sweep(backend, 5)
    page.goto("/")
    page.wait_for_selector("#sweeps")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to content")).to_be_focused()
    page.get_by_role("link", name="resnet baseline").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(ROWS)
    page.locator('.ag-row[row-index="1"] [col-id="state"]').focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("dialog")).to_contain_text("Config")


def test_dark_follows_the_system(chromium, address, backend):
    make_sweep(backend, 5)
    context = chromium.new_context(base_url=address, color_scheme="dark")
    page = context.new_page()
    open_sweep(page)
    paper = "document.querySelector('#curves .js-plotly-plot').layout.paper_bgcolor"
    assert page.evaluate(paper) == "#1c1e21"
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"{paper} === '#ffffff'")
    context.close()
