"""``tune-bridge sweep``: makes a sweep that agents can run."""

from __future__ import annotations

import json
import shlex

import click
import msgspec

from tune_bridge.backends.places import default_place, hidden
from tune_bridge.backends.wandb import is_wandb
from tune_bridge.cli.options import COUNT, FROM_ZERO, SECONDS, SEED, TEXT
from tune_bridge.cli.place import Where, place_options
from tune_bridge.cli.scripts import OfFiles, script_arguments
from tune_bridge.cli.source import load_source
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.wire import NewSweep, Settings

__all__ = ["sweep"]

_DEFAULT = Settings()


@click.command(cls=OfFiles, short_help="Make a sweep that agents run.")
@click.argument("src", metavar="FILE", type=TEXT)
@click.option("--project", type=TEXT, metavar="NAME", help="Instead of the sweep's project.")
@click.option("--name", type=TEXT, metavar="NAME", help="Instead of the sweep's name.")
@click.option(
    "--max-lost",
    type=FROM_ZERO,
    default=_DEFAULT.max_lost,
    show_default=True,
    metavar="N",
    help="How often a run whose agent was lost is given out again.",
)
@click.option(
    "--max-failures",
    type=FROM_ZERO,
    default=_DEFAULT.max_failures,
    show_default=True,
    metavar="N",
    help="How often a run whose program failed is started again.",
)
@click.option(
    "--quarantine",
    type=FROM_ZERO,
    default=_DEFAULT.quarantine,
    show_default=True,
    metavar="N",
    help="Failures in a row after which a host gets no more runs; 0 for never.",
)
@click.option("--concurrency", type=COUNT, metavar="N", help="Runs at once.")
@click.option(
    "--lease",
    type=SECONDS,
    default=_DEFAULT.lease,
    show_default=True,
    help="Silence after which an agent counts as lost.",
)
@click.option("--seed", type=SEED, metavar="N", help="Of the searcher; a fresh one without.")
@click.option(
    "--object",
    "variable",
    type=TEXT,
    metavar="NAME",
    help="The variable meant, if FILE has several.",
)
@place_options
@click.option("--json", "as_json", is_flag=True, help="Print the sweep as JSON.")
def sweep(
    where: Where,
    src: str,
    project: str | None,
    name: str | None,
    max_lost: int,
    max_failures: int,
    quarantine: int,
    concurrency: int | None,
    lease: float,
    seed: int | None,
    variable: str | None,
    as_json: bool,
) -> int:
    """Makes a sweep from FILE (YAML, or a Python file that builds an experiment).

    Nothing runs until an agent does. The server of this machine is started when there is none.
    With --backend wandb (or wandb://ENTITY/PROJECT) the sweep is made at W&B, and W&B's agents run
    it; what this server's queue can do (--max-lost and the like) is not to be had there.

    \b
      tune-bridge sweep sweep.yaml
      tune-bridge agent ID
      tune-bridge status ID --watch
      tune-bridge sweep sweep.yaml --backend wandb
    """
    config = load_source(src, name=variable, arguments=script_arguments(src))
    if where.server is None and is_wandb(at := where.backend or default_place()):
        _at_wandb(at, config, project, name, as_json)
        return 0
    settings = Settings(
        lease=lease,
        heartbeat=min(_DEFAULT.heartbeat, lease / 4),
        max_lost=max_lost,
        max_failures=max_failures,
        quarantine=quarantine,
        concurrency=concurrency,
    )
    server = where.connect()
    made = server.create(
        NewSweep(config=dict(config), project=project, name=name, settings=settings, seed=seed)
    )
    place = where.backend and hidden(where.backend)
    options = {"--server": where.server, "--backend": place}
    given = [part for option, value in options.items() if value for part in (option, value)]
    command = shlex.join(["tune-bridge", "agent", made["id"], *given])
    if as_json:
        shown = {**made, "server": server.url, "agent": command}
        click.echo(json.dumps(msgspec.to_builtins(shown), indent=2, default=str))
        return 0
    click.echo(f"sweep {made['id']} in project {made['project']}: {server.page(made['url'])}")
    click.echo(f"run it with: {command}")
    return 0


def _at_wandb(
    place: str, config: SweepConfig, project: str | None, name: str | None, as_json: bool
) -> None:
    from tune_bridge.backends.wandb.making import make_sweep

    made = make_sweep(place, config, project=project, name=name)
    if as_json:
        shown = {**msgspec.structs.asdict(made), "agent": made.agent}
        click.echo(json.dumps(shown, indent=2))
        return
    click.echo(f"sweep {made.id} in project {made.project}: {made.url}")
    click.echo(f"run it with: {made.agent}")
    if "tune" in (config.get("controller") or {}):
        said = "W&B searches by the native keys alone; to search as the sweep says it:"
        click.echo(f"{said} tune-bridge controller {made.path}", err=True)
