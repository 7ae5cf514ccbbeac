"""Operations, draws that several places share, and spaces that are no mapping."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.corpus import spaces
from tests.dialects import trees
from tests.dialects.schema import assert_valid
from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.calls import build
from tune_bridge.dialects.hyperopt.signatures import REFUSED, refusal
from tune_bridge.dialects.ray_tune import live_arguments
from tune_bridge.dialects.sweep.folding import fold
from tune_bridge.engines import make_engine
from tune_bridge.errors import InputError, SpecError, UnsupportedError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment
from tune_bridge.hyperopt import hp, pyll
from tune_bridge.laws import OPERATIONS, SAMPLE_FROM, operate, sample, whole_probabilities
from tune_bridge.notes import Level
from tune_bridge.sampling import configurations
from tune_bridge.space import (
    ARITY,
    Beta,
    Choice,
    Constant,
    Group,
    Integers,
    Node,
    Normal,
    Operation,
    Parameter,
    Uniform,
)
from tune_bridge.testing.strategies import distributions, operation_spaces
from tune_bridge.testing.translations import assert_identity, assert_same_law
from tune_bridge.values import Frozen

HYPEROPT, SWEEP, TUNE = (get_dialect(name) for name in ("hyperopt", "sweep", "tune"))
SLOW = settings(suppress_health_check=[HealthCheck.too_slow])
FLAT = ("optuna", "configspace", "nevergrad", "ax", "skopt", "bayesopt")
scope = pyll.scope
C = Constant.of


def read(source: Any) -> Experiment:
    return HYPEROPT.read(source).value


def sweep_and_back(experiment: Experiment) -> Experiment:
    written = SWEEP.write(experiment)
    assert_valid(written.value)
    text = SWEEP.source(experiment).value
    from tune_bridge.dialects.sweep import yaml_file

    assert SWEEP.read(yaml_file.load(text, "s.yaml")).value == experiment
    return SWEEP.read(written.value).value


def program(experiment: Experiment) -> tuple[str, Any]:
    """The program for HyperOpt, and the space that it makes when it is run."""
    text = HYPEROPT.source(experiment).value
    names: dict[str, Any] = {"__name__": "imported"}
    exec(compile(text, "program", "exec"), names)
    return text, names["space"]


# One draw in several places


def two_branches(hp: Any, scope: Any) -> Any:
    n = hp.loguniform("n", -3, 0)
    return hp.choice("m", [{"x": n}, {"y": n, "z": hp.normal("z", 0, 1)}])


def beside_arithmetic(hp: Any, scope: Any) -> Any:
    n = hp.quniform("n", 0, 10, 1)
    return {"n": n, "twice": n * 2, "whole": scope.int(n)}


def a_condition(hp: Any, scope: Any) -> Any:
    n = hp.choice("c", [{"k": hp.uniform("k", 0, 1)}, 2])
    return [n, {"again": n}]


def twice(node: Any) -> Any:
    return {"a": node, "b": {"c": node}}


SHARED = {
    "two names": lambda hp, scope: twice(hp.uniform("lr", 0, 1)),
    "two branches": two_branches,
    "a parameter and arithmetic on it": beside_arithmetic,
    "a condition": a_condition,
    "integers": lambda hp, scope: (hp.uniformint("i", 1, 9),) * 2,
    "the label is the path": lambda hp, scope: twice(hp.normal("a", 0, 1)),
}


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest) -> Any:
    return SHARED[request.param]


def test_a_shared_node_is_carried_exactly(shared):
    experiment = read(shared(hp, scope))
    assert sweep_and_back(experiment) == experiment


def test_a_shared_node_is_read_alike_live_and_built_as_one(shared):
    library = pytest.importorskip("hyperopt")
    live = shared(library.hp, library.pyll.scope)
    experiment = read(live)
    assert experiment == read(shared(hp, scope))
    again = build(HYPEROPT.write(experiment).value)
    assert read(again) == experiment
    # HyperOpt itself refuses a label that belongs to two nodes.
    library.base.Domain(lambda config: 0, again)


def test_a_shared_node_is_a_variable_of_the_program(shared):
    pytest.importorskip("hyperopt")
    experiment = read(shared(hp, scope))
    text, space = program(experiment)
    assert read(space) == experiment
    calls = [line for line in text.splitlines() if " = hp." in line and "space" not in line]
    assert len(calls) == 1


def test_the_draws_of_a_shared_node_are_equal():
    n = hp.uniform("lr", 0, 1)
    space = read({"a": n, "b": {"c": n}, "d": hp.uniform("d", 0, 1)}).space
    rng = random.Random(1)
    for _ in range(50):
        draw = sample(space, rng)
        assert draw["a"] == draw["b"]["c"] != draw["d"]


def test_folding_gives_all_places_the_first_draw():
    experiment = read(SHARED["a parameter and arithmetic on it"](hp, scope))
    drawn = {
        "n": 3,
        "twice": {"call": "mul", "arg_0": 7, "arg_1": 2},
        "whole": {"call": "int", "arg_0": 9.0},
    }
    for space in (experiment, SWEEP.write(experiment).value):
        assert repr(fold(drawn, space)) == "{'n': 3.0, 'twice': 6.0, 'whole': 3}"


@pytest.mark.parametrize("live", [False, True])
def test_two_nodes_with_one_label_are_hyperopts_error(live):
    if live:
        pytest.importorskip("hyperopt")
    hp = trees.Builder("" if live else "tune_bridge").hp
    with pytest.raises(SpecError, match=r"^b: the label 'x' .* a and b, .*DuplicateLabel"):
        read({"a": hp.uniform("x", 0, 1), "b": hp.uniform("x", 0, 1)})


def test_a_draw_with_two_laws_in_a_file_is_refused():
    written = SWEEP.write(read(SHARED["two names"](hp, scope))).value
    written["controller"]["tune"]["space"]["b/c"]["distribution"]["high"] = 2.0
    written["parameters"]["b"]["parameters"]["c"]["max"] = 2
    with pytest.raises(SpecError, match=r"one draw with two laws, at a and here"):
        SWEEP.read(written)


def test_an_edit_in_one_place_makes_it_another_parameter():
    experiment = read(SHARED["two names"](hp, scope))
    written = SWEEP.write(experiment).value
    written["parameters"]["a"]["max"] = 0.5
    found = SWEEP.read(written).value.space
    assert found.get("a") == Parameter(Uniform(0, 0.5))
    assert found.get("b") == experiment.space.get("b")


@pytest.mark.parametrize("name", ["tune", *FLAT])
def test_where_a_shared_draw_cannot_be_said_it_is_named(name):
    n = hp.uniform("lr", 0, 1)
    experiment = read({"a": n, "b": n}).replace(searcher=RANDOM, space_in="config")
    with pytest.raises(UnsupportedError, match=r"lr"):
        get_dialect(name).write(experiment).notes.require()


def test_random_search_of_ray_says_who_draws_a_shared_node_once():
    n = hp.uniform("lr", 0, 1)
    experiment = read({"a": n, "b": [n, 2]}).replace(searcher=RANDOM, space_in="config", seed=3)
    with pytest.raises(UnsupportedError, match=r"^b\[0\]: one draw for a and here.*at random by"):
        TUNE.write(experiment)
    # What the message offers: agents, whose random search draws it once.
    config = make_engine(experiment, sweep_id="s", seed=0).ask(time=0.0).config
    assert config["a"] == config["b"][0]


def test_hyperopt_search_of_ray_draws_a_shared_node_once():
    pytest.importorskip("ray.tune")
    pytest.importorskip("hyperopt")
    n = hp.uniform("lr", 0, 1)
    experiment = read({"a": n, "b": {"c": n}}).replace(seed=1)
    searcher = live_arguments(experiment)["search_alg"]
    draws = [searcher.suggest(str(i)) for i in range(5)]
    assert all(draw["a"] == draw["b"]["c"] for draw in draws)
    assert TUNE.read(TUNE.write(experiment).value).value.space == experiment.space


# Operations

OPERATED = {
    "a sum of a log": lambda hp, scope: hp.loguniform("x", -3, 1) + 1,
    "a rounded sum": lambda hp, scope: hp.quniform("x", 0, 5, 1) + 0.5,
    "a product of two": lambda hp, scope: hp.uniform("x", 0, 1) * hp.uniform("y", 0, 1),
    "a quotient": lambda hp, scope: 1 / hp.uniform("x", 1, 2),
    "a power": lambda hp, scope: hp.uniform("x", 0, 1) ** 2,
    "a floor": lambda hp, scope: hp.uniform("x", 0, 9) // 2,
    "an exponential": lambda hp, scope: scope.exp(hp.normal("x", 0, 1)),
    "a negative log": lambda hp, scope: -hp.loguniform("x", 0, 1),
    "the larger one": lambda hp, scope: scope.maximum(hp.normal("x", 0, 1), hp.normal("y", 0, 1)),
    "an integer part": lambda hp, scope: scope.int(hp.uniform("x", -2.5, 3.25)),
    "an integer part of a log": lambda hp, scope: scope.int(hp.loguniform("x", -1, 3)),
    "an integer part of a normal": lambda hp, scope: scope.int(hp.normal("x", 0.5, 2)),
    "an integer part of a rounded one": lambda hp, scope: scope.int(hp.quniform("x", -2, 9, 0.7)),
    "an integer part of options": lambda hp, scope: scope.int(hp.choice("x", [1.5, 2.5])),
    "nested": lambda hp, scope: scope.int(hp.loguniform("x", 0, 3) * 2 + hp.normal("y", 0, 1)),
    "a switch": lambda hp, scope: scope.switch(hp.randint("x", 2), 1.5, hp.uniform("y", 2, 3)),
}


@pytest.fixture(params=OPERATED)
def operated(request: pytest.FixtureRequest) -> Any:
    return OPERATED[request.param]


def test_an_operation_has_the_law_that_hyperopt_draws(operated):
    library = pytest.importorskip("hyperopt")
    import numpy as np

    live = {"x": operated(library.hp, library.pyll.scope)}
    node = read(live).space.get("x")
    assert isinstance(node, Operation)
    state, rng = np.random.default_rng(1), random.Random(2)
    theirs = [library.pyll.stochastic.sample(live, rng=state)["x"] for _ in range(1000)]
    ours = [sample(node, rng) for _ in range(20_000)]
    assert {type(x) for x in ours} == {type(x.item() if hasattr(x, "item") else x) for x in theirs}
    if len({*ours}) > 300:
        from scipy import stats

        assert stats.ks_2samp(ours, [float(x) for x in theirs]).pvalue > 1e-4
    else:
        assert_same_law(ours, theirs)


def test_an_operation_goes_everywhere_and_back(operated):
    library = pytest.importorskip("hyperopt")
    experiment = read({"a": {"b": operated(hp, scope)}, "c": 1})
    assert experiment == read({"a": {"b": operated(library.hp, library.pyll.scope)}, "c": 1})
    assert sweep_and_back(experiment) == experiment
    assert read(build(HYPEROPT.write(experiment).value)) == experiment
    assert read(program(experiment)[1]) == experiment
    written = TUNE.write(experiment)
    assert TUNE.read(written.value).value.space == experiment.space
    assert written.notes.worst is Level.EXACT


def test_tunes_own_generator_does_operations(operated):
    pytest.importorskip("ray.tune")
    from ray.tune.search.variant_generator import generate_variants

    experiment = read({"x": operated(hp, scope)}).replace(searcher=RANDOM, space_in="config")
    config = live_arguments(experiment)["config"]
    assert isinstance(TUNE.read({"config": config}).value.space.get("x"), Operation)
    import numpy as np

    state = np.random.RandomState(3)
    draws = [
        next(iter(generate_variants({"config": config}, random_state=state)))[1]["config"]["x"]
        for _ in range(200)
    ]
    rng = random.Random(2)
    ours = [sample(experiment.space, rng)["x"] for _ in range(5000)]
    assert {type(x) for x in draws} == {type(x) for x in ours}
    if len({*ours}) > 300:
        from scipy import stats

        assert stats.ks_2samp(ours, draws).pvalue > 1e-4
    else:
        assert_same_law(ours, draws)


def test_folding_does_the_arithmetic(operated):
    experiment = read({"x": operated(hp, scope)})
    native = SWEEP.write(experiment).value["parameters"]["x"]
    if "parameters" not in native:
        assert native["distribution"] == "categorical_w_probabilities"
        assert fold({"x": 2}, experiment) == {"x": 2}
        return
    node = experiment.space.get("x")
    rng = random.Random(4)
    drawn = json.loads(json.dumps(_native(node, rng)))
    folded = fold({"x": drawn}, experiment)["x"]
    assert isinstance(folded, int | float)
    assert fold({"x": folded}, experiment)["x"] == folded


def _native(node: Node | None, rng: random.Random) -> Any:
    """A draw in the form in which W&B's agent gives it."""
    if isinstance(node, Operation):
        from tune_bridge.laws import argument_names

        key, names = argument_names(node)
        parts = [_native(part, rng) for _, part in node.arguments]
        return {key: node.name, **dict(zip(names, parts, strict=True))}
    assert node is not None
    return sample(node, rng)


@given(distributions())
@SLOW
def test_integer_parts_have_all_the_probability(law: Any) -> None:
    cells = whole_probabilities(law, 100_000)
    if not cells or isinstance(law, Beta):
        return  # a beta draw that is too near to 1 for a float is 1
    assert sum(cells.values()) == pytest.approx(1)
    rng = random.Random(5)
    node = Operation("int", (Parameter(law),))
    drawn = Counter(sample(node, rng) for _ in range(400))
    # What is left out beyond the quantiles of 1e-12 does not show in so few draws.
    assert {*drawn} <= {*cells}


def test_an_operation_of_the_authors_own_is_a_mapping_until_the_program_folds_it():
    library = pytest.importorskip("hyperopt")
    experiment = read({"model": scope.our_model(depth=hp.randint("d", 3), kind="a")})
    rng = random.Random(0)
    draw = sample(experiment.space, rng)
    assert draw == {"model": {"call": "our_model", "depth": draw["model"]["depth"], "kind": "a"}}
    assert fold(draw, experiment) == draw
    assert fold(draw, experiment, {"our_model": lambda depth, kind: (depth, kind)}) == {
        "model": (draw["model"]["depth"], "a")
    }

    def our_model(depth: int, kind: str) -> str:
        return f"{kind}{depth}"

    library.pyll.scope.define(our_model)
    try:
        assert fold(draw, experiment) == {"model": f"a{draw['model']['depth']}"}
        assert read(build(HYPEROPT.write(experiment).value)) == experiment
    finally:
        library.pyll.scope.undefine(our_model)
    assert sweep_and_back(experiment) == experiment


def test_arguments_may_have_the_names_that_stand_for_others():
    node = read({"m": scope.f(hp.normal("z", 0, 1), call=1, arg_0=hp.uniform("u", 0, 1))})
    rng = random.Random(0)
    draw = sample(node.space, rng)["m"]
    assert set(draw) == {"call_", "arg_0_", "call", "arg_0"}
    assert sweep_and_back(node) == node


def test_the_tables_of_operations_are_complete():
    library = pytest.importorskip("hyperopt")
    table = library.pyll.scope
    methods = {name for name in dir(table) if not name.startswith("_") and callable(table.define)}
    known = {*table._impls, *methods}
    assert known == {*REFUSED, *OPERATIONS}
    assert {*ARITY} == {*OPERATIONS, SAMPLE_FROM}
    assert refusal("__class__")
    assert refusal("a.b")
    assert not refusal("sklearn_SVC")


@pytest.mark.parametrize("name", ["getattr", "call_method", "import_", "__class__", "uniform"])
def test_a_file_cannot_ask_for_operations_on_objects(name):
    written = SWEEP.write(read({"m": scope.f(hp.normal("z", 0, 1))})).value
    written["controller"]["tune"]["space"]["m"]["name"] = name
    written["parameters"]["m"]["parameters"]["call"]["value"] = name
    experiment = SWEEP.read(written).value
    with pytest.raises(SpecError, match=r"^m: scope"):
        HYPEROPT.write(experiment)
    pytest.importorskip("ray.tune")
    with pytest.raises(SpecError, match=r"^m: scope"):
        live_arguments(experiment)
    # Folding does not call them either.
    assert fold({"m": {"call": name, "arg_0": 1.0}}, experiment)["m"]["call"] == name


@pytest.mark.parametrize(
    ("operation", "values"),
    [
        (Operation("truediv", (C(1), C(0))), [1, 0]),
        (Operation("log", (C(-1),)), [-1]),
        (Operation("pow", (C(10), C(10**9))), [10, 10**9]),
        (Operation("mul", (C([1]), C(10**9))), [[1], 10**9]),
        (Operation("switch", (C(5), C(1))), [5, 1]),
        (Operation("int", (C(float("inf")),)), [float("inf")]),
    ],
)
def test_an_operation_without_a_value_is_one_error(operation, values):
    with pytest.raises(SpecError, match=f"scope.{operation.name} has no value here"):
        operate(operation, values)


def test_an_operation_has_its_number_of_arguments():
    for make in (
        lambda: Operation("int"),
        lambda: Operation("add", (C(1),)),
        lambda: Operation("switch", (C(1),)),
        lambda: Operation("neg", (C(1),), Group((("x", C(1)),))),
    ):
        with pytest.raises(SpecError, match="other arguments"):
            make()


def test_an_edit_inside_of_an_operation_counts():
    experiment = read({"x": hp.loguniform("x", -3, 1) + 1})
    written = SWEEP.write(experiment).value
    written["parameters"]["x"]["parameters"]["arg_1"]["value"] = 2
    node = SWEEP.read(written).value.space.get("x")
    assert isinstance(node, Operation)
    assert node.args[1] == C(2)
    written["parameters"]["x"]["parameters"]["call"]["value"] = "mul"
    assert isinstance(SWEEP.read(written).value.space.get("x"), Group)


@pytest.mark.parametrize("name", FLAT)
def test_where_an_operation_cannot_be_said_it_is_named(name):
    with pytest.raises(UnsupportedError, match=r"^a\.x: the operation truediv"):
        get_dialect(name).write(read({"a": {"x": 1 / hp.uniform("x", 1, 2)}}))


# Spaces that are no mapping

ROOTS = {
    "a choice": lambda hp, scope: hp.choice("m", [{"k": hp.uniform("k", 0, 1)}, {"j": 2}]),
    "a list": lambda hp, scope: [hp.uniform("a", 0, 1), {"b": hp.normal("b", 0, 1)}, 3],
    "a tuple": lambda hp, scope: (hp.uniform("a", 0, 1), 3),
    "a parameter": lambda hp, scope: hp.uniform("x", 0, 1),
    "a call": lambda hp, scope: scope.sklearn_SVC(C=hp.lognormal("c", 0, 1), kernel="rbf"),
    "arithmetic": lambda hp, scope: 1 / hp.uniform("x", 1, 2),
}


@pytest.mark.parametrize("name", ROOTS)
def test_a_space_that_is_no_mapping_goes_everywhere_and_back(name):
    library = pytest.importorskip("hyperopt")
    experiment = read(ROOTS[name](hp, scope))
    assert experiment.root == "space"
    assert [name for name, _ in experiment.space.items] == ["space"]
    assert sweep_and_back(experiment) == experiment
    if name != "a call":
        assert read(ROOTS[name](library.hp, library.pyll.scope)) == experiment
        assert read(build(HYPEROPT.write(experiment).value)) == experiment
        assert read(program(experiment)[1]) == experiment
    written = TUNE.write(experiment)
    assert "root" in [note.path for note in written.notes if note.level is Level.APPROXIMATED]
    assert TUNE.read(written.value).value.space == experiment.space


def test_a_root_is_folded_to_what_hyperopt_hands_out():
    experiment = read(ROOTS["a choice"](hp, scope))
    drawn = {"space": {"branch": "option_0", "k": {"k": 0.5}}}
    selector = SWEEP.write(experiment).value["parameters"]["space"]["parameters"]
    (branch, values), *_ = selector.items()
    drawn = {"space": {branch: values["values"][0], values["values"][0]: {"k": 0.5}}}
    assert fold(drawn, experiment) == {"k": 0.5}
    assert fold(drawn, experiment.space) == {"space": {"k": 0.5}}
    listed = read(ROOTS["a list"](hp, scope))
    drawn = {"space": {"item_0": 1, "item_1": {"b": 2}, "item_2": 3}}
    assert repr(fold(drawn, SWEEP.write(listed).value)) == "[1.0, {'b': 2.0}, 3]"


def test_a_root_that_a_file_invents_is_refused():
    written = SWEEP.write(read(ROOTS["a list"](hp, scope))).value
    written["controller"]["tune"]["root"] = "other"
    with pytest.raises(SpecError, match="root: malformed"):
        SWEEP.read(written)


# Real spaces


@pytest.mark.parametrize("entry", spaces("hyperopt"), ids=lambda entry: entry["id"])
def test_a_real_space_goes_everywhere_and_back(entry):
    made = trees.Builder().make(entry["tree"])
    if "opaque" in json.dumps(entry["tree"]):
        with pytest.raises(InputError, match="object"):
            read(made)
        return
    experiment = read(made)
    assert sweep_and_back(experiment) == experiment
    assert read(HYPEROPT.write(experiment).value) == experiment
    compile(HYPEROPT.source(experiment).value, "program", "exec")
    assert TUNE.read(TUNE.write(experiment).value).value.space == experiment.space
    for config in configurations(experiment.replace(num_samples=20), seed=3):
        Frozen(config)


# Properties


@given(operation_spaces())
@SLOW
def test_any_operation_is_the_same_after_a_sweep(space: Group) -> None:
    experiment = read(HYPEROPT.write(Experiment(space=space)).value)
    assert_identity("sweep", experiment)
    assert_identity("hyperopt", experiment)
    assert TUNE.read(TUNE.write(experiment).value).value.space == experiment.space


@given(operation_spaces(), st.integers(0, 2**20))
@SLOW
def test_draws_are_equal_on_both_sides(space: Group, seed: int) -> None:
    """The same seed gives the same draws after each notation, shared places included."""
    experiment = read(HYPEROPT.write(Experiment(space=space)).value)
    ours = _draws(experiment, seed)
    for dialect in (SWEEP, HYPEROPT, TUNE):
        assert _draws(dialect.read(dialect.write(experiment).value).value, seed) == ours


def _draws(experiment: Experiment, seed: int) -> list[Any]:
    rng, found = random.Random(seed), []
    for _ in range(5):
        try:
            found.append(Frozen(sample(experiment.space, rng)))
        except SpecError:
            found.append(None)
    return found


def test_points_inside_of_operations():
    experiment = read({"x": hp.uniform("x", 1, 2) ** 2, "m": scope.f(k=hp.uniform("k", 0, 1))})
    from tune_bridge.dialects.hyperopt.points import from_labels, to_labels

    nested = from_labels({"x": 1.5, "k": 0.5}, experiment.space, "points")
    assert nested == {"x": 2.25, "m": {"call": "f", "k": 0.5}}
    flat = to_labels({"m": nested["m"]}, experiment.space, values_on_top=False)
    assert flat == {"k": 0.5}
    with pytest.raises(UnsupportedError, match=r"points_to_evaluate\.x: .*operation"):
        to_labels(nested, experiment.space, values_on_top=False)


def test_other_searchers_of_ray_are_given_no_operation():
    experiment = read({"x": 1 / hp.uniform("x", 1, 2)})
    with pytest.raises(
        UnsupportedError, match=r"^x: Ray's OptunaSearch cannot search an operation"
    ):
        TUNE.write(experiment.replace(searcher=Algorithm("OptunaSearch"), space_in="config"))


def test_choices_keep_their_values_beside_operations():
    node = read({"x": hp.choice("x", [1 / hp.uniform("y", 1, 2), {"z": 1}])}).space.get("x")
    assert isinstance(node, Choice)
    draws = {type(sample(node, random.Random(seed))) for seed in range(20)}
    assert draws == {float, dict}
    assert read({"n": hp.randint("n", 3), "m": -hp.normal("m", 0, 1)}).space == Group(
        (("n", Parameter(Integers(0, 2))), ("m", Parameter(Normal(0, 1))))
    )
