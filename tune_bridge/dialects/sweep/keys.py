"""The top-level keys of a sweep and the attributes of an experiment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tune_bridge import laws
from tune_bridge.dialects.base import suggest
from tune_bridge.dialects.sweep.algorithms import (
    SEARCHERS,
    WHY_BAYES,
    thinking,
    write_early_terminate,
)
from tune_bridge.dialects.sweep.distributions import read_group, write_parameter
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment, Objective
from tune_bridge.notes import Notes
from tune_bridge.space import Choice, check_executable
from tune_bridge.values import EMPTY, Frozen

__all__ = [
    "EARLY_TERMINATE",
    "KNOWN",
    "METHODS",
    "METRIC",
    "grid_size",
    "read_native",
    "write_metric",
    "write_native",
]

METHODS: dict[str, Algorithm] = {
    "random": RANDOM,
    "grid": RANDOM,
    "bayes": Algorithm("bayes"),
    "custom": Algorithm("custom"),
}
"""W&B's method -> searcher."""

KEPT = (
    "metrics", "scheduler", "job", "image_uri", "apiVersion", "kind", "settings",
)  # fmt: skip
"""Keys that W&B knows and an experiment has no attribute for: kept verbatim."""

_TEXT = ("program", "name", "description", "project", "entity")


# Reading ------------------------------------------------------------------------------------------


def read_native(config: Mapping[str, Any], notes: Notes) -> Experiment:
    """What the native keys of a sweep say.

    Raises:
        SpecError: Something is malformed; the path names it.
    """
    method = _read_method(config)
    grid = method == "grid"
    space = read_group(_required(config, "parameters"), "parameters", grid=grid)
    check_executable(space, "parameters")
    cap = _read_run_cap(config)
    extras = {key: config[key] for key in config if key not in _READ}
    for key in extras:
        if key not in KEPT:
            notes.exact(str(key), "kept as it is", "not a key that W&B knows")
    controller = _read_controller(config)
    if controller:
        extras["controller"] = controller
    return Experiment(
        space=space,
        command=_read_command(config),
        objective=_read_metric(config, method),
        searcher=METHODS[method],
        scheduler=_read_early_terminate(config),
        num_samples=1 if grid else cap,
        run_cap=cap if grid else None,
        extras=Frozen({"sweep": extras}) if extras else EMPTY,
        program=_text(config, "program"),
        name=_text(config, "name"),
        description=_text(config, "description"),
        project=_text(config, "project"),
        entity=_text(config, "entity"),
    )


_READ = (
    "method", "parameters", "run_cap", "controller", "command", "metric", "early_terminate", *_TEXT,
)  # fmt: skip
KNOWN = (*_READ, *KEPT)
"""Every key that W&B knows."""
METRIC = ("name", "goal", "target", "impute", "impute_while_running")
"""Keys of ``metric``."""
EARLY_TERMINATE = ("type", "min_iter", "max_iter", "s", "eta", "strict")
"""Keys of ``early_terminate``."""


def _required(config: Mapping[str, Any], key: str) -> Any:
    if key not in config:
        raise SpecError(
            f"a sweep without {key}",
            path=key,
            found=", ".join(map(str, config)) or "nothing",
            expected=key,
            hint=next((f"is {k!r} meant?" for k in config if suggest(str(k), [key])), ""),
        )
    return config[key]


def _text(config: Mapping[str, Any], key: str) -> str | None:
    value = config.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise SpecError(f"{key} is not text", path=key, found=repr(value), expected="text")
    return value


def _read_method(config: Mapping[str, Any]) -> str:
    method = _required(config, "method")
    if not isinstance(method, str) or method not in METHODS:
        raise SpecError(
            "unknown method",
            path="method",
            found=repr(method),
            expected=", ".join(METHODS),
            hint=suggest(str(method), list(METHODS)),
        )
    return method


def _whole(value: Any, path: str, low: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise SpecError(
            "not a whole number", path=path, found=repr(value), expected=f"an integer >= {low}"
        )
    if value < low:
        raise SpecError("too small", path=path, found=repr(value), expected=f"an integer >= {low}")
    return int(value)


def _read_run_cap(config: Mapping[str, Any]) -> int | None:
    value = config.get("run_cap")
    return None if value is None else _whole(value, "run_cap")


def _read_command(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    command = config.get("command")
    if command is None:
        return None
    if not isinstance(command, list):
        raise SpecError(
            "command is not a list",
            path="command",
            found=repr(command)[:60],
            expected="a list of words and macros",
            hint="W&B ignores a command that is text; write one list item per word",
        )
    for index, item in enumerate(command):
        if isinstance(item, Mapping | list):
            raise SpecError(
                "a word of the command is not text",
                path=f"command[{index}]",
                found=repr(item)[:60],
                hint="put words with a colon or brackets in quotes",
            )
    return tuple(str(item) for item in command)


def _read_metric(config: Mapping[str, Any], method: str) -> Objective | None:
    metric = config.get("metric")
    if metric is None:
        if method == "bayes":
            raise SpecError(
                "method bayes needs a metric",
                path="metric",
                expected="metric: {name: ..., goal: minimize}",
            )
        return None
    if not isinstance(metric, Mapping) or not isinstance(metric.get("name"), str):
        raise SpecError(
            "metric has no name",
            path="metric",
            found=repr(metric)[:60],
            expected="{name: ..., goal: minimize or maximize}",
        )
    goal = metric.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise SpecError(
            "unknown goal",
            path="metric.goal",
            found=repr(goal),
            expected="minimize or maximize",
            hint=suggest(str(goal), ["minimize", "maximize"]),
        )
    target = metric.get("target")
    if target is not None and (
        isinstance(target, bool) or not isinstance(target, int | float) or math.isnan(target)
    ):
        raise SpecError(
            "target is not a number", path="metric.target", found=repr(target), expected="a number"
        )
    options = {key: metric[key] for key in metric if key not in ("name", "goal", "target")}
    return Objective(
        name=metric["name"],
        goal=goal,
        target=None if target is None else float(target),
        options=Frozen(options, "metric"),
    )


def _read_early_terminate(config: Mapping[str, Any]) -> Algorithm | None:
    spec = config.get("early_terminate")
    if spec is None:
        return None
    path = "early_terminate"
    if not isinstance(spec, Mapping):
        raise SpecError("not a mapping", path=path, found=repr(spec)[:40])
    if spec.get("type") != "hyperband":
        raise SpecError(
            "unknown type", path=f"{path}.type", found=repr(spec.get("type")), expected="hyperband"
        )
    for key in spec:
        if key not in EARLY_TERMINATE:
            raise SpecError(
                f"hyperband has no key {key!r}",
                path=f"{path}.{key}",
                expected=", ".join(EARLY_TERMINATE),
                hint=suggest(str(key), EARLY_TERMINATE),
            )
    if "min_iter" not in spec and not ("max_iter" in spec and "s" in spec):
        raise SpecError(
            "hyperband needs min_iter, or max_iter and s",
            path=path,
            found=", ".join(map(str, spec)),
        )
    args: dict[str, Any] = {
        key: _whole(spec[key], f"{path}.{key}")
        for key in ("min_iter", "max_iter", "s")
        if key in spec
    }
    if "eta" in spec:
        eta = spec["eta"]
        if isinstance(eta, bool) or not isinstance(eta, int | float) or eta <= 1:
            raise SpecError("eta is not above 1", path=f"{path}.eta", found=repr(eta))
        args["eta"] = eta
    if "strict" in spec:
        if not isinstance(spec["strict"], bool):
            raise SpecError(
                "strict is not true or false", path=f"{path}.strict", found=repr(spec["strict"])
            )
        args["strict"] = spec["strict"]
    return Algorithm("hyperband", Frozen(args))


def _read_controller(config: Mapping[str, Any]) -> dict[str, Any]:
    controller = config.get("controller")
    if controller is None:
        return {}
    if not isinstance(controller, Mapping) or controller.get("type") not in ("cloud", "local"):
        raise SpecError(
            "controller has no type",
            path="controller",
            found=repr(controller)[:40],
            expected="type: cloud or local",
        )
    rest = {key: controller[key] for key in controller if key != "tune"}
    # `type: cloud` is the default and what the writer adds beside a carry.
    return {} if rest == {"type": "cloud"} else rest


# Writing ------------------------------------------------------------------------------------------


def write_native(experiment: Experiment, notes: Notes) -> dict[str, Any]:
    """The native keys that come nearest to an experiment: a valid sweep by themselves.

    Raises:
        SpecError: W&B forbids something that the experiment has, such as a parameter's name.
        UnsupportedError: There is no sweep near it.
    """
    check_executable(experiment.space, "parameters")
    own = experiment.extras.value.get("sweep", {})
    config: dict[str, Any] = {}
    for key in _TEXT:
        if getattr(experiment, key) is not None:
            config[key] = getattr(experiment, key)
    if experiment.command is not None:
        config["command"] = list(experiment.command)
    config["method"] = _write_method(experiment, notes)
    if experiment.objective is not None:
        config["metric"] = write_metric(experiment.objective)
    config["parameters"] = _write_parameters(experiment, notes)
    if experiment.scheduler is not None:
        rungs = write_early_terminate(experiment, notes)
        if rungs is not None:
            config["early_terminate"] = rungs
    cap = _run_cap(experiment, notes)
    if cap is not None:
        config["run_cap"] = cap
    config.update(own)
    _note_rest(experiment, notes)
    return config


def write_metric(objective: Objective) -> dict[str, Any]:
    """W&B's ``metric``: name, goal, target and what else stands there."""
    metric: dict[str, Any] = {"name": objective.name, "goal": objective.goal}
    if objective.target is not None:
        metric["target"] = objective.target
    return {**metric, **objective.options.value}


def _write_method(experiment: Experiment, notes: Notes) -> str:
    kind = thinking(experiment.searcher, notes)
    method = SEARCHERS.get(kind)
    if method is None:
        raise UnsupportedError(
            "a searcher that sweeps do not know",
            path="search_alg",
            found=kind,
            expected=", ".join(SEARCHERS),
        )
    if method == "bayes" and experiment.objective is None:
        raise SpecError(
            f"{kind} without a metric",
            path="metric",
            expected="metric and mode",
            hint='give the searcher metric="..." and mode="min" or "max"',
        )
    if kind in WHY_BAYES:
        notes.carried(
            "method",
            f"bayes is the nearest method to {kind}",
            f"W&B's own bayes is a Gaussian process, {WHY_BAYES[kind]}; "
            f"the carry says {kind} again",
        )
    if kind != "BasicVariantGenerator":
        return method
    inside = [
        path for path, place in experiment.conditional.items() if getattr(place.node, "grid", False)
    ]
    if inside:
        notes.carried(
            f"parameters.{inside[0]}",
            "a grid inside of an option is enumerated with every option"
            if experiment.is_grid
            else "a grid inside of an option is sampled by W&B's random method",
            "W&B knows no conditions; tune-bridge runs the grid where its option is drawn",
        )
    grids = [path for path, node in experiment.searched.items() if node.grid]
    if experiment.is_grid:
        return "grid"
    if grids:
        notes.carried(
            f"parameters.{grids[0]}",
            "a grid beside random parameters is sampled by W&B's random method",
            "no method of W&B mixes them; tune-bridge runs the whole grid for every sample",
        )
    return method


def _write_parameters(experiment: Experiment, notes: Notes) -> dict[str, Any]:
    if not experiment.space.items:
        raise SpecError(
            "a sweep without parameters", path="parameters", hint="give config= or space= something"
        )
    parameters: dict[str, Any] = write_parameter(experiment.space, "parameters", notes)[
        "parameters"
    ]
    for path, node in experiment.searched.items():
        if node.label is not None:
            notes.exact(f"parameters.{path}", f"HyperOpt's label {node.label!r} is carried")
        if (
            isinstance(node, Choice)
            and node.weights is not None
            and experiment.searcher.kind == "bayes"
            and not (node.plain and all(isinstance(v, int | float) for v in node.values()))
        ):
            notes.approximated(
                f"parameters.{path}",
                "W&B's bayes needs numbers among weighted values",
                "its encoding of them breaks with other values",
            )
    return parameters


def grid_size(experiment: Experiment) -> int:
    """The number of cells of all grids in the space, the most that a draw meets; 1 without any."""
    return laws.grid_cells(experiment.space)


def _run_cap(experiment: Experiment, notes: Notes) -> int | None:
    samples = experiment.num_samples
    if thinking(experiment.searcher) == RANDOM.kind and experiment.is_grid:
        if samples != 1:
            times = "without end" if samples is None else f"{samples} times"
            notes.carried("num_samples", "W&B's grid runs once", f"Tune repeats it {times}")
        return experiment.run_cap
    total = None if samples is None else samples * grid_size(experiment)
    caps = [cap for cap in (total, experiment.run_cap) if cap is not None]
    return min(caps, default=None)


_CARRIED_ONLY = {
    "trainable": ("trainable", "a sweep starts programs; agents take a function by hand"),
    "stop": ("stop", "W&B has no stop criteria; tune-bridge stops at them"),
    "points": ("points_to_evaluate", "W&B has no initial points; tune-bridge runs them first"),
    "seed": ("seed", "W&B's methods take no seed; tune-bridge's searcher does"),
    "max_concurrent": ("max_concurrent_trials", "W&B runs as many as there are agents"),
    "resources": ("resources_per_trial", "W&B's agents do not place runs; Ray does"),
}
"""Attribute -> its name in Tune, and why no native key says it."""


def _note_rest(experiment: Experiment, notes: Notes) -> None:
    if experiment.root is not None:
        notes.carried(
            f"parameters.{experiment.root}",
            "a space that is no mapping, under a name",
            "W&B's configurations are mappings; tune_bridge.fold(config, sweep) gives the value",
        )
    for attribute, (path, why) in _CARRIED_ONLY.items():
        if getattr(experiment, attribute):
            notes.carried(path, "in the carry only", why)
    for namespace in experiment.extras.value:
        if namespace != "sweep":
            for key in experiment.extras.value[namespace]:
                notes.carried(str(key), "in the carry only", f"an argument of {namespace} alone")
