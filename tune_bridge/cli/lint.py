"""``tune-bridge lint``: mistakes that people make."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tune_bridge.cli.options import TEXT
from tune_bridge.cli.scripts import OfFiles, script_arguments
from tune_bridge.cli.source import check_file, load_source
from tune_bridge.dialects.sweep import SweepDialect, is_legacy, yaml_file
from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.experiment import Experiment
from tune_bridge.files import read_bytes
from tune_bridge.lint import RULES, Finding, refusal
from tune_bridge.lint import lint as find
from tune_bridge.sweep_config import SweepConfig

__all__ = ["lint"]


@click.command(cls=OfFiles, short_help="Find mistakes that people make in sweeps.")
@click.argument("src", type=TEXT, nargs=-1, required=True)
@click.option(
    "--ignore",
    multiple=True,
    type=click.Choice(RULES),
    help="A rule to leave out; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def lint(src: tuple[str, ...], ignore: tuple[str, ...], as_json: bool) -> int:
    """Looks for mistakes in sweeps: what is valid and still not what its author meant.

    1e-5, which W&B reads as text, exponents given as values, whole bounds that were meant as
    fractions, a grid without an end, a goal against the metric's name, early termination with one
    rung, ... A file that cannot be read is a finding, too; the next one is looked at all the same.

    A search without an end is a hint alone: it is printed, and no reason for exit code 1.

    Exit codes: 0 nothing found but hints, 1 something was (or there is no such file), 2 wrong
    usage.
    """
    arguments = script_arguments(*src)
    results: list[tuple[str, int | None, int | None, Finding]] = []
    missing: list[NotFoundError] = []
    for path in src:
        try:
            found = _look(path, arguments)
        except NotFoundError as error:
            missing.append(error)
        else:
            results += [
                (path, line, column, finding)
                for finding, line, column in found
                if finding.rule not in ignore
            ]
    if missing and as_json:
        raise missing[0]
    if as_json:
        click.echo(json.dumps([_data(*result) for result in results], indent=2))
    for result in [] if as_json else results:
        click.echo(_line(*result))
    if missing:
        raise missing[0]
    return 1 if any(not finding.hint for *_, finding in results) else 0


_DATA = (".yaml", ".yml", ".json")
_Placed = tuple[Finding, int | None, int | None]


def _look(path: str, arguments: list[str]) -> list[_Placed]:
    """The findings in a file, with their places.

    Raises:
        NotFoundError: There is no such file.
    """
    try:
        if Path(path).suffix.lower() in _DATA:
            check_file(path)
            return _look_at_data(yaml_file.load(read_bytes(path), path))
        config = load_source(path, arguments=arguments)
        return [(finding, None, None) for finding in find(config, config.experiment)]
    except NotFoundError:
        raise
    except InputError as error:
        return [(refusal(error), error.line, error.column)]


def _look_at_data(document: yaml_file.Document) -> list[_Placed]:
    config = document.data
    experiment: Experiment | InputError
    try:
        experiment = SweepDialect().read(document).value
    except InputError as error:
        if not isinstance(config, dict) or is_legacy(config):
            raise
        experiment = error
    if isinstance(experiment, Experiment) and is_legacy(config):
        config = SweepConfig.from_experiment(experiment)
    found = find(config, experiment, texts=document.texts)
    return [(finding, *document.place(finding.path)) for finding in found]


def _line(path: str, line: int | None, column: int | None, finding: Finding) -> str:
    place = ":".join(str(part) for part in (path, line, column) if part is not None)
    where = f"{place}: {finding.path}" if finding.path else place
    kind = f"hint: {finding.rule}" if finding.hint else finding.rule
    return f"{where}: {finding.what} - {finding.fix} [{kind}]"


def _data(path: str, line: int | None, column: int | None, finding: Finding) -> dict[str, object]:
    return {
        "source": path,
        "line": line,
        "column": column,
        "rule": finding.rule,
        "hint": finding.hint,
        "path": finding.path,
        "what": finding.what,
        "fix": finding.fix,
    }
