"""No scheduler: every run goes on to its end, in the order in which runs were proposed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_bridge.engines.base import Action, Checkpoint
from tune_bridge.engines.parts import Judge

__all__ = ["Fifo"]


class Fifo(Judge):
    """Stops nothing."""

    foreign = False

    def add(self, run: str, config: dict[str, Any]) -> None:
        """Nothing to keep."""

    def choose(self) -> str | None:
        """None: the order is the engine's."""
        return None

    def judge(
        self, run: str, result: dict[str, Any], checkpoint: Checkpoint | None
    ) -> tuple[Action, ...]:
        """Goes on."""
        return ()

    def finish(self, run: str, result: Mapping[str, Any] | None) -> tuple[Action, ...]:
        """Nothing to do with others."""
        return ()

    def fail(self, run: str, *, retry: bool) -> tuple[Action, ...]:
        """Nothing to do with others."""
        return ()

    def remove(self, run: str) -> tuple[Action, ...]:
        """Nothing to do with others."""
        return ()
