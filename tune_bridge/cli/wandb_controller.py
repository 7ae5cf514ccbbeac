"""``tune-bridge controller``: steers a sweep of W&B."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
import msgspec

from tune_bridge.backends.wandb import is_wandb, parse_place
from tune_bridge.cli.options import COUNT, SECONDS, SEED, TEXT
from tune_bridge.controller.wandb import Outcome, Progress, WandbController, door_of, searched
from tune_bridge.errors import InputError
from tune_bridge.signals import handled

if TYPE_CHECKING:
    from tune_bridge.backends.wandb.backend import WandbBackend

__all__ = ["controller"]


@click.command(short_help="Steer a sweep of W&B with Tune's searchers and schedulers.")
@click.argument("sweep", type=TEXT)
@click.option(
    "--at",
    "place",
    default="wandb",
    type=TEXT,
    metavar="PLACE",
    help="wandb://ENTITY/PROJECT, when SWEEP is an id alone.",
)
@click.option(
    "--ahead",
    type=COUNT,
    default=1,
    show_default=True,
    metavar="N",
    help="Runs that wait for an agent; more for many agents.",
)
@click.option("--max-concurrent", type=COUNT, metavar="N", help="Runs at once.")
@click.option(
    "--poll", type=SECONDS, default=5.0, show_default=True, help="Between two looks at W&B."
)
@click.option("--seed", type=SEED, metavar="N", help="Of the searcher; a fresh one without.")
@click.option("--json", "as_json", is_flag=True, help="Print how it ended as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def controller(
    sweep: str,
    place: str,
    ahead: int,
    max_concurrent: int | None,
    poll: float,
    seed: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Steers SWEEP (ENTITY/PROJECT/ID) of W&B; agents (`wandb agent SWEEP`) run its program.

    The searcher, scheduler and stop criteria are the sweep's: what its controller.tune says, else
    W&B's own methods. By which door, it says first: a sweep with controller.type local gets a
    schedule; for one with a scheduler, W&B's own scheduler asks our engine; any other one gets
    enqueued runs (give it method custom, or W&B's own search goes on as well).

    Ctrl-C ends it and nothing else; the same command goes on where it was.

    \b
      tune-bridge sweep sweep.yaml --backend wandb
      tune-bridge controller my-team/my-project/7gd5mxko
      wandb agent my-team/my-project/7gd5mxko
    """
    from tune_bridge.backends.wandb.backend import WandbBackend

    if not is_wandb(place):
        raise InputError("no place at W&B", path="--at", found=place, expected="wandb://...")

    def say(text: str) -> None:
        if not quiet:
            click.echo(text, err=True)

    def tell(progress: Progress) -> None:
        say(f"{progress.started} runs, {progress.live} live; {progress.said}")

    with WandbBackend(parse_place(place)) as backend:
        config = backend.sweep(sweep).config
        door, why = door_of(config)
        if door == "scheduler":
            say(f"steering {backend.path(sweep)} by the scheduler door: {why}")
            return _schedule(backend, sweep, config, max_concurrent, poll, seed, as_json)
        steers = WandbController(
            backend, sweep, ahead=ahead, most=max_concurrent, seed=seed, tell=tell
        )
        say(f"steering {steers.path} by the {steers.door} door: {steers.why}")
        if steers.known:
            say(f"going on after {steers.known - 1} events")
        with _interrupts() as interrupted:
            ended = steers.run(poll, interrupted)
        _show(ended, steers.path, as_json)
    return 0 if ended.finished or not interrupted.is_set() else 130


def _schedule(
    backend: WandbBackend,
    sweep: str,
    config: dict[str, Any],
    most: int | None,
    poll: float,
    seed: int | None,
    as_json: bool,
) -> int:
    """Gives our engine to W&B's own scheduler."""
    from tune_bridge.controller.tune_optimizer import run_scheduler
    from tune_bridge.sweep_config import SweepConfig

    experiment = SweepConfig(searched(config)).experiment
    path = backend.path(sweep)
    reason = run_scheduler(backend, path, experiment, most=most or 10, poll=poll, seed=seed)
    click.echo(json.dumps({"reason": reason}, indent=2) if as_json else reason)
    return 0


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one is as always."""
    event = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        event.set()

    with handled((signal.SIGINT, signal.SIGTERM), handle):
        yield event


def _show(ended: Outcome, path: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(ended), indent=2))
    else:
        counts = ", ".join(f"{number} {state}" for state, number in sorted(ended.ended.items()))
        click.echo(f"{ended.reason}: {ended.runs} runs; {counts or 'none is over'}")
    if not ended.finished:
        click.echo(f"go on with: tune-bridge controller {path}", err=True)
