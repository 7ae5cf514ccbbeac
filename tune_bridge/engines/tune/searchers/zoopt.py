"""ZOOptSearch: continuous, discrete and grid dimensions.

Its first points wait for one question too many before the last of them ends: asked one at a time it
would propose nothing ever after. A failed run would keep its place: in the first phase another
point takes it, later it counts as the worst result so far.
"""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher
from ray.tune.search.zoopt import ZOOptSearch
from zoopt import ValueType

from tune_bridge.engines.tune.searchers.codec import Form
from tune_bridge.engines.tune.searchers.hosting import Mended, Plan, seed_globals

__all__ = ["HostedZOOpt", "make"]

_BUDGET = 100
"""Ray insists on a budget; this is for experiments without an end."""

_TRIES = 10

_PRECISION = 1e-12
"""Ray's, for floats."""


class HostedZOOpt(Mended, ZOOptSearch):
    """Goes on when it is asked one at a time, and after failures."""

    optimizer: Any
    points: list[dict[str, Any]]
    refused = "ZOOptSearch finds no configuration that it has not proposed"

    @property
    def _first(self) -> int:
        """How many points are drawn before it learns."""
        return int(self.optimizer._parameter.get_train_size())

    def suggest(self, trial_id: str) -> Any:
        """A point, or None while as many run as it allows."""
        if self.points:
            return self._point(trial_id)
        suggestion: Any = super().suggest(trial_id)
        if suggestion is None and self.optimizer.complete_num >= self._first:
            self.optimizer.semaphore = 1
            suggestion = super().suggest(trial_id)
        return self._elsewhere(trial_id) if suggestion == Searcher.FINISHED else suggestion

    def _point(self, trial_id: str) -> Any:
        """The next of the points to try first, of which ZOOpt itself forgets all but one."""
        optimizer, parameter = self.optimizer, self.optimizer._parameter
        first = optimizer.init_num < self._first
        if not first:
            learnt = optimizer.complete_num >= self._first
            if not learnt or optimizer.live_num >= parameter.get_server_num():
                return None
        values = self.points.pop(0)
        solution = optimizer.get_objective().construct_solution(list(values.values()))
        if first:
            parameter.set_negative_size(self._first - parameter.get_positive_size())
            optimizer._init_data.append(solution)
        optimizer.init_num += 1
        optimizer.live_num += 1
        self.solution_dict[trial_id] = solution
        self._live_trial_mapping[trial_id] = values
        return values

    def _elsewhere(self, trial_id: str) -> Any:
        """Where it finds nothing new near its best points, it looks there again, then anywhere."""
        parameter = self.optimizer._parameter
        probability = parameter.get_probability()
        suggestion: Any = Searcher.FINISHED
        for chance in (*[probability] * _TRIES, 0.0):
            parameter.set_probability(chance)
            suggestion = super().suggest(trial_id)
            if suggestion != Searcher.FINISHED:
                break
        parameter.set_probability(probability)
        return suggestion

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Forgets the solution as well."""
        super().on_trial_complete(trial_id, result, error)
        self.solution_dict.pop(trial_id, None)

    def fail(self, trial_id: str) -> None:
        """Frees the place."""
        optimizer = self.optimizer
        del self._live_trial_mapping[trial_id]
        if optimizer.complete_num < self._first:
            optimizer.live_num -= 1
            optimizer.init_num = min(optimizer.init_num, self._first) - 1
            optimizer.semaphore = 1
        else:
            worst = max(s.get_value() for s in optimizer._positive_data + optimizer._negative_data)
            optimizer.complete(self.solution_dict[trial_id], worst)


def _dimension(form: Form) -> tuple[Any, ...]:
    if form.kind == "options":
        return ValueType.GRID, list(form.labels)
    if form.kind == "int":
        return ValueType.DISCRETE, [int(form.low), int(form.high)], True
    return ValueType.CONTINUOUS, [form.low, form.high], _PRECISION


def make(plan: Plan) -> HostedZOOpt:
    """The searcher of a plan."""
    seed_globals(plan.seed)
    defaults = {
        "budget": plan.experiment.num_samples or _BUDGET,
        "parallel_num": plan.experiment.max_concurrent or 1,
    }
    searcher = HostedZOOpt(
        dim_dict={name: _dimension(knob.form) for name, knob in plan.space.as_written.items()},
        **plan.goal,
        **{**defaults, **{name: v for name, v in plan.args.items() if v is not None}},
    )
    searcher.points = [{name: point[name] for name in searcher._dim_keys} for point in plan.points]
    return searcher
