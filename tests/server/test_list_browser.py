"""The list of sweeps in a real browser, see `tests.server.test_browser`."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.server.seed import make_sweep
from tune_bridge.backends.base import LogRows, PutRun, Row, Run

pytest.importorskip("dash")
pytest.importorskip("playwright")

from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LINES = "#sweeps tbody tr"


def wait_query(page, **wanted: str) -> None:
    page.wait_for_function(
        """(wanted) => {
            const query = new URLSearchParams(location.search);
            return Object.keys(wanted).every((name) => query.get(name) === wanted[name])
                && [...query.keys()].length === Object.keys(wanted).length;
        }""",
        arg=wanted,
    )


def names(page) -> list[str]:
    return page.locator(f"{LINES} td:nth-child(2) a").all_text_contents()


def test_order_project_state_and_picks_are_in_the_address(page, backend):
    make_sweep(backend, 3, sweep_id="aaaa0000", name="alpha", project="nlp")
    make_sweep(backend, 9, sweep_id="bbbb0000", name="beta", state="paused")
    make_sweep(backend, 6, sweep_id="cccc0000", name="gamma")
    page.goto("/")
    expect(page.locator(LINES)).to_have_count(3)
    assert names(page) == ["gamma", "beta", "alpha"]
    expect(page.locator("#compare")).to_have_text("Pick sweeps to compare")

    page.get_by_role("link", name="Runs").click()
    expect(page.locator(f"{LINES} >> nth=0")).to_contain_text("beta")
    wait_query(page, sort="-runs")
    assert names(page) == ["beta", "gamma", "alpha"]
    page.get_by_label("Compare beta").check()
    page.get_by_label("Compare gamma").check()
    wait_query(page, sort="-runs", pick="bbbb0000,cccc0000")
    expect(page.locator("#compare")).to_have_text("Compare 2")

    page.get_by_role("link", name="vision").first.click()
    expect(page.locator(LINES)).to_have_count(2)
    wait_query(page, sort="-runs", pick="bbbb0000,cccc0000", project="vision")
    page.get_by_role("textbox", name="State").click()
    page.get_by_role("option", name="paused").click()
    expect(page.locator(LINES)).to_have_count(1)
    page.get_by_label("Compare beta").uncheck()
    wait_query(page, sort="-runs", pick="cccc0000", project="vision", state="paused")

    page.reload()
    expect(page.locator(LINES)).to_have_count(1)
    expect(page.get_by_role("textbox", name="State")).to_have_value("paused")
    expect(page.get_by_label("Compare beta")).not_to_be_checked()
    page.get_by_role("link", name="all projects").click()
    wait_query(page, sort="-runs", pick="cccc0000", state="paused")
    page.get_by_role("textbox", name="State").click()
    page.get_by_role("option", name="any").click()
    expect(page.locator(LINES)).to_have_count(3)
    expect(page.get_by_label("Compare gamma")).to_be_checked()

    page.get_by_role("link", name="beta").click()
    page.wait_for_selector("#head")
    page.go_back()
    expect(page.locator(LINES)).to_have_count(3)
    wait_query(page, sort="-runs", pick="cccc0000")
    expect(page.get_by_label("Compare gamma")).to_be_checked()


def test_a_line_follows_its_sweep(page, backend):
    make_sweep(backend, 2)
    page.goto("/")
    line = page.locator(LINES)
    expect(line).to_contain_text("2 / 1000")
    page.get_by_label("Compare resnet baseline").check()
    page.evaluate("window.kept = true")
    run = Run(id="new", sweep_id="abcd1234", state="running", created_at=time.time())
    backend.apply([PutRun(run), LogRows("new", [Row(0, time.time(), {"val_loss": 0.001})])])
    expect(line).to_contain_text("3 / 1000")
    expect(line).to_contain_text("1 running")
    expect(line.get_by_role("img", name="to 0.001")).to_be_visible()
    expect(page.get_by_label("Compare resnet baseline")).to_be_checked()
    assert page.evaluate("window.kept") is True
    assert parse_qs(urlsplit(page.url).query) == {"pick": ["abcd1234"]}


def test_picked_sweeps_are_compared(page, backend):
    make_sweep(backend, 12)
    make_sweep(backend, 8, sweep_id="efgh5678", name="resnet wide")
    page.goto("/")
    page.get_by_label("Compare resnet baseline").check()
    page.get_by_label("Compare resnet wide").check()
    page.get_by_role("link", name="Compare 2").click()
    expect(page.get_by_role("heading", name="Compare sweeps")).to_be_visible()
    expect(page).to_have_title("Compare sweeps · tune-bridge")
    shown = "document.querySelector('#compare-progress .js-plotly-plot')"
    page.wait_for_function(f"{shown}?.data?.length === 2")
    page.locator("#compare-over").click()
    page.get_by_role("option", name="time").click()
    page.wait_for_function(f"{shown}.layout.xaxis.title.text.startsWith('hours')")
    page.locator("#compare-metric").click()
    page.get_by_role("option", name="accuracy").click()
    page.wait_for_function(f"{shown}.layout.yaxis.title.text === 'accuracy'")
    page.wait_for_function(
        "['over=time', 'metric=accuracy', 'sweep=efgh5678'].every((s) => location.href.includes(s))"
    )
    page.reload()
    page.wait_for_function(f"{shown}?.layout?.yaxis?.title?.text === 'accuracy'")
    expect(page.locator("#compare-over")).to_have_value("time")

    page.evaluate("window.kept = true")
    run = Run(id="new", sweep_id="efgh5678", state="running", created_at=time.time())
    backend.apply([PutRun(run), LogRows("new", [Row(0, time.time(), {"accuracy": 0.999})])])
    expect(page.locator(".tb-compare").first).to_contain_text("0.999")
    page.wait_for_function(f"{shown}.data.some((line) => line.y.at(-1) === 0.999)")
    backend.delete_sweep("abcd1234")
    expect(page.get_by_text("There is no sweep 'abcd1234'.")).to_be_visible()
    page.wait_for_function(f"{shown}.data.length === 1")
    assert page.evaluate("window.kept") is True
    page.get_by_role("link", name="Back to all sweeps").click()
    expect(page.locator(LINES)).to_have_count(1)
    page.goto("/compare")
    expect(page.get_by_role("heading", name="Nothing to compare")).to_be_visible()
