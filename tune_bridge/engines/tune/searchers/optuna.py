"""OptunaSearch: distributions by name, or a function of the trial where there are conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial
from ray.tune.search.optuna import OptunaSearch

from tune_bridge.engines.tune.searchers.codec import FlatSpace, Form
from tune_bridge.engines.tune.searchers.hosting import Mended, Plan

__all__ = ["Conditional", "HostedOptuna", "make"]


class HostedOptuna(Mended, OptunaSearch):
    """Learns from intermediate results, and of points that are not its own."""

    intermediate = True
    flat: FlatSpace
    _ot_study: Any

    def fail(self, trial_id: str) -> None:
        """Fails the trial; the id may ask again."""
        super().fail(trial_id)
        del self._ot_trials[trial_id]
        self._completed_trials.discard(trial_id)

    def learn(self, values: dict[str, Any], result: Mapping[str, Any]) -> None:
        """Adds a finished trial."""
        drawn = self.flat.active(values)
        forms = {name: _distribution(self.flat.knobs[name].form) for name in drawn}
        trial = create_trial(
            state=TrialState.COMPLETE,
            value=result[self.metric],
            params=drawn,
            distributions=forms,
        )
        self._ot_study.add_trial(trial)


class Conditional:
    """Draws from a trial what the options that were drawn have: Optuna's define-by-run.

    Args:
        space: A space with conditions.
    """

    def __init__(self, space: FlatSpace) -> None:
        self._space = space

    def __call__(self, trial: Any) -> None:
        """Draws everything that is active; the searcher keeps what is drawn."""
        drawn: dict[str, Any] = {}
        for name, knob in self._space.knobs.items():
            if knob.parent is not None and knob.parent[0] not in drawn:
                continue
            if self._space.is_active(knob, drawn):
                drawn[name] = _suggest(trial, name, knob.form)


def _suggest(trial: Any, name: str, form: Form) -> Any:
    if form.kind == "options":
        return trial.suggest_categorical(name, form.labels)
    if form.kind == "int":
        return trial.suggest_int(name, form.low, form.high)
    return trial.suggest_float(name, form.low, form.high, log=form.log)


def _distribution(form: Form) -> BaseDistribution:
    if form.kind == "options":
        return CategoricalDistribution(form.labels)
    if form.kind == "int":
        return IntDistribution(int(form.low), int(form.high))
    return FloatDistribution(form.low, form.high, log=form.log)


def make(plan: Plan) -> HostedOptuna:
    """The searcher of a plan."""
    knobs, args = plan.space.knobs, dict(plan.args)
    conditional = any(knob.parent for knob in knobs.values())
    points = [plan.space.active(point) for point in plan.points]
    rewards = args.pop("evaluated_rewards", None)
    space: Any = {name: _distribution(knob.form) for name, knob in knobs.items()}
    searcher = HostedOptuna(
        space=Conditional(plan.space) if conditional else space,
        points_to_evaluate=None if rewards else points or None,
        seed=plan.seed,
        **plan.goal,
        **args,
    )
    searcher.flat = plan.space
    for point, reward in zip(plan.points, rewards or (), strict=False):
        searcher.learn(point, {plan.metric: reward})
    return searcher
