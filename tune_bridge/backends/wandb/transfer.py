"""Sweeps on their way between W&B and a place of our own.

Both ways are the same: what is there is looked at first, and what is missing is added, by the
operations of the contract. So doing it again changes nothing, and one that broke off goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tune_bridge.backends.base import (
    ENDED_RUN,
    Backend,
    LogRows,
    Operation,
    PatchRun,
    PatchSweep,
    PutRun,
    PutSweep,
    Run,
    Sweep,
)
from tune_bridge.backends.wandb.backend import WandbBackend

__all__ = ["Moved", "Step", "pull", "push"]

_PATCHED = (
    "name",
    "state",
    "config",
    "summary",
    "meta",
    "started_at",
    "ended_at",
    "stopped_early",
    "message",
    "exit_code",
)


class Step(msgspec.Struct, frozen=True):
    """How far it is.

    Attributes:
        done: Runs that were looked at.
        total: All runs.
        rows: Rows that were added so far.
    """

    done: int
    total: int
    rows: int


class Moved(msgspec.Struct, frozen=True):
    """What has become of it.

    Attributes:
        sweep: The sweep's id where it came to.
        path: ``entity/project/id`` at W&B.
        url: Its page at W&B.
        runs: Runs of the sweep.
        added: Of these, the ones that were not there.
        rows: Rows that were added.
        waiting: Runs that are not over, and were left out: push again when they are.
        left: Folders of what could not be uploaded in time: ``wandb sync`` brings it.
    """

    sweep: str
    path: str
    url: str
    runs: int
    added: int
    rows: int
    waiting: int
    left: list[str]


def push(
    source: Backend,
    target: WandbBackend,
    sweep_id: str,
    tell: Callable[[Step], None] | None = None,
) -> Moved:
    """Brings a sweep of our own to W&B.

    Args:
        source: Where it is.
        target: W&B.
        sweep_id: The sweep.
        tell: Called after every run.

    Raises:
        NotFoundError: There is no such sweep.
        InputError: W&B refuses something.
        BackendError: One of the two is away; repeating goes on where it was.
    """
    sweep = source.sweep(sweep_id)
    runs = [run for run in source.runs(sweep_id) if run.state in ENDED_RUN]
    waiting = len(source.runs(sweep_id)) - len(runs)
    target.begin(sweep)
    there = {run.id: run for run in target.runs(sweep_id)}
    rows = _copy(source, target, sweep_id, runs, there, tell)
    if waiting == 0 or sweep.state == "paused":
        target.apply([_end(sweep)])
    path, url = target.path(sweep_id), target.page(sweep_id)
    added = len({run.id for run in runs} - set(there))
    left = list(target.left)
    return Moved(path.rpartition("/")[2], path, url, len(runs), added, rows, waiting, left)


def pull(
    source: WandbBackend,
    target: Backend,
    sweep_id: str,
    tell: Callable[[Step], None] | None = None,
) -> Moved:
    """Brings a sweep of W&B to a place of our own.

    It keeps the id under which this package put it at W&B, if it did; else it has W&B's.

    Args:
        source: W&B.
        target: Where to.
        sweep_id: The sweep, as ``entity/project/id`` or as its id in the place's project.
        tell: Called after every run.

    Raises:
        NotFoundError: There is no such sweep.
        BackendError: One of the two is away; repeating goes on where it was.
    """
    sweep, own = source.sweep(sweep_id), source.own_id(sweep_id)
    runs = source.runs(sweep_id)
    target.apply([PutSweep(msgspec.structs.replace(sweep, id=own))])
    there = {run.id: run for run in target.runs(own)}
    rows = _copy(source, target, own, runs, there, tell)
    target.apply([_end(msgspec.structs.replace(sweep, id=own))])
    path, url = source.path(sweep_id), source.page(sweep_id)
    added = len({run.id for run in runs} - set(there))
    return Moved(own, path, url, len(runs), added, rows, 0, [])


def _copy(
    source: Backend,
    target: Backend,
    sweep_id: str,
    runs: list[Run],
    there: dict[str, Run],
    tell: Callable[[Step], None] | None,
) -> int:
    """Brings runs over, one `apply` for each; returns the number of rows."""
    rows = 0
    for number, run in enumerate(runs, start=1):
        known = there.get(run.id)
        operations, more = _of_run(source, run, sweep_id, known)
        target.apply(operations)
        rows += more
        if tell is not None:
            tell(Step(number, len(runs), rows))
    return rows


def _of_run(
    source: Backend, run: Run, sweep_id: str, known: Run | None
) -> tuple[list[Operation], int]:
    first = 0 if known is None else known.last_step + 1
    rows = source.history(run.id, min_step=first) if run.last_step >= first else []
    put = msgspec.structs.replace(run, sweep_id=sweep_id, rows=0, last_step=-1)
    changes = {name: getattr(run, name) for name in _PATCHED}
    when = max(run.updated_at, run.created_at)
    operations: list[Operation] = [PutRun(put)]
    if rows:
        operations.append(LogRows(run.id, rows))
    operations.append(PatchRun(run.id, changes, when, reopen=True))
    return operations, len(rows)


def _end(sweep: Sweep) -> PatchSweep:
    changes: dict[str, Any] = {"name": sweep.name, "state": sweep.state}
    if sweep.message:
        changes["message"] = sweep.message
    if sweep.ended_at is not None:
        changes["ended_at"] = sweep.ended_at
    return PatchSweep(sweep.id, changes, max(sweep.updated_at, sweep.created_at), reopen=True)
