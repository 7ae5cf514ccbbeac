"""The server, as an agent sees it: the requests of `tune_bridge.wire` as methods.

Connections are kept, one for each thread. Every request can be repeated, so that one which breaks
off is tried once more on a fresh connection before the server counts as unreachable. A server of
this machine that has another address now is looked up then.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from tune_bridge.errors import BackendError, InputError, NotFoundError, TuneBridgeError
from tune_bridge.values import decode, encode
from tune_bridge.wire import (
    Answer,
    ClaimRequest,
    Command,
    End,
    Ended,
    Heartbeat,
    NewSweep,
    Report,
    Verdict,
    Verdicts,
)

__all__ = ["Server", "UnreachableError"]

_TIMEOUT = 30.0
_LOADING = 300.0  # seconds more for a server that loads an engine's library
_CHUNK = 1 << 20
_T = TypeVar("_T")


class UnreachableError(BackendError):
    """The server does not answer; what was asked can be asked again."""


class _Address(NamedTuple):
    """Where a server is, taken apart."""

    url: str
    secure: bool
    host: str
    port: int | None
    prefix: str
    headers: dict[str, str]

    @classmethod
    def of(cls, url: str, key: str | None) -> _Address:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                "no address of a server",
                path="--server",
                found=url,
                expected="http://host:port, as `tune-bridge server` prints it",
            )
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        prefix = parts.path.rstrip("/")
        secure = parts.scheme == "https"
        return cls(url.rstrip("/"), secure, parts.hostname, port, prefix, headers)


class Server:
    """A server at a URL. Thread-safe.

    Args:
        url: ``http://host:port``, as ``tune-bridge server`` prints it.
        key: Its key, or None.
        find: Asked for the URL and the key when the server does not answer; it may raise a
            `TuneBridgeError`. None for a server that does not move.

    Raises:
        InputError: The URL is none.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        find: Callable[[], tuple[str, str | None]] | None = None,
    ) -> None:
        self._at = _Address.of(url, key)
        self._find = find
        self._local = threading.local()
        self._claiming: set[http.client.HTTPConnection] = set()
        self._interrupted = False

    def copy(self) -> Server:
        """The same server with connections of its own."""
        made = Server(self.url, find=self._find)
        made._at = self._at
        return made

    @property
    def url(self) -> str:
        """Where it is."""
        return self._at.url

    @property
    def key(self) -> str | None:
        """What its requests carry, or None."""
        return self._at.headers.get("Authorization", "").removeprefix("Bearer ") or None

    def page(self, path: str) -> str:
        """The address of a page, for the one who started this.

        Of this machine's own server, whose key nobody has seen, it logs a browser in, once. A
        server that was named has told its key to who may look.

        Args:
            path: Of the page, as ``/sweeps/ID``.
        """
        if self._find is None or self.key is None:
            return f"{self.url}{path}"
        try:
            ticket = self._json("POST", "/login/tickets").get("ticket")
        except TuneBridgeError:  # it needs none, or is an older one
            return f"{self.url}{path}"
        return f"{self.url}/login?{urlencode({'ticket': ticket, 'to': path})}"

    # Requests.

    def create(self, sweep: NewSweep) -> dict[str, Any]:
        """Makes a sweep; returns it."""
        return self._json("POST", "/api/sweeps", sweep, wait=_LOADING)

    def sweep(self, sweep_id: str) -> dict[str, Any]:
        """A sweep with its config."""
        return self._json("GET", f"/api/sweeps/{quote(sweep_id, safe='')}")

    def command(self, sweep_id: str, command: Command) -> Any:
        """Does what somebody wants."""
        path = f"/api/sweeps/{quote(sweep_id, safe='')}/commands"
        return self._json("POST", path, command).get("result")

    def get(self, path: str) -> dict[str, Any]:
        """Any other answer of the API."""
        return self._json("GET", path)

    def claim(self, sweep_id: str, request: ClaimRequest) -> Answer:
        """A run for a free agent.

        Raises:
            UnreachableError: Also after `interrupt`.
        """
        path = f"/api/sweeps/{quote(sweep_id, safe='')}/claims"
        return self._typed("POST", path, request, Answer, wait=request.wait)  # type: ignore[arg-type]

    def interrupt(self) -> None:
        """Ends all claims that wait, now and from now on; may be called from any thread."""
        self._interrupted = True
        for connection in list(self._claiming):
            with contextlib.suppress(OSError, AttributeError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def heartbeat(self, sweep_id: str, beat: Heartbeat) -> dict[str, Verdict]:
        """A sign of life."""
        path = f"/api/sweeps/{quote(sweep_id, safe='')}/heartbeats"
        return self._typed("POST", path, beat, Verdicts).runs

    def report(self, run_id: str, report: Report) -> Verdict:
        """Rows of a run."""
        return self._typed("POST", f"/api/runs/{quote(run_id, safe='')}/reports", report, Verdict)

    def end(self, run_id: str, end: End) -> Answer | None:
        """The end of a run's program; what there is next, if that was asked for."""
        wait = 0.0 if end.next is None else end.next.wait
        path = f"/api/runs/{quote(run_id, safe='')}/end"
        return self._typed("POST", path, end, Ended, wait).next

    def output(self, run_id: str, attempt: int, offset: int, data: bytes) -> None:
        """More of the output of an attempt's program."""
        query = f"attempt={attempt}&offset={offset}"
        path = f"/api/runs/{quote(run_id, safe='')}/output?{query}"
        self._send("POST", path, data, "application/octet-stream")

    def put_checkpoint(self, run_id: str, checkpoint: str, archive: Path) -> None:
        """Stores a checkpoint's archive."""
        path = f"/api/runs/{quote(run_id, safe='')}/checkpoints/{quote(checkpoint, safe='')}"
        self._send("PUT", path, archive, "application/x-tar")

    def get_checkpoint(self, run_id: str, checkpoint: str, archive: Path) -> None:
        """Fetches a checkpoint's archive into a file."""
        path = f"/api/runs/{quote(run_id, safe='')}/checkpoints/{quote(checkpoint, safe='')}"
        response = self._ask("GET", path, b"", {}, _TIMEOUT)
        try:
            if response.status >= 400:
                self._refuse(response.status, response.read())
            with archive.open("wb") as file:
                while data := response.read(_CHUNK):
                    file.write(data)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise UnreachableError(
                f"{self.url} broke off: {error or type(error).__name__}"
            ) from None

    def close(self) -> None:
        """Closes this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    # How they are sent.

    def _typed(
        self, method: str, path: str, body: msgspec.Struct, kind: type[_T], wait: float = 0.0
    ) -> _T:
        return msgspec.convert(self._json(method, path, body, wait), kind)

    def _json(
        self, method: str, path: str, body: msgspec.Struct | None = None, wait: float = 0.0
    ) -> dict[str, Any]:
        data = b"" if body is None else json.dumps(encode(msgspec.to_builtins(body))).encode()
        answer = self._send(method, path, data, "application/json", wait)
        try:
            decoded = decode(json.loads(answer or b"{}"))
        except ValueError:
            raise BackendError(f"{self.url} is no server of tune-bridge") from None
        return decoded if isinstance(decoded, dict) else {}

    def _send(
        self, method: str, path: str, data: bytes | Path, kind: str, wait: float = 0.0
    ) -> bytes:
        response = self._ask(method, path, data, {"Content-Type": kind}, _TIMEOUT + wait)
        try:
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise UnreachableError(
                f"{self.url} broke off: {error or type(error).__name__}"
            ) from None
        if response.status >= 400:
            self._refuse(response.status, answer)
        return answer

    def _ask(
        self, method: str, path: str, data: bytes | Path, headers: dict[str, str], timeout: float
    ) -> http.client.HTTPResponse:
        if isinstance(data, Path):
            headers["Content-Length"] = str(data.stat().st_size)
        claiming = path.endswith("/claims")
        looked = False
        while True:
            connection = getattr(self._local, "connection", None)
            fresh = connection is None
            if connection is None:
                connection = self._connect(timeout)
            elif connection.sock is not None:
                connection.sock.settimeout(timeout)
            at = self._at
            try:
                if claiming:
                    self._claiming.add(connection)
                    if self._interrupted:
                        raise ConnectionAbortedError("interrupted")
                body = _chunks(data) if isinstance(data, Path) else data
                connection.request(method, at.prefix + path, body, {**at.headers, **headers})
                response: http.client.HTTPResponse = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if claiming and self._interrupted:
                    raise UnreachableError("interrupted") from None
                if not fresh:
                    continue  # a kept connection may just have been too old
                if looked or not self._look():
                    reason = str(error) or type(error).__name__
                    raise UnreachableError(f"{at.url} does not answer: {reason}") from None
                looked = True
            else:
                return response
            finally:
                self._claiming.discard(connection)

    def _look(self) -> bool:
        """Whether there is another address to try, or the same one with more hope."""
        if self._find is None:
            return False
        try:
            self._at = _Address.of(*self._find())
        except TuneBridgeError:
            return False
        return True

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        at = self._at
        kind = http.client.HTTPSConnection if at.secure else http.client.HTTPConnection
        connection = kind(at.host, at.port, timeout=timeout)
        self._local.connection = connection
        return connection

    def _refuse(self, status: int, answer: bytes) -> None:
        try:
            error = json.loads(answer)["error"]
            message = str(error["message"])
        except (ValueError, KeyError, TypeError):
            error, message = {}, f"HTTP status {status}"
        details: dict[str, Any] = {
            name: str(error[name])
            for name in ("path", "found", "expected", "hint")
            if name in error
        }
        if status in (502, 503, 504):
            raise UnreachableError(f"{self.url}: {message}")
        if status == 401:
            raise InputError(
                message, path=self.url, hint="give --key or set TUNE_BRIDGE_KEY to the server's key"
            )
        if status == 404:
            raise NotFoundError(message, **details)
        if status >= 500:
            raise BackendError(f"{self.url}: {message}")
        raise InputError(message, **details)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            yield data
