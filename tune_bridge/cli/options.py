"""Types of options and arguments that several commands have; a wrong value is wrong usage."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import click

__all__ = [
    "AMOUNT",
    "COUNT",
    "FROM_ZERO",
    "JOBS",
    "MOST",
    "NOTATION",
    "SECONDS",
    "SEED",
    "SHARE",
    "TEXT",
    "Number",
]

MOST = 10**9
"""The largest number that an option takes; what is beyond it is a typing error."""

_N = TypeVar("_N", int, float)


class Number(click.ParamType[_N], Generic[_N]):
    """A number within bounds; click's own ranges take NaN, and infinity.

    Args:
        kind: int or float.
        low: The smallest value.
        high: The largest one.
        positive: Leaves out zero.
    """

    def __init__(
        self, kind: type[_N], low: float, high: float = MOST, *, positive: bool = False
    ) -> None:
        self.name = "number"
        self._kind: type[_N] = kind
        self._low, self._high, self._positive = low, high, positive

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> _N:
        """The number; fails as click's own types do."""
        try:
            number = self._kind(value)
        except (ValueError, OverflowError):
            pass
        else:
            if self._low <= number <= self._high and (number or not self._positive):
                return number
        what = "whole number" if self._kind is int else "number"
        low = f"above {self._low:g}" if self._positive else f"from {self._low:g}"
        return self.fail(f"{value!r} is no {what} {low} to {int(self._high)}.", param, ctx)


class _Text(click.ParamType[str]):
    """Some text: an empty one is a variable of a shell that is not set."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not str(value).strip() or "\0" in str(value):
            self.fail(f"{value!r} is empty.", param, ctx)
        return str(value)


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


AMOUNT = Number(float, 0)
"""Processors, GPUs, seconds of grace."""
COUNT = Number(int, 1)
FROM_ZERO = Number(int, 0)
JOBS = Number(int, 1, 10_000)
"""What one process does at once."""
NOTATION = _Notation()
SECONDS = Number(float, 0, positive=True)
"""A positive number of seconds, some 30 years at most."""
SEED = Number(int, 0, 2**32 - 1)
"""What numpy takes."""
SHARE = Number(float, 0, 1)
TEXT = _Text()
