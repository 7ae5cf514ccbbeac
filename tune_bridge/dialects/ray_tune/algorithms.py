"""Searchers and schedulers: from calls to `Algorithm` values and back, by the tables.

Wrappers are searchers with a searcher among their arguments: ``Repeater`` always, a
``ConcurrencyLimiter`` only when it works in batches; without, it is the experiment's
``max_concurrent``.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from tune_bridge.dialects.base import suggest
from tune_bridge.dialects.calls import Call
from tune_bridge.dialects.python_space import at_path, recall, same, short, type_name
from tune_bridge.dialects.ray_tune.carried import keep_arguments, revive_arguments
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES
from tune_bridge.dialects.ray_tune.tables import (
    CLASSES,
    SCHEDULER_STRINGS,
    SEARCHER_STRINGS,
    Table,
)
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment
from tune_bridge.notes import Notes
from tune_bridge.values import Frozen

__all__ = [
    "ReadScheduler",
    "ReadSearcher",
    "innermost",
    "read_scheduler",
    "read_searcher",
    "write_scheduler",
    "write_searcher",
]

_WRAPPERS = ("ConcurrencyLimiter", "Repeater")

_AX_SEED = "random_seed"
"""Ax takes its seed among the further arguments of its client."""

_LARGE = 1_000_000
"""ASHA's max_t where W&B's hyperband has no end."""


def innermost(searcher: Algorithm) -> Algorithm:
    """The searcher that thinks, without its wrappers."""
    while searcher.kind in _WRAPPERS:
        searcher = _plain_algorithm(searcher.arg("searcher"))
    return searcher


def _plain_algorithm(data: Any) -> Algorithm:
    """An algorithm among another's arguments.

    Raises:
        SpecError: The data, which may come from a file, is none.
    """
    if isinstance(data, dict) and len(data) == 1:
        ((kind, args),) = data.items()
        if kind in CLASSES and isinstance(args, dict):
            return Algorithm(kind, Frozen(args))
    raise SpecError(
        "an algorithm in another", found=short(data), expected='{"HyperOptSearch": {...}}'
    )


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

    @property
    def kind(self) -> str:
        """The class of the searcher that thinks."""
        return innermost(self.algorithm).kind


class ReadScheduler(NamedTuple):
    """What a scheduler says: class and arguments (None for FIFO), metric and mode."""

    algorithm: Algorithm | None
    metric: Any = None
    mode: Any = None


def read_searcher(value: Any) -> ReadSearcher:
    """Reads ``search_alg``.

    Raises:
        SpecError: A limit on concurrency is malformed.
        UnsupportedError: A searcher of the user's own, or an argument that has no name.
    """
    if value is None:
        return ReadSearcher(RANDOM, default=True)
    call = _call(value, "search_alg", SEARCHER_STRINGS, ("searcher", "limiter"))
    table = CLASSES[call.name]
    if table.role == "limiter":
        return _read_wrapper(call, table)
    args = keep_arguments(call, table, "search_alg")
    seed_name, limit_name = table.native("seed"), table.native("max_concurrent")
    seed = call.get(seed_name) if seed_name else None
    if call.name == "AxSearch" and _AX_SEED in args.get("ax_kwargs", {}):
        seed, seed_name = args["ax_kwargs"].pop(_AX_SEED), _AX_SEED
        args = {name: item for name, item in args.items() if item != {}}
    limit = call.get(limit_name) if limit_name else None
    space_name = table.native("space")
    return ReadSearcher(
        algorithm=Algorithm(call.name, Frozen(args, "search_alg")),
        space=call.get(space_name) if space_name else None,
        points=call.get("points_to_evaluate"),
        metric=call.get("metric"),
        mode=call.get("mode"),
        seed=None if seed is None else _whole_seed(seed, call.name, str(seed_name)),
        # 0 is the way to say: no limit.
        max_concurrent=None
        if limit is None or same(limit, 0)
        else _positive(limit, "search_alg.max_concurrent"),
    )


def _read_wrapper(call: Call, table: Table) -> ReadSearcher:
    inner = read_searcher(call.get("searcher"))
    if call.name == "ConcurrencyLimiter":
        limit = _positive(call.get("max_concurrent"), "search_alg.max_concurrent")
        inner = inner._replace(max_concurrent=limit, default=False)
        if same(call.get("batch"), False):
            return inner
    elif isinstance(recall(call.get("searcher"), {}), Call) and inner.max_concurrent is not None:
        raise UnsupportedError(
            "a limit on trials inside of a Repeater",
            path="search_alg.searcher",
            hint="put the ConcurrencyLimiter around the Repeater, as Ray's documentation says",
        )
    args = keep_arguments(call, table, "search_alg", skip=("searcher",))
    args["searcher"] = {inner.algorithm.kind: inner.algorithm.args.value}
    return inner._replace(algorithm=Algorithm(call.name, Frozen(args, "search_alg")))


def _whole_seed(seed: Any, name: str, argument: str) -> int:
    if not isinstance(seed, bool):
        with contextlib.suppress(TypeError):
            return operator.index(seed)
    raise UnsupportedError(
        f"the seed of {name} is not an integer",
        path=f"search_alg.{argument}",
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


def read_scheduler(value: Any, path: str = "scheduler") -> ReadScheduler:
    """Reads ``scheduler``.

    Raises:
        SpecError: An argument that the scheduler itself would refuse.
        UnsupportedError: A scheduler of the user's own, or an argument that has no name.
    """
    if type(value).__name__ == "SweepScheduler":  # ours: what is in it decides
        value = value.inner
    if value is None:
        return ReadScheduler(None)
    call = _call(value, path, SCHEDULER_STRINGS, ("scheduler",))
    if call.name == "FIFOScheduler":
        return ReadScheduler(None)
    if call.name == "ASHAScheduler":
        call = Call(SIGNATURES["AsyncHyperBandScheduler"], call.arguments)
    _check_numbers(call, path)
    args = keep_arguments(call, CLASSES[call.name], path, skip=("base_scheduler",))
    metric, mode = call.get("metric"), call.get("mode")
    if call.name == "ResourceChangingScheduler":
        base = read_scheduler(call.get("base_scheduler"), f"{path}.base_scheduler")
        metric, mode = base.metric, base.mode
        if base.algorithm is not None:
            args["base_scheduler"] = {base.algorithm.kind: base.algorithm.args.value}
        if args.get("resources_allocation_function") == {"DistributeResources": {}}:
            del args["resources_allocation_function"]
    return ReadScheduler(Algorithm(call.name, Frozen(args, path)), metric, mode)


_ABOVE_0 = (lambda value: value > 0, "a number above 0")
_RULES: dict[str, dict[str, tuple[Callable[[float], bool], str]]] = {
    "AsyncHyperBandScheduler": {
        "max_t": _ABOVE_0,
        "grace_period": _ABOVE_0,
        "reduction_factor": (lambda value: value > 1, "a number above 1"),
        "brackets": (lambda value: value >= 1, "a whole number above 0"),
    },
    "HyperBandScheduler": {
        "max_t": _ABOVE_0,
        "reduction_factor": (lambda value: value > 1, "a number above 1"),
    },
    "PopulationBasedTraining": {
        "perturbation_interval": _ABOVE_0,
        "quantile_fraction": (lambda value: 0 <= value <= 0.5, "from 0 to 0.5"),
    },
}
_RULES["HyperBandForBOHB"] = _RULES["HyperBandScheduler"]
_RULES["PB2"] = _RULES["PopulationBasedTraining"]

_NEEDS = {
    "PopulationBasedTraining": ("hyperparam_mutations", "custom_explore_fn"),
    "PB2": ("hyperparam_bounds",),
}
"""Scheduler -> arguments of which Ray wants at least one."""


def _check_numbers(call: Call, path: str) -> None:
    """The rules that Ray's constructors assert."""
    numbers = {}
    for name, (kept, expected) in _RULES.get(call.name, {}).items():
        value = call.get(name)
        try:
            if isinstance(value, bool | str | bytes):
                raise TypeError
            numbers[name] = float(value)
        except (TypeError, ValueError, OverflowError):
            raise SpecError(
                f"{name} is not a number", path=f"{path}.{name}", found=short(value)
            ) from None
        if not kept(numbers[name]):
            raise _refused(f"{path}.{name}", f"{numbers[name]:g}", expected)
    if "grace_period" in numbers and numbers["grace_period"] > numbers["max_t"]:
        raise _refused(f"{path}.grace_period", f"{numbers['grace_period']:g}", "at most max_t")
    needs = _NEEDS.get(call.name, ())
    if needs and not any(call.get(name) for name in needs):
        raise _refused(f"{path}.{needs[0]}", "nothing", " or ".join(needs))


def _refused(path: str, found: str, expected: str) -> SpecError:
    return SpecError("Ray's scheduler refuses this", path=path, found=found, expected=expected)


def _call(value: Any, path: str, strings: dict[str, str], roles: tuple[str, ...]) -> Call:
    """A string, a live object or a recorded call, as a call."""
    if isinstance(value, str):
        name = strings.get(value.lower())
        if name is None:
            hint = suggest(value.lower(), list(strings))
            raise _unknown(roles[0], path, repr(value), tuple(map(repr, strings)), hint)
        return SIGNATURES[name].call() if name not in _NOT_BARE else _not_bare(name, path)
    with at_path(path):
        call = recall(value, {})
    if isinstance(call, Call) and call.name in CLASSES and CLASSES[call.name].role in roles:
        return call
    name = value.__qualname__ if isinstance(value, type) else type_name(value)
    if isinstance(call, Call):
        name = call.name
    raise _unknown(roles[0], path, name, tuple(dict.fromkeys(strings.values())))


_NOT_BARE = {
    "PopulationBasedTrainingReplay": "policy_file",
    "PopulationBasedTraining": "hyperparam_mutations",
    "PB2": "hyperparam_bounds",
}
"""Scheduler -> an argument without which its string says nothing to Ray either."""


def _not_bare(name: str, path: str) -> Call:
    raise SpecError(
        f"{name} needs {_NOT_BARE[name]}",
        path=path,
        hint=f"write {name}({_NOT_BARE[name]}=...) instead of the string",
    )


def _unknown(
    what: str, path: str, found: str, known: tuple[str, ...], hint: str = ""
) -> UnsupportedError:
    return UnsupportedError(
        f"this is no {what} of Ray's own",
        path=path,
        found=found,
        expected=f"one of {', '.join(known)}",
        hint=hint,
    )


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
        SpecError: Arguments that the searcher does not have.
        UnsupportedError: Tune has no such searcher.
    """
    searcher, limit = experiment.searcher, experiment.max_concurrent
    if searcher.kind == "bayes":
        notes.approximated(
            "searcher",
            "W&B's bayes as HyperOptSearch",
            "W&B fits one Gaussian process to all parameters together; the nearest searcher of "
            "Ray, HyperOpt's TPE, models each by itself, after 20 random runs",
            f"{_AS_IT_IS} W&B's bayes",
        )
        searcher = Algorithm("HyperOptSearch")
    if searcher.kind not in CLASSES or CLASSES[searcher.kind].role not in ("searcher", "limiter"):
        raise _unknown("searcher", "searcher", searcher.kind, (*SEARCHER_STRINGS.values(), "bayes"))
    if searcher.kind in _WRAPPERS:
        return _write_wrapper(experiment, searcher, notes, held)
    args = searcher.args.value
    held |= _write_seed(experiment, CLASSES[searcher.kind], args, notes)
    if searcher.kind == "BasicVariantGenerator":
        if args.pop("unique", False):
            notes.approximated(
                "searcher.unique",
                "draws may come twice",
                "Ray draws with replacement",
                "tune-bridge run and agents of tune-bridge draw without",
            )
        if not (args or held):
            return None, limit
        if limit is not None:
            held["max_concurrent"] = limit
        limit = None
    return revive_arguments(searcher.kind, args, "searcher", **held), limit


def _write_wrapper(
    experiment: Experiment, wrapper: Algorithm, notes: Notes, held: dict[str, Any]
) -> tuple[Call, int | None]:
    args = wrapper.args.value
    inner = experiment.replace(searcher=_plain_algorithm(args.pop("searcher", None)))
    in_limiter = wrapper.kind == "ConcurrencyLimiter"
    if in_limiter:
        inner = inner.replace(max_concurrent=None)
    searcher, limit = write_searcher(inner, notes, **held)
    arguments: dict[str, Any] = {"searcher": searcher or SIGNATURES["BasicVariantGenerator"].call()}
    if in_limiter:
        if experiment.max_concurrent is None:
            raise SpecError("a ConcurrencyLimiter without a limit", path="max_concurrent")
        arguments["max_concurrent"] = experiment.max_concurrent
    return revive_arguments(wrapper.kind, args, "searcher", **arguments), limit


def _write_seed(
    experiment: Experiment, table: Table, args: dict[str, Any], notes: Notes
) -> dict[str, Any]:
    """The argument for the seed, or a note that there is none."""
    seed, name = experiment.seed, table.native("seed")
    if name is not None:
        default = SIGNATURES[table.name].signature.parameters[name].default
        return {} if same(seed, default) else {name: seed}
    if seed is None:
        return {}
    if table.name == "AxSearch":
        args["ax_kwargs"] = {**args.get("ax_kwargs", {}), _AX_SEED: seed}
    else:
        notes.approximated(
            "seed", "left out", f"{table.name} takes no seed; it draws from numpy's global state"
        )
    return {}


_AS_IT_IS = "tune-bridge run and agents of tune-bridge take the sweep as it is, and have"


def write_scheduler(scheduler: Algorithm | None, notes: Notes) -> Call | None:
    """Writes the scheduler of an experiment; None stays None.

    Raises:
        SpecError: W&B's hyperband without its numbers, or arguments that there are not.
        UnsupportedError: Tune has no such scheduler.
    """
    if scheduler is None:
        return None
    if scheduler.kind == "hyperband":
        return _hyperband(scheduler, notes)
    if scheduler.kind not in CLASSES or CLASSES[scheduler.kind].role != "scheduler":
        raise _unknown(
            "scheduler", "scheduler", scheduler.kind, (*SCHEDULER_STRINGS.values(), "hyperband")
        )
    kind = {"AsyncHyperBandScheduler": "ASHAScheduler"}.get(scheduler.kind, scheduler.kind)
    args = scheduler.args.value
    if kind == "ResourceChangingScheduler" and "base_scheduler" in args:
        base = write_scheduler(_plain_algorithm(args.pop("base_scheduler")), notes)
        return revive_arguments(kind, args, "scheduler", base_scheduler=base)
    return revive_arguments(kind, args, "scheduler")


def _hyperband(scheduler: Algorithm, notes: Notes) -> Call:
    """W&B's early termination as ASHA.

    W&B's bands are ``min_iter * eta ** k`` without end, or ``max_iter / eta ** k`` for k from 1 to
    s (``sweeps.hyperband_stopping``); a run is stopped in a band when it is not in its best 1/eta.
    """
    eta = scheduler.arg("eta", 3)
    # Where both forms are given, W&B looks at max_iter first.
    if scheduler.arg("max_iter") is not None and scheduler.arg("s") is not None:
        most = scheduler.arg("max_iter")
        bands = [int(most / eta**k) for k in range(1, scheduler.arg("s") + 1)]
        grace = min((band for band in bands if band >= 1), default=1)
    elif scheduler.arg("min_iter") is not None:
        grace, most = scheduler.arg("min_iter"), _LARGE
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
        f"{_AS_IT_IS} W&B's hyperband",
    )
    if most < _LARGE:
        notes.approximated(
            "scheduler.max_iter",
            f"a trial ends at {most}",
            "ASHA ends what reaches its max_t; W&B only counts its bands down from max_iter",
        )
    if scheduler.arg("strict"):
        notes.approximated(
            "scheduler.strict", "left out", "ASHA always stops a trial that falls below"
        )
    return SIGNATURES["ASHAScheduler"].call(
        max_t=max(most, grace), grace_period=grace, reduction_factor=eta, stop_last_trials=False
    )
