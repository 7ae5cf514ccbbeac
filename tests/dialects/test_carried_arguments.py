"""Searchers and schedulers in a carry that a person has written: errors with line and column."""

from __future__ import annotations

from typing import Any

import pytest

from tune_bridge import SweepConfig
from tune_bridge.dialects.ray_tune.arguments import check_algorithm, check_objects
from tune_bridge.dialects.ray_tune.tables import CLASSES
from tune_bridge.dialects.sweep.carry import FIELDS
from tune_bridge.errors import SpecError
from tune_bridge.experiment import RANDOM, Algorithm

SWEEP = """\
program: train.py
method: bayes
metric: {name: loss, goal: minimize}
parameters:
  x: {min: 0.0, max: 1.0}
run_cap: 3
controller:
  type: cloud
  tune:
    version: 1
"""

WRONG = {
    "search_alg:\n      HyperOptSearch:\n        gama: 0.5": (
        (13, 9),
        "controller.tune.search_alg.HyperOptSearch.gama: HyperOptSearch has no such argument",
        "expected one of n_initial_points, gamma (did you mean 'gamma'?)",
    ),
    "search_alg: {HyperOptSearch: {gamma: much}}": (
        (11, 35),
        "HyperOptSearch.gamma: gamma is not a number; found 'much', expected a number, 0.25 by",
    ),
    "search_alg: {HypeOptSearch: {}}": (
        (11, 18),
        "this is not a searcher of Ray Tune; found HypeOptSearch",
        "did you mean 'HyperOptSearch'?",
    ),
    "search_alg: {ASHAScheduler: {}}": ((11, 18), "this is not a searcher of Ray Tune"),
    "search_alg: {HyperOptSearch: {metric: loss}}": (
        (11, 35),
        "the sweep says this elsewhere",
        "move it to metric",
    ),
    "search_alg: {AxSearch: {ax_client: mine}}": ((11, 29), "cannot be written down"),
    "search_alg: {AxSearch: {ax_kwargs: 3}}": ((11, 29), "expected a mapping"),
    "search_alg: {Repeater: {repeat: 2}}": ((11, 18), "Repeater without searcher"),
    "search_alg: {Repeater: {searcher: {HyperOptSearch: {gama: 1}}}}": (
        (11, 57),
        "Repeater.searcher.HyperOptSearch.gama: HyperOptSearch has no such argument",
    ),
    "search_alg: {Repeater: {searcher: {HyperOpSearch: {}}}}": ((11, 40), "HyperOptSearch"),
    "search_alg: {Repeater: {searcher: HyperOptSearch}}": ((11, 29), "expected a class with"),
    "scheduler: {ASHAScheduler: {grace_period: 1, reduction_facto: 3}}": (
        (11, 50),
        "did you mean 'reduction_factor'?",
    ),
    "scheduler: {ASHAScheduler: {time_attr: 3}}": ((11, 33), "time_attr is not a text; found 3"),
    "scheduler: {OptunaSearch: {}}": ((11, 17), "this is not a scheduler"),
    "scheduler: {PopulationBasedTraining: {perturbation_factors: 2}}": ((11, 43), "is not a list"),
    "scheduler: {PopulationBasedTraining: {synch: 'no'}}": ((11, 43), "is not true or false"),
    "scheduler: {PopulationBasedTrainingReplay: {}}": ((11, 17), "without policy_file"),
    "scheduler: {FIFOScheduler: {metric: loss}}": ((11, 33), "expected no arguments"),
    "scheduler: {ResourceChangingScheduler: {base_scheduler: {ASHAScheduler: {max: 3}}}}": (
        (11, 78),
        "did you mean 'max_t'?",
    ),
    "stop: {TimeoutStopper: {timeot: 3}}": ((11, 29), "did you mean 'timeout'?"),
}


@pytest.mark.parametrize("block", WRONG)
def test_what_is_wrong_is_named_where_it_stands(block: str) -> None:
    place, *words = WRONG[block]
    with pytest.raises(SpecError) as caught:
        SweepConfig.from_yaml(f"{SWEEP}    {block}\n", "s.yaml").experiment  # noqa: B018
    assert str(caught.value).startswith(f"s.yaml:{place[0]}:{place[1]}: controller.tune.")
    for word in words:
        assert word in str(caught.value)


RIGHT: list[tuple[str, dict[str, Any]]] = [
    ("search_alg", {"HyperOptSearch": {"gamma": 1, "n_initial_points": 5.0}}),
    ("search_alg", {"Repeater": {"searcher": {"bayes": {}}}}),
    ("search_alg", {RANDOM.kind: {"unique": True}}),
    ("search_alg", {"HEBOSearch": {"kwargs": {"rand_sample": 4}}}),
    ("search_alg", {"custom": {"anything": 1}}),
    ("scheduler", {"ASHAScheduler": {"max_t": 9.0, "stop_last_trials": 1, "brackets": None}}),
    ("scheduler", {"hyperband": {"min_iter": 3}}),
    (
        "scheduler",
        {
            "ResourceChangingScheduler": {
                "resources_allocation_function": {"DistributeResources": {"add_bundles": True}}
            }
        },
    ),
    ("scheduler", {"PopulationBasedTraining": {"custom_explore_fn": {"$function": "a:b"}}}),
]


@pytest.mark.parametrize(("key", "data"), RIGHT)
def test_what_ray_takes_passes(key: str, data: dict[str, Any]) -> None:
    ((kind, args),) = data.items()
    check_algorithm(key, Algorithm.of(kind, **args), key)


@pytest.mark.parametrize("name", CLASSES)
def test_defaults_pass(name: str) -> None:
    """Each argument of each class is of the kind that its own default is of."""
    import ast

    args: dict[str, Any] = {}
    for argument in CLASSES[name].arguments:
        text = argument.text.partition("=")[2].strip()
        if argument.how == "carried" and not argument.text.startswith("*"):
            try:
                args[argument.name] = ast.literal_eval(text) if text else "given"
            except ValueError:
                continue
    inner = {"searcher": {"OptunaSearch": {}}, "base_scheduler": {"FIFOScheduler": {}}}
    args |= {key: value for key, value in inner.items() if key in args}
    check_objects({name: args}, "x")


def test_the_keys_of_the_carry_are_the_ones_that_are_checked() -> None:
    assert {"search_alg", "scheduler", "stop"} <= set(FIELDS)
