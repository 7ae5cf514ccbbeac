"""Chromium that notes when something is there, and what went over the wire until then."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
)
_LONGEST = 600_000  # milliseconds; who visits ends sooner
_DATA = ("XHR", "Fetch", "EventSource")
_WATCH = """(() => {
    const wanted = %s, seen = window.benchmarkSeen = {};
    window.benchmarkFreeze = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((task) => {
        window.benchmarkFreeze = Math.max(window.benchmarkFreeze, task.duration);
    })).observe({type: "longtask", buffered: true});
    const look = () => Object.entries(wanted).forEach(([name, selector]) => {
        if (!(name in seen) && document.querySelector(selector)) {
            seen[name] = performance.now();
        }
    });
    new MutationObserver(look).observe(document, {
        childList: true, subtree: true, attributes: true, characterData: true,
    });
})();"""
"""Runs before the page's own scripts: its clock begins with the first request."""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser.

    Raises:
        RuntimeError: None is installed.
    """
    from playwright.sync_api import sync_playwright

    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        raise RuntimeError("Chromium is not installed: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        yield browser
        browser.close()


def visit(
    context: Any, url: str, wanted: Mapping[str, str], tell: Callable[[str, float], None]
) -> None:
    """Opens a page, and tells what is known as soon as it is.

    That is, for each of `wanted`, name and selector, the seconds from the first request until it
    was there; then ``program``, bytes of documents, scripts, styles, fonts and pictures as sent,
    with headers; ``data``, bytes of everything else; ``freeze``, seconds of the longest time in
    which the page answered nothing; ``heap``, megabytes of its objects.
    """
    from playwright.sync_api import TimeoutError as TooLateError

    page = context.new_page()
    page.set_default_timeout(_LONGEST)
    page.add_init_script(_WATCH % json.dumps(dict(wanted)))
    kinds: dict[str, str] = {}
    sent: dict[str, int] = {}
    session = context.new_cdp_session(page)
    session.on("Network.responseReceived", lambda e: kinds.update({e["requestId"]: e["type"]}))
    session.on(
        "Network.loadingFinished",
        lambda e: sent.update({e["requestId"]: int(e["encodedDataLength"])}),
    )
    session.send("Network.enable")
    page.goto(url, wait_until="commit")
    left = list(wanted)
    while left:
        found = page.wait_for_function(
            """(left) => left.filter((name) => name in window.benchmarkSeen)
                .map((name) => [name, window.benchmarkSeen[name]]).find((pair) => pair)""",
            arg=left,
        ).json_value()
        tell(found[0], found[1] / 1000)
        left.remove(found[0])
    with contextlib.suppress(TooLateError):
        page.wait_for_load_state("networkidle", timeout=30_000)
    data = sum(n for key, n in sent.items() if kinds.get(key) in _DATA)
    tell("program", sum(sent.values()) - data)
    tell("data", data)
    tell("freeze", page.evaluate("() => window.benchmarkFreeze") / 1000)
    session.send("Performance.enable")
    metrics = {
        one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]
    }
    tell("heap", metrics["JSHeapUsedSize"] / 2**20)
    page.close()
