"""What engines drive for agents, as the one table of `tune_bridge.dialects.ray_tune.runs` says."""

from __future__ import annotations

from tune_bridge.dialects.ray_tune.runs import ROWS
from tune_bridge.errors import UnsupportedError
from tune_bridge.experiment import Algorithm, Experiment

__all__ = ["DRIVES", "check_drives"]

DRIVES: dict[str, str] = {kind: row.by_agents for kind, row in ROWS.items()}
"""Searcher or scheduler -> why agents cannot run it; empty when they can."""


def check_drives(experiment: Experiment) -> None:
    """Refuses what no engine does.

    Raises:
        UnsupportedError: Naming the searcher or the scheduler, and why.
    """
    said: list[tuple[str, Algorithm | None]] = [
        ("searcher", experiment.searcher),
        ("scheduler", experiment.scheduler),
    ]
    for path, algorithm in said:
        why = "" if algorithm is None else DRIVES.get(algorithm.kind, "no engine knows it")
        if algorithm is not None and why:
            works = ", ".join(kind for kind, reason in DRIVES.items() if not reason)
            raise UnsupportedError(
                f"agents cannot run {algorithm.kind}: {why}", path=path, expected=f"one of {works}"
            )
