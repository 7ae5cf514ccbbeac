"""The scripts that make the environment and its constraints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

from tools.lock import merge

ROOT = Path(__file__).resolve().parent.parent


def test_versions_that_differ_get_markers():
    resolved = {
        (3, 10): {"numpy": "2.2", "click": "8.1", "tomli": "2"},
        (3, 11): {"numpy": "2.4", "click": "8.1"},
        (3, 12): {"numpy": "2.5", "click": "8.1"},
        (3, 13): {"numpy": "2.5", "click": "8.1"},
    }
    lines = merge(resolved)
    for (major, minor), versions in resolved.items():
        environment = {"python_version": f"{major}.{minor}"}
        requirements = [Requirement(line) for line in lines]
        valid = [r for r in requirements if not r.marker or r.marker.evaluate(environment)]
        assert {r.name: str(r.specifier)[2:] for r in valid} == versions
    assert "click==8.1" in lines


def test_without_ensurepip_the_message_names_the_package(tmp_path):
    (tmp_path / "ensurepip.py").write_text("raise ImportError('Debian keeps it elsewhere')\n")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "environment.py"), str(tmp_path / "venv"), "demo"],
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "sudo apt-get install -y python3." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "environment.py"), str(tmp_path), "demo"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "not a virtual environment" in done.stderr
    assert (tmp_path / "thesis.txt").exists()
