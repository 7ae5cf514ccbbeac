"""The calls that start a search, by library, and what each says: one table, `SEARCHES`.

A library's own functions are replaced where they are defined, before anybody imports them. What
they are given is read by the dialects; a search that only a space is known of becomes Tune's
nearest searcher, and a note says so.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tune_bridge.cli.intercept import Ended, Recorder, Replacement, Unrun, replace
from tune_bridge.dialects.base import get_dialect
from tune_bridge.errors import SpecError, TuneBridgeError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment, Objective
from tune_bridge.notes import Notes
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.values import EMPTY, Frozen, decode, encode

__all__ = ["SEARCHES", "shim"]


def _captured(make: Callable[..., SweepConfig], what: str) -> Replacement:
    """A function that writes down what `make` says of its arguments."""

    def replacement(recorder: Recorder, original: Any) -> Any:
        def search(*args: Any, **kwargs: Any) -> Any:
            return recorder.capture(lambda: make(*args, **kwargs), what)

        return search

    return replacement


def _answered(value: Any) -> Replacement:
    """A function that does nothing."""
    return lambda recorder, original: lambda *args, **kwargs: value


def _first(recorder: Recorder, original: Any) -> Any:
    """A function that returns its argument."""
    return lambda value, *args, **kwargs: value


def _unrun(what: str) -> Replacement:
    """A property that is a result."""
    return lambda recorder, original: property(lambda self: Unrun(what))


def _recorded(recorder: Recorder, original: Any) -> Any:
    """A recording function of ours, whose sweep counts wherever it is put."""

    def run(*args: Any, **kwargs: Any) -> Any:
        config = original(*args, **kwargs)
        recorder.add(config)
        return config

    return run


# Ray


def _run_experiments(experiments: Any, scheduler: Any = None, **rest: Any) -> SweepConfig:
    names = ("verbose", "progress_reporter", "reuse_actors", "callbacks", "concurrent")
    rest = {name: value for name, value in rest.items() if name not in names and value is not None}
    found = experiments.items() if isinstance(experiments, Mapping) else _named(experiments)
    pairs = list(found)
    if len(pairs) != 1:
        raise SpecError(
            "run_experiments with several experiments, which share one search",
            found=f"{len(pairs)} experiments",
            expected="one",
            hint="call it, or tune.run, once for each",
        )
    name, spec = pairs[0]
    arguments = dict(getattr(spec, "_public_spec", None) or getattr(spec, "spec", spec))
    runnable = arguments.pop("run", None)
    if name is not None:
        arguments.setdefault("name", name)
    if scheduler is not None:
        arguments["scheduler"] = scheduler
    return SweepConfig.from_tune(runnable, **arguments, **rest)


def _with_parameters(recorder: Recorder, original: Any) -> Any:
    """Ray's function, which keeps to itself what it was given, with a note of that."""
    from tune_bridge.dialects.ray_tune.reader import GIVEN

    def with_parameters(trainable: Any, **kwargs: Any) -> Any:
        wrapped = original(trainable, **kwargs)
        setattr(wrapped, GIVEN, {"trainable": trainable, "kwargs": kwargs})
        return wrapped

    return with_parameters


def _named(experiments: Any) -> Iterator[tuple[str | None, Any]]:
    for item in experiments if isinstance(experiments, list | tuple) else [experiments]:
        if isinstance(item, Mapping) and "run" not in item:
            yield from item.items()
        else:
            yield getattr(item, "name", None), item


# HyperOpt


def _fmin(*args: Any, **kwargs: Any) -> SweepConfig:
    from tune_bridge.hyperopt import fmin

    read = get_dialect("hyperopt").read(fmin(*args, **kwargs))
    return SweepConfig.from_experiment(read.value, notes=read.notes)


# W&B


def _sweep(
    sweep: Any, entity: str | None = None, project: str | None = None, prior_runs: Any = None
) -> SweepConfig:
    config = sweep() if callable(sweep) else sweep
    if not isinstance(config, Mapping):
        raise SpecError("wandb.sweep without a config", found=repr(config)[:60], expected="a dict")
    if not isinstance(config, SweepConfig):
        plain = decode(encode(dict(config)))
        notes = get_dialect("sweep").read(plain).notes
        config = SweepConfig(plain)
        config._notes = notes
    for name, value in (("entity", entity), ("project", project)):
        if value is not None:
            config.setdefault(name, value)
    return config


def _wandb(recorder: Recorder) -> types.ModuleType:
    """What a file needs of W&B's client before it starts a sweep, where it is not installed."""
    module = types.ModuleType("wandb", "W&B's client, which is not installed here.")
    names = {name.partition(".")[2]: make for name, make in _WANDB.items()}
    vars(module).update({name: make(recorder, None) for name, make in names.items()})
    for name in ("init", "log", "finish", "save", "watch", "define_metric", "config", "run"):
        setattr(module, name, Unrun(f"wandb.{name}"))
    module.__path__ = []
    return module


_WANDB: dict[str, Replacement] = {
    "wandb.sweep": _captured(_sweep, "wandb.sweep"),
    "wandb.controller": lambda recorder, original: (
        lambda config=None, **kwargs: (
            _captured(_sweep, "wandb.controller")(recorder, original)(config, **kwargs)
            if isinstance(config, Mapping)
            else Unrun("wandb.controller")
        )
    ),
    "wandb.agent": _answered(None),
    "wandb.login": _answered(True),
}


def _suggest(name: str) -> types.ModuleType | None:
    """The searchers as they were called before Ray 2.0, with the arguments that they had."""
    import importlib

    rest = name.removeprefix("ray.tune.suggest").replace(".suggestion", "")
    try:
        twin = importlib.import_module(f"tune_bridge.tune.suggest{rest}")
    except ModuleNotFoundError:
        return None
    made = types.ModuleType(name, twin.__doc__)
    searchers = {n: getattr(twin, n) for n in getattr(twin, "__all__", dir(twin))}
    vars(made).update({n: value for n, value in searchers.items() if not n.startswith("_")})
    made.__path__ = []
    return made


def shim(name: str, recorder: Recorder) -> types.ModuleType | None:
    """A module that old files import and nobody has any more; None for every other name."""
    if name == "wandb":
        return _wandb(recorder)
    if f"{name}.".startswith("ray.tune.suggest."):
        return _suggest(name)
    if not f"{name}.".startswith("wandb.sweeps."):
        return None
    if name == "wandb.sweeps":
        module = types.ModuleType(name, "A package of wandb 0.8 to 0.10.")
        module.__path__ = []
        return module
    from tune_bridge import legacy

    made = legacy.modules()
    for found in made.values():
        if hasattr(found, "run"):
            replace(found, {"run": _recorded}, recorder)
    return made.get(name)


# Others


def _nearest(
    read: Any, searcher: Algorithm, metric: str, goal: str, samples: Any, **rest: Any
) -> SweepConfig:
    """A search of a library of which the space is read, and the rest is given."""
    notes = Notes(read.notes)
    if searcher.kind not in (RANDOM.kind, "bayes"):
        notes.exact("searcher", f"{searcher.kind} of Ray Tune", "it is made of the same library")
    rest = {name: value for name, value in rest.items() if value is not None}
    changes: dict[str, Any] = {
        "objective": Objective(metric, "maximize" if goal == "maximize" else "minimize"),
        "searcher": searcher,
        "num_samples": samples,
    }
    return SweepConfig.from_experiment(read.value.replace(**changes, **rest), notes=notes)


def _optimize(
    study: Any,
    func: Any,
    n_trials: int | None = None,
    timeout: float | None = None,
    n_jobs: int = 1,
    *args: Any,
    **kwargs: Any,
) -> SweepConfig:
    if len(study.directions) != 1:
        raise SpecError(
            "a study with several objectives", found=f"{len(study.directions)}", expected="one"
        )
    ends: dict[str, None] = {}
    read = get_dialect("optuna").read(_suggestions(func, ends))
    for end in ends:
        read.notes.exact(
            "objective",
            "its suggestions end where it failed",
            f"{end}; nothing is trained here, and what it would suggest later is not seen",
        )
    sampler = type(study.sampler).__name__
    if sampler not in ("TPESampler", "RandomSampler"):
        read.notes.approximated(
            "sampler", f"{sampler} as TPESampler", "Ray's OptunaSearch is given none by a file"
        )
    if type(study.pruner).__name__ not in ("MedianPruner", "NopPruner"):
        read.notes.approximated(
            "pruner", "left out", "a scheduler of Ray, or early_terminate, says when trials stop"
        )
    budget = {} if timeout is None else {"tune": {"time_budget_s": timeout}}
    extras = {**read.value.extras.value, **budget}
    name = str(study.study_name)
    return _nearest(
        read,
        RANDOM if sampler == "RandomSampler" else Algorithm("OptunaSearch"),
        "value",
        study.direction.name.lower(),
        n_trials,
        max_concurrent=n_jobs if n_jobs > 1 else None,
        name=None if name.startswith("no-name-") else name,
        points=_enqueued(study),
        extras=Frozen(extras) if extras else EMPTY,
    )


def _suggestions(objective: Callable[[Any], Any], ends: dict[str, None]) -> Callable[[Any], None]:
    """An objective as far as it gets without what it trains with.

    Args:
        objective: Suggests, then trains.
        ends: Where the errors go that ended it after its first suggestion.
    """

    def space(trial: Any) -> None:
        try:
            objective(trial)
        except TuneBridgeError:
            raise
        except (Exception, Ended) as error:
            if not trial.params:
                raise
            if type(error).__name__ != "TrialPruned":
                ends[f"{type(error).__name__}: {error}"[:300]] = None

    space.__wrapped__ = objective  # type: ignore[attr-defined]  # its source says where it trains
    return space


def _enqueued(study: Any) -> tuple[Frozen, ...]:
    waiting = [trial for trial in study.trials if trial.state.name == "WAITING"]
    points = (trial.system_attrs.get("fixed_params", {}) for trial in waiting)
    return tuple(_point(point, "/") for point in points if point)


def _point(flat: Mapping[str, Any], separator: str) -> Frozen:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, last = name.split(separator)
        place = nested
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return Frozen(nested, "points")


def _skopt(kind: str) -> Replacement:
    def replacement(recorder: Recorder, original: Any) -> Any:
        signature = inspect.signature(original)

        def minimize(*args: Any, **kwargs: Any) -> SweepConfig:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return _minimize(kind, bound.arguments)

        return _captured(minimize, f"{kind}_minimize")(recorder, original)

    return replacement


def _minimize(kind: str, given: dict[str, Any]) -> SweepConfig:
    read = get_dialect("skopt").read(given["dimensions"])
    if kind != "dummy":
        how = (
            "its acquisition"
            if kind == "gp"
            else "W&B's is a Gaussian process, and its acquisition"
        )
        read.notes.approximated("searcher", f"{kind}_minimize as bayes", f"{how} is W&B's own")
    seed = given["random_state"]
    return _nearest(
        read,
        RANDOM if kind == "dummy" else Algorithm("bayes"),
        "loss",
        "minimize",
        given["n_calls"],
        seed=seed if isinstance(seed, int) else None,
        points=_points(given["x0"], read.value),
    )


def _points(start: Any, experiment: Experiment) -> tuple[Frozen, ...]:
    if not start:
        return ()
    rows = start if isinstance(start[0], list | tuple) else [start]
    names = list(experiment.searched)
    return tuple(_point(dict(zip(names, row, strict=False)), ".") for row in rows)


def _maximize(
    optimizer: Any, init_points: int = 5, n_iter: int = 25, *args: Any, **kwargs: Any
) -> SweepConfig:
    from tune_bridge.dialects.ray_tune.live import legacy_seed

    read = get_dialect("bayesopt").read(optimizer)
    steps = {} if init_points == 10 else {"random_search_steps": init_points}
    return _nearest(
        read,
        Algorithm.of("BayesOptSearch", **steps),
        "target",
        "maximize",
        init_points + n_iter,
        seed=legacy_seed(optimizer._random_state),
    )


SEARCHES: dict[str, dict[str, Replacement]] = {
    "ray.tune.tune": {
        "run": _captured(SweepConfig.from_tune, "tune.run"),
        "run_experiments": _captured(_run_experiments, "tune.run_experiments"),
    },
    "ray.tune.tuner": {
        "Tuner.fit": lambda recorder, original: (
            lambda tuner: recorder.capture(lambda: SweepConfig.from_tuner(tuner), "Tuner.fit")
        ),
    },
    "ray.tune.trainable.util": {"with_parameters": _with_parameters},
    "ray._private.worker": {
        "init": _answered(Unrun("ray.init")),
        "shutdown": _answered(None),
        "put": _first,
        "get": _first,
    },
    "hyperopt.fmin": {"fmin": _captured(_fmin, "fmin")},
    "wandb.sdk.wandb_sweep": {
        "sweep": _WANDB["wandb.sweep"],
        "controller": _WANDB["wandb.controller"],
    },
    "wandb.sdk.wandb_login": {"login": _WANDB["wandb.login"]},
    "wandb.wandb_agent": {"agent": _WANDB["wandb.agent"]},
    "optuna.study.study": {
        "Study.optimize": lambda recorder, original: (
            lambda study, *args, **kwargs: recorder.capture(
                lambda: _optimize(study, *args, **kwargs), "Study.optimize"
            )
        ),
        **{
            f"Study.{name}": _unrun(f"study.{name}")
            for name in ("best_trial", "best_params", "best_value", "best_trials")
        },
    },
    "skopt.optimizer.gp": {"gp_minimize": _skopt("gp")},
    "skopt.optimizer.forest": {"forest_minimize": _skopt("forest")},
    "skopt.optimizer.gbrt": {"gbrt_minimize": _skopt("gbrt")},
    "skopt.optimizer.dummy": {"dummy_minimize": _skopt("dummy")},
    "bayes_opt.bayesian_optimization": {
        "BayesianOptimization.maximize": lambda recorder, original: (
            lambda optimizer, *args, **kwargs: recorder.capture(
                lambda: _maximize(optimizer, *args, **kwargs), "maximize"
            )
        ),
        "BayesianOptimization.max": _unrun("optimizer.max"),
    },
    "tune_bridge.tune": {"run": _recorded},
    "tune_bridge.legacy": {"tune.run": _recorded},
}
"""Module -> attribute -> what takes its place."""
