"""``tune-bridge agent``: runs the runs of a sweep on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from tune_bridge.agents.agent import visible_gpus
from tune_bridge.agents.programs import program_agent
from tune_bridge.api import connect, interrupts
from tune_bridge.errors import InputError

__all__ = ["agent"]


@click.command(short_help="Run runs of a sweep on this machine.")
@click.argument("sweep")
@click.option("--server", metavar="URL", help="Where the sweep is; this machine's own without.")
@click.option("--key", metavar="KEY", help="The server's key; better in TUNE_BRIDGE_KEY.")
@click.option("--backend", metavar="PLACE", help="The place of the sweeps on this machine.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Take so many runs at most.")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Runs at once."
)
@click.option("--per-gpu", is_flag=True, help="One run at once on each visible GPU.")
@click.option("--name", metavar="NAME", help="The agent's name; has to be unique.")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Between SIGTERM and SIGKILL when a program is stopped.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing while working.")
def agent(
    sweep: str,
    server: str | None,
    key: str | None,
    backend: str | None,
    count: int | None,
    jobs: int,
    per_gpu: bool,
    name: str | None,
    grace: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """Fetches runs of SWEEP and runs its program for each, here, until there are none left.

    The program is looked for in the current folder. Start as many agents as you like, on as many
    machines as reach the server.

    \b
      tune-bridge agent 3f9c2d1a
      tune-bridge agent 3f9c2d1a --jobs 4 --count 20
      tune-bridge agent 3f9c2d1a --server http://head:8265 --per-gpu

    Ctrl-C: once to leave after the current run, twice to stop it, three times to kill it.

    Exit codes: 0 done, 1 every run failed or the server refuses, 2 wrong usage, 130 interrupted.
    """
    slots = None
    if per_gpu:
        gpus = visible_gpus()
        if not gpus:
            raise InputError(
                "no GPU is visible here", path="--per-gpu", hint="use --jobs N on the processor"
            )
        slots = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus for _ in range(jobs)]

    def say(text: str) -> None:
        if not quiet:
            click.echo(text, err=True)

    worker = program_agent(
        connect(server, key, backend),
        sweep.rstrip("/").rpartition("/")[2],
        folder=Path.cwd(),
        name=name,
        count=count,
        jobs=jobs,
        slots=slots,
        grace=grace,
        say=say,
    )
    with interrupts(worker, say):
        done = worker.run()
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(done), indent=2))
    else:
        counts = ", ".join(f"{number} {state}" for state, number in done.counts.items())
        click.echo(f"{counts or 'no runs'}: {done.reason}")
    if done.left:
        click.echo(f"{done.left} rows could not be delivered", err=True)
    good = sum(done.counts.get(kind, 0) for kind in ("finished", "stopped", "paused"))
    if worker.left_by_hand:
        return 130
    return 1 if done.counts and not good else 0
