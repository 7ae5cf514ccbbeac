"""``tune-bridge sync``: what was reported while a backend was away, brought to it."""

from __future__ import annotations

import json

import click

from tune_bridge.cli.options import TEXT

__all__ = ["sync"]


@click.command(short_help="Deliver what was reported while the backend was away.")
@click.option(
    "--backend",
    "url",
    type=TEXT,
    metavar="URL",
    help="Where the sweeps are; TUNE_BRIDGE_BACKEND, else a file of this user.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def sync(url: str | None, as_json: bool) -> int:
    """Brings what experiments have left on this machine's disk to the backend, in order.

    A backend that was away at the end of an experiment got the rest only in a folder of this
    machine, which the warning at that end names. The next experiment that reports to the same
    backend delivers it as well. Nothing is delivered twice.

    \b
      tune-bridge sync
      tune-bridge sync --backend postgresql://head/sweeps

    Changes that the backend refuses stay on the disk, with the reason, and make exit code 1.
    """
    from tune_bridge.backends import open_backend, places
    from tune_bridge.backends.spool import spool_folder
    from tune_bridge.backends.writer import replay_spool

    place = places.canonical(url)
    folder = spool_folder(places.home() / "spool", place)
    number = 0
    if folder.is_dir():
        with open_backend(place) as backend:
            number = replay_spool(folder, backend)
    refused = sorted(folder.glob("refused*")) if folder.is_dir() else []
    if as_json:
        click.echo(json.dumps({"delivered": number, "refused": [str(path) for path in refused]}))
    else:
        click.echo(f"{number} changes were brought to {places.shown(place)}")
        for path in refused:
            click.echo(f"refused, with the reasons: {path}", err=True)
    return 1 if refused else 0
