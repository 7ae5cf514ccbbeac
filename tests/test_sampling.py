"""Configurations drawn without an engine, against Ray's own variant generator."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dialects.schema import assert_valid
from tune_bridge import tune
from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.calls import build
from tune_bridge.dialects.ray_tune import live_arguments
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.experiment import Algorithm, Experiment
from tune_bridge.laws import grid_cells
from tune_bridge.sampling import configurations
from tune_bridge.testing.translations import assert_same_law
from tune_bridge.values import Frozen

SWEEP, TUNE = get_dialect("sweep"), get_dialect("tune")

SPACES: dict[str, tuple[dict[str, Any], int]] = {
    "beside random domains": (
        {"a": tune.grid_search([1, 2]), "u": tune.uniform(0, 1), "c": tune.choice(["x", "y"])},
        2,
    ),
    "in an option": (
        {
            "m": tune.choice([{"k": tune.grid_search([1, 2, 3]), "v": tune.uniform(0, 1)}, 5]),
            "u": tune.uniform(0, 1),
        },
        3,
    ),
    "in an option beside another": (
        {
            "a": tune.grid_search([1, 2]),
            "m": tune.choice([{"k": tune.grid_search([1, 2])}, 5, {"j": 1}]),
            "u": tune.uniform(0, 1),
        },
        4,
    ),
    "with domains in its values": (
        {"a": tune.grid_search([{"v": tune.uniform(0, 1)}, 2]), "u": tune.uniform(0, 1)},
        2,
    ),
    "in a value of a grid": (
        {
            "a": tune.grid_search([{"b": tune.grid_search([1, 2]), "v": tune.uniform(0, 1)}, 3]),
            "u": tune.uniform(0, 1),
        },
        3,
    ),
    "in a list": (
        {"a": [tune.grid_search([1, 2]), tune.uniform(0, 1)], "u": tune.uniform(0, 1)},
        2,
    ),
}


def read(config: dict[str, Any], **arguments: Any) -> Experiment:
    return TUNE.read({"run_or_experiment": "a.py", "config": config, **arguments}).value


def shape(draw: list[dict[str, Any]]) -> str:
    """The configurations of one draw: floats by the order in which new ones come up."""
    seen: dict[float, int] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return sorted((key, plain(item)) for key, item in value.items())
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if isinstance(value, float):
            return f"float {seen.setdefault(value, len(seen))}"
        return value

    # Ray and W&B go through the cells in another order.
    ordered = sorted(draw, key=lambda config: _words(config))
    return repr([plain(config) for config in ordered])


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return repr(sorted((key, _words(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return repr([_words(item) for item in value])
    return "" if isinstance(value, float) else repr(value)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("name", SPACES)
def test_grids_are_run_as_ray_runs_them(name, constant):
    pytest.importorskip("ray.tune")
    import numpy as np
    from ray.tune.search.variant_generator import generate_variants

    config, _ = SPACES[name]
    searcher = tune.search.BasicVariantGenerator(constant_grid_search=constant)
    experiment = read(config, search_alg=searcher)
    live, state = build(TUNE.write(experiment).value.arguments["config"]), np.random.RandomState(1)
    theirs = [
        shape([spec["config"] for _, spec in generate_variants({"config": live}, constant, state)])
        for _ in range(300)
    ]
    ours = [shape(list(configurations(experiment, seed))) for seed in range(300)]
    assert_same_law(ours, theirs)


@pytest.mark.parametrize("name", SPACES)
def test_grids_are_carried_exactly_and_counted(name):
    config, cells = SPACES[name]
    experiment = read(config, num_samples=4)
    assert grid_cells(experiment.space) == cells
    written = SWEEP.write(experiment)
    assert_valid(written.value)
    assert written.value["method"] == "random"
    assert written.value["run_cap"] == 4 * cells
    assert SWEEP.read(written.value).value == experiment
    assert any("grid" in note.what for note in written.notes)
    assert TUNE.read(TUNE.write(experiment).value).value == experiment
    if "list" not in name:
        assert len(list(configurations(experiment, 0))) <= 4 * cells


def test_a_live_grid_in_an_option_is_read_alike():
    live = pytest.importorskip("ray.tune")
    config = {"m": live.choice([{"k": live.grid_search([1, 2, 3])}, 5])}
    recorded = {"m": tune.choice([{"k": tune.grid_search([1, 2, 3])}, 5])}
    assert read(config) == read(recorded)
    assert TUNE.read(live_arguments(read(recorded))).value == read(recorded)


def test_a_searcher_is_given_no_grid_wherever_it_hides():
    config = {"m": tune.choice([{"k": tune.grid_search([1, 2])}, 5])}
    with pytest.raises(SpecError, match=r"m\[0\]\.k: a grid search beside OptunaSearch"):
        read(config, search_alg="optuna", metric="loss", mode="min")


def test_a_function_of_the_configuration_is_not_drawn():
    experiment = read({"a": tune.grid_search([1, 2]), "f": tune.sample_from(len)})
    with pytest.raises(UnsupportedError, match="only Ray calls"):
        next(iter(configurations(experiment)))


def test_draws_are_constant_over_the_grid_where_the_searcher_says_so():
    config = {"a": tune.grid_search([1, 2, 3]), "u": tune.uniform(0, 1)}
    searcher = Algorithm.of("BasicVariantGenerator", constant_grid_search=True)
    experiment = read(config).replace(searcher=searcher, num_samples=2)
    draws = [draw["u"] for draw in configurations(experiment, 1)]
    assert len({*draws[:3]}) == len({*draws[3:]}) == 1
    assert draws[0] != draws[3]


def test_a_point_is_completed_inside_of_the_option_that_it_takes():
    """As agents get it: not the drawn option with parts of the point in it."""
    net = tune.choice(
        [{"kind": "a", "x": tune.uniform(0, 1)}, {"kind": "b", "y": tune.randint(2, 9)}]
    )
    points = tuple(Frozen({"net": {"kind": kind}}) for kind in "abab")
    experiment = read({"net": net, "u": tune.uniform(0, 1)}, num_samples=4).replace(points=points)
    drawn = list(configurations(experiment, 3))
    assert [draw["net"]["kind"] for draw in drawn] == list("abab")
    assert [sorted(draw["net"]) for draw in drawn] == [["kind", "x"], ["kind", "y"]] * 2
