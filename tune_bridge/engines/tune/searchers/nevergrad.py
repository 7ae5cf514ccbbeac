"""NevergradSearch: a ``p.Dict`` of scalars and choices, drawn from a random state of its own."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import nevergrad as ng
import numpy as np
from nevergrad.common.errors import NevergradError
from nevergrad.optimization import metamodel
from nevergrad.optimization.base import Optimizer
from nevergrad.optimization.optimizerlib import NGOptBase
from nevergrad.optimization.recaster import RecastOptimizer
from ray.tune.search.nevergrad import NevergradSearch

from tune_bridge.engines.tune.searchers.codec import Form
from tune_bridge.engines.tune.searchers.hosting import Mended, Plan, seed_globals, usable

__all__ = ["HostedNevergrad", "make"]


_BUDGET = 100
"""For experiments without an end."""

# Its meta model makes a number of an array with one item, which numpy takes no more (from 2.4 on);
# NGOpt, the default, would end every search after a dozen runs.
metamodel.float = lambda value: np.asarray(value).item()


class HostedNevergrad(Mended, NevergradSearch):
    """Learns of points that are not its own, where its optimizer can, and never blocks."""

    _nevergrad_opt: Any
    _worst: float | None = None

    def _setup_nevergrad(self) -> None:
        super()._setup_nevergrad()  # type: ignore[no-untyped-call]
        self._nevergrad_opt.enable_pickling()
        # Optimizers that run an algorithm of another library in a thread, which waits for each of
        # its points in turn: asked for another one, they would wait for ever.
        self._waits = any(isinstance(part, RecastOptimizer) for part in _parts(self._nevergrad_opt))
        self._untold: list[Any] = []

    def suggest(self, trial_id: str) -> Any:
        """A point; None where the optimizer waits for the one before."""
        if self._waits and (self._live_trial_mapping or self._untold):
            return None
        return super().suggest(trial_id)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Remembers the worst."""
        self._note(result or {})
        super().on_trial_complete(trial_id, result, error)

    def _note(self, result: Mapping[str, Any]) -> None:
        if usable(result.get(self.metric)):
            loss = self._metric_op * result[self.metric]
            self._worst = loss if self._worst is None else max(loss, self._worst)

    def fail(self, trial_id: str) -> None:
        """Forgets the point, or says that it is the worst to an optimizer that waits for it."""
        point = self._live_trial_mapping.pop(trial_id)
        if self._waits:
            self._untold.append(point)
            self._tell_failures()

    def _tell_failures(self) -> None:
        while self._untold and self._worst is not None:
            self._nevergrad_opt.tell(self._untold.pop(0), self._worst)

    def learn(self, values: dict[str, Any], result: Mapping[str, Any]) -> None:
        """Tells a point that was not asked; optimizers that refuse it do not learn it."""
        self._note(result)
        self._tell_failures()
        parameters = self._nevergrad_opt.parametrization.spawn_child(new_value=values)
        with contextlib.suppress(NevergradError):
            self._nevergrad_opt.tell(parameters, self._metric_op * result[self.metric])


def _parts(optimizer: Optimizer) -> Iterator[Optimizer]:
    """An optimizer, and those that it is made of."""
    yield optimizer
    for value in vars(optimizer).values():
        for part in value if isinstance(value, list | tuple) else (value,):
            if isinstance(part, Optimizer):
                yield from _parts(part)


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
