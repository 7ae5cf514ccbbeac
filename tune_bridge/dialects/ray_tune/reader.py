"""From a ``tune.run`` call, or a ``Tuner``, to an experiment."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from typing import Any

from tune_bridge.dialects.base import get_dialect, suggest
from tune_bridge.dialects.calls import Call
from tune_bridge.dialects.flat_conditions import unlisted
from tune_bridge.dialects.hyperopt.points import from_labels
from tune_bridge.dialects.python_space import (
    LeafReader,
    TreeReader,
    at_path,
    join,
    merge,
    recall,
    same,
    short,
    type_name,
)
from tune_bridge.dialects.ray_tune.algorithms import (
    ReadScheduler,
    ReadSearcher,
    read_scheduler,
    read_searcher,
)
from tune_bridge.dialects.ray_tune.carried import keep, keep_arguments
from tune_bridge.dialects.ray_tune.domains import LEAVES, SEARCHER_LEAVES, grid
from tune_bridge.dialects.ray_tune.live import bundle_resources
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES
from tune_bridge.dialects.ray_tune.tables import CALLS, CLASSES, REMOVED
from tune_bridge.dialects.references import importable
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment, Objective
from tune_bridge.notes import Notes
from tune_bridge.space import Group, check_executable, walk
from tune_bridge.values import EMPTY, Frozen

__all__ = ["PARAMETERS", "RECORDS", "STOPPER", "read_experiment"]

_RUN = SIGNATURES["tune.run"].signature.parameters

STOPPER = "$stopper"
"""The one key of stop criteria that are a Stopper: its class and arguments."""

PARAMETERS = "with_parameters"
"""Among what is kept for Ray: what ``tune.with_parameters`` gives to the trainable."""
GIVEN = "_tune_bridge_given"
"""Attribute for the arguments of what Ray's ``with_parameters`` returns to a captured program."""

RECORDS = {"checkpoint_config": "tune.CheckpointConfig", "sync_config": "tune.SyncConfig"}
"""Arguments that are a record of plain values: kept as a dict, written as the class."""

_NATIVE_SPACES = {
    "AxSearch": "ax",
    "BayesOptSearch": "bayesopt",
    "NevergradSearch": "nevergrad",
    "OptunaSearch": "optuna",
    "SkOptSearch": "skopt",
    "TuneBOHB": "configspace",
}
"""Searcher -> the notation of the space that it may be given."""

_LISTS = ("AxSearch", "TuneBOHB")
"""Searchers that make lists of numbered names (``unflatten_list_dict``); the others make dicts."""

_TUNER = {"trainable": "run_or_experiment", "param_space": "config"}
_PARTS = {
    "tune_config": "tune.TuneConfig",
    "run_config": "tune.RunConfig",
    "failure_config": "tune.FailureConfig",
}


def read_experiment(source: Any, notes: Notes) -> Experiment:
    """Reads what people give to Tune.

    Args:
        source: A recorded call of ``tune.run`` or ``Tuner``, a live ``Tuner``, or a dict of the
            arguments of ``tune.run``; inside it, recorded and live objects may be mixed.
        notes: Where remarks go.

    Raises:
        SpecError: An argument is malformed, unknown or contradicts another.
        UnsupportedError: An argument says something that cannot be written down.
    """
    return _Reader(_arguments(source), notes).experiment()


def _arguments(source: Any) -> dict[str, Any]:
    """The arguments of ``tune.run`` that say what `source` says."""
    source = recall(source, {})
    if isinstance(source, Call) and source.name == "tune.run":
        return source.arguments
    if isinstance(source, Call) and source.name == "tune.Tuner":
        return _tuner_arguments(source)
    if isinstance(source, dict):
        for name in source:
            if name in REMOVED:
                raise _removed(name, source[name])
            if name not in _RUN:
                raise SpecError(
                    f"tune.run has no argument {name!r}",
                    path=str(name),
                    hint=suggest(str(name), list(_RUN)),
                )
        return source
    raise SpecError(
        "this is no experiment of Ray Tune",
        found=type_name(source),
        expected="a call of tune.run, its arguments as a dict, or a Tuner",
    )


def _tuner_arguments(tuner: Call) -> dict[str, Any]:
    found: dict[str, Any] = {}
    parts = [tuner]
    while parts:
        for name, value in parts.pop().arguments.items():
            if name not in _PARTS:
                found[_TUNER.get(name, name)] = value
                continue
            part = recall(value, {})
            if isinstance(part, Call) and part.name == _PARTS[name]:
                parts.append(part)
            elif part is not None:
                raise SpecError(
                    f"{name} of a Tuner", path=name, found=short(value), expected=_PARTS[name]
                )
    return found


class _Reader:
    def __init__(self, arguments: dict[str, Any], notes: Notes) -> None:
        self.arguments = arguments
        self.notes = notes
        self.parameters: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        return self.arguments.get(name, _RUN[name].default if name in _RUN else None)

    def experiment(self) -> Experiment:
        program, trainable, resources = self.runnable()
        searcher = self.several(read_searcher(self.get("search_alg")))
        scheduler = read_scheduler(self.get("scheduler"))
        space, in_searcher = self.space(searcher)
        check_executable(space)
        return Experiment(
            space=space,
            program=program,
            trainable=trainable,
            objective=self.objective(searcher, scheduler),
            searcher=searcher.algorithm,
            scheduler=scheduler.algorithm,
            num_samples=self.num_samples(),
            stop=self.stop(),
            points=self.points(searcher, space, in_searcher),
            seed=searcher.seed,
            max_concurrent=self.max_concurrent(searcher),
            resources=Frozen(resources, "resources_per_trial") if resources else EMPTY,
            space_in="searcher" if in_searcher else "config",
            name=self.name(),
            extras=self.extras(),
        )

    # What is run

    def runnable(self) -> tuple[str | None, str | None, dict[str, Any]]:
        """The program, or the trainable, and the resources that came with it."""
        value = self.arguments.get("run_or_experiment")
        if value is _RUN["run_or_experiment"].empty:
            value = None
        wrapped = None
        while True:
            if not isinstance(value, Call):
                wrapped = wrapped or getattr(value, "_resources", None)
            inner = self.unwrapped(value)
            if inner is None:
                break
            if isinstance(value, Call) and value.name == "tune.with_resources":
                wrapped = wrapped or value.get("resources")
            value = inner
        resources = self.resources(wrapped or self.get("resources_per_trial"))
        if value is None:
            return None, None, resources
        if isinstance(value, os.PathLike):
            return os.fspath(value), None, resources
        if isinstance(value, str):
            is_trainable = _registered(value)
            return (None, value, resources) if is_trainable else (value, None, resources)
        return None, self.trainable(value), resources

    def unwrapped(self, value: Any) -> Any:
        """What a wrapper is around, its arguments noted; None of what is no wrapper."""
        if isinstance(value, Call):
            if value.name not in ("tune.with_parameters", "tune.with_resources"):
                raise UnsupportedError(
                    f"a trainable wrapped in {value.name}", path="run_or_experiment"
                )
            self.give(value.get("kwargs", {}))
            return value.get("trainable")
        if isinstance(value, functools.partial):
            if value.args:
                raise UnsupportedError(
                    "a partial trainable with arguments that have no names",
                    path="run_or_experiment",
                    found=short(list(value.args)),
                    expected="functools.partial(function, name=value)",
                    hint="give them by name",
                )
            self.notes.exact(
                "with_parameters", "functools.partial as tune.with_parameters", "both do the same"
            )
            self.give(value.keywords)
            return value.func
        # What the capture of a program notes about Ray's own.
        given = getattr(value, GIVEN, None)
        if given is None:
            return None
        self.give(given["kwargs"])
        return given["trainable"]

    def give(self, arguments: dict[str, Any]) -> None:
        """Keeps what a wrapper gives to the trainable; what no file can hold is left out."""
        for name, value in arguments.items():
            path = join("with_parameters", name)
            try:
                self.parameters[name] = keep(value, path)
            except UnsupportedError as error:
                self.notes.approximated(
                    path,
                    f"left out: {error.found or type_name(value)}",
                    f"{error.message}: no file can hold it",
                    "give it to the trainable where the search is run",
                )

    def trainable(self, value: Any) -> str:
        try:
            found = importable(value, "run_or_experiment")
        except UnsupportedError as error:
            error.expected = "a program's path, or a function or class importable by name"
            if "with_parameters." in error.found:
                error.message = "live, tune.with_parameters does not say what it was given"
                error.hint = "record it with tune_bridge's tune, or put the values into the config"
            raise
        module, _, name = found.partition(":")
        if module == "__main__":
            self.notes.exact(
                "trainable",
                f"{name} is defined in the program that was started",
                "it can be found again only from that program",
                "move it into a module to use it elsewhere",
            )
        return found

    def resources(self, value: Any) -> dict[str, Any]:
        if value is None:
            return {}
        found = bundle_resources(recall(value, {}))
        if found is None:
            raise UnsupportedError(
                "resources that are no amounts by name",
                path="resources_per_trial",
                found=short(value),
                expected='a dict such as {"cpu": 2, "gpu": 1}, or a PlacementGroupFactory',
            )
        return found

    # What is searched

    def space(self, searcher: ReadSearcher) -> tuple[Group, bool]:
        """The space, and whether the searcher was given it."""
        config = self.get("config")
        tree = self.tree(config, LEAVES) if config is not None else Group()
        if searcher.space is None:
            self.check_grid(searcher, tree)
            return tree, False
        if searcher.kind != "HyperOptSearch":
            return self.searcher_space(searcher, tree), False
        inner = self.tree(searcher.space, SEARCHER_LEAVES)
        searched = Experiment(space=tree).searched
        if searched:
            raise SpecError(
                "both the config and the searcher have parameters, which Ray refuses",
                path=next(iter(searched)),
                expected="all parameters in one of them",
            )
        return merge(tree, inner), True

    def searcher_space(self, searcher: ReadSearcher, constants: Group) -> Group:
        """The space that a searcher was given, in Tune's words or in its own library's.

        Tune's domains mean there what they mean in a config: Ray converts both alike.
        """
        path, value = "search_alg.space", searcher.space
        if _in_tunes_words(value):
            inner = self.tree(value, LEAVES)
        elif searcher.kind in _NATIVE_SPACES:
            with at_path(path):
                notation = get_dialect(_NATIVE_SPACES[searcher.kind])
                inner = notation.read(value, self.notes).value.space
            if searcher.kind not in _LISTS:
                inner = unlisted(inner)
        else:
            raise UnsupportedError(
                f"a space in {searcher.kind}'s own words",
                path=path,
                found=short(value),
                expected="domains of ray.tune, here or as config=",
            )
        searched = Experiment(space=constants).searched
        if searched:
            raise SpecError(
                "both the config and the searcher have parameters, which Ray refuses",
                path=next(iter(searched)),
                expected="all parameters in one of them",
            )
        return merge(constants, inner)

    def check_grid(self, searcher: ReadSearcher, tree: Group) -> None:
        """A searcher cannot run a grid: Ray refuses it as well."""
        for place in walk(tree):
            if getattr(place.node, "grid", False) and searcher.kind != RANDOM.kind:
                raise SpecError(
                    f"a grid search beside {searcher.kind}, which Ray refuses",
                    path=place.path,
                    expected="a choice, or no searcher",
                )

    def tree(self, value: Any, leaves: Mapping[str, LeafReader]) -> Group:
        return TreeReader(leaves, self.notes, grid=grid).root(value)

    def points(self, searcher: ReadSearcher, space: Group, in_searcher: bool) -> tuple[Frozen, ...]:
        if searcher.points is None:
            return ()
        path = "search_alg.points_to_evaluate"
        if not isinstance(searcher.points, list | tuple):
            raise SpecError(
                "points to evaluate", path=path, found=short(searcher.points), expected="a list"
            )
        points = []
        for index, point in enumerate(searcher.points):
            place = f"{path}[{index}]"
            if not isinstance(point, dict):
                raise SpecError("a point", path=place, found=short(point), expected="a dict")
            if set(point) == {"$tried"}:
                self.notes.approximated(
                    path,
                    f"points that the searcher has tried are left out: {point['$tried']}",
                    "it is in use, and goes on with those still to come; results are not kept",
                )
                continue
            recalled = set(point) == {"$labels"}
            labels = point["$labels"] if recalled else point
            nested = from_labels(labels, space, place, indices=recalled) if in_searcher else point
            points.append(Frozen(nested, place))
        return tuple(points)

    # How it is searched

    def several(self, searcher: ReadSearcher) -> ReadSearcher:
        """A searcher for several metrics keeps them among its arguments; the first is the goal."""
        metrics, modes = searcher.metric, searcher.mode
        if not isinstance(metrics, list | tuple):
            return searcher
        fits = isinstance(modes, list | tuple) and len(modes) == len(metrics) > 0
        if not fits or not all(isinstance(text, str) for text in (*metrics, *modes)):
            raise SpecError(
                "several metrics",
                path="search_alg.metric",
                found=f"{short(metrics)} with mode {short(modes)}",
                expected="names, and as many modes",
            )
        if searcher.algorithm.kind != "OptunaSearch":
            raise UnsupportedError(
                f"several metrics for {searcher.algorithm.kind}",
                path="search_alg.metric",
                found=short(metrics),
                expected="OptunaSearch, without a limiter that works in batches",
            )
        self.notes.exact(
            "metric", f"{metrics[0]} is the goal", "OptunaSearch is given all of its metrics"
        )
        args = {**searcher.algorithm.args.value, "metric": list(metrics), "mode": list(modes)}
        return searcher._replace(
            algorithm=Algorithm("OptunaSearch", Frozen(args)), metric=metrics[0], mode=modes[0]
        )

    def objective(self, searcher: ReadSearcher, scheduler: ReadScheduler) -> Objective | None:
        places = {
            "search_alg": (searcher.metric, searcher.mode),
            "scheduler": (scheduler.metric, scheduler.mode),
            "tune.run": (self.get("metric"), self.get("mode")),
        }
        metric = _agreed("metric", {where: pair[0] for where, pair in places.items()})
        mode = _agreed("mode", {where: pair[1] for where, pair in places.items()})
        if metric is None and mode is None:
            return None
        if isinstance(metric, list | tuple):
            raise UnsupportedError(
                "several metrics where Ray takes one",
                path="metric",
                found=short(metric),
                expected="one name here, and all of them in OptunaSearch(metric=[...])",
            )
        if metric is not None and not isinstance(metric, str):
            raise SpecError(
                "the metric is not a name", path="metric", found=short(metric), expected="its name"
            )
        if mode is not None and not (isinstance(mode, str) and mode in ("min", "max")):
            raise SpecError(
                "unknown mode",
                path="mode",
                found=short(mode),
                expected="'min' or 'max'",
                hint=suggest(str(mode)[:3], ["min", "max"]),
            )
        if metric is None:
            self.notes.exact("metric", "_metric", "Ray's name for a metric that is not named")
        if mode is None:
            if searcher.kind != RANDOM.kind or scheduler.algorithm is not None:
                raise SpecError(
                    "a metric without a mode", path="mode", found="none", expected="'min' or 'max'"
                )
            self.notes.approximated(
                "mode", "minimize", "no mode is given, and random search does not need one"
            )
        return Objective(metric or "_metric", "maximize" if mode == "max" else "minimize")

    def num_samples(self) -> int | None:
        value = self.get("num_samples")
        if same(value, -1):
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SpecError(
                "the number of samples",
                path="num_samples",
                found=short(value),
                expected="a whole number above 0, or -1 for no limit",
            )
        return value

    def stop(self) -> Frozen:
        value = self.get("stop")
        if value is None:
            return EMPTY
        if isinstance(value, dict):
            return Frozen(value, "stop")
        if isinstance(value, list | tuple):
            value = SIGNATURES["CombinedStopper"].call(*value)
        kept = keep(value, "stop")
        kept = kept if isinstance(kept, dict) else {}
        if "$function" in kept:
            kept = {"FunctionStopper": {"function": kept}}
        kinds = [kind for kind in kept if kind in CLASSES and CLASSES[kind].role == "stopper"]
        if not kinds:
            raise UnsupportedError(
                "stop criteria that are no Stopper of Ray's own",
                path="stop",
                found=type_name(value),
                expected='a dict such as {"training_iteration": 10}, a function or a Stopper',
            )
        return Frozen({STOPPER: kept}, "stop")

    def max_concurrent(self, searcher: ReadSearcher) -> int | None:
        beside = self.get("max_concurrent_trials")
        if beside is None or same(beside, searcher.max_concurrent):
            return searcher.max_concurrent
        if isinstance(beside, bool) or not isinstance(beside, int) or beside < 1:
            raise SpecError(
                "a limit on trials at once",
                path="max_concurrent_trials",
                found=short(beside),
                expected="a whole number above 0",
            )
        if searcher.kind == RANDOM.kind and not searcher.default:
            self.notes.exact(
                "max_concurrent_trials",
                "left out",
                "Ray ignores it beside a BasicVariantGenerator",
                "give max_concurrent to the generator",
            )
            return searcher.max_concurrent
        if searcher.max_concurrent is not None:
            raise SpecError(
                "two limits on trials at once, which Ray refuses",
                path="max_concurrent_trials",
                found=f"{beside}, and {searcher.max_concurrent} in the ConcurrencyLimiter",
                expected="one of them",
            )
        return beside

    # The rest

    def name(self) -> str | None:
        value = self.get("name")
        if value is not None and not isinstance(value, str):
            raise SpecError("a name", path="name", found=short(value), expected="text")
        return value

    def extras(self) -> Frozen:
        table, kept = CALLS["tune.run"], dict[str, Any]()
        for name, value in self.arguments.items():
            argument = table.get(name)
            if argument.how == "native" or same(value, _RUN[name].default):
                continue
            if name in REMOVED:
                raise _removed(name, value)
            if argument.how == "refused":
                raise UnsupportedError(
                    f"{name} of tune.run cannot be written to a sweep",
                    path=name,
                    found=type_name(value),
                    expected=argument.detail,
                    hint=f"leave {name} out here and give it to Ray when the search is run",
                )
            kept[name] = _kept(name, value)
            self.notes.exact(name, "kept for Ray", "a sweep has no place of its own for it")
        if self.parameters:
            kept[PARAMETERS] = self.parameters
            self.notes.exact("with_parameters", "kept for Ray", "a sweep has no place for it")
        return Frozen({"tune": kept}, "extras") if kept else EMPTY


def _removed(name: str, value: Any) -> UnsupportedError:
    return UnsupportedError(
        f"Ray 2.60 has no {name}", path=name, found=short(value), hint=REMOVED[name]
    )


def _kept(name: str, value: Any) -> Any:
    """The value of an argument that is kept, as plain data."""
    if name not in RECORDS:
        return keep(value, name)
    record = recall(value, {})
    if not isinstance(record, Call) or record.name != RECORDS[name]:
        raise SpecError(name, path=name, found=type_name(value), expected=RECORDS[name])
    return keep_arguments(record, CALLS[record.name], name)


def _agreed(what: str, found: dict[str, Any]) -> Any:
    """The one value among the places that say something."""
    said = {where: value for where, value in found.items() if value is not None}
    values = list(said.values())
    if any(not same(value, values[0]) for value in values):
        raise SpecError(
            f"two {what}s that contradict each other",
            path=what,
            found=", ".join(f"{short(value)} in {where}" for where, value in said.items()),
            expected="one of them",
        )
    return values[0] if values else None


def _registered(name: str) -> bool:
    """Whether a string names a trainable; only a process that uses Ray can have registered it."""
    registry = sys.modules.get("ray.tune.registry")
    if registry is None:
        return False
    flush = getattr(registry._global_registry, "_to_flush", {})
    return (registry.TRAINABLE_CLASS, name) in flush


def _in_tunes_words(space: Any) -> bool:
    """Whether a mapping holds a domain of ``ray.tune`` or of HyperOpt somewhere."""
    if isinstance(space, Mapping):
        return any(map(_in_tunes_words, space.values()))
    call = recall(space, {})
    return isinstance(call, Call) and call.name in LEAVES
