"""Mistakes that people make are found; what is right is left alone."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.corpus import REFUSED, sweep_files
from tune_bridge import SweepConfig
from tune_bridge.dialects.sweep import SweepDialect, yaml_file
from tune_bridge.errors import InputError
from tune_bridge.lint import INVALID, RULES, Finding, lint

BASE: dict[str, Any] = {
    "program": "train.py",
    "method": "random",
    "metric": {"name": "val_loss", "goal": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}},
    "run_cap": 10,
}


def look(config: dict[str, Any]) -> list[Finding]:
    try:
        return lint(config, SweepConfig(config).experiment)
    except InputError as error:
        return lint(config, error)


def found(**changes: Any) -> list[tuple[str, str, str]]:
    config = {key: value for key, value in {**BASE, **changes}.items() if value is not ...}
    return [(f.rule, f.path, f.what + " - " + f.fix) for f in look(config)]


def parameter(**spec: Any) -> dict[str, Any]:
    return {"parameters": {"lr": spec}}


MISTAKES: list[tuple[str, dict[str, Any], str, str]] = [
    ("text-number", parameter(values=["1e-5", 0.1]), "parameters.lr.values[0]", "write 1.0e-05"),
    ("text-number", parameter(min="1e-5", max=1.0), "parameters.lr.min", "'1e-5' is text"),
    ("text-number", {"run_cap": "10"}, "run_cap", "write 10 for a number"),
    (
        "text-number",
        {"early_terminate": {"type": "hyperband", "min_iter": "3"}},
        "early_terminate.min_iter",
        "write 3",
    ),
    ("text-number", {"metric": {"name": "loss", "target": "0.1"}}, "metric.target", "write 0.1"),
    (
        "exponents",
        parameter(distribution="log_uniform_values", min=-5, max=-1),
        "parameters.lr.min",
        "min: 1.0e-05 and max: 0.1 for powers of ten",
    ),
    (
        "exponents",
        parameter(distribution="q_log_uniform_values", min=0, max=9, q=1),
        "parameters.lr.min",
        "use q_log_uniform when 0 and 9 are natural logarithms",
    ),
    (
        "exponents",
        parameter(distribution="q_log_uniform", min=1, max=1024, q=1),
        "parameters.lr.distribution",
        "use q_log_uniform_values",
    ),
    (
        "grid-space",
        {"method": "grid", **parameter(min=0.0, max=1.0)},
        "parameters.lr.distribution",
        "cannot enumerate uniform",
    ),
    (
        "grid-space",
        {"method": "grid", **parameter(distribution="normal", mu=0, sigma=1)},
        "parameters.lr.distribution",
        "list the values",
    ),
    (
        "grid-space",
        {"method": "grid", **parameter(values=[1, 2], probabilities=[0.5, 0.5])},
        "parameters.lr.distribution",
        "weighted values",
    ),
    ("lone-key", parameter(value={"eval": "1+1"}), "parameters.lr.value", "execute"),
    ("lone-key", parameter(values=[1, {"eval": "x"}]), "parameters.lr.values[1]", "rename it"),
    ("lone-key", {"parameters": {"eval": {"value": 1}}}, "parameters", "lone key 'eval'"),
    ("lone-key", parameter(value={"grid_search": [1]}), "parameters.lr.value", "as a grid"),
    ("method", {"method": "byaes"}, "method", "did you mean 'bayes'"),
    ("method", {"method": "ax"}, "method", "use one of random, grid"),
    ("program", {"program": ...}, "program", "add program: train.py"),
    ("program", {"program": ..., "command": ["python", "${program}"]}, "program", "nothing"),
    (INVALID, parameter(min=3, max=1), "parameters.lr.min", "swap them"),
    (INVALID, {"method": ...}, "method", "a sweep without method"),
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
    ("keys", {"programm": "t.py"}, "programm", "remove it"),
    ("keys", {"seed": 3}, "seed", "put it below parameters, as {value: ...}"),
    ("keys", {"metric": {"name": "loss", "gaol": "minimize"}}, "metric.gaol", "'goal'"),
    (
        "keys",
        parameter(min=0.1, max=1.0, distributon="uniform"),
        "parameters.lr.distributon",
        "'distribution'",
    ),
    (
        "keys",
        {"early_terminate": {"type": "hyperband", "min_iter": 3, "max_itr": 9}},
        "early_terminate.max_itr",
        "'max_iter'",
    ),
]


def test_every_rule_has_a_mistake() -> None:
    assert {rule for rule, *_ in MISTAKES} == set(RULES)


@pytest.mark.parametrize(("rule", "changes", "path", "words"), MISTAKES)
def test_a_mistake_is_found(rule: str, changes: dict[str, Any], path: str, words: str) -> None:
    matching = [(p, text) for name, p, text in found(**changes) if name == rule]
    assert [p for p, _ in matching] == [path]
    assert words in matching[0][1]


@pytest.mark.parametrize(("rule", "changes", "path", "words"), MISTAKES)
def test_a_mistake_is_told_once(rule: str, changes: dict[str, Any], path: str, words: str) -> None:
    rules = {name for name, *_ in found(**changes)}
    # What a rule explains is not refused again, but for a key and the place that lacks it.
    assert INVALID not in rules or rule in (INVALID, "keys")


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
        {"program": ..., "command": ["python", "train.py", "${args}"]},
        {"program": ..., "job": "a/b/c:latest"},
        {"method": "grid", **parameter(distribution="q_uniform", min=0, max=1, q=0.5)},
        {"method": "grid", "parameters": {"n": {"min": 1, "max": 3}}},
        {"metric": {"name": "loss", "impute": "worst"}},
        {"settings": {"x": 1}, "controller": {"type": "local"}},
    ],
)
def test_what_is_right_is_left_alone(changes: dict[str, Any]) -> None:
    assert found(**changes) == []


def test_what_yaml_1_1_reads_as_text_is_told() -> None:
    text = "lr: {values: [1e-5, 1.0e-5, 1e5, 1.5e3, .5e-3, 3, 0.1]}"
    document = yaml_file.load(text)
    assert document.data["lr"]["values"][0] == 1e-5
    assert document.texts == {
        "lr.values[0]": "1e-5",
        "lr.values[2]": "1e5",
        "lr.values[3]": "1.5e3",
    }
    # PyYAML, which W&B's client uses, agrees.
    client = yaml.safe_load(text)["lr"]["values"]
    assert [i for i, value in enumerate(client) if isinstance(value, str)] == [0, 2, 3]
    (finding,) = [
        f
        for f in lint(BASE, SweepConfig(BASE).experiment, texts={"lr.values[0]": "1e-5"})
        if f.rule == "text-number"
    ]
    assert finding.fix == "write 1.0e-05"
    assert yaml.safe_load(finding.fix.removeprefix("write ")) == 1e-5


@pytest.mark.parametrize("path", sweep_files(), ids=lambda path: path.stem)
def test_the_corpus_is_linted_without_a_crash(path: Any) -> None:
    document = yaml_file.load(path.read_bytes(), str(path))
    try:
        experiment: Any = SweepDialect().read(document).value
    except InputError as error:
        experiment = error
    findings = lint(document.data, experiment, texts=document.texts)
    for finding in findings:
        assert finding.what
        assert finding.fix
        assert document.place(finding.path) != (None, None)
    assert (path.stem in REFUSED) <= bool(findings)
