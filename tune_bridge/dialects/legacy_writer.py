"""From an experiment to a ``tune:`` document of wandb 0.8 to 0.10.

What the engine of wandb 0.10.12 could execute is written as it was written then. All else has a
call as well, which `tune_bridge.dialects.legacy` reads back to the very same thing; a note says
that the old version would have stopped at it, or ignored it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tune_bridge.dialects.base import Translation
from tune_bridge.dialects.calls import Call, Signature
from tune_bridge.dialects.flat_laws import distance, value_bounds
from tune_bridge.dialects.hyperopt.points import to_labels
from tune_bridge.dialects.hyperopt.writer import number
from tune_bridge.dialects.hyperopt.writer import write_node as write_hp
from tune_bridge.dialects.legacy import ENGINE, record
from tune_bridge.dialects.python_space import join
from tune_bridge.dialects.ray_tune.domains import write_node as write_tune
from tune_bridge.dialects.ray_tune.writer import split, write_run
from tune_bridge.errors import UnsupportedError
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Level, Notes
from tune_bridge.space import (
    Choice,
    Constant,
    Distribution,
    Group,
    Integers,
    Node,
    Normal,
    Parameter,
    Sequence,
    Uniform,
)
from tune_bridge.values import EMPTY, Frozen

__all__ = ["write_document"]

_BESIDE = ("command", "description", "project", "entity")
_STAMP = {"tune": "0.7.6", "hyperopt": "0.2.1", "wandb": "0.10.12"}
_EXECUTED = ("run_or_experiment", "config", "num_samples", "search_alg")


def write_document(
    experiment: Experiment, notes: Notes, read: Callable[[Any], Translation[Experiment]]
) -> dict[str, Any]:
    """Writes a document.

    Args:
        experiment: What to search.
        notes: Where remarks go.
        read: Reads a document: what it reads otherwise is remarked on.

    Raises:
        SpecError: Something in the experiment is malformed.
        UnsupportedError: Ray has no such searcher or scheduler.
    """
    run = _run(experiment, notes)
    document: dict[str, Any] = {}
    program = run.get("run_or_experiment")
    if program is not None:
        document["program"] = program
    if experiment.name is not None:
        document["name"] = experiment.name
    for name in _BESIDE:
        value = getattr(experiment, name)
        if value is not None:
            document[name] = list(value) if isinstance(value, tuple) else value
    extras = experiment.extras.value
    document |= extras.pop("sweep", {})
    extras.pop("tune", None)
    for name in extras:
        notes.approximated(f"extras.{name}", "left out", f"they belong to another notation, {name}")
    stamp: dict[str, Any] = {"versions": dict(_STAMP)}
    if experiment.seed is not None and "search_alg" in run:
        stamp["seed"] = experiment.seed
    document["tune"] = {**run, "_wandb": stamp}
    _compare(experiment, read(document).value, notes)
    return document


def _run(experiment: Experiment, notes: Notes) -> dict[str, Any]:
    """What stands below ``tune``."""
    extras = {key: value for key, value in experiment.extras.value.items() if key == "tune"}
    around = experiment.replace(
        space=Group(),
        points=(),
        seed=None,
        max_concurrent=None,
        objective=None,
        name=None,
        extras=Frozen(extras) if extras else EMPTY,
        **dict.fromkeys(_BESIDE),
    )
    said = Notes()
    arguments = write_run(around, said).arguments
    notes.extend(said)
    runnable = arguments.get("run_or_experiment")
    if isinstance(runnable, Signature):
        arguments["run_or_experiment"] = experiment.trainable
        notes.approximated(
            "trainable", "by its name", "wandb 0.10.12 started programs and could not import it"
        )
    if arguments.pop("num_samples", 1) == -1:
        notes.exact("num_samples", "left out", "without a number the search went on for ever")
    else:
        arguments["num_samples"] = experiment.num_samples
    search, scheduler = arguments.get("search_alg"), arguments.get("scheduler")
    goal = experiment.objective
    target = {} if goal is None else {"metric": goal.name, "mode": goal.mode}
    if search is None:
        arguments["config"] = _Writer("tune", notes).group(experiment.space, "")
    else:
        _fill(search, experiment, target, arguments, notes)
    if goal is not None:
        _unsaid_goal(experiment, notes)
        holder = next((c for c in (scheduler, search) if _takes(c, "metric")), None)
        if holder is None:
            arguments |= target
            notes.approximated("objective", "in tune.run", "wandb 0.10.12 ignored it there")
        else:
            for call in filter(None, (search, scheduler)):
                call.arguments.update(target if _takes(call, "metric") else {})
    if search is None and experiment.max_concurrent is not None:
        arguments["max_concurrent_trials"] = experiment.max_concurrent
        notes.approximated("max_concurrent", "in tune.run", "wandb 0.10.12 ignored it there")
    if not arguments.get("config", True):
        del arguments["config"]
    for name in arguments:
        if name not in _EXECUTED:
            notes.approximated(name, "written down", "wandb 0.10.12 ignored it")
    return {name: _encode(value, name, notes) for name, value in arguments.items()}


def _takes(call: Any, name: str) -> bool:
    return isinstance(call, Call) and name in call.signature.signature.parameters


def _unsaid_goal(experiment: Experiment, notes: Notes) -> None:
    goal = experiment.objective
    assert goal is not None
    if goal.target is not None or goal.options:
        notes.approximated("objective", "its name and goal alone", "the rest belongs to W&B")


def _fill(
    search: Call,
    experiment: Experiment,
    target: dict[str, Any],
    arguments: dict[str, Any],
    notes: Notes,
) -> None:
    """Gives a searcher its space, and what stands beside it."""
    hyperopt = search.name == "HyperOptSearch"
    searched, constants = split(experiment.space)
    if hyperopt:
        search.arguments["space"] = _Writer("hp", notes).group(searched, "")
        if constants.items:
            arguments["config"] = _Writer("tune", notes).group(constants, "")
            notes.approximated(
                "config", "beside the searcher", "wandb 0.10.12 ignored it: runs had no constants"
            )
        if experiment.space_in == "config":
            notes.exact("search_alg.space", "the space is given to the searcher", "as it was then")
    else:
        arguments["config"] = _Writer("tune", notes).group(experiment.space, "")
    points = [point.value for point in experiment.points]
    if points:
        if hyperopt:
            points = [to_labels(p, experiment.space, values_on_top=True) for p in points]
        search.arguments["points_to_evaluate"] = points
        notes.approximated("points_to_evaluate", "written down", "wandb 0.10.12 ignored them")
    if experiment.max_concurrent is not None:
        key = "max_concurrent" if hyperopt else "max_concurrent_trials"
        (search.arguments if hyperopt else arguments)[key] = experiment.max_concurrent
        notes.approximated("max_concurrent", "written down", "wandb 0.10.12 ignored it")


def _compare(experiment: Experiment, again: Experiment, notes: Notes) -> None:
    """Remarks on attributes that reading the document gives otherwise."""
    said = {note.path.partition(".")[0] for note in notes if note.level > Level.EXACT}
    for name in Experiment.__struct_fields__:
        if name in ("space", "space_in") or name in said:
            continue
        if name == "extras" and not experiment.extras:
            continue
        if getattr(again, name) != getattr(experiment, name):
            notes.approximated(name, "not as it was", "a document of that time has no place for it")


# The space ----------------------------------------------------------------------------------------


class _Writer:
    """Writes nodes as calls of ``hyperopt.hp`` or of ``tune``.

    Args:
        form: "hp" inside of HyperOptSearch's space, "tune" in a config.
        notes: Where remarks go.
    """

    def __init__(self, form: str, notes: Notes) -> None:
        self.form = form
        self.notes = notes

    def group(self, group: Group, path: str) -> dict[str, Any]:
        return {name: self.node(node, join(path, name)) for name, node in group.items}

    def node(self, node: Node, path: str) -> Any:
        if isinstance(node, Group):
            self.deep(path, "a mapping")
            return self.group(node, path)
        if isinstance(node, Constant):
            return self.constant(node, path)
        if isinstance(node, Sequence):
            self.deep(path, f"a {node.kind} of parameters")
            return [self.node(item, f"{path}[{i}]") for i, item in enumerate(node.items)]
        if isinstance(node, Parameter | Choice):
            if node.grid:
                self.notes.approximated(path, "sampled instead of enumerated", "there was no grid")
            if node.label is not None:
                self.notes.exact(path, "without its label", "the key in the dict is the name")
        if isinstance(node, Choice):
            return self.choice(node, path)
        if isinstance(node, Parameter):
            return self.law(Parameter(node.distribution), path)
        raise UnsupportedError(
            "a function of other parameters", path=path, hint="compute it in the program"
        )

    def deep(self, path: str, what: str) -> None:
        why = "wandb 0.10.12 looked at the top of a space only, and took every mapping for a call"
        self.notes.approximated(path, what, why)

    def constant(self, node: Constant, path: str) -> Any:
        value = node.value
        if isinstance(value, dict):
            self.deep(path, "a mapping")
        if isinstance(value, tuple):
            self.notes.approximated(path, "a list", "a document has no tuples")
        return value

    def choice(self, node: Choice, path: str) -> Any:
        weights = None if node.weights is None or node.grid else list(node.weights)
        if node.plain:
            values = node.values()
            kinds = {type(value) for value in values}
            if kinds & {dict, tuple}:
                self.deep(path, "options that are mappings or tuples")
            elif (self.form == "tune" or weights) and (len(kinds) > 1 or list in kinds):
                why = "numpy, which drew it then, makes one type of all options"
                self.notes.approximated(path, "written as a choice", why)
        else:
            self.deep(path, "a condition")
            values = [self.node(item, f"{path}[{i}]") for i, item in enumerate(node.options)]
        if self.form == "hp" and weights is None:
            return record("hyperopt.hp.choice", [path, values])
        return record("tune.choice", (), {"a": values, "p": weights})

    def law(self, node: Parameter, path: str) -> Any:
        exact = _exact(node.distribution, self.form, path)
        if exact is not None and distance(node, Parameter(exact[1])) == 0:
            return exact[0]
        said = Notes()
        call = (write_hp if self.form == "hp" else write_tune)(node, path, said)
        self.notes.extend(note for note in said if note.level > Level.EXACT)
        return _encode(call, path, self.notes)


def _exact(law: Distribution, form: str, path: str) -> tuple[dict[str, Any], Distribution] | None:
    """The call that the old engine had for a law, and the law that it is read as."""
    if isinstance(law, Integers) and law.step == 1 and not law.log:
        return record("tune.randint", (), {"low": law.low, "high": law.high + 1}), law
    if isinstance(law, Normal) and law == Normal():
        return record("tune.randn"), law
    if not isinstance(law, Uniform) or law.q is not None:
        return None
    low, high = value_bounds(law)
    if law.scale != "linear":
        bounds = {"min_bound": low, "max_bound": high}
        return record("tune.loguniform", (), bounds), Uniform(low, high, "log")
    ends = [number(low), number(high)]
    if form == "hp":
        return record("hyperopt.hp.uniform", [path, *ends]), law
    return record("tune.uniform", ends), law


# Calls --------------------------------------------------------------------------------------------

_PREFIX = {"hp": "hyperopt.", "scope": "hyperopt.", "domains": "tune_bridge."}
_SCHEDULERS = ("AsyncHyperBandScheduler", "ASHAScheduler")


def _encode(value: Any, path: str, notes: Notes) -> Any:
    """A value with its calls as a document holds them."""
    if isinstance(value, Call):
        key = _PREFIX.get(value.name.partition(".")[0], "") + value.name
        if value.name == "HyperOptSearch":
            key = "hyperopt.HyperOptSearch"
        if key not in ENGINE and value.name not in _SCHEDULERS:
            notes.approximated(path, f"as {key}", "wandb 0.10.12 had no such call")
        return record(key, *_split(value, path, notes))
    if isinstance(value, Signature):
        raise UnsupportedError(
            "a function in a document of wandb 0.8 to 0.10", path=path, found=value.name
        )
    if isinstance(value, dict):
        return {name: _encode(item, join(path, name), notes) for name, item in value.items()}
    if isinstance(value, list | tuple):
        if isinstance(value, tuple) and path.count("[") == 0:
            notes.approximated(path, "a list", "a document has no tuples")
        return [_encode(item, f"{path}[{i}]", notes) for i, item in enumerate(value)]
    return value


def _split(call: Call, path: str, notes: Notes) -> tuple[list[Any], dict[str, Any]]:
    """Arguments by position and by name: those of ``hp`` by position, as people wrote them."""
    given = {name: _encode(value, path, notes) for name, value in call.arguments.items()}
    root = call.name.partition(".")[0]
    if root not in ("hp", "scope"):
        if call.name == "tune.choice":
            given = {"a": given["categories"]}
        return [], given
    if "args" in given:
        return list(given["args"]), {}
    names = [name for name in call.signature.signature.parameters if name in given]
    return [given[name] for name in names], {}
