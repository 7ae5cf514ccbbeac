"""``tune-bridge push`` and ``pull``: sweeps on their way to W&B and back."""

from __future__ import annotations

import json
from collections.abc import Callable

import click
import msgspec

from tune_bridge.backends import open_backend
from tune_bridge.backends.wandb import is_wandb, parse_place
from tune_bridge.backends.wandb.transfer import Moved, Step
from tune_bridge.cli.options import TEXT
from tune_bridge.errors import InputError

__all__ = ["pull", "push"]


@click.command(short_help="Bring a sweep with its runs to W&B.")
@click.argument("sweep", type=TEXT)
@click.option(
    "--to",
    default="wandb",
    type=TEXT,
    metavar="PLACE",
    help="wandb://ENTITY/PROJECT; those of the sweep and of the key without.",
)
@click.option("--backend", type=TEXT, metavar="URL", help="Where the sweep lives.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def push(sweep: str, to: str, backend: str | None, as_json: bool, quiet: bool) -> int:
    """Re-creates SWEEP, its id, at W&B: config, runs, parameters, history, summaries and states.

    Doing it again adds what is missing and doubles nothing; one that was cut off goes on. Runs that
    are not over are left for the next time. Files and artifacts stay where they are.

    \b
      tune-bridge push 7gd5mxko
      tune-bridge push 7gd5mxko --to wandb://my-team/my-project --json
    """
    from tune_bridge.backends.wandb.backend import WandbBackend
    from tune_bridge.backends.wandb.transfer import push as bring

    _check(to, backend, "--to")
    with WandbBackend(parse_place(to)) as target, open_backend(backend) as source:
        target.door.check()
        moved = bring(source, target, sweep.rpartition("/")[2], _tell(quiet or as_json))
    _show(moved, as_json, f"{moved.url}", "push")
    return 0 if not moved.left else 1


@click.command(short_help="Bring a sweep with its runs from W&B.")
@click.argument("sweep", type=TEXT)
@click.option(
    "--from",
    "place",
    default="wandb",
    type=TEXT,
    metavar="PLACE",
    help="wandb://ENTITY/PROJECT, when SWEEP is an id alone.",
)
@click.option("--backend", type=TEXT, metavar="URL", help="Where the sweep is to live.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def pull(sweep: str, place: str, backend: str | None, as_json: bool, quiet: bool) -> int:
    """Re-creates SWEEP (ENTITY/PROJECT/ID) of W&B in a place of our own, to look at it there.

    Doing it again adds what is new; one that was cut off goes on.

    \b
      tune-bridge pull my-team/my-project/7gd5mxko
      tune-bridge dashboard
    """
    from tune_bridge.backends.wandb.backend import WandbBackend
    from tune_bridge.backends.wandb.transfer import pull as bring

    _check(place, backend, "--from")
    with WandbBackend(parse_place(place)) as source:
        source.sweep(sweep)
        with open_backend(backend) as target:
            moved = bring(source, target, sweep, _tell(quiet or as_json))
    _show(moved, as_json, f"sweep {moved.sweep}", "pull")
    return 0


def _check(place: str, backend: str | None, option: str) -> None:
    if not is_wandb(place):
        raise InputError("no place at W&B", path=option, found=place, expected="wandb://...")
    if backend is not None and is_wandb(backend):
        raise InputError(
            "W&B on both sides", path="--backend", found=backend, expected="a place of our own"
        )


def _tell(silent: bool) -> Callable[[Step], None] | None:
    if silent:
        return None

    def tell(step: Step) -> None:
        click.echo(f"{step.done}/{step.total} runs, {step.rows} rows added", err=True)

    return tell


def _show(moved: Moved, as_json: bool, where: str, verb: str) -> None:
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(moved), indent=2))
    else:
        click.echo(f"{where}: {moved.runs} runs, {moved.added} new, {moved.rows} rows added")
    if moved.waiting:
        click.echo(f"{moved.waiting} runs are not over; {verb} again when they are", err=True)
    for folder in moved.left:
        click.echo(
            f"W&B has not got all in time; bring the rest with: wandb sync {folder}", err=True
        )
