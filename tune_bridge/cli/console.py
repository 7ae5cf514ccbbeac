"""Tables on standard output."""

from __future__ import annotations

import shutil
import sys
from typing import Any

from rich.console import Console

__all__ = ["print_table"]


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leaves it to the caller; rich itself ends the process with exit code 1."""
        raise BrokenPipeError


def print_table(table: Any, *, wide: int) -> None:
    """Prints something of rich's.

    Args:
        table: What is printed; its texts are taken as they are.
        wide: Columns where there is no terminal to ask.

    Raises:
        BrokenPipeError: Nobody reads.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else wide
    _Console(width=width, highlight=False, markup=False).print(table)
