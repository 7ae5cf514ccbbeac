"""A call of ``fmin``, recorded or live: what it says beside the space."""

from __future__ import annotations

import functools
from typing import Any

from tune_bridge.dialects.base import suggest
from tune_bridge.dialects.calls import Call, Signature
from tune_bridge.dialects.hyperopt.points import from_labels
from tune_bridge.dialects.python_space import same, short, type_name
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment, Objective
from tune_bridge.notes import Notes
from tune_bridge.space import Group
from tune_bridge.values import EMPTY, Frozen

__all__ = ["TPE", "TPE_ARGUMENTS", "read_fmin"]

TPE = Algorithm("HyperOptSearch")

TPE_ARGUMENTS = {"n_initial_points": "n_startup_jobs", "gamma": "gamma"}
"""Argument of Tune's ``HyperOptSearch`` -> that of ``tpe.suggest``."""

_OTHERS = {
    "anneal.suggest": "simulated annealing",
    "atpe.suggest": "TPE with settings that a model chose",
    "mix.suggest": "a mix of several",
}
"""HyperOpt's algorithms that nobody else has."""

_QUIET = {
    "verbose": "it prints",
    "show_progressbar": "it prints",
    "return_argmin": "it returns",
    "allow_trials_fmin": "the trials hold the search",
    "max_queue_len": "draws are made ahead",
    "trials_save_file": "the program saves its trials",
    "catch_eval_exceptions": "a failed trial ends neither a sweep nor a search of Ray",
}
"""Arguments that are not about what is searched -> what they are about."""


def read_fmin(call: Call, space: Group, notes: Notes) -> Experiment:
    """The experiment of a call whose space is read already.

    Args:
        call: A call of ``fmin``; its arguments may be live.
        space: The space.
        notes: Where remarks go.

    Raises:
        SpecError: An argument is malformed.
        UnsupportedError: An argument has no counterpart.
    """
    if call.get("pass_expr_memo_ctrl"):
        raise UnsupportedError(
            "an objective that is given the graph instead of a configuration",
            path="pass_expr_memo_ctrl",
            hint="let the objective take the configuration",
        )
    for name, why in _QUIET.items():
        if not same(call.get(name), call.signature.signature.parameters[name].default):
            notes.exact(name, "left to the program", f"it says how {why}, not what is searched")
    if call.get("early_stop_fn") is not None:
        notes.approximated(
            "early_stop_fn", "left out", "a function that looks at all trials is HyperOpt's own"
        )
    searcher = _searcher(call.get("algo"), notes)
    timeout = _number(call, "timeout")
    return Experiment(
        space=space,
        trainable=_objective(call.get("fn"), notes),
        objective=Objective("loss", target=_number(call, "loss_threshold")),
        searcher=searcher,
        num_samples=_samples(call),
        points=_points(call, space),
        seed=_seed(call.get("rstate"), notes),
        max_concurrent=_parallelism(call.get("trials"), notes),
        space_in="config" if searcher == RANDOM else "searcher",
        extras=EMPTY if timeout is None else Frozen({"tune": {"time_budget_s": timeout}}),
    )


def _searcher(algorithm: Any, notes: Notes) -> Algorithm:
    function, keywords = algorithm, dict[str, Any]()
    while (inner := _partial(function)) is not None:
        function, keywords = inner[0], {**inner[1], **keywords}
    name = "tpe.suggest" if function is None else _name(function)
    if name == "rand.suggest":
        return RANDOM
    if name in _OTHERS:
        notes.approximated("algo", f"{name} as tpe.suggest", f"{_OTHERS[name]} is HyperOpt's own")
        return TPE
    if name != "tpe.suggest":
        raise UnsupportedError(
            "fmin with an algorithm that is not one of HyperOpt's",
            path="algo",
            found=short(algorithm),
            expected="tpe.suggest or rand.suggest, or a partial of one",
        )
    known = {there: here for here, there in TPE_ARGUMENTS.items()}
    for key in keywords.keys() - known.keys() - {"verbose"}:
        notes.approximated(
            f"algo.{key}", "left out", "Ray's HyperOptSearch uses tpe.suggest's default"
        )
    return Algorithm.of(TPE.kind, **{known[k]: v for k, v in keywords.items() if k in known})


def _partial(value: Any) -> tuple[Any, dict[str, Any]] | None:
    if isinstance(value, functools.partial):
        return value.func, value.keywords
    if isinstance(value, Call) and value.name == "partial":
        return value.get("func"), value.get("keywords", {})
    return None


def _name(function: Any) -> str:
    if isinstance(function, Signature):
        return function.name
    module = str(getattr(function, "__module__", ""))
    name = str(getattr(function, "__qualname__", ""))
    return f"{module.removeprefix('hyperopt.')}.{name}" if module.startswith("hyperopt.") else ""


def _objective(function: Any, notes: Notes) -> str | None:
    """The objective's name, where it has one: a lambda stays with the program."""
    if function is None:
        return None
    from tune_bridge.dialects.references import importable

    try:
        found = importable(function, "fn")
    except UnsupportedError as error:
        notes.exact("fn", "left to the program", error.message)
        return None
    if found.startswith("__main__:"):
        notes.exact("fn", "left to the program", "it is defined in the program that was started")
        return None
    return found


def _samples(call: Call) -> int | None:
    value = call.get("max_evals")
    if value is None or value == float("inf"):
        return None
    count = getattr(value, "item", lambda: value)()
    if isinstance(count, float) and count.is_integer():
        count = int(count)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise SpecError(
            "max_evals", path="max_evals", found=short(value), expected="a positive whole number"
        )
    return count


def _number(call: Call, name: str) -> float | None:
    value = call.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise SpecError(name, path=name, found=short(value), expected="a number")
    return value


def _points(call: Call, space: Group) -> tuple[Frozen, ...]:
    points, path = call.get("points_to_evaluate"), "points_to_evaluate"
    if points is None:
        return ()
    if not isinstance(points, list | tuple) or not all(isinstance(p, dict) for p in points):
        raise SpecError(path, path=path, found=short(points), expected="a list of dicts")
    return tuple(
        Frozen(from_labels(point, space, f"{path}[{index}]", indices=True), f"{path}[{index}]")
        for index, point in enumerate(points)
    )


def _seed(state: Any, notes: Notes) -> int | None:
    if state is None:
        return None
    seed = state.get("seed") if isinstance(state, Call) else _live_seed(state)
    if seed is None:
        notes.approximated(
            "rstate", "left out", "it was used before, or has no seed that was given"
        )
    # Without a seed numpy makes one of 128 bits, which nobody gave.
    return seed if isinstance(seed, int) and seed < 2**32 else None


def _live_seed(state: Any) -> int | None:
    from tune_bridge.dialects.ray_tune.live import generator_seed, legacy_seed

    readers = {"Generator": generator_seed, "RandomState": legacy_seed}
    try:
        return readers.get(type(state).__name__, lambda _: None)(state)
    except UnsupportedError:
        return None


def _parallelism(trials: Any, notes: Notes) -> int | None:
    if trials is None:
        return None
    if type(trials).__name__ == "SparkTrials":
        limit = getattr(trials, "parallelism", None)
        return limit if isinstance(limit, int) and limit > 0 else None
    if not hasattr(trials, "trials"):
        raise SpecError(
            "trials",
            path="trials",
            found=type_name(trials),
            expected="Trials()",
            hint=suggest(short(trials), ["Trials()"]),
        )
    if len(trials.trials):
        notes.approximated("trials", "starts anew", "results of earlier trials are not taken over")
    return None
