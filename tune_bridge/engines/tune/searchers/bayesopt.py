"""BayesOptSearch: floats between bounds; everything else by its quantiles.

Ray 2.60 was written for bayesian-optimization 1.x; for 2 and later the names that are gone are put
in their place. It must not be polled: each question without a new result proposes the same point
again and counts it, until the searcher thinks that it has converged. So it is asked once for each
result. A failed run would keep its place in the random phase for ever: another point takes it; and
later on it counts as the worst result so far, or the same point would be proposed again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import bayes_opt
from ray.tune.search.bayesopt import BayesOptSearch, bayesopt_search

from tune_bridge.engines.tune.searchers.hosting import Mended, Plan

__all__ = ["HostedBayesOpt", "Optimizer", "Utility", "make"]


class Utility:
    """What ``UtilityFunction`` of bayesian-optimization 1 was: a rule and its numbers.

    Args:
        kind: "ucb", "ei" or "poi".
        kappa: Of "ucb".
        xi: Of the others.
    """

    def __init__(self, kind: str = "ucb", kappa: float = 2.576, xi: float = 0.0) -> None:
        self.kind, self.kappa, self.xi = kind, kappa, xi

    def rule(self) -> Any:
        """The acquisition function of bayesian-optimization 2 and later."""
        from bayes_opt import acquisition

        if self.kind == "ucb":
            return acquisition.UpperConfidenceBound(kappa=self.kappa)
        if self.kind == "ei":
            return acquisition.ExpectedImprovement(xi=self.xi)
        return acquisition.ProbabilityOfImprovement(xi=self.xi)


class Optimizer(bayes_opt.BayesianOptimization):  # type: ignore[misc]
    """Takes the rule with the question, as version 1 did."""

    def suggest(self, utility: Any = None) -> dict[str, float]:
        """The next point."""
        if utility is None or hasattr(bayes_opt, "UtilityFunction"):
            return dict(super().suggest(utility))
        if getattr(self, "_rule_of", None) is not utility:
            self._rule_of, self._acquisition_function = utility, utility.rule()
        return dict(super().suggest())


if not hasattr(bayes_opt, "UtilityFunction"):
    vars(bayesopt_search)["byo"] = SimpleNamespace(
        UtilityFunction=Utility, BayesianOptimization=Optimizer
    )


class HostedBayesOpt(Mended, BayesOptSearch):
    """Asks the library only when there is something new."""

    optimizer: Any
    refused = "BayesOptSearch has converged: it proposes what was tried already"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._answered = False  # since the last result
        self._wakes = 0
        self._worst: float | None = None
        self._learned: list[tuple[dict[str, Any], float]] = []

    @property
    def _is_random(self) -> bool:
        return len(self._buffered_trial_results) < self.random_search_trials

    def suggest(self, trial_id: str) -> Any:
        """A point, or None where Ray would count a repetition."""
        if not self._total_random_search_trials and len(self._learned) >= self.random_search_trials:
            self.random_search_trials = 0  # as much is known as the random phase would bring
        if self._is_random:
            if self._total_random_search_trials >= self.random_search_trials:
                return None
            return super().suggest(trial_id)
        while self._learned:
            self._register(*self._learned.pop())
        if self._answered:
            return None
        self._answered = True
        return super().suggest(trial_id)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Makes a new question possible."""
        super().on_trial_complete(trial_id, result, error)
        self._answered, self._wakes = False, 0

    def _register_result(self, params: Any, result: dict[str, Any]) -> None:
        target = self._metric_op * result[self.metric]
        self._worst = target if self._worst is None else min(self._worst, target)
        super()._register_result(params, result)

    def fail(self, trial_id: str) -> None:
        """Frees the place in the random phase; later, the run is as bad as the worst."""
        params = self._live_trial_mapping.pop(trial_id, None)
        if params is None:
            return
        if self._is_random:
            self._total_random_search_trials -= 1
        elif self._worst is not None:
            self._register(params, self._worst)

    def _register(self, params: dict[str, Any], target: float) -> None:
        # The library refuses a point that it has; version 1 by a KeyError.
        with contextlib.suppress(KeyError, *_NOT_UNIQUE):
            self.optimizer.register(params, target)

    def learn(self, values: dict[str, Any], result: Mapping[str, Any]) -> None:
        """Registers a point, once the random phase is over: it would end that too early."""
        self._learned.append((values, self._metric_op * result[self.metric]))

    def wake(self) -> bool:
        """Nothing runs: the point that is proposed again is counted until Ray finishes."""
        self._answered = False
        self._wakes += 1
        return self._wakes <= self._patience + 2


try:
    from bayes_opt.exception import NotUniqueError

    _NOT_UNIQUE: tuple[type[Exception], ...] = (NotUniqueError,)
except ImportError:
    _NOT_UNIQUE = ()


def make(plan: Plan) -> HostedBayesOpt:
    """The searcher of a plan."""
    space = {name: (knob.form.low, knob.form.high) for name, knob in plan.space.knobs.items()}
    return HostedBayesOpt(
        space=space,
        points_to_evaluate=plan.points or None,
        random_state=plan.seed,
        **plan.goal,
        **plan.args,
    )
