"""Define-by-run functions: traced to trees, and written as functions again."""

from __future__ import annotations

import contextlib
import fractions
import functools
import statistics
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tune_bridge.dialects.base import get_dialect
from tune_bridge.errors import InputError, UnsupportedError
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Level
from tune_bridge.space import Choice, Constant, Group, Integers, Node, Parameter, Uniform
from tune_bridge.testing.strategies import conditional_spaces
from tune_bridge.testing.translations import same_law

OPTUNA = get_dialect("optuna")
UNIT = Parameter(Uniform(0, 1))


def group(**items: Node) -> Group:
    return Group(tuple(items.items()))


def options(name: str, branches: dict[Any, dict[str, Node]]) -> Choice:
    return Choice(tuple(group(**{name: Constant.of(v)}, **b) for v, b in branches.items()))


def traced(space: Any) -> Group:
    read = OPTUNA.read(space)
    assert read.notes.worst < Level.LOST, [str(note) for note in read.notes]
    # What is written is a function that a person could have written, with the same tree.
    scope: dict[str, Any] = {}
    exec(OPTUNA.source(read.value).value, scope)
    assert OPTUNA.read(scope["space"]).value.space == read.value.space
    return read.value.space


def test_a_choice_decides() -> None:
    def space(trial: Any) -> None:
        optimizer = trial.suggest_categorical("optimizer", ["sgd", "adam"])
        if optimizer == "sgd":
            trial.suggest_float("momentum", 0, 1)
        trial.suggest_float("lr", 1e-5, 1e-1, log=True)

    assert traced(space) == group(
        optimizer=options("optimizer", {"sgd": {"momentum": UNIT}, "adam": {}}),
        lr=Parameter(Uniform(1e-5, 1e-1, "log")),
    )
    (note,) = OPTUNA.read(space).notes
    assert (note.path, note.level) == ("optimizer", Level.APPROXIMATED)
    assert "momentum" in note.what


def test_a_loop_decides() -> None:
    def space(trial: Any) -> None:
        for index in range(trial.suggest_int("layers", 1, 3)):
            trial.suggest_int(f"units_{index}", 1, 8)

    units = Parameter(Integers(1, 8))
    assert traced(space) == group(
        layers=options(
            "layers",
            {1: {}, 2: {"units_1": units}, 3: {"units_1": units, "units_2": units}},
        ),
        units_0=units,
    )


def test_flags_dictionaries_and_nested_decisions() -> None:
    def svm(trial: Any) -> None:
        if trial.suggest_categorical("shrink", [True, False]):
            trial.suggest_float("tol", 0, 1)

    def forest(trial: Any) -> None:
        trial.suggest_int("trees", 1, 9)

    def space(trial: Any) -> None:
        {"svm": svm, "forest": forest, None: lambda trial: None}[
            trial.suggest_categorical("model", ["svm", "forest", None])
        ](trial)

    shrink = options("shrink", {True: {"tol": UNIT}, False: {}})
    trees = Parameter(Integers(1, 9))
    assert traced(space).get("model") == options(
        "model", {"svm": {"shrink": shrink}, "forest": {"trees": trees}, None: {}}
    )


def test_bounds_that_depend_and_one_of_two() -> None:
    def space(trial: Any) -> None:
        a = trial.suggest_categorical("a", ["x", "y"])
        b = trial.suggest_categorical("b", ["x", "y"])
        trial.suggest_float("lr", 0, 1 if a == "x" else 2)
        if a == "x" or b == "x":
            trial.suggest_float("c", 0, 1)

    b = options("b", {"x": {"c": UNIT}, "y": {}})
    wide = Parameter(Uniform(0, 2))
    found = traced(space).get("a")
    assert isinstance(found, Choice)
    x, y = found.options
    assert isinstance(x, Group)
    assert x.get("lr") == UNIT
    assert x.get("c") == UNIT
    assert y == group(a=Constant.of("y"), lr=wide, b=b)


def test_many_choices_that_decide_nothing_cost_little() -> None:
    calls = 0

    def space(trial: Any) -> None:
        nonlocal calls
        calls += 1
        for index in range(30):
            trial.suggest_categorical(f"c{index}", ["a", "b", "c"])

    assert len(traced(space).items) == 30
    assert calls < 200


def test_what_is_no_finite_tree_is_named() -> None:
    def compares(trial: Any) -> None:
        if trial.suggest_float("lr", 0.1, 1) > 0.5:
            trial.suggest_float("decay", 0, 1)

    def large(trial: Any) -> None:
        names = [trial.suggest_categorical(f"c{i}", ["a", "b"]) for i in range(20)]
        trial.suggest_float("_".join(str(name) for name in names), 0, 1)

    notes = OPTUNA.read(compares).notes
    assert notes.worst is Level.LOST
    assert {note.path for note in notes} == {"lr", "decay"}
    with pytest.raises(UnsupportedError, match=r"called 1000 times and no more.*cannot be traced"):
        OPTUNA.read(large).notes.require()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (lambda trial: trial.study.best_value, "calls trial.study, which says nothing"),
        (lambda trial: 1 / 0, "the space failed: ZeroDivisionError"),
        (
            lambda trial: (trial.suggest_int("a", 1, 2), trial.suggest_int("a", 1, 3)),
            "a: suggested with two distributions",
        ),
    ],
)
def test_mistakes(space: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        OPTUNA.read(space)


def test_live_trials_take_the_function() -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sgd = {"momentum": UNIT, "nesterov": options("nesterov", {True: {"k": UNIT}, False: {}})}
    space = group(opt=options("opt", {"sgd": sgd, "adam": {}}), lr=UNIT)
    written = OPTUNA.write(Experiment(space=space)).value
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(lambda trial: len(written(trial)), n_trials=40)
    seen = {tuple(sorted(trial.params)) for trial in study.trials}
    assert seen == {
        ("lr", "opt"),
        ("lr", "momentum", "nesterov", "opt"),
        ("k", "lr", "momentum", "nesterov", "opt"),
    }


def test_long_choices_that_decide_nothing() -> None:
    def space(trial: Any) -> None:
        trial.suggest_categorical("width", list(range(500)))
        if trial.suggest_categorical("kind", ["a", "b", "c"]) != "a":
            trial.suggest_categorical("depth", list(range(300)))

    read = OPTUNA.read(space)
    assert [name for name, _ in read.value.space.items] == ["width", "kind"]
    assert read.notes.worst < Level.LOST


@given(conditional_spaces())
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
def test_programs_say_the_tree_that_was_written(space: Group) -> None:
    try:
        written = OPTUNA.write(Experiment(space=space))
    except UnsupportedError:
        return
    said = OPTUNA.read(written.value).value.space
    scope: dict[str, Any] = {}
    exec(OPTUNA.source(Experiment(space=space)).value, scope)
    traced = OPTUNA.read(scope["space"]).value.space
    assert same_law(traced, said)


def test_training_is_not_traced() -> None:
    def objective(trial: Any) -> None:
        trial.suggest_float("lr", 0, 1)
        trial.set_user_attr("seen", True)
        try:
            trial.report(0.5, 1)
        except Exception:
            raise AssertionError("trained") from None
        raise AssertionError("trained")

    read = OPTUNA.read(objective)
    assert list(dict(read.value.space.items)) == ["lr"]
    assert not list(read.notes)


def test_what_a_library_looks_at_decides_nothing() -> None:
    def objective(trial: Any) -> None:
        values = [trial.suggest_float("lr", 0, 1), trial.suggest_float("decay", 0, 1)]
        fractions.Fraction(statistics.median(values))  # compares them
        trial.suggest_int("depth", 1, 3)

    read = OPTUNA.read(objective)
    assert [name for name, _ in read.value.space.items] == ["lr", "decay", "depth"]
    assert not list(read.notes)


def _plain(trial: Any) -> float:
    width = trial.suggest_int("width", 1, 8)
    raise AssertionError(width)


def _branches(trial: Any) -> float:
    if trial.suggest_categorical("kind", ["svc", "forest"]) == "svc":
        c = trial.suggest_float("c", 1e-10, 1e10, log=True)
    else:
        c = trial.suggest_int("depth", 2, 32, log=True)
    raise AssertionError(c)


def _loop(trial: Any) -> float:
    total = 0.0
    for index in range(3):
        total += index
        total += trial.suggest_float(f"w{index}", 0, 1)
    raise AssertionError(total)


class _Keeper:
    def __init__(self, trial: Any) -> None:
        self.trial = trial

    def rate(self) -> float:
        return self.trial.suggest_float("rate", 0, 1)


def _given_away(trial: Any) -> float:
    keeper = _Keeper(trial)
    trial.suggest_float("width", 0, 1)
    total = 1.0
    total += keeper.rate()
    return total


def _named_again(trial: Any) -> float:
    other = trial
    total = 1.0
    return total + other.suggest_float("width", 0, 1)


def _later(trial: Any) -> float:
    def rate() -> float:
        return trial.suggest_float("rate", 0, 1)

    total = 1.0
    return total + rate()


def _handed_on(trial: Any) -> float:
    model = _named_again(trial)
    trial.set_user_attr("model", model)
    raise AssertionError("trained")


class _Objective:
    def __call__(self, trial: Any) -> float:
        score = self.score(trial, 3)
        raise AssertionError(score)

    def score(self, trial: Any, folds: int) -> float:
        with contextlib.nullcontext():
            trial.suggest_int("width", 1, 8)
        return float(folds)


@pytest.mark.parametrize(
    ("objective", "names"),
    [
        (_plain, ["width"]),
        (_branches, ["kind"]),
        (_loop, ["w0", "w1", "w2"]),
        (_given_away, ["width", "rate"]),
        (_named_again, ["width"]),
        (_later, ["rate"]),
        (_handed_on, ["width"]),
        (_Objective(), ["width"]),
        (functools.partial(_Objective().score, folds=2), ["width"]),
    ],
)
def test_what_comes_after_the_last_suggestion_is_not_executed(objective, names) -> None:
    read = OPTUNA.read(objective)
    assert [name for name, _ in read.value.space.items] == names
