"""Graphs that are made node by node, against those of ``hp.*`` itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

pytest.importorskip("hyperopt")

import numpy as np
from hyperopt import hp
from hyperopt.pyll import as_apply, scope

from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.calls import Signature, build
from tune_bridge.dialects.hyperopt.graph import MAKERS
from tune_bridge.dialects.hyperopt.signatures import SIGNATURES
from tune_bridge.errors import InputError
from tune_bridge.experiment import Experiment
from tune_bridge.testing.strategies import conditional_spaces, spaces

HYPEROPT = get_dialect("hyperopt")


def structure(node: Any) -> Any:
    """All that a node is: its class, its attributes, its inputs."""
    if isinstance(node, dict):
        return {key: structure(item) for key, item in node.items()}
    if isinstance(node, list | tuple):
        return type(node), [structure(item) for item in node]
    if not hasattr(node, "pos_args"):
        return type(node), repr(node)
    return type(node), {key: structure(value) for key, value in vars(node).items()}


OPTIONS = [
    ["a", "", b"c", "\u00fc"],
    [1, 2.5, True, None, float("inf"), 10**30],
    [{"a": 1, "B": {"c": [1, (2, 3)]}}, {}, [], (), [[]], {1: "x", 2: "y"}],
    [hp.uniform("inner", 0, 1), {"x": hp.normal("deep", 0, 1)}, [hp.randint("n", 4)]],
    [np.float64(0.5), np.array([1, 2]), print, {"z", "y"}],
    [scope.int(hp.quniform("q", 0, 9, 3))],
]
CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("hp.uniform", ("x", 0, 1)),
    ("hp.uniform", ("x", -1.5, 1e300)),
    ("hp.uniform", ("x", np.float64(0), np.float64(2))),
    ("hp.uniform", (as_apply("x"), 0, 1)),
    ("hp.uniform", (b"x", 0, 1)),
    ("hp.uniform", ("x", True, 2)),
    ("hp.uniform", ("x", 0, hp.uniform("y", 1, 2))),
    ("hp.quniform", ("x", 0, 10, 2)),
    ("hp.quniform", ("x", 0.5, 10, 0.5)),
    ("hp.loguniform", ("x", -9, 0)),
    ("hp.qloguniform", ("x", 0, 3.5, 1)),
    ("hp.normal", ("x", 0, 1)),
    ("hp.qnormal", ("x", 0, 1.0, 0.5)),
    ("hp.lognormal", ("x", -1, 1)),
    ("hp.qlognormal", ("x", 0, 1, 1)),
    ("hp.randint", ("x", 5)),
    ("hp.randint", ("x", 2, 5)),
    ("hp.randint", ("x", np.int64(5))),
    ("hp.uniformint", ("x", 1, 6)),
    ("hp.uniformint", ("x", 1.0, 6.0)),
    *[("hp.choice", ("x", options)) for options in OPTIONS],
    *[("hp.choice", ("x", tuple(options))) for options in OPTIONS],
    *[("hp.pchoice", ("x", [(1 / len(o), option) for option in o])) for o in OPTIONS],
    ("hp.choice", ("x", [])),
    ("scope.int", (hp.quniform("x", 0, 10, 2),)),
    ("scope.int", (3,)),
]


def theirs(name: str) -> Any:
    return SIGNATURES[name].resolve()


@pytest.mark.parametrize(("name", "arguments"), CALLS, ids=lambda value: str(value)[:30])
def test_every_node_is_that_of_hp(name, arguments):
    made = MAKERS[name](*arguments)
    assert structure(made) == structure(theirs(name)(*arguments))
    assert str(made) == str(theirs(name)(*arguments))


def test_every_function_is_compared():
    assert {name for name, _ in CALLS} == set(MAKERS)
    assert {name for name, signature in SIGNATURES.items() if signature.makers} == set(MAKERS)


def test_nodes_are_not_shared():
    """HyperOpt writes into its nodes: two parameters must not have one list."""
    one, other = (MAKERS["hp.uniform"]("x", 0, 1) for _ in range(2))
    scope_node = one.pos_args[0].arg["obj"]
    scope_node.named_args.append(["rng", as_apply(1)])
    assert structure(other) == structure(hp.uniform("x", 0, 1))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("hp.uniform", (3, 0, 1)),
        ("hp.uniform", ("x", 3, 1)),
        ("hp.quniform", ("x", 3, 3, 1)),
        ("hp.uniform", ("x",)),
        ("hp.choice", (None, [1])),
        ("hp.pchoice", ("x", [])),
        ("hp.randint", ("x",)),
    ],
)
def test_errors_are_those_of_hp(name, arguments):
    caught = []
    for function in (MAKERS[name], theirs(name)):
        try:
            caught.append(structure(function(*arguments)))
        except (TypeError, ValueError) as error:
            caught.append((type(error), str(error)))
    assert caught[0] == caught[1]


@settings(max_examples=60)
@given(spaces() | conditional_spaces())
def test_spaces_are_those_of_hp(space):
    try:
        written = HYPEROPT.write(Experiment(space)).value
    except InputError:
        return
    made = structure(build(written))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Signature, "maker", Signature.resolve)
        assert structure(build(written)) == made
