"""The ``tune:`` documents that wandb 0.8 to 0.10 wrote: read, as calls of ``tune.run``.

Source: ``wandb/sweeps/config`` and ``wandb/sweeps/engine`` of wandb 0.10.12. A call is a mapping
with one key, ``module.function``, and its arguments: a list, a mapping, or
``{args: [...], kwargs: {...}}``. Labels of ``hp`` could repeat there, because the key in the dict
named the parameter; ``loguniform`` took the values themselves as bounds, and no label.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from tune_bridge.dialects.calls import Call
from tune_bridge.dialects.hyperopt.signatures import LAWS
from tune_bridge.dialects.hyperopt.signatures import SIGNATURES as HYPEROPT
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES as TUNE
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.notes import Notes

__all__ = ["legacy_arguments"]

_HP = {"choice", "pchoice", "randint", *(law.name for law in LAWS)}


def legacy_arguments(config: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """The arguments of ``tune.run`` that a document records.

    Args:
        config: The document.
        notes: Gets a note for what the old version did otherwise.

    Raises:
        SpecError: The document is malformed.
        UnsupportedError: It calls something that the old version did not have.
    """
    if not isinstance(config["tune"], Mapping):
        raise SpecError("not a recorded tune.run", path="tune", found=repr(config["tune"])[:40])
    run = dict(config["tune"])
    stamp = run.pop("_wandb", None) or {}
    arguments = {
        name: _value(value, f"tune.{name}", name)
        for name, value in run.items()
        if value is not None
    }
    program = config.get("program")
    if program is not None:
        arguments.setdefault("run_or_experiment", program)
    if isinstance(config.get("name"), str):
        arguments.setdefault("name", config["name"])
    notes.exact("tune", "a document of wandb 0.8 to 0.10", "the seed and versions are its own")
    seed = stamp.get("seed") if isinstance(stamp, Mapping) else None
    search = arguments.get("search_alg")
    if isinstance(search, Call) and type(seed) is int:
        search.arguments.setdefault("random_state_seed", seed)
    limit = search.arguments.pop("$max_concurrent", None) if isinstance(search, Call) else None
    if limit is not None:
        arguments.setdefault("max_concurrent_trials", limit)
    if "scheduler" in arguments:
        notes.exact(
            "scheduler", "used now", "the old version wrote schedulers down and ignored them"
        )
    return arguments


def _value(value: Any, path: str, name: str) -> Any:
    if isinstance(value, list):
        return [_value(item, f"{path}[{i}]", name) for i, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    if len(value) == 1:
        ((key, content),) = value.items()
        maker = _maker(key)
        if maker is not None:
            return maker(key, *_arguments(content, f"{path}.{key}"), name, path)
        if isinstance(key, str) and key.split(".")[0] in ("hyperopt", "tune") and "." in key:
            raise UnsupportedError("an unknown function", path=f"{path}.{key}", found=key)
    return {key: _value(item, f"{path}.{key}", str(key)) for key, item in value.items()}


def _arguments(content: Any, path: str) -> tuple[list[Any], dict[str, Any]]:
    if isinstance(content, list):
        return content, {}
    if not isinstance(content, Mapping):
        raise SpecError("not the arguments of a call", path=path, found=repr(content)[:40])
    if set(content) == {"args", "kwargs"}:
        return list(content["args"] or ()), dict(content["kwargs"] or {})
    return [], dict(content)


_Maker = Callable[[str, list[Any], dict[str, Any], str, str], Any]


def _hp(key: str, args: list[Any], kwargs: dict[str, Any], name: str, path: str) -> Any:
    function = key.rpartition(".")[2]
    values = [_value(item, f"{path}[{i}]", name) for i, item in enumerate(args[1:])]
    named = {k: _value(v, f"{path}.{k}", name) for k, v in kwargs.items() if k != "label"}
    return _bound(f"hp.{function}", [name, *values], named, path)


def _loguniform(key: str, args: list[Any], kwargs: dict[str, Any], name: str, path: str) -> Any:
    bounds = [*args, *(kwargs[k] for k in ("min_bound", "max_bound") if k in kwargs)]
    if len(bounds) < 2:
        raise SpecError("loguniform without two bounds", path=path, found=repr(bounds))
    return _domain("loguniform", bounds[0], bounds[1], name, path)


def _uniform(key: str, args: list[Any], kwargs: dict[str, Any], name: str, path: str) -> Any:
    call = _bound("tune.uniform", args, kwargs, path)
    return _domain("uniform", call.get("lower"), call.get("upper"), name, path)


def _domain(function: str, low: Any, high: Any, name: str, path: str) -> Call:
    """A domain of Tune; inside of a searcher's space the ``hp`` parameter with the same law."""
    if ".space" not in path:
        return TUNE[f"tune.{function}"].call(low, high)
    if function == "loguniform":
        try:
            low, high = math.log(low), math.log(high)
        except (TypeError, ValueError):
            raise SpecError(
                "a log scale needs positive bounds", path=path, found=f"{low!r}, {high!r}"
            ) from None
    return HYPEROPT[f"hp.{function}"].call(name, low, high)


def _bound(function: str, args: list[Any], kwargs: dict[str, Any], path: str) -> Call:
    try:
        return (HYPEROPT if function.startswith("hp.") else TUNE)[function].call(*args, **kwargs)
    except TypeError as error:
        raise SpecError(str(error), path=path) from None


def _algorithm(key: str, args: list[Any], kwargs: dict[str, Any], name: str, path: str) -> Any:
    function = key.rpartition(".")[2]
    given = {k: _value(v, f"{path}.{k}", k) for k, v in kwargs.items() if v is not None}
    reward = given.pop("reward_attr", None)
    if reward is not None:
        given.setdefault("metric", reward)
        given.setdefault("mode", "max")
    limit = given.pop("max_concurrent", None)
    call = _bound(function, args, given, path)
    if limit is not None:
        # Today's searchers have no such argument; `legacy_arguments` gives it to tune.run.
        call.arguments["$max_concurrent"] = limit
    return call


_MAKERS: dict[str, _Maker] = {
    **{f"hyperopt.hp.{name}": _hp for name in _HP},
    "hyperopt.loguniform": _loguniform,
    "tune.loguniform": _loguniform,
    "tune.uniform": _uniform,
    "hyperopt.HyperOptSearch": _algorithm,
    "AsyncHyperBandScheduler": _algorithm,
    "async_hyperband.AsyncHyperBandScheduler": _algorithm,
}
"""Key of a node -> what it becomes."""


def _maker(key: Any) -> _Maker | None:
    return _MAKERS.get(key) if isinstance(key, str) else None
