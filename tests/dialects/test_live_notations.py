"""The libraries accept what is written for them, say the same when read, and draw from its law."""

from __future__ import annotations

import copy
import random
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.dialects.draws import LEAST, drawn_from
from tune_bridge.compat_notations import SPACES
from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.calls import build
from tune_bridge.dialects.sweep.folding import fold
from tune_bridge.errors import InputError
from tune_bridge.experiment import Experiment
from tune_bridge.laws import sample
from tune_bridge.notes import Level
from tune_bridge.space import (
    Beta,
    Choice,
    Constant,
    Distribution,
    Group,
    Integers,
    Normal,
    Parameter,
    Sequence,
    Uniform,
)
from tune_bridge.testing.strategies import spaces
from tune_bridge.testing.translations import assert_same_law, flat, same_law

pytestmark = pytest.mark.filterwarnings("ignore")


def live(name: str, native: Any) -> Any:
    if name == "configspace":
        configspace = pytest.importorskip("ConfigSpace")
        return configspace.ConfigurationSpace.from_serialized_dict(copy.deepcopy(native))
    pytest.importorskip({"bayesopt": "bayes_opt"}.get(name, name))
    return build(native)


@pytest.mark.parametrize("name", ["optuna", "configspace", "nevergrad", "skopt"])
@given(spaces())
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
def test_live_objects_say_what_was_written(name: str, space: Group) -> None:
    dialect = get_dialect(name)
    written = dialect.write(Experiment(space=space)).value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = flat(dialect.read(live(name, written)).value.space)
    expected = flat(dialect.read(written).value.space)
    assert found.keys() == expected.keys()
    for path, node in expected.items():
        assert same_law(node, found[path]), path


def _optuna(space: Any, n: int) -> list[Any]:
    from optuna.samplers import RandomSampler

    sampler = RandomSampler(seed=1)
    return [sampler.sample_independent(None, None, "x", space["x"]) for _ in range(n)]  # type: ignore[arg-type]


def _skopt(space: Any, n: int) -> list[Any]:
    drawn = space[0].rvs(n, random_state=1)
    drawn = space[0].inverse_transform(space[0].transform(drawn))
    return [value.item() if hasattr(value, "item") else value for value in drawn]


def _configspace(space: Any, n: int) -> list[Any]:
    import numpy as np

    drawn = space["x"].sample_value(size=n, seed=np.random.RandomState(1))
    return [value.item() if hasattr(value, "item") else value for value in drawn]


def _nevergrad(space: Any, n: int) -> list[Any]:
    space.random_state.seed(1)
    return [space.sample().value["x"] for _ in range(n)]


def _bayesopt(space: Any, n: int) -> list[Any]:
    import numpy as np
    from bayes_opt.target_space import TargetSpace

    drawn = TargetSpace(None, space, random_state=np.random.RandomState(1))
    return [float(drawn.random_sample()[0]) for _ in range(n)]


DRAW: dict[str, tuple[Callable[[Any, int], list[Any]], int]] = {
    "optuna": (_optuna, 3_000),
    "skopt": (_skopt, 100_000),
    "configspace": (_configspace, 100_000),
    "nevergrad": (_nevergrad, 400),
    "bayesopt": (_bayesopt, 5_000),
}

LAWS: list[Distribution] = [
    Uniform(-1, 3),
    Uniform(1e-4, 1e-1, "log"),
    Uniform(-3, 1, "log", exponents=True),
    Uniform(0.1, 0.2, "reciprocal"),
    Uniform(0, 1, q=0.25),
    Uniform(-0.125, 1.125, q=0.25),
    Uniform(1, 6, q=1, integer=True),
    Uniform(0.5, 20.5, "log", q=1, integer=True),
    Uniform(1, 20, "log", q=1, integer=True),
    Integers(-3, 4),
    Integers(2, 10, 2),
    Integers(1, 20, log=True),
    Normal(1, 2),
    Normal(0, 1, q=1, integer=True),
    Normal(0.5, 0.75, "log"),
    Beta(2, 5),
    Beta(2, 5, q=0.1),
]
LAWS += [
    node.distribution
    for node in SPACES.values()
    if isinstance(node, Parameter) and node.distribution not in LAWS
]
"""With all that the compatibility matrix has a row for."""


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_draws_are_from_the_law_that_is_read(name: str, law: Distribution) -> None:
    """What the library draws is what reading says; without a note that is the law itself."""
    dialect = get_dialect(name)
    space = Group((("x", Parameter(law)),))
    written = dialect.write(Experiment(space=space))
    node = dialect.read(written.value).value.space.get("x")
    assert node is not None
    if written.notes.worst == Level.EXACT:
        node = space.get("x")
        assert node is not None
    draw, count = DRAW[name]
    assert drawn_from(draw(live(name, written.value), count), node) > LEAST


@pytest.mark.parametrize("name", [name for name in DRAW if name != "bayesopt"])
def test_draws_of_choices(name: str) -> None:
    dialect = get_dialect(name)
    for weights in (None, (0.2, 0.5, 0.3)):
        choice = Choice((Constant.of("a"), Constant.of(3), Constant.of(None)), weights)
        written = dialect.write(Experiment(space=Group((("x", choice),))))
        node = dialect.read(written.value).value.space.get("x")
        assert node is not None
        assert (written.notes.worst == Level.EXACT) == (same_law(node, choice))
        draw, count = DRAW[name]
        values = [int(v) if v == 3 else v for v in draw(live(name, written.value), count)]
        assert drawn_from(values, node) > LEAST


ROWS = [
    {"type": "uniform_int", "lower": 2, "upper": 30, "log": True},
    {"type": "normal_int", "mu": 5, "sigma": 2, "lower": 1, "upper": 9, "log": False},
    {"type": "beta_int", "alpha": 2, "beta": 3, "lower": 1, "upper": 6, "log": False},
    {"type": "ordinal", "sequence": ["s", "m", "l"]},
    {"type": "categorical", "choices": [1, 2.5], "weights": [3, 1]},
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["type"])
def test_laws_that_only_configspace_has(row: dict[str, Any]) -> None:
    space = {"hyperparameters": [{"name": "x", **row}], "conditions": [], "forbiddens": []}
    dialect = get_dialect("configspace")
    read = dialect.read(space).value
    node = read.space.get("x")
    assert node is not None
    draws = _configspace(live("configspace", {"name": None, **space}), 100_000)
    assert drawn_from(draws, node) > LEAST
    again = dialect.write(read).value["hyperparameters"][0]
    assert {key: again[key] for key in row} == row


def test_conditions_and_forbidden_combinations_are_kept() -> None:
    cs = pytest.importorskip("ConfigSpace")
    space = cs.ConfigurationSpace(name="s", space={"opt": ["sgd", "adam"], "m": (0.0, 1.0)})
    space.add(cs.EqualsCondition(space["m"], space["opt"], "sgd"))
    space.add(cs.ForbiddenEqualsClause(space["opt"], "adam"))
    dialect = get_dialect("configspace")
    read = dialect.read(space)
    assert [note.path for note in read.notes] == ["forbiddens", "opt"]
    assert "adam" in str(read.notes[0])
    sgd = Group((("opt", Constant.of("sgd")), ("m", Parameter(Uniform(0, 1)))))
    adam = Group((("opt", Constant.of("adam")),))
    assert read.value.space == Group((("opt", Choice((sgd, adam))),)) or read.value.space == Group(
        (("opt", Choice((adam, sgd))),)
    )
    assert live("configspace", dialect.write(read.value).value) == space
    text = dialect.source(read.value).value
    import json

    assert dialect.read(json.loads(text)).value == read.value


def test_a_truncated_normal_says_what_is_cut_off() -> None:
    row = {"name": "x", "type": "normal_float", "mu": 0, "sigma": 1, "lower": -1, "upper": 1}
    read = get_dialect("configspace").read({"hyperparameters": [row]})
    assert "0.32" in str(read.notes[0])


def test_optuna_reads_every_form() -> None:
    optuna = pytest.importorskip("optuna")
    d = optuna.distributions
    space = {
        "lr": d.FloatDistribution(1e-5, 0.1, log=True),
        "n": d.IntDistribution(1, 9, step=2),
        "drop": d.FloatDistribution(0.05, 0.45, step=0.1),
        "units": d.IntDistribution(1, 64, log=True),
        "act": d.CategoricalDistribution(["relu", None]),
    }
    dialect = get_dialect("optuna")
    read = dialect.read(space)
    as_json = {name: d.distribution_to_json(value) for name, value in space.items()}
    assert dialect.read(as_json).value == read.value
    assert dialect.read({"lr": '{"type": "float", "low": 1e-5, "high": 0.1, "log": true}'})
    assert build(dialect.write(read.value).value) == space
    for name, value in space.items():
        node = read.value.space.get(name)
        assert node is not None
        assert drawn_from(_optuna({"x": value}, 3_000), node) > LEAST


def test_nevergrad_nests_choices() -> None:
    p = pytest.importorskip("nevergrad").p
    sgd = p.Dict(type="sgd", momentum=p.Scalar(lower=0, upper=1))
    space = p.Dict(opt=p.Choice([sgd, "adam", p.Scalar(lower=2, upper=3)]))
    dialect = get_dialect("nevergrad")
    read = dialect.read(space)
    branch = Group((("type", Constant.of("sgd")), ("momentum", Parameter(Uniform(0, 1)))))
    choice = Choice((branch, Constant.of("adam"), Parameter(Uniform(2, 3))))
    assert read.value.space == Group((("opt", choice),))
    assert read.notes.worst is Level.EXACT
    scope: dict[str, Any] = {}
    exec(dialect.source(read.value).value, scope)
    assert dialect.read(scope["space"]).value == read.value


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("optuna", {"a": 3}, "a: not a distribution"),
        ("optuna", {"a": {"name": "Nope", "attributes": {}}}, "a: unknown distribution"),
        ("optuna", [1], "not a dict of distributions"),
        ("ax", [{"name": "a", "type": "range"}], "a: a range parameter without bounds"),
        ("ax", {"parameters": [], "parameter_constraints": ["a <= b"]}, "constraints between"),
        ("ax", [{"name": "a", "type": "choice", "values": [1], "dependents": {1: "b"}}], "a.depe"),
        ("ax", [{"name": "a", "type": "choice", "values": [1], "dependents": 3}], "a.dependents"),
        ("skopt", [3], r"\[0\]: not a dimension"),
        ("bayesopt", {"a": 3}, "a: not a pair"),
        ("bayesopt", {"a": (3, 1)}, "a: the lower bound"),
        ("nevergrad", 3, "not a p.Dict"),
        ("configspace", {}, "not a configuration space"),
        ("configspace", {"hyperparameters": [{"name": "a", "type": "x"}]}, "a: unknown type"),
    ],
)
def test_errors_name_the_place(name: str, source: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        get_dialect(name).read(source)


@pytest.mark.parametrize("name", ["optuna", "nevergrad", "skopt", "bayesopt"])
def test_programs_execute_to_the_same_space(name: str) -> None:
    space = Group(
        (
            ("lr", Parameter(Uniform(1e-5, 0.1, "log"))),
            ("net", Group((("if", Parameter(Integers(1, 8))), ("drop", Parameter(Uniform(0, 1)))))),
            ("act", Choice((Constant.of("relu"), Constant.of("tanh")))),
            ("seed", Constant.of(3)),
        )
    )
    dialect = get_dialect(name)
    experiment = Experiment(space=space)
    pytest.importorskip({"bayesopt": "bayes_opt"}.get(name, name))
    scope: dict[str, Any] = {}
    exec(dialect.source(experiment).value, scope)
    found = scope["pbounds" if name == "bayesopt" else "space"]
    assert (
        dialect.read(found).value.space == dialect.read(dialect.write(experiment).value).value.space
    )


def test_a_notation_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the documentation, installed as a distribution is: code and metadata."""
    page = Path(__file__).parent.parent.parent / "docs" / "dialects.md"
    code, toml = re.findall(r"```(?:python|toml)\n(.*?)```", page.read_text("utf-8"), re.S)[:2]
    assert len(code.splitlines()) < 50
    (tmp_path / "my_package.py").write_text(code)
    folder = tmp_path / "my_package-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    ((group, name, target),) = re.findall(r'entry-points\."(.+?)"\]\n(\w+) = "(.+?)"', toml)
    (folder / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    dialect = get_dialect(name)
    space = Group((("x", Parameter(Uniform(0, 1))),))
    written = dialect.write(Experiment(space=space)).value
    assert dialect.read(written).value.space == space
    with pytest.raises(InputError, match=name):
        get_dialect(name[:-1])


NORMALS = [
    Normal(1.5, 2),
    Normal(0.5, 0.75, "log"),
    Normal(1.5, 2, q=1, integer=True),
    Normal(1.5, 0.5, "log", q=1, integer=True),
    Normal(1e-6, 0.01, "log"),
]


@pytest.mark.parametrize("law", NORMALS, ids=repr)
def test_nevergrad_draws_normals(law: Normal) -> None:
    dialect, space = get_dialect("nevergrad"), Group((("x", Parameter(law)),))
    written = dialect.write(Experiment(space=space))
    assert written.notes.worst is Level.EXACT
    scope: dict[str, Any] = {}
    exec(dialect.source(Experiment(space=space)).value, scope)
    for source in (written.value, live("nevergrad", written.value), scope["space"]):
        read = dialect.read(source)
        assert read.notes.worst is Level.EXACT
        assert same_law(read.value.space, space)
    assert drawn_from(_nevergrad(scope["space"], 400), Parameter(law)) > LEAST


def test_a_width_that_changes_has_heavier_tails() -> None:
    p = pytest.importorskip("nevergrad").p
    space = p.Dict(x=p.Scalar(init=1.0).set_mutation(sigma=3.0))
    read = get_dialect("nevergrad").read(space)
    assert same_law(read.value.space, Group((("x", Parameter(Normal(1, 3))),)))
    (note,) = read.notes
    assert note.hint == "give mutable_sigma=False"


CARRIED: list[Distribution] = [
    Normal(-20, 1, "log"),
    Normal(5, 3, "log", q=1, integer=True),
    Beta(0.5, 0.5),
    Integers(2, 2000, 2),
]


@pytest.mark.parametrize("law", CARRIED, ids=repr)
def test_configspace_keeps_the_law_that_it_comes_near_to(law: Distribution) -> None:
    dialect, space = get_dialect("configspace"), Group((("x", Parameter(law)),))
    written = dialect.write(Experiment(space=space))
    assert written.notes.worst is Level.CARRIED
    for source in (written.value, live("configspace", written.value)):
        read = dialect.read(source)
        assert read.value.space == space
        assert dialect.write(read.value).value == written.value
    # Edits by hand count.
    row = {**written.value["hyperparameters"][0], "upper": 10_000}
    read = dialect.read({**written.value, "hyperparameters": [row]})
    assert read.value.space != space
    assert "changed" in str(read.notes[0])
    row["meta"] = {"tune_bridge": {"node": "parameter"}}
    with pytest.raises(InputError, match=r"^x\.meta\.tune_bridge: not a carried parameter"):
        dialect.read({**written.value, "hyperparameters": [row]})


SGD = Group((("opt", Constant.of("sgd")), ("momentum", Parameter(Uniform(0, 1, q=1)))))
LISTED = Sequence((Parameter(Integers(1, 2)), Choice((Constant.of("a"), Constant.of("b")))))
BRANCHES = (SGD, Group((("opt", Constant.of("adam")),)), LISTED)
TREE = Group((("opt", Choice(BRANCHES)), ("layers", LISTED)))


def _optuna_trees(space: Any, n: int) -> list[dict[str, Any]]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    return [space(study.ask()) for _ in range(n)]


def _configspace_trees(space: Any, n: int) -> list[dict[str, Any]]:
    space.seed(1)
    return [
        {name: getattr(value, "item", lambda value=value: value)() for name, value in drawn.items()}
        for drawn in map(dict, space.sample_configuration(n))
    ]


def _nevergrad_trees(space: Any, n: int) -> list[dict[str, Any]]:
    space.random_state.seed(1)
    return [space.sample().value for _ in range(n)]


TREES = {
    "optuna": _optuna_trees,
    "configspace": _configspace_trees,
    "nevergrad": _nevergrad_trees,
}


@pytest.mark.parametrize("name", TREES)
def test_draws_of_conditions_and_lists(name: str) -> None:
    """A library draws the same trees from what is written as we do from what is read."""
    dialect = get_dialect(name)
    written = dialect.write(Experiment(space=TREE)).value
    space = dialect.read(written).value.space
    drawn = TREES[name](
        written if name == "optuna" else live(name, written), 200 if name == "nevergrad" else 800
    )
    rng = random.Random(1)
    ours = [sample(space, rng) for _ in range(20_000)]
    if name != "nevergrad":
        drawn = [fold(_nested(draw), space) for draw in drawn]
    assert_same_law([_text(draw) for draw in drawn], [_text(draw) for draw in ours])


def _nested(draw: dict[str, Any]) -> dict[str, Any]:
    """Named values as the groups that names say, with W&B's names for the items of lists."""
    found: dict[str, Any] = {}
    for name, value in draw.items():
        *above, last = re.sub("/([0-9])", r"/item_\1", name).split("/")
        place = found
        for part in above:
            place = place.setdefault(part, {})
        place[last] = value
    return found


def _text(draw: Any) -> str:
    import json

    return json.dumps(draw, sort_keys=True)
