"""``tune-bridge lint``: mistakes that people make."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from tune_bridge.cli.source import load_source
from tune_bridge.lint import RULES, Finding
from tune_bridge.lint import lint as find

__all__ = ["lint"]


@click.command(short_help="Find mistakes that people make in sweeps.")
@click.argument("src", type=click.Path(), nargs=-1, required=True)
@click.option(
    "--ignore",
    multiple=True,
    type=click.Choice(list(RULES)),
    help="A rule to leave out; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def lint(src: tuple[str, ...], ignore: tuple[str, ...], as_json: bool) -> int:
    """Looks for mistakes in sweeps that are valid and still not what their author meant.

    Exponents given as values, whole bounds that were meant as fractions, a goal against the
    metric's name, early termination with one rung, macros that expand to nothing, ...

    Exit codes: 0 nothing found, 1 something was (or a file is malformed), 2 wrong usage.
    """
    results = []
    for path in src:
        config = load_source(path)
        places = _places(path)
        results += [
            (path, *places(finding.path), finding)
            for finding in find(config, config.experiment)
            if finding.rule not in ignore
        ]
    if as_json:
        click.echo(json.dumps([_data(*result) for result in results], indent=2))
    for result in [] if as_json else results:
        click.echo(_line(*result))
    return 1 if results else 0


def _places(path: str) -> Callable[[str], tuple[int | None, int | None]]:
    from tune_bridge.dialects.sweep import yaml_file

    if Path(path).suffix == ".py":
        return lambda where: (None, None)
    return yaml_file.load(Path(path).read_bytes(), path).place


def _line(path: str, line: int | None, column: int | None, finding: Finding) -> str:
    place = ":".join(str(part) for part in (path, line, column) if part is not None)
    return f"{place}: {finding.path}: {finding.what} - {finding.fix} [{finding.rule}]"


def _data(path: str, line: int | None, column: int | None, finding: Finding) -> dict[str, object]:
    return {
        "source": path,
        "line": line,
        "column": column,
        "rule": finding.rule,
        "path": finding.path,
        "what": finding.what,
        "fix": finding.fix,
    }
