"""Sweeps that are steered from outside: nothing is proposed here, and nobody is stopped.

W&B has three ways to it: its local controller (``controller: {type: local}``), its schedulers
(``scheduler:``), and runs that somebody enqueues (``method: custom``). Agents wait until there is
something, and the sweep ends when whoever steers it says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_bridge.engines.configs import fit
from tune_bridge.engines.parts import Proposer, Refused
from tune_bridge.engines.results import plain
from tune_bridge.errors import InputError
from tune_bridge.experiment import Experiment

__all__ = ["CUSTOM", "Outside", "steered"]

CUSTOM = "whoever enqueues runs"
"""Steers a sweep with ``method: custom`` and nothing else."""


def steered(experiment: Experiment) -> str:
    """Who steers a sweep from outside, for people; empty when nobody does."""
    sweep = experiment.extras.value.get("sweep") or {}
    controller = sweep.get("controller")
    if isinstance(controller, Mapping) and controller.get("type") == "local":
        return "W&B's local controller"
    if sweep.get("scheduler"):
        return "W&B's sweep-scheduler"
    return CUSTOM if experiment.searcher.kind == "custom" else ""


class Outside(Proposer):
    """Waits for what is enqueued.

    Args:
        experiment: Says who enqueues it, and the types of its parameters.
    """

    foreign = False
    patient = True

    def __init__(self, experiment: Experiment) -> None:
        self._space = experiment.space
        self._reason = f"{steered(experiment)} says what runs next"

    def propose(self, run: str) -> Refused:
        """Nothing."""
        return Refused(self._reason)

    def typed(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration as the space types it; as it is where it does not fit.

        What W&B's controllers and custom searches say runs, whatever the parameters allow.
        """
        try:
            found: dict[str, Any] = fit(self._space, config)
        except InputError:
            found = plain(dict(config))
        return found
