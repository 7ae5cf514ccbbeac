"""What all notations of one flat table promise, by random spaces."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import HealthCheck, given, settings

from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.flat_laws import distance
from tune_bridge.errors import InputError, UnsupportedError
from tune_bridge.experiment import Experiment
from tune_bridge.laws import sample
from tune_bridge.notes import Level
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
    # ConfigSpace has room for laws that it does not have: they are near again, or far.
    assert notes.worst is Level.EXACT or name == "configspace"


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
    assert "every option, and the one that counts as a/x/branch" in str(notes[0])
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


@pytest.mark.parametrize("log", [True, False])
def test_a_vast_range_takes_no_time(log: bool) -> None:
    law = {"type": "uniform_int", "lower": 1, "upper": 10**18, "log": log}
    normal = {"type": "normal_int", "mu": 5, "sigma": 2, "lower": 1, "upper": 10**18}
    for row in (law, normal):
        read = get_dialect("configspace").read({"hyperparameters": [{"name": "x", **row}]})
        assert isinstance(read.value.space.get("x"), Parameter)


LISTED = Sequence((Parameter(Integers(1, 8)), Constant.of("a"), Parameter(Uniform(0, 1))))
SGD = Group((("opt", Constant.of("sgd")), ("momentum", Parameter(Uniform(0, 1)))))
ADAM = Group((("opt", Constant.of("adam")),))
LISTS: dict[str, Node] = {
    "plain": LISTED,
    "below a group": Group((("layers", LISTED),)),
    "in a list": Sequence((LISTED, LISTED)),
    "of groups": Sequence((SGD, ADAM)),
    "of conditions": Sequence((Choice((SGD, ADAM)), Parameter(Uniform(0, 1)))),
    "in an option": Choice((LISTED, Constant.of("none"))),
    "of two lengths": Choice((Sequence(LISTED.items[:1]), LISTED)),
}


@pytest.mark.parametrize("form", LISTS)
@pytest.mark.parametrize("name", FLAT)
def test_lists_of_parameters(name: str, form: str) -> None:
    dialect, space = get_dialect(name), Group((("x", LISTS[form]),))
    written = dialect.write(Experiment(space=space))
    if name == "bayesopt":
        # It has no text, and no choices.
        assert written.notes.worst is Level.LOST
        return
    read = dialect.read(written.value)
    assert read.value.space == space or written.notes.worst is Level.APPROXIMATED
    if name in ("optuna", "configspace", "ax"):
        assert written.notes.worst is Level.EXACT
    if name == "nevergrad":
        assert {note.what for note in written.notes} == {"a tuple"}
        tuples = dialect.write(read.value)
        assert tuples.notes.worst is Level.EXACT
        assert dialect.read(tuples.value).value == read.value
    assert_identity(name, read.value)


def test_the_items_of_a_list_are_numbered() -> None:
    experiment = Experiment(space=Group((("layers", LISTED),)))
    bounds = get_dialect("skopt").write(experiment).value
    assert [call.arguments["name"] for call in bounds] == ["layers/0", "layers/1", "layers/2"]
    read = get_dialect("bayesopt").read({"a/0": (0, 1), "a/1": (0, 2), "0": (0, 1), "b/1": (0, 1)})
    assert isinstance(read.value.space.get("a"), Sequence)
    assert read.value.space.get("b") == Group((("1", Parameter(Uniform(0, 1))),))
    assert [str(note) for note in read.notes] == [
        "exact: a: a list of 2 - the names say so: 0, 1, ..."
    ]


@pytest.mark.parametrize("name", FLAT)
def test_what_numbered_names_do_not_say(name: str) -> None:
    float_ = Parameter(Uniform(0, 1))
    space = Group((("t", Sequence((float_,), "tuple")), ("g", Group((("0", float_),)))))
    written = get_dialect(name).write(Experiment(space=space))
    read = get_dialect(name).read(written.value).value.space
    if name == "nevergrad":
        assert written.notes.worst is Level.EXACT
        assert read == space
    else:
        assert [note.path for note in written.notes] == ["t", "g"]
        assert read == Group((("t", Sequence((float_,))), ("g", Sequence((float_,)))))


def test_the_integer_part_of_a_parameter_has_a_law() -> None:
    part = Operation("int", (Parameter(Uniform(0.5, 3)),))
    space = Group((("x", part),))
    for name in ("configspace", "skopt"):
        written = get_dialect(name).write(Experiment(space=space))
        assert written.notes.worst is Level.EXACT
        found = get_dialect(name).read(written.value).value.space.get("x")
        expected = Choice(tuple(map(Constant.of, (0, 1, 2))), (0.2, 0.4, 0.4))
        assert found is not None
        assert same_law(found, expected)
    # Without weights the nearest of a list and a range is taken.
    part = Operation("int", (Parameter(Uniform(1, 50, "log")),))
    written = get_dialect("optuna").write(Experiment(space=Group((("x", part),))))
    assert written.value["x"].arguments == {"low": 1, "high": 49, "log": True}
    assert written.notes.worst is Level.APPROXIMATED


def test_mappings_with_nothing_but_a_title_stay_mappings() -> None:
    options = tuple(Group((("x", Constant.of(name)),)) for name in ("a", "b"))
    space = Group((("x", Choice(options)),))
    read = get_dialect("optuna").read(get_dialect("optuna").write(Experiment(space=space)).value)
    assert same_law(read.value.space, space)


def test_ray_makes_lists_of_numbered_names_for_some_searchers() -> None:
    from tune_bridge.tune.search.ax import AxSearch
    from tune_bridge.tune.search.bayesopt import BayesOptSearch

    names = ("layers/0", "layers/1")
    ranges = [{"name": name, "type": "range", "bounds": [0.0, 1.0]} for name in names]
    for searcher, kind in (
        (AxSearch(ranges, metric="loss", mode="min"), Sequence),
        (BayesOptSearch(dict.fromkeys(names, (0, 1)), metric="loss", mode="min"), Group),
    ):
        given = {"run_or_experiment": "train.py", "search_alg": searcher}
        found = get_dialect("tune").read(given).value.space.get("layers")
        assert isinstance(found, kind)


def _uniform(name: str) -> dict[str, object]:
    return {"name": name, "type": "uniform_float", "lower": 0.0, "upper": 1.0, "log": False}


def _choice(name: str, *values: object) -> dict[str, object]:
    return {"name": name, "type": "categorical", "choices": list(values), "weights": None}


def _when(child: str, parent: str, value: object) -> dict[str, object]:
    return {"type": "EQ", "child": child, "parent": parent, "value": value}


def test_a_line_gives_a_program_the_flat_names_of_a_foreign_space() -> None:
    rows = [_choice("opt", "sgd", "adam"), _uniform("momentum"), _choice("nest", True, False)]
    rows += [_uniform("decay"), _choice("net/kind", "a", "b"), _uniform("net/width")]
    conditions = [_when("momentum", "opt", "sgd"), _when("nest", "opt", "sgd")]
    conditions += [_when("decay", "nest", True), _when("net/width", "net/kind", "a")]
    space = {"hyperparameters": rows, "conditions": conditions, "forbiddens": []}
    read = get_dialect("configspace").read(space)
    lines = [re.search(r"begin it with (.*?), which", note.hint) for note in read.notes]
    assert len([line for line in lines if line]) == 3
    rng, seen = random.Random(1), set()
    for _ in range(60):
        scope = {"config": sample(read.value.space, rng)}
        for line in lines:
            assert line is not None
            exec(line[1], scope)
        config = scope["config"]
        wanted = {"opt", "net"}
        if config["opt"] == "sgd":
            wanted |= {"momentum", "nest"} | ({"decay"} if config["nest"] is True else set())
        assert set(config) == wanted
        assert set(config["net"]) == {"kind"} | (
            {"width"} if config["net"]["kind"] == "a" else set()
        )
        seen.add((config["opt"], config.get("nest"), config["net"]["kind"]))
    assert len(seen) == 6


def test_no_line_where_names_are_in_other_groups() -> None:
    rows = [_choice("a/opt", 1, 2), _uniform("b/x")]
    space = {"hyperparameters": rows, "conditions": [_when("b/x", "a/opt", 1)], "forbiddens": []}
    (note,) = get_dialect("configspace").read(space).notes
    assert note.hint == "read config['a']['opt']['opt'] in the program"
