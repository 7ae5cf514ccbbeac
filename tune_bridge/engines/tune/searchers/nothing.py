"""A space with nothing to search: the same constants each time, where Ray's searchers fail."""

from __future__ import annotations

from typing import Any

from tune_bridge.engines.tune.searchers.hosting import Mended, Plan

__all__ = ["Constants", "make"]


class Constants(Mended):
    """Proposes no values."""

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Nothing that is searched."""
        return {}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """There is nothing to learn."""


def make(plan: Plan) -> Constants:
    """The searcher of a space without parameters."""
    return Constants(**plan.goal)
