"""The embedded backend: sweeps in one SQLite file, for one machine and any number of processes.

The file is in WAL mode: readers never wait for the writer, nor it for them. Writers queue, within
a process on a lock and between processes on SQLite's own (``BEGIN IMMEDIATE``, so that nobody reads
what he is about to change before his turn). ``synchronous=NORMAL`` hands every commit to the
operating system before `apply` returns: it survives the end of the process, by whatever signal.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc, func, select

from tune_bridge.backends import codec
from tune_bridge.backends.base import Backend, Operation, PatchSweep, Row, Run, Sweep
from tune_bridge.backends.places import default_place
from tune_bridge.backends.schema import HEAD, VERSION_TABLE, clock, events, runs, sweeps
from tune_bridge.backends.work import Work
from tune_bridge.errors import BackendError, InputError, NotFoundError

__all__ = ["LocalBackend"]

_BUSY_TIMEOUT = 30.0
_POINTS = (
    "SELECT step, data FROM history WHERE run = ? AND step IN (SELECT value FROM json_each(?)) "
    "ORDER BY step"
)
_HOLDING = "SELECT step, data FROM history WHERE run = ? AND instr(data, ?) ORDER BY step"
_ROWS = "SELECT step, time, data FROM history WHERE run = ? AND step >= ? ORDER BY step"
_ROWS_HOLDING = (
    "SELECT step, time, data FROM history WHERE run = ? AND step >= ? AND ({}) ORDER BY step"
)

# What is asked all the time goes straight to the driver, as in `tune_bridge.backends.work`.
_ONE_SWEEP = f"SELECT {', '.join(Sweep.__struct_fields__)} FROM sweeps WHERE id = ?"  # noqa: S608
_ONE_RUN = f"SELECT {', '.join(Run.__struct_fields__)} FROM runs WHERE id = ?"  # noqa: S608
_RUN_SEQ = "SELECT seq FROM runs WHERE id = ?"
_VERSION = "SELECT version FROM sweeps WHERE id = ?"
_CLOCK = "SELECT value FROM clock"

_SWEEP = [sweeps.c[name] for name in Sweep.__struct_fields__]
_RUN = [runs.c[name] for name in Run.__struct_fields__]


class LocalBackend(Backend):
    """Sweeps in a SQLite file. Made by `LocalBackend.open`.

    Args:
        engine: Connected to a database whose schema is current.
        busy_timeout: Seconds to wait for another process that writes.

    Attributes:
        url: Where it is, as `open` takes it.
    """

    def __init__(self, engine: sa.Engine, *, busy_timeout: float = _BUSY_TIMEOUT) -> None:
        self.url = engine.url.render_as_string(hide_password=True)
        self._engine = engine
        self._place = engine.url.database or self.url
        self._busy_timeout = busy_timeout
        self._writing = threading.Lock()
        self._closed = False

    @classmethod
    def open(cls, url: str | None = None, *, busy_timeout: float = _BUSY_TIMEOUT) -> LocalBackend:
        """Opens a file, and makes it (and its folders) or brings it up to date where needed.

        Args:
            url: A path or a ``sqlite:///`` URL; None for `default_place`.
            busy_timeout: Seconds to wait for another process that writes.

        Raises:
            BackendError: It is no database of ours, cannot be written, or is from a newer version.
        """
        path = _path(url or default_place())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BackendError(
                f"{path}: the folder for the sweeps cannot be made: {error.strerror or error}; "
                "name another place, or set TUNE_BRIDGE_HOME"
            ) from None
        if path.is_dir():
            raise BackendError(f"{path}: is a folder, expected a file; name a file in it")
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)),
            connect_args={"timeout": busy_timeout, "check_same_thread": False},
            pool_size=4,
            max_overflow=-1,  # a reader never waits for another one
        )
        sa.event.listen(engine, "connect", _set_up)
        backend = cls(engine, busy_timeout=busy_timeout)
        try:
            backend._prepare()
        except BaseException:
            backend.close()
            raise
        return backend

    def _prepare(self) -> None:
        """Makes sure that the file is ours, writable and of the current version."""
        deadline = time.monotonic() + self._busy_timeout
        while True:
            try:
                with self._guard(), self._engine.connect() as connection:
                    # Two processes that switch a fresh file to WAL at once do not wait: retried.
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    if (found := _version(connection)) != HEAD:
                        _upgrade(connection, found, self._place)
                    connection.commit()
            except BackendError as error:
                if "is locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """Turns every error of the driver into one of ours."""
        if self._closed:
            raise BackendError(f"{self._place}: the backend is closed; open it again")
        try:
            yield
        except (exc.DBAPIError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, exc.DBAPIError) else error
            if isinstance(cause, _REFUSALS):
                raise InputError(
                    "a value that the database cannot hold", source=self._place, found=str(cause)
                ) from None
            raise BackendError(f"{self._place}: {cause}{_advice(str(cause))}") from None
        except exc.SQLAlchemyError as error:
            raise BackendError(f"{self._place}: {error}") from None

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the file until it is given back."""
        with self._guard(), self._engine.connect() as connection:
            connection.connection.cursor().execute("BEGIN")
            yield connection

    @contextlib.contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with self._guard(), self._writing, self._engine.connect() as connection:
            # Straight through the driver, which spares a sixth of a small `apply`.
            driver = connection.connection
            driver.cursor().execute("BEGIN IMMEDIATE")
            yield connection
            driver.commit()

    def apply(self, operations: Iterable[Operation]) -> None:
        """See `Backend.apply`."""
        operations = list(operations)
        if not operations:
            return
        with self._write() as connection:
            work = Work(connection)
            try:
                for operation in operations:
                    work.add(operation)
                work.finish()
            except (TypeError, UnicodeError, OverflowError) as error:
                raise InputError(
                    "a value that the database cannot hold", source=self._place, found=str(error)
                ) from None

    def sweep(self, sweep_id: str) -> Sweep:
        """See `Backend.sweep`."""
        with self._read() as connection:
            row = _first(connection, _ONE_SWEEP, sweep_id)
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
        with self._read() as connection:
            found = connection.execute(query.limit(limit).offset(offset)).all()
        return [_sweep(row) for row in found]

    def run(self, run_id: str) -> Run:
        """See `Backend.run`."""
        with self._read() as connection:
            row = _first(connection, _ONE_RUN, run_id)
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
        query = select(*_RUN).where(runs.c.sweep_id == sweep_id)
        if states is not None:
            query = query.where(runs.c.state.in_(sorted(states)))
        query = query.order_by(runs.c.created_at, runs.c.seq)
        if limit is not None or offset:
            # SQLite knows no offset without a limit; -1 is its "all".
            query = query.limit(-1 if limit is None else limit).offset(offset)
        with self._read() as connection:
            self._check_sweep(connection, sweep_id)
            found = connection.execute(query).all()
        return [_run(row) for row in found]

    def counts(self, sweep_ids: Iterable[str]) -> dict[str, dict[str, int]]:
        """See `Backend.counts`."""
        result: dict[str, dict[str, int]] = {}
        wanted = list(dict.fromkeys(sweep_ids))
        with self._read() as connection:
            for start in range(0, len(wanted), 500):  # SQLite limits the variables of a statement
                query = (
                    select(runs.c.sweep_id, runs.c.state, func.count())
                    .where(runs.c.sweep_id.in_(wanted[start : start + 500]))
                    .group_by(runs.c.sweep_id, runs.c.state)
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
                statement = _ROWS_HOLDING.format(" OR ".join(["instr(data, ?)"] * len(needles)))
            else:
                needles = []
        with self._read() as connection:
            found = _first(connection, _RUN_SEQ, run_id)
            if found is None:
                raise self._no_run(run_id)
            cursor = connection.connection.cursor()
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

    def histories(
        self, sweep_id: str, key: str, *, max_points: int = 500
    ) -> dict[str, list[tuple[int, float]]]:
        """See `Backend.histories`."""
        result: dict[str, list[tuple[int, float]]] = {}
        query = select(runs.c.id, runs.c.seq, runs.c.rows, runs.c.last_step).where(
            runs.c.sweep_id == sweep_id, runs.c.rows > 0
        )
        max_points = max(1, max_points)
        value = codec.Picker(key)
        with self._read() as connection:
            self._check_sweep(connection, sweep_id)
            found = connection.execute(query.order_by(runs.c.created_at, runs.c.seq)).all()
            cursor = connection.connection.cursor()
            for run_id, seq, rows, last_step in found:
                points: list[tuple[int, float]] = []
                if rows > max_points and rows == last_step + 1:
                    # Steps without a gap: a metric that is in all rows is thinned by looking
                    # only at the rows that stay.
                    steps = json.dumps(_even(rows, max_points))
                    points = value.points(_fetch(cursor, _POINTS, (seq, steps)))
                if len(points) < max_points:
                    needle = codec.key_text(key) or ""
                    points = value.points(_fetch(cursor, _HOLDING, (seq, needle)))
                    if len(points) > max_points:
                        points = [points[i] for i in _even(len(points), max_points)]
                if points:
                    result[run_id] = points
            cursor.close()
        return result

    def events(
        self, sweep_id: str, *, first: int = 0, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """See `Backend.events`."""
        with self._read() as connection:
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
        query = (_CLOCK,) if sweep_id is None else (_VERSION, sweep_id)
        with self._guard(), self._engine.connect() as connection:
            found = _first(connection, *query)
        return "" if found is None else str(found[0])

    def delete_sweep(self, sweep_id: str) -> None:
        """See `Backend.delete_sweep`."""
        with self._write() as connection:
            deleted = connection.execute(sweeps.delete().where(sweeps.c.id == sweep_id))
            if deleted.rowcount:
                connection.execute(clock.update().values(value=clock.c.value + 1))

    def delete_run(self, run_id: str) -> None:
        """See `Backend.delete_run`."""
        with self._write() as connection:
            query = select(runs.c.sweep_id).where(runs.c.id == run_id)
            sweep_id = connection.execute(query).scalar()
            if sweep_id is None:
                return
            connection.execute(runs.delete().where(runs.c.id == run_id))
            work = Work(connection)
            work.add(PatchSweep(sweep_id, {}, time.time()))  # so that its version changes
            work.finish()

    def close(self) -> None:
        """See `Backend.close`."""
        self._closed = True
        self._engine.dispose()

    def __repr__(self) -> str:
        return f"LocalBackend({self._place!r})"

    def _check_sweep(self, connection: sa.Connection, sweep_id: str) -> None:
        if _first(connection, _VERSION, sweep_id) is None:
            raise NotFoundError("no such sweep", found=repr(sweep_id), source=self._place)

    def _no_run(self, run_id: str) -> NotFoundError:
        return NotFoundError("no such run", found=repr(run_id), source=self._place)


# What SQLite says to a value, not about the file.
_REFUSALS = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    sqlite3.DataError,
)


def _path(url: str) -> Path:
    """The file that a path or URL names."""
    if "://" not in url:
        if url == ":memory:":
            raise BackendError(
                "':memory:' is no place to keep sweeps: other threads and processes cannot see it; "
                "name a file"
            )
        return Path(url).expanduser().absolute()
    try:
        parsed = sa.engine.make_url(url)
    except exc.ArgumentError:
        raise BackendError(
            f"{url!r} is no URL of a backend; expected a path or sqlite:///path/to/sweeps.db"
        ) from None
    if parsed.get_backend_name() != "sqlite":
        raise BackendError(
            f"{parsed.get_backend_name()!r} is no kind of database that this version can use; "
            "expected a path or sqlite:///path/to/sweeps.db"
        )
    if not parsed.database or parsed.database == ":memory:":
        raise BackendError(f"{url!r} names no file; expected sqlite:///path/to/sweeps.db")
    return Path(parsed.database).expanduser().absolute()


def _set_up(connection: Any, _record: object) -> None:
    """What every connection needs; transactions are begun by hand."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _version(connection: sa.Connection) -> str | None:
    """The schema's version, None for a file that is empty."""
    names = sa.inspect(connection).get_table_names()
    if VERSION_TABLE in names:
        found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()  # noqa: S608
        return str(found) if found is not None else None
    if names:
        raise BackendError(
            f"{connection.engine.url.database}: is a database of another program (it has a table "
            f"{sorted(names)[0]!r}); name another file"
        )
    return None


_UPGRADING = threading.Lock()
"""Alembic keeps its context in a global variable: two files at once, in two threads, mix it up."""


def _upgrade(connection: sa.Connection, found: str | None, place: str) -> None:
    """Brings the schema up to date in the transaction that is open."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from tune_bridge.backends import migrations

    folder = Path(migrations.__file__).parent
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise BackendError(
            f"{place}: was written by a newer tune-bridge (schema {found}, this one knows {HEAD}); "
            "upgrade tune-bridge, or name another file"
        )
    with _UPGRADING:
        command.upgrade(config, "head")


def _advice(message: str) -> str:
    """What to do about an error of SQLite."""
    for part, advice in (
        ("not a database", "name another file, or move this one away"),
        ("malformed", "restore it from a copy, or move it away"),
        ("readonly", "make the file and its folder writable, or name another place"),
        ("unable to open", "check that the folder exists and can be written, or name another"),
        ("locked", "another process writes for very long; try again"),
        ("full", "make room and try again"),
    ):
        if part in message:
            return f"; {advice}"
    return ""


def _first(connection: sa.Connection, statement: str, *values: Any) -> Any:
    """The first row of what a statement finds, None without any."""
    cursor = connection.connection.cursor()
    cursor.execute(statement, values)
    row = cursor.fetchone()
    cursor.close()
    return row


def _fetch(cursor: Any, statement: str, values: tuple[Any, ...]) -> Iterable[tuple[int, str]]:
    cursor.execute(statement, values)
    return cursor.fetchall()  # type: ignore[no-any-return]


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


def _even(number: int, points: int) -> list[int]:
    """Up to `points` indexes of `number` things, evenly spread, with the first and the last."""
    if number <= points:
        return list(range(number))
    if points == 1:
        return [number - 1]
    return [i * (number - 1) // (points - 1) for i in range(points)]
