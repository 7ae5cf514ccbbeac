"""One sweep within the event loop: its calls in a row, and agents that wait for a run.

Calls that wait while others are made are made together then, and written in one transaction.

An agent that waits holds no thread. All who wait stand in line; a change of the sweep wakes the
first one alone, since what it cannot have, nobody behind it can; whoever gets a run wakes the next.
So a change costs one claim, however many agents wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, NamedTuple, TypeVar

from tune_bridge.controller import SweepController
from tune_bridge.wire import Answer, Claim, ClaimRequest, Idle

__all__ = ["LONGEST_WAIT", "Lane"]

LONGEST_WAIT = 120.0
"""Seconds that a claim is held at most, whatever it asks for."""

_MOST = 64
"""Calls that are made durable together at most."""

_LONG = 0.05
"""Seconds for a claim after which an engine counts as one that thinks for long."""

_STOPPING = Idle("the server is stopping")
_HUNG_UP = Idle("the agent has hung up")
_T = TypeVar("_T")


class _Call(NamedTuple):
    """A call of the sweep that waits for its turn.

    Attributes:
        call: It.
        done: What it returns.
        asks: The engine may be asked for a configuration.
    """

    call: Callable[[], Any]
    done: asyncio.Future[Any]
    asks: bool


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
        self._queue: deque[_Call] = deque()
        self._works: asyncio.Task[None] | None = None
        self._thinks = False
        self._changes = 0
        self._tickets = 0
        self._line: dict[int, asyncio.Future[None]] = {}
        self._latest: dict[tuple[str, str], int] = {}  # by agent and request, while it is answered
        self._closed = False
        self._unlisten = sweep.listen(self._ring)

    async def call(self, function: Callable[..., _T], *args: Any, **keys: Any) -> _T:
        """Calls a function of the sweep in a thread, after those that were asked for before.

        Those that wait together are made durable together.
        """
        return await self._enqueue(lambda: function(*args, **keys))

    async def _enqueue(self, call: Callable[[], _T], *, asks: bool = False) -> _T:
        made = _Call(call, self._loop.create_future(), asks)
        self._queue.append(made)
        if self._works is None:
            self._works = self._loop.create_task(self._work())
        found: _T = await made.done
        return found

    async def _work(self) -> None:
        """Makes the calls that wait, until none does."""
        try:
            while self._queue:
                batch = self._batch()
                begun = self._loop.time()
                try:
                    results = await self._loop.run_in_executor(
                        self._pool, self.sweep.together, [each.call for each in batch]
                    )
                except Exception as error:  # noqa: BLE001 - whoever asked is told
                    results = [error] * len(batch)
                if any(each.asks for each in batch):
                    self._thinks = self._loop.time() - begun > _LONG
                for each, result in zip(batch, results, strict=True):
                    if each.done.done():  # whoever asked waits no more
                        continue
                    if isinstance(result, Exception):
                        each.done.set_exception(result)
                    else:
                        each.done.set_result(result)
        finally:
            self._works = None

    def _batch(self) -> list[_Call]:
        """What is made together: nobody waits for an engine that thinks for long but who asks."""
        batch: list[_Call] = []
        while self._queue and len(batch) < _MOST:
            if self._thinks and batch and (self._queue[0].asks or batch[-1].asks):
                break
            batch.append(self._queue.popleft())
        return batch

    async def claim(
        self,
        request: ClaimRequest,
        gone: asyncio.Future[Any],
        first: Callable[[], None] = lambda: None,
    ) -> Answer:
        """A run, or the answer that there is none when the wait is over.

        Args:
            request: What the agent wants.
            gone: Done when the agent has hung up: it gets nothing then, and what it has got in the
                meantime is given back.
            first: Done before, with it.
        """
        ticket = self._tickets = self._tickets + 1
        name = (request.agent, request.request)
        self._latest[name] = ticket
        try:
            answer = await self._answer(request, ticket, gone, first)
            if isinstance(answer, Claim) and gone.done():
                return await self._give_back(name, ticket, answer)
            return answer
        finally:
            if self._latest.get(name) == ticket:
                del self._latest[name]

    async def _give_back(self, name: tuple[str, str], ticket: int, claim: Claim) -> Answer:
        """Takes a run back that nobody has heard of, unless its agent has asked again since."""

        def back() -> Answer:
            if self._latest.get(name) != ticket:
                return claim
            words = "its agent hung up"
            self.sweep.end(claim.run, claim.attempt, "crashed", message=words, preempted=True)
            return _HUNG_UP

        return await self.call(back)

    async def _answer(
        self,
        request: ClaimRequest,
        ticket: int,
        gone: asyncio.Future[Any],
        first: Callable[[], None],
    ) -> Answer:
        def ask() -> Answer:
            first()
            return self.sweep.claim(request.agent, request.host, request.request)

        until = self._loop.time() + min(request.wait, LONGEST_WAIT)
        while True:
            seen = self._changes
            answer = await self._enqueue(ask, asks=True)
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
