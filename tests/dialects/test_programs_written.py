"""Programs that are written: clean for ruff, and executing them gives the experiment again."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.corpus import REFUSED, sweep_files
from tune_bridge import SweepConfig
from tune_bridge.compare import compare
from tune_bridge.dialects.base import get_dialect
from tune_bridge.errors import InputError
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Level
from tune_bridge.testing.strategies import experiments
from tune_bridge.values import EMPTY

FILES = [path for path in sweep_files() if path.stem not in REFUSED]
RULES = "E4,E7,E9,F,W,I,UP,C4,Q,COM818"


def program(notation: str, config: SweepConfig) -> str | None:
    """The program of a sweep; None where the notation cannot say it."""
    try:
        return get_dialect(notation).source(config.experiment).value
    except InputError:
        return None


def ruff(*arguments: str) -> str:
    command = [sys.executable, "-m", "ruff", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("notation", ["tune", "hyperopt"])
def test_programs_of_the_corpus_are_clean(tmp_path, notation):
    pytest.importorskip("ruff")
    texts = {path.stem: program(notation, SweepConfig.load(path)) for path in FILES}
    for name, text in texts.items():
        if text is not None:
            (tmp_path / f"s{name}.py").write_text(text)
    written = len(list(tmp_path.glob("*.py")))
    assert written > 80
    checked = ruff(
        "check", "--isolated", "--no-cache", "--select", RULES, "--output-format", "concise",
        str(tmp_path),
    )  # fmt: skip
    assert checked.strip() == "All checks passed!"
    formatted = ruff("format", "--isolated", "--no-cache", "--check", str(tmp_path))
    assert formatted.strip() == f"{written} files already formatted"


def executed(text: str) -> Any:
    scope: dict[str, Any] = {"__name__": "written"}
    exec(compile(text, "program", "exec"), scope)
    return scope


def said(experiment: Experiment) -> tuple[Experiment, Level]:
    """What the call of ``tune.run`` says of an experiment, and how exactly."""
    dialect = get_dialect("tune")
    written = dialect.write(experiment)
    again = SweepConfig.from_experiment(dialect.read(written.value).value)
    return again.experiment, written.notes.worst


KEYS = ("command", "description", "project", "entity", "objective", "run_cap", "extras")


def bare(experiment: Experiment) -> Experiment:
    """Without what a program sets as keys of the sweep."""
    return experiment.replace(**dict.fromkeys(KEYS[:-1]), extras=EMPTY)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_program_of_the_corpus_gives_the_sweep_again(path):
    experiment = SweepConfig.load(path).experiment.replace(program="train.py")
    written = get_dialect("tune").source(experiment)
    found = executed(written.value)["config"].experiment
    assert bare(found) == bare(
        said(experiment.replace(run_cap=None) if experiment.is_grid else experiment)[0]
    )
    # A grid over integers is listed in a program, and is the same grid.
    apart = [change for change in compare(experiment, found, draws=500) if change.distance != 0]
    assert written.notes.worst > Level.EXACT or not apart
    for key in KEYS:
        assert getattr(found, key) == getattr(experiment, key), key


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=60)
@given(experiments())
def test_any_program_gives_the_experiment_again(experiment):
    experiment = experiment.replace(program="train.py", trainable=None)
    try:
        again, _ = said(experiment)
    except InputError:
        return
    found = executed(get_dialect("tune").source(experiment).value)["config"].experiment
    assert bare(found) == bare(again)
    for key in KEYS[:5]:
        assert getattr(found, key) == getattr(experiment, key), key
