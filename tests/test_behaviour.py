"""What each engine will do: levels, reasons and rungs, and Ray's converters as the tables say."""

from __future__ import annotations

import importlib
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given

from tune_bridge.behaviour import ENGINES, behaviour, below
from tune_bridge.dialects.ray_tune.conversions import CONVERSIONS, DOMAINS, conversion, domain_of
from tune_bridge.dialects.ray_tune.tables import CLASSES
from tune_bridge.experiment import RANDOM, Algorithm, Experiment, Objective
from tune_bridge.explain import Cell, Line
from tune_bridge.notes import Level
from tune_bridge.space import (
    Beta,
    Choice,
    Constant,
    Group,
    Integers,
    Node,
    Parameter,
    Uniform,
)
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.testing.algorithms import schedulers, searchers
from tune_bridge.testing.strategies import conditional_spaces, experiments
from tune_bridge.testing.translations import assert_same_law
from tune_bridge.values import Frozen

LOSS = Objective("loss")


def of(searcher: Algorithm = RANDOM, **nodes: Node) -> Experiment:
    return Experiment(
        space=Group(tuple(nodes.items())), objective=LOSS, searcher=searcher, num_samples=10
    )


def choice(*values: Any, grid: bool = False) -> Choice:
    return Choice(tuple(map(Constant.of, values)), grid=grid)


def lines(experiment: Experiment) -> dict[str, Line]:
    return {line.path: line for line in behaviour(experiment)}


def said(cell: Cell) -> str:
    return " | ".join(f"{note.what} - {note.why}" for note in cell.notes)


def levels(line: Line) -> str:
    return " ".join(line.cells[name].level.label for name in ENGINES)


@given(experiments(searchers=searchers()))
def test_every_engine_answers_for_every_line(experiment: Experiment) -> None:
    found = behaviour(experiment)
    assert {line.path for line in found} >= experiment.searched.keys()
    for line in found:
        assert tuple(line.cells) == ENGINES
        for cell in line.cells.values():
            # No engine is told of the carry: what it does is what is written, near, or not done.
            assert cell.level in (Level.EXACT, Level.APPROXIMATED, Level.LOST)
            assert cell.level is Level.EXACT or cell.notes, (line, cell)
    json.dumps([line.as_dict() for line in found], allow_nan=False)


@given(experiments(space=conditional_spaces))
def test_the_controller_draws_conditions_as_they_are(experiment: Experiment) -> None:
    for line in behaviour(experiment, ["controller"]):
        assert tuple(line.cells) == ("controller",)
        if line.kind == "parameter" and experiment.searcher == RANDOM:
            assert line.cells["controller"].level is Level.EXACT


def test_a_plain_sweep_is_exact_everywhere() -> None:
    found = behaviour(of(lr=Parameter(Uniform(1e-5, 1, scale="log")), n=Parameter(Integers(1, 8))))
    assert below(found, Level.EXACT) == []


def test_hyperopt_search_keeps_the_ends_of_integers() -> None:
    experiment = of(Algorithm("HyperOptSearch"), n=Parameter(Integers(1, 6)))
    line = lines(experiment)["n"]
    assert levels(line) == "exact exact exact"
    told = said(line.cells["ray"])
    assert "searched as it is written; a program of convert --to tune: hp.uniformint" in told
    assert "both ends are half as likely" in told


@pytest.mark.parametrize(
    ("searcher", "node", "words"),
    [
        ("BayesOptSearch", Parameter(Uniform(0, 1, q=0.25)), "quantum is dropped"),
        ("BayesOptSearch", Parameter(Uniform(1, 9, scale="log")), "log scale"),
        ("BayesOptSearch", Parameter(Integers(0, 3)), "floats only"),
        ("AxSearch", Parameter(Uniform(0, 1, q=0.25)), "quantum is dropped"),
        ("AxSearch", choice(1, None), "one plain type"),
        ("AxSearch", choice(1, 0.5), ""),
        ("ZOOptSearch", Parameter(Uniform(1, 9, scale="log")), "no log scale"),
        ("OptunaSearch", Parameter(Beta(2, 2)), "functions of ray.tune only"),
        ("HEBOSearch", choice([1], [2]), "hashable"),
    ],
)
def test_what_rays_searchers_cannot_say_is_searched(searcher: str, node: Node, words: str) -> None:
    """Agents and Ray search the space as it is; Ray's own converters are another matter."""
    found = lines(of(Algorithm(searcher), x=node))["x"]
    for engine in ("controller", "ray"):
        assert found.cells[engine].level is Level.EXACT
        assert words in said(found.cells[engine])


def test_conditions_are_drawn_as_they_are() -> None:
    branch = Choice((Group((("y", Parameter(Uniform(0, 1))),)), Constant.of(1)))
    for experiment in (of(x=branch), of(Algorithm("OptunaSearch"), x=branch)):
        found = lines(experiment)
        assert levels(found["x"]) == "approximated exact exact"
        assert levels(found["x[0].y"]) == "approximated exact exact"
    assert found["searcher"].cells["ray"].level is Level.EXACT


def test_wandb_ignores_what_it_has_no_word_for() -> None:
    experiment = of(x=Parameter(Uniform(0, 1))).replace(
        seed=1,
        max_concurrent=2,
        resources=Frozen({"cpu": 2}),
        stop=Frozen({"training_iteration": 3}),
        points=(Frozen({"x": 0.5}),),
    )
    found = lines(experiment)
    for name in ("seed", "max_concurrent", "resources", "stop", "points"):
        assert found[name].cells["wandb"].level is Level.LOST
        assert found[name].cells["ray"].level is Level.EXACT
    assert found["resources"].cells["controller"].level is Level.LOST
    assert found["stop"].cells["controller"].level is Level.EXACT


def scheduled(scheduler: Algorithm) -> Line:
    return lines(of(x=Parameter(Uniform(0, 1))).replace(scheduler=scheduler))["scheduler"]


def test_rungs_are_those_that_each_engine_makes() -> None:
    line = scheduled(Algorithm.of("AsyncHyperBandScheduler", max_t=243, reduction_factor=3))
    # Ray counts its rungs with logarithms of floats and loses the one at 243.
    assert "rungs at 1, 3, 9, 27, 81 -" in said(line.cells["ray"])
    assert "bands at 1, 3, 9, 27, 81, 243, ..." in said(line.cells["wandb"])
    line = scheduled(Algorithm.of("hyperband", max_iter=27, s=2, eta=3))
    assert "bands at 3, 9 -" in said(line.cells["wandb"])
    assert "bands at 3, 9 -" in said(line.cells["controller"])
    assert "bands at 3, 9 -" in said(line.cells["ray"])
    assert levels(line) == "exact exact exact"


def test_who_has_to_save_checkpoints_is_told() -> None:
    line = scheduled(Algorithm("HyperBandScheduler"))
    for engine in ("controller", "ray"):
        assert "programs have to save checkpoints: HyperBandScheduler" in said(line.cells[engine])
    line = scheduled(Algorithm("ResourceChangingScheduler"))
    assert "to change their resources" in said(line.cells["ray"])
    assert "agents keep their resources" in said(line.cells["controller"])
    assert levels(line).split()[1:] == ["approximated", "exact"]


def test_a_scheduler_without_native_words_is_ignored_by_wandb() -> None:
    line = scheduled(Algorithm.of("MedianStoppingRule", grace_period=3))
    assert line.cells["wandb"].level is Level.LOST
    assert "every run goes on" in said(line.cells["wandb"])
    assert line.cells["controller"].level is Level.EXACT


@given(schedulers())
def test_every_scheduler_has_an_answer(scheduler: Algorithm) -> None:
    assert tuple(scheduled(scheduler).cells) == ENGINES


def test_targets_and_imputation() -> None:
    config = SweepConfig(
        {
            "method": "bayes",
            "metric": {"name": "loss", "goal": "minimize", "target": 0.1, "impute": "worst"},
            "parameters": {"x": {"min": 0.0, "max": 1.0}},
        }
    )
    found = lines(config.experiment)["objective"]
    assert "impute: failed runs get a value" in said(found.cells["wandb"])
    assert "a run at 0.1 ends the sweep" in said(found.cells["ray"])
    assert "impute: left out" in said(found.cells["ray"])
    assert levels(found) == "exact exact approximated"


def test_method_custom_proposes_nothing_here() -> None:
    found = lines(of(Algorithm("custom"), x=Parameter(Uniform(0, 1))))["searcher"]
    assert found.cells["controller"].level is Level.LOST


def test_duplicates_in_a_grid_are_run_once_by_wandb() -> None:
    sweeps = pytest.importorskip("sweeps")
    config = {"method": "grid", "parameters": {"x": {"values": [1, 2, 1]}}}
    runs: list[Any] = []
    while (run := sweeps.next_run(config, runs)) is not None:
        runs.append(run)
    assert [run.config["x"]["value"] for run in runs] == [1, 2]
    found = lines(SweepConfig(config).experiment)["x"]
    assert found.cells["wandb"].level is Level.APPROXIMATED


# Ray's converters -------------------------------------------------------------------------------


def test_the_tables_name_searchers_and_domains_that_there_are() -> None:
    for name, rows in CONVERSIONS.items():
        assert CLASSES[name].role == "searcher"
        assert set(rows) <= set(DOMAINS)
    missing = {name for name, table in CLASSES.items() if table.role == "searcher"}
    assert missing - {"BasicVariantGenerator"} == set(CONVERSIONS)


def test_nodes_are_told_apart_by_what_their_options_are() -> None:
    assert domain_of("tune.choice", choice("a", 0.5)) == "choice of mixed types"
    assert domain_of("tune.choice", choice(1, 0.5)) == "choice"
    assert domain_of("tune.choice", choice([1], "a")) == "choice of lists"
    assert domain_of("tune.choice", choice({"a": 1}, {"a": 2})) == "choice of mappings"
    assert domain_of("domains.beta", Parameter(Beta())) == "other domains"


def made_by_ray(tune: Any) -> dict[str, Any]:
    return {
        "uniform": tune.uniform(0, 1),
        "quniform": tune.quniform(0, 1, 0.25),
        "loguniform": tune.loguniform(0.01, 1),
        "qloguniform": tune.qloguniform(0.25, 4, 0.25),
        "randn": tune.randn(0, 1),
        "qrandn": tune.qrandn(0, 1, 0.25),
        "randint": tune.randint(0, 10),
        "qrandint": tune.qrandint(0, 10, 2),
        "lograndint": tune.lograndint(1, 10),
        "qlograndint": tune.qlograndint(2, 10, 2),
        "choice": tune.choice(["a", "b", "c"]),
        "choice of mixed types": tune.choice([1, None, "a"]),
        "choice of mappings": tune.choice([{"a": 1}, {"a": 2}]),
        "choice of lists": tune.choice([[1], [2, 3]]),
        "grid_search": tune.grid_search([1, 2]),
    }


def _hyperopt(space: Any, number: int) -> Iterator[Any]:
    import numpy as np
    from hyperopt.pyll.stochastic import sample

    rng = np.random.default_rng(7)
    return (sample(space["x"], rng=rng) for _ in range(number))


def _bayesopt(space: Any, number: int) -> Iterator[Any]:
    import numpy as np

    low, high = space["x"]
    if not math.isfinite(low):
        raise ValueError("no bounds to draw between")
    return iter(np.random.default_rng(7).uniform(low, high, number))


def _nevergrad(space: Any, number: int) -> Iterator[Any]:
    import numpy as np

    space.random_state = np.random.RandomState(7)
    drawn = [space.sample().value["x"] for _ in range(number)]
    if any(isinstance(value, float) and math.isnan(value) for value in drawn):
        raise ValueError("NaN")
    return iter(drawn)


def _optuna(space: Any, number: int) -> Iterator[Any]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=7))
    return (study.ask(space).params["x"] for _ in range(number))


DRAWN: dict[str, tuple[str, int, Callable[[Any, int], Iterator[Any]]]] = {
    "HyperOptSearch": ("hyperopt", 8000, _hyperopt),
    "BayesOptSearch": ("bayes_opt", 3000, _bayesopt),
    "OptunaSearch": ("optuna", 8000, _optuna),
    "NevergradSearch": ("nevergrad", 2000, _nevergrad),
}
"""Searcher -> its library, draws, and how to draw from the space that it has made."""

MODELLED = {"NevergradSearch"}
"""Their draws follow laws of their own: only which values there are is compared."""


@pytest.mark.slow
@pytest.mark.parametrize("searcher", DRAWN)
@pytest.mark.parametrize("domain", [name for name in DOMAINS if name != "other domains"])
def test_a_converter_does_what_its_table_says(searcher: str, domain: str) -> None:
    tune = pytest.importorskip("ray.tune")
    library, number, draw = DRAWN[searcher]
    pytest.importorskip(library, reason=f"needs {library}")
    converter = getattr(importlib.import_module(CLASSES[searcher].module), searcher)
    given, told = made_by_ray(tune)[domain], conversion(searcher, domain)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            space = converter.convert_search_space({"x": given})
            drawn = [_plain(value) for value in draw(space, number)]
    except Exception:
        if told.level is not Level.LOST:
            raise
        return
    assert told.level is not Level.LOST, drawn[:5]
    expected = [_plain(value) for value in given.sample(size=number, random_state=7)]
    same = _same_values(drawn, expected) if searcher in MODELLED else _same_law(drawn, expected)
    assert same == (told.level is Level.EXACT), (told, drawn[:9], expected[:9])


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _same_law(one: list[Any], other: list[Any]) -> bool:
    try:
        assert_same_law(
            [repr(v) if isinstance(v, dict | list | tuple) else v for v in one],
            [repr(v) if isinstance(v, dict | list | tuple) else v for v in other],
        )
    except AssertionError:
        return False
    return True


def _same_values(one: list[Any], other: list[Any]) -> bool:
    left, right = ({repr(value) for value in values} for values in (one, other))
    return left == right if min(len(left), len(right)) < 50 else max(one) <= max(other) * 1.5
