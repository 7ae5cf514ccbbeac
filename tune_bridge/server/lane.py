"""One sweep within the event loop: its calls in a row, and agents that wait for a run.

An agent that waits holds no thread. All who wait stand in line; a change of the sweep wakes the
first one alone, since what it cannot have, nobody behind it can; whoever gets a run wakes the next.
So a change costs one claim, however many agents wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from tune_bridge.controller import SweepController
from tune_bridge.wire import Answer, Claim, ClaimRequest, Idle

__all__ = ["LONGEST_WAIT", "Lane"]

LONGEST_WAIT = 120.0
"""Seconds that a claim is held at most, whatever it asks for."""

_STOPPING = Idle("the server is stopping")
_HUNG_UP = Idle("the agent has hung up")
_T = TypeVar("_T")


class Lane:
    """The way of all requests to one sweep. To be made and used in one event loop.

    Args:
        sweep: The sweep.
        pool: Threads; at most one of them works for this sweep at a time, so that a sweep whose
            engine thinks for long does not take those of others.
    """

    def __init__(self, sweep: SweepController, pool: Executor) -> None:
        self.sweep = sweep
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._changes = 0
        self._tickets = 0
        self._line: dict[int, asyncio.Future[None]] = {}
        self._latest: dict[tuple[str, str], int] = {}  # by agent and request, while it is answered
        self._closed = False
        self._unlisten = sweep.listen(self._ring)

    async def call(self, function: Callable[..., _T], *args: Any, **keys: Any) -> _T:
        """Calls a function in a thread, after those that were asked for before."""
        async with self._turn:
            return await self._loop.run_in_executor(self._pool, lambda: function(*args, **keys))

    async def claim(self, request: ClaimRequest, gone: asyncio.Future[Any]) -> Answer:
        """A run, or the answer that there is none when the wait is over.

        Args:
            request: What the agent wants.
            gone: Done when the agent has hung up: it gets nothing then, and what it has got in the
                meantime is given back.
        """
        ticket = self._tickets = self._tickets + 1
        name = (request.agent, request.request)
        self._latest[name] = ticket
        try:
            answer = await self._answer(request, ticket, gone)
            if isinstance(answer, Claim) and gone.done():
                return await self._give_back(name, ticket, answer)
            return answer
        finally:
            if self._latest.get(name) == ticket:
                del self._latest[name]

    async def _give_back(self, name: tuple[str, str], ticket: int, claim: Claim) -> Answer:
        """Takes a run back that nobody has heard of, unless its agent has asked again since."""
        async with self._turn:
            if self._latest.get(name) != ticket:
                return claim
            await self._loop.run_in_executor(
                self._pool,
                lambda: self.sweep.end(
                    claim.run, claim.attempt, "crashed", message="its agent hung up", preempted=True
                ),
            )
        return _HUNG_UP

    async def _answer(
        self, request: ClaimRequest, ticket: int, gone: asyncio.Future[Any]
    ) -> Answer:
        until = self._loop.time() + min(request.wait, LONGEST_WAIT)
        while True:
            seen = self._changes
            answer = await self.call(self.sweep.claim, request.agent, request.host, request.request)
            if not isinstance(answer, Idle):
                self._wake()
                return answer
            if self._closed:
                return _STOPPING
            if self._changes == seen and not await self._wait(ticket, until, gone):
                return _STOPPING if self._closed else answer

    def close(self) -> None:
        """Sends all away who wait."""
        self._closed = True
        self._unlisten()
        while self._line:
            self._wake()

    async def _wait(self, ticket: int, until: float, gone: asyncio.Future[Any]) -> bool:
        """Stands in line; whether it was woken before its time was over."""
        left = until - self._loop.time()
        if left <= 0:
            return False
        woken = self._line[ticket] = self._loop.create_future()
        await asyncio.wait((woken, gone), timeout=left, return_when=asyncio.FIRST_COMPLETED)
        self._line.pop(ticket, None)
        if gone.done() and woken.done():
            self._wake()  # it was for the next one
        return woken.done() and not gone.done() and not self._closed

    def _ring(self) -> None:
        """The sweep has changed; called from any thread."""
        self._loop.call_soon_threadsafe(self._changed)

    def _changed(self) -> None:
        self._changes += 1
        self._wake()

    def _wake(self) -> None:
        if self._line:
            first = self._line.pop(min(self._line))
            if not first.done():
                first.set_result(None)
