"""``tune-bridge controller``: steers a sweep of W&B."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click
import msgspec

from tune_bridge.backends.wandb import is_wandb, parse_place
from tune_bridge.cli.options import COUNT, SECONDS, SEED, TEXT
from tune_bridge.controller.wandb import Outcome, Progress, WandbController
from tune_bridge.errors import InputError

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
    schedule, any other enqueued runs (give it method custom, or W&B's own search goes on as well).

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


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one is as always."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        event.set()

    before = signal.signal(signal.SIGINT, handle)
    term = signal.signal(signal.SIGTERM, handle)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, term)


def _show(ended: Outcome, path: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(ended), indent=2))
    else:
        counts = ", ".join(f"{number} {state}" for state, number in sorted(ended.ended.items()))
        click.echo(f"{ended.reason}: {ended.runs} runs; {counts or 'none is over'}")
    if not ended.finished:
        click.echo(f"go on with: tune-bridge controller {path}", err=True)
