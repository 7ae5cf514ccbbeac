"""``tune-bridge bundle``: a sweep in one file."""

from __future__ import annotations

from pathlib import Path

import click

from tune_bridge.cli.options import TEXT
from tune_bridge.cli.place import Where, id_of, place_options
from tune_bridge.files import write_text

__all__ = ["bundle"]


@click.command(short_help="Write a sweep with its drawings into one HTML file.")
@click.argument("sweep", type=TEXT)
@click.option("-o", "--output", type=TEXT, metavar="FILE", help="Where to; SWEEP.html without.")
@place_options
def bundle(where: Where, sweep: str, output: str | None) -> int:
    """Writes SWEEP into one HTML file: its runs, its drawings, its config.

    \b
      tune-bridge bundle 3f9c2d1a -o digits.html

    The file needs no server and no network; it can be mailed, and is as large as its data and
    about 5 MB for the drawing library.
    """
    sweep_id = id_of(sweep)
    with where.read() as sweeps:
        page = sweeps.bundle(sweep_id)
    target = Path(output or f"{sweep_id}.html")
    write_text(target, page)
    click.echo(f"written: {target} ({len(page) / 1e6:.1f} MB)", err=True)
    return 0
