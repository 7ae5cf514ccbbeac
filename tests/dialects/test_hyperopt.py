"""The HyperOpt dialect: spaces read, written, and drawn alike."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from typing import Any

import pytest

from tests.corpus import spaces
from tests.dialects import trees
from tests.dialects.draws import LEAST, drawn_from, same_law
from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.calls import Call, build
from tune_bridge.errors import InputError, SpecError, UnsupportedError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment
from tune_bridge.hyperopt import fmin, hp, rand, tpe
from tune_bridge.laws import cell_probabilities, sample, total_variation
from tune_bridge.notes import Level
from tune_bridge.space import (
    Beta,
    Choice,
    Constant,
    Group,
    Integers,
    Node,
    Normal,
    Parameter,
    Uniform,
)
from tune_bridge.values import Frozen

DIALECT = get_dialect("hyperopt")


def read(source: Any) -> Group:
    return DIALECT.read(source).value.space


def one(node: Any) -> Node:
    """What a single parameter called x is read as."""
    found = read({"x": node}).get("x")
    assert found is not None
    return found


def choice(*values: Any, weights: tuple[float, ...] | None = None, **kwargs: Any) -> Choice:
    return Choice(tuple(map(Constant.of, values)), weights, **kwargs)


PARAMETERS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], Node]] = {
    "uniform": ("uniform", (-1, 2.5), {}, Parameter(Uniform(-1, 2.5))),
    "uniform by name": ("uniform", (), {"low": 0, "high": 1}, Parameter(Uniform(0, 1))),
    "quniform": ("quniform", (0, 10, 2), {}, Parameter(Uniform(0, 10, q=2))),
    "quniform by name": ("quniform", (0, 1), {"q": 0.3}, Parameter(Uniform(0, 1, q=0.3))),
    "uniformint": ("uniformint", (1, 6), {}, Parameter(Uniform(1, 6, q=1, integer=True))),
    "uniformint of one weight": ("uniformint", (0.5, 6.5), {}, Parameter(Integers(1, 6))),
    "loguniform": (
        "loguniform",
        (-5, 0),
        {},
        Parameter(Uniform(-5, 0, scale="log", exponents=True)),
    ),
    "qloguniform": (
        "qloguniform",
        (0, 3, 0.5),
        {},
        Parameter(Uniform(0, 3, scale="log", exponents=True, q=0.5)),
    ),
    "normal": ("normal", (1, 2), {}, Parameter(Normal(1, 2))),
    "qnormal": ("qnormal", (1, 2, 0.5), {}, Parameter(Normal(1, 2, q=0.5))),
    "lognormal": ("lognormal", (0, 1), {}, Parameter(Normal(0, 1, scale="log"))),
    "qlognormal": ("qlognormal", (0, 1, 1), {}, Parameter(Normal(0, 1, scale="log", q=1))),
    "randint up to": ("randint", (5,), {}, Parameter(Integers(0, 4))),
    "randint": ("randint", (-3, 5), {}, Parameter(Integers(-3, 4))),
    "randint by name": ("randint", (), {"low": 2, "high": 9}, Parameter(Integers(2, 8))),
    "choice": ("choice", (["a", 1, None, True],), {}, choice("a", 1, None, True)),
    "choice of lists": ("choice", ([[1, 2], [3]],), {}, choice([1, 2], [3])),
    "choice of tuples": ("choice", ([(1, 2), (3,)],), {}, choice((1, 2), (3,))),
    "choice of dicts": ("choice", ([{"a": 1}, {"a": [2]}],), {}, choice({"a": 1}, {"a": [2]})),
    "pchoice": (
        "pchoice",
        ([(0.1, "a"), (0.9, "b")],),
        {},
        choice("a", "b", weights=(0.1, 0.9)),
    ),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_is_read(name):
    function, args, kwargs, expected = PARAMETERS[name]
    assert one(getattr(hp, function)("x", *args, **kwargs)) == expected


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_live_parameter_is_read_like_a_recorded_one(name):
    live = pytest.importorskip("hyperopt").hp
    function, args, kwargs, expected = PARAMETERS[name]
    assert one(getattr(live, function)("x", *args, **kwargs)) == expected


INTEGERS = {
    "multiples": (("quniform", 0, 10, 2), Parameter(Uniform(0, 10, q=2, integer=True))),
    "multiples of one weight": (("quniform", 0.5, 6.5, 1), Parameter(Integers(1, 6))),
    "tens of one weight": (("quniform", -15, 25, 10), Parameter(Integers(-10, 20, 10))),
    "log": (
        ("qloguniform", 0, 3, 1),
        Parameter(Uniform(0, 3, scale="log", exponents=True, q=1, integer=True)),
    ),
    "normal": (("qnormal", 8, 2, 1), Parameter(Normal(8, 2, q=1, integer=True))),
    "floored": (("uniform", 1, 20), Parameter(Integers(1, 19))),
    "floored log": (("loguniform", 0.0, math.log(100)), Parameter(Integers(1, 99, log=True))),
    "already": (("randint", 1, 20), Parameter(Integers(1, 19))),
}


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("name", INTEGERS)
def test_scope_int_makes_integers(name, live):
    builder = trees.Builder("" if live else "tune_bridge")
    (function, *args), expected = INTEGERS[name]
    assert one(builder.scope.int(getattr(builder.hp, function)("x", *args))) == expected


def test_groups_constants_and_labels_are_read():
    space = read({"a": {"lr": hp.uniform("learning rate", 0, 1), "k": [1, 2]}, "n": None})
    assert space == Group(
        (
            ("a", Group((("lr", Parameter(Uniform(0, 1), "learning rate")), ("k", _c([1, 2]))))),
            ("n", _c(None)),
        )
    )


def test_a_label_that_is_the_path_is_not_kept():
    assert read({"a": {"b": hp.uniform("a.b", 0, 1)}}) == Group(
        (("a", Group((("b", Parameter(Uniform(0, 1))),))),)
    )


def test_live_and_recorded_objects_mix():
    live = trees.Builder("").hp
    mixed = {"a": live.uniform("a", 0, 1), "b": {"c": hp.normal("b.c", 0, 1), "d": (1, 2)}}
    recorded = {"a": hp.uniform("a", 0, 1), "b": {"c": hp.normal("b.c", 0, 1), "d": (1, 2)}}
    assert read(mixed) == read(recorded)


def test_a_live_dict_node_is_a_space():
    pytest.importorskip("hyperopt")
    from hyperopt.pyll import as_apply

    live = trees.Builder("").hp
    node = as_apply({"b": [1, 2], "a": live.uniform("a", 0, 1), "c": {"d": (3,)}, "e": {1: 2}})
    assert read(node) == Group(
        (
            ("a", Parameter(Uniform(0, 1))),
            ("b", _c([1, 2])),
            ("c", Group((("d", _c((3,))),))),
            ("e", _c({1: 2})),
        )
    )


def _c(value: Any) -> Constant:
    return Constant.of(value)


def _closure() -> Any:
    def inside(config: Any) -> None: ...

    return inside


BAD: dict[str, tuple[Any, type[InputError], tuple[str, ...]]] = {
    "nothing drawn": (lambda b: [1, 2], UnsupportedError, ("not a dict", "list")),
    "names that are no strings": (
        lambda b: {1: b.hp.uniform("x", 0, 1)},
        UnsupportedError,
        ("not a string", "1"),
    ),
    "one label twice": (
        lambda b: {"a": b.hp.uniform("x", 0, 1), "b": {"c": b.hp.normal("x", 0, 1)}},
        SpecError,
        ("'x'", "a", "b.c"),
    ),
    "an operation on objects": (
        lambda b: {"m": {"n": b.scope.call_method(b.hp.normal("k", 0, 1), "item")}},
        UnsupportedError,
        ("m.n", "scope.call_method", "no file"),
    ),
    "a draw without a label": (
        lambda b: {"m": b.scope.uniform(0, 1)},
        UnsupportedError,
        ("m", "scope.uniform", "without a label"),
    ),
    "a parameter under a number": (
        lambda b: {"m": b.hp.choice("m", [{"k": {1: b.hp.uniform("k", 0, 1)}}, 2])},
        UnsupportedError,
        ("m[0].k", "not text", "hp.uniform"),
    ),
    "a bound that is a parameter": (
        lambda b: {"m": b.hp.uniform("m", 0, b.hp.uniform("n", 1, 2))},
        UnsupportedError,
        ("m", "high of hp.uniform", "expression"),
    ),
    "a lambda": (lambda b: {"m": lambda c: c}, UnsupportedError, ("m", "<lambda>", "its name")),
    "a closure in a choice": (
        lambda b: {"m": b.hp.choice("m", [_closure(), 2])},
        UnsupportedError,
        ("m[0]", "inside a function", "top level of a module"),
    ),
    "an object": (lambda b: {"m": {"o": object()}}, UnsupportedError, ("m.o", "object")),
    "bounds swapped": (
        lambda b: {"m": {"x": b.hp.uniform("x", 1, 0)}},
        SpecError,
        ("m.x", "1 and 0", "swap"),
    ),
    "equal bounds": (lambda b: {"m": b.hp.loguniform("m", 0, 0)}, SpecError, ("m", "low < high")),
    "no integers": (lambda b: {"m": b.hp.randint("m", 0)}, SpecError, ("m", "0 and 0")),
    "half an integer": (lambda b: {"m": b.hp.randint("m", 1.5)}, SpecError, ("m.high", "1.5")),
    "no options": (lambda b: {"m": b.hp.choice("m", [])}, SpecError, ("m", "without options")),
    "options that are a dict": (
        lambda b: {"m": hp.choice("m", {"a": 1})},
        SpecError,
        ("m", "a list"),
    ),
    "weights beside the whole": (
        lambda b: {"m": b.hp.pchoice("m", [(0.5, 1), (0.2, 2)])},
        SpecError,
        ("m", "sum 0.7"),
    ),
    "options without weights": (
        lambda b: {"m": hp.pchoice("m", ["a", "b"])},
        SpecError,
        ("m", "pairs"),
    ),
    "a negative sigma": (lambda b: {"m": b.hp.normal("m", 0, -1)}, SpecError, ("m.sigma", "-1")),
    "a bound that is text": (
        lambda b: {"m": b.hp.normal("m", "a", 1)},
        SpecError,
        ("m.mu", "'a'"),
    ),
    "q of zero": (lambda b: {"m": b.hp.quniform("m", 0, 1, 0)}, SpecError, ("m.q", "q > 0")),
    "code": (lambda b: {"m": {"eval": "1"}}, SpecError, ("m", "eval")),
    "code in a choice": (
        lambda b: {"m": b.hp.choice("m", [{"grid_search": [1]}, 2])},
        SpecError,
        ("m[0]", "grid_search"),
    ),
}


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_space_gives_one_message_that_names_the_place(name, live):
    make, kind, words = BAD[name]
    builder = trees.Builder("" if live else "tune_bridge")
    try:
        source = make(builder)
    except ValueError:
        # HyperOpt itself refuses some at once.
        if live:
            return
        raise
    with pytest.raises(kind) as caught:
        DIALECT.read(source)
    assert type(caught.value) is kind
    for word in words:
        assert word in str(caught.value)
    assert "0x" not in str(caught.value)


def test_a_live_quantum_that_is_missing_is_named():
    live = trees.Builder("").hp
    with pytest.raises(SpecError, match=r"^m: hp.quniform without q"):
        read({"m": live.quniform("m", 0, 1)})


@pytest.mark.parametrize("call", [lambda: hp.loguniform(-5, 0), lambda: hp.uniform(low=0, high=1)])
def test_a_parameter_without_a_label_is_refused_when_it_is_made(call):
    with pytest.raises(SpecError, match=r'needs a label.*expected hp.\w+\("name", low, high\)'):
        call()


def test_a_call_with_a_label_that_is_no_string_is_refused_when_it_is_read():
    call = hp.uniform("x", 0, 1)
    with pytest.raises(SpecError, match=r"^a.b: hp.uniform without a label; found 3"):
        read({"a": {"b": Call(call.signature, {**call.arguments, "label": 3})}})


# Real spaces


@pytest.mark.parametrize("entry", spaces("hyperopt"), ids=lambda entry: entry["id"])
def test_a_real_space_is_read_or_refused_alike(entry):
    pytest.importorskip("hyperopt")
    recorded, live = (_outcome(trees.Builder(root), entry["tree"]) for root in ("tune_bridge", ""))
    assert recorded == live


@pytest.mark.parametrize("entry", spaces("hyperopt"), ids=lambda entry: entry["id"])
def test_the_parameters_of_a_real_model_are_read_written_and_read_again(entry):
    """Most real spaces are the arguments of one model; here they are the space."""
    tree = entry["tree"]
    kwargs = tree.get("kwargs") or tree.get("dict")
    if not kwargs:
        pytest.skip("no named parameters")
    for name, item in kwargs.items():
        outcome = _outcome(trees.Builder(), {"dict": {name: item}})
        if isinstance(outcome, Group):
            written = DIALECT.write(Experiment(space=outcome)).value
            assert read(written) == outcome
            assert read(build(written)) == outcome
            sample(outcome, random.Random(0))
        else:
            assert outcome[0] in ("SpecError", "UnsupportedError")
            assert outcome[1].startswith(name)


def _outcome(builder: trees.Builder, tree: Any) -> Any:
    try:
        return read(builder.make(tree))
    except InputError as error:
        return type(error).__name__, error.path, error.message


# fmin


def test_a_space_alone_is_a_search_by_tpe_for_the_smallest_loss():
    experiment = DIALECT.read({"x": hp.uniform("x", 0, 1)}).value
    assert experiment.searcher == Algorithm("HyperOptSearch")
    assert experiment.objective is not None
    assert (experiment.objective.name, experiment.objective.goal) == ("loss", "minimize")
    assert experiment.num_samples is None


def test_a_call_of_fmin_is_read():
    space = {"x": hp.uniform("x", 0, 1)}
    experiment = DIALECT.read(fmin(None, space, algo=rand.suggest, max_evals=7)).value
    assert (experiment.searcher, experiment.num_samples) == (RANDOM, 7)
    experiment = DIALECT.read(fmin(None, space, algo=tpe.suggest)).value
    assert experiment.searcher == Algorithm("HyperOptSearch")
    with pytest.raises(UnsupportedError, match="algo"):
        DIALECT.read(fmin(None, space, algo="anneal"))


# Writing

SAME = [
    Parameter(Uniform(-1, 2.5)),
    Parameter(Uniform(0, 1, q=0.3)),
    Parameter(Uniform(1, 6, q=1, integer=True)),
    Parameter(Uniform(0, 12, q=4, integer=True)),
    Parameter(Uniform(-5, 0, scale="log", exponents=True)),
    Parameter(Uniform(0, 3, scale="log", exponents=True, q=0.5)),
    Parameter(Uniform(0, 3, scale="log", exponents=True, q=1, integer=True)),
    Parameter(Normal(1, 2)),
    Parameter(Normal(1, 2, q=0.5)),
    Parameter(Normal(5, 2, q=1, integer=True)),
    Parameter(Normal(0, 1, scale="log")),
    Parameter(Normal(0, 1, scale="log", q=1)),
    Parameter(Integers(-3, 8)),
    Parameter(Integers(4, 4)),
    Parameter(Integers(-10, 20, 5)),
    Parameter(Integers(1, 9, log=True)),
    Parameter(Integers(7, 10**9, log=True)),
    choice("a", 1, 1.0, None, True, [1, 2], {"k": (1,)}),
    choice("a", "b", weights=(0.25, 0.75)),
]
"""What HyperOpt says just as the tree does."""

ALIKE = [
    Parameter(Uniform(1e-4, 1e-1, scale="log")),
    Parameter(Uniform(8, 64, scale="log", q=8)),
    Parameter(Uniform(1e-4, 1e-1, scale="reciprocal")),
    Parameter(Uniform(1, 5, scale="reciprocal", exponents=True)),
    Parameter(Integers(4, 64, 4, log=True)),
    Parameter(Beta(2, 3, q=0.1)),
]
"""What HyperOpt says in other words, with the same law."""


@pytest.mark.parametrize("node", SAME, ids=repr)
def test_a_node_is_written_and_read_again(node):
    written = DIALECT.write(Experiment(space=Group((("x", node),))))
    assert one(written.value["x"]) == node
    assert one(build(written.value["x"])) == node
    assert written.notes.worst == Level.EXACT


@pytest.mark.parametrize("node", ALIKE, ids=repr)
def test_a_node_is_written_with_its_law(node):
    written = DIALECT.write(Experiment(space=Group((("x", node),))))
    assert written.notes.worst == Level.EXACT
    same_law(node, one(written.value["x"]))


def test_long_log_integers_are_near_and_the_note_says_how_near():
    node = Parameter(Integers(4, 4000, 2, log=True))
    written = DIALECT.write(Experiment(space=Group((("x", node),))))
    (note,) = written.notes
    assert note.level == Level.APPROXIMATED
    near = one(written.value["x"])
    assert isinstance(near, Parameter)
    distance = total_variation(
        cell_probabilities(node.distribution), cell_probabilities(near.distribution)
    )
    assert float(note.why.split()[-1]) == pytest.approx(distance, rel=0.1)
    assert distance < 0.1


def test_very_long_log_integers_are_written_quickly():
    node = Parameter(Integers(10**4, 10**12, 10, log=True))
    (note,) = DIALECT.write(Experiment(space=Group((("x", node),)))).notes
    assert float(note.why.split()[-1]) < 1e-3


def test_a_beta_is_lost_and_a_grid_is_sampled():
    space = Group((("b", Parameter(Beta(2, 2))), ("g", choice(1, 2, grid=True))))
    notes = DIALECT.write(Experiment(space=space)).notes
    assert [(note.path, note.level) for note in notes] == [
        ("b", Level.LOST),
        ("g", Level.APPROXIMATED),
    ]


def test_labels_are_written_and_each_is_used_once():
    space = Group((("a", Group((("b", Parameter(Uniform(0, 1))),))), ("c", _c(3))))
    assert repr(DIALECT.write(Experiment(space=space)).value) == (
        "{'a': {'b': hp.uniform('a.b', 0, 1)}, 'c': 3}"
    )
    clash = Group((("a.b", Parameter(Uniform(0, 1))), *space.items))
    with pytest.raises(SpecError, match=r"'a\.b' belongs to two"):
        DIALECT.write(Experiment(space=clash))


def test_code_is_not_written():
    with pytest.raises(SpecError, match="eval"):
        DIALECT.write(Experiment(space=Group((("x", _c({"eval": "1"})),))))


# Programs


def everything() -> Group:
    nodes = [(f"x{index}", node) for index, node in enumerate(SAME)]
    inner = Group((("a", _c([1, float("inf")])), ("b", _c("it's")), ("d", _c({}))))
    return Group((*nodes, ("c", inner)))


def test_a_program_is_run_and_its_space_read_again():
    pytest.importorskip("hyperopt")
    experiment = Experiment(
        space=everything(), program="train.py", num_samples=5, seed=1, searcher=RANDOM
    )
    text = DIALECT.source(experiment).value
    scope: dict[str, Any] = {"__name__": "program"}
    exec(text, scope)
    assert read(scope["space"]) == experiment.space


@pytest.mark.parametrize(
    "changes",
    [
        {"program": "train.py", "seed": 3},
        {"trainable": "package.module:train"},
        {},
        {
            "program": "train.py",
            "searcher": Algorithm.of("HyperOptSearch", gamma=0.5, n_initial_points=3),
            "points": (Frozen({"x17": "a"}), Frozen({"x0": 1.0})),
        },
    ],
)
def test_a_program_is_well_formatted(changes, tmp_path):
    program = tmp_path / "search.py"
    experiment = Experiment(space=everything(), num_samples=10).replace(**changes)
    program.write_text(DIALECT.source(experiment).value)
    checks = ["check", "--select", "E,F,I,W,UP", "--line-length", "100"]
    for command in (checks, ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", program]
        subprocess.run(ruff, check=True, cwd=tmp_path)


@pytest.mark.slow
def test_a_program_searches(tmp_path):
    pytest.importorskip("hyperopt")
    (tmp_path / "train.py").write_text(
        "import sys\n"
        "given = dict(a.lstrip('-').split('=') for a in sys.argv[1:])\n"
        "print((float(given['x']) - 3) ** 2)\n"
    )
    space = Group((("x", Parameter(Uniform(0, 5))), ("c", choice("a", "b"))))
    experiment = Experiment(
        space=space, program="train.py", num_samples=4, points=(Frozen({"x": 3.0, "c": "b"}),)
    )
    (tmp_path / "search.py").write_text(DIALECT.source(experiment).value)
    done = subprocess.run(
        [sys.executable, "search.py"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "'x': 3.0" in done.stdout.replace("np.float64(3.0)", "3.0")


def test_what_hyperopt_has_no_word_for_is_noted():
    experiment = Experiment(
        space=Group((("x", Parameter(Uniform(0, 1))),)),
        scheduler=Algorithm("AsyncHyperBandScheduler"),
        stop=Frozen({"training_iteration": 3}),
        searcher=Algorithm("bayes"),
        max_concurrent=2,
    )
    paths = [note.path for note in DIALECT.source(experiment).notes]
    assert paths == ["scheduler", "stop", "max_concurrent", "searcher"]


# Laws

LAWS = [name for name in PARAMETERS if not name.startswith("choice of")]


def _draws(node: Any, size: int) -> list[Any]:
    """Draws of HyperOpt's own functions: the law of a live parameter, drawn many at once."""
    import numpy as np
    from hyperopt.pyll.base import Literal, rec_eval

    wrappers, inner = [], node
    while inner.name in ("int", "float"):
        wrappers.append(inner.name)
        inner = inner.pos_args[0]
    options = [option.obj for option in inner.pos_args[1:]] if inner.name == "switch" else None
    law = (inner.pos_args[0] if options else inner).arg["obj"]
    law.named_args += [["rng", Literal(np.random.default_rng(12345))], ["size", Literal(size)]]
    values = rec_eval(law).tolist()
    if options:
        return [options[index] for index in values]
    return [int(value) for value in values] if "int" in wrappers else values


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
def test_hyperopt_draws_from_the_law_that_is_read(name):
    pytest.importorskip("scipy")
    live = pytest.importorskip("hyperopt").hp
    function, args, kwargs, expected = PARAMETERS[name]
    draws = _draws(getattr(live, function)("x", *args, **kwargs), 100_000)
    assert drawn_from(draws, expected) > LEAST


@pytest.mark.slow
@pytest.mark.parametrize("node", [*SAME[:-2], *ALIKE], ids=repr)
def test_hyperopt_draws_from_the_law_that_is_written(node):
    """One draw at a time through the whole graph, as a search draws."""
    pytest.importorskip("scipy")
    pytest.importorskip("hyperopt")
    import numpy as np
    from hyperopt.pyll.stochastic import sample as draw

    if isinstance(node, Parameter) and getattr(node.distribution, "high", 0) == 10**9:
        pytest.skip("too many cells to count")
    live = build(DIALECT.write(Experiment(space=Group((("x", node),)))).value["x"])
    rng = np.random.default_rng(12345)
    draws = [draw(live, rng=rng) for _ in range(3_000)]
    assert drawn_from(draws, node) > LEAST


def test_a_grid_is_drawn_as_often_as_it_has_cells() -> None:
    nodes = {name: Choice((Constant.of(1), Constant.of(2)), grid=True) for name in "ab"}
    space = Group(tuple(nodes.items()))
    experiment = Experiment(space=space, program="train.py", num_samples=3)
    assert "max_evals=12" in DIALECT.source(experiment).value
