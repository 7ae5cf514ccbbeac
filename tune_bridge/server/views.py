"""What a page shows of a sweep, computed once for each version of it.

A `Snapshot` is read from the backend, never changed, and kept until `Backend.version` says that
the sweep has moved on, so that the panels of a page share one read and a poll without news costs
nothing.
"""

from __future__ import annotations

import functools
import math
import re
import threading
import time
import typing
from collections import Counter, OrderedDict
from typing import Any, Literal

import msgspec

from tune_bridge.backends.base import Backend, Changes, Run, RunQuery, RunState, Sweep
from tune_bridge.backends.scores import sign_of
from tune_bridge.controller.liveness import unheard_since
from tune_bridge.errors import NotFoundError, TuneBridgeError
from tune_bridge.experiment import Experiment, Objective
from tune_bridge.server.spark import spark_of
from tune_bridge.server.values import flatten, is_number
from tune_bridge.space import Choice, Integers, Parameter, Uniform

__all__ = [
    "KINDS",
    "NO_RESULT",
    "Best",
    "Dimension",
    "Overview",
    "Plan",
    "Reader",
    "Snapshot",
    "fits",
    "kind_of",
    "metric_value",
]

KINDS: dict[str, tuple[str, str]] = {
    "running": ("running", "#228be6"),
    "finished": ("finished", "#12a37c"),
    "stopped_early": ("stopped early", "#e8940c"),
    "pending": ("pending", "#868e96"),
    "failed": ("failed", "#e03131"),
    "crashed": ("crashed", "#ae3ec9"),
    "killed": ("killed", "#5c677d"),
}
"""What a run is to a reader -> its word and its colour; the key is W&B's state where it has one."""

_SLOW = 0.5
"""Seconds of processor time from which on a sweep is large: some 10,000 runs."""

_SHARE = 8
"""A large sweep is read anew after so many times what it took."""

_INDEX = re.compile(r"\[\d+\]")
_INTERNAL = frozenset({"_step", "_runtime", "_timestamp", "_wandb"})
NO_RESULT = frozenset({"failed", "crashed"})
"""States of runs whose values do not count: they are never the best."""

_RESULT = frozenset(typing.get_args(RunState)) - NO_RESULT


class Best(msgspec.Struct, frozen=True):
    """The best run of a sweep and its value."""

    run_id: str
    name: str
    value: float
    config: dict[str, Any]


class Dimension(msgspec.Struct, frozen=True):
    """How a searched parameter is drawn: an axis.

    Attributes:
        path: Dotted path in the config.
        log: It is searched on a log scale.
        low: Lower bound, or None when the law has none.
        high: Upper bound, or None.
        options: The options of a plain choice, in order; None for numbers.
    """

    path: str
    log: bool = False
    low: float | None = None
    high: float | None = None
    options: tuple[Any, ...] | None = None


class Plan(msgspec.Struct, frozen=True):
    """What a sweep's config says about how to show it.

    Attributes:
        method: W&B's method.
        searcher: Tune's searcher by its class name, when it is not the method itself.
        scheduler: Who stops runs, or None.
        objective: Name of the metric, or None.
        goal: Its goal.
        dimensions: The searched parameters, in order.
        conditional: Those below options of a choice, as configs name them.
        problem: Why the config could not be read in full, or "".
    """

    method: str = ""
    searcher: str | None = None
    scheduler: str | None = None
    objective: str | None = None
    goal: Literal["minimize", "maximize"] = "minimize"
    dimensions: tuple[Dimension, ...] = ()
    conditional: tuple[Dimension, ...] = ()
    problem: str = ""

    @classmethod
    def of(cls, config: dict[str, Any]) -> Plan:
        """Reads a sweep config; what cannot be read is left out, and `problem` says why."""
        method = str(config.get("method") or "")
        try:
            from tune_bridge.sweep_config import SweepConfig

            experiment: Experiment = SweepConfig(config).experiment
        except TuneBridgeError as error:
            return cls._native(config, method, str(error))
        objective = experiment.objective or Objective("")
        kind = experiment.searcher.kind
        return cls(
            method=method,
            searcher=None if kind in (method, "BasicVariantGenerator") else kind,
            scheduler=None if experiment.scheduler is None else experiment.scheduler.kind,
            objective=objective.name or None,
            goal=objective.goal,
            dimensions=tuple(_dimension(*item) for item in experiment.searched.items()),
            conditional=_conditional(experiment),
        )

    @classmethod
    def _native(cls, config: dict[str, Any], method: str, problem: str) -> Plan:
        metric = config.get("metric")
        metric = metric if isinstance(metric, dict) else {}
        name = metric.get("name")
        return cls(
            method=method,
            objective=name if isinstance(name, str) else None,
            goal="maximize" if metric.get("goal") == "maximize" else "minimize",
            problem=problem,
        )


def _conditional(experiment: Experiment) -> tuple[Dimension, ...]:
    """What stands below options: ``model[1].lr`` is ``model.lr`` in a config.

    One that has another law in another option is drawn by its values alone.
    """
    found: dict[str, Dimension] = {}
    for place in experiment.conditional.values():
        if isinstance(place.node, Parameter | Choice):
            made = _dimension(_INDEX.sub("", place.path), place.node)
            known = found.setdefault(made.path, made)
            if known != made:
                found[made.path] = Dimension(made.path)
    return tuple(found.values())


def _dimension(path: str, node: Parameter | Choice) -> Dimension:
    if isinstance(node, Choice):
        return Dimension(path, options=tuple(node.values()) if node.plain else None)
    law = node.distribution
    if isinstance(law, Uniform):
        low, high = law.low, law.high
        if law.exponents:
            low, high = (math.exp(max(-700.0, min(end, 700.0))) for end in (low, high))
            if law.scale == "reciprocal":
                low, high = 1 / high, 1 / low
        return Dimension(path, log=law.scale != "linear" and low > 0, low=low, high=high)
    if isinstance(law, Integers):
        return Dimension(path, log=law.log, low=float(law.low), high=float(law.high))
    return Dimension(path, log=getattr(law, "scale", "linear") == "log")


def kind_of(run: Run) -> str:
    """The key of `KINDS` for a run."""
    return "stopped_early" if run.state == "finished" and run.stopped_early else run.state


def metric_value(summary: dict[str, Any], name: str | None) -> float | None:
    """A finite number of a flat summary, or None."""
    value = summary.get(name) if name else None
    return float(value) if value is not None and is_number(value) and _finite(value) else None


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the floats
        return False


class Snapshot(msgspec.Struct, frozen=True, dict=True):
    """A sweep with all its runs at one version.

    Attributes:
        sweep: The sweep.
        version: What `Backend.version` said before the rest was read.
        plan: What its config says.
        runs: All runs, in order of creation.
        configs: Their flat configs.
        summaries: Their flat summaries.
        read_at: When this was read.
        took: Seconds of processor time that this took.
    """

    sweep: Sweep
    version: str
    plan: Plan
    runs: list[Run]
    configs: list[dict[str, Any]]
    summaries: list[dict[str, Any]]
    read_at: float
    took: float = 0.0

    @property
    def fresh(self) -> bool:
        """Whether it is too early to read it again: a page must not take a server's time alone."""
        return self.took > _SLOW and time.time() - self.read_at < _SHARE * self.took

    @functools.cached_property
    def places(self) -> dict[str, int]:
        """Where each run stands, by its id."""
        return {run.id: place for place, run in enumerate(self.runs)}

    def after(self, changes: Changes) -> Snapshot:
        """This, with what has changed since."""
        begun = time.thread_time()
        runs, configs, summaries = list(self.runs), list(self.configs), list(self.summaries)
        new = []
        for run in changes.runs:
            place = self.places.get(run.id)
            if place is None:
                new.append(run)
                continue
            runs[place], configs[place] = run, flat(run.config)
            summaries[place] = flat(run.summary)
        last = self.runs[-1].created_at if self.runs else -math.inf
        runs += new
        configs += [flat(run.config) for run in new]
        summaries += [flat(run.summary) for run in new]
        if new and new[0].created_at < last:  # its clock goes behind
            order = sorted(range(len(runs)), key=lambda place: runs[place].created_at)
            runs = [runs[place] for place in order]
            configs = [configs[place] for place in order]
            summaries = [summaries[place] for place in order]
        same = changes.sweep.config == self.sweep.config
        made = Snapshot(
            sweep=changes.sweep,
            version=changes.version,
            plan=self.plan if same else Plan.of(changes.sweep.config),
            runs=runs,
            configs=configs,
            summaries=summaries,
            read_at=time.time(),
            took=time.thread_time() - begun,
        )
        if not new:
            made.__dict__["places"] = self.places
        return made

    @functools.cached_property
    def counts(self) -> dict[str, int]:
        """Number of runs by kind, in the order of `KINDS`, without zeros."""
        found = Counter(map(kind_of, self.runs))
        return {kind: found[kind] for kind in KINDS if kind in found}

    @functools.cached_property
    def began(self) -> float:
        """When its first run started; when it was made, as long as none has."""
        starts = [run.started_at for run in self.runs if run.started_at is not None]
        return min(starts, default=self.sweep.created_at)

    @functools.cached_property
    def metrics(self) -> list[str]:
        """Logged keys that hold numbers, the objective first."""
        keys: dict[str, None] = {}
        for summary in self.summaries:
            for key, value in summary.items():
                if key not in keys and key not in _INTERNAL and is_number(value):
                    keys[key] = None
        names = sorted(keys)
        objective = self.plan.objective
        if objective in keys:
            names.remove(objective)
            names.insert(0, objective)
        return names

    @functools.cached_property
    def searched(self) -> list[Dimension]:
        """The searched parameters that runs have, a condition as its parts; else what varies."""
        keys = dict.fromkeys(key for config in self.configs for key in config)
        laws = {dimension.path: dimension for dimension in self.plan.conditional}
        found: list[Dimension] = []
        for dimension in self.plan.dimensions:
            if dimension.path in keys:
                found.append(dimension)
                continue
            parts = [key for key in keys if key.startswith(f"{dimension.path}.")]
            found += [laws.get(key) or Dimension(key) for key in parts if self._varies(key)]
        if not self.plan.dimensions:
            found = [Dimension(key) for key in keys if self._varies(key)]
        return found

    @functools.cached_property
    def varied(self) -> list[Dimension]:
        """Those of `searched` that have more than one value."""
        return [dimension for dimension in self.searched if self._varies(dimension.path)]

    def _varies(self, key: str) -> bool:
        values = (repr(config.get(key)) for config in self.configs)
        first = next(values, None)
        return any(value != first for value in values)

    @property
    def ranking(self) -> str | None:
        """The metric that says which run is better: the objective, else the first one there is."""
        return self.plan.objective or next(iter(self.metrics), None)

    def ranked(self) -> list[int]:
        """Indices of the runs with a value, best first; failed and crashed runs have none."""
        return list(self._ranked)

    @functools.cached_property
    def _ranked(self) -> list[int]:
        name = self.ranking
        sign = sign_of(self.plan.goal)
        found = [
            (sign * value, index)
            for index, (run, summary) in enumerate(zip(self.runs, self.summaries, strict=True))
            if run.state not in NO_RESULT and (value := metric_value(summary, name)) is not None
        ]
        return [index for _, index in sorted(found)]

    @functools.cached_property
    def best(self) -> Best | None:
        """The best run by the objective, or None."""
        ranked = self.ranked() if self.plan.objective else []
        if not ranked:
            return None
        run, value = self.runs[ranked[0]], self.summaries[ranked[0]][self.plan.objective or ""]
        return Best(run.id, run.name or run.id, value, self.configs[ranked[0]])


def flat(config: dict[str, Any]) -> dict[str, Any]:
    """What `flatten` makes of it; itself when it is flat, which most are."""
    for value in config.values():
        if type(value) is dict:
            return flatten(config)
    return config


class Overview(msgspec.Struct, frozen=True):
    """One line of the list of sweeps.

    Attributes:
        sweep: The sweep.
        plan: What its config says.
        counts: Number of runs by kind, without zeros.
        best: The best run, or None.
        spark: The best value so far, run after run; see `tune_bridge.server.spark`.
    """

    sweep: Sweep
    plan: Plan
    counts: dict[str, int]
    best: Best | None
    spark: tuple[float, ...] = ()


def fits(sweep: Sweep, words: str) -> bool:
    """Whether each of the words is in what a search for sweeps looks at."""
    config = sweep.config
    parts: list[Any] = [sweep.name, sweep.id, sweep.project, sweep.state]
    metric, controller = config.get("metric"), config.get("controller")
    parts += [config.get("method"), config.get("program"), metric, controller]
    shown = " ".join(str(part) for part in parts if part).lower()
    return all(word in shown for word in words.lower().split())


class Reader:
    """Reads snapshots, and keeps the latest ones.

    Args:
        backend: Where the sweeps live.
        keep: How many snapshots and lines to keep.
    """

    def __init__(self, backend: Backend, keep: int = 8) -> None:
        self.backend = backend
        self._keep = keep
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._snapshots: OrderedDict[str, Snapshot] = OrderedDict()
        self._overviews: OrderedDict[str, tuple[str, Overview]] = OrderedDict()

    def version(self, sweep_id: str | None) -> str:
        """What the backend says; another one as well when a sweep was last heard of too long ago.

        Nothing changes at the backend then. Those count that were read and are kept.

        Raises:
            NotFoundError: There is no such sweep.
        """
        version = self.backend.version(sweep_id)
        with self._lock:
            shown = [line.sweep for _, line in self._overviews.values()] if sweep_id is None else []
            if sweep_id is not None and sweep_id in self._snapshots:
                shown = [self._snapshots[sweep_id].sweep]
        unheard = sum(unheard_since(sweep) is not None for sweep in shown)
        return f"{version} ({unheard} unheard)" if unheard else version

    def snapshot(self, sweep_id: str) -> Snapshot:
        """The sweep as it is now.

        Raises:
            NotFoundError: There is no such sweep.
        """
        with self._lock:
            lock = self._locks.setdefault(sweep_id, threading.Lock())
        with lock:
            version = self.backend.version(sweep_id)
            with self._lock:
                known = self._snapshots.get(sweep_id)
            if known is not None and known.version == version:
                return known
            try:
                changes = None
                if known is not None:
                    changes = self.backend.changes(sweep_id, known.version)
                    if changes is None and known.fresh:
                        return known
                made = (
                    self._read(sweep_id, version)
                    if known is None or changes is None
                    else known.after(changes)
                )
            except TuneBridgeError:
                with self._lock:
                    self._snapshots.pop(sweep_id, None)
                    self._locks.pop(sweep_id, None)
                raise
            with self._lock:
                self._snapshots[sweep_id] = made
                self._snapshots.move_to_end(sweep_id)
                while len(self._snapshots) > self._keep:
                    gone, _ = self._snapshots.popitem(last=False)
                    self._locks.pop(gone, None)
            return made

    def _read(self, sweep_id: str, version: str) -> Snapshot:
        begun = time.thread_time()
        sweep = self.backend.sweep(sweep_id)
        runs = self.backend.runs(sweep_id)
        return Snapshot(
            sweep=sweep,
            version=version,
            plan=Plan.of(sweep.config),
            runs=runs,
            configs=[flat(run.config) for run in runs],
            summaries=[flat(run.summary) for run in runs],
            read_at=time.time(),
            took=time.thread_time() - begun,
        )

    def overviews(self, limit: int) -> list[Overview]:
        """Lines of the newest sweeps, newest first; see `tune_bridge.server.listing` for others."""
        return [self.overview(sweep) for sweep in self.backend.sweeps(limit=limit)]

    def overview(self, sweep: Sweep) -> Overview:
        """The line of a sweep in the list; without runs when it was deleted in the meantime."""
        version = self.backend.version(sweep.id)
        with self._lock:
            known = self._overviews.get(sweep.id)
        if known is not None and known[0] == version:
            return known[1]
        try:
            made = self._line(sweep.id)
        except NotFoundError:  # deleted since it was listed
            return Overview(sweep, Plan(), {}, None)
        with self._lock:
            self._overviews[sweep.id] = (version, made)
            while len(self._overviews) > 1000:
                self._overviews.popitem(last=False)
        return made

    def _line(self, sweep_id: str) -> Overview:
        """A line, of what the backend counts and sorts itself: the runs are not read."""
        sweep = self.backend.sweep(sweep_id)
        plan = Plan.of(sweep.config)
        found = self.backend.counts([sweep_id]).get(sweep_id, {})
        early = RunQuery(sweeps=(sweep_id,), states=(("finished", True),))
        stopped = self.backend.count_runs(early) if found.get("finished") else 0
        found = {**found, "finished": found.get("finished", 0) - stopped, "stopped_early": stopped}
        values = self.backend.scores(sweep_id, leave_out=NO_RESULT) if plan.objective else []
        return Overview(
            sweep,
            plan,
            {kind: found[kind] for kind in KINDS if found.get(kind)},
            self._best(sweep_id, plan),
            spark_of(values, maximize=plan.goal == "maximize"),
        )

    def _best(self, sweep_id: str, plan: Plan) -> Best | None:
        if not plan.objective:
            return None
        for limit in (1, 1000):  # what is infinite comes first
            found = self.backend.best_runs(
                sweep_id,
                descending=plan.goal == "maximize",
                states=_RESULT,
                limit=limit,
            )
            for run, value in found:
                if math.isfinite(value):
                    return Best(run.id, run.name or run.id, value, flat(run.config))
        return None
