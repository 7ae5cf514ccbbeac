"""Ax itself takes what is written for it, and draws from the law that is read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dialects.draws import LEAST, drawn_from
from tests.dialects.test_live_notations import LAWS
from tune_bridge.dialects.base import get_dialect
from tune_bridge.errors import UnsupportedError
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Level
from tune_bridge.space import Choice, Constant, Distribution, Group, Parameter, Uniform

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
AX = get_dialect("ax")
DRAWS = 2_000


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    pytest.importorskip("ax", reason="needs ax-platform")


def sampled(parameters: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Draws of Ax's own random generator; its Sobol points are no independent draws."""
    from ax.adapter.registry import Generators
    from ax.core.experiment import Experiment as AxExperiment
    from ax.service.utils.instantiation import InstantiationBase

    space = InstantiationBase.make_search_space(parameters, [])
    run = Generators.UNIFORM(
        experiment=AxExperiment(search_space=space, name="x"), seed=1, deduplicate=False
    ).gen(count)
    return [arm.parameters for arm in run.arms]


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_draws_are_from_the_law_that_is_read(law: Distribution) -> None:
    space = Group((("x", Parameter(law)),))
    written = AX.write(Experiment(space=space))
    node = AX.read(written.value).value.space.get("x")
    if written.notes.worst == Level.EXACT:
        node = space.get("x")
    assert node is not None
    draws = [drawn["x"] for drawn in sampled(written.value, DRAWS)]
    assert drawn_from(draws, node) > LEAST


def test_draws_of_choices() -> None:
    choice = Choice((Constant.of("a"), Constant.of("b"), Constant.of("c")))
    written = AX.write(Experiment(space=Group((("x", choice),))))
    assert written.notes.worst is Level.EXACT
    draws = [drawn["x"] for drawn in sampled(written.value, DRAWS)]
    assert drawn_from(draws, choice) > LEAST


def test_a_condition_is_a_hierarchy() -> None:
    sgd = Group((("opt", Constant.of("sgd")), ("momentum", Parameter(Uniform(0, 1)))))
    adam = Group((("opt", Constant.of("adam")),))
    space = Group((("opt", Choice((sgd, adam))), ("lr", Parameter(Uniform(1e-4, 1, "log")))))
    written = AX.write(Experiment(space=space))
    assert written.notes.worst is Level.EXACT
    from ax.service.ax_client import AxClient
    from ax.service.utils.instantiation import ObjectiveProperties

    client = AxClient(random_seed=1, verbose_logging=False)
    client.create_experiment(
        name="x",
        parameters=written.value,
        objectives={"loss": ObjectiveProperties(minimize=True)},
        choose_generation_strategy_kwargs={"num_initialization_trials": 20},
    )
    drawn = [client.get_next_trial()[0] for _ in range(8)]
    assert {(row["opt"], "momentum" in row) for row in drawn} == {("sgd", True), ("adam", False)}
    assert AX.read(written.value).value.space == space


def test_what_ax_has_no_place_for() -> None:
    with pytest.raises(UnsupportedError, match="constraints between parameters"):
        AX.read({"parameters": [], "parameter_constraints": ["a <= b"]})
