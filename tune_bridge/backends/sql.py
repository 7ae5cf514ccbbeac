"""What the databases share: the queries of the contract, in SQL that each of them takes.

How connections are opened, what a transaction is, and what an error means is said by the modules of
the databases (`tune_bridge.backends.local`, `tune_bridge.backends.postgres`); how they word things,
by their `Dialect`.
"""

from __future__ import annotations

import abc
import contextlib
import math
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy import func, select

from tune_bridge.backends import codec
from tune_bridge.backends.base import (
    Backend,
    Changes,
    Key,
    Operation,
    PatchSweep,
    Row,
    Run,
    RunQuery,
    Sweep,
)
from tune_bridge.backends.dialect import Dialect
from tune_bridge.backends.sampler import Sampler, even
from tune_bridge.backends.schema import events, runs, sweeps, tallies
from tune_bridge.backends.schema import keys as keys_table
from tune_bridge.backends.work import Work
from tune_bridge.errors import BackendError, InputError, NotFoundError

__all__ = ["SqlBackend"]

_Self = TypeVar("_Self", bound="SqlBackend")

_SOME_ROWS = "SELECT step, time, data FROM history WHERE run = ? AND {} ORDER BY step"
_ROWS = "SELECT step, time, data FROM history WHERE run = ? AND step >= ? ORDER BY step"
_ROWS_HOLDING = (
    "SELECT step, time, data FROM history WHERE run = ? AND step >= ? AND ({}) ORDER BY step"
)

# What is asked all the time goes straight to the driver, as in `tune_bridge.backends.work`.
_ONE_SWEEP = f"SELECT {', '.join(Sweep.__struct_fields__)} FROM sweeps WHERE id = ?"  # noqa: S608
_ONE_RUN = f"SELECT {', '.join(Run.__struct_fields__)} FROM runs WHERE id = ?"  # noqa: S608
_RUN_SEQ = "SELECT seq FROM runs WHERE id = ?"
_VERSION = "SELECT version FROM sweeps WHERE id = ?"
_SHRUNK = "SELECT version, shrunk FROM sweeps WHERE id = ?"
_SHRINKS = "UPDATE sweeps SET shrunk = version WHERE id = ?"
_INT64 = 2**63 - 1
_SCORES = (
    "SELECT coalesce(ended_at, ?), created_at, seq, score FROM runs "
    "WHERE sweep_id = ? AND +score IS NOT NULL"  # in the order of changes, not of scores
)
_ORDERED = "ORDER BY created_at, seq"
_RUNS = f"SELECT {', '.join(Run.__struct_fields__)} FROM runs WHERE sweep_id = ?"  # noqa: S608
_CHANGED = f"{_RUNS} AND version > ? {_ORDERED}"

_SWEEP = [sweeps.c[name] for name in Sweep.__struct_fields__]
_RUN = [runs.c[name] for name in Run.__struct_fields__]
_KEY = [keys_table.c[name] for name in Key.__struct_fields__]


class SqlBackend(Backend):
    """Sweeps in a SQL database.

    Args:
        engine: Connected to a database whose schema is current. Its connections begin and end no
            transaction by themselves.
        dialect: How the database words things.
        place: Its name in messages, without a password.
    """

    def __init__(self, engine: sa.Engine, dialect: Dialect, place: str) -> None:
        self.url = place
        self._engine = engine
        self._dialect = dialect
        self._place = place
        self._closed = False

    # What a module of a database says.

    errors: tuple[type[Exception], ...]
    """What its driver raises, and SQLAlchemy for it."""

    @abc.abstractmethod
    def _prepare(self) -> None:
        """Makes sure that the database is ours, writable and of the current version."""

    @abc.abstractmethod
    def _refine(self, error: Exception) -> Exception:
        """One of `errors` as one of ours."""

    @abc.abstractmethod
    def _lost(self, error: Exception, connection: sa.Connection) -> bool:
        """Whether an error says that a connection is gone, where the next one may not be.

        It does not come back into the pool then.
        """

    @abc.abstractmethod
    def _reading(self) -> contextlib.AbstractContextManager[sa.Connection]:
        """A connection that sees one state of the database until it is given back."""

    @abc.abstractmethod
    def _writing(self) -> contextlib.AbstractContextManager[sa.Connection]:
        """A connection in a transaction that is committed in the end, unless there is an error."""

    def _prepared(self: _Self) -> _Self:  # noqa: PYI019 - Self needs Python 3.11
        """Itself, prepared; closed when it cannot be."""
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise
        return self

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """Turns every error of the driver into one of ours."""
        if self._closed:
            raise BackendError(f"{self._place}: the backend is closed; open it again")
        try:
            yield
        except self.errors as error:
            raise self._refine(error) from None

    @contextlib.contextmanager
    def _begun(self, begin: str) -> Iterator[sa.Connection]:
        """A connection after a first statement; on a second one when the first was gone."""
        connection = self._engine.connect()
        try:
            connection.connection.cursor().execute(begin)
        except self.errors as error:
            gone = self._lost(error, connection)
            connection.close()
            if not gone:
                raise
            connection = self._engine.connect()
            connection.connection.cursor().execute(begin)
        with connection:
            try:
                yield connection
            except self.errors as error:
                self._lost(error, connection)
                raise

    def _ask(self, statement: str, *values: Any) -> Any:
        """The first row of what a statement finds, None without any; a transaction of its own."""
        with self._guard():
            for last in (False, True):
                with self._engine.connect() as connection:
                    try:
                        return self._first(connection, statement, *values)
                    except self.errors as error:
                        if not self._lost(error, connection) or last:
                            raise
        raise AssertionError("not reached")

    def _cursor(self, connection: sa.Connection) -> Any:
        return self._dialect.cursor(connection.connection)

    def _first(self, connection: sa.Connection, statement: str, *values: Any) -> Any:
        cursor = self._cursor(connection)
        cursor.execute(statement, values)
        row = cursor.fetchone()
        cursor.close()
        return row

    # The contract.

    def apply(self, operations: Iterable[Operation]) -> None:
        """See `Backend.apply`."""
        operations = list(operations)
        if not operations:
            return
        with self._writing() as connection:
            self._work(connection, operations)

    def _work(self, connection: sa.Connection, operations: list[Operation]) -> None:
        cursor = self._cursor(connection)
        try:
            self._dialect.reserve(cursor, operations)
            work = Work(cursor, self._dialect)
            for operation in operations:
                work.add(operation)
            work.finish()
        except (TypeError, UnicodeError, OverflowError) as error:
            raise InputError(
                "a value that the database cannot hold", source=self._place, found=str(error)
            ) from None

    def sweep(self, sweep_id: str) -> Sweep:
        """See `Backend.sweep`."""
        row = self._ask(_ONE_SWEEP, sweep_id)
        if row is None:
            raise NotFoundError("no such sweep", found=repr(sweep_id), source=self._place)
        return _sweep(row)

    def sweeps(
        self, *, project: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[Sweep]:
        """See `Backend.sweeps`."""
        query = select(*_SWEEP).order_by(sweeps.c.created_at.desc(), sweeps.c.seq.desc())
        if project is not None:
            query = query.where(sweeps.c.project == project)
        with self._reading() as connection:
            found = connection.execute(query.limit(limit).offset(offset)).all()
        return [_sweep(row) for row in found]

    def run(self, run_id: str) -> Run:
        """See `Backend.run`."""
        row = self._ask(_ONE_RUN, run_id)
        if row is None:
            raise self._no_run(run_id)
        return _run(row)

    def runs(
        self,
        sweep_id: str,
        *,
        states: Iterable[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Run]:
        """See `Backend.runs`."""
        wanted = None if states is None else sorted(states)
        among = "" if wanted is None else f"AND state IN ({', '.join('?' * len(wanted)) or 'NULL'})"
        part = "" if limit is None and not offset else "LIMIT ? OFFSET ?"
        most = _INT64 if limit is None else limit
        values = (sweep_id, *(wanted or ()), *((most, offset) if part else ()))
        with self._reading() as connection:
            self._check_sweep(connection, sweep_id)
            cursor = self._cursor(connection)
            cursor.execute(f"{_RUNS} {among} {_ORDERED} {part}", values)
            found = cursor.fetchall()
            cursor.close()
        return [_run(row) for row in found]

    def find_runs(self, query: RunQuery) -> list[Run]:
        """See `Backend.find_runs`."""
        with self._reading() as connection:
            found = connection.execute(_part(query, *_RUN)).all()
        return [_run(row) for row in found]

    def count_runs(self, query: RunQuery) -> int:
        """See `Backend.count_runs`."""
        if query.everything:
            return sum(sum(numbers.values()) for numbers in self.counts(query.sweeps).values())
        with self._reading() as connection:
            found = connection.execute(select(func.count()).where(*_conditions(query))).scalar()
        return int(found or 0)

    def summaries(self, query: RunQuery, key: str) -> list[tuple[str, Any]]:
        """See `Backend.summaries`."""
        with self._reading() as connection:
            found = connection.execute(_part(query, runs.c.id, runs.c.summary)).all()
        value = codec.Picker(key).value
        return [(run_id, value(text)) for run_id, text in found]

    def best_runs(
        self,
        sweep_id: str,
        *,
        descending: bool = False,
        states: Iterable[str] | None = None,
        limit: int = 1,
    ) -> list[tuple[Run, float]]:
        """See `Backend.best_runs`."""
        score = runs.c.score
        query = select(*_RUN, score).where(runs.c.sweep_id == sweep_id, score.is_not(None))
        if states is not None:
            query = query.where(runs.c.state.in_(sorted(states)))
        order = score.desc() if descending else score.asc()
        query = query.order_by(order, runs.c.created_at, runs.c.seq).limit(limit)
        with self._reading() as connection:
            self._check_sweep(connection, sweep_id)
            found = connection.execute(query).all()
        return [(_run(row[:-1]), row[-1]) for row in found]

    def scores(self, sweep_id: str, *, leave_out: Iterable[str] = ()) -> list[float]:
        """See `Backend.scores`."""
        left_out = sorted(leave_out)
        kept = f"AND state NOT IN ({', '.join('?' * len(left_out))})" if left_out else ""
        with self._reading() as connection:
            cursor = self._cursor(connection)
            cursor.execute(f"{_SCORES} {kept}", (math.inf, sweep_id, *left_out))
            found = cursor.fetchall()
            cursor.close()
        found.sort()  # SQLite takes three times as long for it
        return [score for *_, score in found]

    def score_ranges(
        self, sweep_ids: Iterable[str], *, leave_out: Iterable[str] = ()
    ) -> dict[str, tuple[float, float]]:
        """See `Backend.score_ranges`; each end is one look into the index by score."""
        score, most = runs.c.score, sys.float_info.max
        kept = runs.c.state.not_in(sorted(leave_out))
        of = select(score).where(runs.c.sweep_id == sweeps.c.id, score.between(-most, most), kept)
        low = of.order_by(score.asc()).limit(1).scalar_subquery()
        high = of.order_by(score.desc()).limit(1).scalar_subquery()
        result: dict[str, tuple[float, float]] = {}
        wanted = list(dict.fromkeys(sweep_ids))
        with self._reading() as connection:
            for start in range(0, len(wanted), 500):  # SQLite limits the variables of a statement
                query = select(sweeps.c.id, low, high).where(
                    sweeps.c.id.in_(wanted[start : start + 500])
                )
                for sweep_id, least, greatest in connection.execute(query):
                    if least is not None:
                        result[sweep_id] = (least, greatest)
        return result

    def counts(self, sweep_ids: Iterable[str]) -> dict[str, dict[str, int]]:
        """See `Backend.counts`."""
        result: dict[str, dict[str, int]] = {}
        wanted = list(dict.fromkeys(sweep_ids))
        with self._reading() as connection:
            for start in range(0, len(wanted), 500):  # SQLite limits the variables of a statement
                query = select(tallies).where(
                    tallies.c.sweep_id.in_(wanted[start : start + 500]), tallies.c.number > 0
                )
                for sweep_id, state, number in connection.execute(query):
                    result.setdefault(sweep_id, {})[state] = number
        return result

    def history(
        self, run_id: str, *, keys: Iterable[str] | None = None, min_step: int = 0
    ) -> list[Row]:
        """See `Backend.history`."""
        wanted = None if keys is None else list(dict.fromkeys(keys))
        statement, needles = _ROWS, []
        if wanted is not None:
            needles = [needle for key in wanted if (needle := codec.key_text(key)) is not None]
            # SQLite limits the depth of an expression; a long list is left to the exact test below.
            if len(needles) == len(wanted) and 0 < len(needles) <= 100:
                statement = _ROWS_HOLDING.format(" OR ".join([self._dialect.holds] * len(needles)))
            else:
                needles = []
        with self._reading() as connection:
            found = self._first(connection, _RUN_SEQ, run_id)
            if found is None:
                raise self._no_run(run_id)
            cursor = self._cursor(connection)
            cursor.execute(statement, (found[0], min_step, *needles))
            loads = codec.loads
            rows = [Row(step, at, loads(data)) for step, at, data in cursor.fetchall()]
            cursor.close()
        if wanted is None:
            return rows
        cut = (
            Row(row.step, row.time, {key: row.values[key] for key in wanted if key in row.values})
            for row in rows
        )
        return [row for row in cut if row.values]

    def sample(
        self, run_id: str, key: str, *, also: Iterable[str] = (), max_rows: int = 3000
    ) -> list[Row]:
        """See `Backend.sample`."""
        run = self.run(run_id)
        if 1 < max_rows < run.rows == run.last_step + 1:  # without a gap: only those that stay
            wanted = dict.fromkeys((key, *also))
            steps = self._dialect.steps(even(run.rows, max_rows))
            with self._reading() as connection:
                seq = self._first(connection, _RUN_SEQ, run_id)
                cursor = self._cursor(connection)
                cursor.execute(_SOME_ROWS.format(self._dialect.among), (seq and seq[0], steps))
                found = [(step, at, codec.loads(data)) for step, at, data in cursor.fetchall()]
                cursor.close()
            if found and all(key in values for _, _, values in found):
                return [
                    Row(step, at, {name: values[name] for name in wanted if name in values})
                    for step, at, values in found
                ]
        return super().sample(run_id, key, also=also, max_rows=max_rows)

    def histories(
        self, sweep_id: str, key: str, *, max_points: int = 500
    ) -> dict[str, list[tuple[int, float]]]:
        """See `Backend.histories`."""
        result: dict[str, list[tuple[int, float]]] = {}
        query = select(runs.c.id, runs.c.seq, runs.c.rows, runs.c.last_step).where(
            runs.c.sweep_id == sweep_id, runs.c.rows > 0
        )
        sampler = Sampler(self._dialect, key, max(1, max_points))
        with self._reading() as connection:
            self._check_sweep(connection, sweep_id)
            found = connection.execute(query.order_by(runs.c.created_at, runs.c.seq)).all()
            cursor = self._cursor(connection)
            for run_id, seq, rows, last_step in found:
                if points := sampler.points(cursor, seq, rows, last_step):
                    result[run_id] = points
            cursor.close()
        return result

    def events(
        self, sweep_id: str, *, first: int = 0, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """See `Backend.events`."""
        with self._reading() as connection:
            self._check_sweep(connection, sweep_id)
            query = (
                select(events.c.data)
                .join(sweeps, sweeps.c.seq == events.c.sweep)
                .where(sweeps.c.id == sweep_id, events.c.number >= first)
                .order_by(events.c.number)
                .limit(limit)
            )
            return [codec.loads(text) for text in connection.execute(query).scalars()]

    def version(self, sweep_id: str | None = None) -> str:
        """See `Backend.version`."""
        query = (self._dialect.clock,) if sweep_id is None else (_VERSION, sweep_id)
        found = self._ask(*query)
        return "" if found is None else str(found[0])

    def changes(self, sweep_id: str, since: str) -> Changes | None:
        """See `Backend.changes`."""
        with self._reading() as connection:
            row = self._first(connection, _ONE_SWEEP, sweep_id)
            if row is None:
                raise NotFoundError("no such sweep", found=repr(sweep_id), source=self._place)
            version, shrunk = self._first(connection, _SHRUNK, sweep_id)
            seen = int(since) if since.isdecimal() else -1
            if not shrunk <= seen <= version:
                return None
            cursor = self._cursor(connection)
            cursor.execute(_CHANGED, (sweep_id, seen))
            found = cursor.fetchall()
            cursor.close()
        return Changes(version=str(version), sweep=_sweep(row), runs=[_run(run) for run in found])

    def delete_sweep(self, sweep_id: str) -> None:
        """See `Backend.delete_sweep`."""
        with self._writing() as connection:
            deleted = connection.execute(sweeps.delete().where(sweeps.c.id == sweep_id))
            if deleted.rowcount and self._dialect.tick:
                connection.exec_driver_sql(self._dialect.tick)

    def delete_run(self, run_id: str) -> None:
        """See `Backend.delete_run`."""
        with self._writing() as connection:
            query = select(runs.c.sweep_id).where(runs.c.id == run_id)
            sweep_id = connection.execute(query).scalar()
            if sweep_id is None:
                return
            # The patch changes the sweep's version.
            self._work(connection, [PatchSweep(sweep_id, {}, time.time())])
            gone = runs.delete().where(runs.c.id == run_id).returning(runs.c.state)
            state = connection.execute(gone).scalar()
            tally = (tallies.c.sweep_id == sweep_id) & (tallies.c.state == state)
            one_less = tallies.update().where(tally).values(number=tallies.c.number - 1)
            connection.execute(one_less)
            cursor = self._cursor(connection)
            cursor.execute(_SHRINKS, (sweep_id,))
            cursor.close()

    def keys(self) -> list[Key]:
        """See `Backend.keys`."""
        query = select(*_KEY).order_by(keys_table.c.name)
        with self._reading() as connection:
            found = connection.execute(query).all()
        return [Key(**dict(zip(Key.__struct_fields__, row, strict=True))) for row in found]

    def add_key(self, key: Key) -> None:
        """See `Backend.add_key`."""
        named = select(keys_table.c.name).where(keys_table.c.name == key.name)
        with self._writing() as connection:
            if connection.execute(named).first():
                raise InputError("there is a key of this name", path="name", found=repr(key.name))
            connection.execute(keys_table.insert().values(msgspec.structs.asdict(key)))

    def revoke_key(self, name: str) -> None:
        """See `Backend.revoke_key`."""
        with self._writing() as connection:
            named = keys_table.delete().where(keys_table.c.name == name)
            if not connection.execute(named).rowcount:
                raise NotFoundError("no such key", found=repr(name), source=self._place)

    def mark_key(self, name: str, at: float) -> None:
        """See `Backend.mark_key`."""
        known = keys_table.c.used_at
        older = (keys_table.c.name == name) & (known.is_(None) | (known < at))
        with self._writing() as connection:
            connection.execute(keys_table.update().where(older).values(used_at=at))

    def close(self) -> None:
        """See `Backend.close`."""
        self._closed = True
        self._engine.dispose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place!r})"

    def _check_sweep(self, connection: sa.Connection, sweep_id: str) -> None:
        if self._first(connection, _VERSION, sweep_id) is None:
            raise NotFoundError("no such sweep", found=repr(sweep_id), source=self._place)

    def _no_run(self, run_id: str) -> NotFoundError:
        return NotFoundError("no such run", found=repr(run_id), source=self._place)


def _sweep(row: Any) -> Sweep:
    values = dict(zip(Sweep.__struct_fields__, row, strict=True))
    for name in ("config", "meta"):
        values[name] = codec.loads(values[name])
    return Sweep(**values)


def _run(row: Any) -> Run:
    values = dict(zip(Run.__struct_fields__, row, strict=True))
    for name in ("config", "summary", "meta"):
        values[name] = codec.loads(values[name])
    values["stopped_early"] = bool(values["stopped_early"])
    return Run(**values)


def _conditions(query: RunQuery) -> list[sa.ColumnElement[bool]]:
    """What has to hold for the runs of a question."""
    found: list[sa.ColumnElement[bool]] = [runs.c.sweep_id.in_(query.sweeps)]
    if query.states is not None:
        pairs = [(runs.c.state == s) & (runs.c.stopped_early == early) for s, early in query.states]
        found.append(sa.or_(sa.false(), *pairs))
    if query.ids is not None:
        found.append(runs.c.id.in_(query.ids))
    for column, (low, high) in (
        (runs.c.created_at, query.created),
        (runs.c.updated_at, query.updated),
    ):
        found += [column >= low] if low is not None else []
        found += [column <= high] if high is not None else []
    return found


def _part(query: RunQuery, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Some columns of the runs that a question asks for.

    The part is cut out of the runs' numbers: whole runs are not carried through a sort.
    """
    columns_in_order = (runs.c[query.order], runs.c.created_at, runs.c.seq)
    order = [column.desc() if query.descending else column.asc() for column in columns_in_order]
    wanted = select(*columns).order_by(*order)
    if query.limit is None and not query.offset:
        return wanted.where(*_conditions(query))
    inner = select(runs.c.seq).where(*_conditions(query)).order_by(*order)
    inner = inner.limit(query.limit).offset(query.offset or None)
    return wanted.where(runs.c.seq.in_(inner.scalar_subquery()))
