"""One `apply` on a SQL connection: operations are merged in memory and written once, at the end.

Within a transaction that holds the write lock, a record that was read stays true until the commit.
So every run and sweep that an `apply` touches is read and written once, however many operations
name it, and all rows go through one call of the driver.
"""

from __future__ import annotations

import operator
from itertools import repeat
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy import select

from tune_bridge.backends import codec, merge
from tune_bridge.backends.base import (
    LogEvents,
    LogRows,
    Operation,
    PatchRun,
    PatchSweep,
    PutRun,
    PutSweep,
    Row,
)
from tune_bridge.backends.schema import clock, events, history, runs, sweeps
from tune_bridge.errors import ConflictError, InputError, NotFoundError

__all__ = ["Work"]

_Record = TypeVar("_Record", merge.RunRecord, merge.SweepRecord)

# The time keeps an old row, replayed, from replacing the one that replaced it.
_PUT_ROWS = (
    "INSERT INTO history (run, step, time, data) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (run, step) DO UPDATE SET time = excluded.time, data = excluded.data "
    "WHERE excluded.time >= history.time"
)
_PUT_EVENTS = "INSERT INTO events (sweep, number, data) VALUES (?, ?, ?)"
_JSON = frozenset({"config", "summary", "meta"})
_stamps_encoder = msgspec.json.Encoder()
_stamps_decoder = msgspec.json.Decoder(merge.Stamps)


def _statements(
    table: sa.Table, kind: type[msgspec.Struct], *extra: str
) -> tuple[sa.Select[Any], sa.Update]:
    fields = kind.__struct_fields__
    read = select(*(table.c[name] for name in (*extra, *fields))).where(
        table.c.id == sa.bindparam("key")
    )
    write = (
        table.update()
        .where(table.c.id == sa.bindparam("key"))
        .values({name: sa.bindparam(f"new_{name}") for name in fields})
    )
    return read, write


_READ_SWEEP, _WRITE_SWEEP = _statements(sweeps, merge.SweepRecord)
_READ_RUN, _WRITE_RUN = _statements(runs, merge.RunRecord, "seq", "sweep_id")
_TICK = clock.update().values(value=clock.c.value + 1)
_TOUCH = (
    sweeps.update()
    .where(sweeps.c.id == sa.bindparam("key"))
    .values(
        version=select(clock.c.value).scalar_subquery(),
        updated_at=sa.case(
            (sweeps.c.updated_at < sa.bindparam("at"), sa.bindparam("at")),
            else_=sweeps.c.updated_at,
        ),
    )
)


class Work:
    """Collects the operations of one `apply`.

    Args:
        connection: In a transaction that nobody else can write beside.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._sweeps: dict[str, merge.SweepRecord] = {}
        self._runs: dict[str, merge.RunRecord] = {}
        self._keys: dict[str, tuple[int, str]] = {}
        self._touched: dict[str, float] = {}
        self._rows: list[tuple[int, int, float, str]] = []

    def add(self, operation: Operation) -> None:
        """Takes one operation.

        Raises:
            NotFoundError: It names what does not exist.
            InputError: It holds what cannot be stored.
        """
        if isinstance(operation, LogRows):
            self._log(operation)
        elif isinstance(operation, LogEvents):
            self._log_events(operation)
        elif isinstance(operation, PatchRun):
            merge.patch_run(self._run(operation.id), operation)
            self._touch(self._keys[operation.id][1], operation.time)
        elif isinstance(operation, PutRun):
            self._put_run(operation)
        elif isinstance(operation, PatchSweep):
            merge.patch_sweep(self._sweep(operation.id), operation)
            self._touch(operation.id, operation.time)
        elif isinstance(operation, PutSweep):
            self._put_sweep(operation)
        else:
            raise InputError("no operation of a backend", found=type(operation).__name__)

    def finish(self) -> None:
        """Writes what has been collected."""
        self._write_rows()
        execute = self._connection.execute
        if self._sweeps:
            execute(_WRITE_SWEEP, [_columns(key, item) for key, item in self._sweeps.items()])
        if self._runs:
            execute(_WRITE_RUN, [_columns(key, item) for key, item in self._runs.items()])
        if self._touched:
            execute(_TICK)
            execute(_TOUCH, [{"key": key, "at": at} for key, at in self._touched.items()])

    def _touch(self, sweep_id: str, at: float) -> None:
        self._touched[sweep_id] = max(at, self._touched.get(sweep_id, at))

    def _sweep(self, sweep_id: str) -> merge.SweepRecord:
        if (record := self._sweeps.get(sweep_id)) is None:
            row = self._connection.execute(_READ_SWEEP, {"key": sweep_id}).first()
            if row is None:
                raise NotFoundError("no such sweep", found=repr(sweep_id))
            record = self._sweeps[sweep_id] = _record(merge.SweepRecord, dict(row._mapping))
        return record

    def _run(self, run_id: str) -> merge.RunRecord:
        if (record := self._runs.get(run_id)) is None:
            row = self._connection.execute(_READ_RUN, {"key": run_id}).first()
            if row is None:
                raise NotFoundError("no such run", found=repr(run_id))
            values = dict(row._mapping)
            self._keys[run_id] = (values.pop("seq"), values.pop("sweep_id"))
            record = self._runs[run_id] = _record(merge.RunRecord, values)
        return record

    def _put_sweep(self, operation: PutSweep) -> None:
        merge.checked_put(operation)
        sweep = operation.sweep
        values = {name: getattr(sweep, name) for name in sweep.__struct_fields__}
        if self._insert(sweeps, values, version=0):
            self._touch(sweep.id, sweep.updated_at)

    def _put_run(self, operation: PutRun) -> None:
        merge.checked_put(operation)
        run = operation.run
        values = {name: getattr(run, name) for name in run.__struct_fields__}
        values |= {"rows": 0, "last_step": -1}  # what it had elsewhere does not count here
        if run.sweep_id not in self._touched:
            found = self._connection.execute(
                select(sweeps.c.seq).where(sweeps.c.id == run.sweep_id)
            ).first()
            if found is None:
                raise NotFoundError("no such sweep", path=run.id, found=repr(run.sweep_id))
        if self._insert(runs, values):
            self._touch(run.sweep_id, max(run.created_at, run.updated_at))

    def _insert(self, table: sa.Table, values: dict[str, Any], **more: Any) -> bool:
        """Inserts a record unless one with its id exists; whether it did."""
        values = {name: _dump(name, value) for name, value in values.items()}
        dialect = self._connection.dialect.name
        if dialect == "postgresql":
            from sqlalchemy.dialects.postgresql import insert as insert_postgresql

            statement: Any = insert_postgresql(table)
        else:
            from sqlalchemy.dialects.sqlite import insert as insert_sqlite

            statement = insert_sqlite(table)
        statement = statement.values(**values, **more, stamps="{}")
        result = self._connection.execute(statement.on_conflict_do_nothing(index_elements=["id"]))
        return bool(result.rowcount)

    def _log(self, operation: LogRows) -> None:
        record = self._run(operation.run_id)
        seq, sweep_id = self._keys[operation.run_id]
        rows = operation.rows
        if not rows:
            return
        steps = list(map(operator.index, [row.step for row in rows]))
        times = list(map(float, [row.time for row in rows]))
        texts = codec.dumps_many([row.values for row in rows])
        rising = all(map(operator.lt, steps, steps[1:]))
        if rising and steps[0] > record.last_step:
            record.rows += len(steps)
        else:
            record.rows += self._unknown(seq, steps)
        self._rows.extend(zip(repeat(seq), steps, times, texts))
        latest = max(times)
        merge.log(record, rows if rising else sorted(rows, key=_order), latest)
        self._touch(sweep_id, latest)

    def _log_events(self, operation: LogEvents) -> None:
        sweep = self._connection.execute(
            select(sweeps.c.seq).where(sweeps.c.id == operation.sweep_id)
        ).scalar()
        if sweep is None:
            raise NotFoundError("no such sweep", found=repr(operation.sweep_id))
        first = operation.first
        texts = codec.dumps_many(operation.events)
        mine = events.c.sweep == sweep
        known = self._connection.execute(
            select(events.c.data)
            .where(mine, events.c.number >= first)
            .order_by(events.c.number)
            .limit(len(texts))
        ).scalars()
        there = list(known)
        if there != texts[: len(there)]:
            raise ConflictError(
                f"sweep {operation.sweep_id}: another controller has written event {first}"
            )
        if there == texts:
            return
        last = self._connection.execute(select(sa.func.max(events.c.number)).where(mine)).scalar()
        count = 0 if last is None else last + 1
        if first + len(there) != count:
            raise ConflictError(
                f"sweep {operation.sweep_id}: event {first} would leave a gap after {count} events"
            )
        cursor = self._connection.connection.cursor()
        new = texts[len(there) :]
        cursor.executemany(_PUT_EVENTS, zip(repeat(sweep), range(count, count + len(new)), new))
        cursor.close()
        self._touch(operation.sweep_id, operation.time)

    def _unknown(self, seq: int, steps: list[int]) -> int:
        """How many of these steps the run does not have."""
        self._write_rows()
        asked = set(steps)
        query = select(history.c.step).where(
            history.c.run == seq, history.c.step.between(min(asked), max(asked))
        )
        return len(asked.difference(self._connection.execute(query).scalars()))

    def _write_rows(self) -> None:
        if self._rows:
            # Straight through the driver: SQLAlchemy would look at every parameter.
            cursor = self._connection.connection.cursor()
            cursor.executemany(_PUT_ROWS, self._rows)
            cursor.close()
            self._rows = []


def _order(row: Row) -> tuple[int, float]:
    return row.step, row.time


def _record(kind: type[_Record], values: dict[str, Any]) -> _Record:
    for name in _JSON & values.keys():
        values[name] = codec.loads(values[name])
    values["stamps"] = _stamps_decoder.decode(values["stamps"])
    return kind(**values)


def _dump(name: str, value: Any) -> Any:
    return codec.dumps(value) if name in _JSON else value


def _columns(key: str, record: merge.RunRecord | merge.SweepRecord) -> dict[str, Any]:
    values = {
        f"new_{name}": _dump(name, getattr(record, name))
        for name in record.__struct_fields__
        if name != "stamps"
    }
    values["new_stamps"] = _stamps_encoder.encode(record.stamps).decode()
    values["key"] = key
    return values
