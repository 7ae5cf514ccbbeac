"""Our searchers inside of Ray Tune: a `ray.tune.search.Searcher` around a proposer.

Ray's own searchers drop scales and quanta, wait for ever after failed trials, or fail with newer
libraries; the proposers of `tune_bridge.engines` are the same searchers with all of that mended. On
Ray they run through this class, so that a sweep searches alike with agents and on a cluster.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cloudpickle
from ray.tune.search import Searcher

from tune_bridge.engines import make_proposer
from tune_bridge.engines.parts import Proposer, Refused
from tune_bridge.engines.random_state import Sandbox
from tune_bridge.engines.results import flatten, is_usable
from tune_bridge.experiment import Experiment
from tune_bridge.reports import PAYLOAD

__all__ = ["HostedSearch"]

_BUDGET = "hyperband_info"


class HostedSearch(Searcher):
    """A proposer as Ray Tune sees it.

    Args:
        experiment: What is searched, and by whom.
        seed: Decides everything random where the experiment has no seed.

    Raises:
        UnsupportedError: The searcher cannot do what the experiment says.
        MissingExtraError: Its library is not installed.
    """

    def __init__(self, experiment: Experiment, seed: int) -> None:
        objective = experiment.objective
        super().__init__(
            metric=objective.name if objective else None,
            mode=objective.mode if objective else None,
        )
        self._proposer: Proposer
        self._sandbox: Sandbox
        self._proposer, self._sandbox = make_proposer(experiment, seed=seed)
        self._last: dict[str, dict[str, Any]] = {}

    @property
    def total(self) -> int | None:
        """How many configurations there are, as far as anybody knows."""
        return self._proposer.total

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Takes what Tune has; the space is the experiment's already."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """A configuration; None for "later", `Searcher.FINISHED` for "never again"."""
        with self._sandbox:
            proposal = self._proposer.propose(trial_id)
        if isinstance(proposal, Refused):
            return Searcher.FINISHED if proposal.final else None  # type: ignore[return-value]
        self._last[trial_id] = {}
        return proposal.config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A trial has reported, and goes on."""
        flat = _flat(result)
        if self._metric in flat:
            self._last[trial_id] = flat
        with self._sandbox:
            self._proposer.progress(trial_id, flat)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A trial is over."""
        if trial_id not in self._last:
            return
        last = self._last.pop(trial_id)
        flat = _flat(result or {})
        last = flat if self._metric in flat else last
        failed = error or (self._metric is not None and not is_usable(last.get(self._metric)))
        with self._sandbox:
            self._proposer.close(trial_id, last or None, failed=failed)

    def on_pause(self, trial_id: str) -> None:
        """Handed on to a searcher that learns from budgets (BOHB)."""
        self._forward("on_pause", trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Handed on to a searcher that learns from budgets (BOHB)."""
        self._forward("on_unpause", trial_id)

    def _forward(self, name: str, trial_id: str) -> None:
        method = getattr(self._proposer.live, name, None)
        if method is not None:
            with self._sandbox:
                method(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Writes everything to our own file, in one step."""
        target = Path(checkpoint_path)
        descriptor, name = tempfile.mkstemp(dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            cloudpickle.dump((self._proposer, self._sandbox, self._last), file)
        Path(name).replace(target)

    def restore(self, checkpoint_path: str) -> None:
        """Reads what `save` wrote."""
        with Path(checkpoint_path).open("rb") as file:
            self._proposer, self._sandbox, self._last = cloudpickle.load(file)


def _flat(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result as proposers know it, without the rows that travel in it.

    HyperBandForBOHB puts the budget into it as a mapping, and BOHB reads it as one.
    """
    budget = {key: value for key, value in result.items() if key == _BUDGET}
    rest = {
        key: value
        for key, value in result.items()
        if key.partition("/")[0] not in (PAYLOAD, _BUDGET)
    }
    return {**flatten(rest), **budget}
