"""A door on this machine for one program's wandb: rows are heard here, all else is passed on.

A program under Ray reports to its trial. When it knows wandb only, its client talks to a relay in
the trial's process, which takes the rows - they travel as any other report does, and nobody else
writes them - and hands everything else (configs, summaries, files, artifacts, console lines) to the
server of the place. That is looked for, and started, when the first request comes: a program
without wandb costs nothing.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import http.client
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tune_bridge.errors import TuneBridgeError

__all__ = ["Relay", "Upstream"]

_HISTORY, _SUMMARY = "wandb-history.jsonl", "wandb-summary.json"
_ENDING = ("complete", "exitcode", "preempting")
_OWN = frozenset(
    {
        *("authorization", "connection", "content-length", "host", "keep-alive"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""Headers that belong to one connection."""

_TIMEOUT = 60.0
_LARGEST = 256 * 1024 * 1024  # bytes of a request


class Upstream(NamedTuple):
    """Where all else goes.

    Attributes:
        url: ``http://host:port``.
        key: What its requests carry, or None.
    """

    url: str
    key: str | None


class Relay:
    """Listens on the loopback interface for one program; the key is its own.

    Args:
        find: Says where the server is, and starts it when need be; may raise a `TuneBridgeError`.
        hear: Takes rows as (step, time, values); returns whether the program is to end.
        conclude: Takes the last summary when the run has ended well.

    Attributes:
        heard: Whether there were rows.
        key: What requests have to carry.
    """

    def __init__(
        self,
        find: Callable[[], Upstream],
        hear: Callable[[list[tuple[int, float, dict[str, Any]]]], bool],
        conclude: Callable[[dict[str, Any]], None],
    ) -> None:
        self.key = secrets.token_hex(20)
        self.heard = False
        self._find, self._hear, self._conclude = find, hear, conclude
        self._upstream: Upstream | None = None
        self._lock = threading.Lock()
        self._first: int | None = None  # number of the client's first row
        self._count = 0  # of rows that were taken
        self._step = -1
        self._summary: dict[str, Any] = {}
        self._idle = threading.Condition()
        self._open = 0
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"relay": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="tune-bridge-wandb", daemon=True
        ).start()

    def drain(self, timeout: float) -> bool:
        """Waits until all connections have ended; false when one is open after `timeout`."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._open, timeout)

    def close(self) -> None:
        """Takes no more requests. Idempotent."""
        self._server.shutdown()
        self._server.server_close()

    # For the handler.

    def connected(self, change: int) -> None:
        """A connection has begun or ended."""
        with self._idle:
            self._open += change
            self._idle.notify_all()

    def allowed(self, header: str) -> bool:
        """Whether a request carries the key, as wandb sends it."""
        kind, _, given = header.partition(" ")
        try:
            password = base64.b64decode(given, validate=True).partition(b":")[2]
        except ValueError:
            return False
        return kind.lower() == "basic" and hmac.compare_digest(password, self.key.encode())

    def stream(self, body: bytes) -> tuple[bytes, bool]:
        """Takes the rows out of a request; the rest of it, and whether the program is to end.

        Raises:
            ValueError: It is no such request.
        """
        told = json.loads(body)
        files = told.get("files") or {}
        history = files.pop(_HISTORY, None)
        with self._lock:
            if _SUMMARY in files and files[_SUMMARY]["content"]:
                self._summary = json.loads(files[_SUMMARY]["content"][-1])
            stop = self._hear(self._rows(history) if history else [])
            if told.get("complete") and told.get("exitcode", 0) == 0:
                self._conclude(self._summary)
        # How the run ends is the trial's to say.
        rest = {key: value for key, value in told.items() if key not in _ENDING}
        return json.dumps(rest).encode(), stop

    def _rows(self, chunk: Mapping[str, Any]) -> list[tuple[int, float, dict[str, Any]]]:
        """The new rows of a chunk; a request can come twice."""
        lines, offset = chunk["content"], int(chunk.get("offset", 0))
        if self._first is None:  # a run that goes on begins with the rows that it has
            self._first = offset
        new = lines[max(0, self._first + self._count - offset) :]
        rows = []
        for line in new:
            values = json.loads(line)
            step, when = values.pop("_step", self._step + 1), values.pop("_timestamp", 0.0)
            self._step = max(self._step + 1, int(step))
            rows.append((self._step, float(when), values))
        self._count += len(rows)
        self.heard = self.heard or bool(rows)
        return rows

    def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Passes a request on; its answer.

        Raises:
            TuneBridgeError: No server can be had.
            OSError: It does not answer.
        """
        with self._lock:
            known = self._upstream is not None
            to = self._upstream = self._upstream or self._find()
        try:
            return _request(to, method, path, headers, body)
        except (OSError, http.client.HTTPException):
            with self._lock:  # it may live somewhere else now
                if self._upstream is to:
                    self._upstream = None
                to = self._upstream = self._upstream or self._find()
            if not known:
                raise
            return _request(to, method, path, headers, body)


def _request(
    to: Upstream, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    parts = urlsplit(to.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT)
    passed = {name: text for name, text in headers.items() if name.lower() not in _OWN}
    if to.key is not None:
        passed["Authorization"] = f"Bearer {to.key}"
    with contextlib.closing(connection):
        connection.request(method, parts.path.rstrip("/") + path, body or None, passed)
        answer = connection.getresponse()
        found = [(name, text) for name, text in answer.getheaders() if name.lower() not in _OWN]
        return answer.status, found, answer.read()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke off: the client tries again."""


class _Handler(BaseHTTPRequestHandler):
    """One connection; a subclass has its relay."""

    protocol_version = "HTTP/1.1"
    relay: Relay

    def setup(self) -> None:
        self.relay.connected(1)
        super().setup()

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.relay.connected(-1)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Nobody reads it."""

    def _pass_on(self) -> None:
        try:
            body = self._body()
            stop = False
            if self.command == "POST" and self.path.endswith("/file_stream"):
                body, stop = self._stream(body)
            status, headers, answer = self._send(body)
        except _RefusedError as error:
            status, headers = error.status, [("Content-Type", "application/json")]
            answer = json.dumps({"errors": [{"message": str(error)}]}).encode()
            self.close_connection = True
        else:
            if stop and status == HTTPStatus.OK:
                answer = b'{"stopped": true}'
        self.send_response_only(status)
        for name, text in [*headers, ("Content-Length", str(len(answer)))]:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _pass_on  # noqa: N815 - called by name

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length") or "0"
        if self.headers.get("Transfer-Encoding") or not length.isdecimal():
            raise _RefusedError(411, "the length of the request is not said")
        if int(length) > _LARGEST:
            raise _RefusedError(413, "the request is too large")
        if not self.relay.allowed(self.headers.get("Authorization", "")):
            raise _RefusedError(401, "another key than the one in WANDB_API_KEY")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise _RefusedError(400, "the request broke off")
        return body

    def _stream(self, body: bytes) -> tuple[bytes, bool]:
        try:
            return self.relay.stream(body)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            text = f"a malformed stream: {type(error).__name__}: {error}"
            raise _RefusedError(400, text) from None

    def _send(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        try:
            return self.relay.send(self.command, self.path, dict(self.headers), body)
        except TuneBridgeError as error:
            raise _RefusedError(400, str(error)) from None
        except (OSError, http.client.HTTPException) as error:
            raise _RefusedError(502, f"the server does not answer: {error}") from None


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
