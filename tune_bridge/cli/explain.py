"""``tune-bridge explain``: what each engine will do with an experiment."""

from __future__ import annotations

import click

from tune_bridge.behaviour import ENGINES, behaviour, below
from tune_bridge.cli.options import NOTATION, SECONDS, TEXT
from tune_bridge.cli.programs import program_note
from tune_bridge.cli.scripts import OfFiles, script_arguments
from tune_bridge.cli.source import TIMEOUT, load_source
from tune_bridge.explain import Line
from tune_bridge.notes import Level

__all__ = ["explain"]

_TITLES = {"wandb": "W&B", "controller": "controller", "ray": "Ray"}
_STYLES = {Level.EXACT: "green", Level.APPROXIMATED: "yellow", Level.LOST: "red"}
_WORDS = {Level.LOST: "not done"}
_REQUIRED = {"exact": Level.EXACT, "approximated": Level.APPROXIMATED}


@click.command(
    cls=OfFiles, short_help="Say what each engine will do with it, how exactly, and why."
)
@click.argument("src", type=TEXT)
@click.option(
    "--for",
    "engines",
    type=click.Choice(ENGINES),
    multiple=True,
    help="One engine alone; repeatable.",
)
@click.option(
    "--require",
    type=click.Choice(list(_REQUIRED)),
    help="Exit with 1 if anything is below this level.",
)
@click.option(
    "--from",
    "origin",
    type=NOTATION,
    metavar="NOTATION",
    help="What SRC holds, if it is no sweep and nothing of Ray's: optuna, configspace, ...",
)
@click.option(
    "--object", "name", type=TEXT, metavar="NAME", help="The variable meant, if a file has several."
)
@click.option(
    "--timeout", type=SECONDS, default=TIMEOUT, show_default=True, help="Seconds for a Python file."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(
    src: str,
    engines: tuple[str, ...],
    require: str | None,
    origin: str | None,
    name: str | None,
    timeout: float,
    as_json: bool,
) -> int:
    """Says what each engine will do with SRC, before anything is spent.

    One row for each parameter and setting: what is drawn or done, how exactly, and why.

    \b
      wandb         W&B's own search, which reads the native keys of the sweep
      controller    the bridge's, with Ray's searchers and schedulers and W&B's methods
      ray           tune-bridge run, on Ray

    \b
      exact         as it is written
      approximated  near; the reason says by how much
      not done      ignored, or refused

    Exit codes: 0 done, 1 something is below --require (or the input has to be changed), 2 wrong
    usage.
    """
    chosen = tuple(engine for engine in ENGINES if engine in engines) or ENGINES
    config = load_source(
        src, name=name, timeout=timeout, origin=origin, arguments=script_arguments(src)
    )
    lines = behaviour(config.experiment, chosen)
    if as_json:
        import json

        click.echo(json.dumps([line.as_dict() for line in lines], indent=2))
    else:
        for kind in ("parameter", "constant", "setting"):
            _show(f"{kind.title()}s", [line for line in lines if line.kind == kind], chosen)
    missing = program_note(config, "sweep")
    if missing is not None:
        click.echo(f"note: {missing.what} - {missing.why}", err=True)
    return 0 if require is None else _judge(src, lines, require)


def _judge(src: str, lines: list[Line], require: str) -> int:
    """Exit code 1, and one line that names what is below the level."""
    found = below(lines, _REQUIRED[require])
    if not found:
        return 0
    (path, engine, level), more = found[0], len(found) - 1
    rest = f", and {more} more" if more else ""
    click.echo(
        f"error: {src}: {path}: {_WORDS.get(level, level.label)} by {engine}{rest}; "
        f"expected {require}",
        err=True,
    )
    return 1


def _show(title: str, lines: list[Line], engines: tuple[str, ...]) -> None:
    if not lines:
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from tune_bridge.cli.console import print_table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(title.rstrip("s").lower(), no_wrap=True)
    for engine in engines:
        table.add_column(_TITLES[engine], overflow="fold")
    table.add_column("why", overflow="fold")
    for line in lines:
        row = [Text(line.path)]
        if line.condition:
            row[0].append(f"\nif {line.condition}", style="dim")
        for engine in engines:
            cell = line.cells[engine]
            word = _WORDS.get(cell.level, cell.level.label)
            text = Text(f"{cell.text}\n" if cell.text else "")
            row.append(text.append(word, style=_STYLES[cell.level]))
        table.add_row(*row, Text("\n".join(_reasons(line, engines))))
    print_table(table, wide=140)


def _reasons(line: Line, engines: tuple[str, ...]) -> list[str]:
    """What the notes of all cells say, each once, with those whom it is true of."""
    told: dict[str, list[str]] = {}
    for engine in engines:
        for note in line.cells[engine].notes:
            why = f"{note.what}: {note.why}" if note.why else note.what
            told.setdefault(why, []).append(_TITLES[engine])
    return [f"{', '.join(names)}: {why}" for why, names in told.items()]
