"""What tests of schedulers share: experiments, a learning curve, agents whose programs crash."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from tune_bridge.engines.base import Action
from tune_bridge.engines.engine import HostedEngine
from tune_bridge.engines.native.draws import Draws
from tune_bridge.engines.random_state import Sandbox, derived
from tune_bridge.engines.tune.schedulers import judge, stop_rule
from tune_bridge.experiment import Algorithm, Experiment, Objective
from tune_bridge.space import Group, Parameter, Uniform
from tune_bridge.testing.simulation import Driver

SPACE = Group((("x", Parameter(Uniform(0.0, 1.0))),))
STEPS = {"time_attr": "training_iteration"}
X = {
    "$domain": {
        "node": "parameter",
        "distribution": {"distribution": "uniform", "low": 0.0, "high": 1.0},
    }
}
PBT = {"perturbation_interval": 2, "hyperparam_mutations": {"x": X}, **STEPS}
MEDIAN = {"grace_period": 2, **STEPS}

SCHEDULERS: dict[str, Algorithm | None] = {
    "fifo": None,
    "asha": Algorithm.of("ASHAScheduler", max_t=9, reduction_factor=3),
    "asha_brackets": Algorithm.of(
        "AsyncHyperBandScheduler", max_t=9, reduction_factor=3, brackets=3
    ),
    "hyperband": Algorithm.of("HyperBandScheduler", max_t=9),
    "bohb": Algorithm.of("HyperBandForBOHB", max_t=9),
    "median": Algorithm.of("MedianStoppingRule", min_time_slice=0, **MEDIAN),
    "median_soft": Algorithm.of("MedianStoppingRule", hard_stop=False, min_time_slice=0, **MEDIAN),
    "median_alone": Algorithm.of("MedianStoppingRule", **MEDIAN),
    "pbt": Algorithm.of("PopulationBasedTraining", **PBT),
    "pbt_synch": Algorithm.of("PopulationBasedTraining", synch=True, **PBT),
    "pb2": Algorithm.of("PB2", perturbation_interval=2, hyperparam_bounds={"x": [0, 1]}, **STEPS),
    "resources": Algorithm.of(
        "ResourceChangingScheduler", base_scheduler={"ASHAScheduler": {"max_t": 9}}
    ),
}


def loss(config: Mapping[str, Any], iteration: int) -> float:
    """Falls with the iterations, to what x decides; with ripples, so that ranks change."""
    x = config["x"]
    ripple = ((int(x * 1e6) * 2654435761 + iteration * 40503) % 1000) / 1000
    return abs(x - 0.7) + 1.0 / (1 + iteration) + 0.05 * float(ripple)


def curve(config: dict[str, Any], iteration: int) -> dict[str, Any]:
    """A report."""
    return {"loss": loss(config, iteration)}


def experiment(scheduler: Algorithm | None, count: int | None, **more: Any) -> Experiment:
    """So many draws of x."""
    return Experiment(
        space=SPACE,
        objective=Objective("loss"),
        scheduler=scheduler,
        num_samples=count,
        **more,
    )


def engine_of(told: Experiment, *, sweep_id: str = "sweep", seed: int = 1) -> HostedEngine:
    """Native random search under one of Tune's schedulers."""
    proposer = Draws(told, seed)
    sandbox = Sandbox(derived(seed, "sandbox"))
    with sandbox:
        decides = judge(told, proposer, seed)
    return HostedEngine(
        told,
        sweep_id=sweep_id,
        seed=seed,
        proposer=proposer,
        judge=decides,
        stop_rule=stop_rule(told),
        sandbox=sandbox,
    )


class Agents(Driver):
    """Agents whose programs crash now and then; half of them are tried again.

    Args:
        crashes: The share of reports that are a crash instead.
    """

    def __init__(self, engine: Any, *, crashes: float = 0.0, **more: Any) -> None:
        super().__init__(engine, loss=curve, iterations=9, **more)
        self.crashes = crashes
        self.faults = random.Random(7)

    def work(self, run: str) -> None:
        if self.faults.random() < self.crashes:
            self.end(run, "crashed", retry=self.faults.random() < 0.5)
        else:
            super().work(run)

    @property
    def actions(self) -> list[Action]:
        """All that were said."""
        return [
            action
            for answer in self.answers
            for action in (answer if isinstance(answer, tuple) else answer.actions)
        ]
