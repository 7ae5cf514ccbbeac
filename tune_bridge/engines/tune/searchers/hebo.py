"""HEBOSearch: a DesignSpace, drawn from the random states that the host keeps, in one thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hebo.acq_optimizers import evolution_optimizer
from hebo.design_space.design_space import DesignSpace
from pymoo.core.algorithm import Algorithm
from ray.tune.search.hebo import HEBOSearch

from tune_bridge.engines.tune.searchers.codec import Form
from tune_bridge.engines.tune.searchers.hosting import Mended, Plan, one_thread

__all__ = ["HostedHEBO", "make"]

_minimize = evolution_optimizer.minimize


def _seeded(*args: Any, **kwargs: Any) -> Any:
    """The ``minimize`` of pymoo, with a seed from numpy instead of one from the system."""
    kwargs.setdefault("seed", int(np.random.randint(2**31)))
    return _minimize(*args, **kwargs)


if hasattr(Algorithm(), "random_state"):
    evolution_optimizer.minimize = _seeded


class HostedHEBO(Mended, HEBOSearch):
    """Keeps torch to one thread."""

    @one_thread()
    def suggest(self, trial_id: str) -> Any:
        """A point, or None until the batch is told."""
        return super().suggest(trial_id)

    def learn(self, values: dict[str, Any], result: Mapping[str, Any]) -> None:
        """Observes a point."""
        self.add_evaluated_point(values, result[self.metric])


def _parameter(name: str, form: Form) -> dict[str, Any]:
    if form.kind == "options":
        return {"name": name, "type": "cat", "categories": list(form.labels)}
    kind = "int" if form.kind == "int" else "pow" if form.log else "num"
    return {"name": name, "type": kind, "lb": form.low, "ub": form.high}


@one_thread()
def make(plan: Plan) -> HostedHEBO:
    """The searcher of a plan."""
    space = [_parameter(name, knob.form) for name, knob in plan.space.as_written.items()]
    return HostedHEBO(
        space=DesignSpace().parse(space),
        points_to_evaluate=plan.points or None,
        random_state_seed=plan.seed,
        **plan.goal,
        **plan.args,
    )
