"""What `tune-bridge run` hands to Ray, and what it only translates, in one table.

A row says "works" only when a test runs it on a real Ray session; everything else ends in one clear
error before anything starts.
"""

from __future__ import annotations

from tune_bridge.dialects.ray_tune.algorithms import innermost
from tune_bridge.dialects.ray_tune.reader import STOPPER
from tune_bridge.errors import UnsupportedError
from tune_bridge.experiment import Experiment

__all__ = ["RUNS", "check_runs"]

_PAUSES = "it pauses trials, and a program that is started again begins from the start"
_COPIES = "it copies checkpoints between trials, and programs have none that Ray knows"
_UNTRIED = "it is not tried on a running session"

RUNS: dict[str, str] = {
    "BasicVariantGenerator": "",
    "HyperOptSearch": "",
    "bayes": "",
    "OptunaSearch": _UNTRIED,
    "BayesOptSearch": f"{_UNTRIED}, and Ray 2.60 fails with bayesian-optimization from 2.0 on",
    "NevergradSearch": _UNTRIED,
    "AxSearch": f"{_UNTRIED}, and Ray 2.60 fails with ax-platform from 1.3 on",
    "TuneBOHB": _UNTRIED,
    "HEBOSearch": f"{_UNTRIED}, and HEBO asks for numpy below 1.25",
    "ZOOptSearch": f"{_UNTRIED}, and Ray's ZOOptSearch waits for ever when trials run one by one",
    "SkOptSearch": "Ray has dropped it",
    "ConcurrencyLimiter": _UNTRIED,
    "Repeater": _UNTRIED,
    "AsyncHyperBandScheduler": "",
    "hyperband": "",
    "HyperBandScheduler": _PAUSES,
    "HyperBandForBOHB": _PAUSES,
    "MedianStoppingRule": _PAUSES,
    "PopulationBasedTraining": _COPIES,
    "PB2": _COPIES,
    "PopulationBasedTrainingReplay": _COPIES,
    "ResourceChangingScheduler": "a program's resources are fixed when it starts",
}
"""Searcher or scheduler -> why it is not run; empty when it is. FIFO is no scheduler at all."""


def check_runs(experiment: Experiment) -> None:
    """Refuses what is translated and not run.

    Raises:
        UnsupportedError: Naming the searcher, the scheduler or the stop criteria, and why.
    """
    searcher, scheduler = experiment.searcher, experiment.scheduler
    said = [("searcher", searcher.kind), ("searcher", innermost(searcher).kind)]
    if scheduler is not None:
        said.append(("scheduler", scheduler.kind))
    for path, kind in said:
        why = RUNS.get(kind, "this is none of Ray Tune's")
        if why:
            raise UnsupportedError(
                f"this version translates {kind} but does not run it: {why}",
                path=path,
                expected=f"one of {', '.join(kind for kind, reason in RUNS.items() if not reason)}",
                hint="convert it with --to tune, and run the program that this writes",
            )
    if STOPPER in experiment.stop.value:
        raise UnsupportedError(
            "this version translates a Stopper but does not run it",
            path="stop",
            expected='named limits, such as {"training_iteration": 10}',
        )
    if "bundles" in experiment.resources.value:
        raise UnsupportedError(
            "this version translates a placement group but does not run it: a program is one "
            "process",
            path="resources_per_trial",
            expected="one set of amounts",
        )
