"""Chromium that notes when something is there, and what went over the wire until then."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
)
_LONGEST = 120_000  # milliseconds
_DATA = ("XHR", "Fetch", "EventSource")


class Visit(NamedTuple):
    """What a visit of a page took.

    Attributes:
        seconds: Until each of the things that were waited for was there, from the first request;
            infinite when it was not within two minutes.
        program: Bytes of documents, scripts, styles, fonts and pictures, as sent, with headers.
        data: Bytes of everything else.
    """

    seconds: tuple[float, ...]
    program: int
    data: int


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


def visit(context: Any, url: str, wanted: Sequence[str]) -> Visit:
    """Opens a page and waits for what the selectors of `wanted` name, in any order."""
    from playwright.sync_api import TimeoutError as TooLateError

    page = context.new_page()
    page.set_default_timeout(_LONGEST)
    kinds: dict[str, str] = {}
    sent: dict[str, int] = {}
    session = context.new_cdp_session(page)
    session.on("Network.responseReceived", lambda e: kinds.update({e["requestId"]: e["type"]}))
    session.on(
        "Network.loadingFinished",
        lambda e: sent.update({e["requestId"]: int(e["encodedDataLength"])}),
    )
    session.send("Network.enable")
    begun = time.perf_counter()
    page.goto(url, wait_until="commit")
    found: dict[str, float] = {}
    with contextlib.suppress(TooLateError):
        while len(found) < len(wanted):
            left = [selector for selector in wanted if selector not in found]
            page.wait_for_selector(", ".join(left), state="attached")
            now = time.perf_counter() - begun
            found |= {selector: now for selector in left if page.query_selector(selector)}
    seconds = [found.get(selector, math.inf) for selector in wanted]
    with contextlib.suppress(TooLateError):
        page.wait_for_load_state("networkidle")
    page.close()
    data = sum(n for key, n in sent.items() if kinds.get(key) in _DATA)
    return Visit(tuple(seconds), sum(sent.values()) - data, data)
