"""The command line: a table of commands, each loaded when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from tune_bridge import __version__
from tune_bridge.errors import TuneBridgeError

__all__ = ["cli", "main"]

COMMANDS = {
    "convert": "tune_bridge.cli.convert:convert",
    "explain": "tune_bridge.cli.explain:explain",
    "lint": "tune_bridge.cli.lint:lint",
    "sample": "tune_bridge.cli.sample:sample",
    "diff": "tune_bridge.cli.compare:diff",
    "verify": "tune_bridge.cli.compare:verify",
    "run": "tune_bridge.cli.run:run",
    "dashboard": "tune_bridge.cli.dashboard:dashboard",
}
"""Command -> ``module:click command``."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        target = COMMANDS.get(name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.command(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="tune-bridge")
def cli() -> None:
    """The bridge between Ray Tune and W&B Sweeps.

    Translate a Tune experiment or a HyperOpt space into a sweep and back, see what each side makes
    of it, run it on Ray and watch it in a dashboard - with no account and no internet.

    \b
      tune-bridge convert experiment.py -o sweep.yaml
      tune-bridge explain sweep.yaml
      tune-bridge run sweep.yaml
      tune-bridge dashboard

    Exit codes: 0 done, 1 the input has to be changed (the message says where), 2 wrong usage.
    """


def main(argv: list[str] | None = None) -> None:
    """Runs the command line; every `TuneBridgeError` becomes one line and exit code 1."""
    try:
        result: Any = cli.main(args=argv, standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except TuneBridgeError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    sys.exit(result if isinstance(result, int) else 0)
