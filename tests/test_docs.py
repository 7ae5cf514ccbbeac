"""What the documents show is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tune_bridge.cli.main import cli
from tune_bridge.experiment import Experiment
from tune_bridge.space import Group, Integers, Parameter, Uniform

ROOT = Path(__file__).parent.parent


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_readmes_example_writes_the_readmes_yaml(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", blocks("README.md", "python")[0]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sweep-hyperopt.yaml").read_text("utf-8") == blocks("README.md", "yaml")[0]


def test_the_example_of_an_engine_works() -> None:
    scope: dict[str, Any] = {}
    exec(blocks("docs/engines.md", "python")[0], scope)
    assert scope["run"].config.keys() == {"lr"}
    assert scope["engine"].ask(time=3.0).run != scope["run"].run


def test_the_example_of_a_dialect_works() -> None:
    scope: dict[str, Any] = {}
    exec(blocks("docs/dialects.md", "python")[0], scope)
    dialect = scope["BoundsDialect"]()
    rows = [["lr", 0.001, 0.1]]
    assert dialect.write(dialect.read(rows).value).value == rows
    space = Group(
        (
            ("lr", Parameter(Uniform(0.1, 1, scale="log"))),
            ("n", Parameter(Integers(1, 3))),
        )
    )
    written = dialect.write(Experiment(space=space))
    assert [note.level.label for note in written.notes] == ["approximated", "lost"]


@pytest.mark.parametrize("command", ["convert", "explain", "run", "dashboard"])
def test_every_command_is_documented(command: str) -> None:
    pages = "".join(path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md"))
    assert f"tune-bridge {command}" in pages + (ROOT / "README.md").read_text("utf-8")
    assert command in cli.list_commands(None)  # type: ignore[arg-type]


def test_every_yaml_block_is_yaml() -> None:
    for page in ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]:
        for block in blocks(page, "yaml"):
            assert isinstance(yaml.safe_load(block), dict)
