"""Sweeps as plain data: what the API and the command line list."""

from __future__ import annotations

from typing import Any

import msgspec

from tune_bridge.backends.base import Sweep
from tune_bridge.server.views import Best, Overview

__all__ = ["best_data", "line", "sweep_data"]


def sweep_data(sweep: Sweep) -> dict[str, Any]:
    """A sweep with the address of its page."""
    return {**msgspec.structs.asdict(sweep), "url": f"/sweeps/{sweep.id}"}


def best_data(best: Best | None) -> dict[str, Any] | None:
    """The best run of a sweep."""
    return None if best is None else msgspec.structs.asdict(best)


def line(overview: Overview) -> dict[str, Any]:
    """One line of the list of sweeps."""
    shown = sweep_data(overview.sweep)
    del shown["config"]
    return {
        **shown,
        "method": overview.plan.method,
        "searcher": overview.plan.searcher,
        "scheduler": overview.plan.scheduler,
        "metric": overview.plan.objective,
        "goal": overview.plan.goal,
        "counts": overview.counts,
        "best": best_data(overview.best),
    }
