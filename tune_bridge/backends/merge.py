"""The laws of change of the contract, as functions on records: no storage, no input or output.

Every change carries a time, and a record remembers when each of its attributes was last set. An
older change loses, whenever it arrives: that is how a replay of old operations changes nothing.
Equal times are settled by order of arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from tune_bridge.backends import codec
from tune_bridge.backends.base import (
    ENDED_RUN,
    ENDED_SWEEP,
    PatchRun,
    PatchSweep,
    PutRun,
    PutSweep,
    Row,
    RunState,
    SweepState,
)
from tune_bridge.errors import InputError

__all__ = ["RunRecord", "Stamps", "SweepRecord", "checked_put", "log", "patch_run", "patch_sweep"]

_EXPLAINS_STATE = ("message", "stopped_early", "ended_at")


class Stamps(msgspec.Struct, omit_defaults=True):
    """When what was last set.

    Attributes:
        attributes: Attribute -> time.
        meta: Key of ``meta`` -> time.
        summary: Key of ``summary`` -> step and time. Steps order rows; times order the rest.
        opened: When an ended one was last reopened.
    """

    attributes: dict[str, float] = {}
    meta: dict[str, float] = {}
    summary: dict[str, tuple[int, float]] = {}
    opened: float = 0.0


class SweepRecord(msgspec.Struct):
    """What of a stored sweep can change; its config is replaced as a whole, and so never read."""

    name: str
    state: str
    updated_at: float
    ended_at: float | None
    message: str
    meta: dict[str, Any]
    stamps: Stamps
    config: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class RunRecord(msgspec.Struct):
    """What of a stored run can change; its config is replaced as a whole, and so never read."""

    name: str
    state: str
    summary: dict[str, Any]
    rows: int
    started_at: float | None
    ended_at: float | None
    updated_at: float
    stopped_early: bool
    message: str
    exit_code: int | None
    meta: dict[str, Any]
    last_step: int
    stamps: Stamps
    score: float | None
    config: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class _SweepChanges(msgspec.Struct, forbid_unknown_fields=True):
    name: str | msgspec.UnsetType = msgspec.UNSET
    state: SweepState | msgspec.UnsetType = msgspec.UNSET
    config: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    ended_at: float | msgspec.UnsetType | None = msgspec.UNSET
    message: str | msgspec.UnsetType = msgspec.UNSET
    meta: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class _RunChanges(msgspec.Struct, forbid_unknown_fields=True):
    name: str | msgspec.UnsetType = msgspec.UNSET
    state: RunState | msgspec.UnsetType = msgspec.UNSET
    config: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    summary: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    meta: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    started_at: float | msgspec.UnsetType | None = msgspec.UNSET
    ended_at: float | msgspec.UnsetType | None = msgspec.UNSET
    stopped_early: bool | msgspec.UnsetType = msgspec.UNSET
    message: str | msgspec.UnsetType = msgspec.UNSET
    exit_code: int | msgspec.UnsetType | None = msgspec.UNSET


def checked_put(operation: PutSweep | PutRun) -> None:
    """Refuses a sweep or run whose state is none.

    Raises:
        InputError: It is so.
    """
    what: Any
    if isinstance(operation, PutSweep):
        what, states = operation.sweep, get_args(SweepState)
    else:
        what, states = operation.run, get_args(RunState)
    if what.state not in states:
        raise InputError(
            "no such state", path=what.id, found=repr(what.state), expected=", ".join(states)
        )


def patch_sweep(record: SweepRecord, patch: PatchSweep) -> None:
    """Changes a sweep as `PatchSweep` says.

    Raises:
        InputError: It names an attribute that cannot be changed, or a value that cannot be.
    """
    changes = _checked(patch, _SweepChanges)
    _patch(record, changes, patch, ENDED_SWEEP)


def patch_run(record: RunRecord, patch: PatchRun) -> None:
    """Changes a run as `PatchRun` says.

    Raises:
        InputError: It names an attribute that cannot be changed, or a value that cannot be.
    """
    changes = _checked(patch, _RunChanges)
    summary = changes.pop("summary", {})
    _patch(record, changes, patch, ENDED_RUN)
    stamps = record.stamps.summary
    for key, value in summary.items():
        step, time = stamps.get(key, (-1, 0.0))
        if patch.time >= time:
            record.summary[key] = value
            # Behind the rows that are known by now, before those that come.
            after = max(step, record.last_step) if patch.time > time else step
            stamps[key] = (after, patch.time)


def log(record: RunRecord, rows: Sequence[Row], latest: float) -> None:
    """Puts the values of rows into a run's summary; its number of rows is counted elsewhere.

    Args:
        record: The run.
        rows: At least one, by step.
        latest: The latest of their times.
    """
    record.updated_at = max(record.updated_at, latest)
    last: dict[str, Any] = {}
    for row in rows:
        last.update(row.values)
    missing = set(last)
    stamps = record.stamps.summary
    for row in reversed(rows):
        found = missing & row.values.keys()
        for key in found:
            if (row.step, row.time) >= stamps.get(key, (-1, 0.0)):
                stamps[key] = (row.step, row.time)
                record.summary[key] = last[key]
        missing -= found
        if not missing:
            break
    record.last_step = max(record.last_step, rows[-1].step)


def _checked(
    patch: PatchRun | PatchSweep, kind: type[_RunChanges | _SweepChanges]
) -> dict[str, Any]:
    """The changes as plain data of the right types."""
    try:
        changes = msgspec.convert(codec.plain(patch.changes), kind)
    except msgspec.ValidationError as error:
        raise InputError(
            "a change that cannot be made",
            path=patch.id,
            found=str(error),
            expected=", ".join(kind.__struct_fields__),
        ) from None
    return {
        name: value
        for name in kind.__struct_fields__
        if (value := getattr(changes, name)) is not msgspec.UNSET
    }


def _patch(
    record: SweepRecord | RunRecord,
    changes: dict[str, Any],
    patch: PatchRun | PatchSweep,
    ended: frozenset[str],
) -> None:
    time, stamps = patch.time, record.stamps
    record.updated_at = max(record.updated_at, time)
    for key, value in changes.pop("meta", {}).items():
        if time >= stamps.meta.get(key, 0.0):
            record.meta[key] = value
            stamps.meta[key] = time
    state = changes.pop("state", None)
    if state is not None and not _set_state(record, state, patch, ended):
        for name in _EXPLAINS_STATE:
            changes.pop(name, None)
    for name, value in changes.items():
        if time >= stamps.attributes.get(name, 0.0):
            setattr(record, name, value)
            stamps.attributes[name] = time


def _set_state(
    record: SweepRecord | RunRecord,
    state: str,
    patch: PatchRun | PatchSweep,
    ended: frozenset[str],
) -> bool:
    """Sets the state if it may be set.

    An end counts even when something later has arrived before it (clocks differ between hosts), but
    not when the record was reopened since: then it is a replay.

    Returns:
        Whether the record is in this state now.
    """
    stamps, time = record.stamps, patch.time
    known = stamps.attributes.get("state", 0.0)
    if state != record.state:
        if record.state in ended:
            allowed = patch.reopen and time >= known
        else:
            allowed = time >= (stamps.opened if state in ended else known)
        if not allowed:
            return False
        if state in ended:
            record.ended_at = time
        elif record.state in ended:
            record.ended_at = None
            stamps.opened = time
        record.state = state
    if state == "running" and isinstance(record, RunRecord) and record.started_at is None:
        record.started_at = time
    stamps.attributes["state"] = max(known, time)
    return True
