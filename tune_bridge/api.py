"""W&B's functions on our own server: `sweep`, `agent`, `login`, and what a program calls.

    import tune_bridge as wandb

    wandb.login()
    sweep_id = wandb.sweep(sweep=config, project="my-first-sweep")
    wandb.agent(sweep_id, function=main, count=10)

The arguments are W&B's where W&B has them. A server is started on this machine when none runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tune_bridge import client
from tune_bridge.agents import Agent, Done, Server
from tune_bridge.agents.leaving import interrupts
from tune_bridge.backends.places import hidden
from tune_bridge.backends.wandb import is_wandb
from tune_bridge.errors import InputError
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.wire import NewSweep, Settings

__all__ = ["agent", "connect", "finish", "log", "login", "of_the_run", "sweep"]


def connect(
    server: str | None = None, key: str | None = None, backend: str | None = None
) -> Server:
    """The server that is meant.

    Args:
        server: Its URL; ``TUNE_BRIDGE_SERVER`` without, else the one of `backend` on this machine,
            which is started when it does not run.
        key: Its key; ``TUNE_BRIDGE_KEY`` without.
        backend: The place of the sweeps, when no server is named.

    Raises:
        InputError: `server` is no URL, or it is given with `backend`.
        BackendError: No server answers, or none can be started.
    """
    if server and backend:
        raise InputError(
            "both a server and a place on this machine are named",
            path="--backend",
            found=hidden(backend),
            expected="one of them: the server knows its place",
        )
    url = server or os.environ.get("TUNE_BRIDGE_SERVER")
    if url and backend is None:
        return Server(url, key or os.environ.get("TUNE_BRIDGE_KEY"))
    from tune_bridge.server_process import ensure_server

    def find() -> tuple[str, str | None]:
        found = ensure_server(backend)
        return found.url, key or found.key

    return Server(*find(), find)


def login(*args: Any, **kwargs: Any) -> bool:
    """Does nothing and returns True: the embedded server needs no account.

    W&B's arguments are taken; a server with a key takes it from ``TUNE_BRIDGE_KEY``.
    """
    return True


def sweep(
    sweep: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | str,
    entity: str | None = None,
    project: str | None = None,
    prior_runs: list[str] | None = None,
    *,
    name: str | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    server: str | None = None,
    key: str | None = None,
    backend: str | None = None,
) -> str:
    """Makes a sweep that agents can run.

    Args:
        sweep: The sweep config, a `SweepConfig`, a function that returns one, or a YAML file's
            name.
        entity: Kept in the config.
        project: Instead of the config's.
        prior_runs: W&B's; refused, a sweep begins empty here.
        name: Instead of the config's.
        settings: Of the queue: leases, retries, limits.
        seed: Of the searcher.
        server: See `connect`.
        key: See `connect`.
        backend: See `connect`. ``wandb`` (or ``wandb://entity/project``) makes it at W&B, where
            W&B's agents run it; `settings` and `seed` are of no use there.

    Returns:
        The sweep's id.

    Raises:
        InputError: It is no sweep, or no engine can do what it says.
        BackendError: The server does not answer.
    """
    if prior_runs:
        raise InputError("a sweep begins empty here", path="prior_runs", found=str(prior_runs))
    given = sweep() if callable(sweep) else sweep
    config = dict(SweepConfig.load(given) if isinstance(given, str) else given)
    if entity is not None:
        config["entity"] = entity
    if backend is not None and is_wandb(backend):
        return _at_wandb(config, backend, server, project, name)
    to = connect(server, key, backend)
    made = to.create(
        NewSweep(
            config=config, project=project, name=name, settings=settings or Settings(), seed=seed
        )
    )
    sweep_id = str(made["id"])
    print(f"Create sweep with ID: {sweep_id}", file=sys.stderr)
    print(f"Sweep URL: {to.page(f'/sweeps/{sweep_id}')}", file=sys.stderr)
    return sweep_id


def _at_wandb(
    config: dict[str, Any], backend: str, server: str | None, project: str | None, name: str | None
) -> str:
    if server is not None:
        raise InputError(
            "both a server and W&B are named", path="server", found=server, expected="one of them"
        )
    from tune_bridge.backends.wandb.making import make_sweep

    made = make_sweep(backend, config, project=project, name=name)
    print(f"Create sweep with ID: {made.id}", file=sys.stderr)
    print(f"Sweep URL: {made.url}", file=sys.stderr)
    return made.id


def agent(
    sweep_id: str,
    function: Callable[..., Any] | None = None,
    entity: str | None = None,
    project: str | None = None,
    count: int | None = None,
    *,
    name: str | None = None,
    jobs: int = 1,
    server: str | None = None,
    key: str | None = None,
    backend: str | None = None,
    quiet: bool = False,
) -> Done:
    """Runs runs of a sweep in this process until there is nothing more to do.

    Args:
        sweep_id: The sweep, also as ``entity/project/id``.
        function: Called for each run; without parameters it calls `tune_bridge.init`, with one it
            is given the config and may return its result. None for the sweep's program.
        entity: W&B's; not needed.
        project: W&B's; not needed.
        count: How many runs at most.
        name: The agent's name.
        jobs: Runs at once; functions share this process.
        server: See `connect`.
        key: See `connect`.
        backend: See `connect`.
        quiet: Say nothing on standard error.

    Returns:
        What it has done.

    Raises:
        NotFoundError: There is no such sweep.
        BackendError: The server does not answer.
    """
    from tune_bridge.agents.programs import program_agent

    to = connect(server, key, backend)
    sweep_id = sweep_id.rstrip("/").rpartition("/")[2]

    def say(text: str) -> None:
        if not quiet:
            print(f"tune-bridge: {text}", file=sys.stderr)

    if function is None:
        worker = program_agent(to, sweep_id, name=name, count=count, jobs=jobs, say=say)
    else:
        about = to.sweep(sweep_id)
        objective = SweepConfig(about["config"]).experiment.objective
        worker = Agent(
            to,
            sweep_id,
            function=function,
            metric=None if objective is None else objective.name,
            project=about.get("project", ""),
            name=name,
            count=count,
            jobs=jobs,
            say=say,
        )
    with interrupts(worker, say):
        done = worker.run()
    say(done.reason)
    return done


def _running() -> client.Run:
    run = client.current()
    if run is None:
        raise InputError("there is no run yet", hint="call tune_bridge.init() first")
    return run


def of_the_run(name: str) -> Any:
    """``tune_bridge.run``, ``.config`` and ``.summary``: the current run, None before it begins.

    Raises:
        InputError: The config or summary is asked for before the run has begun.
    """
    return client.current() if name == "run" else getattr(_running(), name)


def log(values: Mapping[str, Any], step: int | None = None) -> None:
    """Logs one row of the current run; see `tune_bridge.Run.log`."""
    _running().log(values, step)


def finish(exit_code: int = 0) -> None:
    """Ends the current run; see `tune_bridge.Run.finish`."""
    run = client.current()
    if run is not None:
        run.finish(exit_code)
