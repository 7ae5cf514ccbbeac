"""Tune's searchers and schedulers in a sweep: the nearest native words, and why they are near."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.experiment import Algorithm, Experiment
from tune_bridge.notes import Notes

__all__ = ["SEARCHERS", "WHY_BAYES", "WRAPPERS", "thinking", "write_early_terminate"]

WRAPPERS = ("ConcurrencyLimiter", "Repeater")
"""Searchers around another one."""

WHY_BAYES = {
    "HyperOptSearch": "HyperOpt's is a tree of Parzen estimators",
    "OptunaSearch": "Optuna's is a tree of Parzen estimators",
    "TuneBOHB": "BOHB's is a kernel density estimate for each budget",
    "BayesOptSearch": "BayesOpt's is another one, with another acquisition",
    "SkOptSearch": "Scikit-Optimize's is another one, with another acquisition",
    "AxSearch": "Ax begins with a Sobol sequence and chooses its own model",
    "HEBOSearch": "HEBO's is another one, with warped inputs and a Pareto set of acquisitions",
    "NevergradSearch": "Nevergrad has evolution and swarms of particles",
    "ZOOptSearch": "ZOOpt draws boxes around the best points",
}
"""Searcher that learns -> what it has where W&B's bayes has a Gaussian process."""

SEARCHERS: dict[str, str] = {
    "BasicVariantGenerator": "random",
    **dict.fromkeys(WHY_BAYES, "bayes"),
    "bayes": "bayes",
    "custom": "custom",
}
"""Searcher -> nearest method. A BasicVariantGenerator whose searched leaves are all grids is
"grid"."""


def thinking(searcher: Algorithm, notes: Notes | None = None) -> str:
    """The class of the searcher inside of its wrappers."""
    kind, args = searcher.kind, searcher.args.value
    while kind in WRAPPERS:
        inner = args.get("searcher")
        if not isinstance(inner, dict) or len(inner) != 1:
            raise SpecError(f"{kind} without a searcher", path="search_alg")
        if notes is not None:
            notes.carried("method", f"{kind} is in the carry only", _WHY_WRAPPED[kind])
        ((kind, args),) = inner.items()
    if notes is not None and args.get("unique"):
        notes.carried(
            "method",
            "unique is in the carry only",
            "W&B draws with replacement; tune-bridge draws without, and ends when all is drawn",
        )
    return str(kind)


_WHY_WRAPPED = {
    "ConcurrencyLimiter": "W&B does not wait for a batch of runs",
    "Repeater": "W&B does not repeat a configuration and learn from the mean",
}


def _asha(args: Mapping[str, Any], notes: Notes) -> dict[str, Any] | None:
    grace, factor = args.get("grace_period", 1), args.get("reduction_factor", 4)
    notes.carried(
        "early_terminate",
        f"hyperband with min_iter {grace} and eta {factor:g} has AsyncHyperBand's rungs",
        "W&B looks every few minutes and never ends a run for its age; ASHA decides at each report "
        f"and ends a trial at max_t {args.get('max_t', 100)}",
    )
    return {"type": "hyperband", "min_iter": max(1, math.ceil(grace)), "eta": _plain(factor)}


def _hyperband(args: Mapping[str, Any], notes: Notes) -> dict[str, Any] | None:
    return {"type": "hyperband", **args}


def _tunes_hyperband(args: Mapping[str, Any], notes: Notes) -> dict[str, Any] | None:
    most, factor = args.get("max_t", 81), args.get("reduction_factor", 3)
    brackets = round(math.log(most) / math.log(factor))
    halvings = sum(int(most / factor**k) >= 1 for k in range(1, brackets + 1))
    if not halvings or most < 1:
        return _nothing("it has no rung below max_t")(args, notes)
    notes.carried(
        "early_terminate",
        f"hyperband with max_iter {most}, s {halvings} and eta {factor:g} has HyperBand's rungs",
        "W&B judges runs as they come; HyperBand fills brackets and halves each when all of its "
        "trials are there",
    )
    return {
        "type": "hyperband",
        "max_iter": math.ceil(most),
        "s": halvings,
        "eta": _plain(factor),
    }


def _nothing(why: str) -> Callable[[Mapping[str, Any], Notes], dict[str, Any] | None]:
    def write(args: Mapping[str, Any], notes: Notes) -> dict[str, Any] | None:
        notes.carried("early_terminate", "in the carry only", why)
        return None

    return write


def _plain(number: float) -> float:
    return int(number) if number == int(number) else number


_POPULATION = "W&B has no populations: a run keeps its parameters, and nothing is copied"

_SCHEDULERS: dict[str, Callable[[Mapping[str, Any], Notes], dict[str, Any] | None]] = {
    "AsyncHyperBandScheduler": _asha,
    "hyperband": _hyperband,
    "HyperBandScheduler": _tunes_hyperband,
    "HyperBandForBOHB": _tunes_hyperband,
    "MedianStoppingRule": _nothing("W&B stops by rungs only, not by the median of others"),
    "PopulationBasedTraining": _nothing(_POPULATION),
    "PB2": _nothing(_POPULATION),
    "PopulationBasedTrainingReplay": _nothing(_POPULATION),
    "ResourceChangingScheduler": _nothing("W&B does not place runs, so that it changes nothing"),
}
"""Scheduler -> writer of ``early_terminate``; None where W&B has nothing near."""


def write_early_terminate(experiment: Experiment, notes: Notes) -> dict[str, Any] | None:
    """The native words for a scheduler, or None.

    Raises:
        SpecError: There are rungs and no metric.
        UnsupportedError: It is not known.
    """
    scheduler = experiment.scheduler
    assert scheduler is not None
    writer = _SCHEDULERS.get(scheduler.kind)
    if writer is None:
        raise UnsupportedError(
            "a scheduler that sweeps do not know",
            path="scheduler",
            found=scheduler.kind,
            expected=", ".join(_SCHEDULERS),
        )
    written = writer(scheduler.args.value, notes)
    if written is not None and experiment.objective is None:
        raise SpecError(
            f"{scheduler.kind} without a metric",
            path="metric",
            expected="metric and mode",
            hint='give tune.run or the scheduler metric="..." and mode="min" or "max"',
        )
    return written
