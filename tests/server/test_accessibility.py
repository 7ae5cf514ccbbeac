"""Every page for everybody: axe-core's rules, a phone's width, the keyboard; light and dark."""

from __future__ import annotations

import re
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
REFUSED = "Content Security Policy"

PAGES = {
    "list": ("/?pick=abcd1234", "#sweeps .tb-spark"),
    "nothing found": ("/?q=nowhere", ".tb-none"),
    "sweep": ("/sweeps/abcd1234", ".ag-row"),
    "details": ("/sweeps/abcd1234?run=abcd0003", "[role=dialog] dl"),
    "without runs": ("/sweeps/empty000", ".tb-empty"),
    "analysis": ("/sweeps/abcd1234/analysis", DRAWN),
    "analysis without runs": ("/sweeps/empty000/analysis", "#page > *"),
    "run": ("/sweeps/abcd1234/runs/abcd0003?with=abcd0001,nope", DRAWN),
    "compare": ("/compare?sweep=abcd1234,efgh5678,nope", DRAWN),
    "nothing to compare": ("/compare", ".tb-empty"),
    "missing": ("/nowhere", ".tb-empty"),
    "no such sweep": ("/sweeps/nope", ".tb-empty"),
}
"""Every page and its empty states -> the address, and what is there once it has been drawn."""

RUN = """async () => {
    const found = await axe.run(document, {resultTypes: ["violations"]});
    return found.violations
        .filter((one) => ["serious", "critical"].includes(one.impact))
        .flatMap((one) => one.nodes.map((node) =>
            `${one.id}: ${node.target.join(" ")}: ${node.failureSummary}`));
}"""

LOOKS = ((DESK, "light"), (PHONE, "dark"))
"""How a page is looked at: either size, either scheme; no colour depends on the size."""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[LocalBackend]:
    with LocalBackend.open(str(tmp_path_factory.mktemp("place") / "sweeps.db")) as backend:
        make_sweep(backend, 12)
        make_sweep(backend, 8, sweep_id="efgh5678", name="resnet wide", state="finished")
        make_sweep(backend, 5, sweep_id="tiny1234", name="a few")
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
    control.controller.create({**CONFIG, "name": "steered"})
    with serving(create_app(place, poll=0.5, control=control)) as address:
        yield address


@pytest.fixture(scope="module")
def axe() -> str:
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8")


@pytest.fixture
def view(chromium, site) -> Iterator:
    """A page that fails its test for what its Content-Security-Policy refuses."""
    context = chromium.new_context(base_url=site, viewport=DESK)
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    refused: list[str] = []
    opened.on("console", lambda m: refused.append(m.text) if REFUSED in m.text else None)
    yield opened
    context.close()
    assert refused == []


def check(page, axe: str) -> None:
    """What axe-core finds in each look; and that nothing is wider than a phone.

    Everything that is found is shown at once.
    """
    page.evaluate(axe)
    found: dict[str, None] = {}
    for size, scheme in LOOKS:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(
            """([width, scheme]) => innerWidth === width
                && matchMedia(`(prefers-color-scheme: ${scheme})`).matches
                && [null, scheme].includes(document.documentElement
                    .getAttribute("data-mantine-color-scheme"))""",
            arg=[size["width"], scheme],
        )
        seen = page.evaluate(RUN)
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


CONTROLS = """() => {
    const all = "a[href], button, input, select, textarea, summary, [tabindex='0']";
    window.controls = [...document.querySelectorAll(all)].filter((node) =>
        !node.disabled && node.tabIndex >= 0 && node.type !== "hidden"
        && !node.closest(".ag-root-wrapper, [hidden]") && node.checkVisibility()
        && (node.getClientRects().length > 0));
    return window.controls.length;
}"""
FOCUSED = """() => {
    const node = document.activeElement;
    const shown = [node, node.nextElementSibling, node.parentElement].some((one) => {
        const style = one && getComputedStyle(one);
        return style && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
    });
    const name = `${node.tagName} ${node.id} ${node.className} ${node.textContent.slice(0, 40)}`;
    const table = node.closest(".ag-root-wrapper");  // it shows its focus in its own way
    return [window.controls.indexOf(node), shown || Boolean(table), name];
}"""


@pytest.mark.parametrize("name", ["list", "sweep", "analysis", "run", "compare", "missing"])
def test_every_control_by_tab(view, name):
    path, drawn = PAGES[name]
    view.goto(path.replace("abcd", "tiny"))
    view.wait_for_selector(drawn, state="attached")
    view.keyboard.press("Tab")
    expect(view.get_by_text("Skip to content")).to_be_focused()
    count = view.evaluate(CONTROLS)
    reached, unseen = {0}, []
    for _ in range(count + 1):  # a table is one step, however many cells it has
        if len(reached) == count:
            break
        view.keyboard.press("Tab")
        place, shown, what = view.evaluate(FOCUSED)
        if place >= 0:
            reached.add(place)
            if not shown:
                unseen.append(what)
    left = view.evaluate(
        "(reached) => window.controls.filter((node, at) => !reached.includes(at) "
        "&& node.isConnected).map((node) => node.outerHTML.slice(0, 200))",
        list(reached),
    )
    assert (left, unseen) == ([], [])


FOCUS = "document.activeElement.closest('.ag-root-wrapper') ? (document.activeElement"
IN_TABLE = f"{FOCUS}.closest('.ag-row')?.getAttribute('row-index') || 'head') : ''"


def test_a_table_by_keyboard(view):
    view.goto("/sweeps/abcd1234")
    view.wait_for_selector(".ag-row [col-id=name] >> text=run-4")
    view.locator("#groups").focus()
    view.keyboard.press("Tab")
    assert view.evaluate(IN_TABLE) == "0"
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        view.keyboard.press(key)
    assert view.evaluate(IN_TABLE) == "2"
    view.keyboard.press("Tab")
    assert view.evaluate(IN_TABLE) == ""
    view.keyboard.press("Shift+Tab")  # back to where it was
    assert view.evaluate(IN_TABLE) == "2"
    view.keyboard.press("Enter")
    expect(view.get_by_role("dialog")).to_contain_text("run-3")
    expect(view).to_have_url(re.compile("run=abcd0002"))


def test_a_phone_shows_what_matters(view):
    view.set_viewport_size(PHONE)
    view.goto("/")
    line = view.locator("#sweeps tbody tr", has_text="resnet baseline")
    for shown in ("resnet baseline", "running", "12 / 1000", "val_loss"):
        expect(line.get_by_text(shown, exact=True)).to_be_in_viewport(ratio=1)
    view.goto("/sweeps/abcd1234")
    view.wait_for_function(
        """(columns) => {
            const table = document.querySelector(".ag-root-wrapper")?.getBoundingClientRect();
            return columns.every((column) => {
                const cell = document.querySelector(`.ag-row [col-id="${column}"]`)
                    ?.getBoundingClientRect();
                return cell && cell.left >= table.left && cell.right <= table.right;
            });
        }""",
        arg=["name", "state", "s:val_loss"],
    )


def test_the_way_past_the_top(view):
    view.goto("/")
    view.wait_for_selector("#sweeps")
    view.keyboard.press("Tab")
    view.keyboard.press("Enter")
    expect(view.locator("#page")).to_be_focused()
    view.keyboard.press("Tab")
    expect(view.get_by_label("Search")).to_be_focused()


def test_escape_closes_what_is_open(view, axe):
    view.goto("/sweeps/abcd1234?run=abcd0003")
    dialog = view.get_by_role("dialog")
    expect(dialog).to_contain_text("Config")
    view.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    view.goto("/")
    view.get_by_role("link", name="steered").click()
    view.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_visible()
    check(view, axe)
    view.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(view.get_by_role("button", name="Cancel")).to_be_visible()
