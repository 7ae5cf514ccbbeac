"""Agents for a sweep's program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tune_bridge.agents.agent import Agent
from tune_bridge.agents.http import Server
from tune_bridge.errors import InputError
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.trial import ProgramSettings, resolve_program

__all__ = ["program_agent"]


def program_agent(
    server: Server,
    sweep_id: str,
    *,
    folder: Path | None = None,
    name: str | None = None,
    count: int | None = None,
    jobs: int = 1,
    slots: Sequence[Mapping[str, str]] | None = None,
    grace: float = 10.0,
    say: Callable[[str], None] | None = None,
) -> Agent:
    """An agent that runs a sweep's program, as its command says.

    Args:
        server: The server.
        sweep_id: The sweep.
        folder: Where its program is; the current folder without.
        name: See `Agent`.
        count: See `Agent`.
        jobs: See `Agent`.
        slots: See `Agent`.
        grace: Seconds between SIGTERM and SIGKILL when a program is stopped.
        say: See `Agent`.

    Raises:
        NotFoundError: There is no such sweep.
        InputError: The sweep has no program, or it is not here.
    """
    about = server.sweep(sweep_id)
    experiment = SweepConfig(about["config"]).experiment
    if experiment.program is None and experiment.command is None:
        raise InputError(
            "the sweep has no program",
            path=f"sweep {sweep_id}",
            expected="program: train.py in its config",
            hint="run a function: tune_bridge.agent(sweep_id, function=...)",
        )
    program, cwd = resolve_program(
        experiment.program, experiment.command, (folder or Path.cwd()).absolute()
    )
    objective = experiment.objective
    settings = ProgramSettings(
        program=program,
        command=experiment.command,
        cwd=str(cwd),
        metric=None if objective is None else objective.name,
        sweep_id=sweep_id,
        project=str(about.get("project", "")),
        grace=grace,
    )
    return Agent(
        server,
        sweep_id,
        settings=settings,
        metric=settings.metric,
        project=settings.project,
        name=name,
        count=count,
        jobs=jobs,
        slots=slots,
        say=say,
    )
