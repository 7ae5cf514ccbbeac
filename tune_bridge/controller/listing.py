"""What a sweep's queue looks like, for people and programs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from tune_bridge.backends.base import Backend, Sweep
from tune_bridge.controller.liveness import HEARD, unheard_since, unheard_words
from tune_bridge.controller.steering import is_steered
from tune_bridge.controller.sweep import SweepController

__all__ = ["describe", "is_reported", "reported"]

_WORDS = {"open": "running"}
"""The queue's word for a gate -> the word that people and programs know."""


def describe(sweep: SweepController) -> dict[str, Any]:
    """The queue as plain data.

    Returns:
        ``gate``, the sweep's state or ``stopping`` (running, and nothing new is given out), and
        ``reason``; ``settings``, ``concurrency``; ``events`` (their number);
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
            "gate": _WORDS.get(state.gate, state.gate),
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


def is_reported(sweep: Sweep) -> bool:
    """Whether the program reports it that runs it, and no agents do."""
    return HEARD in sweep.meta or is_steered(sweep)


def reported(backend: Backend, sweep: Sweep) -> dict[str, Any]:
    """The same of a sweep that one program reports, which has no agents and no queue.

    Returns:
        As `describe`, with ``unheard_since``; the gate is the sweep's state.
    """
    since = unheard_since(sweep)
    reasons = [sweep.message, "" if since is None else unheard_words(since)]
    return {
        "sweep": sweep.id,
        "gate": sweep.state,
        "reason": "; ".join(reason for reason in reasons if reason),
        "waiting": "",
        "done": "",
        "concurrency": None,
        "settings": {},
        "needs_checkpoints": "",
        "events": None,
        "runs": backend.counts([sweep.id]).get(sweep.id, {}),
        "hosts": {},
        "agents": [],
        "unheard_since": since,
    }
