"""Every page for everybody: axe-core's rules, a phone's width, the keyboard; light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

import pytest

from tests.server.conftest import serving
from tests.server.seed import CONFIG, make_sweep
from tune_bridge.backends.base import PutSweep, Sweep
from tune_bridge.backends.local import LocalBackend

pytest.importorskip("dash")
pytest.importorskip("playwright")
pytest.importorskip("axe_playwright_python")

from playwright.sync_api import expect

from tune_bridge.server import create_app

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DESK, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
DRAWN = ".js-plotly-plot .main-svg"

PAGES = {
    "list": ("/?pick=abcd1234", "#sweeps .tb-spark"),
    "nothing found": ("/?q=nowhere", ".tb-none"),
    "sweep": ("/sweeps/abcd1234", ".ag-row"),
    "details": ("/sweeps/abcd1234?run=abcd0003", "[role=dialog] dl"),
    "without runs": ("/sweeps/empty000", ".tb-empty"),
    "analysis": ("/sweeps/abcd1234/analysis", DRAWN),
    "analysis without runs": ("/sweeps/empty000/analysis", "#page > *"),
    "run": ("/sweeps/abcd1234/runs/abcd0003", DRAWN),
    "compare": ("/compare?sweep=abcd1234,efgh5678,nope", DRAWN),
    "nothing to compare": ("/compare", ".tb-empty"),
    "missing": ("/nowhere", ".tb-empty"),
    "no such sweep": ("/sweeps/nope", ".tb-empty"),
}
"""Every page and its empty states -> the address, and what is there once it has been drawn."""

EXCLUDED: dict[str, str] = {}
"""What a library draws and cannot be mended: a selector -> the rule that it breaks."""

RUN = """async ([only, excluded]) => {
    const options = {resultTypes: ["violations"]};
    const found = await axe.run(document, only ? {...options, runOnly: only} : options);
    return found.violations
        .filter((one) => ["serious", "critical"].includes(one.impact))
        .flatMap((one) => one.nodes
            .filter((node) => !excluded.some(([selector, rule]) =>
                rule === one.id && document.querySelector(node.target[0])?.closest(selector)))
            .map((node) => `${one.id}: ${node.target.join(" ")}: ${node.failureSummary}`));
}"""

LOOKS = (
    (DESK, "light", None),
    (DESK, "dark", ["color-contrast", "link-in-text-block"]),
    (PHONE, "dark", ["color-contrast", "scrollable-region-focusable"]),
    (PHONE, "light", None),
)
"""How a page is looked at: all rules in either size; the colours, in either scheme."""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[LocalBackend]:
    with LocalBackend.open(str(tmp_path_factory.mktemp("place") / "sweeps.db")) as backend:
        make_sweep(backend, 12)
        make_sweep(backend, 8, sweep_id="efgh5678", name="resnet wide", state="finished")
        make_sweep(backend, 0, sweep_id="empty000", name="nothing yet", state="paused")
        for number, state in enumerate(("pending", "canceled", "failed", "crashed")):
            sweep = Sweep(id=f"state{number:03d}", state=state, config=CONFIG, message="why it is")
            backend.apply([PutSweep(sweep)])
        yield backend


@pytest.fixture(scope="module")
def site(place, tmp_path_factory) -> Iterator[str]:
    from tune_bridge.controller import Controller
    from tune_bridge.server.control import Control
    from tune_bridge.server.store import Store

    control = Control(Controller(place), Store(tmp_path_factory.mktemp("files")))
    with serving(create_app(place, poll=0.5, control=control)) as address:
        yield address


@pytest.fixture(scope="module")
def axe() -> str:
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8")


@pytest.fixture
def view(chromium, site) -> Iterator:
    context = chromium.new_context(base_url=site, viewport=DESK)
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    yield opened
    context.close()


def check(page, axe: str) -> None:
    """What axe-core finds wide and narrow, light and dark; and that nothing is wider than a phone.

    Everything that is found is shown at once.
    """
    page.evaluate(axe)
    found: dict[str, None] = {}
    for size, scheme, rules in LOOKS:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(
            """([width, scheme]) => innerWidth === width
                && matchMedia(`(prefers-color-scheme: ${scheme})`).matches
                && [null, scheme].includes(document.documentElement
                    .getAttribute("data-mantine-color-scheme"))""",
            arg=[size["width"], scheme],
        )
        seen = page.evaluate(RUN, [rules, list(EXCLUDED.items())])
        found.update(dict.fromkeys(f"{size['width']} {scheme}: {one}" for one in seen))
    wide = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter((node) => document.documentElement.scrollWidth > innerWidth
                && node.getBoundingClientRect().right > innerWidth + 1)
            .map((node) => `wider than a phone: ${node.tagName} ${node.id} ${node.className}`)"""
    )
    assert [*found, *wide[:10]] == []


@pytest.mark.parametrize("name", PAGES)
def test_pages(view, axe, name):
    path, drawn = PAGES[name]
    view.goto(path)
    view.wait_for_selector(drawn, state="attached")
    check(view, axe)


def test_login(chromium, place, axe):
    with serving(create_app(place, key="secret")) as address:
        context = chromium.new_context(viewport=DESK)
        page = context.new_page()
        page.goto(f"{address}/login")
        expect(page.get_by_label("Key")).to_be_visible()
        check(page, axe)
        context.close()


def test_nothing_at_all(chromium, axe, tmp_path):
    with LocalBackend.open(str(tmp_path / "sweeps.db")) as empty, serving(create_app(empty)) as at:
        context = chromium.new_context(viewport=DESK)
        page = context.new_page()
        page.goto(at)
        expect(page.get_by_text("No sweeps yet")).to_be_visible()
        check(page, axe)
        context.close()
