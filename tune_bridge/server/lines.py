"""Sweeps as plain data: what the API and the command line list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tune_bridge.backends.base import Sweep
from tune_bridge.controller.liveness import unheard_since
from tune_bridge.server.views import Best, Overview

__all__ = ["best_data", "line", "run_cap_of", "sweep_data"]


def run_cap_of(config: Mapping[str, Any]) -> int | None:
    """How many runs a sweep makes at most, or None when its config names no such number."""
    cap = config.get("run_cap")
    return cap if isinstance(cap, int) and not isinstance(cap, bool) and cap > 0 else None


def sweep_data(sweep: Sweep) -> dict[str, Any]:
    """A sweep with the address of its page.

    ``unheard_since`` is when its program was last heard of, and None while it is heard of: see
    `tune_bridge.controller.liveness`.
    """
    about = {"url": f"/sweeps/{sweep.id}", "unheard_since": unheard_since(sweep)}
    return {**msgspec.structs.asdict(sweep), **about}


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
        "runs": sum(overview.counts.values()),
        "run_cap": run_cap_of(overview.sweep.config),
        "running": overview.counts.get("running", 0),
        "spark": list(overview.spark),
        "best": best_data(overview.best),
    }
