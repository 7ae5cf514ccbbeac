"""What `tune-bridge run` hands to Ray, and who does what there, in one place.

A row says "works" only when a test runs it on a real Ray session; everything else ends in one clear
error before anything starts.
"""

from __future__ import annotations

from tune_bridge.dialects.ray_tune.algorithms import innermost
from tune_bridge.errors import UnsupportedError
from tune_bridge.experiment import RANDOM, Experiment
from tune_bridge.space import Group
from tune_bridge.values import Frozen

__all__ = ["RUNS", "check_runs", "is_hosted", "plain_part"]

RUNS: dict[str, str] = {
    "BasicVariantGenerator": "",
    "HyperOptSearch": "",
    "bayes": "",
    "OptunaSearch": "",
    "BayesOptSearch": "",
    "NevergradSearch": "",
    "AxSearch": "",
    "TuneBOHB": "",
    "HEBOSearch": "",
    "ZOOptSearch": "",
    "SkOptSearch": "",
    "ConcurrencyLimiter": "",
    "Repeater": "",
    "AsyncHyperBandScheduler": "",
    "hyperband": "",
    "HyperBandScheduler": "",
    "HyperBandForBOHB": "",
    "MedianStoppingRule": "",
    "PopulationBasedTraining": "",
    "PB2": "",
    "PopulationBasedTrainingReplay": "",
    "ResourceChangingScheduler": "",
}
"""Searcher or scheduler -> why it is not run; empty when it is. FIFO is no scheduler at all."""


def check_runs(experiment: Experiment) -> None:
    """Refuses what is translated and not run.

    Raises:
        UnsupportedError: Naming the searcher or the scheduler, and why.
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
    if "bundles" in experiment.resources.value:
        raise UnsupportedError(
            "this version translates a placement group but does not run it: a program is one "
            "process",
            path="resources_per_trial",
            expected="one set of amounts",
        )


def is_hosted(experiment: Experiment) -> bool:
    """Whether our proposers search: Ray's own generator draws at random, and makes grids, itself.

    HyperBandForBOHB speaks to a searcher, so that it gets one for random search as well.
    """
    searcher, scheduler = experiment.searcher, experiment.scheduler
    if searcher.kind != RANDOM.kind or "unique" in searcher.args.value:
        return True
    return scheduler is not None and scheduler.kind == "HyperBandForBOHB"


def plain_part(experiment: Experiment) -> Experiment:
    """What of an experiment is left to the call of ``tune.run`` as it is translated."""
    extras = experiment.extras.value
    extras.get("tune", {}).pop("time_budget_s", None)
    left = experiment.replace(scheduler=None, stop=Frozen({}), extras=Frozen(extras))
    if not is_hosted(experiment):
        return left
    return left.replace(space=Group(()), searcher=RANDOM, points=(), seed=None, space_in="config")
