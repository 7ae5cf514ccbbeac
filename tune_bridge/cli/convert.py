"""``tune-bridge convert``: one notation into another."""

from __future__ import annotations

from pathlib import Path

import click

from tune_bridge.cli.source import TIMEOUT, load_source
from tune_bridge.dialects.base import DIALECTS, get_dialect
from tune_bridge.files import write_text
from tune_bridge.notes import Level, Notes

__all__ = ["convert"]


@click.command(short_help="Translate one notation into another.")
@click.argument("src", type=click.Path())
@click.option("-o", "--output", "dst", type=click.Path(), help="Write here; the default prints.")
@click.option(
    "--to",
    "target",
    metavar="NOTATION",
    help=f"Target notation: {', '.join(DIALECTS)}. The default follows the ending of DST, else "
    "a Python file becomes a sweep and a sweep becomes a Tune program.",
)
@click.option("--strict", is_flag=True, help="Refuse everything that is not exact.")
@click.option(
    "--from",
    "origin",
    metavar="NOTATION",
    help="What SRC holds, if it is no sweep and nothing of Ray's: optuna, configspace, ...",
)
@click.option("--object", "name", metavar="NAME", help="The variable meant, if a file has several.")
@click.option(
    "--timeout", type=float, default=TIMEOUT, show_default=True, help="Seconds for a Python file."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result and its notes as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No notes on standard error.")
def convert(
    src: str,
    dst: str | None,
    target: str | None,
    strict: bool,
    origin: str | None,
    name: str | None,
    timeout: float,
    as_json: bool,
    quiet: bool,
) -> None:
    """Translates SRC: a sweep file (YAML), or a Python file that builds an experiment.

    The translation says on standard error what it carried or approximated. A Python file is
    executed in a child process; nothing is trained.

    \b
      tune-bridge convert experiment.py -o sweep.yaml
      tune-bridge convert sweep.yaml --to tune
      tune-bridge convert sweep.yaml -o space.py --to hyperopt
    """
    config = load_source(src, name=name, timeout=timeout, origin=origin)
    read_notes = list(config.notes)
    target = target or _target(src, dst)
    dialect = get_dialect(target)
    written = dialect.source(config.experiment)
    # A Python file was translated into a sweep on the way in; those notes speak of that sweep.
    notes = Notes(read_notes if target == "sweep" and read_notes else written.notes)
    if origin is not None:
        notes = Notes([*read_notes, *written.notes])
    notes.require(Level.EXACT if strict else Level.APPROXIMATED)
    if dst:
        write_text(dst, written.value)
    if as_json:
        import json

        data = {
            "to": target,
            "output": dst,
            "text": None if dst else written.value,
            "notes": [note.as_dict() for note in notes],
        }
        click.echo(json.dumps(data, indent=2))
        return
    if not dst:
        click.echo(written.value, nl=False)
    if not quiet:
        for note in notes:
            if note.level > Level.EXACT:
                click.echo(str(note), err=True)
        if dst:
            click.echo(f"wrote {dst}", err=True)


def _target(src: str, dst: str | None) -> str:
    if dst:
        return "sweep" if Path(dst).suffix.lower() in (".yaml", ".yml", ".json") else "tune"
    return "sweep" if Path(src).suffix.lower() == ".py" else "tune"
