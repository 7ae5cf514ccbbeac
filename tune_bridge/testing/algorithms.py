"""Hypothesis strategies for every searcher, scheduler and stopper, with random valid arguments.

And for experiments that have all of them, beside every other setting.
"""

from __future__ import annotations

import functools
from typing import Any

from hypothesis import strategies as st

from tune_bridge.dialects.ray_tune.tables import CLASSES
from tune_bridge.experiment import RANDOM, Algorithm, Experiment, Objective
from tune_bridge.testing.strategies import experiments, values
from tune_bridge.values import Frozen

__all__ = ["VALUES", "hyperbands", "schedulers", "searchers", "stoppers", "whole_experiments"]

_FUNCTION = {"$function": "math:sqrt"}
_DOMAIN = {
    "$domain": {
        "node": "parameter",
        "distribution": {"distribution": "uniform", "low": 0.0, "high": 1.0},
    }
}
_flags = st.booleans()
_small = st.integers(2, 9)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "algo": st.just("sracos"),
    "ax_kwargs": st.just({"verbose_logging": True}),
    "base_scheduler": st.deferred(lambda: schedulers(nested=False)).map(
        lambda scheduler: {scheduler.kind: scheduler.args.value}
    ),
    "bohb_config": st.just({"min_points_in_model": 4}),
    "brackets": st.integers(2, 4),
    "budget": st.integers(10, 100),
    "custom_explore_fn": st.just(_FUNCTION),
    "evaluated_rewards": st.lists(st.floats(-1, 1), min_size=1, max_size=2),
    "function": st.just(_FUNCTION),
    "gamma": st.sampled_from([0.15, 0.5]),
    "grace_period": st.integers(2, 3),
    "hyperparam_bounds": st.just({"x": [0, 1]}),
    "hyperparam_mutations": st.sampled_from(
        [{"x": _DOMAIN}, {"x": [1, 2], "y": {"z": _DOMAIN}}, {"x": _FUNCTION, "y": (1, 2)}]
    ),
    "kwargs": st.just({"some_option": 3}),
    "max_iter": _small,
    "max_t": st.integers(10, 90),
    "metric": st.just("loss"),
    "metric_threshold": st.floats(0, 1),
    "mode": st.just("max"),
    "increase_by": st.just({"CPU": 1}),
    "reserve_resources": st.just({"CPU": 2}),
    "optimizer": st.just({"$function": "nevergrad.optimization.optimizerlib:NGOpt"}),
    "optimizer_kwargs": st.just({"budget": 10}),
    "outcome_constraints": st.just(["l2norm <= 1.25"]),
    "parameter_constraints": st.just(["x1 + x2 <= 2.0"]),
    "perturbation_factors": st.just((1.5, 0.5)),
    "policy_file": st.just("pbt_policy.txt"),
    "quantile_fraction": st.sampled_from([0.1, 0.5]),
    "reduction_factor": st.sampled_from([2, 3.5, 5]),
    "resample_probability": st.sampled_from([0.1, 0.5]),
    "resources_allocation_function": st.just({"DistributeResources": {"add_bundles": True}}),
    "std": st.sampled_from([0.1, 0.2]),
    "stoppers": st.just(({"NoopStopper": {}}, {"TimeoutStopper": {"timeout": 3.0}})),
    "study_name": st.just("study"),
    "time_attr": st.just("steps"),
    "timeout": st.floats(1, 100),
    "utility_kwargs": st.just({"kind": "ei", "kappa": 1.0, "xi": 0.1}),
}
"""Argument -> values. Others are small integers, or the flag that is not the default."""

_NEEDED = {
    "PopulationBasedTraining": ("hyperparam_mutations",),
    "PB2": ("hyperparam_bounds",),
}


@st.composite
def _algorithms(draw: st.DrawFn, kind: str) -> Algorithm:
    args: dict[str, Any] = {}
    for argument in CLASSES[kind].arguments:
        name, _, default = argument.text.partition("=")
        needed = (not default and "*" not in name) or name in _NEEDED.get(kind, ())
        if argument.how != "carried" or not (needed or draw(_flags)):
            continue
        if default in ("True", "False"):
            args[argument.name] = default == "False"
        else:
            values = VALUES.get(argument.name, _small)
            args[argument.name] = draw(values.filter(functools.partial(_differs, default)))
    return Algorithm(kind, Frozen(args))


def _differs(default: str, value: Any) -> bool:
    return repr(value) != default


def _of_role(role: str, without: tuple[str, ...]) -> st.SearchStrategy[Algorithm]:
    kinds = [name for name, table in CLASSES.items() if table.role == role and name not in without]
    return st.sampled_from(kinds).flatmap(_algorithms)


@st.composite
def _wrapped(draw: st.DrawFn) -> Algorithm:
    inner = draw(_of_role("searcher", ("BasicVariantGenerator",)))
    args: dict[str, Any] = {"searcher": {inner.kind: inner.args.value}}
    if draw(_flags):
        args["repeat"] = draw(_small)
    return Algorithm("Repeater", Frozen(args))


def searchers() -> st.SearchStrategy[Algorithm]:
    """Every searcher that learns, and Repeaters around them."""
    return _of_role("searcher", ("BasicVariantGenerator",)) | _wrapped()


def schedulers(*, nested: bool = True) -> st.SearchStrategy[Algorithm]:
    """Every scheduler that does something.

    Args:
        nested: With those that have another one inside.
    """
    # ASHAScheduler is a second name of AsyncHyperBandScheduler, and FIFO is no scheduler.
    others = ("FIFOScheduler", "ASHAScheduler")
    return _of_role("scheduler", others if nested else (*others, "ResourceChangingScheduler"))


def stoppers() -> st.SearchStrategy[Frozen]:
    """Stop criteria that are a Stopper."""
    return _of_role("stopper", ()).map(
        lambda stopper: Frozen({"$stopper": {stopper.kind: stopper.args.value}})
    )


def hyperbands() -> st.SearchStrategy[Algorithm]:
    """W&B's own early termination, in both forms."""
    first, last, steps = st.integers(1, 9), st.integers(9, 99), st.integers(1, 4)
    more: dict[str, Any] = {"eta": st.sampled_from([2, 3, 2.5]), "strict": _flags}
    forms: list[dict[str, Any]] = [
        {"min_iter": first},
        {"max_iter": last, "s": steps},
        {"min_iter": first, "max_iter": last},
        {"min_iter": first, "max_iter": last, "s": steps},
    ]
    return st.sampled_from(forms).flatmap(
        lambda form: st.fixed_dictionaries(form, optional=more).map(
            lambda args: Algorithm("hyperband", Frozen(args))
        )
    )


_TEXT = st.text("abc XYZ:#-_'\"\u00e9", min_size=1, max_size=12)
_COMMAND = st.lists(
    st.sampled_from(
        [
            "${env}", "${interpreter}", "${program}", "${args}", "${args_no_hyphens}",
            "${args_no_boolean_flags}", "${args_json}", "${args_json_file}", "${envvar:HOME}",
            "python", "-m", "--epochs=3", "a: b", "yes", "1e-5",
        ]
    ),
    max_size=5,
)  # fmt: skip


@st.composite
def whole_experiments(draw: st.DrawFn, *, wandb: bool = True) -> Experiment:
    """Experiments with every searcher, scheduler, stopper and setting that there is.

    Args:
        draw: Hypothesis's.
        wandb: With what only W&B has a word for: its method bayes, its hyperband, a command, a
            target, a description, unknown keys.
    """
    chosen = searchers() | st.just(RANDOM)
    if wandb:
        chosen |= st.just(Algorithm("bayes"))
    experiment = draw(experiments(searchers=chosen))
    if experiment.searcher.kind not in ("HyperOptSearch", "BasicVariantGenerator"):
        # Points are given by the names of the space, which only these two read as they are.
        experiment = experiment.replace(space_in="config")
    experiment = experiment.replace(
        scheduler=draw(st.none() | schedulers() | (hyperbands() if wandb else st.nothing())),
        stop=draw(st.just(experiment.stop) | stoppers()),
    )
    if not wandb:
        return experiment
    goal = experiment.objective
    assert goal is not None
    options = st.sampled_from([{}, {"impute": "best"}, {"impute": "worst"}])
    kept = st.fixed_dictionaries(
        {},
        optional={
            "metrics": st.just([{"name": "a", "goal": "minimize"}]),
            "settings": st.just({"silent": True}),
            "scheduler": st.just({"num_workers": 2, "settings": {"x": [1]}}),
            "job": _TEXT,
            "unknown": values(),
            "controller": st.just({"type": "local"}),
        },
    )
    found = draw(kept)
    return experiment.replace(
        objective=Objective(
            goal.name,
            goal.goal,
            draw(st.none() | st.sampled_from([0.0, 0.1, -3.0])),
            Frozen(draw(options)),
        ),
        command=draw(st.none() | _COMMAND.map(tuple)),
        description=draw(st.none() | _TEXT),
        project=draw(st.none() | _TEXT),
        entity=draw(st.none() | _TEXT),
        run_cap=draw(st.integers(1, 99)) if experiment.is_grid and draw(_flags) else None,
        extras=Frozen({"sweep": found}) if found else experiment.extras,
    )
