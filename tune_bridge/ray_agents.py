"""Agents as actors of a Ray cluster, for a server that is somewhere else.

Each actor is one agent (`tune_bridge.agents`): it fetches runs over HTTP and starts the programs on
its node, in the folder that was shipped there. Ray only places agents and ends them; what is
searched, judged and kept is the server's affair. A program ends with its agent, however that ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
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
from tune_bridge.agents.leaving import Asked, Leave, interrupts
from tune_bridge.errors import BackendError, InputError, TuneBridgeError

__all__ = ["Agents", "agents_on_ray"]

_LOOK = 0.5  # seconds between two looks at what agents say
_THREADS = 4  # of an actor: it works in one, and hears and answers in the others
_KILLED = 5.0  # seconds for agents to end after a kill
_AGAIN = 3  # times that an agent which is lost is started again
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


@dataclasses.dataclass(eq=False)
class _Post:
    """The place of one agent.

    Attributes:
        number: Which of them.
        lost: How often its agent was lost before this one.
        actor: The agent.
        name: Of the agent, once it has answered: before that it waits for a node with room.
        looking: It was asked what it has said, and has not answered yet.
        works: It was told to work; it is told only once it has answered, so that one for which
            there is no room need not be told to leave.
    """

    number: int
    lost: int = 0
    actor: Any = None
    name: str = ""
    looking: bool = False
    works: bool = False


class Agents:
    """Many agents, which leave as one does (see `tune_bridge.agents.leaving`).

    An agent that is lost with its node, or dies for another reason that nobody has asked for, is
    started again where there is room, `_AGAIN` times.

    Args:
        start: Makes an agent's actor: which of them, and how often it was lost before.
        number: How many.
        say: Called with lines for people.
    """

    def __init__(
        self, start: Callable[[int, int], Any], number: int, say: Callable[[str], None]
    ) -> None:
        self._start = start
        self._say = say
        self._asked = Asked()
        self._killed_at = 0.0
        self._posts: dict[_Post, None] = {}
        self._works: dict[Any, _Post] = {}
        self._ends: list[Done] = []
        self._errors: list[str] = []
        self.left_by_hand = False
        for index in range(number):
            self._begin(_Post(index))

    @property
    def busy(self) -> int:
        """How many are there."""
        return len(self._posts)

    def leave(self, how: Leave) -> None:
        """Ends them, as `Leave` says.

        May be called from a signal handler: the loop in `run` passes it on.
        """
        self.left_by_hand = True
        self._asked.ask(how)

    @property
    def _how(self) -> Leave:
        return self._asked.how

    def run(self) -> Done:
        """Waits for their ends.

        Raises:
            BackendError: Not one agent could work.
        """
        looks: dict[Any, _Post] = {}
        while self._posts:
            self._hurry()
            for post in self._posts:
                if not post.looking:
                    looks[post.actor.look.remote(self._how)] = post
                    post.looking = True
            for reference, value in _answers([*self._works, *looks]):
                if reference in looks:
                    self._looked(looks.pop(reference), value)
                else:
                    self._worked(self._works.pop(reference), value)
        for text in dict.fromkeys(self._errors):
            self._say(text)
        if self._ends or self.left_by_hand:
            return _together(self._ends)
        raise BackendError(self._errors[0] if self._errors else "no agent could be started")

    def close(self) -> None:
        """Ends all that are left, at once."""
        for post in list(self._posts):
            self._end(post)

    def _begin(self, post: _Post) -> None:
        post.actor = self._start(post.number, post.lost)
        self._posts[post] = None

    def _end(self, post: _Post) -> None:
        """Makes room for those that wait."""
        self._posts.pop(post, None)
        _kill(post)

    def _hurry(self) -> None:
        """Ends agents that have not begun, and those that do not end when they are killed."""
        if not self._how:
            return
        if self._how == "kill":
            self._killed_at = self._killed_at or time.monotonic()
        late = self._killed_at and time.monotonic() > self._killed_at + _KILLED
        for post in list(self._posts):
            if not post.works:
                self._end(post)
            elif late:
                _kill(post)

    def _looked(self, post: _Post, value: dict[str, Any] | Exception) -> None:
        post.looking = False
        self._tell(post, value)
        if post.works or post not in self._posts:
            return
        if isinstance(value, Exception):
            self._posts.pop(post)
            self._errors.append(f"an agent could not be started: {_short(value)}")
        elif not self._how:
            post.works = True
            self._works[post.actor.work.remote()] = post

    def _worked(self, post: _Post, value: dict[str, Any] | Exception) -> None:
        self._tell(post, value)
        self._end(post)
        if isinstance(value, dict):
            if "error" in value:
                self._errors.append(value["error"])
            else:
                self._ends.append(msgspec.convert(value["done"], Done))
        elif self._how == "kill":
            self._ends.append(Done({}, "it was killed"))
        elif not self._how and post.lost < _AGAIN:
            again = _Post(post.number, post.lost + 1)
            self._say(
                f"{post.name}: it was lost ({_short(value)}); another one takes its place "
                f"({again.lost} of {_AGAIN} times)"
            )
            self._begin(again)
        else:
            self._errors.append(f"an agent was lost: {_short(value)}")

    def _tell(self, post: _Post, value: dict[str, Any] | Exception) -> None:
        if isinstance(value, dict):
            post.name = value["name"]
            for line in value["said"]:
                self._say(f"{post.name}: {line}")


def _kill(post: _Post) -> None:
    import ray

    with contextlib.suppress(Exception):  # it is gone
        ray.kill(post.actor)


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

        def start(index: int, lost: int) -> Any:
            unique = f"{name}-{index}" + (f"-{lost}" if lost else "")
            return made.remote(
                server.url,
                server.key,
                sweep_id,
                unique if name else None,
                None if ship else here,
                options,
            )

        agents = Agents(start, wanted, tell)
        try:
            with interrupts(agents, tell):
                done = agents.run()
        finally:
            agents.close()
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
    reason = ends[-1].reason if ends else "they were asked to leave before they began"
    return Done(counts, reason, sum(end.left for end in ends))
