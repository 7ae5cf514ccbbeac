"""``tune-bridge sample``: configurations of an experiment."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

import click

from tune_bridge.cli.options import COUNT, SEED, TEXT
from tune_bridge.cli.scripts import OfFiles, script_arguments
from tune_bridge.cli.source import load_source
from tune_bridge.sampling import configurations

__all__ = ["sample"]


@click.command(cls=OfFiles, short_help="Print configurations drawn from it.")
@click.argument("src", type=TEXT)
@click.option("-n", "number", type=COUNT, default=10, show_default=True, help="How many.")
@click.option("--seed", type=SEED, help="Equal seeds, equal lines; the experiment's, else 0.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="JSON lines, or CSV with dotted names.",
)
@click.option(
    "--object", "name", type=TEXT, metavar="NAME", help="The variable meant, if a file has several."
)
def sample(src: str, number: int, seed: int | None, form: str, name: str | None) -> None:
    """Prints configurations drawn from SRC, one JSON object a line.

    They are drawn from the space as it is written: grids are enumerated, initial points come first,
    and the searcher plays no part.

    \b
      tune-bridge sample sweep.yaml -n 3
      tune-bridge sample sweep.yaml -n 1000 --format csv > configurations.csv
    """
    experiment = load_source(src, name=name, arguments=script_arguments(src)).experiment
    if seed is None:
        seed = experiment.seed or 0
    if experiment.num_samples is not None:
        # As many as are asked for, however many the experiment would run; a grid still ends.
        experiment = experiment.replace(num_samples=1 if experiment.is_grid else number)
    drawn = itertools.islice(configurations(experiment, seed), number)
    if form == "csv":
        _csv(drawn)
    else:
        for configuration in drawn:
            click.echo(json.dumps(configuration))


def _csv(drawn: Iterable[dict[str, Any]]) -> None:
    import csv
    import io

    rows = [_flat(configuration) for configuration in drawn]
    names = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    click.echo(text.getvalue(), nl=False)


def _flat(value: dict[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(item, dict) and item:
            flat |= _flat(item, name)
        else:
            flat[name] = item if isinstance(item, str | int | float) else json.dumps(item)
    return flat
