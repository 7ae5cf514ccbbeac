"""``tune-bridge diff`` and ``tune-bridge verify``: two experiments side by side."""

from __future__ import annotations

import json

import click

from tune_bridge.cli.options import SHARE, TEXT, Number
from tune_bridge.cli.scripts import OfFiles, script_arguments
from tune_bridge.cli.source import load_source
from tune_bridge.compare import DRAWS, Change, compare

__all__ = ["diff", "verify"]

_DRAWS = Number(int, 100, 10_000_000)


def _changes(a: str, b: str, draws: int = DRAWS) -> list[Change]:
    given = script_arguments(a, b)
    one, other = (load_source(path, arguments=given).experiment for path in (a, b))
    return compare(one, other, draws=draws)


@click.command(cls=OfFiles, short_help="Say what changed, in terms of distributions.")
@click.argument("a", type=TEXT)
@click.argument("b", type=TEXT)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(a: str, b: str, as_json: bool) -> int:
    """Says what changed from A to B, in terms of distributions.

    \b
      lr: widened above by 10x (log_uniform_values min 1e-05 max 0.01 -> ... max 0.1)

    Exit codes: 0 nothing changed, 1 something did (or the input has to be changed), 2 wrong usage.
    """
    changes = _changes(a, b)
    if as_json:
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(changes), indent=2))
    for change in [] if as_json else changes:
        text = f"{change.path}: {change.what}"
        if change.kind == "parameter" and change.before and change.after:
            text += f" ({change.before} -> {change.after})"
        elif change.kind == "parameter":
            text += f" ({change.before or change.after})"
        click.echo(text)
    return 1 if changes else 0


@click.command(cls=OfFiles, short_help="Say whether two are the same experiment.")
@click.argument("a", type=TEXT)
@click.argument("b", type=TEXT)
@click.option("--draws", type=_DRAWS, default=DRAWS, show_default=True)
@click.option(
    "--tolerance",
    type=SHARE,
    default=1e-6,
    show_default=True,
    help="The largest distance of two laws that still counts as the same.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(a: str, b: str, draws: int, tolerance: float, as_json: bool) -> int:
    """Says whether A and B are the same experiment.

    Draws from both with coupled seeds and prints a distance for each parameter that is written
    otherwise: total variation for discrete values, Kolmogorov-Smirnov for continuous ones, 0 for
    the same law. Settings have to be equal.

    Exit codes: 0 the same, 1 not (or the input has to be changed), 2 wrong usage.
    """
    changes = _changes(a, b, draws)
    apart = [c for c in changes if c.distance is None or c.distance > tolerance]
    if as_json:
        import msgspec

        data = {"same": not apart, "changes": msgspec.to_builtins(changes)}
        click.echo(json.dumps(data, indent=2))
        return 1 if apart else 0
    for change in changes:
        shown = "differs" if change.distance is None else f"distance {change.distance:.3g}"
        click.echo(f"{change.path}: {shown}: {change.what}")
    click.echo("not the same experiment" if apart else "the same experiment")
    return 1 if apart else 0
