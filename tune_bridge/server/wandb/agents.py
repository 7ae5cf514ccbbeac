"""W&B's agents: they ask every five seconds, and say which runs are alive.

An agent's id says its sweep, its host and itself, so that a server that was started again still
knows it. A run that an agent has had, and says no more of, has ended without a word: its program
was killed, or never called ``wandb.init``. One that it was given in an answer that never arrived is
given again.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import Any

import msgspec

from tune_bridge.backends.base import Sweep
from tune_bridge.controller import SweepController
from tune_bridge.controller.state import RunState
from tune_bridge.engines.base import EndState
from tune_bridge.errors import InputError, NotFoundError, UnsupportedError
from tune_bridge.server.wandb.execute import Call, GoneError
from tune_bridge.server.wandb.filters import page
from tune_bridge.server.wandb.home import Home, run_name
from tune_bridge.server.wandb.ids import global_id, parts
from tune_bridge.server.wandb.jsontext import dump, iso, mapping, wrapped
from tune_bridge.server.wandb.runs import ATTEMPT, Runs
from tune_bridge.wire import Claim, Idle

__all__ = ["Agents"]

PREFIX = "wandb-"
"""Of the names of W&B's agents: they do not say how a run has ended, others do."""

_YOUNG = 3.0
"""Seconds after which an agent has started what it was given; it asks every five."""

_SILENCE = 60.0
_LONGEST_HOST = 200


class _Agent(msgspec.Struct):
    """One agent.

    Attributes:
        sweep: Its sweep's id.
        host: Its machine.
        name: Unique.
        since: When it was made, or first heard of by this process.
        heard: When it was last heard of.
        given: Run and attempt -> when it was given out by this process.
        alive: Runs and attempts that it has said to be alive.
        lost: Those whose answer never arrived.
    """

    sweep: str
    host: str
    name: str
    since: float
    heard: float
    given: dict[tuple[str, int], float] = {}
    alive: set[tuple[str, int]] = set()
    lost: set[tuple[str, int]] = set()
    lock: Any = None

    @property
    def id(self) -> str:
        """Its GraphQL id."""
        return global_id("Agent", self.sweep, self.host, self.name)


class Agents:
    """The operations of agents.

    Args:
        home: Finds sweeps and runs.
        runs: Shows them.
    """

    def __init__(self, home: Home, runs: Runs) -> None:
        self._home = home
        self._runs = runs
        self._lock = threading.Lock()
        self._agents: dict[str, _Agent] = {}

    def create(self, call: Call) -> dict[str, Any]:
        """Takes an agent on.

        Raises:
            UnsupportedError: The sweep needs programs that save and load checkpoints, which W&B's
                agent cannot ask for.
        """
        sweep = self._home.sweep(call.get("sweep", ""))
        controller = self._home.controller.sweep(sweep.id)
        if controller.needs_checkpoints:
            raise UnsupportedError(
                f"wandb agent cannot run this sweep: {controller.needs_checkpoints}, and it can "
                "neither pause nor continue a run",
                path=sweep.id,
                hint=f"use: tune-bridge agent {sweep.id}",
            )
        host = str(call.get("host") or "unknown")[:_LONGEST_HOST]
        agent = self._agent(sweep.id, host, f"{PREFIX}{secrets.token_hex(8)}")
        return {"agent": self._node(agent)}

    def heartbeat(self, call: Call) -> dict[str, Any]:
        """A sign of life; the answer says what to start and what to stop.

        Raises:
            GoneError: The sweep was deleted.
        """
        try:
            agent = self._agent(*parts("Agent", call.get("id")))
            self._home.backend.sweep(agent.sweep)
            controller = self._home.controller.sweep(agent.sweep)
        except (NotFoundError, TypeError) as error:
            raise GoneError(str(error)) from None
        states = mapping(call.get("runState") or "{}", "runState")
        alive = {str(name) for name, lives in states.items() if lives}
        with agent.lock:
            agent.heard = time.time()
            commands = self._commands(agent, controller, alive, call)
        return {"agent": self._node(agent), "commands": dump(commands)}

    def _commands(
        self, agent: _Agent, sweep: SweepController, alive: set[str], call: Call
    ) -> list[dict[str, Any]]:
        known = sweep.state.runs
        mine = {run_id: known[run_id].attempt for run_id in alive if run_id in known}
        sweep.seen(mine)
        agent.alive |= set(mine.items())
        verdicts = sweep.heartbeat(mine)
        if sweep.state.gate in ("canceled", "failed"):
            self._end_all(agent, sweep)
            return [{"type": "exit"}]
        again = self._gone(agent, sweep, alive, call)
        stops = [
            {"type": "stop", "run_id": run_id}
            for run_id, verdict in verdicts.items()
            if verdict.kind != "continue"
        ]
        if again or alive or self._waiting(agent, sweep, alive):
            return [*stops, *again]
        return self._claim(agent, sweep, call)

    def _claim(self, agent: _Agent, sweep: SweepController, call: Call) -> list[dict[str, Any]]:
        answer = sweep.claim(agent.name, agent.host, secrets.token_hex(8))
        if isinstance(answer, Claim):
            return [self._run(agent, sweep, sweep.state.runs[answer.run], call)]
        return [] if isinstance(answer, Idle) else [{"type": "exit"}]

    def _run(
        self, agent: _Agent, sweep: SweepController, run: RunState, call: Call
    ) -> dict[str, Any]:
        key = (run.id, run.attempt)
        agent.given[key] = time.monotonic()
        agent.lost.discard(key)
        call.lost.append(lambda: agent.lost.add(key))
        config = self._home.backend.sweep(sweep.id).config
        return {
            "type": "run",
            "run_id": run_name(self._home.backend.run(run.id)),
            "program": str(config.get("program") or ""),
            "args": wrapped(run.config),
        }

    def _held(self, agent: _Agent, sweep: SweepController, alive: set[str]) -> list[RunState]:
        """The runs that an agent has by our count, and not by its own."""
        runs = sweep.state.runs
        return [
            runs[run_id]
            for run_id in sorted(sweep.state.live)
            if runs[run_id].agent == agent.name and run_id not in alive and not runs[run_id].missing
        ]

    def _waiting(self, agent: _Agent, sweep: SweepController, alive: set[str]) -> bool:
        """Whether it may be about to start something."""
        return bool(self._held(agent, sweep, alive))

    def _gone(
        self, agent: _Agent, sweep: SweepController, alive: set[str], call: Call
    ) -> list[dict[str, Any]]:
        """Ends the runs that an agent says no more of; those it never got are given again."""
        again = []
        for run in self._held(agent, sweep, alive):
            key = (run.id, run.attempt)
            begun = self._home.backend.run(run.id).meta.get(ATTEMPT) == run.attempt
            if not begun and key not in agent.alive:
                given = agent.given.get(key)
                if given is None or key in agent.lost:
                    again.append(self._run(agent, sweep, run, call))
                    continue
                if time.monotonic() - given < _YOUNG:
                    continue
            words = (
                "its program ended without a word"
                if begun
                else "its program ended before it called wandb.init"
            )
            end: EndState = "crashed" if begun else "failed"
            if run.verdict.kind != "continue":
                end = "killed"
            sweep.end(run.id, run.attempt, end, message=words)
        return again

    def _end_all(self, agent: _Agent, sweep: SweepController) -> None:
        """Its programs are killed by the answer, and nobody will say how they ended."""
        for run in self._held(agent, sweep, set()):
            sweep.end(run.id, run.attempt, "killed", message=sweep.state.reason)

    def _agent(self, sweep: str, host: str, name: str) -> _Agent:
        with self._lock:
            found = self._agents.get(name)
            if found is None:
                now = time.time()
                found = _Agent(sweep, host, name, now, now, {}, set(), set(), threading.Lock())
                self._agents[name] = found
            return found

    # Shown.

    def _of(self, sweep: Sweep) -> list[_Agent]:
        """The agents of a sweep, those of before the server's start included."""
        try:
            state = self._home.controller.sweep(sweep.id).state
        except InputError:
            return []
        for run in list(state.runs.values()):
            if run.agent:
                self._agent(sweep.id, run.host, run.agent)
        with self._lock:
            return [agent for agent in self._agents.values() if agent.sweep == sweep.id]

    def any(self, sweep: Sweep) -> bool:
        """Whether this process has heard of an agent that works for a sweep."""
        with self._lock:
            return any(agent.sweep == sweep.id for agent in self._agents.values())

    def listed(self, sweep: Sweep, call: Call) -> dict[str, Any]:
        """The agents of a sweep."""
        return page(self._of(sweep), call.get("first"), call.get("after"), self._node)

    def one(self, sweep: Sweep, call: Call) -> dict[str, Any] | None:
        """One agent by its name or id."""
        wanted = call.get("agentName")
        found = [agent for agent in self._of(sweep) if wanted in (agent.name, agent.id)]
        return self._node(found[0]) if found else None

    def _node(self, agent: _Agent) -> dict[str, Any]:
        def mine() -> list[str]:
            runs = self._home.controller.sweep(agent.sweep).state.runs
            return [run.id for run in list(runs.values()) if run.agent == agent.name]

        def runs(call: Call) -> Any:
            backend = self._home.backend
            return page(
                mine(),
                call.get("first"),
                call.get("after"),
                lambda run_id: self._runs.node(backend.run(run_id), call),
            )

        return {
            "__typename": "Agent",
            "id": agent.id,
            "name": agent.name,
            "host": agent.host,
            "state": "RUNNING" if time.time() - agent.heard < _SILENCE else "FINISHED",
            "totalRuns": lambda _: len(mine()),
            "createdAt": iso(agent.since),
            "heartbeatAt": iso(agent.heard),
            "runs": runs,
        }
