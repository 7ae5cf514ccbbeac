"""What is run, on Ray and by agents, in one table; and what `tune-bridge run` hands to Ray.

A row is empty only when a test runs it from a sweep: on a real Ray session, and with agents as
processes. Everything else ends in one clear error before anything starts.
"""

from __future__ import annotations

from typing import NamedTuple

from tune_bridge.dialects.ray_tune.algorithms import innermost
from tune_bridge.errors import UnsupportedError
from tune_bridge.experiment import RANDOM, Experiment
from tune_bridge.space import Group
from tune_bridge.values import Frozen

__all__ = ["ROWS", "RUNS", "Row", "check_runs", "is_hosted", "plain_part"]


class Row(NamedTuple):
    """Why a searcher or scheduler is not run; empty where it is.

    Attributes:
        on_ray: By `tune-bridge run`; None for what is none there: no scheduler at all, or another
            name of one.
        by_agents: By the engines, for agents.
    """

    on_ray: str | None = ""
    by_agents: str = ""


ROWS: dict[str, Row] = {
    "BasicVariantGenerator": Row(),
    "HyperOptSearch": Row(),
    "bayes": Row(),
    "OptunaSearch": Row(),
    "BayesOptSearch": Row(),
    "NevergradSearch": Row(),
    "AxSearch": Row(),
    "TuneBOHB": Row(),
    "HEBOSearch": Row(),
    "ZOOptSearch": Row(),
    "SkOptSearch": Row(),
    "ConcurrencyLimiter": Row(),
    "Repeater": Row(),
    "FIFOScheduler": Row(on_ray=None),
    "AsyncHyperBandScheduler": Row(),
    "ASHAScheduler": Row(on_ray=None),
    "hyperband": Row(),
    "HyperBandScheduler": Row(),
    "HyperBandForBOHB": Row(),
    "MedianStoppingRule": Row(),
    "PopulationBasedTraining": Row(),
    "PB2": Row(),
    "PopulationBasedTrainingReplay": Row(),
    "ResourceChangingScheduler": Row(),
}
"""Searcher or scheduler -> who runs it. A row is empty only when a test runs it."""

RUNS: dict[str, str] = {kind: row.on_ray for kind, row in ROWS.items() if row.on_ray is not None}
"""Searcher or scheduler -> why it is not run on Ray; empty when it is."""


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
