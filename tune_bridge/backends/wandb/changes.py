"""What `WandbBackend` knows of runs, and what an `apply` does to them and to sweeps."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tune_bridge.backends import codec, merge
from tune_bridge.backends.base import PatchSweep, Row, Run, Sweep
from tune_bridge.backends.wandb import records
from tune_bridge.backends.wandb.sdk_runs import OpenRun
from tune_bridge.errors import UnsupportedError

__all__ = [
    "WRITES",
    "Change",
    "Known",
    "arrived",
    "config_of",
    "exit_code",
    "floats",
    "log",
    "note_floats",
    "patched",
    "thinned",
]

WRITES = "writes"
"""The key, among what is kept with a run, of how often it was written."""


class Known:
    """A run that this process knows.

    Attributes:
        run: As it was put, or found.
        record: What of it can change, as it is now.
        open: The client's run while it is written, or None.
        floats: Keys of rows: whether all their values were floats.
        said: What is kept at W&B beside what W&B has a place for.
        config: The parameters as they are at W&B.
        summary: The values of the summary that are at W&B.
        writes: How often it was written: by this it is seen whether all has arrived.
    """

    __slots__ = ("config", "floats", "open", "record", "run", "said", "summary", "writes")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.record = records.record_of(run)
        self.open: OpenRun | None = None
        self.floats: dict[str, bool] = {}
        self.said: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.writes = 0


class Change:
    """What one `apply` does to a run."""

    __slots__ = ("known", "logged", "record", "rows", "summary")

    def __init__(self, known: Known) -> None:
        self.known = known
        self.record = copy.deepcopy(known.record)
        self.rows: dict[int, Row] = {}
        self.summary: dict[str, Any] = {}


def patched(sweep: Sweep, patch: PatchSweep) -> Sweep:
    """A sweep with a change, by the laws of the contract.

    Raises:
        UnsupportedError: Its meta would change.
    """
    if patch.changes.get("meta"):
        raise UnsupportedError(
            "W&B keeps the meta of a sweep as it was made",
            path=patch.id,
            found=", ".join(map(str, patch.changes["meta"])),
        )
    record = merge.SweepRecord(
        name=sweep.name,
        state=sweep.state,
        updated_at=sweep.updated_at,
        ended_at=sweep.ended_at,
        message=sweep.message,
        meta={},
        stamps=merge.Stamps(),
    )
    merge.patch_sweep(record, patch)
    changed = {name: getattr(record, name) for name in ("name", "state", "updated_at", "ended_at")}
    if record.config is not msgspec.UNSET:
        changed["config"] = record.config
    return msgspec.structs.replace(sweep, message=record.message, **changed)


def log(change: Change, given: Iterable[Row]) -> None:
    """Adds rows to what an `apply` does to a run.

    Raises:
        InputError: A value cannot be stored.
    """
    rows = [Row(row.step, row.time, codec.plain(row.values)) for row in given]
    if not rows:
        return
    change.rows.update({row.step: row for row in rows})
    rows.sort(key=lambda row: row.step)
    merge.log(change.record, rows, max(row.time for row in rows))


def config_of(record: merge.RunRecord) -> dict[str, Any]:
    """A run's parameters."""
    return record.config if isinstance(record.config, dict) else {}


def exit_code(record: merge.RunRecord) -> int:
    """The exit code by which W&B takes a run's state; one that is still open has crashed."""
    return records.EXIT_CODES.get(record.state, 1)


def floats(known: Known, record: merge.RunRecord) -> dict[str, Any]:
    """Where whole numbers are floats, in parameters, rows and the summary."""
    found = {
        "config": records.floats_of(config_of(record)),
        "summary": records.floats_of(record.summary),
        "rows": sorted(key for key, whole in known.floats.items() if whole),
    }
    return {key: paths for key, paths in found.items() if paths}


def note_floats(known: dict[str, bool], values: Mapping[str, Any]) -> None:
    """Notes which keys of a row have floats alone."""
    for key, value in values.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            known[key] = known.get(key, True) and isinstance(value, float)


def arrived(known: Known, run: Run, said: Mapping[str, Any]) -> bool:
    """Whether W&B has what this process has written."""
    steps = known.open.next_step - 1 if known.open else known.record.last_step
    return run.last_step >= steps and said.get(WRITES, 0) >= known.writes


def thinned(points: list[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    """Points chosen evenly, the last one among them."""
    if len(points) <= most:
        return points
    if most <= 1:
        return points[-1:]
    gap = (len(points) - 1) / (most - 1)
    return [points[round(number * gap)] for number in range(most)]
