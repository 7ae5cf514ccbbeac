"""The ``tune:`` documents that wandb 0.8 to 0.10 wrote: calls of ``tune.run``, as YAML.

Source: ``wandb/sweeps/config`` (which wrote them) and ``wandb/sweeps/engine`` (which executed them)
of wandb 0.10.12, on Ray 0.7.6 and HyperOpt 0.2.1. A call is a mapping with one key,
``module.function``, and its arguments: a list, a mapping, or ``{args: [...], kwargs: {...}}``.
Labels of ``hp`` could repeat there, because the key in the dict named the parameter;
``loguniform`` took the values themselves as bounds, and no label. The engine knew `ENGINE` and
nothing else, and looked at the top of a space only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tune_bridge.dialects.base import Dialect, Translation, suggest
from tune_bridge.dialects.calls import Call, Signature, parse_signatures
from tune_bridge.dialects.hyperopt.signatures import LAWS, scope
from tune_bridge.dialects.hyperopt.signatures import SIGNATURES as HYPEROPT
from tune_bridge.dialects.python_space import at_path, join, short
from tune_bridge.dialects.ray_tune import TuneDialect
from tune_bridge.dialects.ray_tune.signatures import DOMAINS, OWN
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES as TUNE
from tune_bridge.dialects.ray_tune.tables import CLASSES, REMOVED
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Notes
from tune_bridge.values import Frozen

__all__ = ["ENGINE", "RUN", "LegacyDialect", "record"]

RUN: Signature = parse_signatures(
    "wandb.sweeps.config",
    "run(run_or_experiment, name=None, stop=None, config=None, resources_per_trial=None, "
    "num_samples=None, local_dir=None, upload_dir=None, trial_name_creator=None, loggers=None, "
    "sync_to_cloud=None, sync_to_driver=None, checkpoint_freq=None, checkpoint_at_end=None, "
    "keep_checkpoints_num=None, checkpoint_score_attr=None, global_checkpoint_period=None, "
    "export_formats=None, max_failures=None, restore=None, search_alg=None, scheduler=None, "
    "with_server=None, server_port=None, verbose=None, resume=None, queue_trials=None, "
    "reuse_actors=None, trial_executor=None, raise_on_failed_trial=None, return_trials=None, "
    "ray_auto_init=None, sync_function=None)",
    prefix="tune",
)["tune.run"]
"""``tune.run`` as wandb 0.10.12 had it."""

ENGINE = (
    "tune.uniform",
    "tune.loguniform",
    "tune.choice",
    "tune.randint",
    "tune.randn",
    "hyperopt.hp.uniform",
    "hyperopt.hp.choice",
    "hyperopt.HyperOptSearch",
)
"""The calls that the engine of wandb 0.10.12 could execute."""

_USED = ("run_or_experiment", "config", "num_samples", "search_alg")
_GONE = {
    name for name in RUN.signature.parameters if name not in TUNE["tune.run"].signature.parameters
}
_TEXT = ("description", "project", "entity")


def record(key: str, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One call as a document holds it.

    Args:
        key: ``tune.uniform``.
        args: Arguments by position.
        kwargs: Arguments by name; those that are None are left out, as wandb left them out.
    """
    args, named = list(args), {k: v for k, v in (kwargs or {}).items() if v is not None}
    if (args and named) or (not args and set(named) == {"args", "kwargs"}):
        return {key: {"args": args, "kwargs": named}}
    return {key: args or named}


class LegacyDialect(Dialect):
    """The documents as plain data."""

    name = "legacy"
    suffixes = (".yaml", ".yml")

    def read(self, source: Any, notes: Notes | None = None) -> Translation[Experiment]:
        """Reads a document; recorded and live objects may stand in it.

        Raises:
            SpecError: The document is malformed.
            UnsupportedError: It calls something that the old version did not have.
        """
        notes = Notes() if notes is None else notes
        if not isinstance(source, Mapping) or "tune" not in source:
            raise SpecError(
                "not a document of wandb 0.8 to 0.10",
                found=short(source),
                expected="a mapping with the key tune",
            )
        with at_path("tune"):
            experiment = TuneDialect().read(_arguments(source, notes), notes).value
        return Translation(_around(experiment, source), notes)

    def write(self, experiment: Experiment) -> Translation[dict[str, Any]]:
        """Writes a document; a note says what wandb 0.10.12 would not have executed.

        Raises:
            SpecError: Something malformed in the experiment.
            UnsupportedError: Ray has no such searcher or scheduler.
        """
        from tune_bridge.dialects.legacy_writer import write_document

        notes = Notes()
        document = write_document(experiment, notes, self.read)
        return Translation(document, notes)

    def source(self, experiment: Experiment) -> Translation[str]:
        """Writes the text of a file."""
        from tune_bridge.dialects.sweep import yaml_file

        written = self.write(experiment)
        return Translation(yaml_file.dump(written.value), written.notes)


def _arguments(config: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """The arguments of today's ``tune.run`` that a document records."""
    if not isinstance(config["tune"], Mapping):
        raise SpecError("not a recorded tune.run", found=repr(config["tune"])[:40])
    run = dict(config["tune"])
    stamp = run.pop("_wandb", None) or {}
    for name in _GONE.intersection(run):
        if run.pop(name) is not None:
            why = REMOVED.get(name, "Ray has no such argument any more")
            notes.exact(name, "left out, as wandb left it out", why)
    arguments = {name: _value(value, name, "") for name, value in run.items() if value is not None}
    if config.get("program") is not None:
        arguments.setdefault("run_or_experiment", config["program"])
    if isinstance(config.get("name"), str):
        arguments["name"] = config["name"]
    # The engine went on for ever without a number.
    arguments.setdefault("num_samples", -1)
    notes.exact("tune", "a document of wandb 0.8 to 0.10", "the seed and versions are its own")
    seed = stamp.get("seed") if isinstance(stamp, Mapping) else None
    search = arguments.get("search_alg")
    if isinstance(search, Call):
        _searcher(search, arguments, seed, notes)
    elif type(seed) is int:
        notes.approximated("_wandb.seed", "left out", "the engine used it for HyperOptSearch alone")
    for name in arguments:
        if name not in _USED and name not in ("name", "max_concurrent_trials"):
            notes.exact(name, "used now", "the old version wrote it down and ignored it")
    return arguments


def _searcher(search: Call, run: dict[str, Any], seed: Any, notes: Notes) -> None:
    """What stood beside the arguments that the searcher has today."""
    given = search.arguments
    known = search.signature.signature.parameters
    if type(seed) is int and "random_state_seed" in known:
        given.setdefault("random_state_seed", seed)
    limit = given.pop("$max_concurrent", None)
    if limit is not None:
        run.setdefault("max_concurrent_trials", limit)
        notes.exact("search_alg.max_concurrent", "used now", "the old version ignored it")
    if "points_to_evaluate" in given:
        notes.exact("search_alg.points_to_evaluate", "used now", "the old version ignored them")
    scheduler = run.get("scheduler")
    told = isinstance(scheduler, Call) and scheduler.get("metric") is not None
    told = told or "metric" in given or "metric" in run
    if search.name == "HyperOptSearch" and not told:
        given |= {"metric": "episode_reward_mean", "mode": "max"}
        notes.exact(
            "search_alg.metric", "episode_reward_mean, maximized", "the default of that time"
        )


def _around(experiment: Experiment, config: Mapping[str, Any]) -> Experiment:
    """The experiment with the keys beside ``tune``."""
    extras = {
        key: value
        for key, value in config.items()
        if key not in ("tune", "program", "name", "command", *_TEXT)
    }
    texts = {key: config[key] for key in _TEXT if isinstance(config.get(key), str)}
    command = config.get("command")
    if isinstance(command, list):
        texts["command"] = tuple(map(str, command))
    if extras:
        kept = experiment.extras.value
        texts["extras"] = Frozen({**kept, "sweep": {**kept.get("sweep", {}), **extras}})
    return experiment.replace(**texts)


# Calls --------------------------------------------------------------------------------------------


def _value(value: Any, path: str, where: str) -> Any:
    """A value with the calls in it; `where` it stands in the space labels what is drawn."""
    if isinstance(value, list | tuple):
        items = [_value(item, f"{path}[{i}]", f"{where}[{i}]") for i, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if not isinstance(value, Mapping):
        return value
    if len(value) == 1:
        ((key, content),) = value.items()
        maker = _MAKERS.get(key) if isinstance(key, str) else None
        if maker is not None:
            with at_path(f"{path}.{key}"):
                return maker(key, *_given(content), where)
        if isinstance(key, str) and key.split(".")[0] in ("hyperopt", "tune") and "." in key:
            raise UnsupportedError(
                "an unknown function",
                path=f"{path}.{key}",
                found=key,
                hint=suggest(key, list(_MAKERS)),
            )
    return {k: _value(item, f"{path}.{k}", join(where, k)) for k, item in value.items()}


def _given(content: Any) -> tuple[list[Any], dict[str, Any]]:
    if isinstance(content, list | tuple):
        return list(content), {}
    if not isinstance(content, Mapping):
        raise SpecError("not the arguments of a call", found=short(content))
    if set(content) == {"args", "kwargs"}:
        return list(content["args"] or ()), dict(content["kwargs"] or {})
    return [], dict(content)


_Maker = Callable[[str, list[Any], dict[str, Any], str], Any]


def _bound(signature: Signature, args: list[Any], kwargs: dict[str, Any]) -> Call:
    try:
        return signature.call(*args, **kwargs)
    except TypeError as error:
        raise SpecError(str(error)) from None


def _hp(key: str, args: list[Any], kwargs: dict[str, Any], where: str) -> Any:
    label = args[0] if args else kwargs.get("label")
    if not isinstance(label, str):
        raise SpecError(
            f"{key} without a label",
            found="none" if label is None else repr(label),
            expected=f'{key.removeprefix("hyperopt.")}("name", ...)',
        )
    rest = [_value(item, f"[{i}]", where) for i, item in enumerate(args[1:], 1)]
    named = {k: _value(v, k, where) for k, v in kwargs.items() if k != "label"}
    return _bound(HYPEROPT[key.removeprefix("hyperopt.")], [where, *rest], named)


def _scope(key: str, args: list[Any], kwargs: dict[str, Any], where: str) -> Any:
    operands = [_value(item, f"[{i}]", where) for i, item in enumerate(args)]
    return _bound(scope(key.rpartition(".")[2]), operands, kwargs)


_BOUNDS = {"lower": "min_bound", "upper": "max_bound"}


def _loguniform(key: str, args: list[Any], kwargs: dict[str, Any], where: str) -> Any:
    names = ("min_bound", "max_bound", "base")
    given = dict(zip(names, args, strict=False)) | {_BOUNDS.get(k, k): v for k, v in kwargs.items()}
    if any(name not in names for name in given) or not {*names[:2]} <= given.keys():
        raise SpecError("loguniform without two bounds", found=short(args or kwargs))
    if isinstance(given["min_bound"], str):
        raise SpecError(
            "loguniform took no label",
            found=repr(given["min_bound"]),
            expected="hp.loguniform(min_bound, max_bound)",
            hint="leave the label out: the key in the dict names the parameter",
        )
    # The base is the one that Ray computes with; the law is the same for all of them.
    return TUNE["tune.loguniform"].call(given["min_bound"], given["max_bound"])


_NUMPY = parse_signatures(
    "numpy.random",
    """
    uniform(low=0.0, high=1.0)
    randint(low, high=None)
    choice(a, size=None, replace=True, p=None)
    """,
)
"""What Ray 0.7.6 handed the arguments of its functions to."""

_TODAY = {"lower": "low", "upper": "high", "categories": "a"}


def _numpy(key: str, args: list[Any], kwargs: dict[str, Any]) -> Call:
    named = {_TODAY.get(name, name): value for name, value in kwargs.items()}
    return _bound(_NUMPY[key.removeprefix("tune.")], args, named)


def _domain(key: str, args: list[Any], kwargs: dict[str, Any], where: str) -> Any:
    if key not in ("tune.uniform", "tune.randint"):
        return _bound(TUNE[key], args, kwargs)
    given = _numpy(key, args, kwargs)
    low, high = given.get("low"), given.get("high")
    return TUNE[key].call(*((0, low) if high is None else (low, high)))


def _choice(key: str, args: list[Any], kwargs: dict[str, Any], where: str) -> Any:
    given = _numpy(key, args, kwargs)
    values = _value(given.get("a"), "a", where)
    values = list(range(values)) if type(values) is int else values
    weights = given.get("p")
    return (
        TUNE["tune.choice"].call(values)
        if weights is None
        else OWN["domains.choice"].call(values, weights)
    )


def _own(key: str, args: list[Any], kwargs: dict[str, Any], where: str) -> Any:
    named = {k: _value(v, k, where) for k, v in kwargs.items()}
    return _bound(OWN[key.removeprefix("tune_bridge.")], args, named)


def _algorithm(key: str, args: list[Any], kwargs: dict[str, Any], where: str) -> Any:
    signature = TUNE[key.rpartition(".")[2]]
    known = signature.signature.parameters
    kwargs = kwargs | (kwargs.get("kwargs") or {})  # wandb nested what **kwargs took
    given = {k: _value(v, k, "") for k, v in kwargs.items() if v is not None and k != "kwargs"}
    values = [_value(item, f"[{i}]", "") for i, item in enumerate(args)]
    limit = None if "max_concurrent" in known else given.pop("max_concurrent", None)
    reward = given.pop("reward_attr", None)
    if reward is not None:
        given.setdefault("metric", reward)
        given.setdefault("mode", "max")
    call = _bound(signature, values, given)
    if call.get("metric") is not None and "mode" in known:
        call.arguments.setdefault("mode", "max")
    if limit is not None:
        # Today's searchers have no such argument; `_searcher` gives it to tune.run.
        call.arguments["$max_concurrent"] = limit
    return call


_MAKERS: dict[str, _Maker] = {
    **{f"hyperopt.hp.{name}": _hp for name in ("choice", "pchoice", "randint")},
    **{f"hyperopt.hp.{law.name}": _hp for law in LAWS},
    **{f"hyperopt.scope.{name}": _scope for name in ("int", "float")},
    **{f"tune.{row.name}": _domain for row in DOMAINS},
    **{f"tune_bridge.{name}": _own for name in OWN},
    "tune.choice": _choice,
    "tune.loguniform": _loguniform,
    "hyperopt.loguniform": _loguniform,
    **dict.fromkeys(CLASSES, _algorithm),
    "hyperopt.HyperOptSearch": _algorithm,
    "async_hyperband.AsyncHyperBandScheduler": _algorithm,
}
"""Key of a call -> what it becomes."""
