"""What all notations of one flat table promise, by random spaces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.flat_laws import distance
from tune_bridge.errors import InputError, UnsupportedError
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.notes import Level
from tune_bridge.space import Beta, Choice, Constant, Group, Integers, Normal, Parameter, Uniform
from tune_bridge.testing.strategies import conditional_spaces, spaces
from tune_bridge.testing.translations import assert_identity, assert_translates, same_law

FLAT = ("optuna", "configspace", "nevergrad", "ax", "skopt", "bayesopt")
QUICK = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", FLAT)
@given(spaces())
@QUICK
def test_what_a_notation_says_survives_it(name: str, space: Group) -> None:
    dialect = get_dialect(name)
    said = dialect.read(dialect.write(Experiment(space=space)).value).value
    notes = assert_identity(name, said)
    assert notes.worst == Level.EXACT


@pytest.mark.parametrize("name", FLAT)
@given(spaces())
@QUICK
def test_every_change_has_a_note(name: str, space: Group) -> None:
    assert_translates(Experiment(space=space), name)


@pytest.mark.parametrize("name", FLAT)
@given(spaces())
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
def test_the_carry_of_a_sweep_keeps_all_of_it(name: str, space: Group) -> None:
    dialect, sweep = get_dialect(name), get_dialect("sweep")
    written = dialect.write(Experiment(space=space))
    said = dialect.read(written.value).value
    if not said.searched:
        return
    back = sweep.read(sweep.write(said).value).value
    # JSON numbers do not keep the sign of a zero.
    assert _text(dialect.write(back).value) == _text(written.value)


def _text(value: object) -> str:
    return repr(value).replace("-0.0", "0.0")


def test_distances() -> None:
    assert distance(Parameter(Uniform(0, 1)), Parameter(Uniform(0, 1))) == 0
    assert distance(Parameter(Uniform(0, 1)), Parameter(Uniform(0.5, 1.5))) == pytest.approx(
        0.5, abs=1e-2
    )
    assert distance(Parameter(Integers(1, 4)), Parameter(Integers(3, 6))) == pytest.approx(0.5)
    assert distance(Constant.of(1), Constant.of(True)) == 1
    one = Choice((Constant.of("a"), Constant.of("b")), (0.25, 0.75))
    assert distance(one, Choice((Constant.of("b"), Constant.of("a")))) == pytest.approx(0.25)
    assert distance(Parameter(Beta(2, 5)), Parameter(Normal(0, 1))) > 0.5


def test_settings_are_named() -> None:
    experiment = Experiment(
        space=Group((("x", Parameter(Uniform(0, 1))),)), program="train.py", seed=1
    )
    notes = get_dialect("optuna").write(experiment).notes
    assert [note.path for note in notes] == ["program", "seed"]


def test_a_condition_where_there_is_none() -> None:
    branch = Group((("y", Parameter(Uniform(0, 1))),))
    space = Group((("a", Group((("x", Choice((branch, Constant.of(1)))),))),))
    notes = get_dialect("skopt").write(Experiment(space=space)).notes
    assert notes.worst == Level.APPROXIMATED
    (note,) = notes.at("a.x[0].y")
    assert "it counts only where a/x/branch is 'y'" in note.why
    # BayesOpt has no choices either, and then there is nothing to tell the branch by.
    with pytest.raises(InputError, match=r"a\.x"):
        get_dialect("bayesopt").write(Experiment(space=space)).notes.require()


def test_a_name_with_a_slash() -> None:
    space = Group((("a/b", Parameter(Uniform(0, 1))),))
    with pytest.raises(InputError, match="a/b"):
        get_dialect("optuna").write(Experiment(space=space))


def test_a_parameter_and_a_group_of_one_name() -> None:
    with pytest.raises(InputError, match=r"a\.b: both a parameter and a group"):
        get_dialect("bayesopt").read({"a": (0, 1), "a/b": (0, 1)})


@pytest.mark.parametrize("name", FLAT)
@given(conditional_spaces())
@QUICK
def test_conditions_survive_or_have_a_note(name: str, space: Group) -> None:
    try:
        assert_translates(Experiment(space=space), name)
    except UnsupportedError:
        return
    dialect = get_dialect(name)
    said = dialect.read(dialect.write(Experiment(space=space)).value).value
    assert same_law(dialect.read(dialect.write(said).value).value.space, said.space)


CONDITIONAL = ("sweep", "hyperopt", "optuna", "configspace", "nevergrad", "ax", "legacy")


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(CONDITIONAL, 2)))
@given(conditional_spaces(st.just(Uniform(0, 1)) | st.just(Uniform(0.1, 1, "log"))))
@settings(max_examples=2, suppress_health_check=list(HealthCheck))
def test_conditions_there_and_back(first: str, second: str, space: Group) -> None:
    """What one notation says of a tree is the same after a way through another one."""
    one, other = get_dialect(first), get_dialect(second)
    try:
        ours = one.read(one.write(in_hyperopt(space)).value).value
        sent = other.write(ours)
    except UnsupportedError:
        return
    back = other.read(sent.value).value
    below = {note.path.split("[")[0].split(".")[0] for note in sent.notes if note.level > 0}
    for path, node in ours.space.items:
        arrived = back.space.get(path)
        if path not in below:
            assert arrived is not None
            assert same_law(node, arrived), path


def in_hyperopt(space: Group) -> Experiment:
    return Experiment(
        space=space,
        objective=Objective("loss"),
        searcher=Algorithm("HyperOptSearch"),
        space_in="searcher",
    )
