"""Programs that some tests need and pip cannot install.

A test that needs one skips when it is not there, with a reason that names it; `conftest.py` counts
these skips and says what to install. With TUNE_BRIDGE_REQUIRE_ALL=1, as in CI, they are failures.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

__all__ = ["PROGRAMS", "require_program", "required"]

PROGRAMS = {
    "chromium": (
        "chromium",
        ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    ),
    "postgres": ("postgresql", ("postgres", "pg_ctl", "pg_ctlcluster")),
}
"""Name in a skip's reason -> Debian's package, and the names of its executable."""

FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/sbin")
"""Where Debian keeps executables that are not on PATH."""


def required() -> bool:
    """Whether a missing program is a failure."""
    return os.environ.get("TUNE_BRIDGE_REQUIRE_ALL") == "1"


def find_program(name: str) -> Path | None:
    """The executable of one of `PROGRAMS`, or None."""
    for executable in PROGRAMS[name][1]:
        found = shutil.which(executable)
        if found:
            return Path(found)
        for folder in FOLDERS:
            beside = sorted(Path("/").glob(f"{folder[1:]}/{executable}"))
            if beside:
                return beside[-1]
    return None


def require_program(name: str) -> Path:
    """The executable of one of `PROGRAMS`; without it the test skips, or fails in CI."""
    found = find_program(name)
    if found is not None:
        return found
    reason = f"needs {name}: install Debian's package {PROGRAMS[name][0]}"
    if required():
        pytest.fail(reason)
    pytest.skip(reason)
