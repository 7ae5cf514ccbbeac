"""How a setting of early stopping is written: in a sweep file, and in a program of Ray Tune."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_bridge.errors import TuneBridgeError
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.server.analysis.what_if import Outcome
from tune_bridge.space import Group
from tune_bridge.values import Frozen

__all__ = ["algorithm_of", "block_of", "call_of", "scheduler_of"]

_KINDS = {
    "hyperband": ("hyperband", {}),
    "asha": ("AsyncHyperBandScheduler", {}),
    "halving": ("HyperBandScheduler", {}),
    "median": ("MedianStoppingRule", {"time_attr": "training_iteration"}),
}
"""Rule of `what_if` -> scheduler and the arguments that all settings share."""

_KEYS = ("early_terminate", "controller")


def algorithm_of(outcome: Outcome) -> Algorithm:
    """The scheduler with this setting."""
    kind, more = _KINDS[outcome.rule]
    return Algorithm(kind, Frozen({**more, **outcome.setting}))


def block_of(outcome: Outcome, config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a sweep config says it: ``early_terminate``, and the carry where W&B has no word.

    Args:
        outcome: The setting.
        config: The sweep's config; what its carry says otherwise is kept.
    """
    from tune_bridge.sweep_config import SweepConfig

    scheduler = algorithm_of(outcome)
    bare = Experiment(Group(()), objective=Objective("value"), scheduler=scheduler)
    try:
        written = SweepConfig.from_experiment(
            SweepConfig(config).experiment.replace(scheduler=scheduler)
        )
    except TuneBridgeError:
        written = SweepConfig.from_experiment(bare)
    return {key: written[key] for key in _KEYS if key in written}


def call_of(outcome: Outcome) -> str:
    """The scheduler as Python code for Ray Tune; W&B's hyperband as ASHA, which has its rungs."""
    from tune_bridge.dialects.ray_tune.algorithms import write_scheduler
    from tune_bridge.notes import Notes

    return f"scheduler={write_scheduler(algorithm_of(outcome), Notes())}"


def scheduler_of(config: Mapping[str, Any]) -> Algorithm | None:
    """The scheduler of a sweep config that stops runs; None without one that can be read."""
    from tune_bridge.sweep_config import SweepConfig

    try:
        found = SweepConfig(config).experiment.scheduler
    except TuneBridgeError:
        return None
    while found is not None and found.kind == "ResourceChangingScheduler":
        base = found.arg("base_scheduler")
        if not isinstance(base, Mapping) or len(base) != 1:
            return None
        ((kind, args),) = base.items()
        found = Algorithm.of(kind, **args)
    return found
