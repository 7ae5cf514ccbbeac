"""``tune-bridge explain``: what each side makes of an experiment."""

from __future__ import annotations

import shutil
import sys

import click

from tune_bridge.cli.source import TIMEOUT, load_source
from tune_bridge.explain import NOTATIONS, Line
from tune_bridge.explain import explain as explain_experiment
from tune_bridge.notes import Level

__all__ = ["explain"]

_TITLES = {"sweep": "W&B sweep", "tune": "Ray Tune", "hyperopt": "HyperOpt"}
_STYLES = {
    Level.EXACT: "green",
    Level.CARRIED: "cyan",
    Level.APPROXIMATED: "yellow",
    Level.LOST: "red",
}
_WORDS = {Level.LOST: "not offered"}


@click.command(short_help="Say what each side makes of it, how exact, and why.")
@click.argument("src", type=click.Path())
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
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(src: str, origin: str | None, name: str | None, timeout: float, as_json: bool) -> None:
    """Says what W&B, Ray Tune and HyperOpt make of SRC, before anything is spent.

    One row for each parameter and setting: how it is spelled, how exact that is, and why.

    \b
      exact         the same law, the same behaviour
      carried       the nearest native form; the file also holds the exact one for tune-bridge
      approximated  near; the reason says by how much
      not offered   the other side has no word for it
    """
    config = load_source(src, name=name, timeout=timeout, origin=origin)
    lines = explain_experiment(config.experiment)
    if as_json:
        import json

        click.echo(json.dumps([line.as_dict() for line in lines], indent=2))
        return
    for kind, title in (("parameter", "Parameters"), ("constant", "Constants")):
        _show(title, [line for line in lines if line.kind == kind], NOTATIONS)
    _show("Settings", [line for line in lines if line.kind == "setting"], ("sweep", "tune"))


def _show(title: str, lines: list[Line], notations: tuple[str, ...]) -> None:
    if not lines:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else 140
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(title.rstrip("s").lower(), no_wrap=True)
    for notation in notations:
        table.add_column(_TITLES[notation], overflow="fold")
    table.add_column("why", overflow="fold")
    for line in lines:
        reasons = Text()
        row = [Text(line.path)]
        if line.condition:
            row[0].append(f"\nif {line.condition}", style="dim")
        for notation in notations:
            cell = line.cells[notation]
            word = _WORDS.get(cell.level, cell.level.label)
            text = Text(f"{cell.text}\n" if cell.text else "")
            row.append(text.append(word, style=_STYLES[cell.level]))
            for note in cell.notes:
                why = f"{note.what}: {note.why}" if note.why else note.what
                reasons.append(f"{_TITLES[notation]}: {why}\n")
        reasons.rstrip()
        table.add_row(*row, reasons)
    Console(width=width).print(table)
