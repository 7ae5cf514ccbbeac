"""``tune-bridge agent``: runs the runs of a sweep on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from tune_bridge.agents.agent import Done, visible_gpus
from tune_bridge.agents.leaving import interrupts
from tune_bridge.agents.programs import program_agent
from tune_bridge.api import connect
from tune_bridge.cli.options import AMOUNT, COUNT, JOBS, TEXT
from tune_bridge.errors import InputError

__all__ = ["agent"]


@click.command(short_help="Run runs of a sweep on this machine.")
@click.argument("sweep", type=TEXT)
@click.option(
    "--server", type=TEXT, metavar="URL", help="Where the sweep is; this machine's own without."
)
@click.option("--key", metavar="KEY", help="The server's key; better in TUNE_BRIDGE_KEY.")
@click.option(
    "--backend",
    "--storage",
    type=TEXT,
    metavar="PLACE",
    help="The place of the sweeps on this machine.",
)
@click.option("--count", type=COUNT, metavar="N", help="Take so many runs at most.")
@click.option("--jobs", type=JOBS, default=1, show_default=True, help="Runs at once.")
@click.option("--per-gpu", is_flag=True, help="One run at once on each visible GPU.")
@click.option("--name", type=TEXT, metavar="NAME", help="The agent's name; has to be unique.")
@click.option(
    "--grace",
    type=AMOUNT,
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Between SIGTERM and SIGKILL when a program is stopped.",
)
@click.option("--on-ray", is_flag=True, help="Start the agents on a Ray cluster.")
@click.option("--num", type=JOBS, metavar="N", help="Agents on Ray; as many as fit without.")
@click.option(
    "--address", type=TEXT, metavar="RAY", help="The Ray cluster; the default starts Ray here."
)
@click.option(
    "--cpus-per-agent",
    type=AMOUNT,
    default=1.0,
    show_default=True,
    metavar="N",
    help="Processors of an agent on Ray.",
)
@click.option(
    "--gpus-per-agent",
    type=AMOUNT,
    default=0.0,
    show_default=True,
    metavar="N",
    help="GPUs of an agent on Ray.",
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
    on_ray: bool,
    num: int | None,
    address: str | None,
    cpus_per_agent: float,
    gpus_per_agent: float,
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
      tune-bridge agent 3f9c2d1a --server http://head:8265 --on-ray --address auto --num 50

    With --on-ray the agents run on the nodes of a Ray cluster, to which the current folder is
    shipped; --count and --jobs are of each of them.

    Ctrl-C: once to leave after the current run, twice to stop it, three times to kill it.

    Exit codes: 0 done, 1 every run failed or the server refuses, 2 wrong usage, 130 interrupted.
    """
    if on_ray and per_gpu:
        raise click.UsageError("--per-gpu is of this machine; with --on-ray use --gpus-per-agent")

    def say(text: str) -> None:
        if not quiet:
            click.echo(text, err=True)

    to = connect(server, key, backend)
    sweep_id = sweep.rstrip("/").rpartition("/")[2]
    if on_ray:
        from tune_bridge.ray_agents import agents_on_ray

        done, by_hand = agents_on_ray(
            to,
            sweep_id,
            address=address,
            number=num,
            cpus=cpus_per_agent,
            gpus=gpus_per_agent,
            name=name,
            count=count,
            jobs=jobs,
            grace=grace,
            say=say,
        )
        return _ended(done, by_hand, as_json)
    worker = program_agent(
        to,
        sweep_id,
        folder=Path.cwd(),
        name=name,
        count=count,
        jobs=jobs,
        slots=_slots(jobs) if per_gpu else None,
        grace=grace,
        say=say,
    )
    with interrupts(worker, say):
        done = worker.run()
    return _ended(done, worker.left_by_hand, as_json)


def _slots(jobs: int) -> list[dict[str, str]]:
    """One slot, or several, on each GPU.

    Raises:
        InputError: There is none.
    """
    gpus = visible_gpus()
    if not gpus:
        raise InputError(
            "no GPU is visible here", path="--per-gpu", hint="use --jobs N on the processor"
        )
    return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus for _ in range(jobs)]


def _ended(done: Done, by_hand: bool, as_json: bool) -> int:
    """Says what was done; the exit code."""
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(done), indent=2))
    else:
        counts = ", ".join(f"{number} {state}" for state, number in done.counts.items())
        click.echo(f"{counts or 'no runs'}: {done.reason}")
    if done.left:
        click.echo(f"{done.left} rows could not be delivered", err=True)
    good = sum(done.counts.get(kind, 0) for kind in ("finished", "stopped", "paused"))
    if by_hand:
        return 130
    return 1 if done.counts and not good else 0
