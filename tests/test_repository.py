"""The repository as a whole: what no single module can see."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import tune_bridge

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "tune_bridge").rglob("*.py"))


def test_no_file_is_too_long():
    lengths = {path: len(path.read_text().splitlines()) for path in SOURCES}
    assert {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > 600} == {}


def test_nothing_is_left_for_later():
    marker = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if marker.search(line)
    ]
    assert found == []


def test_the_changelog_knows_this_version():
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert released[0] == tune_bridge.__version__


def test_the_imports_are_checked_in_ci():
    ci = (ROOT / ".ci" / "run").read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert "make lint" in ci
    assert "lint-imports" in makefile


def test_constraints_are_exact_and_name_no_place():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            assert re.fullmatch(r"[\w.-]+==[\w.!+]+( ; python_version [\w\s.<>=\"]+)?", line), line


@pytest.mark.parametrize("name", ["import tune_bridge", "from tune_bridge.cli.main import cli"])
def test_importing_loads_nothing_heavy(name):
    code = f"{name}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {module.split(".")[0] for module in done.stdout.split()}
    assert loaded & {"ray", "hyperopt", "wandb", "pandas", "sklearn", "numpy", "dash"} == set()


@pytest.mark.parametrize(
    "page",
    sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")]),
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_between_pages_lead_somewhere(page):
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []
