"""The queue of a sweep as it stands. Nothing here changes it."""

from __future__ import annotations

from tune_bridge.controller.index import Index
from tune_bridge.controller.state import Gate, Host, RunState, SweepState
from tune_bridge.engines.base import Engine
from tune_bridge.errors import NotFoundError
from tune_bridge.wire import Idle, Over, Settings

__all__ = ["CLOSED", "Queue"]

CLOSED: dict[Gate, str] = {
    "stopping": "the sweep is stopping",
    "canceled": "the sweep was canceled",
    "failed": "the sweep has failed",
    "finished": "the sweep is finished",
}
"""Why a gate lets nobody in any more."""


class Queue:
    """What is asked of a queue before an event is made.

    Args:
        engine: Of the sweep.
        settings: Of its queue.
        state: Where it stands; a new one without.
    """

    def __init__(self, engine: Engine, settings: Settings, state: SweepState | None = None) -> None:
        self.engine = engine
        self.settings = settings
        self.state = state or SweepState(concurrency=settings.concurrency)
        self._index = Index(self.state)

    def closed(self, host: str) -> Idle | Over | None:
        """Why a claim cannot succeed now, without asking the engine; None when it might."""
        state = self.state
        if state.gate in CLOSED:
            return Over(state.reason or CLOSED[state.gate])
        quarantine = state.hosts.get(host, Host()).quarantine
        if quarantine:
            return Over(quarantine)
        if state.gate == "paused":
            return Idle("the sweep is paused")
        missing = self._index.missing
        if state.concurrency is not None and len(state.live) - missing >= state.concurrency:
            return Idle(f"{state.concurrency} runs at once are allowed")
        if state.ready or missing:
            return None
        if state.done:
            # A run that fails may be tried again: then there is something to do.
            return Idle(state.done) if state.live else Over(state.done)
        return Idle(state.waiting) if state.waiting else None

    def run(self, run_id: str) -> RunState:
        """One run.

        Raises:
            NotFoundError: This controller knows none with this id.
        """
        try:
            return self.state.runs[run_id]
        except KeyError:
            raise NotFoundError("no such run in this sweep", found=repr(run_id)) from None

    def given(self, agent: str, request: str) -> RunState | None:
        """The run that an agent has for a request, and works on."""
        run_id = self._index.given(agent, request)
        run = None if run_id is None else self.state.runs[run_id]
        return run if run is not None and run.status == "running" else None

    def checkpoints(self) -> set[str]:
        """Ids of all checkpoints that somebody may still start from."""
        if not self._asks:
            return set()
        kept = set(self.engine.checkpoints())
        for run in map(self.state.runs.__getitem__, self._index.open):
            if run.checkpoint is not None:
                kept.add(run.checkpoint.id)
            if run.saved is not None:
                kept.add(run.saved)
        return kept

    @property
    def _asks(self) -> bool:
        """Whether the engine has a say (still)."""
        return self.state.gate not in ("canceled", "failed")

    @property
    def _gives(self) -> bool:
        """Whether runs are given out (again, once it is resumed)."""
        return self.state.gate in ("open", "paused")
