"""Arguments after ``--``: those of the Python file that is executed."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["OfFiles", "script_arguments"]

_KEY = "tune_bridge.arguments"


class OfFiles(click.Command):
    """A command whose files may be programs, with arguments of their own after ``--``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keeps what comes after ``--`` for `script_arguments`."""
        if "--" in args:
            end = args.index("--")
            args, ctx.meta[_KEY] = args[:end], args[end + 1 :]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The line of ``--help``."""
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENTS]"]


def script_arguments(*sources: str) -> list[str]:
    """The arguments after ``--`` of the command that runs.

    Args:
        sources: Its files.

    Raises:
        click.UsageError: There are some, and none of the files is executed.
    """
    found: list[Any] = click.get_current_context().meta.get(_KEY, [])
    if found and not any(".py" in source.lower() for source in sources):
        raise click.UsageError("Arguments after -- are those of a Python file, and there is none.")
    return [str(argument) for argument in found]
