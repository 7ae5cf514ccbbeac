"""Two experiments side by side, and configurations drawn from one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given

from tune_bridge.compare import compare, distance
from tune_bridge.errors import SpecError
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.sampling import configurations
from tune_bridge.space import Choice, Constant, Group, Integers, Node, Normal, Parameter, Uniform
from tune_bridge.testing.strategies import conditional_spaces, experiments
from tune_bridge.values import Frozen


def of(**nodes: Node) -> Experiment:
    return Experiment(space=Group(tuple(nodes.items())), num_samples=None)


def choice(*values: object, grid: bool = False) -> Choice:
    return Choice(tuple(Constant.of(value) for value in values), grid=grid)


@given(experiments())
def test_an_experiment_is_itself(experiment: Experiment) -> None:
    assert compare(experiment, experiment) == []


@pytest.mark.parametrize(
    ("one", "other", "words", "low", "high"),
    [
        (
            Parameter(Uniform(1e-5, 1e-2, scale="log")),
            Parameter(Uniform(1e-5, 1e-1, scale="log")),
            "widened above by 10x",
            0.2,
            0.3,
        ),
        (Parameter(Uniform(0, 1)), Parameter(Uniform(0.5, 1)), "narrowed below by 0.5", 0.4, 0.6),
        (
            Parameter(Uniform(0.1, 1)),
            Parameter(Uniform(0.1, 1, scale="log")),
            "now on a log scale",
            0.1,
            1,
        ),
        (Parameter(Integers(1, 6)), Parameter(Integers(1, 7)), "widened above by 1", 0.1, 0.2),
        (
            Parameter(Integers(1, 6)),
            Parameter(Uniform(1, 6, q=1, integer=True)),
            "another law, 0.1",
            0.12,
            0.15,
        ),
        (Parameter(Normal(0, 1)), Parameter(Normal(0, 2)), "another law", 0.1, 0.3),
        (choice("a", "b"), choice("a", "b", "c"), "another law, 0.3", 0.3, 0.4),
        (choice(1, 2), choice(1, 2, grid=True), "now a grid", 1, 1),
        (
            Parameter(Uniform(0, 9, q=1, integer=True)),
            Parameter(Uniform(0, 9, q=1)),
            "integers -> floats",
            1,
            1,
        ),
        (Constant.of(1), Constant.of(1.0), "1 -> 1.0", 1, 1),
        (choice(1, 2), choice(1.0, 2), "another law, 0.5", 0.4, 0.6),
        (Constant.of(1), Constant.of(2), "1 -> 2", 1, 1),
        (Parameter(Uniform(0, 1)), Constant.of(2), "floats -> a constant", 0.9, 1),
    ],
)
def test_changes_are_said_in_terms_of_distributions(
    one: Node, other: Node, words: str, low: float, high: float
) -> None:
    (change,) = compare(of(x=one), of(x=other))
    assert words in change.what
    assert change.distance is not None
    assert low <= change.distance <= high


def test_another_spelling_of_the_same_law_is_no_change() -> None:
    values = Parameter(Uniform(1e-4, 1, scale="log"))
    exponents = Parameter(Uniform(-9.210340371976182, 0, scale="log", exponents=True))
    assert compare(of(x=values), of(x=exponents)) == []
    reciprocal = Parameter(Uniform(1, 10, scale="reciprocal"))
    assert compare(of(x=reciprocal), of(x=Parameter(Uniform(1, 10, scale="log")))) == []
    assert (
        compare(
            of(x=Parameter(Uniform(-1, 11, q=2, integer=True))), of(x=Parameter(Integers(0, 10, 2)))
        )
        == []
    )


def test_parameters_come_and_go_and_settings_change() -> None:
    one = of(a=Constant.of(1), b=Parameter(Uniform(0, 1)))
    other = of(a=Constant.of(1), c=Parameter(Uniform(0, 1))).replace(
        objective=Objective("loss"), searcher=Algorithm("HyperOptSearch")
    )
    assert [(change.path, change.what) for change in compare(one, other)] == [
        ("b", "removed"),
        ("c", "added"),
        ("objective", "none -> loss minimize"),
        ("searcher", "BasicVariantGenerator -> HyperOptSearch"),
    ]


def test_where_the_space_stands_and_what_is_kept_count() -> None:
    one = of(x=Parameter(Integers(0, 9))).replace(searcher=Algorithm("HyperOptSearch"))
    changes = compare(
        one, one.replace(space_in="searcher", extras=Frozen({"tune": {"verbose": 1}}))
    )
    assert [change.path for change in changes] == ["space_in", "extras"]


def branches(low: float = 0.0, **more: Node) -> Choice:
    sgd = (("name", Constant.of("sgd")), ("momentum", Parameter(Uniform(low, 1))), *more.items())
    adam = (("name", Constant.of("adam")), ("beta", Parameter(Uniform(0, 1))))
    return Choice((Group(sgd), Group(adam)))


def test_branches_are_compared_inside() -> None:
    (change,) = compare(of(opt=branches()), of(opt=branches(0.5)))
    assert (change.path, change.what) == ("opt[sgd].momentum", "narrowed below by 0.5")
    one = of(opt=branches(), batch=choice(16, 32))
    other = of(opt=branches(batch=choice(16, 32)))
    assert [(c.path, c.what) for c in compare(one, other)] == [
        ("opt[sgd].batch", "now only with opt=sgd")
    ]
    assert [c.what for c in compare(other, one)] == ["now always"]


@given(experiments(space=conditional_spaces))
def test_a_conditional_experiment_is_itself(experiment: Experiment) -> None:
    assert compare(experiment, experiment) == []


def test_the_distance_of_a_law_to_itself_is_nothing() -> None:
    for node in (Parameter(Uniform(0, 1)), Parameter(Integers(0, 9)), choice("a", None, 1)):
        assert distance(node, node) == 0


# Sampling ---------------------------------------------------------------------------------------


def test_equal_seeds_give_equal_configurations() -> None:
    experiment = of(x=Parameter(Uniform(0, 1)), y=choice("a", "b"))
    first = list(itertools.islice(configurations(experiment, 3), 20))
    assert first == list(itertools.islice(configurations(experiment, 3), 20))
    assert first != list(itertools.islice(configurations(experiment, 4), 20))


def test_a_grid_is_enumerated_once_for_each_sample() -> None:
    experiment = of(a=choice(1, 2, grid=True), b=choice("x", "y", "z", grid=True)).replace(
        num_samples=2
    )
    drawn = [(c["a"], c["b"]) for c in configurations(experiment)]
    assert drawn == [*itertools.product([1, 2], "xyz")] * 2
    capped = experiment.replace(run_cap=4)
    assert len(list(configurations(capped))) == 4


def test_random_parameters_are_drawn_for_each_cell() -> None:
    experiment = of(a=choice(1, 2, grid=True), x=Parameter(Uniform(0, 1))).replace(num_samples=1)
    first, second = configurations(experiment)
    assert first["x"] != second["x"]


def test_a_huge_grid_is_lazy() -> None:
    nodes = {f"p{i}": Parameter(Integers(1, 1000), grid=True) for i in range(4)}
    experiment = of(**nodes).replace(num_samples=1)
    assert len(list(itertools.islice(configurations(experiment), 3))) == 3


def test_points_come_first() -> None:
    group = Group((("y", Parameter(Uniform(0, 1))),))
    experiment = of(x=Parameter(Uniform(0, 1)), g=group).replace(
        num_samples=2, points=(Frozen({"x": 0.5, "g": {"y": 0.25}}),)
    )
    drawn = list(configurations(experiment))
    assert drawn[0] == {"x": 0.5, "g": {"y": 0.25}}
    assert drawn[1]["x"] != 0.5


def test_quantised_grids_leave_the_end_out_as_wandb_does() -> None:
    experiment = of(x=Parameter(Uniform(0, 1, q=0.25), grid=True)).replace(num_samples=1)
    assert [c["x"] for c in configurations(experiment)] == [0.0, 0.25, 0.5, 0.75]
    endless = of(x=Parameter(Normal(), grid=True)).replace(num_samples=1)
    with pytest.raises(SpecError, match="x: a grid over"):
        next(configurations(endless))
