"""Searchers and schedulers: from calls to `Algorithm` values and back."""

from __future__ import annotations

import contextlib
import operator
from typing import Any, NamedTuple

from tune_bridge.dialects.base import suggest
from tune_bridge.dialects.calls import Call
from tune_bridge.dialects.python_space import at_path, recall, same, short, type_name
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment
from tune_bridge.notes import Notes
from tune_bridge.values import Frozen

__all__ = ["ReadScheduler", "ReadSearcher", "read_scheduler", "read_searcher", "write_scheduler"]

_SEARCHER_STRINGS = {
    "random": "BasicVariantGenerator",
    "variant_generator": "BasicVariantGenerator",
    "hyperopt": "HyperOptSearch",
}
_SCHEDULER_STRINGS = {
    "fifo": "FIFOScheduler",
    "asynchyperband": "AsyncHyperBandScheduler",
    "async_hyperband": "AsyncHyperBandScheduler",
}

_HELD = {
    "BasicVariantGenerator": ("points_to_evaluate", "max_concurrent", "random_state"),
    "HyperOptSearch": ("space", "metric", "mode", "points_to_evaluate", "random_state_seed"),
    "AsyncHyperBandScheduler": ("metric", "mode"),
}
"""Arguments that the experiment itself holds, by class."""

_SEED = {"BasicVariantGenerator": "random_state", "HyperOptSearch": "random_state_seed"}

_LARGE = 1_000_000
"""ASHA's max_t where W&B's hyperband has no end."""


class ReadSearcher(NamedTuple):
    """What a searcher says.

    Attributes:
        algorithm: Its class and own arguments.
        space: The space that it was given, as it was given, or None.
        points: Points to try first, as given.
        metric: Metric, or None.
        mode: "min", "max" or None.
        seed: Seed, or None.
        max_concurrent: A limit on trials at once, or None.
        default: No searcher was given.
    """

    algorithm: Algorithm
    space: Any = None
    points: Any = None
    metric: Any = None
    mode: Any = None
    seed: int | None = None
    max_concurrent: int | None = None
    default: bool = False


class ReadScheduler(NamedTuple):
    """What a scheduler says: class and arguments (None for FIFO), metric and mode."""

    algorithm: Algorithm | None
    metric: Any = None
    mode: Any = None


def read_searcher(value: Any) -> ReadSearcher:
    """Reads ``search_alg``.

    Raises:
        SpecError: A limit on concurrency is malformed.
        UnsupportedError: Another searcher than random search and HyperOpt.
    """
    if value is None:
        return ReadSearcher(RANDOM, default=True)
    call = _call(value, "search_alg", _SEARCHER_STRINGS, "searcher")
    if call.name == "ConcurrencyLimiter":
        if not same(call.get("batch"), False):
            raise UnsupportedError(
                "a ConcurrencyLimiter that works in batches is not supported yet",
                path="search_alg.batch",
                hint="leave batch out",
            )
        limit = _positive(call.get("max_concurrent"), "search_alg.max_concurrent")
        return read_searcher(call.get("searcher"))._replace(max_concurrent=limit, default=False)
    if call.name not in _SEED:
        raise _not_yet(
            "searcher", "search_alg", call.name, ("BasicVariantGenerator", "HyperOptSearch")
        )
    seed = call.get(_SEED[call.name])
    limit = call.get("max_concurrent")
    return ReadSearcher(
        algorithm=_algorithm(call, "search_alg"),
        space=call.get("space"),
        points=call.get("points_to_evaluate"),
        metric=call.get("metric"),
        mode=call.get("mode"),
        seed=None if seed is None else _whole_seed(seed, call.name),
        # 0 is the generator's way to say: no limit.
        max_concurrent=None
        if limit is None or same(limit, 0)
        else _positive(limit, "search_alg.max_concurrent"),
    )


def _whole_seed(seed: Any, name: str) -> int:
    if not isinstance(seed, bool):
        with contextlib.suppress(TypeError):
            return operator.index(seed)
    raise UnsupportedError(
        f"the seed of {name} is not an integer",
        path=f"search_alg.{_SEED[name]}",
        found=short(seed),
        expected="an integer",
    )


def _positive(value: Any, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SpecError(
            "a limit on trials at once",
            path=path,
            found=short(value),
            expected="a whole number above 0",
        )
    return value


def read_scheduler(value: Any) -> ReadScheduler:
    """Reads ``scheduler``.

    Raises:
        SpecError: An argument that the scheduler itself would refuse.
        UnsupportedError: Another scheduler than FIFO and ASHA.
    """
    if value is None:
        return ReadScheduler(None)
    call = _call(value, "scheduler", _SCHEDULER_STRINGS, "scheduler")
    if call.name == "FIFOScheduler":
        return ReadScheduler(None)
    if call.name == "ASHAScheduler":
        call = Call(SIGNATURES["AsyncHyperBandScheduler"], call.arguments)
    if call.name != "AsyncHyperBandScheduler":
        raise _not_yet("scheduler", "scheduler", call.name, ("FIFOScheduler", "ASHAScheduler"))
    _check_asha(call)
    return ReadScheduler(_algorithm(call, "scheduler"), call.get("metric"), call.get("mode"))


def _check_asha(call: Call) -> None:
    """The rules that Ray's constructor asserts."""
    numbers = {}
    for name in ("max_t", "grace_period", "reduction_factor", "brackets"):
        value = call.get(name)
        try:
            if isinstance(value, bool | str | bytes):
                raise TypeError
            numbers[name] = float(value)
        except (TypeError, ValueError, OverflowError):
            raise SpecError(
                f"{name} is not a number", path=f"scheduler.{name}", found=short(value)
            ) from None
    rules = (
        ("max_t", numbers["max_t"] > 0, "a number above 0"),
        ("grace_period", numbers["grace_period"] > 0, "a number above 0"),
        ("grace_period", numbers["grace_period"] <= numbers["max_t"], "at most max_t"),
        ("reduction_factor", numbers["reduction_factor"] > 1, "a number above 1"),
        ("brackets", numbers["brackets"] >= 1, "a whole number above 0"),
    )
    for name, kept, expected in rules:
        if not kept:
            raise SpecError(
                "Ray's scheduler refuses this",
                path=f"scheduler.{name}",
                found=f"{numbers[name]:g}",
                expected=expected,
            )


def _call(value: Any, path: str, strings: dict[str, str], what: str) -> Call:
    """A string, a live object or a recorded call, as a call."""
    if isinstance(value, str):
        name = strings.get(value.lower())
        if name is None:
            hint = suggest(value.lower(), list(strings))
            raise _not_yet(what, path, repr(value), tuple(map(repr, strings)), hint)
        return SIGNATURES[name].call()
    with at_path(path):
        call = recall(value, {})
    if isinstance(call, Call):
        return call
    name = value.__qualname__ if isinstance(value, type) else type_name(value)
    raise _not_yet(what, path, name, tuple(dict.fromkeys(strings.values())))


def _not_yet(
    what: str, path: str, found: str, known: tuple[str, ...], hint: str = ""
) -> UnsupportedError:
    return UnsupportedError(
        f"this {what} is not supported yet",
        path=path,
        found=found,
        expected=f"one of {', '.join(known)}",
        hint=hint,
    )


def _algorithm(call: Call, path: str) -> Algorithm:
    """The class and the arguments that are neither held elsewhere nor at their defaults."""
    held = _HELD[call.name]
    args = {
        name: value
        for name, value in call.arguments.items()
        if name not in held
        and value is not None
        and not same(value, call.signature.signature.parameters[name].default)
    }
    return Algorithm(call.name, Frozen(args, path))


def write_searcher(
    experiment: Experiment, notes: Notes, **held: Any
) -> tuple[Call | None, int | None]:
    """Writes the searcher of an experiment.

    Args:
        experiment: What to search.
        notes: Where remarks go.
        **held: Arguments that the caller prepared: space, metric, mode, points_to_evaluate.

    Returns:
        The call, or None where Tune's default will do; and the ``max_concurrent_trials`` that
        ``tune.run`` has to be given beside it.

    Raises:
        UnsupportedError: Tune has no such searcher here yet.
    """
    searcher = experiment.searcher
    kind = {"bayes": "HyperOptSearch"}.get(searcher.kind, searcher.kind)
    if kind not in _SEED:
        raise _not_yet("searcher", "searcher", searcher.kind, (*_SEED, "bayes"))
    args = dict(searcher.args.value)
    if searcher.kind == "bayes":
        notes.approximated(
            "searcher",
            "W&B's bayes as HyperOptSearch",
            "Ray Tune has no Gaussian process of its own; HyperOpt's TPE is the nearest searcher",
        )
        args = {}
    if experiment.seed is not None:
        args[_SEED[kind]] = experiment.seed
    limit = experiment.max_concurrent
    if kind == "BasicVariantGenerator" and (args or held):
        if limit is not None:
            args["max_concurrent"] = limit
        limit = None
    if kind == "BasicVariantGenerator" and not (args or held):
        return None, limit
    known = SIGNATURES[kind].signature.parameters
    unknown = [name for name in args if name not in known]
    if unknown:
        raise SpecError(
            f"{kind} has no such argument",
            path=f"searcher.{unknown[0]}",
            expected=f"one of {', '.join(known)}",
        )
    return SIGNATURES[kind].call(**{**held, **args}), limit


def write_scheduler(scheduler: Algorithm | None, notes: Notes) -> Call | None:
    """Writes the scheduler of an experiment; None stays None.

    Raises:
        SpecError: W&B's hyperband without its numbers.
        UnsupportedError: Tune has no such scheduler here yet.
    """
    if scheduler is None:
        return None
    if scheduler.kind == "AsyncHyperBandScheduler":
        return SIGNATURES["ASHAScheduler"].call(**scheduler.args.value)
    if scheduler.kind == "hyperband":
        return _hyperband(scheduler, notes)
    raise _not_yet(
        "scheduler", "scheduler", scheduler.kind, ("AsyncHyperBandScheduler", "hyperband")
    )


def _hyperband(scheduler: Algorithm, notes: Notes) -> Call:
    """W&B's early termination as ASHA.

    W&B's bands are ``min_iter * eta ** k`` without end, or ``max_iter / eta ** k`` for k from 1 to
    s (``sweeps.hyperband_stopping``); a run is stopped in a band when it is not in its best 1/eta.
    """
    eta = scheduler.arg("eta", 3)
    if scheduler.arg("min_iter") is not None:
        grace, most = scheduler.arg("min_iter"), _LARGE
    elif scheduler.arg("max_iter") is not None and scheduler.arg("s") is not None:
        most = scheduler.arg("max_iter")
        bands = [int(most / eta**k) for k in range(1, scheduler.arg("s") + 1)]
        grace = min((band for band in bands if band >= 1), default=1)
    else:
        raise SpecError(
            "hyperband without its numbers",
            path="scheduler",
            expected="min_iter, or max_iter and s",
        )
    notes.approximated(
        "scheduler",
        "W&B's hyperband as ASHAScheduler",
        "the bands are the same, but ASHA judges a trial when it arrives in a band, once, "
        "and W&B judges all runs again whenever it looks",
    )
    if scheduler.arg("strict"):
        notes.approximated(
            "scheduler.strict", "left out", "ASHA always stops a trial that falls below"
        )
    return SIGNATURES["ASHAScheduler"].call(
        max_t=max(most, grace), grace_period=grace, reduction_factor=eta, stop_last_trials=False
    )
