"""Conditions and lists of parameters: trees through every notation, their laws, and folding."""

from __future__ import annotations

import json
import pickle
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dialects import trees
from tests.dialects.schema import assert_valid
from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.calls import build
from tune_bridge.dialects.sweep.conditions import branch_names
from tune_bridge.dialects.sweep.folding import fold
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment, Objective
from tune_bridge.laws import sample
from tune_bridge.notes import Level
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Integers,
    Node,
    Normal,
    Parameter,
    Sequence,
    Uniform,
    walk,
)
from tune_bridge.testing.strategies import conditional_spaces, experiments
from tune_bridge.testing.translations import (
    assert_identity,
    assert_same_law,
    assert_translates,
    same_law,
)
from tune_bridge.values import Frozen

SLOW = settings(suppress_health_check=[HealthCheck.too_slow])
HYPEROPT = Algorithm("HyperOptSearch")
P, C = Parameter, Constant.of


def G(**nodes: Node) -> Group:
    return Group(tuple(nodes.items()))


def choices(*options: Any, **more: Any) -> Choice:
    return Choice(tuple(options), **more)


OPTIMIZER = choices(
    G(type=C("sgd"), momentum=P(Uniform(0, 0.9)), nesterov=choices(C(True), C(False))),
    G(
        type=C("adam"),
        betas=Sequence((P(Uniform(0.8, 0.95)), C(0.999)), "tuple"),
        warmup=choices(C(None), G(steps=P(Integers(1, 5)), shape=choices(C("a"), P(Normal())))),
    ),
    C("lion"),
)
TREE = G(lr=P(Uniform(0, 0.1)), optimizer=OPTIMIZER, epochs=C(3))


def searched(space: Group, **changes: Any) -> Experiment:
    experiment = Experiment(
        space=space,
        objective=Objective("loss"),
        searcher=HYPEROPT,
        space_in="searcher",
        num_samples=None,
        program="train.py",
    )
    return experiment.replace(**changes)


# The tree


def test_walk_says_where_and_under_which_conditions():
    places = {place.path: place for place in walk(TREE)}
    assert list(places)[:4] == ["lr", "optimizer", "optimizer[0].type", "optimizer[0].momentum"]
    assert places["optimizer[1].warmup[1].steps"].conditions == (
        ("optimizer", 1),
        ("optimizer[1].warmup", 1),
    )
    assert places["optimizer[1].betas[0]"].node == P(Uniform(0.8, 0.95))
    experiment = Experiment(space=TREE)
    assert list(experiment.searched) == ["lr", "optimizer"]
    assert len(experiment.conditional) == 7
    assert experiment.is_nested
    assert not Experiment(space=G(x=choices(C({"a": 1}), C([1])))).is_nested


def test_only_the_active_branch_is_sampled():
    rng = random.Random(1)
    draws = [sample(TREE, rng)["optimizer"] for _ in range(300)]
    forms = {tuple(draw) if isinstance(draw, dict) else draw for draw in draws}
    assert forms == {("type", "momentum", "nesterov"), ("type", "betas", "warmup"), "lion"}
    assert {type(d["betas"]) for d in draws if isinstance(d, dict) and "betas" in d} == {tuple}


@given(conditional_spaces())
@SLOW
def test_trees_are_hashed_pickled_and_compared(space: Group) -> None:
    assert pickle.loads(pickle.dumps(space)) == space
    assert hash(Group(space.items[::-1])) == hash(space)
    assert same_law(space, Group(space.items[::-1]))


# Identity and translation


@given(experiments(space=conditional_spaces))
@SLOW
def test_a_sweep_and_back(experiment: Experiment) -> None:
    assert_identity("sweep", experiment)


@given(conditional_spaces())
@SLOW
def test_hyperopt_and_back(space: Group) -> None:
    assert_translates(searched(space), "hyperopt")


@given(experiments(space=conditional_spaces))
@SLOW
def test_tune_and_back(experiment: Experiment) -> None:
    assert_translates(experiment, "tune")


@pytest.mark.parametrize("through", ["sweep", "tune", "hyperopt"])
def test_a_real_tree_is_the_same_after_each_notation(through):
    dialect = get_dialect(through)
    written = dialect.write(searched(TREE))
    assert written.notes.worst is (Level.CARRIED if through == "sweep" else Level.EXACT)
    assert dialect.read(written.value).value.space == TREE


def test_a_live_tree_is_read_as_the_recorded_one():
    pytest.importorskip("hyperopt")
    dialect = get_dialect("hyperopt")
    written = dialect.write(searched(TREE)).value
    assert dialect.read(build(written)).value.space == TREE


@pytest.mark.parametrize("root", ["tune_bridge", ""])
def test_hyperopt_reads_dicts_lists_tuples_and_choices(root):
    if not root:
        pytest.importorskip("hyperopt")
    b = trees.Builder(root)
    space = {
        "m": b.hp.pchoice(
            "m",
            [
                (0.25, [b.hp.uniform("a", 0, 1), 2]),
                (0.5, (b.hp.choice("b", [{"c": b.hp.randint("c", 3)}, None]), "x")),
                (0.25, b.hp.normal("d", 0, 1)),
            ],
        )
    }
    read = get_dialect("hyperopt").read(space)
    inner = choices(G(c=P(Integers(0, 2), "c")), C(None), label="b")
    assert read.value.space == G(
        m=Choice(
            (
                Sequence((P(Uniform(0, 1), "a"), C(2))),
                Sequence((inner, C("x")), "tuple"),
                P(Normal(), "d"),
            ),
            (0.25, 0.5, 0.25),
        )
    )
    (note,) = read.notes
    assert (note.level, note.path, note.why) == (
        Level.EXACT,
        "m[0]",
        "HyperOpt itself makes a tuple of it",
    )


@pytest.mark.parametrize("live", [False, True])
def test_tune_reads_conditions_lists_and_grids_of_spaces(live):
    if live:
        pytest.importorskip("ray")
    t = trees.Builder("" if live else "tune_bridge").tune
    config = {
        "m": t.choice([{"k": t.uniform(0, 1)}, t.choice([1, t.randint(0, 9)]), 3]),
        "l": [t.uniform(0, 1), {"z": 1}, 3],
        "g": t.grid_search([{"k": t.uniform(0, 1)}, 2]),
    }
    experiment = get_dialect("tune").read({"run_or_experiment": "t.py", "config": config}).value
    assert experiment.space == G(
        m=choices(G(k=P(Uniform(0, 1))), choices(C(1), P(Integers(0, 8))), C(3)),
        l=Sequence((P(Uniform(0, 1)), C({"z": 1}), C(3))),
        g=choices(G(k=P(Uniform(0, 1))), C(2), grid=True),
    )
    assert_identity("tune", experiment)
    assert not experiment.is_grid
    sweep = get_dialect("sweep").write(experiment)
    assert sweep.value["method"] == "random"
    assert sweep.value["run_cap"] == 2
    assert_identity("sweep", experiment)
    assert_valid(sweep.value)


# Sampled laws, against the libraries


def _assert_draws(one: list[Any], other: list[Any]) -> None:
    """Branch frequencies, then the values of every place, are from the same laws."""

    from scipy import stats

    def places(draws: list[Any]) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}

        def note(value: Any, path: str) -> None:
            if isinstance(value, dict):
                found.setdefault(f"{path}#", []).append(",".join(sorted(value)))
                for key, item in value.items():
                    note(item, f"{path}.{key}")
            elif isinstance(value, list | tuple):
                found.setdefault(f"{path}#", []).append(f"sequence of {len(value)}")
                for index, item in enumerate(value):
                    note(item, f"{path}[{index}]")
            elif isinstance(value, float):
                found.setdefault(f"{path}#", []).append("float")
                found.setdefault(path, []).append(value)
            else:
                found.setdefault(f"{path}#", []).append(repr(value))

        for draw in draws:
            note(draw, "")
        return found

    left, right = places(one), places(other)
    assert left.keys() == right.keys()
    for path, values in left.items():
        if path.endswith("#"):
            assert_same_law(values, right[path], label=path)
        else:
            assert stats.ks_2samp(values, right[path]).pvalue > 1e-4, path


def test_the_draws_are_those_of_hyperopt():
    hyperopt = pytest.importorskip("hyperopt")
    import numpy as np

    space = build(get_dialect("hyperopt").write(searched(TREE)).value)
    state = np.random.default_rng(3)
    theirs = [hyperopt.pyll.stochastic.sample(space, rng=state) for _ in range(3000)]
    rng = random.Random(4)
    _assert_draws([sample(TREE, rng) for _ in range(3000)], theirs)


def test_the_draws_are_those_of_tune():
    pytest.importorskip("ray")
    from ray.tune.experiment import Experiment as RayExperiment
    from ray.tune.search import BasicVariantGenerator

    weights = (0.123456789, 0.5, 0.376543211)
    for space in (TREE, G(m=Choice(OPTIMIZER.options, weights))):
        written = get_dialect("tune").write(Experiment(space=space)).value
        generator = BasicVariantGenerator(random_state=5)
        config = build(written.arguments["config"])
        generator.add_configurations(
            [RayExperiment("x", lambda _: None, config=config, num_samples=2000)]
        )
        theirs = [generator.next_trial().config for _ in range(2000)]
        rng = random.Random(6)
        _assert_draws([sample(space, rng) for _ in range(2000)], theirs)


@pytest.mark.parametrize("space_in", ["config", "searcher"])
def test_hyperopt_search_draws_the_conditions_that_it_is_given(space_in):
    pytest.importorskip("hyperopt")
    pytest.importorskip("ray")
    from tune_bridge.dialects.ray_tune import live_arguments

    arguments = live_arguments(searched(TREE, space_in=space_in))
    searcher = arguments["search_alg"]
    draws = [searcher.suggest(str(index))["optimizer"] for index in range(60)]
    forms = {tuple(sorted(draw)) if isinstance(draw, dict) else draw for draw in draws}
    assert len(forms) == 3
    assert all("betas" not in d or len(d["betas"]) == 2 for d in draws if isinstance(d, dict))


# Folding


def test_the_native_form_is_readable_and_valid():
    written = get_dialect("sweep").write(searched(TREE))
    optimizer = written.value["parameters"]["optimizer"]["parameters"]
    assert optimizer["branch"] == {
        "distribution": "categorical",
        "values": ["sgd", "adam", "lion"],
    }
    assert list(optimizer) == ["branch", "sgd", "adam"]
    adam = optimizer["adam"]["parameters"]
    assert adam["betas"]["parameters"]["item_1"] == {"value": 0.999}
    assert list(adam["warmup"]["parameters"]) == ["branch", "option_1"]
    assert_valid(written.value)
    note = next(note for note in written.notes if note.path == "parameters.optimizer")
    assert note.level is Level.CARRIED
    assert "inactive branches too" in note.why


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (choices(G(k=P(Uniform(0, 1))), C(1), C(None), C(True)), "k _1 none true"),
        (choices(G(sgd=G(k=P(Normal()))), G(adam=P(Normal()))), "sgd adam"),
        (choices(G(n=C(1), k=P(Normal())), G(n=C(2), k=P(Normal()))), "_1 _2"),
        (choices(G(n=C("a b"), k=P(Normal())), C({"n": "ü"})), "a_b option_1"),
        (choices(G(n=C("a"), k=P(Normal())), G(n=C("a"), k=P(Normal()))), "option_0 option_1"),
        (choices(Sequence((C("conv"), P(Normal()))), C("a/b"), C("a.b")), "conv option_1 option_2"),
        (choices(P(Normal()), C("option_0")), "option_0 option_1"),
    ],
)
def test_names_of_branches(choice, names):
    selector, found = branch_names(choice)
    assert selector == "branch"
    assert found == names.split()


def test_a_selector_is_called_like_nothing_else():
    taken = G(branch=P(Normal()), branch_=C(1))
    assert branch_names(choices(taken, C("branch")))[0] == "branch__"


def _native_draw(node: Node, rng: random.Random) -> tuple[Any, Any]:
    """A draw in the nested form, every branch included, and the value that it stands for."""
    if isinstance(node, Group):
        pairs = {name: _native_draw(child, rng) for name, child in node.items}
        return {k: a for k, (a, _) in pairs.items()}, {k: b for k, (_, b) in pairs.items()}
    if isinstance(node, Sequence):
        items = [_native_draw(item, rng) for item in node.items]
        value = [b for _, b in items]
        native = {f"item_{index}": a for index, (a, _) in enumerate(items)}
        return native, tuple(value) if node.kind == "tuple" else value
    if isinstance(node, Choice) and not node.plain:
        selector, labels = branch_names(node)
        index = rng.randrange(len(labels))
        drawn = [_native_draw(option, rng) for option in node.options]
        native = {selector: labels[index]}
        native |= {
            label: a
            for label, option, (a, _) in zip(labels, node.options, drawn, strict=True)
            if not isinstance(option, Constant)
        }
        return native, drawn[index][1]
    value = sample(node, rng)
    return value, value


@given(conditional_spaces(), st.randoms(use_true_random=False))
@SLOW
def test_what_wandb_draws_is_folded_to_the_value(space: Group, rng: random.Random) -> None:
    native, value = _native_draw(space, rng)
    there = json.loads(json.dumps(native))
    assert Frozen(fold(there, space)) == Frozen(value)
    assert Frozen(fold(value, space)) == Frozen(value), "folded twice is folded once"
    experiment = searched(space)
    assert Frozen(fold(there, get_dialect("sweep").write(experiment).value)) == Frozen(value)


def test_folding_gives_what_hyperopt_gives():
    hyperopt = pytest.importorskip("hyperopt")
    from hyperopt.pyll.base import rec_eval

    dialect = get_dialect("hyperopt")
    labelled = dialect.read(dialect.write(searched(TREE)).value).value.space
    graph = hyperopt.pyll.as_apply(build(dialect.write(searched(labelled)).value))
    rng = random.Random(8)
    for _ in range(30):
        native, value = _native_draw(TREE, rng)
        from tune_bridge.dialects.hyperopt.points import to_labels

        flat_point = to_labels(value, TREE, values_on_top=False)
        memo = {
            node: flat_point[node.arg["label"].obj]
            for node in hyperopt.pyll.dfs(graph)
            if node.name == "hyperopt_param" and node.arg["label"].obj in flat_point
        }
        assert fold(native, TREE) == rec_eval(graph, memo=memo)


def test_a_missing_branch_is_named():
    with pytest.raises(SpecError, match="optimizer: the branch 'sgd' is missing"):
        fold({"optimizer": {"branch": "sgd", "adam": {}}}, TREE)
    assert fold({"optimizer": "mine", "other": 1}, TREE) == {"optimizer": "mine", "other": 1}


# Edits by hand


def test_an_edited_branch_keeps_the_condition():
    dialect = get_dialect("sweep")
    config = dialect.write(searched(TREE)).value
    sgd = config["parameters"]["optimizer"]["parameters"]["sgd"]["parameters"]
    sgd["momentum"]["max"] = 0.5
    read = dialect.read(config)
    option = read.value.space.get("optimizer").options[0]
    assert option.get("momentum") == P(Uniform(0, 0.5))
    assert option.get("nesterov") == OPTIMIZER.options[0].get("nesterov")
    assert read.value.space.get("optimizer").options[1:] == OPTIMIZER.options[1:]
    assert [n.what for n in read.notes] == [
        "not used: parameters.optimizer.sgd.momentum was edited since it was written"
    ]


def test_edited_weights_count_and_another_form_ends_the_condition():
    dialect = get_dialect("sweep")
    config = dialect.write(searched(TREE)).value
    optimizer = config["parameters"]["optimizer"]["parameters"]
    optimizer["branch"] = {"values": ["sgd", "adam", "lion"], "probabilities": [0.5, 0.25, 0.25]}
    found = dialect.read(config).value.space.get("optimizer")
    assert found == Choice(OPTIMIZER.options, (0.5, 0.25, 0.25))
    optimizer["branch"] = {"values": ["sgd", "adam"]}
    found = dialect.read(config).value.space.get("optimizer")
    assert isinstance(found, Group)
    optimizer["extra"] = {"value": 1}
    assert isinstance(dialect.read(config).value.space.get("optimizer"), Group)


# What cannot be done


def test_other_searchers_of_ray_are_not_given_conditions():
    experiment = searched(TREE, searcher=Algorithm("OptunaSearch"), space_in="config")
    with pytest.raises(UnsupportedError, match="optimizer: Ray's OptunaSearch cannot"):
        get_dialect("tune").write(experiment)


# Points to try first


POINTS = tuple(
    map(
        Frozen,
        (
            {"lr": 0.01, "optimizer": {"type": "sgd", "momentum": 0.5, "nesterov": False}},
            {"lr": 0.02, "optimizer": {"type": "adam", "betas": (0.9, 0.999), "warmup": None}},
            {"lr": 0.03, "optimizer": "lion"},
        ),
    )
)


def test_points_inside_of_conditions_are_hyperopts_labels_and_come_back():
    dialect = get_dialect("tune")
    labelled = G(**{**dict(TREE.items), "optimizer": Choice(OPTIMIZER.options, None, "kind")})
    experiment = searched(labelled, points=POINTS)
    written = dialect.write(experiment).value
    points = written.arguments["search_alg"].arguments["points_to_evaluate"]
    assert points[0] == {
        "lr": 0.01,
        "kind": 0,
        "optimizer[0].momentum": 0.5,
        "optimizer[0].nesterov": 1,
    }
    assert points[2] == {"lr": 0.03, "kind": 2}
    assert dialect.read(written).value.points == POINTS


def test_hyperopt_search_tries_the_points_first():
    pytest.importorskip("hyperopt")
    pytest.importorskip("ray")
    from tune_bridge.dialects.ray_tune import live_arguments

    labelled = G(**{**dict(TREE.items), "optimizer": Choice(OPTIMIZER.options, None, "kind")})
    searcher = live_arguments(searched(labelled, points=POINTS))["search_alg"]
    for index, point in enumerate(POINTS):
        drawn = searcher.suggest(str(index))
        assert drawn["optimizer"] == point.value["optimizer"]


def test_points_that_ray_cannot_take_are_refused():
    with pytest.raises(UnsupportedError, match=r"points_to_evaluate.optimizer: .*its own name"):
        get_dialect("tune").write(searched(TREE, points=POINTS))
    alone = searched(TREE, points=POINTS, searcher=RANDOM, space_in="config")
    with pytest.raises(UnsupportedError, match=r"points_to_evaluate\[0\].optimizer: random search"):
        get_dialect("tune").write(alone)
    get_dialect("tune").write(alone.replace(points=POINTS[2:]))
    with pytest.raises(SpecError, match="a value that the choice lacks"):
        get_dialect("tune").write(searched(TREE, points=(Frozen({"optimizer": "x"}),)))


def test_a_choice_of_plain_lists_and_dicts_is_native_and_exact():
    space = G(x=choices(C([1, 2]), C({"a": 1.5}), C("b")))
    written = get_dialect("sweep").write(Experiment(space=space, program="t.py"))
    assert written.notes.worst is Level.EXACT
    assert "controller" not in written.value
    counts = Counter(str(sample(space, random.Random(i))["x"]) for i in range(30))
    assert len(counts) == 3


# Arithmetic

ARITHMETIC = {
    "a product": lambda hp: hp.uniform("x", 0, 1) * 10,
    "a product on the left": lambda hp: -2 * hp.uniform("x", 0, 1),
    "a sum": lambda hp: 3 + hp.normal("x", 0, 1),
    "a difference": lambda hp: 1 - hp.uniform("x", 0, 4),
    "a quotient": lambda hp: hp.uniform("x", 0, 4) / 2,
    "a negative": lambda hp: -hp.normal("x", 1, 2),
    "a rounded product": lambda hp: hp.quniform("x", 0, 5, 1) * 0.5,
    "a rounded sum": lambda hp: hp.quniform("x", 0, 5, 0.5) + 2,
    "a log product": lambda hp: hp.loguniform("x", -3, 1) * 100,
    "a log-normal product": lambda hp: hp.lognormal("x", 0, 1) * 0.25,
    "integers": lambda hp: hp.randint("x", 5) * 2 + 4,
    "integers like rounded ones": lambda hp: hp.uniformint("x", 1, 6) * 2,
    "plain options": lambda hp: hp.choice("x", [1, 2.5]) * 3 + 1,
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_is_folded_into_the_law(name):
    hyperopt = pytest.importorskip("hyperopt")
    import numpy as np
    from scipy import stats

    make, dialect = ARITHMETIC[name], get_dialect("hyperopt")
    live = {"x": make(hyperopt.hp)}
    recorded = dialect.read({"x": make(trees.Builder().hp)})
    node = recorded.value.space.get("x")
    assert dialect.read(live).value.space.get("x") == node
    assert all(note.level is Level.EXACT for note in recorded.notes)
    state, rng = np.random.default_rng(1), random.Random(2)
    theirs = [hyperopt.pyll.stochastic.sample(live, rng=state)["x"] for _ in range(1500)]
    ours = [sample(node, rng) for _ in range(1500)]
    assert {type(x) for x in ours} == {type(x.item() if hasattr(x, "item") else x) for x in theirs}
    if len({*ours}) > 100:
        assert stats.ks_2samp(ours, [float(x) for x in theirs]).pvalue > 1e-4
    else:
        assert_same_law(ours, theirs)


def test_calls_of_tune_have_no_arithmetic():
    t = trees.Builder().tune
    with pytest.raises(TypeError):
        t.uniform(0, 1) * 2
