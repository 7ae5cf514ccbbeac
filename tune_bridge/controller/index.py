"""What would have to be looked for among all runs of a sweep, so that events cost the same in all.

It follows from `tune_bridge.controller.state.SweepState` and is kept nowhere.
"""

from __future__ import annotations

import heapq

from tune_bridge.controller.state import RunState, SweepState

__all__ = ["Index"]


class Index:
    """Runs by what somebody asks for.

    Args:
        state: The runs as they are now.

    Attributes:
        open: Runs that are not over.
    """

    def __init__(self, state: SweepState) -> None:
        runs = state.runs.values()
        self.open: dict[str, None] = {run.id: None for run in runs if run.status != "over"}
        self._missing = {run.id for run in runs if run.missing}
        self._by_name = sorted(self._missing)  # a heap; with some that are missing no more
        self._given = {
            (run.agent, run.request): run.id for run in map(state.runs.__getitem__, state.live)
        }

    @property
    def missing(self) -> int:
        """How many runs there are whose agent is lost."""
        return len(self._missing)

    @property
    def first_missing(self) -> str | None:
        """The first one of them by its id."""
        while self._by_name and self._by_name[0] not in self._missing:
            heapq.heappop(self._by_name)
        return self._by_name[0] if self._by_name else None

    def miss(self, run: RunState) -> None:
        """A run's agent is lost."""
        run.missing = True
        self._missing.add(run.id)
        heapq.heappush(self._by_name, run.id)

    def find(self, run: RunState) -> None:
        """It is not, or no more."""
        run.missing = False
        self._missing.discard(run.id)

    def give(self, run: RunState) -> None:
        """An agent has got a run."""
        self._given[run.agent, run.request] = run.id

    def take(self, run: RunState) -> None:
        """It has it no more."""
        if self._given.get((run.agent, run.request)) == run.id:
            del self._given[run.agent, run.request]

    def given(self, agent: str, request: str) -> str | None:
        """The run that an agent has for a request."""
        return self._given.get((agent, request))
