"""Mistakes that people make are found; what is right is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.corpus import REFUSED, sweep_files
from tune_bridge import SweepConfig
from tune_bridge.lint import RULES, lint

BASE: dict[str, Any] = {
    "program": "train.py",
    "method": "random",
    "metric": {"name": "val_loss", "goal": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}},
    "run_cap": 10,
}


def found(**changes: Any) -> list[tuple[str, str, str]]:
    config = SweepConfig({**BASE, **changes})
    return [(f.rule, f.path, f.what + " - " + f.fix) for f in lint(config, config.experiment)]


def parameter(**spec: Any) -> dict[str, Any]:
    return {"parameters": {"lr": spec}}


MISTAKES: list[tuple[str, dict[str, Any], str, str]] = [
    ("text-number", parameter(values=["1e-5", 0.1]), "parameters.lr.values[0]", "1e-05"),
    ("text-number", parameter(value="0.5"), "parameters.lr.value", "0.5"),
    (
        "exponents",
        parameter(distribution="log_uniform", min=1e-5, max=0.1),
        "parameters.lr.distribution",
        "use log_uniform_values",
    ),
    ("int-bounds", parameter(min=0, max=1), "parameters.lr", "max: 1.0"),
    (
        "left-bounds",
        parameter(distribution="q_uniform", min=1, max=9, q=4),
        "parameters.lr",
        "from 0 to 8",
    ),
    ("duplicates", parameter(values=[1, 2, 1]), "parameters.lr", "1 stands there"),
    (
        "wide-quantum",
        parameter(distribution="q_uniform", min=0, max=4, q=8),
        "parameters.lr",
        "wider",
    ),
    (
        "large-grid",
        {
            "method": "grid",
            "run_cap": None,
            "parameters": {f"p{i}": {"min": 1, "max": 100} for i in range(3)},
        },
        "method",
        "1,000,000 cells",
    ),
    ("no-end", {"run_cap": None}, "run_cap", "no end of its own"),
    (
        "rungs",
        {"early_terminate": {"type": "hyperband", "max_iter": 3, "s": 1}},
        "early_terminate",
        "fewer than two rungs: 1",
    ),
    ("goal", {"metric": {"name": "val/accuracy"}}, "metric.goal", "minimize is the default"),
    ("goal", {"metric": {"name": "loss", "goal": "maximize"}}, "metric.goal", "goal: minimize"),
    ("macros", {"command": ["${interpereter}"]}, "command[0]", "'interpreter'"),
    ("macros", {"command": ["--lr", "${lr}"]}, "command[1]", "through ${args}"),
    ("keys", {"early_termination": {}}, "early_termination", "'early_terminate'"),
]


def test_every_rule_has_a_mistake() -> None:
    assert {rule for rule, *_ in MISTAKES} == RULES.keys()


@pytest.mark.parametrize(("rule", "changes", "path", "words"), MISTAKES)
def test_a_mistake_is_found(rule: str, changes: dict[str, Any], path: str, words: str) -> None:
    matching = [(p, text) for name, p, text in found(**changes) if name == rule]
    assert [p for p, _ in matching] == [path]
    assert words in matching[0][1]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"metric": {"name": "accuracy", "goal": "maximize"}},
        {"metric": {"name": "blossom"}},
        {"early_terminate": {"type": "hyperband", "min_iter": 3}},
        {"command": ["${env}", "${interpreter}", "${program}", "${args}", "${envvar:HOME}"]},
        parameter(distribution="log_uniform", min=-9, max=0),
        parameter(distribution="q_uniform", min=-1, max=11, q=2),
        parameter(distribution="q_uniform", min=0, max=1, q=0.1),
        parameter(min=0.0, max=1.0),
        parameter(values=[16, 32, "64x"]),
        {"parameters": {"layers": {"min": 1, "max": 8}}},
    ],
)
def test_what_is_right_is_left_alone(changes: dict[str, Any]) -> None:
    assert found(**changes) == []


@pytest.mark.parametrize("path", sweep_files(), ids=lambda path: path.stem)
def test_the_corpus_is_linted_without_a_crash(path: Any) -> None:
    if path.stem in REFUSED:
        return
    config = SweepConfig.load(path)
    for finding in lint(config, config.experiment):
        assert finding.what
        assert finding.fix
