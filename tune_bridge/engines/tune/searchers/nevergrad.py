"""NevergradSearch: a ``p.Dict`` of scalars and choices, drawn from a random state of its own."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import nevergrad as ng
from nevergrad.common.errors import NevergradError
from nevergrad.optimization.optimizerlib import NGOptBase
from ray.tune.search.nevergrad import NevergradSearch

from tune_bridge.engines.tune.searchers.codec import Form
from tune_bridge.engines.tune.searchers.hosting import Mended, Plan, seed_globals

__all__ = ["HostedNevergrad", "make"]


_BUDGET = 100
"""For experiments without an end."""


class HostedNevergrad(Mended, NevergradSearch):
    """Learns of points that are not its own, where its optimizer can."""

    _nevergrad_opt: Any

    def learn(self, values: dict[str, Any], result: Mapping[str, Any]) -> None:
        """Tells a point that was not asked; optimizers that refuse it do not learn it."""
        parameters = self._nevergrad_opt.parametrization.spawn_child(new_value=values)
        with contextlib.suppress(NevergradError):
            self._nevergrad_opt.tell(parameters, self._metric_op * result[self.metric])


def _parameter(form: Form) -> Any:
    if form.kind == "options":
        return ng.p.Choice(list(form.labels))
    if form.kind == "int":
        return ng.p.Scalar(lower=form.low, upper=form.high).set_integer_casting()
    if form.log:
        return ng.p.Log(lower=form.low, upper=form.high, exponent=math.e)
    return ng.p.Scalar(lower=form.low, upper=form.high)


def make(plan: Plan) -> HostedNevergrad:
    """The searcher of a plan; NGOpt when it names no optimizer, which Ray insists on."""
    seed_globals(plan.seed)
    args = dict(plan.args)
    optimizer = args.pop("optimizer", None) or ng.optimizers.NGOpt
    if isinstance(optimizer, type) and issubclass(optimizer, NGOptBase):
        # These choose an algorithm by the budget, and fail without one.
        budget = {"budget": plan.experiment.num_samples or _BUDGET}
        args["optimizer_kwargs"] = {**budget, **(args.get("optimizer_kwargs") or {})}
    space = ng.p.Dict(**{name: _parameter(knob.form) for name, knob in plan.space.knobs.items()})
    return HostedNevergrad(
        optimizer=optimizer,
        space=space,
        points_to_evaluate=plan.points or None,
        **plan.goal,
        **args,
    )
