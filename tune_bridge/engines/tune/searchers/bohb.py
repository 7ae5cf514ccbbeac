"""TuneBOHB: a ConfigSpace with its conditions, and a budget for every result.

`HyperBandForBOHB` writes the budget into each result. Beside any other scheduler Ray's searcher
would learn nothing; here the last result of a run counts, with its iterations as the budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ConfigSpace
from ray.tune.search.bohb import TuneBOHB
from ray.tune.search.bohb.bohb_search import _BOHBJobWrapper

from tune_bridge.engines.tune.searchers.codec import FlatSpace, Form
from tune_bridge.engines.tune.searchers.hosting import Mended, Plan, seed_globals

__all__ = ["HostedBOHB", "make"]


class HostedBOHB(Mended, TuneBOHB):
    """Learns from results with a budget, and from last ones without."""

    intermediate = True
    flat: FlatSpace

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._told: set[str] = set()  # runs that came with a budget

    def suggest(self, trial_id: str) -> Any:
        """A point."""
        return super().suggest(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Takes a result of `HyperBandForBOHB`; others only say that the run goes on."""
        if "budget" in result.get("hyperband_info", {}):
            self._told.add(trial_id)
            super().on_trial_result(trial_id, result)
        elif trial_id not in self.paused:
            self.running.add(trial_id)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Learns, where nobody gave the run a budget."""
        if result and trial_id not in self._told:
            self.learn(self.trial_to_params[trial_id], result)
        self._told.discard(trial_id)
        super().on_trial_complete(trial_id, result, error)

    def learn(self, values: dict[str, Any], result: Mapping[str, Any]) -> None:
        """Takes the iterations as the budget."""
        budget = float(result.get("training_iteration", 1))
        loss = self._metric_op * result[self.metric]
        self.bohber.new_result(_BOHBJobWrapper(loss, budget, self.flat.active(values)))


def _hyperparameter(name: str, form: Form) -> Any:
    if form.kind == "options":
        return ConfigSpace.CategoricalHyperparameter(name, form.labels, weights=form.weights)
    if form.kind == "int":
        return ConfigSpace.UniformIntegerHyperparameter(name, int(form.low), int(form.high))
    return ConfigSpace.UniformFloatHyperparameter(name, form.low, form.high, log=form.log)


def _space(flat: FlatSpace) -> Any:
    made = {name: _hyperparameter(name, knob.form) for name, knob in flat.knobs.items()}
    conditions = []
    for name, knob in flat.knobs.items():
        if knob.parent is not None:
            choice, option = knob.parent
            label = flat.knobs[choice].encode(option)
            conditions.append(ConfigSpace.EqualsCondition(made[name], made[choice], label))
    space = ConfigSpace.ConfigurationSpace()
    space.add(*made.values(), *conditions)
    return space


def make(plan: Plan) -> HostedBOHB:
    """The searcher of a plan."""
    seed_globals(plan.seed)
    searcher = HostedBOHB(
        space=_space(plan.space),
        points_to_evaluate=[plan.space.active(point) for point in plan.points] or None,
        seed=plan.seed,
        **plan.goal,
        **plan.args,
    )
    searcher.flat = plan.space
    return searcher
