"""From an experiment to a call of ``tune.run``."""

from __future__ import annotations

import re
from typing import Any

from tune_bridge.dialects.base import suggest
from tune_bridge.dialects.calls import Call, Signature
from tune_bridge.dialects.hyperopt.points import to_labels
from tune_bridge.dialects.hyperopt.writer import write_space
from tune_bridge.dialects.python_space import join, short
from tune_bridge.dialects.ray_tune.algorithms import innermost, write_scheduler, write_searcher
from tune_bridge.dialects.ray_tune.carried import revive
from tune_bridge.dialects.ray_tune.domains import has_partner, write_config
from tune_bridge.dialects.ray_tune.reader import PARAMETERS, RECORDS, STOPPER
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES
from tune_bridge.dialects.references import reference
from tune_bridge.dialects.sweep.keys import grid_size
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.experiment import RANDOM, Experiment
from tune_bridge.laws import SAMPLE_FROM
from tune_bridge.notes import Notes
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Integers,
    Node,
    Operation,
    Parameter,
    Sequence,
    check_executable,
    walk,
)

__all__ = ["trainable_signature", "write_run"]

_UNSAID = (
    ("command", "Tune starts a trainable; tune_bridge's own runner uses the command"),
    ("description", "Tune keeps no description"),
    ("project", "it belongs to W&B"),
    ("entity", "it belongs to W&B"),
    ("root", "Tune's configurations are mappings; the value stands under its one name"),
)


def write_run(experiment: Experiment, notes: Notes) -> Call:
    """Writes an experiment as a call of ``tune.run``.

    Args:
        experiment: What to search.
        notes: Where remarks go.

    Raises:
        SpecError: A mapping in the space that Ray would execute.
        UnsupportedError: A searcher or scheduler that is not supported yet, or that cannot search
            this space.
    """
    check_executable(experiment.space)
    arguments: dict[str, Any] = {}
    runnable = experiment.program or trainable_signature(experiment.trainable)
    if runnable is not None:
        arguments["run_or_experiment"] = _with_parameters(experiment, runnable)
    arguments |= _search(experiment, notes)
    arguments |= _samples(experiment, notes)
    if experiment.stop:
        stop = experiment.stop.value
        arguments["stop"] = revive(stop[STOPPER], "stop") if set(stop) == {STOPPER} else stop
    if experiment.resources:
        arguments["resources_per_trial"] = _resources(experiment.resources.value)
    if experiment.name is not None:
        arguments["name"] = experiment.name
    arguments |= _extras(experiment, notes)
    for name, why in _UNSAID:
        if getattr(experiment, name):
            notes.approximated(name, "left out", why)
    return Call(SIGNATURES["tune.run"], arguments)


def trainable_signature(trainable: str | None) -> Signature | str | None:
    """The importable thing that ``module:qualname`` names; a registered name stays a string."""
    if trainable is None or ":" not in trainable:
        return trainable
    return reference(trainable, "trainable")


def _with_parameters(experiment: Experiment, runnable: Any) -> Any:
    """The trainable, called with what is kept for it."""
    kept = _own_extras(experiment).get(PARAMETERS)
    if not kept:
        return runnable
    if not isinstance(kept, dict) or not all(str(name).isidentifier() for name in kept):
        raise SpecError("arguments of a trainable", path=f"extras.tune.{PARAMETERS}")
    given = {name: revive(value, f"extras.tune.{PARAMETERS}") for name, value in kept.items()}
    return SIGNATURES["tune.with_parameters"].call(runnable, **given)


def _own_extras(experiment: Experiment) -> dict[str, Any]:
    extras = experiment.extras.value.get("tune", {})
    if not isinstance(extras, dict):
        raise SpecError("extras of Ray", path="extras.tune", expected="arguments of tune.run")
    return extras


def _resources(resources: dict[str, Any]) -> Any:
    """Amounts by name, or the placement group that they stand for."""
    if "bundles" not in resources:
        return resources
    signature = SIGNATURES["tune.PlacementGroupFactory"]
    _known(signature, resources, "resources_per_trial")
    return Call(signature, resources)


def _search(experiment: Experiment, notes: Notes) -> dict[str, Any]:
    """Config, searcher, scheduler, metric and mode."""
    _check_nesting(experiment)
    scheduler = write_scheduler(experiment.scheduler, notes)
    target = _target(experiment, scheduler, notes)
    points = [point.value for point in experiment.points]
    found: dict[str, Any] = {}
    held: dict[str, Any] = {}
    if _in_searcher(experiment):
        searched, constants = split(experiment.space)
        if constants.items:
            found["config"] = write_config(constants, notes)
        held = {"space": write_space(searched, notes), **target}
        if scheduler is not None:
            found |= target
        points = [to_labels(point, experiment.space, values_on_top=True) for point in points]
        if experiment.space_in == "config":
            notes.exact(
                "search_alg.space",
                "the space is given to the searcher",
                "HyperOpt has these laws, ray.tune or the way between them has not",
            )
    else:
        if experiment.space.items:
            found["config"] = write_config(experiment.space, notes)
        found |= target
    if points:
        held["points_to_evaluate"] = points
    searcher, limit = write_searcher(experiment, notes, **held)
    if searcher is not None:
        found["search_alg"] = searcher
    if scheduler is not None:
        found["scheduler"] = scheduler
    if limit is not None:
        found["max_concurrent_trials"] = limit
    return found


def _target(experiment: Experiment, scheduler: Call | None, notes: Notes) -> dict[str, Any]:
    """Metric and mode of the whole search."""
    goal = experiment.objective
    if goal is None:
        return {}
    _unsaid_goal(experiment, notes)
    target = {"metric": goal.name, "mode": goal.mode}
    if "metric" not in experiment.searcher.args.value:
        return target
    # Ray puts the metric of tune.run in the place of all that the searcher has.
    if scheduler is not None:
        scheduler.arguments |= target
    return {}


def _unsaid_goal(experiment: Experiment, notes: Notes) -> None:
    assert experiment.objective is not None
    if experiment.objective.target is not None:
        notes.approximated(
            "objective.target",
            "left out",
            "Tune stops a trial at a value, not the whole search",
            f'stop={{"{experiment.objective.name}": ...}} stops each trial that gets there',
        )
    if experiment.objective.options:
        notes.approximated("objective.options", "left out", "they belong to W&B's metric")


def _in_searcher(experiment: Experiment) -> bool:
    """Whether the searcher is given the space.

    HyperOptSearch converts a config in its own way: it knows Ray's domains only, and moves the ends
    of integer ranges. A space that was not Tune's to begin with, or has other laws, is given to it
    as ``hp`` parameters, which have the laws that are asked for.
    """
    if innermost(experiment.searcher).kind not in ("HyperOptSearch", "bayes"):
        return False
    searched = experiment.searched
    if not searched:
        return False
    if experiment.space_in == "searcher":
        return True
    nodes = [place.node for place in walk(experiment.space)]
    parts = [node for node in nodes if isinstance(node, Parameter | Choice)]
    if any(isinstance(node, Operation) for node in nodes):
        return True
    if any(node.grid or not has_partner(node) or node.label for node in parts):
        return True
    if experiment.is_nested and (experiment.points or not _converts(experiment.space)):
        return True
    return experiment.searcher.kind == "bayes" and any(map(_moved, searched.values()))


def _moved(node: Node) -> bool:
    """Whether HyperOptSearch's conversion of a config changes the law or the type of the values."""
    if isinstance(node, Parameter):
        return isinstance(node.distribution, Integers)
    if isinstance(node, Choice):
        return any(isinstance(value, list | dict | tuple) for value in node.values())
    return isinstance(node, Sequence)


def _converts(space: Group) -> bool:
    """Whether HyperOptSearch can convert the conditions of a config.

    Ray labels a parameter by the names above it without the option's number, so that a name in two
    options is a ``DuplicateLabel``, and it leaves the domains in a list inside of an option as they
    are.
    """
    places = [place for place in walk(space) if place.conditions]
    names = [
        re.sub(r"\[\d+\]", "", place.path)
        for place in places
        if isinstance(place.node, Parameter | Choice)
    ]
    weighted = any(
        isinstance(place.node, Choice) and not place.node.plain and place.node.weights is not None
        for place in walk(space)
    )
    lists = any(isinstance(place.node, Sequence) for place in places)
    return len(set(names)) == len(names) and not weighted and not lists


_NESTING = ("HyperOptSearch", "BasicVariantGenerator", "bayes")
"""Searchers that draw what an option or a list holds; the others hand it out undrawn, or fail."""


def _check_nesting(experiment: Experiment) -> None:
    """Refuses conditions where Ray would hand out domains instead of values, or fail.

    Raises:
        UnsupportedError: Naming the place.
    """
    kind = innermost(experiment.searcher).kind
    _check_shared(experiment, kind)
    for place in walk(experiment.space):
        function = isinstance(place.node, Operation) and place.node.name == SAMPLE_FROM
        if function and kind != RANDOM.kind:
            raise UnsupportedError(
                f"Ray's {kind} takes no tune.sample_from",
                path=place.path,
                expected="random search",
                hint="compute the value in the program",
            )
        nested = isinstance(place.node, Sequence | Operation)
        nested = nested or (isinstance(place.node, Choice) and not place.node.plain)
        if nested and kind not in _NESTING:
            raise UnsupportedError(
                f"Ray's {kind} cannot search {_what(place.node)}",
                path=place.path,
                expected="HyperOptSearch, or random search",
                hint="give each parameter a name of its own in the space",
            )
        nested = nested and isinstance(place.node, Choice)
        if nested and experiment.points and kind == "BasicVariantGenerator":
            _check_points(experiment, place.path)


def _check_shared(experiment: Experiment, kind: str) -> None:
    """Refuses one draw for several places where Ray would draw each of them."""
    if kind in ("HyperOptSearch", "bayes"):
        return
    first: dict[str | None, str] = {}
    for place in walk(experiment.space):
        node = place.node
        if not isinstance(node, Parameter | Choice) or not node.shared:
            continue
        if node.label in first:
            raise UnsupportedError(
                f"one draw for {first[node.label]} and here, where Ray's {kind} draws twice",
                path=place.path,
                found=f"the label {node.label!r} twice",
                expected="HyperOptSearch, which draws it once",
                hint="search with HyperOptSearch, or at random by agents of tune-bridge, which "
                "take the sweep as it is; or take the value from the other name in the program",
            )
        first[node.label] = place.path


def _check_points(experiment: Experiment, path: str) -> None:
    """Ray's generator takes a plain option in a point, and ends with a TypeError at a mapping."""
    for index, point in enumerate(experiment.points):
        value = point.value
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, dict | list | tuple):
            raise UnsupportedError(
                "random search of Ray takes no initial point inside of a condition",
                path=f"points_to_evaluate[{index}].{path}",
                found=short(value),
                hint="leave it out of the point, or search with HyperOptSearch",
            )


def _what(node: Node) -> str:
    if isinstance(node, Operation):
        return "an operation on parameters"
    return f"a {node.kind} of parameters" if isinstance(node, Sequence) else "a condition"


def split(space: Group) -> tuple[Group, Group]:
    """What is searched, and the constants, each in its place."""
    searched: list[tuple[str, Node]] = []
    constants: list[tuple[str, Node]] = []
    for name, node in space.items:
        if isinstance(node, Group):
            inner, outer = split(node)
            if inner.items:
                searched.append((name, inner))
            if outer.items:
                constants.append((name, outer))
        else:
            (constants if isinstance(node, Constant) else searched).append((name, node))
    return Group(tuple(searched)), Group(tuple(constants))


def _samples(experiment: Experiment, notes: Notes) -> dict[str, Any]:
    number, cap = experiment.num_samples, experiment.run_cap
    if cap is not None:
        cells = grid_size(experiment)
        if cells == 1:
            number = cap if number is None else min(number, cap)
        elif number is None or number * cells > cap:
            notes.lost(
                "run_cap",
                f"no more than {cap} runs",
                "Tune always runs the whole grid",
                "make the grid smaller, or search at random",
            )
    if number == 1:
        return {}
    return {"num_samples": -1 if number is None else number}


def _extras(experiment: Experiment, notes: Notes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for notation in experiment.extras.value:
        if notation != "tune":
            notes.approximated(
                f"extras.{notation}", "left out", f"they belong to another notation, {notation}"
            )
            continue
        for name, value in _own_extras(experiment).items():
            if name == PARAMETERS:
                continue
            record = RECORDS.get(name)
            _known(SIGNATURES["tune.run"], {name: value}, "extras.tune")
            if record is not None:
                _known(SIGNATURES[record], value, f"extras.tune.{name}")
            kept = revive(value, f"extras.tune.{name}")
            found[name] = kept if record is None else SIGNATURES[record].call(**kept)
    return found


def _known(signature: Signature, arguments: Any, path: str) -> None:
    """Refuses arguments, which may come from a file, that a call would not take."""
    names = list(signature.signature.parameters)
    if not isinstance(arguments, dict):
        raise SpecError(f"arguments of {signature.name}", path=path, expected="a mapping")
    for name in arguments:
        if name not in names:
            raise SpecError(
                f"{signature.name} has no argument {name!r}",
                path=join(path, name),
                hint=suggest(str(name), names),
            )
