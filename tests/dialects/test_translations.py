"""Every notation against every other: the same law arrives, or a note says why not."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tune_bridge.dialects.base import DIALECTS, get_dialect
from tune_bridge.errors import UnsupportedError
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.notes import Level
from tune_bridge.space import Group, Parameter
from tune_bridge.testing.strategies import distributions, experiments, spaces
from tune_bridge.testing.translations import assert_translates, flat, same_law

OLD = {"sweep", "tune", "hyperopt"}
PAIRS = list(itertools.permutations(DIALECTS, 2))
HYPEROPT = st.just(Algorithm("HyperOptSearch"))


def in_searcher(space: Group) -> Experiment:
    return Experiment(
        space=space,
        objective=Objective("loss"),
        searcher=Algorithm("HyperOptSearch"),
        space_in="searcher",
        num_samples=None,
    )


@pytest.mark.parametrize("through", DIALECTS)
@given(distributions())
def test_one_parameter_through_each_notation(through: str, distribution: object) -> None:
    space = Group((("x", Parameter(distribution)),))  # type: ignore[arg-type]
    assert_translates(Experiment(space=space), through)
    assert_translates(in_searcher(space), through)


@pytest.mark.parametrize("through", sorted(OLD))
@given(experiments())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_whole_experiments_through_each_notation(through: str, experiment: Experiment) -> None:
    assert_translates(experiment, through)


@pytest.mark.parametrize(("first", "second"), [p for p in PAIRS if set(p) <= OLD])
@given(spaces())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_there_b_there_a_again(first: str, second: str, space: Group) -> None:
    """What a notation says exactly is still so after it went through another one."""
    there_and_again(first, second, space)


@pytest.mark.parametrize(("first", "second"), [p for p in PAIRS if not set(p) <= OLD])
@given(spaces())
@settings(max_examples=3, suppress_health_check=[HealthCheck.too_slow])
def test_each_of_many_pairs(first: str, second: str, space: Group) -> None:
    """The same for the further notations, of which there are many pairs."""
    there_and_again(first, second, space)


def there_and_again(first: str, second: str, space: Group) -> None:
    start = get_dialect(first)
    written = start.write(in_searcher(space))
    ours = start.read(written.value).value
    if not ours.searched:
        return
    notes = assert_translates(ours, second)
    back = get_dialect(second).read(get_dialect(second).write(ours).value).value
    if not back.searched:
        return
    returned = start.write(back)
    again = start.read(returned.value).value
    arrived = flat(again.space)
    below = {
        note.path.removeprefix("parameters.").split("[")[0]
        for note in (*notes, *returned.notes)
        if note.level > Level.EXACT
    }
    for path, node in flat(ours.space).items():
        if ".".join(path) not in below:
            assert same_law(node, arrived[path])


@given(experiments())
def test_settings_survive_the_way_through_tune(experiment: Experiment) -> None:
    dialect = get_dialect("tune")
    try:
        written = dialect.write(experiment)
        written.notes.require()
    except UnsupportedError:
        return
    back = dialect.read(written.value).value
    for name in (
        "program", "objective", "searcher", "scheduler", "num_samples", "stop", "points", "seed",
        "max_concurrent", "resources", "name",
    ):  # fmt: skip
        assert getattr(back, name) == getattr(experiment, name), name
