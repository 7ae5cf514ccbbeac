"""SkOptSearch: Ray's searcher on scikit-optimize, which Ray has dropped, written anew.

Name and arguments are those of Ray's (ray 2.9, ``ray.tune.search.skopt``); it asks the library as
Ray's did, one point for each question. Ray's proposed one and the same point to everybody who asked
before the next result; here the runs that are waited for count as the best so far meanwhile, so
that the next point is another one (the "constant liar" of scikit-optimize).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.search import Searcher
from ray.tune.utils.util import unflatten_dict  # type: ignore[attr-defined]
from skopt import Optimizer
from skopt.space import Categorical, Dimension, Real

from tune_bridge.engines.tune.searchers.codec import Form
from tune_bridge.engines.tune.searchers.hosting import Mended, Plan, usable
from tune_bridge.errors import SpecError

__all__ = ["HostedSkOpt", "SkOptSearch", "make"]


class SkOptSearch(Searcher):
    """Ray's interface to scikit-optimize.

    Args:
        optimizer: A ``skopt.Optimizer``; `space` then lists the names of its dimensions.
        space: Dimension by name, or names.
        metric: Metric.
        mode: "min" or "max".
        points_to_evaluate: Points to try first: values by name, or lists of values.
        evaluated_rewards: Values of the metric that `points_to_evaluate` have already; they are
            told then, and not tried.
        convert_to_python: Answer with plain numbers instead of numpy's.
        random_state: Seed of an optimizer that is made here.

    Raises:
        SpecError: Neither an optimizer nor a space, or points and rewards that differ in number.
    """

    def __init__(
        self,
        optimizer: Optimizer | None = None,
        space: dict[str, Dimension] | list[str] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: list[Any] | None = None,
        evaluated_rewards: list[float] | None = None,
        convert_to_python: bool = True,
        random_state: int | None = None,
    ) -> None:
        super().__init__(metric=metric, mode=mode)
        if optimizer is None and not isinstance(space, dict):
            raise SpecError("SkOptSearch without a space", path="space", expected="dimensions")
        self._names = list(space or [])
        self._optimizer = optimizer or Optimizer(
            list(space.values()),  # type: ignore[union-attr]
            random_state=random_state,
        )
        self._sign = -1.0 if mode == "max" else 1.0
        self._convert = convert_to_python
        self._live: dict[str, list[Any]] = {}
        self._pending: dict[str, list[Any]] = {}  # asked since the last result
        points = [self._listed(point) for point in points_to_evaluate or []]
        rewards = evaluated_rewards or []
        if rewards and len(rewards) != len(points):
            raise SpecError(
                "points and rewards differ in number",
                path="evaluated_rewards",
                found=f"{len(rewards)} rewards for {len(points)} points",
            )
        if rewards:
            self._optimizer.tell(points, [self._sign * reward for reward in rewards])
        self._points = [] if rewards else points

    def _listed(self, point: Any) -> list[Any]:
        return [point[name] for name in self._names] if isinstance(point, dict) else list(point)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """A point: one of the first, or the library's."""
        values = self._points.pop(0) if self._points else self._ask()
        self._live[trial_id] = self._pending[trial_id] = values
        if self._convert:
            values = [getattr(value, "item", lambda value=value: value)() for value in values]
        suggestion: dict[str, Any] = unflatten_dict(dict(zip(self._names, values, strict=True)))
        return suggestion

    def _ask(self) -> list[Any]:
        optimizer = self._optimizer
        modelled = optimizer._n_initial_points <= 0 and optimizer.models
        if modelled and self._pending:
            lie = min(optimizer.yi)
            optimizer = optimizer.copy()
            optimizer.tell(list(self._pending.values()), [lie] * len(self._pending))
        found: list[Any] = optimizer.ask()
        return found

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """It learns from last results."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells the library what there is to tell."""
        values = self._live.pop(trial_id, None)
        self._pending.pop(trial_id, None)
        if values is not None and result and usable(result.get(self.metric)):
            self._optimizer.tell(values, self._sign * result[self.metric])
            # What is asked from now on comes from another model.
            self._pending = dict(self._live)

    def save(self, checkpoint_path: str) -> None:
        """Writes its state to a file of our own."""
        import cloudpickle

        with open(checkpoint_path, "wb") as file:  # noqa: PTH123 - Ray gives a plain string
            cloudpickle.dump(self.__dict__, file)

    def restore(self, checkpoint_path: str) -> None:
        """Reads what `save` wrote; a pickle, so only files of our own."""
        import cloudpickle

        with open(checkpoint_path, "rb") as file:  # noqa: PTH123 - Ray gives a plain string
            self.__dict__.update(cloudpickle.load(file))


class HostedSkOpt(Mended, SkOptSearch):
    """Learns of points that are not its own, all at once: the model is fitted to each telling."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._learned: list[tuple[list[Any], float]] = []

    def _ask(self) -> list[Any]:
        if self._learned:
            points, values = zip(*self._learned, strict=True)
            self._learned = []
            self._optimizer.tell(list(points), list(values))
        return super()._ask()

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """A point."""
        return super().suggest(trial_id)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells the library."""
        super().on_trial_complete(trial_id, result, error)

    def learn(self, values: dict[str, Any], result: Mapping[str, Any]) -> None:
        """Keeps a point until the next question."""
        self._learned.append((self._listed(values), self._sign * result[self.metric]))


def _dimension(name: str, form: Form) -> Dimension:
    if form.kind == "options":
        return Categorical(list(form.labels), prior=form.weights, name=name)
    return Real(form.low, form.high, "log-uniform" if form.log else "uniform", name=name)


def make(plan: Plan) -> HostedSkOpt:
    """The searcher of a plan."""
    space = {name: _dimension(name, knob.form) for name, knob in plan.space.knobs.items()}
    return HostedSkOpt(
        space=space,
        points_to_evaluate=plan.points or None,
        random_state=plan.seed,
        **plan.goal,
        **plan.args,
    )
