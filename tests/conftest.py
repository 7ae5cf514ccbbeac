"""What all tests share: a home of their own, seeds that are shown, a word on what was skipped."""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.postgres import Cluster, running
from tests.programs import PROGRAMS, require_program, required

IN_CI = bool(os.environ.get("CI"))

# CI judges a change, so it tries the same examples each time; who works on it looks for new ones.
hypothesis.settings.register_profile("dev", deadline=None, print_blob=True, max_examples=100)
hypothesis.settings.register_profile(
    "ci", deadline=None, print_blob=True, max_examples=200, derandomize=True, database=None
)
hypothesis.settings.load_profile("ci" if IN_CI else "dev")

_CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

_FUNCTION = re.compile(r"\s*(async\s+)?(function\b|\w+\s*=>|\([^()]*\)\s*=>)")
"""How a function begins in what `wait_for_function` is given."""

_CHOSEN = str(20261121 if IN_CI else random.randrange(2**32))
SEED = int(os.environ.setdefault("TUNE_BRIDGE_TEST_SEED", _CHOSEN))
"""Set in the environment so that the workers of pytest-xdist have the same one."""


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keeps the tests away from the sweeps of the person who runs them."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNE_BRIDGE_HOME", str(home))
        yield home


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL server; the test makes its own database on it."""
    with running() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the seed in the header, whatever ran before it."""
    random.seed(SEED)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts long files first; in CI, gives tests with processes of their own a second chance.

    What many processes do on a machine with two busy processors is not the same twice. Tests of
    values, and those that search for examples, have no such excuse.
    """
    for item in items:
        searches = hasattr(getattr(item, "obj", None), "hypothesis")
        if IN_CI and _real(item) and not searches:
            item.add_marker(pytest.mark.flaky(reruns=1))
    _long_files_first(items)


def _real(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("slow", "ray", "browser"))


def _long_files_first(items: list[pytest.Item]) -> None:
    """Orders the files: those with the most tests that take long, then those with the most tests.

    Workers that take one file after the other then end with short ones, at about the same time.
    Within a file the order stays.
    """
    real = Counter(item.path for item in items if _real(item))
    every = Counter(item.path for item in items)
    items.sort(key=lambda item: (-real[item.path], -every[item.path], str(item.path)))


def pytest_report_header(config: pytest.Config) -> str:
    """Says how to have the same random numbers again."""
    profile = hypothesis.settings.get_current_profile_name()
    shown = config.getoption("hypothesis_seed", None)
    chosen = "" if shown is None else f", --hypothesis-seed={shown}"
    return f"random: TUNE_BRIDGE_TEST_SEED={SEED}, hypothesis profile {profile}{chosen}"


def _missing_programs(reporter: pytest.TerminalReporter) -> Counter[str]:
    """How many tests were skipped for want of which program."""
    missing: Counter[str] = Counter()
    for report in reporter.stats.get("skipped", ()):
        reason = str(report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr)
        for name in PROGRAMS:
            if name in reason.lower():
                missing[name] += 1
                break
    return missing


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for all tests that were skipped for a program, with the command that installs it."""
    missing = _missing_programs(terminalreporter)
    if not missing:
        return
    counts = ", ".join(f"{count} for want of {name}" for name, count in missing.items())
    packages = " ".join(PROGRAMS[name][0] for name in missing)
    verb = "not allowed here (TUNE_BRIDGE_REQUIRE_ALL=1)" if required() else "to run them too"
    terminalreporter.write_line(
        f"skipped: {counts}; {verb}: sudo apt-get install -y {packages}", yellow=True
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that was skipped for a missing program is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and required() and _missing_programs(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A real browser: one for all tests of a process, since Playwright takes its thread's loop."""
    path = require_program("chromium")
    from playwright.sync_api import Page, expect, sync_playwright

    expect.set_options(timeout=60_000)  # for machines that are busy with other tests
    wait = Page.wait_for_function

    def wait_for_function(page: Any, wanted: str, **more: Any) -> Any:
        """A bare expression would be evaluated at each look, which our pages refuse."""
        wanted = wanted if _FUNCTION.match(wanted) else f"() => ({wanted})"
        return wait(page, wanted, **more)

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setattr(Page, "wait_for_function", wait_for_function)
        browser = playwright.chromium.launch(executable_path=str(path), args=_CHROMIUM)
        yield browser
        browser.close()
