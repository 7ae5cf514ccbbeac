"""AxSearch: parameters as Ax's own dicts, in one thread of torch.

Ax 1.3 has renamed what Ray 2.60 reads of an objective; the name is put back. Failed runs have to be
told, or Ax waits for them for ever.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from ax.core.objective import Objective
from ax.core.outcome_constraint import OutcomeConstraint
from ax.exceptions.core import SearchSpaceExhausted
from ray.tune.search import Searcher
from ray.tune.search.ax import AxSearch

from tune_bridge.engines.tune.searchers.codec import Form
from tune_bridge.engines.tune.searchers.hosting import (
    Mended,
    Plan,
    one_thread,
    seed_globals,
    usable,
)

__all__ = ["HostedAx", "make"]


def _metric(self: Any) -> Any:
    return SimpleNamespace(name=self.metric_names[0])


for _kind in (Objective, OutcomeConstraint):
    if not hasattr(_kind, "metric"):
        type.__setattr__(_kind, "metric", property(_metric))


class HostedAx(Mended, AxSearch):
    """Tells Ax of failures, and ends when Ax knows no further point."""

    _ax: Any
    size = math.inf
    """How many points there are."""

    refused = "AxSearch has proposed every configuration that there is"

    @one_thread()
    def suggest(self, trial_id: str) -> Any:
        """A point, None while Ax waits for results, or the end."""
        if len(self._ax.experiment.arms_by_signature) >= self.size:
            return Searcher.FINISHED  # which Ax notices after minutes of draws
        try:
            return super().suggest(trial_id)
        except SearchSpaceExhausted:
            return Searcher.FINISHED

    @one_thread()
    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Needs the metrics of all outcome constraints."""
        if result and all(usable(result.get(name)) for name in self.reads):
            super().on_trial_complete(trial_id, result)
        else:
            self.fail(trial_id)

    def fail(self, trial_id: str) -> None:
        """Frees its place in Ax."""
        self._ax.log_trial_failure(self._live_trial_mapping.pop(trial_id))

    @one_thread()
    def learn(self, values: dict[str, Any], result: Mapping[str, Any]) -> None:
        """Attaches a point with its result."""
        if all(usable(result.get(name)) for name in self.reads):
            names = (self.metric, *self.reads)
            _, index = self._ax.attach_trial(values)
            self._ax.complete_trial(index, {name: (result[name], None) for name in names})


def _count(form: Form) -> float:
    if form.kind == "options":
        return len(form.labels)
    return form.high - form.low + 1 if form.kind == "int" else math.inf


def _parameter(name: str, form: Form) -> dict[str, Any]:
    if form.kind == "options":
        return {"name": name, "type": "choice", "values": list(form.labels)}
    return {
        "name": name,
        "type": "range",
        "bounds": [form.low, form.high],
        "value_type": form.kind,
        "log_scale": form.log,
    }


@one_thread()
def make(plan: Plan) -> HostedAx:
    """The searcher of a plan."""
    seed_globals(plan.seed)
    searcher = HostedAx(
        space=[_parameter(name, knob.form) for name, knob in plan.space.knobs.items()],
        points_to_evaluate=plan.points or None,
        random_seed=plan.seed,
        **plan.goal,
        **plan.args,
    )
    constraints = searcher._ax.experiment.optimization_config.outcome_constraints
    searcher.reads = tuple(constraint.metric.name for constraint in constraints)
    searcher.size = math.prod(_count(knob.form) for knob in plan.space.knobs.values())
    return searcher
