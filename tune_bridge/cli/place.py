"""Which sweeps a command is about: a server's, or those of a place on this machine."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import quote

import click
import msgspec

from tune_bridge.cli.options import TEXT

if TYPE_CHECKING:
    from tune_bridge.agents import Server
    from tune_bridge.backends import Backend

__all__ = ["Sweeps", "Where", "id_of", "place_options"]

_PAGE = 1000


class Where(NamedTuple):
    """What the options of `place_options` say."""

    server: str | None
    key: str | None
    backend: str | None

    def connect(self) -> Server:
        """The server that is meant, started when it is this machine's own and does not run.

        Raises:
            BackendError: It does not answer, or cannot be started.
        """
        from tune_bridge.api import connect

        return connect(self.server, self.key, self.backend)

    @contextmanager
    def read(self) -> Iterator[Sweeps]:
        """The sweeps to look at: a server's when one is named, else straight from the place.

        Raises:
            BackendError: It does not answer, or cannot be read.
        """
        named = self.server or (self.backend is None and os.environ.get("TUNE_BRIDGE_SERVER"))
        if named:
            yield _OfServer(self.connect())
            return
        from tune_bridge.backends import open_backend

        with open_backend(self.backend) as backend:
            yield _OfPlace(backend)


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--server``, ``--key`` and ``--backend``, given to the command as one `Where`."""

    @click.option(
        "--server", type=TEXT, metavar="URL", help="The server; this machine's own without."
    )
    @click.option("--key", metavar="KEY", help="The server's key; better in TUNE_BRIDGE_KEY.")
    @click.option(
        "--backend",
        "--storage",
        type=TEXT,
        metavar="URL",
        help="Where the sweeps live on this machine.",
    )
    @functools.wraps(command)
    def wrapped(
        server: str | None, key: str | None, backend: str | None, *args: Any, **kwargs: Any
    ) -> Any:
        return command(Where(server, key, backend), *args, **kwargs)

    return wrapped


def id_of(sweep: str) -> str:
    """The id in ``entity/project/id``."""
    return sweep.rstrip("/").rpartition("/")[2]


class Sweeps(Protocol):
    """What can be looked at, as the API of the dashboard gives it."""

    def lines(self, limit: int) -> list[dict[str, Any]]:
        """The newest sweeps."""

    def sweep(self, sweep_id: str) -> dict[str, Any]:
        """One sweep, with ``best``."""

    def run(self, run_id: str) -> dict[str, Any]:
        """One run."""

    def events(self, sweep_id: str, first: int) -> list[dict[str, Any]]:
        """Some of the events from a number on; none when there are no more."""

    def bundle(self, sweep_id: str) -> str:
        """A sweep as one page of HTML."""


class _OfServer:
    def __init__(self, server: Server) -> None:
        self._server = server

    def lines(self, limit: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._server.get(f"/api/sweeps?limit={limit}")["sweeps"]
        return found

    def sweep(self, sweep_id: str) -> dict[str, Any]:
        return self._server.sweep(sweep_id)

    def run(self, run_id: str) -> dict[str, Any]:
        return self._server.get(f"/api/runs/{quote(run_id, safe='')}")

    def events(self, sweep_id: str, first: int) -> list[dict[str, Any]]:
        path = f"/api/sweeps/{quote(sweep_id, safe='')}/events?first={first}&limit={_PAGE}"
        found: list[dict[str, Any]] = self._server.get(path)["events"]
        return found

    def bundle(self, sweep_id: str) -> str:
        return str(self._server.get(f"/api/sweeps/{quote(sweep_id, safe='')}/bundle")["html"])


class _OfPlace:
    def __init__(self, backend: Backend) -> None:
        from tune_bridge.server.views import Reader

        self._backend = backend
        self._reader = Reader(backend)

    def lines(self, limit: int) -> list[dict[str, Any]]:
        from tune_bridge.server.lines import line

        return [line(overview) for overview in self._reader.overviews(limit)]

    def sweep(self, sweep_id: str) -> dict[str, Any]:
        from tune_bridge.server.lines import sweep_data

        snapshot = self._reader.snapshot(sweep_id)
        best = None if snapshot.best is None else msgspec.structs.asdict(snapshot.best)
        return {**sweep_data(snapshot.sweep), "best": best}

    def run(self, run_id: str) -> dict[str, Any]:
        return msgspec.structs.asdict(self._backend.run(run_id))

    def events(self, sweep_id: str, first: int) -> list[dict[str, Any]]:
        return self._backend.events(sweep_id, first=first, limit=_PAGE)

    def bundle(self, sweep_id: str) -> str:
        try:
            from tune_bridge.server.analysis.analyst import Analyst
            from tune_bridge.server.bundle import bundle
        except ImportError as error:
            from tune_bridge.server import missing_extra

            raise missing_extra(error) from error
        return bundle(self._reader, sweep_id, Analyst(self._backend))
