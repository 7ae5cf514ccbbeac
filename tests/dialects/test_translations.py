"""Through each notation: the same law arrives, or a note says why not."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tune_bridge.dialects.base import DIALECTS, get_dialect
from tune_bridge.errors import UnsupportedError
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.space import Group, Parameter
from tune_bridge.testing.strategies import distributions, experiments
from tune_bridge.testing.translations import assert_translates

OLD = {"sweep", "tune", "hyperopt"}
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
