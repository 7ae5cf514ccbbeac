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
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from tune_bridge.backends.base import Operation
from tune_bridge.backends.dialect import PUT_ROWS, Dialect, StoredRow
from tune_bridge.backends.places import default_place, hidden
from tune_bridge.backends.sql import SqlBackend
from tune_bridge.backends.upgrade import bring_up_to_date
from tune_bridge.errors import BackendError, InputError

__all__ = ["LocalBackend"]

_BUSY_TIMEOUT = 30.0
_EXPECTED = "a path, sqlite:///path/to/sweeps.db or postgresql://user@host/database"
_PUT_ROWS = PUT_ROWS.format("VALUES (?, ?, ?, ?)")


class _Sqlite(Dialect):
    holds = "instr(data, ?)"
    among = "step IN (SELECT value FROM json_each(?))"
    numbers = "json_each(?)"
    lock = ""  # nobody else writes
    clock = "SELECT value FROM clock"
    tick = "UPDATE clock SET value = value + 1"
    stamp = "(SELECT value FROM clock)"

    def cursor(self, driver: Any) -> Any:
        return driver.cursor()

    def steps(self, steps: Sequence[int]) -> str:
        return json.dumps(steps)

    def reserve(self, cursor: Any, operations: Iterable[Operation]) -> None:
        """The whole file is."""

    def put_rows(self, cursor: Any, rows: list[StoredRow]) -> None:
        cursor.executemany(_PUT_ROWS, rows)


class LocalBackend(SqlBackend):
    """Sweeps in a SQLite file. Made by `LocalBackend.open`.

    Args:
        engine: Connected to a database whose schema is current.
        busy_timeout: Seconds to wait for another process that writes.

    Attributes:
        url: Where it is, as `open` takes it.
    """

    errors = (exc.SQLAlchemyError, sqlite3.Error)

    def __init__(self, engine: sa.Engine, *, busy_timeout: float = _BUSY_TIMEOUT) -> None:
        super().__init__(engine, _Sqlite(), engine.url.database or "")
        self.url = engine.url.render_as_string(hide_password=True)
        self._busy_timeout = busy_timeout
        self._turn = threading.Lock()

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
        return cls(engine, busy_timeout=busy_timeout)._prepared()

    def _prepare(self) -> None:
        deadline = time.monotonic() + self._busy_timeout
        while True:
            try:
                with self._guard(), self._engine.connect() as connection:
                    # Two processes that switch a fresh file to WAL at once do not wait: retried.
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    bring_up_to_date(connection, self._place, "name another file")
                    connection.commit()
            except BackendError as error:
                if "is locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._guard(), self._begun("BEGIN") as connection:
            yield connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._guard(), self._turn, self._begun("BEGIN IMMEDIATE") as connection:
            yield connection
            # Straight through the driver, which spares a sixth of a small `apply`.
            connection.connection.commit()

    def _lost(self, error: Exception, connection: sa.Connection) -> bool:
        return False

    def _refine(self, error: Exception) -> Exception:
        cause = error.orig if isinstance(error, exc.DBAPIError) else error
        if isinstance(cause, _REFUSALS):
            return InputError(
                "a value that the database cannot hold", source=self._place, found=str(cause)
            )
        return BackendError(f"{self._place}: {cause}{_advice(str(cause))}")


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
            f"{hidden(url)!r} is no URL of a backend; expected {_EXPECTED}"
        ) from None
    if parsed.get_backend_name() != "sqlite":
        raise BackendError(
            f"{parsed.get_backend_name()!r} is no kind of database that this version can use; "
            f"expected {_EXPECTED}"
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
