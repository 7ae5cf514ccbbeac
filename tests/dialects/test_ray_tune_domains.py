"""Ray Tune's domains, read and written, recorded and live."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.dialects.tune_names import (
    DIALECT,
    DOMAINS,
    IDS,
    Libraries,
    P,
    choice,
    one,
    read,
    space,
)
from tune_bridge import tune
from tune_bridge.dialects.calls import build
from tune_bridge.errors import InputError, SpecError, UnsupportedError
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Level
from tune_bridge.space import (
    Group,
    Normal,
    Uniform,
)


@pytest.fixture(params=[False, True], ids=["recorded", "live"])
def library(request: pytest.FixtureRequest) -> Libraries:
    return Libraries(request.param)


@pytest.mark.parametrize(("name", "args", "expected"), DOMAINS, ids=IDS)
def test_a_domain_is_read(library, name, args, expected):
    assert one(getattr(library.tune, name)(*args)) == expected


@pytest.mark.parametrize(("name", "args", "expected"), DOMAINS, ids=IDS)
def test_a_domain_is_written_and_read_again(name, args, expected):
    written = DIALECT.write(Experiment(space=space(x=expected)))
    value = written.value.arguments["config"]
    assert written.notes.worst == Level.EXACT
    assert read(config=value).space == space(x=expected)
    assert read(config=build(value)).space == space(x=expected)


def test_a_dict_with_a_grid_search_is_one():
    assert one({"grid_search": [1, 2]}) == choice(1, 2, grid=True)


def test_names_may_hold_dots_and_slashes():
    config = {"a.b/c": tune.uniform(0, 1), "a": {"b": tune.uniform(0, 1)}}
    assert read(config=config).space == Group(
        (("a.b/c", P(Uniform(0, 1))), ("a", space(b=P(Uniform(0, 1)))))
    )


def test_parameters_of_hyperopt_inside_a_config_are_remarked_on(library):
    found = DIALECT.read(
        {"run_or_experiment": "t.py", "config": {"a": {"b": library.hp.normal("b", 0, 1)}}}
    )
    assert found.value.space == space(a=space(b=P(Normal(0, 1), label="b")))
    (note,) = found.notes
    assert (note.level, note.path) == (Level.EXACT, "a.b")


BAD_DOMAINS: dict[str, tuple[Callable[[Any], Any], type[InputError], tuple[str, ...]]] = {
    "a function": (
        lambda t: t.sample_from(lambda config: 1),
        UnsupportedError,
        ("m.x", "<lambda>", "top level of a module"),
    ),
    "a lambda": (lambda t: lambda config: 1, UnsupportedError, ("m.x", "<lambda>")),
    "an object": (lambda t: object(), UnsupportedError, ("m.x", "object")),
    "bounds swapped": (lambda t: t.uniform(1, 0), SpecError, ("m.x", "1 and 0", "swap")),
    "no integers": (lambda t: t.randint(5, 5), SpecError, ("m.x", "lower 5, upper 5")),
    "no multiples": (lambda t: t.qrandint(5, 7, 4), SpecError, ("m.x", "upper 7, q 4")),
    "half an integer": (lambda t: t.randint(0, 2.5), SpecError, ("m.x.high", "2.5")),
    "log of zero": (lambda t: t.loguniform(0, 1), SpecError, ("m.x", "positive")),
    "indivisible": (lambda t: t.quniform(1, 11, 4), SpecError, ("m.x", "multiples of q")),
    "no options": (lambda t: t.choice([]), SpecError, ("m.x", "without options")),
    "a grid of a range": (
        lambda t: t.grid_search(range(3)),
        SpecError,
        ("m.x", "not a list", "range(0, 3)"),
    ),
    "code": (lambda t: {"eval": "1"}, SpecError, ("m.x", "eval")),
    "code in a choice": (lambda t: t.choice([{"eval": "1"}]), SpecError, ("m.x[0]", "eval")),
    "a grid of text": (lambda t: {"grid_search": "abc"}, SpecError, ("m.x", "'abc'")),
}


@pytest.mark.parametrize("name", BAD_DOMAINS)
def test_a_bad_domain_gives_one_message_that_names_the_place(library, name):
    make, kind, words = BAD_DOMAINS[name]
    try:
        node = make(library.tune)
    except ValueError:
        # Ray itself refuses some at once.
        if library.live:
            return
        raise
    with pytest.raises(kind) as caught:
        read(config={"m": {"x": node}})
    assert type(caught.value) is kind
    for word in words:
        assert word in str(caught.value)
