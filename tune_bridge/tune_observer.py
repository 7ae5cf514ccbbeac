"""What a Tune callback wants to know and is not told: the experiment around it.

Tune gives its callbacks trials and results, but neither the searcher nor the scheduler nor the
search space. They are in the frames that call the hooks, and are read from there, once; should a
later version of Ray call differently, the sweep says less and everything else goes on.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from tune_bridge.callback_files import LEFT_OUT, LONGEST_TEXT
from tune_bridge.errors import TuneBridgeError

__all__ = [
    "Observer",
    "copied",
    "error_of",
    "error_text",
    "find",
    "lookup",
    "observed",
    "plain_config",
    "plain_row",
    "source_of",
]

_logger = logging.getLogger(__name__)

_NOISE = frozenset(
    {
        "checkpoint_dir_name",
        "config",
        "date",
        "done",
        "experiment_id",
        "experiment_tag",
        "hostname",
        "iterations_since_restore",
        "node_ip",
        "pid",
        "should_checkpoint",
        "time_since_restore",
        "timestamp",
        "timesteps_since_restore",
        "trial_id",
        "warmup_time",
    }
)
"""What Tune adds to a result about the machine; W&B's own callback leaves it out as well."""

_PLAIN = (float, int, bool, str, type(None))


class Observer:
    """A view of the running experiment.

    Args:
        controller: Tune's controller, or None when it was not found.
        arguments: Variables of ``tune.run`` by name.
    """

    def __init__(self, controller: Any, arguments: Mapping[str, Any]) -> None:
        self.controller = controller
        self._arguments = arguments

    @property
    def scheduler(self) -> Any:
        """The scheduler, or None."""
        return getattr(self.controller, "_scheduler_alg", None)

    @property
    def steered(self) -> Any:
        """The scheduler, when it is a `tune_bridge.SweepScheduler`; else None."""
        return self.scheduler if hasattr(self.scheduler, "commanded") else None

    @property
    def deciding(self) -> Any:
        """The scheduler that decides, or None."""
        return _deciding(self.scheduler)

    @property
    def scheduler_name(self) -> str:
        """The scheduler's class, for people."""
        name = "the scheduler" if self.scheduler is None else _class_name(self.deciding)
        stopper = getattr(self.controller, "_stopper", None)
        if stopper is not None and type(stopper).__name__ not in ("NoopStopper", "SweepStopper"):
            # Tune does not say which of the two it was.
            other = type(stopper).__name__
            name = other if name == "FIFOScheduler" else f"{name} or {other}"
        return name

    @property
    def experiment_name(self) -> str | None:
        """Tune's name of the experiment."""
        storage = getattr(self.controller, "_storage", None)
        return getattr(storage, "experiment_dir_name", None)

    def interrupted(self) -> bool:
        """Whether a Ctrl-C ended the experiment."""
        event = find(sys._getframe(1))._arguments.get("experiment_interrupted_event")
        stopper = getattr(self.controller, "_stopper", None)
        return bool(
            (event is not None and event.is_set()) or getattr(stopper, "interrupted", False)
        )

    @property
    def reached(self) -> str:
        """Why a sweep ended before its last run did, when its stopper says so."""
        return str(getattr(getattr(self.controller, "_stopper", None), "reached", ""))

    @property
    def refused(self) -> str:
        """Why a sweep could not be run, when its stopper says so."""
        return str(getattr(getattr(self.controller, "_stopper", None), "refused", ""))

    def why(self, trial: Any) -> str:
        """Why the scheduler stopped a trial, when it says so."""
        return str(getattr(self.deciding, "reasons", {}).get(trial.trial_id, ""))

    def because(self, trial: Any, result: dict[str, Any] | None = None) -> str:
        """Why a trial was stopped, behind a colon, as far as that is known; else empty.

        Args:
            trial: The trial.
            result: The one that it was stopped at, while the scheduler is as it was then.
        """
        reason: Any = None
        if self.steered is not None:
            reason = self.steered.reasons.get(trial.trial_id)
        elif result is not None:
            from tune_bridge.engines.tune.reasons import reasons_for

            with contextlib.suppress(Exception):  # a reason is no reason to end a search
                why = reasons_for(self.scheduler, self.controller)
                known = why.of_paused if trial.status == "PAUSED" else why.afterwards
                reason = why.stop(trial, result)[0] if known else None
        return f": {reason}" if reason else ""

    def commanded(self, trial: Any) -> str:
        """Why a trial ends, when somebody has asked for it; else empty."""
        steered = self.steered
        return steered.words if steered and trial.trial_id in steered.commanded else ""

    def exploited(self, trial: Any) -> tuple[str, dict[str, Any]]:
        """Why a trial goes on with another configuration, when the scheduler says so."""
        known = self.steered.exploits if self.steered is not None else {}
        return known.pop(trial.trial_id, ("", {}))  # type: ignore[no-any-return]

    def about(self) -> dict[str, Any]:
        """What runs it, for the sweep's meta data."""
        searcher = _unwrap(getattr(self.controller, "_search_alg", None))
        found = {}
        for name, thing in (("searcher", searcher), ("scheduler", self.deciding)):
            if thing is not None:
                found[name] = _class_name(thing)
        return found

    def natural_end(self, trial: Any, result: Mapping[str, Any]) -> str | None:
        """Why a trial ends with this result, when no scheduler cut it short.

        Returns:
            The reason, for people; None when it was the scheduler (or a stopper that does not say).
        """
        stopper = getattr(self.controller, "_stopper", None)
        said = getattr(stopper, "reasons", {}).get(trial.trial_id)
        if said:
            return str(said)
        for source in (trial, stopper):
            criteria = getattr(source, "stopping_criterion", None) or {}
            for name, limit in criteria.items():
                value = lookup(result, name)
                if isinstance(value, int | float) and value >= limit:
                    return f"reached {name} >= {limit}"
        scheduler = self.deciding
        limit = getattr(scheduler, "_max_t", getattr(scheduler, "_max_t_attr", None))
        unit = getattr(scheduler, "_time_attr", None)
        value = lookup(result, str(unit))
        if isinstance(limit, int | float) and isinstance(value, int | float) and value >= limit:
            return f"reached {unit} >= {limit}"
        kind = type(stopper).__name__
        if type(scheduler).__name__ == "FIFOScheduler" and kind in ("NoopStopper", "NoneType"):
            return ""  # the trainable itself said that it is done
        return None

    def sweep_config(self) -> dict[str, Any]:
        """The experiment as a sweep config, as much of it as a sweep can say."""
        from tune_bridge.sweep_config import SweepConfig

        arguments = self._tune_arguments()
        views = [arguments]
        if "search_alg" in arguments:
            views.append({**arguments, "search_alg": _without_space(arguments["search_alg"])})
        views += [
            {key: arguments[key] for key in arguments if key not in left_out}
            for left_out in (("search_alg",), ("search_alg", "scheduler"))
        ]
        for part in views:
            try:
                return dict(SweepConfig.from_tune(**part))
            except TuneBridgeError as error:
                _logger.debug("the experiment is no sweep: %s", error)
            except Exception:  # foreign objects; a smaller view follows
                _logger.debug("the experiment could not be read", exc_info=True)
        config: dict[str, Any] = {"method": "random", "parameters": {}}
        metric, mode = arguments.get("metric"), arguments.get("mode")
        if isinstance(metric, str):
            goal = "maximize" if mode == "max" else "minimize"
            config["metric"] = {"name": metric, "goal": goal}
        runnable = arguments.get("run_or_experiment")
        config["program"] = str(getattr(runnable, "__name__", runnable) or "trainable")
        return config

    def _tune_arguments(self) -> dict[str, Any]:
        found = self._arguments
        searcher = _unwrap(found.get("search_alg"))
        scheduler = _deciding(found.get("scheduler"))
        arguments: dict[str, Any] = {
            "run_or_experiment": found.get("run_or_experiment"),
            "config": found.get("config") or None,
            "stop": found.get("stop") if isinstance(found.get("stop"), dict) else None,
            "search_alg": None if _named(searcher, "BasicVariantGenerator") else searcher,
            "scheduler": None if _named(scheduler, "FIFOScheduler") else scheduler,
        }
        number = found.get("num_samples")
        if isinstance(number, int):
            arguments["num_samples"] = -1 if number >= sys.maxsize else number
        for name in ("metric", "mode"):
            arguments[name] = (
                found.get(name)
                or getattr(searcher, f"_{name}", None)
                or getattr(scheduler, f"_{name}", None)
            )
        return {key: value for key, value in arguments.items() if value is not None}


def find(frame: FrameType | None) -> Observer:
    """Looks for Tune among the callers of a hook."""
    controller: Any = None
    arguments: Mapping[str, Any] = {}
    while frame is not None:
        code = frame.f_code
        if code.co_filename.endswith("tune_controller.py"):
            controller = frame.f_locals.get("self", controller)
        elif code.co_name == "run" and code.co_filename.endswith("tune.py"):
            arguments = dict(frame.f_locals)
            break
        frame = frame.f_back
    return Observer(controller, arguments)


def source_of(trial: Any) -> tuple[str, str] | None:
    """The checkpoint that a trial goes on from: the trial that saved it, and the name of it.

    The name is that of its folder; where that lies changes when an experiment is moved.
    """
    with contextlib.suppress(AttributeError, TypeError):
        found = trial.latest_checkpoint_result
        if found is not None:
            return str(found.metrics["trial_id"]), Path(str(found.checkpoint.path)).name
    return None


def copied(trial: Any) -> dict[str, Any]:
    """Of a trial that goes on from another's checkpoint: both steps, and the other's values."""
    found: dict[str, Any] = {}
    with contextlib.suppress(AttributeError, KeyError, TypeError):
        metrics = trial.latest_checkpoint_result.metrics
        own = (trial.last_result or {}).get("training_iteration", 0)
        found["steps"] = [int(own), int(metrics["training_iteration"])]
        found["donor_config"] = dict(metrics["config"])
    return found


def error_of(trial: Any) -> BaseException | None:
    """The exception that ended a trial, as the worker raised it; None when it was not kept."""
    with contextlib.suppress(Exception):
        path = trial.pickled_error_file
        if path and Path(path).exists():
            import cloudpickle

            # Written by Tune on this machine a moment ago.
            error = cloudpickle.loads(Path(path).read_bytes())
            cause = getattr(error, "cause", None)
            return cause if isinstance(cause, BaseException) else error
    return None


def error_text(trial: Any) -> str:
    """The traceback that ended a trial, or what is known of it."""
    with contextlib.suppress(Exception):
        path = trial.error_file
        if path and Path(path).exists():
            return Path(path).read_text(errors="replace").strip()
    return str(error_of(trial) or "the trial failed")


def observed(configs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Parameters of a sweep config, of the values that were seen in runs."""
    seen: dict[str, list[Any]] = {}
    for config in configs:
        for name, value in config.items():
            values = seen.setdefault(name, [])
            if not any(type(value) is type(other) and value == other for other in values):
                values.append(value)
    return {
        name: {"value": values[0]} if len(values) == 1 else {"values": values}
        for name, values in seen.items()
    }


def plain_row(
    result: Mapping[str, Any],
    exclude: Collection[str],
    told: set[Any],
    keep: Callable[[str, Any], Any] | None = None,
) -> dict[str, Any]:
    """A result as a history row: flat, of plain values, without what Tune adds about the machine.

    Args:
        result: As Tune gives it, possibly nested; nested names are joined by ``/``, as Tune does.
        exclude: Names that are left out.
        told: Names whose values cannot be stored; each is warned of once.
        keep: Says what stands in the row for the value of a name that is neither a number nor a
            text of a row's length, or `tune_bridge.callback_files.LEFT_OUT`; such values are left
            out without.
    """

    def refuse(key: str, value: Any) -> Any:
        if key not in told:
            told.add(key)
            kind = type(value).__name__
            _logger.warning("%s is not logged: %s is no number and no text", key, kind)
        return LEFT_OUT

    row: dict[str, Any] = {}
    keep = keep or refuse
    for key, value in result.items():
        if key not in _NOISE and key not in exclude:
            _add(row, key, value, exclude, keep)
    return row


def _add(
    row: dict[str, Any],
    key: str,
    value: Any,
    exclude: Collection[str],
    keep: Callable[[str, Any], Any],
) -> None:
    kind = type(value)
    if kind in _PLAIN and (kind is not str or len(value) <= LONGEST_TEXT):
        row[key] = value if kind is not str else _text(value)
    elif kind is dict or isinstance(value, Mapping):
        for name, item in value.items():
            path = f"{key}/{name}"
            if path not in exclude:
                _add(row, path, item, exclude, keep)
    else:
        with contextlib.suppress(Exception):
            number = value.item() if hasattr(value, "item") else value
            if isinstance(number, str | int | float) and kind is not str:
                row[key] = number if type(number) in _PLAIN else _base(number)
                return
        with contextlib.suppress(Exception):
            row[key] = _listed(value)
            return
        if (kept := keep(key, value)) is not LEFT_OUT:
            row[key] = kept


def _listed(value: Any) -> Any:
    """A list of plain values, possibly nested.

    Raises:
        TypeError: It is none.
    """
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    if type(value) is dict:
        return {str(name): _listed(item) for name, item in value.items()}
    if type(value) not in _PLAIN:
        if not hasattr(value, "item"):
            raise TypeError
        try:
            value = value.item()
        except (ValueError, RuntimeError) as error:  # an array
            raise TypeError from error
        if type(value) not in _PLAIN:
            raise TypeError
    if type(value) is str:
        if len(value) > LONGEST_TEXT:
            raise TypeError
        return _text(value)
    return value


def _text(value: str) -> str:
    """A text as any place can hold it: a half of a surrogate pair is no character."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _base(value: str | float) -> Any:
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    return None


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as plain data; what cannot be stored becomes text."""
    return {
        str(key): _plain(value) for key, value in config.items() if not str(key).startswith("__")
    }


def _plain(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    for method in ("item", "tolist"):
        with contextlib.suppress(Exception):
            return _plain(getattr(value, method)())
    if isinstance(value, str | int | float):
        return _base(value)
    text = getattr(value, "__qualname__", None) or repr(value)
    return text if len(text) <= 200 else text[:197] + "..."


def _unwrap(searcher: Any) -> Any:
    while getattr(searcher, "searcher", None) is not None:
        searcher = searcher.searcher
    return searcher


def _without_space(searcher: Any) -> Any:
    """A searcher as it was before Tune gave it the space of the config.

    HyperOpt's initial points are trials by then, in words of that space, and are left out.
    """
    bare = copy.copy(searcher)
    with contextlib.suppress(AttributeError):
        bare._space = None
        if isinstance(getattr(bare, "_points_to_evaluate", None), int):
            bare._points_to_evaluate = None
    return bare


def _class_name(thing: Any) -> str:
    """A class for people; a private one stands for the class of Ray's that it is based on."""
    return next(kind.__name__ for kind in type(thing).__mro__ if not kind.__name__.startswith("_"))


def _deciding(scheduler: Any) -> Any:
    return getattr(scheduler, "inner", scheduler) if hasattr(scheduler, "commanded") else scheduler


def _named(thing: Any, name: str) -> bool:
    return type(thing).__name__ == name


def lookup(result: Mapping[str, Any], name: str) -> Any:
    """A result by its flat name (``val/loss``); None when there is none."""
    if name in result:
        return result[name]
    value: Any = result
    for part in name.split("/"):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value
