"""One `apply` on a SQL connection: operations are merged in memory and written once, at the end.

Within a transaction that holds the write lock, a record that was read stays true until the commit.
So every run and sweep that an `apply` touches is read and written once, however many operations
name it, only the columns that changed are written, and all rows go through one call of the driver.

Statements are made once, as text, and go straight to the driver: SQLAlchemy takes ten times as long
to look at one as the database does to run it. They are standard SQL but for ``ON CONFLICT``, which
SQLite and PostgreSQL share; what they do not share is in `tune_bridge.backends.dialect`.
"""

from __future__ import annotations

import operator
from collections import Counter
from itertools import repeat
from typing import Any, Generic, TypeVar

import msgspec

from tune_bridge.backends import codec, merge
from tune_bridge.backends.base import (
    BEHIND,
    LogEvents,
    LogRows,
    Operation,
    PatchRun,
    PatchSweep,
    PutRun,
    PutSweep,
    Row,
    Run,
    Sweep,
)
from tune_bridge.backends.dialect import Dialect, StoredRow
from tune_bridge.backends.scores import metric_of, score_of
from tune_bridge.errors import ConflictError, InputError, NotFoundError

__all__ = ["Work"]

_Record = TypeVar("_Record", bound=msgspec.Struct)

_ASKED = 500  # events that one question names
_STEPS = "SELECT step FROM history WHERE run = ? AND step BETWEEN ? AND ?"
_PUT_EVENTS = "INSERT INTO events (sweep, number, data) VALUES (?, ?, ?)"
_EVENTS = "SELECT data FROM events WHERE sweep = ? AND number >= ? ORDER BY number LIMIT ?"
_SAME_EVENTS = "SELECT data FROM events WHERE sweep = ? AND data IN ({})"
_LAST_EVENT = (
    "SELECT seq, (SELECT max(number) FROM events WHERE sweep = seq) FROM sweeps WHERE id = ?"
)
_METRIC = "SELECT metric FROM sweeps WHERE id = ?"
_SET_METRIC = "UPDATE sweeps SET metric = ? WHERE id = ?"
_SUMMARIES = "SELECT seq, summary FROM runs WHERE sweep_id = ?"
_SET_SCORE = "UPDATE runs SET score = ? WHERE seq = ?"
_TOUCH = (
    "UPDATE sweeps SET version = {}, "
    "updated_at = CASE WHEN updated_at < ? THEN ? ELSE updated_at END WHERE id = ?"
)
_CHANGED = "version = (SELECT version FROM sweeps WHERE id = sweep_id)"
_MADE_RUN = f"UPDATE runs SET {_CHANGED} WHERE id = ?"  # noqa: S608
_MADE_SWEEP = "UPDATE sweeps SET shrunk = version WHERE id = ?"
_TALLY = (
    "INSERT INTO tallies (sweep_id, state, number) VALUES (?, ?, ?) "
    "ON CONFLICT (sweep_id, state) DO UPDATE SET number = tallies.number + excluded.number"
)
_JSON = frozenset({"config", "summary", "meta"})
_stamps_encoder = msgspec.json.Encoder()
_stamps_decoder = msgspec.json.Decoder(merge.Stamps)


class _Table(Generic[_Record]):
    """The statements for one kind of record.

    Args:
        name: Of the table.
        record: What of it can change; what has a default is only written, never read.
        whole: What is put.
        more: Columns beside those of `whole`.
    """

    def __init__(
        self, name: str, record: type[_Record], whole: type[msgspec.Struct], *more: str
    ) -> None:
        self.record = record
        self.read_fields = [
            field.name for field in msgspec.structs.fields(record) if field.required
        ]
        self.put_fields = whole.__struct_fields__
        key = "sweep_id" if "sweep_id" in self.put_fields else "id"
        read = ", ".join((key, "seq", *self.read_fields))
        columns = [*self.put_fields, *more]
        places = ", ".join("?" * len(columns))
        # All names are of attributes in this package.
        self.read = f"SELECT {read} FROM {name} WHERE id = ?"  # noqa: S608
        self.put = (
            f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({places}) "  # noqa: S608
            "ON CONFLICT (id) DO NOTHING"
        )
        beside = f", {_CHANGED}" if key == "sweep_id" else ""
        self.write = f"UPDATE {name} SET {{}}{beside} WHERE seq = ?"  # noqa: S608


_SWEEPS = _Table("sweeps", merge.SweepRecord, Sweep, "version", "stamps", "metric")
_RUNS = _Table("runs", merge.RunRecord, Run, "stamps", "score")


class _Held(Generic[_Record]):
    """A record that was read, with what the database has of it.

    Args:
        table: Where it is from.
        row: Of the table's `read`.
    """

    def __init__(self, table: _Table[_Record], row: tuple[Any, ...]) -> None:
        self.sweep_id, self.seq, *values = row
        self._table = table
        self._stored = dict(zip(table.read_fields, values, strict=True))
        self.record: _Record = table.record(
            **{name: _load(name, value) for name, value in self._stored.items()}
        )
        self.first_state: str = self._stored["state"]

    def write(self, cursor: Any) -> None:
        """Writes what has changed."""
        changed: dict[str, Any] = {}
        for name in self.record.__struct_fields__:
            value = getattr(self.record, name)
            if value is msgspec.UNSET:
                continue
            value = _dump(name, value)
            if name not in self._stored or value != self._stored[name]:
                changed[name] = value
        if changed:
            setting = ", ".join([f"{name} = ?" for name in changed])
            cursor.execute(self._table.write.format(setting), (*changed.values(), self.seq))


class Work:
    """Collects the operations of one `apply`.

    Args:
        cursor: Of the dialect, in a transaction that nobody else can write beside: not to what
            operations are about, at least.
        dialect: Of the database.
    """

    def __init__(self, cursor: Any, dialect: Dialect) -> None:
        self._cursor = cursor
        self._dialect = dialect
        self._sweeps: dict[str, _Held[merge.SweepRecord]] = {}
        self._runs: dict[str, _Held[merge.RunRecord]] = {}
        self._touched: dict[str, float] = {}
        self._metrics: dict[str, str | None] = {}
        self._summed: dict[str, None] = {}
        self._made: list[tuple[str, str]] = []
        self._tally: Counter[tuple[str, str]] = Counter()
        self._rows: list[StoredRow] = []

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
            run = self._run(operation.id)
            merge.patch_run(run.record, operation)
            self._summed[operation.id] = None
            self._touch(run.sweep_id, operation.time)
        elif isinstance(operation, PutRun):
            self._put_run(operation)
        elif isinstance(operation, PatchSweep):
            merge.patch_sweep(self._sweep(operation.id).record, operation)
            self._touch(operation.id, operation.time)
        elif isinstance(operation, PutSweep):
            self._put_sweep(operation)
        else:
            raise InputError("no operation of a backend", found=type(operation).__name__)

    def finish(self) -> None:
        """Writes what has been collected."""
        self._write_rows()
        for run_id in self._summed:
            run = self._runs[run_id]
            if metric := self._metric(run.sweep_id):
                run.record.score = score_of(run.record.summary, metric)
        for sweep in self._sweeps.values():
            sweep.write(self._cursor)
        self._write_touched()
        for run in self._runs.values():
            run.write(self._cursor)
            self.tally(run.sweep_id, run.first_state, -1)
            self.tally(run.sweep_id, run.record.state, 1)
        for (sweep_id, state), number in self._tally.items():
            if number:
                self._cursor.execute(_TALLY, (sweep_id, state, number))
        for sweep_id, sweep in self._sweeps.items():
            if isinstance(sweep.record.config, dict):
                self._rescore(sweep_id, metric_of(sweep.record.config))
        self._cursor.close()

    def _write_touched(self) -> None:
        """Gives sweeps their new version: what is written after it takes it from there."""
        if self._touched:
            if self._dialect.tick:
                self._cursor.execute(self._dialect.tick)
            touch = _TOUCH.format(self._dialect.stamp)
            for sweep_id, at in self._touched.items():
                self._cursor.execute(touch, (at, at, sweep_id))
        for statement, made in self._made:
            self._cursor.execute(statement, (made,))

    def tally(self, sweep_id: str, state: str, number: int) -> None:
        """So many runs more are in a state."""
        self._tally[sweep_id, state] += number

    def _touch(self, sweep_id: str, at: float) -> None:
        self._touched[sweep_id] = max(at, self._touched.get(sweep_id, at))

    def _sweep(self, sweep_id: str) -> _Held[merge.SweepRecord]:
        if (held := self._sweeps.get(sweep_id)) is None:
            row = self._first(_SWEEPS.read + self._dialect.lock, sweep_id)
            if row is None:
                raise NotFoundError("no such sweep", found=repr(sweep_id))
            held = self._sweeps[sweep_id] = _Held(_SWEEPS, row)
        return held

    def _run(self, run_id: str) -> _Held[merge.RunRecord]:
        if (held := self._runs.get(run_id)) is None:
            row = self._first(_RUNS.read + self._dialect.lock, run_id)
            if row is None:
                raise NotFoundError("no such run", found=repr(run_id))
            held = self._runs[run_id] = _Held(_RUNS, row)
        return held

    def _first(self, statement: str, *values: Any) -> Any:
        self._cursor.execute(statement, values)
        return self._cursor.fetchone()

    def _put_sweep(self, operation: PutSweep) -> None:
        merge.checked_put(operation)
        sweep = operation.sweep
        if self._insert(_SWEEPS, sweep, 0, "{}", metric_of(sweep.config)):
            self._made.append((_MADE_SWEEP, sweep.id))
            self._touch(sweep.id, sweep.updated_at)

    def _put_run(self, operation: PutRun) -> None:
        merge.checked_put(operation)
        # What it had elsewhere does not count here.
        run = msgspec.structs.replace(operation.run, rows=0, last_step=-1)
        metric = self._metric(run.sweep_id)
        if metric is None:
            raise NotFoundError("no such sweep", path=run.id, found=repr(run.sweep_id))
        score = score_of(run.summary, metric) if metric and run.summary else None
        if self._insert(_RUNS, run, "{}", score):
            self._made.append((_MADE_RUN, run.id))
            self.tally(run.sweep_id, run.state, 1)
            self._touch(run.sweep_id, max(run.created_at, run.updated_at))

    def _metric(self, sweep_id: str) -> str | None:
        """The name of a sweep's metric, empty without one; None when there is no such sweep."""
        found = self._metrics.get(sweep_id)
        if found is None:
            row = self._first(_METRIC, sweep_id)
            found = self._metrics[sweep_id] = None if row is None else row[0]
        return found

    def _rescore(self, sweep_id: str, metric: str) -> None:
        """Notes another metric of a sweep, when it is another one."""
        if self._first(_METRIC, sweep_id)[0] == metric:
            return
        self._cursor.execute(_SET_METRIC, (metric, sweep_id))
        self._cursor.execute(_SUMMARIES, (sweep_id,))
        scores = [
            (score_of(codec.loads(summary), metric) if metric else None, seq)
            for seq, summary in self._cursor.fetchall()
        ]
        if scores:
            self._cursor.executemany(_SET_SCORE, scores)

    def _insert(self, table: _Table[Any], whole: Sweep | Run, *more: Any) -> bool:
        """Inserts a record unless one with its id exists; whether it did."""
        values = [_dump(name, getattr(whole, name)) for name in table.put_fields]
        self._cursor.execute(table.put, (*values, *more))
        return bool(self._cursor.rowcount)

    def _log(self, operation: LogRows) -> None:
        run = self._run(operation.run_id)
        record, seq, rows = run.record, run.seq, operation.rows
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
        self._summed[operation.run_id] = None
        self._touch(run.sweep_id, latest)

    def _log_events(self, operation: LogEvents) -> None:
        found = self._first(_LAST_EVENT, operation.sweep_id)
        if found is None:
            raise NotFoundError("no such sweep", found=repr(operation.sweep_id))
        sweep, last = found
        count = 0 if last is None else last + 1
        first, texts = operation.first, codec.dumps_many(operation.events)
        if first == BEHIND:
            first, texts = count, self._other_events(sweep, texts)
        if first > count:
            raise ConflictError(
                f"sweep {operation.sweep_id}: event {first} would leave a gap after {count} events"
            )
        if first < count:
            self._cursor.execute(_EVENTS, (sweep, first, len(texts)))
            there = [text for (text,) in self._cursor.fetchall()]
            if there != texts[: len(there)]:
                raise ConflictError(
                    f"sweep {operation.sweep_id}: another controller has written event {first}"
                )
            texts = texts[len(there) :]
        if texts:
            numbers = range(count, count + len(texts))
            self._cursor.executemany(_PUT_EVENTS, zip(repeat(sweep), numbers, texts))
            self._touch(operation.sweep_id, operation.time)

    def _other_events(self, sweep: int, texts: list[str]) -> list[str]:
        """Those of these events that the sweep does not have."""
        there: set[str] = set()
        for begin in range(0, len(texts), _ASKED):
            part = texts[begin : begin + _ASKED]
            self._cursor.execute(_SAME_EVENTS.format(", ".join("?" * len(part))), (sweep, *part))
            there.update(text for (text,) in self._cursor.fetchall())
        return [text for text in texts if text not in there]

    def _unknown(self, seq: int, steps: list[int]) -> int:
        """How many of these steps the run does not have."""
        self._write_rows()
        asked = set(steps)
        self._cursor.execute(_STEPS, (seq, min(asked), max(asked)))
        return len(asked.difference(step for (step,) in self._cursor.fetchall()))

    def _write_rows(self) -> None:
        if self._rows:
            self._dialect.put_rows(self._cursor, self._rows)
            self._rows = []


def _order(row: Row) -> tuple[int, float]:
    return row.step, row.time


def _load(name: str, value: Any) -> Any:
    if name in _JSON:
        return codec.loads(value)
    if name == "stamps":
        return _stamps_decoder.decode(value)
    return bool(value) if name == "stopped_early" else value


def _dump(name: str, value: Any) -> Any:
    if name == "stamps" and not isinstance(value, str):
        return _stamps_encoder.encode(value).decode()
    if name == "stopped_early" and not isinstance(value, bool):  # SQLite would keep anything
        raise TypeError(f"stopped_early: {value!r} is neither true nor false")
    return codec.dumps(value) if name in _JSON else value
