"""Types of options that several commands have; a wrong value is wrong usage."""

from __future__ import annotations

import math
from typing import Any

import click

__all__ = ["NOTATION", "SECONDS"]


class _Seconds(click.ParamType[float]):
    """A positive, finite number of seconds."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            self.fail(f"{value!r} is no positive number of seconds.", param, ctx)
        return number


class _Notation(click.ParamType[str]):
    """The name of a dialect."""

    name = "notation"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from tune_bridge.dialects.base import get_dialect
        from tune_bridge.errors import InputError

        try:
            get_dialect(value)
        except InputError as error:
            self.fail(f"{error}.", param, ctx)
        return str(value)


SECONDS = _Seconds()
NOTATION = _Notation()
