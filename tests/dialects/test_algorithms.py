"""Every searcher, scheduler, stopper and argument of Ray: tables, round trips, live objects."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_bridge import tune
from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.calls import build
from tune_bridge.dialects.ray_tune.runs import RUNS, check_runs
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES
from tune_bridge.dialects.ray_tune.tables import (
    CALLS,
    CLASSES,
    REMOVED,
    SCHEDULER_STRINGS,
    SEARCHER_STRINGS,
)
from tune_bridge.errors import InputError, SpecError, UnsupportedError
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.explain import rungs
from tune_bridge.space import Group, Parameter, Uniform
from tune_bridge.testing.algorithms import schedulers, searchers, stoppers
from tune_bridge.values import EMPTY

TUNE, SWEEP = get_dialect("tune"), get_dialect("sweep")
SPACE = Group((("x", Parameter(Uniform(0.0, 1.0))),))
BASE = Experiment(space=SPACE, program="train.py", objective=Objective("loss"))
GIVEN = {"run_or_experiment": "train.py", "config": {"x": tune.uniform(0, 1)}}


def explore(config: dict[str, Any]) -> dict[str, Any]:
    """Can be imported."""
    return config


def _written(name: str) -> dict[str, str]:
    """Arguments and defaults of a constructor as Ray's source has them; nothing is imported."""
    root = Path(importlib.util.find_spec("ray").submodule_search_locations[0]) / "tune"
    for folder in ("search", "schedulers", "stopper"):
        for path in (root / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ClassDef) and node.name == name:
                    for part in node.body:
                        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                            return _arguments(part.args)
    return {}


def _arguments(args: ast.arguments) -> dict[str, str]:
    plain = args.args[1:]
    defaults = [None] * (len(plain) - len(args.defaults)) + list(args.defaults)
    found = {a.arg: ast.unparse(d) if d else "" for a, d in zip(plain, defaults, strict=True)}
    if args.vararg:
        found[args.vararg.arg] = "*"
    if args.kwarg:
        found[args.kwarg.arg] = "**"
    return found


PARENTS = {"HyperBandForBOHB": "HyperBandScheduler", "ASHAScheduler": "AsyncHyperBandScheduler"}


@pytest.mark.parametrize("name", CLASSES)
def test_a_table_has_the_arguments_of_ray(name):
    pytest.importorskip("ray")
    real = _written(PARENTS.get(name, name))
    if name == "SkOptSearch":
        assert real == {}, "Ray has it again"
        return
    ours = {}
    for argument in CLASSES[name].arguments:
        text, _, default = argument.text.partition("=")
        ours[argument.name] = default or "*" * text.count("*")
    if name == "ResourceChangingScheduler":
        real["resources_allocation_function"] = "'default'"
    assert ours == real


@pytest.mark.parametrize("table", (CLASSES | CALLS).values(), ids=lambda table: table.name)
def test_every_argument_has_a_place_or_a_reason(table):
    for argument in table.arguments:
        assert argument.how in ("native", "carried", "refused")
        assert argument.detail or argument.how == "carried" or argument.text == "*"


def test_the_strings_are_those_of_ray():
    search = pytest.importorskip("ray.tune.search")
    from ray.tune.schedulers import SCHEDULER_IMPORT

    assert set(SEARCHER_STRINGS) == set(search.SEARCH_ALG_IMPORT)
    assert set(SCHEDULER_STRINGS) == set(SCHEDULER_IMPORT)
    for name, scheduler in SCHEDULER_IMPORT.items():
        real = scheduler() if inspect.isfunction(scheduler) else scheduler
        assert real.__name__ == SCHEDULER_STRINGS[name]


@pytest.mark.parametrize("name", SEARCHER_STRINGS)
def test_a_searchers_string_is_read(name):
    read = TUNE.read({**GIVEN, "search_alg": name.upper(), "metric": "a", "mode": "min"}).value
    assert read.searcher == Algorithm(SEARCHER_STRINGS[name])


@pytest.mark.parametrize("name", SCHEDULER_STRINGS)
def test_a_schedulers_string_is_read(name):
    arguments = {**GIVEN, "scheduler": name, "metric": "a", "mode": "min"}
    kind = SCHEDULER_STRINGS[name]
    if kind in ("PB2", "PopulationBasedTraining", "PopulationBasedTrainingReplay"):
        with pytest.raises(SpecError, match=f"{kind} needs"):
            TUNE.read(arguments)
        return
    expected = None if kind == "FIFOScheduler" else Algorithm(kind)
    assert TUNE.read(arguments).value.scheduler == expected


SEEDLESS = ("NevergradSearch", "ZOOptSearch", "SkOptSearch")


@settings(deadline=None)
@given(searchers(), st.none() | schedulers(), st.just(EMPTY) | stoppers(), st.none() | st.just(7))
def test_every_algorithm_survives_both_ways(searcher, scheduler, stop, seed):
    experiment = BASE.replace(searcher=searcher, scheduler=scheduler, stop=stop, max_concurrent=3)
    if not any(word in json.dumps(searcher.args.data) + searcher.kind for word in SEEDLESS):
        experiment = experiment.replace(seed=seed)
    written = SWEEP.write(experiment)
    assert written.value["method"] == "bayes"
    assert SWEEP.read(json.loads(json.dumps(written.value))).value == experiment
    call = TUNE.write(experiment)
    assert TUNE.read(call.value).value == experiment
    compile(TUNE.source(experiment).value, "program.py", "exec")


LIVE = {
    "search.optuna": "OptunaSearch(seed=3, points_to_evaluate=[{'x': .5}], evaluated_rewards=[.1])",
    "search.bayesopt": "BayesOptSearch(random_search_steps=4, utility_kwargs="
    "{'kind': 'ei', 'kappa': 1.0, 'xi': .1})",
    "search.nevergrad": "NevergradSearch(optimizer)",
    "search": "Repeater(inner, repeat=3, set_index=False)",
    "search.concurrency_limiter": "ConcurrencyLimiter(inner, 2, batch=True)",
    "schedulers": "HyperBandScheduler(max_t=27, reduction_factor=2)",
    "schedulers.hb_bohb": "HyperBandForBOHB(stop_last_trials=False)",
    "schedulers.median_stopping_rule": "MedianStoppingRule(grace_period=3, hard_stop=False)",
    "schedulers.pbt": "PopulationBasedTraining(perturbation_interval=4, custom_explore_fn=explore,"
    " hyperparam_mutations={'x': tune.uniform(0, 1), 'y': [1, 2], 'z': {'a': tune.randint(1, 4)}})",
    "schedulers.pb2": "PB2(hyperparam_bounds={'x': [0, 1]}, synch=True)",
    "schedulers.resource_changing_scheduler": "ResourceChangingScheduler("
    "HyperBandScheduler(max_t=9), DistributeResourcesToTopJob(add_bundles=True))",
    "stopper": "CombinedStopper(MaximumIterationStopper(3), TrialPlateauStopper('loss'))",
    "stopper.timeout": "TimeoutStopper(30)",
    "stopper.function_stopper": "FunctionStopper(explore)",
    "stopper.experiment_plateau": "ExperimentPlateauStopper('loss', top=3)",
}
NEEDS = {"optuna": "optuna", "bayesopt": "bayes_opt", "nevergrad": "nevergrad", "pb2": "sklearn"}
PLACES = {"search": "search_alg", "schedulers": "scheduler", "stopper": "stop"}


@pytest.mark.parametrize("module", LIVE)
def test_a_live_object_is_read_back_to_its_arguments(module):
    pytest.importorskip("ray.tune")
    root, _, last = module.partition(".")
    if last in NEEDS:
        pytest.importorskip(NEEDS[last])
    scope = vars(importlib.import_module(f"ray.tune.{module}")) | {"explore": explore}
    if root == "schedulers":
        package = importlib.import_module("ray.tune.schedulers")
        scope["HyperBandScheduler"] = package.HyperBandScheduler
    scope["tune"] = importlib.import_module("ray").tune
    if "inner" in LIVE[module]:
        hyperopt = pytest.importorskip("hyperopt") and "ray.tune.search.hyperopt"
        scope["inner"] = importlib.import_module(hyperopt).HyperOptSearch(gamma=0.5)
    if "optimizer" in LIVE[module]:
        scope["optimizer"] = importlib.import_module("nevergrad").optimizers.OnePlusOne
    given_ = {**GIVEN, "metric": "loss", "mode": "min"}
    found = TUNE.read({**given_, PLACES[root]: eval(LIVE[module], scope)}).value
    assert found != TUNE.read(given_).value
    assert SWEEP.read(SWEEP.write(found).value).value == found
    arguments = TUNE.write(found).value.arguments
    program = arguments.pop("run_or_experiment")
    assert TUNE.read({"run_or_experiment": program, **build(arguments)}).value == found


def test_every_row_of_the_runs_is_an_algorithm_and_the_reverse():
    algorithms = {name for name, t in CLASSES.items() if t.role not in ("allocation", "stopper")}
    assert set(RUNS) | {"FIFOScheduler", "ASHAScheduler"} == algorithms | {"bayes", "hyperband"}


@pytest.mark.parametrize("kind", RUNS)
def test_everything_is_run(kind):
    table = CLASSES.get(kind)
    role = "scheduler" if kind == "hyperband" or (table and table.role == "scheduler") else "search"
    algorithm = Algorithm(kind)
    if table is not None and table.role == "limiter":
        algorithm = Algorithm.of(kind, searcher={"HyperOptSearch": {}})
    experiment = BASE.replace(**{"scheduler" if role == "scheduler" else "searcher": algorithm})
    check_runs(experiment)
    assert not RUNS[kind]


def test_what_is_none_of_rays_is_refused_before_anything_starts():
    with pytest.raises(UnsupportedError, match="translates elsewhere but does not run it"):
        check_runs(BASE.replace(searcher=Algorithm("elsewhere")))


@pytest.mark.parametrize("name", REMOVED)
def test_a_removed_argument_names_what_says_it_today(name):
    with pytest.raises(UnsupportedError, match=f"^{name}: Ray 2.60 has no {name}") as caught:
        TUNE.read({**GIVEN, name: "x"})
    assert REMOVED[name] in str(caught.value)


@pytest.mark.parametrize(
    "name", [a.name for a in CALLS["tune.run"].arguments if a.how == "refused"]
)
def test_a_refused_argument_of_run_says_why(name):
    with pytest.raises(UnsupportedError, match=f"^{name}: "):
        TUNE.read({**GIVEN, name: [object()]})


@pytest.mark.parametrize(
    "name", [a.name for a in CALLS["tune.run"].arguments if a.how == "carried"]
)
def test_a_carried_argument_of_run_survives_the_sweep(name):
    value: Any = {
        "checkpoint_config": tune.CheckpointConfig(num_to_keep=2),
        "sync_config": tune.SyncConfig(sync_period=3),
        "trial_name_creator": explore,
    }.get(name, "text")
    experiment = TUNE.read({**GIVEN, name: value}).value
    assert name in experiment.extras.value["tune"]
    assert SWEEP.read(SWEEP.write(experiment).value).value == experiment
    assert TUNE.read(TUNE.write(experiment).value).value == experiment


REFUSED = {
    "a limiter inside of a repeater": (
        lambda s: {"search_alg": s.Repeater(s.ConcurrencyLimiter(s.HyperOptSearch(), 2))},
        "search_alg.searcher",
    ),
    "a sampler": (lambda s: {"search_alg": s.OptunaSearch(sampler=object())}, "sampler"),
    "a lambda to mutate": (
        lambda s: {"scheduler": s.PopulationBasedTraining(hyperparam_mutations={"x": lambda c: 1})},
        "scheduler.hyperparam_mutations.x",
    ),
    "pbt without mutations": (lambda s: {"scheduler": s.PopulationBasedTraining()}, "mutations"),
    "a quantile": (
        lambda s: {"scheduler": s.PB2(hyperparam_bounds={"x": [0, 1]}, quantile_fraction=0.7)},
        "scheduler.quantile_fraction",
    ),
    "hyperband's end": (lambda s: {"scheduler": s.HyperBandScheduler(max_t=0)}, "max_t"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written_down_is_refused_with_its_place(name):
    make, word = REFUSED[name]
    names = type("Names", (), {k: staticmethod(v.call) for k, v in SIGNATURES.items()})
    with pytest.raises(InputError, match=word):
        TUNE.read({**GIVEN, "metric": "a", "mode": "min", **make(names)})


def test_old_arguments_are_still_taken():
    from tune_bridge.tune.schedulers import AsyncHyperBandScheduler
    from tune_bridge.tune.suggest.bayesopt import BayesOptSearch

    read = TUNE.read(
        {
            **GIVEN,
            "search_alg": BayesOptSearch(None, max_concurrent=4, reward_attr="acc"),
            "scheduler": AsyncHyperBandScheduler(reward_attr="acc"),
        }
    ).value
    assert read.objective == Objective("acc", "maximize")
    assert (read.max_concurrent, read.seed) == (4, 42)


@pytest.mark.parametrize("factor", [2, 3, 3.5, 4, 10])
def test_the_rungs_are_those_of_ray(factor):
    schedulers_ = pytest.importorskip("ray.tune.schedulers")
    for most in (1, 2, 9, 27, 81, 100, 243, 729, 1000, 1024):
        args = {"max_t": most, "reduction_factor": factor}
        real = schedulers_.ASHAScheduler(**args)._brackets[0]._rungs
        assert rungs(Algorithm.of("AsyncHyperBandScheduler", **args)) == [
            int(milestone) for milestone, _ in reversed(real)
        ]
    assert rungs(Algorithm.of("AsyncHyperBandScheduler", max_t=243, reduction_factor=3))[-1] == 81
    assert rungs(Algorithm("HyperBandScheduler")) == [1, 3, 9, 27, 81]
    assert math.prod(rungs(Algorithm.of("HyperBandForBOHB", max_t=8, reduction_factor=2))) == 64
