"""Any searcher of Ray Tune as a proposer, and what their mended classes have in common.

Importing this module imports Ray.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ray.tune.search import ConcurrencyLimiter, Repeater, Searcher
from ray.tune.search.repeater import TRIAL_INDEX

from tune_bridge import laws
from tune_bridge.engines.parts import EXHAUSTED, LATER, Proposal, Proposer, Refused
from tune_bridge.engines.results import plain
from tune_bridge.engines.tune.searchers.codec import FlatSpace, flatten
from tune_bridge.errors import SpecError
from tune_bridge.experiment import Experiment

__all__ = ["Mended", "Plan", "SearcherProposer", "one_thread", "seed_globals"]

_TRIES = 100
"""Impossible configurations in a row, before a searcher is taken to know no others."""

_NOISY = ("ax", "botorch", "hebo", "hpbandster", "optuna", "ray.tune.search", "nevergrad")


class Plan(NamedTuple):
    """What a searcher is made from.

    Attributes:
        space: The space in the form that the library knows.
        metric: Name of the metric.
        mode: "min" or "max".
        seed: Decides everything random.
        args: Further arguments of the searcher's class, live.
        points: Values by name to try first.
        experiment: Where all of this comes from.
    """

    space: FlatSpace
    metric: str
    mode: str
    seed: int
    args: dict[str, Any]
    points: list[dict[str, Any]]
    experiment: Experiment

    @property
    def goal(self) -> dict[str, Any]:
        """Metric and mode as arguments."""
        return {"metric": self.metric, "mode": self.mode}

    @property
    def sign(self) -> float:
        """Factor that makes a value one to be minimised."""
        return -1.0 if self.mode == "max" else 1.0


class Mended(Searcher):
    """A base beside a searcher of Ray, which learns of failures in the form that it can bear.

    A result that is missing or not finite is a failure, however it is told.
    """

    intermediate = False
    """Whether results that do not end a run are of use."""

    reads: tuple[str, ...] = ()
    """Further results that it needs beside the metric."""

    refused = ""
    """Why the searcher said that it has finished, for people."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Passes a usable result on; anything else is a failure."""
        value = (result or {}).get(self.metric)
        if usable(value):
            super().on_trial_complete(trial_id, result)
        else:
            self.fail(trial_id)

    def fail(self, trial_id: str) -> None:
        """A run gave nothing: the searcher forgets it."""
        super().on_trial_complete(trial_id, error=True)

    def learn(self, values: dict[str, Any], result: Mapping[str, Any]) -> None:
        """The result of values that somebody else proposed; ignored by default."""

    def wake(self) -> bool:
        """Called when nothing runs and nothing is proposed: mends it, and says whether it could."""
        return False


class SearcherProposer(Proposer):
    """Hosts a searcher.

    Args:
        experiment: What is searched.
        seed: Where the experiment has none.
        plan: Of the searcher.
        searcher: The innermost one.
        wrapped: The same in its wrappers.
    """

    def __init__(
        self, experiment: Experiment, plan: Plan, searcher: Mended, wrapped: Searcher
    ) -> None:
        self.total = experiment.num_samples
        self._space, self._metric = plan.space, plan.metric
        self._seed = plan.seed
        self._inner, self._searcher = searcher, wrapped
        self._own: set[str] = set()  # runs that the searcher knows and that live
        self._strays: dict[str, dict[str, Any]] = {}  # runs that were drawn at random
        self._drawn = 0
        self._repeats = any(isinstance(layer, Repeater) for layer in _layers(wrapped))

    @property
    def live(self) -> Searcher:
        """The searcher inside, without wrappers."""
        return self._inner

    def propose(self, run: str) -> Proposal | Refused:
        """Asks the searcher, mends what stands still, and draws at random as a last resort."""
        for _ in range(_TRIES):
            answer = self._ask(run)
            if answer is not None:
                return answer
        return Refused("the searcher proposes nothing but configurations without a value", True)

    def _ask(self, run: str) -> Proposal | Refused | None:
        """An answer; None when the space has no value for what the searcher wants."""
        suggestion: Any = self._searcher.suggest(run)
        while suggestion is None and not self._own and self._inner.wake():
            suggestion = self._searcher.suggest(run)
        if suggestion == Searcher.FINISHED:
            return EXHAUSTED if not self._inner.refused else Refused(self._inner.refused, True)
        if suggestion is None:
            return LATER if self._own or self._strays else self._draw(run)
        self._own.add(run)
        flat = dict(flatten(suggestion))
        index = flat.pop(TRIAL_INDEX, None)
        try:
            config = self._space.decode(flat)
        except SpecError:
            self.close(run, None, failed=True)
            return None
        if index is not None:
            config[TRIAL_INDEX] = index
        return Proposal(config, {"repeat": index + 1} if index is not None else {})

    def _draw(self, run: str) -> Proposal:
        self._drawn += 1
        rng = random.Random(f"{self._seed}/{self._drawn}")
        note = "drawn at random: the searcher proposes nothing and no run is left to wait for"
        config = plain(laws.sample(self._space.space, rng))
        self._strays[run] = config
        return Proposal(config, {"searcher": note})

    def progress(self, run: str, result: Mapping[str, Any]) -> None:
        """Passes a result on to searchers that learn from them."""
        if self._inner.intermediate and run in self._own and usable(result.get(self._metric)):
            self._searcher.on_trial_result(run, self._said(result))

    def close(self, run: str, result: Mapping[str, Any] | None, *, failed: bool) -> None:
        """Passes the last result on, or the failure."""
        stray = self._strays.pop(run, None)
        if stray is not None and result is not None and not failed:
            self.learn(run, stray, result)
        if run not in self._own:
            return
        self._own.remove(run)
        said = None if failed or result is None else self._said(result)
        # A repeater waits for a result of each of its runs, and knows no error.
        error = {} if self._repeats else {"error": said is None}
        self._searcher.on_trial_complete(run, said, **error)

    def learn(self, run: str, config: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Gives the searcher a point that is not its own."""
        if not usable(result.get(self._metric)):
            return
        given = {name: value for name, value in config.items() if name != TRIAL_INDEX}
        self._inner.learn(self._space.encode(given, self._seed), self._said(result))

    def _said(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """What searchers read of a result: they keep what they are given."""
        names = (self._metric, "training_iteration", "hyperband_info", *self._inner.reads)
        return {name: result[name] for name in names if name in result}


def _layers(searcher: Searcher) -> Iterator[Searcher]:
    layer: Any = searcher
    while layer is not None:
        yield layer
        layer = getattr(layer, "searcher", None)


def usable(value: Any) -> bool:
    """Whether a value of the metric is a finite number."""
    try:
        return math.isfinite(value)
    except (TypeError, OverflowError):
        return False


def wrap(searcher: Searcher, wrappers: list[tuple[str, dict[str, Any]]], limit: int | None) -> Any:
    """Puts a searcher into its wrappers.

    Args:
        searcher: The innermost one.
        wrappers: Class name and arguments, outermost first.
        limit: Runs at once, or None.
    """
    limited = False
    for kind, args in reversed(wrappers):
        if kind == "Repeater":
            searcher = Repeater(searcher, **args)
        elif limit is not None:
            limited = True
            searcher = ConcurrencyLimiter(searcher, limit, **args)
    if limit is not None and not limited:
        searcher = ConcurrencyLimiter(searcher, limit)
    return searcher


def seed_globals(seed: int) -> None:
    """Seeds the random states of the process, for libraries that draw from them."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def quiet_loggers() -> None:
    """Lets libraries log errors only: they tell people what a driver knows better.

    To be called when they are loaded: some set the level of each of their loggers then.
    """
    for name in (*_NOISY, *logging.root.manager.loggerDict):
        if name.startswith(_NOISY):
            logging.getLogger(name).setLevel(logging.ERROR)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Has torch use one thread: on a busy machine more of them take 10 to 30 times as long.

    A context manager, and a decorator.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
