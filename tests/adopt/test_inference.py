"""The space of runs whose space nobody has kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tune_bridge.adopt.inference import flat, infer, nested
from tune_bridge.engines.configs import fit, trimmed
from tune_bridge.notes import Notes
from tune_bridge.space import Choice, Constant, Group, Integers, Parameter, Uniform


def inferred(*configs: dict) -> Group:
    return infer(configs, Notes())


def of(values: list) -> object:
    """The node of one parameter with these values."""
    return inferred(*({"p": value, "q": 1} for value in values)).get("p")


def test_one_value_is_a_constant():
    assert of([3, 3]) == Constant.of(3)
    assert of([[1, 2]]) == Constant.of([1, 2])


def test_numbers_are_ranges():
    assert of([0.1, 0.5, 0.2]) == Parameter(Uniform(0.1, 0.5))
    assert of([1e-4, 1e-2, 1e-1]) == Parameter(Uniform(1e-4, 1e-1, "log"))
    assert of([-1.0, 100.0]) == Parameter(Uniform(-1.0, 100.0))
    assert of([1, 5, 7]) == Parameter(Integers(1, 7))
    assert of([1, 5, 200]) == Parameter(Uniform(0.5, 200.5, "log", q=1, integer=True))
    assert of([1, 2.5]) == Parameter(Uniform(1.0, 2.5))


def test_numbers_that_repeat_are_a_list():
    assert of([32, 16, 32, 16]).values() == [16, 32]
    assert of([0.5, 0.9] * 3).values() == [0.5, 0.9]
    assert isinstance(of(list(range(11)) * 3), Parameter)  # too many


def test_everything_else_is_a_list():
    assert of(["b", "a", "b"]).values() == ["a", "b"]
    assert of([True, False, True]).values() == [False, True]
    assert of([None, 1, 1]).values() == [1, None]
    assert set(map(str, of([float("nan"), 1.0, 1.0]).values())) == {"nan", "1.0"}


def test_names_and_objects_are_no_parameters():
    assert of(["out/1", "out/2", "out/3"]) is None
    assert of(["<function train at 0x7f00>"] * 2) is None
    assert of(["<class 'net.Net'>"]) is None
    assert of([[1.0], [2.0], [3.0]]) is None
    assert of(["a", "b"]).values() == ["a", "b"]  # two runs say nothing


def test_a_value_that_is_a_group_elsewhere_is_left_out():
    space = inferred({"opt": "sgd", "x": 1}, {"opt": {"name": "adam"}, "x": 1})
    assert [name for name, _ in space.items] == ["x", "opt"]
    assert space.get("opt") == Group((("name", Constant.of("adam")),))


SVM = [
    {"model": {"kernel": kernel, **({"gamma": 0.1 * n} if kernel == "rbf" else {})}, "c": n}
    for n, kernel in enumerate(["rbf", "linear", "rbf", "poly", "linear", "rbf"])
]


def test_what_is_there_with_some_values_only_belongs_to_them():
    space = inferred(*SVM)
    kernel = space.get("model").get("kernel")
    assert isinstance(kernel, Choice)
    assert [option.get("kernel").value for option in kernel.options] == ["linear", "poly", "rbf"]
    assert kernel.options[2].get("gamma") == Parameter(Uniform(0.0, 0.5))
    config = nested(space, dict(flat({**SVM[0], "extra": {"more": 1}})))
    assert config == {
        "model": {"kernel": {"kernel": "rbf", "gamma": 0.0}}, "c": 0, "extra": {"more": 1},
    }  # fmt: skip
    assert nested(space, {("other",): 1}) == {"other": 1}  # it does not fit, and stays


def test_more_layers_have_more_parameters():
    runs = [
        {"layers": layers, **{f"units_{n}": 8 * (n + 1) + layers for n in range(layers)}}
        for layers in (1, 2, 3, 1, 2, 3, 1, 3, 2)
    ]
    space = inferred(*runs)
    for run in runs:
        config = nested(space, dict(flat(run)))
        assert fit(space, trimmed(space, config)) == config


def test_what_is_missing_without_a_reason_is_said():
    notes = Notes()
    infer([{"a": 1.0, "b": 2}, {"a": 2.0}, {"a": 3.0, "b": 4}], notes)
    assert any("no other parameter says when" in note.why for note in notes)


VALUES = st.one_of(
    st.integers(-1000, 1000), st.floats(allow_nan=False, width=32), st.booleans(), st.none(),
    st.text(max_size=3), st.lists(st.integers(0, 3), max_size=2),
)  # fmt: skip
CONFIGS = st.lists(
    st.fixed_dictionaries({"a": VALUES, "b": st.floats(0, 1), "c": VALUES}), min_size=1, max_size=12
)


@given(CONFIGS)
def test_every_run_fits_what_was_inferred_from_it(configs):
    space = infer(configs, Notes())
    for config in configs:
        given_ = nested(space, dict(flat(config)))
        assert given_ == config
        fit(space, trimmed(space, given_))
