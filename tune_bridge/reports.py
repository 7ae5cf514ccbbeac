"""What a program reports, on its way to Tune: `Reports` decides, `Listener` receives.

Tune wants one result per iteration, with the metric in it; programs log whatever they like,
whenever they like. A row with a usable metric becomes a result; other rows wait and travel with
the next one. So an iteration is a report of the metric, as for W&B's hyperband, and every row
reaches the history. A metric that is NaN or infinite is not usable: searchers would take it for a
value.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import queue
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from tune_bridge.client import LINE_LIMIT, finite, flatten

__all__ = ["PAYLOAD", "Listener", "Reports"]

PAYLOAD = "tune_bridge"
"""The key of a Tune result under which rows, config and summary travel to the callback."""

_RESERVED = frozenset(
    {
        "__duplicate__",
        "config",
        "date",
        "done",
        "episodes_this_iter",
        "experiment_tag",
        "hostname",
        "node_ip",
        "pid",
        "should_checkpoint",
        "time_since_restore",
        "time_this_iter_s",
        "time_total_s",
        "timesteps_this_iter",
        "timestamp",
        "trial_id",
    }
)
"""Names that Tune itself reads or fills in a result: a program's own values of these stay out of
it."""

_BACKLOG = 10_000
_HELLO = 4096
_HELLO_SECONDS = 10.0
_CONNECTIONS = 64


class Reports:
    """The reports of one program. Not thread-safe.

    Args:
        metric: What the searcher and the scheduler look at, flat (``val/loss``); None when
            nothing does, then every row is a result.
        backlog: How many rows without a metric may wait; beyond, every second one is left out.

    Attributes:
        results: How many results were given.
        values: Last value of every key, flat.
        skipped: Rows that were left out.
        resumable: The program has asked for a checkpoint to go on from.
    """

    def __init__(self, metric: str | None, backlog: int = _BACKLOG) -> None:
        self.metric = metric
        self.results = 0
        self.skipped = 0
        self.resumable = False
        self.values: dict[str, Any] = {}
        self._limit = backlog
        self._rows: list[list[Any]] = []
        self._row: list[Any] | None = None
        self._config: dict[str, Any] = {}
        self._summary: dict[str, Any] = {}

    def log(self, values: Mapping[str, Any], step: int, when: float) -> dict[str, Any] | None:
        """Takes a row. Steps do not go back: two clients of one program count for themselves.

        Returns:
            A result for Tune, or None when the row has to wait for one.
        """
        flat = flatten(values)
        if self._row is not None:
            step = max(step, self._row[0])
        if self._row is not None and self._row[0] == step:
            row = [step, when, {**self._row[2], **flat}]
            if self._rows and self._rows[-1] is self._row:
                self._rows.pop()
        else:
            row = [step, when, flat]
        self._row = row
        self._rows.append(row)
        self.values.update(flat)
        if self.metric is None or finite(flat.get(self.metric)):
            return self.result()
        if len(self._rows) > self._limit:
            self.skipped += len(self._rows[::2])
            del self._rows[::2]
        return None

    def configure(self, values: Mapping[str, Any]) -> None:
        """Takes parameters that the program set itself."""
        self._config.update(values)

    def summarise(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Takes what the program wrote into its summary.

        Returns:
            A result when the metric is among it, and else None.
        """
        flat = flatten(values)
        self._summary.update(flat)
        self.values.update(flat)
        return self.result() if self.metric is not None and finite(flat.get(self.metric)) else None

    def result(self) -> dict[str, Any]:
        """A result with the last value of everything and all that has waited."""
        self.results += 1
        shown = {key: value for key, value in self.values.items() if key not in _RESERVED}
        return {**shown, PAYLOAD: self.take()}

    @property
    def waiting(self) -> bool:
        """Whether there is something that no result has carried yet."""
        return bool(self._rows or self._config or self._summary)

    def take(self) -> dict[str, Any]:
        """What has waited, as plain data; it waits no longer."""
        payload: dict[str, Any] = {"rows": self._rows}
        if self._config:
            payload["config"] = self._config
        if self._summary:
            payload["summary"] = self._summary
        self._rows, self._config, self._summary = [], {}, {}
        return payload

    def complaint(self) -> str:
        """Why a searcher cannot use what was reported; empty when it can."""
        if self.metric is None:
            return "" if self.results else "the program ended without a report"
        if self.metric in self.values:
            value = self.values[self.metric]
            if finite(value):
                return ""
            shown = _show(value)
            return f"the last value of the metric {self.metric!r} is {shown}, no usable number"
        if not self.values:
            return "the program ended without a report"
        reported = sorted(self.values)
        names = ", ".join(reported[:10]) + (", ..." if len(reported) > 10 else "")
        return f"the program never reported the metric {self.metric!r}; it reported {names}"


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 50 else text[:47] + "..."


class Listener:
    """Receives the reports of one program at a local address.

    A connection has to begin with the token, or it is closed; so is one that sends a line which
    is too long or not JSON. A row that became a result is confirmed when `proceed` is called: the
    program waits for its scheduler, as a function does in ``tune.report``.

    Args:
        about: What the program is told of itself (config, ids, ...).
        reports: Where rows go.
    """

    def __init__(self, about: Mapping[str, Any], reports: Reports) -> None:
        self.token = secrets.token_hex(16)
        self._results: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.connected = False
        self._about = json.dumps(dict(about)).encode() + b"\n"
        self._reports = reports
        self._state = threading.Condition()
        self._lines: set[socket.socket] = set()
        self._given = self._taken = self._allowed = 0
        self._stopping = False
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=_CONNECTIONS)
        host, port = self._socket.getsockname()[:2]
        self.address = f"{host}:{port}"
        threading.Thread(target=self._accept, name="tune-bridge-listener", daemon=True).start()

    def take(self, timeout: float) -> dict[str, Any] | None:
        """The next result, or None after `end`.

        Raises:
            queue.Empty: There is none yet after `timeout` seconds.
        """
        result = self._results.get(timeout=timeout)
        with self._state:
            self._taken += result is not None
        return result

    def proceed(self) -> None:
        """Confirms every result that was taken."""
        with self._state:
            self._allowed = self._taken
            self._state.notify_all()

    def collect(self) -> dict[str, Any] | None:
        """Rows that wait for the metric, taken out; None when there are none."""
        with self._state:
            return self._reports.take() if self._reports.waiting else None

    def hear(self, rows: list[tuple[int, float, dict[str, Any]]]) -> bool:
        """Takes rows (step, time, values) of a client that does not wait for its scheduler.

        Returns:
            Whether the program is to end.
        """
        with self._state:
            for step, when, values in rows:
                self._put(self._reports.log(values, step, when))
            return self._stopping

    def conclude(self, summary: Mapping[str, Any]) -> None:
        """Takes the metric from a last summary when no row has had it."""
        metric = self._reports.metric
        with self._state:
            if metric is not None and metric not in self._reports.values and metric in summary:
                self._put(self._reports.summarise({metric: summary[metric]}))

    def _put(self, result: dict[str, Any] | None) -> int:
        """Queues a result; its turn, 0 without one."""
        if result is None or self._stopping:
            return 0
        self._given += 1
        self._results.put(result)
        return self._given

    def end(self) -> None:
        """Puts an end behind all results."""
        self._results.put(None)

    def stop(self) -> None:
        """Tells the program, in the answer to what it waits for, that it is to end."""
        with self._state:
            self._stopping = True
            self._state.notify_all()

    def drain(self, timeout: float) -> bool:
        """Waits until all connections have ended, so that nothing more can come.

        Returns:
            False when one is still open after `timeout` seconds; it is cut then.
        """
        with self._state:
            done = self._state.wait_for(lambda: not self._lines, timeout)
            for line in self._lines:
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_RD)
        return done

    def close(self) -> None:
        """Takes no more connections and ends those there are. Idempotent."""
        self.stop()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.drain(0)

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._socket.accept()
            except OSError:
                return
            with self._state:
                full = len(self._lines) >= _CONNECTIONS
            if full:
                line.close()
                continue
            threading.Thread(
                target=self._serve, args=(line,), name="tune-bridge-report", daemon=True
            ).start()

    def _serve(self, line: socket.socket) -> None:
        with line, contextlib.suppress(OSError, ValueError, RecursionError):
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line.settimeout(_HELLO_SECONDS)
            with line.makefile("rb") as source:
                hello = json.loads(source.readline(_HELLO))
                token = hello.get("token") if isinstance(hello, dict) else None
                if not isinstance(token, str) or not hmac.compare_digest(
                    token.encode(), self.token.encode()
                ):
                    return
                line.settimeout(None)
                with self._state:
                    self._lines.add(line)
                    self.connected = True
                try:
                    line.sendall(self._about)
                    while data := source.readline(LINE_LIMIT):
                        line.sendall(json.dumps(self._answer(data)).encode() + b"\n")
                finally:
                    with self._state:
                        self._lines.discard(line)
                        self._state.notify_all()

    def _answer(self, data: bytes) -> dict[str, Any]:
        if not data.endswith(b"\n"):
            if len(data) >= LINE_LIMIT:
                raise ValueError("a line that is too long")
            raise ConnectionError("cut in the middle of a line")
        message = json.loads(data)
        handler = _MESSAGES.get(next(iter(message), "")) if isinstance(message, dict) else None
        if handler is None:
            return {"error": "a message of an unknown kind"}
        with self._state:
            try:
                result = handler(self._reports, message)
            except (TypeError, KeyError, AttributeError, ValueError) as error:
                return {"error": f"a malformed message: {type(error).__name__}: {error}"}
            if turn := self._put(result):
                self._state.wait_for(lambda: self._allowed >= turn or self._stopping)
            return {"stop": True} if self._stopping else {"ok": True}


def _log(reports: Reports, message: dict[str, Any]) -> dict[str, Any] | None:
    return reports.log(
        message["log"], int(message["step"]), float(message.get("time", time.time()))
    )


def _config(reports: Reports, message: dict[str, Any]) -> None:
    reports.configure(dict(message["config"]))


def _summary(reports: Reports, message: dict[str, Any]) -> dict[str, Any] | None:
    return reports.summarise(message["summary"])


def _resumable(reports: Reports, message: dict[str, Any]) -> None:
    reports.resumable = bool(message["resumable"])


_MESSAGES: dict[str, Callable[[Reports, dict[str, Any]], dict[str, Any] | None]] = {
    "log": _log,
    "config": _config,
    "summary": _summary,
    "resumable": _resumable,
}
"""First key of a message -> what is done with it."""
