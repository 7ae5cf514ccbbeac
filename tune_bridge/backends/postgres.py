"""Sweeps in a PostgreSQL database, for a team: any number of machines, one place.

Who changes a sweep or its runs locks the sweep's row first, in the order of their ids, so that two
sweeps never wait for each other and one is changed by one `apply` at a time. Readers see one state
(``REPEATABLE READ``) and wait for nobody. The version of everything is PostgreSQL's own list of
transactions, so that no counter makes writers queue.

An `apply` that ends in a deadlock, or finds its connection gone, is done again: applying twice
changes nothing.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from tune_bridge.backends.base import (
    LogEvents,
    LogRows,
    Operation,
    PatchRun,
    PatchSweep,
    PutRun,
    PutSweep,
)
from tune_bridge.backends.dialect import PUT_ROWS, Dialect, StoredRow
from tune_bridge.backends.places import hidden, shown
from tune_bridge.backends.sql import SqlBackend
from tune_bridge.backends.upgrade import bring_up_to_date
from tune_bridge.errors import BackendError, InputError, MissingExtraError, OccupiedError

try:
    import psycopg
    from psycopg.types.string import StrDumperUnknown, TextLoader
except ImportError as _error:
    raise MissingExtraError("psycopg", "postgres", "PostgreSQL as a place for sweeps") from _error

__all__ = ["PostgresBackend"]

_OLDEST = 130000
"""PostgreSQL 13: the first with ``pg_current_snapshot``."""

_LOCK_TIMEOUT = 30.0
_ATTEMPTS = 8
_LOCK = 0x74756E65
"""Tells our advisory locks from those of other programs in the same database."""

_PUT_ROWS = PUT_ROWS.format(
    "SELECT * FROM unnest(?::bigint[], ?::bigint[], ?::double precision[], ?::text[])"
)
_RESERVE = (
    "SELECT FROM sweeps WHERE id = "
    "ANY(?::text[] || ARRAY(SELECT sweep_id FROM runs WHERE id = ANY(?::text[]))) "
    "ORDER BY id FOR UPDATE"
)
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_BEGIN_WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED"
_TAKE = f"SELECT pg_try_advisory_lock(hashtextextended(?, {_LOCK}))"
_GIVE = f"SELECT pg_advisory_unlock(hashtextextended(?, {_LOCK}))"
_HOLDER = f"""
    SELECT application_name, coalesce(client_addr::text, 'its own machine')
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint << 32) | objid::bigint = hashtextextended(?, {_LOCK})
"""  # noqa: S608

_ESCAPE = "\ufdd0"
"""Begins what stands for NUL, which PostgreSQL's text cannot hold; Unicode has it for such uses."""


class _Dumper(StrDumperUnknown):
    def dump(self, obj: str) -> Any:
        if "\0" in obj or _ESCAPE in obj:
            obj = obj.replace(_ESCAPE, f"{_ESCAPE}1").replace("\0", f"{_ESCAPE}0")
        return super().dump(obj)


class _Loader(TextLoader):
    def load(self, data: Any) -> Any:
        text = super().load(data)
        if isinstance(text, str) and _ESCAPE in text:
            return text.replace(f"{_ESCAPE}0", "\0").replace(f"{_ESCAPE}1", _ESCAPE)
        return text


@functools.lru_cache(256)
def _worded(statement: str) -> bytes:
    return statement.replace("?", "%s").encode()


class _Cursor:
    """A cursor that takes ``?``."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.fetchone, self.fetchall, self.close = cursor.fetchone, cursor.fetchall, cursor.close

    @property
    def rowcount(self) -> int:
        return int(self._cursor.rowcount)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        self._cursor.execute(_worded(statement), values)

    def executemany(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        self._cursor.executemany(_worded(statement), values)


class _Postgres(Dialect):
    holds = "strpos(data, ?) > 0"
    among = "step = ANY(?::bigint[])"
    numbers = "unnest(?::bigint[]) AS numbers (value)"
    lock = " FOR UPDATE"
    clock = "SELECT pg_current_snapshot()::text"
    tick = ""
    stamp = "greatest(version + 1, pg_current_xact_id()::text::bigint)"

    def cursor(self, driver: Any) -> Any:
        return _Cursor(driver.cursor())

    def steps(self, steps: Sequence[int]) -> list[int]:
        return list(steps)

    def reserve(self, cursor: Any, operations: Iterable[Operation]) -> None:
        named: set[str] = set()
        of_runs: set[str] = set()
        for operation in operations:
            if isinstance(operation, LogRows):
                of_runs.add(operation.run_id)
            elif isinstance(operation, PatchRun):
                of_runs.add(operation.id)
            elif isinstance(operation, PutRun):
                named.add(operation.run.sweep_id)
            elif isinstance(operation, PatchSweep):
                named.add(operation.id)
            elif isinstance(operation, LogEvents):
                named.add(operation.sweep_id)
            elif isinstance(operation, PutSweep):
                named.add(operation.sweep.id)
        cursor.execute(_RESERVE, (list(named), list(of_runs)))

    def put_rows(self, cursor: Any, rows: list[StoredRow]) -> None:
        # A statement may touch a row once.
        kept: dict[tuple[int, int], StoredRow] = {}
        for row in rows:
            there = kept.get(row[:2])
            if there is None or row[2] >= there[2]:
                kept[row[:2]] = row
        columns = zip(*kept.values(), strict=True)
        # Texts of arrays, made here: the driver looks at each element by itself.
        cursor.execute(
            _PUT_ROWS, [_array(map(*pair)) for pair in zip(_TEXTS, columns, strict=True)]
        )


def _array(items: Iterable[str]) -> str:
    return f"{{{','.join(items)}}}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_TEXTS: tuple[Callable[[Any], str], ...] = (str, str, repr, _quoted)
"""How the columns of a history row stand in the text of an array."""


class PostgresBackend(SqlBackend):
    """Sweeps in a PostgreSQL database. Made by `PostgresBackend.open`.

    Args:
        engine: Connected to a database whose schema is current.
        place: Its URL without the password.

    Attributes:
        url: `place`.
    """

    errors = (exc.SQLAlchemyError, psycopg.Error)

    def __init__(self, engine: sa.Engine, place: str) -> None:
        super().__init__(engine, _Postgres(), place)
        self._steering = _Steering(engine)

    @classmethod
    def open(cls, url: str, *, lock_timeout: float = _LOCK_TIMEOUT) -> PostgresBackend:
        """Opens a database, and makes the tables or brings them up to date where needed.

        Args:
            url: ``postgresql://user:password@host:port/database``, with options of libpq as its
                query. What it leaves out comes from libpq's environment (``PGPASSWORD``, ...) and
                files (``~/.pgpass``).
            lock_timeout: Seconds to wait for another process that writes to the same sweep.

        Raises:
            BackendError: It cannot be reached, is not ours, or is from a newer version.
        """
        place = shown(url)
        try:
            parsed = sa.engine.make_url(url)
        except (exc.ArgumentError, ValueError):
            raise BackendError(
                f"{hidden(url)!r} is no URL of a database; "
                "expected postgresql://user:password@host:port/database"
            ) from None
        engine = sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            isolation_level="AUTOCOMMIT",  # transactions are begun by hand
            connect_args={**_CONNECT, "application_name": _name(), **_connect_options(parsed)},
            pool_size=5,
            max_overflow=15,
        )

        def set_up(connection: Any, _record: object) -> None:
            connection.adapters.register_dumper(str, _Dumper)
            connection.adapters.register_loader("text", _Loader)
            connection.execute(f"SET lock_timeout = {int(lock_timeout * 1000)}")

        sa.event.listen(engine, "connect", set_up)
        return cls(engine, place)._prepared()

    def _prepare(self) -> None:
        with self._writing() as connection:
            found = connection.connection.driver_connection.info.server_version  # type: ignore[union-attr]
            if found < _OLDEST:
                raise BackendError(
                    f"{self._place}: is PostgreSQL {found // 10000}, expected 13 or newer"
                )
            encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
            if encoding != "UTF8":
                raise BackendError(
                    f"{self._place}: its encoding is {encoding}, expected UTF8; make the database "
                    "with: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
                )
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            bring_up_to_date(
                connection,
                self._place,
                "name a database or a schema of its own (?options=-csearch_path=NAME)",
            )

    def apply(self, operations: Iterable[Operation]) -> None:
        """See `Backend.apply`."""
        operations = list(operations)
        if operations:
            self._again_if_in_vain(lambda: super(PostgresBackend, self).apply(operations))

    def delete_sweep(self, sweep_id: str) -> None:
        """See `Backend.delete_sweep`."""
        self._again_if_in_vain(lambda: super(PostgresBackend, self).delete_sweep(sweep_id))
        self._steering.leave(sweep_id)

    def delete_run(self, run_id: str) -> None:
        """See `Backend.delete_run`."""
        self._again_if_in_vain(lambda: super(PostgresBackend, self).delete_run(run_id))

    def steer(self, sweep_id: str) -> None:
        """See `Backend.steer`."""
        with self._guard():
            self._steering.take(sweep_id)

    def close(self) -> None:
        """See `Backend.close`."""
        self._steering.close()
        super().close()

    @staticmethod
    def _again_if_in_vain(work: Any) -> None:
        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(_InVainError):
                work()
                return
        work()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._guard(), self._begun(_BEGIN_READING) as connection:
            yield connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._guard(), self._begun(_BEGIN_WRITING) as connection:
            yield connection
            connection.connection.commit()

    def _lost(self, error: Exception, connection: sa.Connection) -> bool:
        cause = error.orig if isinstance(error, exc.DBAPIError) else error
        state = getattr(cause, "sqlstate", None)
        lost = isinstance(cause, psycopg.OperationalError) and (state is None or state[:2] in _GONE)
        if lost:
            connection.invalidate()
            self._engine.dispose()  # the others of the pool are most likely gone, too
        return lost

    def _refine(self, error: Exception) -> Exception:
        cause = error.orig if isinstance(error, exc.DBAPIError) else error
        state = getattr(cause, "sqlstate", None) or ""
        said = getattr(getattr(cause, "diag", None), "message_primary", None) or str(cause)
        words = " ".join(hidden(said).split()) or type(cause).__name__
        if isinstance(cause, psycopg.DataError) or state[:2] in _REFUSED or state == "42804":
            return InputError("a value that the database cannot hold", source=self.url, found=words)
        if not state and isinstance(cause, psycopg.ProgrammingError):  # a type that it cannot adapt
            return InputError("a value that the database cannot hold", source=self.url, found=words)
        kind = _InVainError if state in _IN_VAIN else BackendError
        return kind(f"{self._place}: {words}{_advice(words)}")


class _InVainError(BackendError):
    """Another transaction was in the way; the next try may find it gone."""


class _Steering:
    """The sweeps that this process steers: advisory locks, all on one connection of their own.

    They end with the connection, however the process ends. When the connection breaks, they are
    taken again on the next one, unless another process was quicker.
    """

    checked_every = 1.0
    """Seconds for which a connection is taken for alive."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._connection: sa.Connection | None = None
        self._held: set[str] = set()
        self._checked = 0.0

    def take(self, name: str) -> None:
        """Takes one, or makes sure that it still has it, as of a second ago.

        Raises:
            OccupiedError: Another process has it.
        """
        with self._lock:
            now = time.monotonic()
            if name in self._held and now - self._checked < self.checked_every:
                return
            try:
                self._check()
            except (exc.SQLAlchemyError, psycopg.Error):
                self._drop()
                self._check()
            self._checked = now
            if name in self._held:
                return
            if not self._ask(_TAKE, name)[0]:
                holder = self._ask(_HOLDER, name)
                who = "{} at {}".format(*holder) if holder else "another server"
                raise OccupiedError(
                    f"sweep {name}: {who} steers it; name that server with --server, or stop it"
                )
            self._held.add(name)

    def leave(self, name: str) -> None:
        """Gives one back; nothing happens when it has none."""
        with self._lock, contextlib.suppress(exc.SQLAlchemyError, psycopg.Error):
            if name in self._held:
                self._held.discard(name)
                self._ask(_GIVE, name)

    def close(self) -> None:
        """Gives all back."""
        with self._lock:
            if self._connection is not None:
                # The end of a connection takes a moment to arrive.
                with contextlib.suppress(exc.SQLAlchemyError, psycopg.Error):
                    self._ask("SELECT pg_advisory_unlock_all()")
            self._held.clear()
            self._drop()

    def _check(self) -> None:
        """Makes sure that there is a connection, and that it has what it held."""
        if self._connection is not None:
            self._ask("SELECT 1")
            return
        self._connection = self._engine.connect()
        self._held = {name for name in self._held if self._ask(_TAKE, name)[0]}

    def _ask(self, statement: str, *values: Any) -> Any:
        assert self._connection is not None
        cursor = _Cursor(self._connection.connection.cursor())
        cursor.execute(statement, values)
        row = cursor.fetchone()
        cursor.close()
        return row

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()  # closed, and never given to anybody with the locks
            self._connection.close()
            self._connection = None


_REFUSED = ("22", "23", "54")
"""Classes of SQLSTATE that speak of a value: its form, what it points to, its size."""

_GONE = ("08", "57")
"""Classes of SQLSTATE for a connection that is no more, or a server that is being stopped."""

_IN_VAIN = ("40001", "40P01")
"""A transaction that came too late, and one that had to give way in a deadlock."""

_CONNECT: dict[str, Any] = {
    "connect_timeout": 10,
    "client_encoding": "utf8",
    # A network that swallows everything is noticed after some 60 s, not after a quarter of an hour.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def _connect_options(url: sa.URL) -> dict[str, Any]:
    """What a URL says itself about what is in `_CONNECT`."""
    return {
        name: value for name, value in url.query.items() if name in {*_CONNECT, "application_name"}
    }


def _name() -> str:
    """How this process is called in PostgreSQL's lists, which keep 63 bytes."""
    return f"tune-bridge, process {os.getpid()} on {socket.gethostname()}"[:60]


def _advice(message: str) -> str:
    """What to do about an error of PostgreSQL."""
    for part, advice in (
        ("password authentication failed", "check the user and the password"),
        ("no password supplied", "put it into the URL, PGPASSWORD or ~/.pgpass"),
        ("does not exist", "make it, or name another one"),
        ("permission denied", "let this user make tables there: GRANT CREATE ON SCHEMA ..."),
        ("Connection refused", "start the server, or check host and port"),
        ("could not translate host name", "check the host's name"),
        ("failed to resolve host", "check the host's name"),
        ("too many clients", "raise max_connections of the server, or stop other programs"),
        ("lock timeout", "another process writes to this sweep for very long; try again"),
        ("No space left", "make room and try again"),
    ):
        if part in message:
            return f"; {advice}"
    return ""
