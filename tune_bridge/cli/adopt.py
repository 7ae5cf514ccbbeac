"""``tune-bridge adopt``: results that exist become a sweep."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
import msgspec

from tune_bridge.backends.places import default_place
from tune_bridge.backends.wandb import is_wandb
from tune_bridge.cli.options import TEXT
from tune_bridge.errors import InputError

if TYPE_CHECKING:
    from tune_bridge.adopt.bring import Brought, Step

__all__ = ["adopt"]


@click.command(short_help="Make a sweep of results that exist.")
@click.argument("path", type=TEXT)
@click.option("--project", type=TEXT, metavar="NAME", help="Of the sweep.")
@click.option("--name", type=TEXT, metavar="NAME", help="Of the sweep; the source's without.")
@click.option("--metric", type=TEXT, metavar="NAME", help="If PATH does not say it.")
@click.option("--goal", type=click.Choice(["minimize", "maximize"]), help="Of the metric.")
@click.option(
    "--searcher",
    type=TEXT,
    metavar="NAME",
    help="Who goes on: random, bayes, or a class of Ray Tune's (HyperOptSearch).",
)
@click.option("--program", type=TEXT, metavar="FILE", help="What agents are to start.")
@click.option("--backend", type=TEXT, metavar="URL", help="Where the sweep is to live.")
@click.option("--copy", is_flag=True, help="Also if the experiment has made a sweep itself.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and the sweep config.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no remarks.")
def adopt(
    path: str,
    project: str | None,
    name: str | None,
    metric: str | None,
    goal: str | None,
    searcher: str | None,
    program: str | None,
    backend: str | None,
    copy: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Makes a sweep of results: of Ray Tune, Optuna or wandb, as they lie in PATH.

    PATH is a folder of results of Ray Tune (an experiment, a trial, or a folder of experiments), a
    SQLite file or journal of Optuna (FILE#STUDY for one of several studies), or a wandb folder.
    Nothing in it is changed, unpickled or run. Adopting again adds what is new.

    Agents go on with the sweep, and its searcher has learnt from the runs that are there.

    \b
      tune-bridge adopt ~/ray_results/my_experiment --metric loss --goal minimize
      tune-bridge adopt study.db#resnet --program train.py
      tune-bridge adopt ./wandb --metric val_loss
      tune-bridge agent ID
    """
    from tune_bridge.adopt import adopt as bring

    if is_wandb(place := backend or default_place()) and not dry_run:
        raise InputError(
            "results are adopted into a place of our own",
            path="--backend",
            found=place,
            hint="adopt them there, and bring them to W&B with: tune-bridge push SWEEP",
        )
    try:
        made = bring(
            path,
            backend=backend,
            project=project,
            name=name,
            metric=metric,
            goal=goal,
            searcher=searcher,
            program=program,
            copy=copy,
            dry_run=dry_run,
            tell=None if quiet or as_json else _teller(),
        )
    except KeyboardInterrupt:
        click.echo("what was adopted is kept; the same command goes on with it", err=True)
        raise
    if as_json:
        click.echo(json.dumps([_plain(each) for each in made], indent=2, default=str))
        return 0
    for each in made:
        _show(each, quiet, backend)
    return 0


def _plain(brought: Brought) -> object:
    return msgspec.to_builtins(brought)


def _teller() -> Callable[[Step], None]:
    """Says how far it is, about once a second."""
    last = [time.monotonic()]

    def tell(step: Step) -> None:
        if time.monotonic() - last[0] >= 1.0:
            last[0] = time.monotonic()
            click.echo(f"{step.done}/{step.total} runs, {step.rows} rows added", err=True)

    return tell


def _show(made: Brought, quiet: bool, backend: str | None) -> None:
    states = ", ".join(f"{number} {state}" for state, number in sorted(made.states.items()))
    what = "would be" if made.dry else "in project"
    where = f"{what} {made.project}" if not made.dry else f"{what} made in project {made.project}"
    click.echo(f"sweep {made.sweep} ({made.name}) {where}: {made.kind}")
    if made.dry:
        click.echo(f"  {made.runs} runs ({states})")
    else:
        click.echo(f"  {made.runs} runs ({states}), {made.added} new, {made.rows} rows added")
    if made.metric is not None:
        goal, teaching = f"{made.metric['goal']} {made.metric['name']}", made.teaching
        click.echo(f"  {goal}; {made.searcher} would learn from {teaching} of them")
    if made.dry:
        from tune_bridge.sweep_config import SweepConfig

        click.echo(SweepConfig(made.config).to_yaml().rstrip())
    elif not quiet:
        place = f" --backend {backend}" if backend else ""
        click.echo(f"  go on with it: tune-bridge agent {made.sweep}{place}")
    if quiet:
        return
    for note in made.notes:
        why = f" - {note['why']}" if note.get("why") else ""
        hint = f" ({note['hint']})" if note.get("hint") else ""
        click.echo(f"  note: {note['path']}: {note['what']}{why}{hint}", err=True)
    if made.waiting:
        click.echo(f"  {made.waiting} trials had not begun, and are left out", err=True)
    if made.running:
        click.echo(f"  {made.running} runs are not over; adopt again when they are", err=True)
