"""What the databases say differently, for the code that they share."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from typing import Any

from tune_bridge.backends.base import Operation

__all__ = ["PUT_ROWS", "Dialect", "StoredRow"]

StoredRow = tuple[int, int, float, str]
"""A history row as it is stored: run, step, time, text of its values."""

# The time keeps an old row, replayed, from replacing the one that replaced it.
PUT_ROWS = (
    "INSERT INTO history (run, step, time, data) {} "
    "ON CONFLICT (run, step) DO UPDATE SET time = excluded.time, data = excluded.data "
    "WHERE excluded.time >= history.time"
)


class Dialect(abc.ABC):
    """One kind of database. Statements have ``?`` for their parameters.

    Attributes:
        holds: Whether column ``data`` holds a text.
        among: Whether column ``step`` is one of several; see `steps`.
        numbers: Numbers in column ``value``; see `steps`.
        lock: Follows a query for a record that is about to be changed.
        clock: Asks for what changes with every commit.
        tick: What every `apply` that changes something does beside; empty for nothing.
        stamp: The version of a sweep that is changed now, as an expression; it only grows.
    """

    holds: str
    among: str
    numbers: str
    lock: str
    clock: str
    tick: str
    stamp: str

    @abc.abstractmethod
    def cursor(self, driver: Any) -> Any:
        """A cursor of a driver's connection, whose ``execute`` takes our statements."""

    @abc.abstractmethod
    def steps(self, steps: Sequence[int]) -> Any:
        """Steps as the parameter of `among` and `numbers`."""

    @abc.abstractmethod
    def reserve(self, cursor: Any, operations: Iterable[Operation]) -> None:
        """Waits until nobody else changes what operations are about, in a fresh transaction."""

    @abc.abstractmethod
    def put_rows(self, cursor: Any, rows: list[StoredRow]) -> None:
        """Adds history rows, in order; a later one replaces an earlier one of its run and step."""
