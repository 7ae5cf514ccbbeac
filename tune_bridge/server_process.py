"""The one server of a place: its lock, how it is found, and how one is started.

Beside the place lie ``<place>.server.lock``, held by the process that drives its sweeps, and
``<place>.server.json``, readable by its user alone, with the URL and the key. Places that are no
files have them in ``servers`` below `tune_bridge.backends.places.home`.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlsplit

import msgspec

from tune_bridge.backends.places import canonical, home, shown
from tune_bridge.backends.wandb import is_wandb
from tune_bridge.errors import BackendError, InputError

__all__ = [
    "IDLE_EXIT",
    "Address",
    "Files",
    "announce",
    "ensure_server",
    "files_of",
    "find_server",
    "own_place",
]

IDLE_EXIT = 60.0
"""Seconds without a request after which a server that was started by `ensure_server` ends."""

_PROBE = 5.0
_READY = 90.0
_PAUSE = 0.05


class Address(msgspec.Struct, frozen=True):
    """A server that runs.

    Attributes:
        url: ``http://host:port``.
        key: What every request has to carry, or None.
        pid: Its process.
    """

    url: str
    key: str | None = None
    pid: int = 0


class Files(NamedTuple):
    """What a server keeps beside its place.

    Attributes:
        lock: Held by the process that drives the place.
        start: Held by whoever is starting one.
        about: Its address.
        log: What a server says that was started by `ensure_server`.
        snapshots: A folder for `tune_bridge.controller.snapshots`.
        store: The folder with ``checkpoints`` and ``output``.
    """

    lock: Path
    start: Path
    about: Path
    log: Path
    snapshots: Path
    store: Path


def files_of(place: str | None = None) -> Files:
    """The files of a place, however it is named; see `tune_bridge.backends.open_backend`."""
    name = canonical(place)
    if is_wandb(name):
        raise InputError(
            "W&B drives its sweeps itself",
            path="--backend",
            found=name,
            expected="a place of our own for a server",
            hint="for sweeps at W&B: tune-bridge controller, run, push or pull",
        )
    if name.startswith("sqlite:///"):
        base = Path(os.path.realpath(name.removeprefix("sqlite:///")))
        store = base.parent
    else:
        base = home() / "servers" / hashlib.sha256(shown(place).encode()).hexdigest()[:16]
        store = base

    def beside(ending: str) -> Path:
        return base.with_name(f"{base.name}.{ending}")

    return Files(
        beside("server.lock"),
        beside("server.start"),
        beside("server.json"),
        beside("server.log"),
        beside("snapshots"),
        store,
    )


@contextlib.contextmanager
def own_place(place: str | None = None) -> Iterator[Files]:
    """Makes this process the one that drives a place.

    Raises:
        BackendError: Another process does; naming it.
    """
    files = files_of(place)
    with _locked(files.lock) as lock:
        if lock is None:
            found = _read(files.about)
            who = f"process {found.pid} at {found.url}" if found else "another process"
            raise BackendError(
                f"{shown(place)}: {who} drives the sweeps of this place already; "
                "use that one, stop it, or name another place with --backend"
            )
        try:
            yield files
        finally:
            if (found := _read(files.about)) and found.pid == os.getpid():
                files.about.unlink(missing_ok=True)


def announce(files: Files, address: Address) -> None:
    """Says where the server of a place is, to its user alone.

    Raises:
        BackendError: It cannot be written.
    """
    name = ""
    try:
        # Made with mode 0600, and renamed: nobody sees half of it, or a file that others may read.
        descriptor, name = tempfile.mkstemp(dir=files.about.parent, prefix=".server-")
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(address))
        Path(name).replace(files.about)
    except OSError as error:
        if name:
            Path(name).unlink(missing_ok=True)
        raise BackendError(f"{files.about}: cannot be written: {error.strerror}") from None


def find_server(place: str | None = None) -> Address | None:
    """The server of a place on this machine, when it runs and answers.

    Args:
        place: See `tune_bridge.backends.open_backend`.
    """
    found = _read(files_of(place).about)
    return found if found is not None and _answers(found) else None


def ensure_server(place: str | None = None, *, timeout: float = _READY) -> Address:
    """The server of a place on this machine, started in the background when none runs.

    It listens on the loopback interface, with a key of its own, and ends when nobody has asked
    anything for `IDLE_EXIT` seconds.

    Args:
        place: See `tune_bridge.backends.open_backend`.
        timeout: Seconds to wait for it.

    Raises:
        BackendError: It does not start, or somebody drives the place who does not answer.
    """
    until = time.monotonic() + timeout
    files = files_of(place)
    while True:
        if found := find_server(place):
            return found
        # Of many who want it, one starts it.
        with _locked(files.start) as lock:
            if lock is not None:
                return find_server(place) or _start(place, files, until)
        if time.monotonic() > until:
            raise BackendError(f"{shown(place)}: its server does not answer; see {files.log}")
        time.sleep(_PAUSE)


def _start(place: str | None, files: Files, until: float) -> Address:
    arguments = ["--port", "0", "--idle-exit", f"{IDLE_EXIT:g}"]
    # Other users can see arguments, and a place may hold a password.
    secret = {"TUNE_BRIDGE_BACKEND": canonical(place), "TUNE_BRIDGE_KEY": secrets.token_hex(20)}
    with _private(files.log, os.O_TRUNC) as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tune_bridge", "server", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **secret},
            start_new_session=True,  # Ctrl-C here is not for it
            cwd=files.log.parent,
        )
    while True:
        ended = process.poll() is not None
        found = _read(files.about)
        # Somebody else may have started one by hand in the meantime: that one is as good.
        if found is not None and _answers(found):
            return found
        if ended:
            raise BackendError(f"no server could be started: {_last_line(files.log)}")
        if time.monotonic() > until:
            process.kill()
            process.wait()
            raise BackendError(f"the server does not become ready; see {files.log}")
        time.sleep(_PAUSE)


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1].removeprefix("error: ") if lines else f"see {log}"


def _answers(address: Address) -> bool:
    """Whether this server is there, and is the one that wrote the address."""
    parts = urlsplit(address.url)
    headers = {"Authorization": f"Bearer {address.key}"} if address.key else {}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PROBE)
    try:
        connection.request("GET", "/api/server", headers=headers)
        return bool(json.loads(connection.getresponse().read())["pid"] == address.pid)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False
    finally:
        connection.close()


def _read(about: Path) -> Address | None:
    try:
        return msgspec.json.decode(about.read_bytes(), type=Address)
    except (OSError, msgspec.MsgspecError):
        return None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[bytes] | None]:
    """A lock between processes, or None when another one has it; it ends with the process."""
    with _private(path) as file:
        if not _lock(file):
            yield None
            return
        yield file


def _lock(file: IO[bytes]) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _private(path: Path, flags: int = 0) -> IO[bytes]:
    """A file for this user alone, opened for writing.

    Raises:
        BackendError: It cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600), "r+b")
    except OSError as error:
        raise BackendError(f"{path}: cannot be written: {error.strerror or error}") from None
