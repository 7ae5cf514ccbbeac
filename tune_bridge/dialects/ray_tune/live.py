"""Live objects of Ray Tune as the calls that would make them.

Read are the attributes that Ray 2.60 keeps. What an object does not keep is derived: the grace
period of ASHA from its lowest rung, a seed from the state that it makes.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

from tune_bridge.dialects.calls import Call, Signature
from tune_bridge.dialects.python_space import same, short
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES
from tune_bridge.dialects.ray_tune.tables import CLASSES
from tune_bridge.errors import UnsupportedError

__all__ = ["bundle_resources", "recall"]


def recall(value: Any, memo: dict[int, Any]) -> Any:
    """Turns a live object into the call that would make it.

    Args:
        value: An object of a class of Ray, or a domain of our own.
        memo: Not needed here: no object of Ray is a node of a graph.

    Returns:
        A `Call`, or `value` itself when the object is of no class that is known here.

    Raises:
        UnsupportedError: It is known, and in a state that no call makes.
    """
    kind = type(value)
    if kind.__name__ in _DOMAIN_CLASSES and kind.__module__ == "ray.tune.search.sample":
        return _domain(value)
    reader = _CLASSES.get(kind.__name__)
    return value if reader is None else reader(value)


# Domains

_DOMAIN_CLASSES = ("Float", "Integer", "Categorical", "Function")

_FUNCTIONS = {
    ("Float", "Uniform"): "uniform",
    ("Float", "LogUniform"): "loguniform",
    ("Float", "Normal"): "randn",
    ("Integer", "Uniform"): "randint",
    ("Integer", "LogUniform"): "lograndint",
}
"""Domain class and base class of its sampler -> function, with a ``q`` before it when quantised."""


def _domain(domain: Any) -> Call:
    kind, sampler = type(domain).__name__, domain.get_sampler()
    if kind == "Function":
        return SIGNATURES["tune.sample_from"].call(domain.func)
    if kind == "Categorical":
        if type(sampler).__name__ == "Grid":
            return SIGNATURES["tune.grid_search"].call(list(domain.categories))
        return SIGNATURES["tune.choice"].call(list(domain.categories))
    quantum: tuple[Any, ...] = ()
    if type(sampler).__name__ == "Quantized":
        quantum, sampler = (sampler.q,), sampler.sampler
    name = _function(kind, type(sampler))  # type: ignore[arg-type]  # mypy takes no type for Hashable
    if name is None:
        raise UnsupportedError(f"a sampler of Ray that is not known: {short(sampler)}")
    bounds = (sampler.mean, sampler.sd) if name == "randn" else (domain.lower, domain.upper)
    return SIGNATURES[f"tune.{'q' if quantum else ''}{name}"].call(*bounds, *quantum)


@functools.cache
def _function(kind: str, sampler: type) -> str | None:
    bases = {base.__name__ for base in sampler.__mro__}
    return next((f for (k, base), f in _FUNCTIONS.items() if k == kind and base in bases), None)


def _law_domain(domain: Any) -> Call:
    from tune_bridge.dialects.ray_tune.domains import own_call

    return own_call(domain.node)


# Searchers, schedulers and stoppers


def _by_table(value: Any) -> Call:
    """An object that keeps its arguments in the attributes that the table names."""
    table = CLASSES[type(value).__name__]
    read = {
        argument.name: getattr(value, argument.attribute)
        for argument in table.arguments
        if argument.attribute and hasattr(value, argument.attribute)
    }
    return _given(SIGNATURES[table.name], **{**read, **_DERIVED.get(table.name, _none)(value)})


def _none(value: Any) -> dict[str, Any]:
    return {}


def _optuna(searcher: Any) -> dict[str, Any]:
    name = searcher._study_name
    sampler = searcher._sampler
    return {
        "points_to_evaluate": searcher._points_to_evaluate or None,
        "study_name": None if name == "optuna" else name,
        "seed": searcher._seed,
        "sampler": sampler,
    }


def _bayesopt(searcher: Any) -> dict[str, Any]:
    utility = searcher.utility
    used = {"kind": utility.kind, "kappa": utility.kappa, "xi": utility.xi}
    # Ray's own default, when nothing is given.
    default = {"kind": "ucb", "kappa": 2.576, "xi": 0.0}
    return {
        "utility_kwargs": None if used == default else used,
        "space": searcher._space or None,
        "points_to_evaluate": searcher._points_to_evaluate or None,
    }


def _nevergrad(searcher: Any) -> dict[str, Any]:
    if searcher._parameters is not None:
        raise UnsupportedError(
            "a Nevergrad optimizer that has its space already",
            path="search_alg.optimizer",
            expected="the optimizer's class, such as ng.optimizers.OnePlusOne",
        )
    return {
        "optimizer_kwargs": searcher._optimizer_kwargs or None,
        "points_to_evaluate": searcher._points_to_evaluate or None,
    }


def _ax(searcher: Any) -> dict[str, Any]:
    given = searcher._ax if not searcher._space else None
    return {"ax_client": given, "space": searcher._space or None}


_DERIVED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "AxSearch": _ax,
    "BayesOptSearch": _bayesopt,
    "NevergradSearch": _nevergrad,
    "OptunaSearch": _optuna,
    "DistributeResources": lambda shares: {
        "increase_by": shares.increase_by or None,
        "reserve_resources": shares.reserve_resources or None,
    },
    "ResourceChangingScheduler": lambda scheduler: {
        "base_scheduler": None
        if type(scheduler._base_scheduler).__name__ == "FIFOScheduler"
        else scheduler._base_scheduler
    },
}
_DERIVED["DistributeResourcesToTopJob"] = _DERIVED["DistributeResources"]
"""Class -> arguments that another form of the attribute says."""


def _given(signature: Signature, **arguments: Any) -> Call:
    """A call with the arguments that are not at their defaults."""
    defaults = signature.signature.parameters
    return Call(
        signature,
        {
            name: value
            for name, value in arguments.items()
            if not same(value, defaults[name].default)
        },
    )


def _is_point(document: Any) -> bool:
    """Whether a trial of HyperOpt's is a point that was given: its own draws are numpy's."""
    values = [value for found in document["misc"]["vals"].values() for value in found]
    return not any(hasattr(value, "dtype") for value in values)


def _hyperopt_search(searcher: Any) -> Call:
    keywords = getattr(searcher.algo, "keywords", {})
    points = searcher._points_to_evaluate
    if isinstance(points, int):
        # Set up already: the points are trials now, last first, and choices are indices.
        documents = searcher._hpopt_trials.trials
        tried = sum(map(_is_point, documents[points:]))
        points = [
            {label: values[0] for label, values in document["misc"]["vals"].items()}
            for document in documents[:points][::-1]
        ]
        points = [{"$labels": point} for point in points]
        if tried:
            points.append({"$tried": tried})
    call = Call(
        SIGNATURES["HyperOptSearch"],
        {
            "n_initial_points": keywords.get("n_startup_jobs"),
            "gamma": keywords.get("gamma"),
            "points_to_evaluate": points or None,
            "random_state_seed": legacy_seed(searcher.rstate),
            "metric": searcher._metric,
            "mode": searcher._mode,
        },
    )
    space = getattr(searcher, "_space", None)
    if space is not None:
        call.arguments["space"] = space
    return call


def legacy_seed(state: Any) -> int | None:
    """The seed of a fresh `RandomState`, or None where the system chose it.

    The first word of MT19937's state is the seed when it is an integer (Matsumoto and Nishimura,
    init_genrand); that the other 623 words follow from it tells it from one that was chosen.
    """
    from numpy.random import RandomState

    _, key, position, *_ = state.get_state()
    seed = int(key[0])
    _, fresh, start, *_ = RandomState(seed).get_state()
    same = position == start and bool((fresh == key).all())
    return seed if same else None


def _basic_variant_generator(searcher: Any) -> Call:
    points = list(searcher._points_to_evaluate)
    return _given(
        SIGNATURES["BasicVariantGenerator"],
        points_to_evaluate=points or None,
        max_concurrent=searcher.max_concurrent,
        constant_grid_search=searcher._constant_grid_search,
        random_state=generator_seed(searcher._random_state._rng),
    )


def generator_seed(generator: Any) -> int | None:
    if generator is None:
        return None
    from numpy.random import default_rng

    bits: Any = getattr(generator, "bit_generator", None)
    seed = getattr(getattr(bits, "seed_seq", None), "entropy", None)
    if isinstance(seed, int) and default_rng(seed).bit_generator.state == bits.state:
        return seed
    raise UnsupportedError(
        "a random generator that no integer seeds",
        path="search_alg.random_state",
        found=short(generator),
        expected="an integer",
    )


def _asha(scheduler: Any) -> Call:
    grace = scheduler._brackets[0]._rungs[-1][0]
    return _given(
        SIGNATURES["AsyncHyperBandScheduler"],
        time_attr=scheduler._time_attr,
        metric=scheduler._metric,
        mode=scheduler._mode,
        max_t=scheduler._max_t,
        grace_period=int(grace) if grace == int(grace) else grace,
        reduction_factor=scheduler._reduction_factor,
        brackets=len(scheduler._brackets),
        stop_last_trials=scheduler._stop_last_trials,
    )


# The Tuner and its parts


def _tuner(tuner: Any) -> Call:
    inner = tuner._local_tuner
    run_config = _dataclass(inner._run_config)
    # A tuner without a name gives itself one: trainable and date.
    stamped = re.fullmatch(r".+_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", run_config.get("name") or "")
    if stamped:
        del run_config.arguments["name"]
    return Call(
        SIGNATURES["tune.Tuner"],
        {
            "trainable": inner.trainable,
            "param_space": inner.param_space,
            "tune_config": inner._tune_config,
            "run_config": run_config,
        },
    )


def _dataclass(config: Any) -> Call:
    """The fields of one of Ray's config classes that differ from those of a fresh one."""
    signature = SIGNATURES[f"tune.{type(config).__name__}"]
    fresh = type(config)()
    fields = (field.name for field in dataclasses.fields(config))
    return Call(
        signature,
        {
            name: getattr(config, name)
            for name in fields
            if name in signature.signature.parameters
            and not same(getattr(config, name), getattr(fresh, name))
        },
    )


def _bundles(factory: Any) -> Call:
    """A placement group, as it was made."""
    # An empty first bundle is taken out when the group is made.
    head: list[dict[str, float]] = [{}] if factory.head_bundle_is_empty else []
    arguments: dict[str, Any] = {"bundles": [*head, *factory.bundles], "strategy": factory.strategy}
    if factory._args:
        arguments["args"] = tuple(factory._args)
    if factory._kwargs:
        arguments["kwargs"] = dict(factory._kwargs)
    return Call(SIGNATURES["tune.PlacementGroupFactory"], arguments)


def bundle_resources(resources: Any) -> dict[str, Any] | None:
    """Tune's resource names of a dict, or of a placement group with one bundle; None for neither.

    A group with several bundles, or with options, is a dict of its arguments: ``bundles``,
    ``strategy``, ``args`` and ``kwargs``.
    """
    if isinstance(resources, dict):
        return resources
    if not isinstance(resources, Call) or resources.name != "tune.PlacementGroupFactory":
        return None
    bundles = resources.get("bundles")
    if not isinstance(bundles, list) or not all(isinstance(item, dict) for item in bundles):
        return None
    more = {key: value for key, value in resources.arguments.items() if key != "bundles" and value}
    if more.get("strategy") == "PACK":
        del more["strategy"]
    if len(bundles) != 1 or more:
        return {"bundles": bundles, **more}
    names = {"CPU": "cpu", "GPU": "gpu", "memory": "memory"}
    found: dict[str, Any] = {}
    for name, amount in bundles[0].items():
        place = found if name in names else found.setdefault("resources", {})
        place[names.get(name, name)] = int(amount) if amount == int(amount) else amount
    return found


_CLASSES: dict[str, Callable[[Any], Call]] = {
    **dict.fromkeys(CLASSES, _by_table),
    "AsyncHyperBandScheduler": _asha,
    "BasicVariantGenerator": _basic_variant_generator,
    "CheckpointConfig": _dataclass,
    "FailureConfig": _dataclass,
    "HyperOptSearch": _hyperopt_search,
    "LawDomain": _law_domain,
    "PlacementGroupFactory": _bundles,
    "RunConfig": _dataclass,
    "SyncConfig": _dataclass,
    "TuneConfig": _dataclass,
    "Tuner": _tuner,
}
"""Class name -> how it is recalled. Subclasses of a user's own have another module, and stay."""
