"""What a sweep's queue looks like, for people and programs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from tune_bridge.controller.sweep import SweepController

__all__ = ["describe"]


def describe(sweep: SweepController) -> dict[str, Any]:
    """The queue as plain data.

    Returns:
        ``gate`` and ``reason``; ``settings``, ``concurrency``; ``events`` (their number);
        ``needs_checkpoints``; ``waiting`` and ``done``, what the engine said last; ``runs``
        (number by status, those that are over by how they ended); ``hosts`` (failures in a row,
        quarantine); ``agents``, one for each run that somebody has.
    """
    with sweep.lock:
        state = sweep.state
        runs = Counter(
            str(run.state) if run.status == "over" else "lost" if run.missing else run.status
            for run in state.runs.values()
        )
        agents = [
            {
                "agent": run.agent,
                "host": run.host,
                "run": run.id,
                "attempt": run.attempt,
                "status": "lost" if run.missing else run.status,
                "seen": sweep.seen_at(run.id),
            }
            for run in map(state.runs.__getitem__, sorted(state.live))
        ]
        return {
            "sweep": sweep.id,
            "gate": state.gate,
            "reason": state.reason,
            "waiting": state.waiting,
            "done": state.done,
            "concurrency": state.concurrency,
            "settings": msgspec.structs.asdict(sweep.settings),
            "needs_checkpoints": sweep.needs_checkpoints,
            "events": sweep.count,
            "runs": dict(runs),
            "hosts": {name: msgspec.to_builtins(host) for name, host in state.hosts.items()},
            "agents": agents,
        }
