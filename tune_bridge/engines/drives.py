"""What engines drive for agents, in one table, as `tune_bridge.dialects.ray_tune.runs` for Ray.

A row is empty only when a test runs it from a YAML file, with agents as processes; everything else
ends in one clear error before a sweep is made.
"""

from __future__ import annotations

from tune_bridge.errors import UnsupportedError
from tune_bridge.experiment import Algorithm, Experiment

__all__ = ["DRIVES", "check_drives"]

DRIVES: dict[str, str] = {
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
    "FIFOScheduler": "",
    "AsyncHyperBandScheduler": "",
    "ASHAScheduler": "",
    "hyperband": "",
    "HyperBandScheduler": "",
    "HyperBandForBOHB": "",
    "MedianStoppingRule": "",
    "PopulationBasedTraining": "",
    "PB2": "",
    "PopulationBasedTrainingReplay": "",
    "ResourceChangingScheduler": "",
}
"""Searcher or scheduler -> why agents cannot run it; empty when they can."""


def check_drives(experiment: Experiment) -> None:
    """Refuses what no engine does.

    Raises:
        UnsupportedError: Naming the searcher or the scheduler, and why.
    """
    said: list[tuple[str, Algorithm | None]] = [
        ("searcher", experiment.searcher),
        ("scheduler", experiment.scheduler),
    ]
    for path, algorithm in said:
        why = "" if algorithm is None else DRIVES.get(algorithm.kind, "no engine knows it")
        if algorithm is not None and why:
            works = ", ".join(kind for kind, reason in DRIVES.items() if not reason)
            raise UnsupportedError(
                f"agents cannot run {algorithm.kind}: {why}", path=path, expected=f"one of {works}"
            )
