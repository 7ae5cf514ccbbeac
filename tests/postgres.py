"""A PostgreSQL server for the tests, from Debian's package, in a folder of its own.

PostgreSQL refuses to run as root; there, it runs as the user of Debian's package, or as nobody.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.programs import require_program

__all__ = ["Cluster", "running"]

_READY = 120.0
_SETTINGS = (
    "fsync=off",
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "shared_buffers=16MB",
)
_PASSWORD = "s3cret:@/pw"
"""With what a URL has to escape, and messages have to hide."""


class Cluster:
    """A server that listens on the loopback interface.

    Args:
        folder: Its data; it may be read by the server's user.
        programs: The folder with PostgreSQL's programs.

    Attributes:
        port: Where it listens.
        password: Of its user "tester".
    """

    password = _PASSWORD

    def __init__(self, folder: Path, programs: Path) -> None:
        self._programs = programs
        self._data = folder / "data"
        self._log = folder / "log"
        self._process: subprocess.Popen | None = None
        self._made = 0
        self._ready: str | None = None
        self.port = _free_port()
        secret = folder / "password"
        secret.write_text(f"{_PASSWORD}\n")
        if os.geteuid() == 0:
            user = _unprivileged()
            for path in (folder, secret):
                os.chown(path, user.pw_uid, user.pw_gid)
        self._run(
            "initdb", "-D", self._data, "-U", "tester", "-E", "UTF8", "--locale=C", "--no-sync",
            "-A", "scram-sha-256", f"--pwfile={secret}",
        )  # fmt: skip

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-p", str(self.port), *settings],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **_as_user(),
            )  # fmt: skip
        until = time.monotonic() + _READY
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """Stops it at once, and breaks all connections; a start finds all that was committed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # "immediate"
            self._process.wait(_READY)
            self._process = None

    def url(self, database: str, user: str = "tester", password: str | None = None) -> str:
        """The URL of a database."""
        from urllib.parse import quote

        secret = quote(_PASSWORD if password is None else password, safe="")
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres"):
        """A connection of one's own, without transactions."""
        import psycopg

        return psycopg.connect(self.url(database), autocommit=True)

    def ready(self) -> str:
        """The URL of a database with our tables, empty; the same one each time, which is quick."""
        if self._ready is None:
            from tune_bridge.backends import open_backend

            self._ready = self.create()
            open_backend(self._ready).close()
            return self._ready
        name = self._ready.rpartition("/")[2]
        with self.connect(name) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
                "WHERE datname = %s AND pid <> pg_backend_pid()",
                [name],
            )
            connection.execute("TRUNCATE sweeps, keys CASCADE")
        return self._ready

    def create(self, more: str = "") -> str:
        """Makes a fresh database, and gives its URL."""
        self._made += 1
        name = f"test{self._made}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} {more}")
        return self.url(name)

    def _answers(self) -> bool:
        import psycopg

        with contextlib.suppress(psycopg.OperationalError), self.connect():
            return True
        return False

    def _run(self, program: str, *words: object) -> None:
        done = subprocess.run(
            [self._programs / program, *map(str, words)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **_as_user(),
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """A server that runs; without the programs the test skips, or fails in CI."""
    programs = require_program("postgres").resolve().parent
    # Not in pytest's folder, which only its own user may enter.
    folder = Path(tempfile.mkdtemp(prefix="tune-bridge-postgres-"))
    try:
        cluster = Cluster(folder, programs)
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("there is neither a user postgres nor a user nobody")


def _as_user() -> dict:
    about = {"cwd": "/", "env": {"PATH": os.defpath, "LC_ALL": "C"}}
    if os.geteuid() == 0:
        user = _unprivileged()
        about |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return about


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
