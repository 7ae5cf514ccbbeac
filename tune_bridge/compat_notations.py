"""The part of the compatibility matrix about notations that say a space and nothing around it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tune_bridge.dialects.base import DIALECTS, Dialect, get_dialect
from tune_bridge.dialects.flat_laws import whole
from tune_bridge.errors import InputError
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.notes import Level, Notes
from tune_bridge.space import (
    Beta,
    Choice,
    Constant,
    Group,
    Integers,
    Node,
    Normal,
    Operation,
    Parameter,
    Sequence,
    Uniform,
)
from tune_bridge.testing.translations import same_law

__all__ = ["NAMES", "SPACES", "notations"]

NAMES = tuple(name for name in DIALECTS if name not in ("sweep", "tune", "hyperopt"))
"""The notations, in the order of the columns."""

_FLOAT = Parameter(Uniform(0, 1))
_BOTH = Parameter(Uniform(0, 1), "both", shared=True)
_SGD = Group((("opt", Constant.of("sgd")), ("momentum", _FLOAT)))
_ADAM = Group((("opt", Constant.of("adam")),))
_LABELS = (Constant.of("a"), Constant.of("b"))

SPACES: dict[str, Node] = {
    "uniform": _FLOAT,
    "uniform, rounded": Parameter(Uniform(0, 1, q=0.25)),
    "uniform, rounded, equal weights": Parameter(Uniform(-0.125, 1.125, q=0.25)),
    "log-uniform": Parameter(Uniform(1e-4, 0.1, "log")),
    "log-uniform, rounded": Parameter(Uniform(1, 64, "log", q=2)),
    "reciprocal": Parameter(Uniform(0.1, 0.2, "reciprocal")),
    "integers": Parameter(Integers(1, 6)),
    "integers, stepped": Parameter(Integers(2, 10, 2)),
    "integers, log, floored": Parameter(Integers(1, 20, log=True)),
    "integers, log, rounded": Parameter(Uniform(0.5, 20.5, "log", q=1, integer=True)),
    "integers, rounded": Parameter(Uniform(1, 6, q=1, integer=True)),
    "normal": Parameter(Normal(1, 2)),
    "normal, rounded": Parameter(Normal(1, 2, q=0.5)),
    "log-normal": Parameter(Normal(0, 1, "log")),
    "beta": Parameter(Beta(2, 5)),
    "beta, rounded": Parameter(Beta(2, 5, q=0.1)),
    "choice": Choice(_LABELS),
    "choice, weighted": Choice(_LABELS, (0.25, 0.75)),
    "choice of lists": Choice((Constant.of([1]), Constant.of([1, 2]))),
    "constant": Constant.of(3),
    "group": Group((("y", _FLOAT),)),
    "condition": Choice((_SGD, _ADAM)),
    "condition, other options": Choice((_FLOAT, Constant.of(None))),
    "list of parameters": Sequence((_FLOAT, _FLOAT)),
    "tuple of parameters": Sequence((_FLOAT, _FLOAT), "tuple"),
    "integer part of a parameter": Operation("int", (Parameter(Uniform(0.5, 3)),)),
    "another operation": Operation("exp", (_FLOAT,)),
    "one draw in two places": Group((("y", _BOTH), ("z", _BOTH))),
    "grid": Choice(_LABELS, grid=True),
}
"""One example of each thing that a space can hold."""

_X = {"name": "x"}
_ROOT = {"name": "c", "type": "categorical", "choices": ["a", "b"], "weights": None}
_HALF = {**_X, "lower": 0.0, "upper": 1.0, "log": False}


def _configspace(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"hyperparameters": list(rows), "conditions": [], "forbiddens": [], **more}


_CHILD = _configspace(_ROOT, {**_HALF, "type": "uniform_float"})
_EITHER = [
    {"type": "EQ", "child": "x", "parent": "c", "value": "a"},
    {"type": "EQ", "child": "x", "parent": "d", "value": "a"},
]


def _by_float(trial: Any) -> None:
    if trial.suggest_float("lr", 0, 1) > 0.5:
        trial.suggest_float("decay", 0, 1)


def _by_choice(trial: Any) -> None:
    if trial.suggest_categorical("opt", ["sgd", "adam"]) == "sgd":
        trial.suggest_float("momentum", 0, 1)


def _float(low: float, high: float, **more: Any) -> dict[str, Any]:
    given = {"low": low, "high": high, **more}
    return {"x": {"name": "FloatDistribution", "attributes": given}}


_READ: tuple[tuple[str, str, Any], ...] = (
    ("optuna", "a step that does not go through 0", _float(0.05, 0.45, step=0.1)),
    ("optuna", "a function that decides by a choice", _by_choice),
    ("optuna", "a function that decides by a float", _by_float),
    ("configspace", "ordinal", _configspace({**_X, "type": "ordinal", "sequence": ["s", "m"]})),
    (
        "configspace",
        "integers, log",
        _configspace({**_X, "type": "uniform_int", "lower": 1, "upper": 9, "log": True}),
    ),
    ("configspace", "normal in bounds", _configspace(
        {**_HALF, "type": "normal_float", "mu": 0.5, "sigma": 0.5})),
    ("configspace", "normal integers", _configspace(
        {**_X, "type": "normal_int", "mu": 5, "sigma": 2, "lower": 1, "upper": 9})),
    ("configspace", "beta integers", _configspace(
        {**_X, "type": "beta_int", "alpha": 2, "beta": 3, "lower": 1, "upper": 6})),
    *(
        (
            "configspace",
            f"condition {kind}",
            {**_CHILD, "conditions": [{"type": kind, "child": "x", "parent": "c", **value}]},
        )
        for kind, value in (
            ("EQ", {"value": "a"}), ("NEQ", {"value": "a"}), ("IN", {"values": ["a"]}),
        )
    ),
    *(
        (
            "configspace",
            f"condition {kind}",
            _configspace(
                {"name": "c", "type": "uniform_int", "lower": 1, "upper": 4, "log": False},
                {**_HALF, "type": "uniform_float"},
                conditions=[{"type": kind, "child": "x", "parent": "c", "value": 2}],
            ),
        )
        for kind in ("LT", "GT")
    ),
    *(
        (
            "configspace",
            f"condition {kind} of two parents",
            _configspace(
                _ROOT,
                {**_ROOT, "name": "d"},
                {**_HALF, "type": "uniform_float"},
                conditions=[{"type": kind, "child": "x", "conditions": _EITHER}],
            ),
        )
        for kind in ("AND", "OR")
    ),
    ("configspace", "forbidden combinations", {
        **_CHILD, "forbiddens": [{"type": "EQUALS", "name": "c", "value": "a"}]}),
    ("ax", "dependents", [
        {"name": "c", "type": "choice", "values": ["a", "b"], "dependents": {"a": ["x"]}},
        {"name": "x", "type": "range", "bounds": [0.0, 1.0]}]),
    ("ax", "constraints between parameters", {"parameters": [], "parameter_constraints": ["a<=b"]}),
    ("legacy", "hp.loguniform(min_bound, max_bound)", {"tune": {"run_or_experiment": "t.py",
        "config": {"x": {"hyperopt.loguniform": {"min_bound": 0.1, "max_bound": 1}}}}}),
)  # fmt: skip
"""Notation, a form of its own, and an example: what `SPACES` has no row for."""


def notations() -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Titles, heads and rows of the tables."""
    rows: list[tuple[str, ...]] = [
        (title, *(_cell(name, node) for name in NAMES)) for title, node in SPACES.items()
    ]
    yield "Other notations: written and read back", ("", *NAMES), rows
    found: list[tuple[str, ...]] = [
        (name, title, *_reading(get_dialect(name), source)) for name, title, source in _READ
    ]
    yield "Other notations: forms of their own, read", ("", "form", "read", "written again"), found


def _mark(level: Level, notes: Notes) -> str:
    reasons = [note.why or note.what for note in notes if note.level > Level.EXACT]
    word = "not offered" if level is Level.LOST else level.label
    return f"**{word}**" + (f": {'; '.join(dict.fromkeys(reasons))}" if reasons else "")


def _cell(name: str, node: Node) -> str:
    dialect = get_dialect(name)
    experiment = Experiment(space=Group((("x", node),)))
    if name == "legacy":
        experiment = experiment.replace(
            searcher=Algorithm("HyperOptSearch"),
            objective=Objective("loss"),
            space_in="searcher",
            program="train.py",
        )
    try:
        written = dialect.write(experiment)
        text = _mark(written.notes.worst, written.notes)
        if written.notes.worst is Level.LOST:
            return text
        back = dialect.read(written.value).value.space.get("x")
    except InputError as error:
        return f"**refused**: {error.message}"
    same = back is not None and same_law(back, whole(node))
    return text if same or written.notes.worst > Level.EXACT else f"{text}, read otherwise"


def _reading(dialect: Dialect, source: Any) -> tuple[str, str]:
    try:
        read = dialect.read(source)
    except InputError as error:
        return f"**refused**: {error.message}", ""
    if read.notes.worst is Level.LOST:
        return _mark(read.notes.worst, read.notes), ""
    again = dialect.read(dialect.write(read.value).value).value
    return _mark(
        read.notes.worst, read.notes
    ), "the same" if again == read.value else "not the same"
