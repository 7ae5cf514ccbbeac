"""The Ray Tune dialect: ``tune.run`` and ``Tuner``, their searchers, schedulers and domains."""

from __future__ import annotations

from typing import Any

from tune_bridge.dialects.base import Dialect, Translation
from tune_bridge.dialects.calls import Call, Signature, build
from tune_bridge.dialects.python_source import Program, quote
from tune_bridge.dialects.ray_tune.reader import read_experiment
from tune_bridge.dialects.ray_tune.writer import write_run
from tune_bridge.dialects.sweep.keys import write_metric
from tune_bridge.errors import MissingExtraError
from tune_bridge.experiment import Experiment, Objective
from tune_bridge.garbage import no_collection
from tune_bridge.notes import Notes
from tune_bridge.values import EMPTY, Frozen

__all__ = ["TuneDialect", "live_arguments"]

_TWINS = {"ray": "tune_bridge", "hyperopt": "tune_bridge.hyperopt"}

_STUB = '''
def {name}(config):
    """Trains with a configuration and reports to Tune."""
    raise NotImplementedError("train with the configuration and report the metric")
'''


class TuneDialect(Dialect):
    """What people give to Ray Tune, recorded or live."""

    name = "tune"
    suffixes = (".py",)

    @no_collection()
    def read(self, source: Any, notes: Notes | None = None) -> Translation[Experiment]:
        """Reads a call of ``tune.run``, its arguments as a dict, or a ``Tuner``.

        Args:
            source: Recorded or live; the objects in it as well.
            notes: Where remarks go; a new list by default.

        Raises:
            SpecError: An argument is malformed, unknown or contradicts another.
            UnsupportedError: An argument says something that cannot be written down.
        """
        notes = Notes() if notes is None else notes
        return Translation(read_experiment(source, notes), notes)

    @no_collection()
    def write(self, experiment: Experiment) -> Translation[Call]:
        """Writes a call of ``tune.run``; `calls.build` of its arguments makes them live.

        Raises:
            SpecError: A mapping in the space that Ray would execute.
            UnsupportedError: A condition, or a searcher or scheduler that is not known.
        """
        notes = Notes()
        return Translation(write_run(experiment, notes), notes)

    @no_collection()
    def source(self, experiment: Experiment) -> Translation[str]:
        """Writes a program that calls ``tune.run``.

        A trainable is run by Ray itself. A program's path is no trainable of Ray's, so that such a
        search is recorded by `tune_bridge.tune`, whose ``run`` returns the sweep.

        Raises:
            SpecError: A mapping in the space that Ray would execute.
            UnsupportedError: A condition, or a searcher or scheduler that is not known.
        """
        recorded = experiment.program is not None
        called, keys = _keys(experiment) if recorded else (experiment, {})
        written = self.write(called)
        call, what = written.value, experiment.program or experiment.trainable
        program = Program(
            f"Searches with Ray Tune{f' for {what}' if what else ''}.",
            rename=_twin if recorded else lambda module: module,
        )
        # A function of the program that was started is nowhere else: this one has its name.
        module, _, own = (experiment.trainable or "").partition(":")
        if module == "__main__" and own.isidentifier():
            program.define(_STUB.format(name=own))
        if "run_or_experiment" not in call.arguments:
            program.define(_STUB.format(name="objective"))
            stub = Signature("objective", "__main__", "config")
            call = Call(call.signature, {"run_or_experiment": stub, **call.arguments})
        program.share(call, ("analysis", "config", "objective", own))
        program.assign("config" if recorded else "analysis", call)
        _set(program, keys)
        return Translation(str(program), written.notes)


def _keys(experiment: Experiment) -> tuple[Experiment, dict[str, Any]]:
    """An experiment as far as ``tune.run`` can say it, and what a sweep has besides, by key.

    The program has the sweep in its hands, and sets them there.
    """
    keys: dict[str, Any] = {}
    changes: dict[str, Any] = {}
    for key in ("command", "description", "project", "entity"):
        value = getattr(experiment, key)
        if value is not None:
            keys[key] = list(value) if isinstance(value, tuple) else value
            changes[key] = None
    goal = experiment.objective
    if goal is not None and (goal.target is not None or goal.options):
        keys["metric"] = write_metric(goal)
        changes["objective"] = Objective(goal.name, goal.goal)
    if experiment.is_grid and experiment.run_cap is not None:
        keys["run_cap"] = experiment.run_cap
        changes["run_cap"] = None
    extras = dict(experiment.extras.value)
    own = dict(extras.pop("sweep", {}))
    if own:
        keys |= own
        changes["extras"] = Frozen(extras, "extras") if extras else EMPTY
    return experiment.replace(**changes), keys


def _set(program: Program, keys: dict[str, Any]) -> None:
    """Adds lines that set keys of the sweep."""
    lines = []
    for key, value in keys.items():
        # The carry stands there as well.
        more = 'config.get("controller", {}) | ' if key == "controller" else ""
        start = f"config[{quote(key)}] = {more}"
        lines.append(start + program.text(value, used=len(start)))
    if lines:
        program.add("\n".join(lines))


def _twin(module: str) -> str:
    """The recording module in place of a module of Ray or HyperOpt."""
    root, dot, rest = module.partition(".")
    return f"tune_bridge.{rest}" if root == "ray" and dot else _TWINS.get(root, root) + dot + rest


def live_arguments(experiment: Experiment) -> dict[str, Any]:
    """The arguments of ``tune.run`` as live objects of Ray and HyperOpt.

    A program stays the string that names it: who runs it has to put a trainable in its place.

    Args:
        experiment: What to search.

    Raises:
        SpecError: A mapping in the space that Ray would execute, or a trainable that cannot be
            imported.
        UnsupportedError: A condition, or a searcher or scheduler that is not known.
        MissingExtraError: Ray or HyperOpt is not installed.
    """
    arguments = TuneDialect().write(experiment).value.arguments
    runnable = arguments.pop("run_or_experiment", None)
    try:
        live: dict[str, Any] = build(arguments)
    except ImportError:
        raise MissingExtraError("ray[tune]", "ray", "Ray Tune's own objects") from None
    if isinstance(runnable, Signature):
        runnable = runnable.resolve()
    return live if runnable is None else {"run_or_experiment": runnable, **live}
