"""Agents as actors of a Ray cluster, for a server that is somewhere else.

Each actor is one agent (`tune_bridge.agents`): it fetches runs over HTTP and starts the programs on
its node, in the folder that was shipped there. Ray only places agents and ends them; what is
searched, judged and kept is the server's affair. A program ends with its agent, however that ends.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tune_bridge import ray_session
from tune_bridge.agents import Done, Server
from tune_bridge.agents.agent import Leave, stronger
from tune_bridge.api import interrupts
from tune_bridge.errors import BackendError, InputError, TuneBridgeError

__all__ = ["Agents", "agents_on_ray"]

_LOOK = 0.5  # seconds between two looks at what agents say
_THREADS = 4  # of an actor: it works in one, and hears and answers in the others
_KILLED = 5.0  # seconds for agents to end after a kill
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - recognised, not listened on


class _Actor:
    """One agent on a node. Becomes an actor in `_start`: this module does not load Ray.

    Args:
        url: The server.
        key: Its key, or None. It travels as an argument between Ray's processes: it stands in no
            command line, environment or log.
        sweep_id: The sweep.
        name: The agent's name; None for one with the node in it.
        folder: Where the program is; None for the folder that was shipped.
        options: See `tune_bridge.agents.programs.program_agent`.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        sweep_id: str,
        name: str | None,
        folder: str | None,
        options: Mapping[str, Any],
    ) -> None:
        import ray

        from tune_bridge.agents.programs import program_agent

        node = ray.get_runtime_context().get_node_id()
        self._lines: deque[str] = deque()
        self._agent: Any = None
        self._error = ""
        unique = f"ray-{node[:8]}-{os.getpid()}-{os.urandom(2).hex()}"
        try:
            self._agent = program_agent(
                Server(url, key),
                sweep_id,
                folder=Path(folder) if folder else Path.cwd(),
                name=name or unique,
                say=self._lines.append,
                **options,
            )
        except TuneBridgeError as error:
            self._error = str(error)
        self._name = self._agent.name if self._agent else unique

    def work(self) -> dict[str, Any]:
        """Works to its end: ``done`` is what it has done, or ``error`` what kept it from that."""
        if self._agent is None:
            return self._said(error=self._error)
        try:
            done = self._agent.run()
        except TuneBridgeError as error:
            return self._said(error=str(error))
        return self._said(done=msgspec.to_builtins(done))

    def look(self, how: Leave) -> dict[str, Any]:
        """Tells it to leave, or not; takes what it has said.

        Args:
            how: See `tune_bridge.agents.Agent.leave`; empty to go on.
        """
        if how and self._agent is not None:
            self._agent.leave(how)
        return self._said()

    def _said(self, **more: Any) -> dict[str, Any]:
        """With its name, and the lines that it has said since the last time."""
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        return {"name": self._name, "said": lines, **more}


class Agents:
    """Many agents, which leave as one does (see `tune_bridge.api.interrupts`).

    Args:
        actors: The actors.
        say: Called with lines for people.
    """

    def __init__(self, actors: list[Any], say: Callable[[str], None]) -> None:
        self._actors = actors
        self._say = say
        self._how: Leave = ""
        self._killed_at = 0.0
        self._works: dict[Any, Any] = {}
        self._ends: list[Done] = []
        self._errors: list[str] = []
        self.left_by_hand = False

    @property
    def busy(self) -> int:
        """How many are there."""
        return len(self._works)

    def leave(self, how: Leave) -> None:
        """Ends them: "finish" what runs, "stop" it with grace, or "kill" it.

        May be called from a signal handler: the loop in `run` passes it on.
        """
        self.left_by_hand = True
        self._how = stronger(self._how, how)

    def run(self) -> Done:
        """Waits for their ends.

        Raises:
            BackendError: Not one agent could work.
        """
        works = self._works = {actor.work.remote(): actor for actor in self._actors}
        looks: dict[Any, Any] = {}
        while works:
            self._hurry(list(works.values()))
            for actor in works.values():
                if actor not in looks.values():
                    looks[actor.look.remote(self._how)] = actor
            for reference, value in _answers([*works, *looks]):
                actor = looks.pop(reference, None)
                if actor is None:
                    del works[reference]
                    self._worked(value)
                elif isinstance(value, dict):
                    self._tell(value)
        for text in dict.fromkeys(self._errors):
            self._say(text)
        if not self._ends:
            raise BackendError(self._errors[0] if self._errors else "no agent could be started")
        return _together(self._ends)

    def _hurry(self, actors: list[Any]) -> None:
        """Kills agents that were told to kill their programs, and are still there."""
        import ray

        if self._how != "kill":
            return
        self._killed_at = self._killed_at or time.monotonic()
        if time.monotonic() > self._killed_at + _KILLED:
            for actor in actors:
                ray.kill(actor)

    def _worked(self, value: dict[str, Any] | Exception) -> None:
        if isinstance(value, dict):
            self._tell(value)
            if "error" in value:
                self._errors.append(value["error"])
            else:
                self._ends.append(msgspec.convert(value["done"], Done))
        elif self._how == "kill":
            self._ends.append(Done({}, "it was killed"))
        else:
            self._errors.append(f"an agent was lost: {_short(value)}")

    def _tell(self, value: dict[str, Any]) -> None:
        for line in value["said"]:
            self._say(f"{value['name']}: {line}")


def _answers(references: list[Any]) -> Iterator[tuple[Any, dict[str, Any] | Exception]]:
    """What there is within a moment; the error for an actor that is gone."""
    import ray

    ready, _ = ray.wait(references, num_returns=len(references), timeout=_LOOK)
    for reference in ready:
        try:
            yield reference, ray.get(reference)
        except ray.exceptions.RayError as error:
            yield reference, error


def agents_on_ray(
    server: Server,
    sweep_id: str,
    *,
    address: str | None = None,
    number: int | None = None,
    cpus: float = 1.0,
    gpus: float = 0.0,
    folder: Path | None = None,
    name: str | None = None,
    count: int | None = None,
    jobs: int = 1,
    grace: float = 10.0,
    say: Callable[[str], None] | None = None,
) -> tuple[Done, bool]:
    """Runs agents on a Ray cluster until there is nothing more to do.

    Args:
        server: The server, at an address that the nodes reach.
        sweep_id: The sweep.
        address: Of the cluster; as in `tune_bridge.runner.run_sweep`, with `folder` shipped to it.
        number: How many agents; as many as the cluster has room for without.
        cpus: Processors of an agent.
        gpus: GPUs of an agent.
        folder: Where the program is; the current folder without.
        name: The agents' name, with a number behind it; one with the node's id without.
        count: Runs that each agent takes at most.
        jobs: Runs at once in each agent.
        grace: Seconds between SIGTERM and SIGKILL for a program.
        say: Called with lines for people.

    Returns:
        What they have done together, and whether they left by hand.

    Raises:
        InputError: No node has room for an agent, or cannot reach the server.
        BackendError: There is no Ray at the address, or no agent could work.
        NotFoundError: There is no such sweep.
        MissingExtraError: Ray is not installed.
    """
    server.sweep(sweep_id)
    tell = say or (lambda text: None)
    where, ship = ray_session.place(address)
    here = str((folder or Path.cwd()).absolute())
    with ray_session.session(where, here if ship else None, "agents on Ray"):
        import ray

        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        _check_reach(server.url, nodes)
        room = _room(nodes, cpus, gpus)
        wanted = number or room
        if wanted > room:
            tell(f"the cluster has room for {room} of {wanted} agents; the others wait")
        made: Any = ray.remote(_Actor).options(
            num_cpus=cpus, num_gpus=gpus, max_concurrency=_THREADS, scheduling_strategy="SPREAD"
        )
        options = {"count": count, "jobs": jobs, "grace": grace}
        actors: list[Any] = [
            made.remote(
                server.url,
                server.key,
                sweep_id,
                f"{name}-{index}" if name else None,
                None if ship else here,
                options,
            )
            for index in range(wanted)
        ]
        agents = Agents(actors, tell)
        try:
            with interrupts(agents, tell):
                done = agents.run()
        finally:
            for actor in actors:
                with contextlib.suppress(Exception):
                    ray.kill(actor)
    return done, agents.left_by_hand


def _room(nodes: list[dict[str, Any]], cpus: float, gpus: float) -> int:
    """How many agents the nodes have room for.

    Raises:
        InputError: For not even one.
    """
    total = 0
    for node in nodes:
        has = node["Resources"]
        wants = [(has.get("CPU", 0.0), cpus), (has.get("GPU", 0.0), gpus)]
        fits = [int(amount // want) for amount, want in wants if want]
        total += min(fits) if fits else 1
    if not total:
        raise InputError(
            "no node has room for an agent",
            path="--gpus-per-agent" if gpus else "--cpus-per-agent",
            found=f"{cpus:g} CPU, {gpus:g} GPU",
            expected="at most what one node has",
        )
    return total


def _check_reach(url: str, nodes: list[dict[str, Any]]) -> None:
    """Refuses a server that listens for this machine alone, when a node is another machine.

    Raises:
        InputError: It does.
    """
    host = urlsplit(url).hostname or ""
    machines = {node["NodeManagerHostname"] for node in nodes}
    if _is_local(host) and machines != {socket.gethostname()}:
        others = sorted(machines - {socket.gethostname()})
        raise InputError(
            "the server listens for this machine alone, and the agents are to run on others",
            path="--server",
            found=f"{url}; {', '.join(others)}",
            expected="an address that every node reaches",
            hint="start `tune-bridge server --host ADDRESS` and name it with --server",
        )


def _is_local(host: str) -> bool:
    if host in ("localhost", *_ANYWHERE):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _short(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__


def _together(ends: list[Done]) -> Done:
    counts: dict[str, int] = {}
    for end in ends:
        for kind, number in end.counts.items():
            counts[kind] = counts.get(kind, 0) + number
    return Done(counts, ends[-1].reason, sum(end.left for end in ends))
