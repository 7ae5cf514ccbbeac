"""What a page says while its server or the place of its sweeps is away, and that it goes on."""

from __future__ import annotations

import contextlib
from urllib.parse import urlsplit

import pytest

from tests.server.conftest import serving
from tests.server.seed import make_sweep
from tune_bridge.backends import open_backend
from tune_bridge.backends.base import PutRun, Run

pytest.importorskip("dash")
pytest.importorskip("playwright")

from playwright.sync_api import expect

from tests.postgres import running
from tune_bridge.server import create_app

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def page(chromium):
    with contextlib.closing(chromium.new_context(viewport={"width": 1400, "height": 900})) as made:
        opened = made.new_page()
        opened.set_default_timeout(60_000)
        yield opened


def run(name: str) -> PutRun:
    return PutRun(Run(id=name, sweep_id="abcd1234", state="running", name=name))


def test_the_server_is_stopped_and_started(page, backend):
    make_sweep(backend, 3)
    with serving(create_app(backend, poll=0.25)) as address:
        page.goto(address)
        expect(page.locator("#sweeps")).to_contain_text("3 / 1000")
        page.evaluate("window.kept = true")
    expect(page.locator("#unreachable")).to_contain_text("does not answer")
    expect(page.locator("#sweeps")).to_contain_text("3 / 1000")
    backend.apply([run("new")])
    with serving(create_app(backend, poll=0.25), urlsplit(address).port):
        expect(page.locator("#sweeps")).to_contain_text("4 / 1000")
        expect(page.locator("#unreachable")).to_be_empty()
        assert page.evaluate("window.kept") is True


@pytest.mark.postgres
def test_the_database_is_stopped_and_started(page):
    with running() as cluster, open_backend(cluster.create()) as backend:
        make_sweep(backend, 3)
        with serving(create_app(backend, poll=0.25)) as address:
            page.goto(address)
            expect(page.locator("#sweeps")).to_contain_text("3 / 1000")
            page.evaluate("window.kept = true")
            cluster.stop()
            expect(page.locator("#away")).to_contain_text("cannot be read at the moment")
            page.get_by_role("link", name="resnet baseline").click()
            heading = page.get_by_role("heading", name="The sweeps cannot be read")
            expect(heading).to_be_visible()
            cluster.start()
            backend.apply([run("new")])
            expect(page.locator("#head")).to_contain_text("4")
            expect(page.get_by_role("heading", name="resnet baseline")).to_be_visible()
            expect(page.locator("#away")).to_be_empty()
            assert page.evaluate("window.kept") is True

            cluster.stop()
            assert page.goto(f"{address}/sweeps/abcd1234").status == 503
            expect(heading).to_be_visible()
            cluster.start()
            expect(page.get_by_role("heading", name="resnet baseline")).to_be_visible()
            expect(page.locator(".ag-row").first).to_be_visible()
