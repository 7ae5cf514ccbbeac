"""W&B's method bayes: a Gaussian process on the cube of quantiles, by scikit-optimize.

The semantics are those of W&B's ``sweeps.bayes_search``: the score of a run is the best value that
it reported, failed runs get an imputed one (``metric.impute``: worst by default), runs that go on
count as what the model expects of them. Better than there: the first points are random until the
model has something to learn from, a configuration comes once, and a finite space is used up.
"""

from __future__ import annotations

import importlib
import math
import random
from collections.abc import Mapping
from typing import Any

import msgspec

from tune_bridge import laws
from tune_bridge.engines.configs import canonical, initial_points
from tune_bridge.engines.native import points
from tune_bridge.engines.native.cube import Cube
from tune_bridge.engines.native.draws import complete
from tune_bridge.engines.parts import Proposal, Proposer, Refused
from tune_bridge.engines.random_state import derived
from tune_bridge.engines.results import plain
from tune_bridge.errors import InputError, MissingExtraError
from tune_bridge.experiment import Experiment

__all__ = ["Bayes"]

_INITIAL = 5
"""Scored runs before the model is asked; W&B's two are too few for a model of several axes."""
_MOST = 150
"""Points that the model is fitted to: its cost grows with their cube (W&B draws 100 of them)."""
_BEST = 50
"""How many of these are the best of all; the rest are the latest."""
_CANDIDATES = 1000
"""Points that are compared, as in ``sweeps``."""
_TRIES = 20
"""Draws before a point that is not taken yet is looked for one after the other."""


class _Seen(msgspec.Struct):
    """What is known of a run: its point, its best, worst and last value, to be minimized."""

    point: list[float | int]
    over: bool = False
    failed: bool = False
    best: float | None = None
    worst: float | None = None
    last: float | None = None


class Bayes(Proposer):
    """Proposes where the expected improvement is largest.

    ``metric.impute`` (latest, best, worst) and ``metric.impute_while_running`` (the same, or
    ``"false"``) are read from the objective's options.

    Args:
        experiment: What is searched, and the metric.
        seed: Decides the draws, where the experiment has no seed of its own.

    Raises:
        InputError: There is no metric, nothing is searched, or an initial point does not fit.
        UnsupportedError: The space holds what has no axis.
        MissingExtraError: scikit-optimize is not installed.
    """

    def __init__(self, experiment: Experiment, seed: int) -> None:
        if experiment.objective is None:
            raise InputError(
                "bayes needs a metric", path="metric", expected="the name of what runs report"
            )
        try:
            importlib.import_module("skopt")
        except ImportError:
            raise MissingExtraError("scikit-optimize", "skopt", "method bayes") from None
        objective = experiment.objective
        options = objective.options.value
        self._metric = objective.name
        self._sign = 1.0 if objective.goal == "minimize" else -1.0
        self._impute = options.get("impute", "worst")
        self._meanwhile = str(options.get("impute_while_running", "false")).lower()
        self._space = experiment.space
        self._cube = Cube(experiment.space)
        self._rng = random.Random(
            derived(seed if experiment.seed is None else experiment.seed, "bayes")
        )
        self._points = initial_points(experiment)
        self._runs: dict[str, _Seen] = {}
        self._taken: set[str] = set()
        self._size = points.count(experiment.space)
        self.total = experiment.num_samples

    def propose(self, run: str) -> Proposal | Refused:
        """A point to try first, a random one, or the model's."""
        config, info = self._next()
        if config is None:
            return Refused(f"all {self._size} points of the space have been given", final=True)
        self._taken.add(canonical(config))
        self._runs[run] = _Seen(self._cube.point(config))
        return Proposal(config, info)

    def enqueued(self, run: str, config: Mapping[str, Any]) -> None:
        """It goes on meanwhile, as others do, and is not proposed again."""
        self._taken.add(canonical(config))
        self._runs[run] = _Seen(self._cube.point(dict(config)))

    def progress(self, run: str, result: Mapping[str, Any]) -> None:
        """Keeps the best value."""
        value = result.get(self._metric)
        seen = self._runs.get(run)
        if seen is None or isinstance(value, bool) or not isinstance(value, int | float):
            return
        if not math.isfinite(value):
            return
        cost = self._sign * value
        seen.last = cost
        seen.best = cost if seen.best is None else min(seen.best, cost)
        seen.worst = cost if seen.worst is None else max(seen.worst, cost)

    def close(self, run: str, result: Mapping[str, Any] | None, *, failed: bool) -> None:
        """The run counts with its best value, or with an imputed one."""
        if result is not None:
            self.progress(run, result)
        seen = self._runs[run]
        seen.over = True
        seen.failed = failed

    def learn(self, run: str, config: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """As for any other run."""
        seen = self._runs.setdefault(run, _Seen(self._cube.point(dict(config))))
        self.progress(run, result)
        seen.over, seen.failed = True, False

    # Where to go next.

    def _next(self) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        if self._points:
            drawn = plain(laws.sample(self._space, self._rng))
            config = complete(self._space, drawn, self._points.pop(0), self._rng)
            return config, {"by": "point"}
        if self._size is not None and len(self._taken) >= self._size:
            return None, {}
        scored, pending = self._data()
        enough = len({cost for _, cost in scored}) > 1 and len(scored) >= _INITIAL
        if enough:
            config = self._modelled(scored, pending)
            if canonical(config) not in self._taken:
                return config, {"by": "model"}
        return self._random(), {"by": "draw"}

    def _random(self) -> dict[str, Any]:
        """A random point that has not come yet, as long as there is one."""
        config: dict[str, Any] = {}
        for _ in range(_TRIES):
            config = plain(laws.sample(self._space, self._rng))
            if canonical(config) not in self._taken:
                return config
        if self._size is None:
            return config
        index = self._rng.randrange(self._size)
        while canonical(config := points.point(self._space, index)) in self._taken:
            index = (index + 1) % self._size
        return config

    def _data(self) -> tuple[list[tuple[list[Any], float]], list[list[Any]]]:
        """Points with their costs, and points without."""
        worst = max(
            (s.worst for s in self._runs.values() if s.over and s.worst is not None), default=None
        )
        scored: list[tuple[list[Any], float]] = []
        pending = []
        for seen in self._runs.values():
            if seen.over and not seen.failed and seen.best is not None:
                cost: float | None = seen.best
            else:
                rule = self._impute if seen.over else self._meanwhile
                cost = {"worst": worst, "best": seen.best, "latest": seen.last}.get(rule)
            if cost is not None:
                scored.append((seen.point, cost))
            elif not seen.over:
                pending.append(seen.point)
        return scored, pending

    def _modelled(
        self, scored: list[tuple[list[Any], float]], pending: list[list[Any]]
    ) -> dict[str, Any]:
        if len(scored) > _MOST:
            order = sorted(range(len(scored)), key=lambda index: scored[index][1])
            kept = {*order[:_BEST], *range(len(scored) - (_MOST - _BEST), len(scored))}
            scored = [scored[index] for index in sorted(kept)]
        xs = [point for point, _ in scored]
        ys = [cost for _, cost in scored]
        seed = self._rng.getrandbits(31)
        optimizer = self._fitted(xs, ys, seed)
        if pending:
            # What runs counts as what the model expects of it.
            latest = pending[-_MOST // 3 :]
            model, space = optimizer.models[-1], optimizer.space
            expected = model.predict(space.transform(latest)).tolist()
            optimizer = self._fitted([*xs, *latest], [*ys, *expected], seed)
        return self._cube.config(optimizer.ask())

    def _fitted(self, xs: list[list[Any]], ys: list[float], seed: int) -> Any:
        from skopt import Optimizer
        from skopt.space import Categorical, Real
        from threadpoolctl import threadpool_limits

        axes = [
            Categorical(list(range(size))) if size else Real(0.0, 1.0) for size in self._cube.sizes
        ]
        optimizer = Optimizer(
            axes,
            base_estimator="GP",
            n_initial_points=0,
            acq_func="EI",
            acq_optimizer="sampling",
            acq_optimizer_kwargs={"n_points": _CANDIDATES},
            random_state=seed,
        )
        # The matrices are small: several threads only wait for each other.
        with threadpool_limits(1):
            optimizer.tell(xs, ys)
        return optimizer
