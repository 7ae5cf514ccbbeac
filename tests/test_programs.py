"""A missing program skips its tests with a word at the end, and fails them in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import programs

ROOT = Path(__file__).resolve().parent.parent
SKIPPING = """
import pytest

@pytest.mark.parametrize("number", range(3))
def test_browser(number):
    pytest.skip("needs Chromium: not found")

def test_server():
    pytest.skip("needs postgres: not found")

def test_other():
    pytest.skip("for another reason")
"""


def run_pytest(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    file = folder / "test_skipping.py"
    file.write_text(SKIPPING)
    names = {"TUNE_BRIDGE_REQUIRE_ALL": "0", "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "--rootdir", str(folder), str(file)],
        check=False,
        cwd=folder,
        env={**os.environ, **names},
        capture_output=True,
        text=True,
    )


def test_one_line_says_what_to_install(tmp_path):
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "apt-get" in line]
    assert "3 for want of chromium, 1 for want of postgres" in line
    assert line.endswith("sudo apt-get install -y chromium postgresql")


def test_in_ci_such_a_skip_is_a_failure(tmp_path):
    done = run_pytest(tmp_path, TUNE_BRIDGE_REQUIRE_ALL="1")
    assert done.returncode == 1, done.stdout
    assert "not allowed here" in done.stdout


def test_a_program_that_is_there_is_found(tmp_path, monkeypatch):
    file = tmp_path / "chromium"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.require_program("chromium") == file


@pytest.mark.parametrize(
    ("value", "outcome"), [("0", pytest.skip.Exception), ("1", pytest.fail.Exception)]
)
def test_a_program_that_is_missing(tmp_path, monkeypatch, value, outcome):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TUNE_BRIDGE_REQUIRE_ALL", value)
    with pytest.raises(outcome, match="needs chromium"):
        programs.require_program("chromium")
