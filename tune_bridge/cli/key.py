"""``tune-bridge key``: who may talk to the servers of a place."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import click

from tune_bridge.cli.options import TEXT

__all__ = ["key"]

_PLACE = click.option(
    "--backend",
    "--storage",
    "url",
    type=TEXT,
    metavar="URL",
    help="Where the sweeps live. [default: TUNE_BRIDGE_BACKEND, else the user's data folder]",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(short_help="Make, list and revoke the keys to the servers of a place.")
def key() -> None:
    """Makes, lists and revokes keys: who may talk to the servers of a place.

    When a place has keys, every request to its servers needs one, on this machine, too; and a
    server may listen where other machines reach it. Only hashes of them are kept.

    \b
      tune-bridge key new alice
      TUNE_BRIDGE_KEY=... tune-bridge agent SWEEP --server http://head:8687
      WANDB_API_KEY=... WANDB_BASE_URL=http://head:8687 python train.py
      tune-bridge key list
      tune-bridge key revoke alice
    """


@key.command()
@click.argument("name", type=TEXT)
@_PLACE
@_JSON
def new(name: str, url: str | None, as_json: bool) -> None:
    """Makes a key and prints it, this once."""
    from tune_bridge.backends import open_backend
    from tune_bridge.server.keys import make_key

    text, made = make_key(name)
    with open_backend(url) as backend:
        backend.add_key(made)
    if as_json:
        click.echo(json.dumps({"name": name, "key": text}, indent=2))
        return
    click.echo(text)
    click.echo("This is the only time that it is shown.", err=True)


@key.command("list")
@_PLACE
@_JSON
def list_(url: str | None, as_json: bool) -> None:
    """Lists the keys by name, with when they were made and last used."""
    from tune_bridge.backends import open_backend

    with open_backend(url) as backend:
        keys = backend.keys()
    if as_json:
        about: list[dict[str, Any]] = [
            {"name": each.name, "created_at": each.created_at, "used_at": each.used_at}
            for each in keys
        ]
        click.echo(json.dumps({"keys": about}, indent=2))
        return
    width = max((len(each.name) for each in keys), default=0)
    for each in keys:
        used = "never used" if each.used_at is None else f"last used {_day(each.used_at)}"
        click.echo(f"{each.name:<{width}}  made {_day(each.created_at)}  {used}")
    if not keys:
        click.echo("no keys", err=True)


@key.command()
@click.argument("name", type=TEXT)
@_PLACE
def revoke(name: str, url: str | None) -> None:
    """Revokes a key; servers that run know within seconds."""
    from tune_bridge.backends import open_backend

    with open_backend(url) as backend:
        backend.revoke_key(name)
    click.echo(f"revoked {name}")


def _day(at: float) -> str:
    """A time, to the minute."""
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
