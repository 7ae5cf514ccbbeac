"""What a source of results says, in the same form for all of them. Pure values; rows are lazy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from tune_bridge.backends.base import Row, RunState
from tune_bridge.experiment import Objective
from tune_bridge.notes import Notes
from tune_bridge.space import Group

__all__ = ["QUIET", "Found", "FoundRun", "Wishes", "in_order"]

QUIET = 1800.0
"""Seconds without a change after which what says that it runs counts as dead (crashed)."""

Rows = Callable[[Notes], Iterator[Row]]


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody says about a source that the source itself may not say.

    Attributes:
        name: The sweep's name.
        project: Its project.
        metric: Name of the metric.
        goal: "minimize" or "maximize".
        searcher: Who proposes when the sweep goes on: "random", "bayes" or a class of Ray Tune's.
        program: The script that agents start.
        now: Seconds since the epoch.
    """

    name: str | None = None
    project: str | None = None
    metric: str | None = None
    goal: str | None = None
    searcher: str | None = None
    program: str | None = None
    now: float = 0.0


class FoundRun(msgspec.Struct, kw_only=True):
    """A run of a source.

    Attributes:
        key: Unique in its source, and the same whenever it is read.
        id: The run's id, for sources whose ids are W&B's; made of the sweep's and `key` otherwise.
        name: For people.
        state: "running" for one that is not over: it is read again the next time.
        config: Its parameters, nested.
        created_at: When it was made, in seconds since the epoch.
        started_at: When it first ran, or None.
        ended_at: When it ended, or None.
        stopped_early: A scheduler or pruner ended it.
        message: Why it is in this state.
        exit_code: Of its program, or None.
        summary: Values beside the rows; they count for more than the last row.
        meta: Free data.
        rows: The history, by step; read each time that it is called.
    """

    key: str
    name: str
    state: RunState
    config: dict[str, Any]
    created_at: float
    rows: Rows
    id: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    stopped_early: bool = False
    message: str = ""
    exit_code: int | None = None
    summary: dict[str, Any] = {}
    meta: dict[str, Any] = {}


class Found(msgspec.Struct, kw_only=True):
    """An experiment of a source: what becomes one sweep.

    Attributes:
        kind: Of the source, for people.
        where: The path that it was read from.
        identity: What makes it the same one when it is read again; the sweep's id derives from it.
        id: The sweep's id, for sources that have one of W&B's.
        name: Its name there.
        project: Its project there, or None.
        space: What was searched.
        exact: The source itself says the space; it was not inferred from the runs.
        objectives: What was optimised, the first one first; empty when nobody knows.
        metric: Its name, where the source says that alone.
        searcher: Who is to go on: see `Wishes.searcher`.
        runs: Its runs in order of creation.
        waiting: How many more there are that have not begun.
        notes: What is not known, and what was guessed.
    """

    kind: str
    where: str
    identity: str
    name: str
    runs: list[FoundRun]
    space: Group
    notes: Notes
    id: str | None = None
    project: str | None = None
    exact: bool = False
    objectives: list[Objective] = []
    metric: str | None = None
    searcher: str = "bayes"
    waiting: int = 0


def in_order(runs: Iterable[FoundRun]) -> list[FoundRun]:
    """Runs by creation."""
    return sorted(runs, key=lambda run: (run.created_at, run.key))
