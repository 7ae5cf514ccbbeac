"""Reports on their way to the server, in order, each once.

A report that could not be delivered waits, and the program goes on: training never stops because a
server is away. From then on the agent's own thread tries (`flush`), and nobody who reports waits
for that. What waits is put together as far as nobody has tried to send it; a report that was tried
keeps its number and content, so that the server knows it when it comes again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from tune_bridge.agents.http import Server, UnreachableError
from tune_bridge.wire import Report, Verdict

__all__ = ["Outbox"]

_ROWS = 5_000  # in one report
_SIZE = 4 << 20  # of one report's rows, about, in bytes; one row may have more


class Outbox:
    """The reports of one attempt of a run. Thread-safe.

    Args:
        server: Where they go.
        run: The run.
        attempt: Of the claim.

    Attributes:
        verdict: The last one; anything but "continue" stays.
        away: The server did not answer last time.
    """

    def __init__(self, server: Server, run: str, attempt: int) -> None:
        self.verdict = Verdict()
        self.away = False
        self._server = server
        self._run = run
        self._attempt = attempt
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._waiting: list[Report] = []
        self._tried = False
        self._seq = 0
        self._last_size = 0

    def add(
        self,
        payload: dict[str, Any],
        *,
        checkpoint: str | None = None,
        resumable: bool = False,
    ) -> Verdict:
        """Takes rows (with config and summary, as `Reports.take` gives them) and sends them.

        While the server is away they wait for `flush`.

        Returns:
            The verdict on the run as far as it is known.

        Raises:
            TuneBridgeError: The server refuses them.
        """
        parts = list(_parts([list(row) for row in payload.get("rows", ())]))
        with self._lock:
            for rows, size in parts[:-1]:
                self._append(Report(attempt=self._attempt, seq=0, rows=rows), size)
            rows, size = parts[-1]
            self._append(
                Report(
                    attempt=self._attempt,
                    seq=0,
                    rows=rows,
                    checkpoint=checkpoint,
                    resumable=resumable,
                    summary=payload.get("summary", {}),
                    config=payload.get("config", {}),
                ),
                size,
            )
        if not self.away:
            self.flush()
        return self.verdict

    def _append(self, new: Report, size: int) -> None:
        last = self._waiting[-1] if len(self._waiting) > self._tried else None
        if (
            last is not None
            and not last.checkpoint
            and len(last.rows) + len(new.rows) <= _ROWS
            and self._last_size + size <= _SIZE
        ):
            self._waiting[-1] = _joined(last, new)
            self._last_size += size
            return
        self._waiting.append(msgspec.structs.replace(new, seq=self._seq))
        self._seq += 1
        self._last_size = size

    @property
    def left(self) -> int:
        """How many rows wait."""
        with self._lock:
            return sum(max(1, len(report.rows)) for report in self._waiting)

    def flush(self) -> bool:
        """Sends what waits; whether nothing does any more.

        Raises:
            TuneBridgeError: The server refuses a report.
        """
        with self._sending:
            while True:
                with self._lock:
                    if not self._waiting:
                        return True
                    report, self._tried = self._waiting[0], True
                try:
                    verdict = self._server.report(self._run, report)
                except UnreachableError:
                    self.away = True
                    return False
                except BaseException:
                    self._drop()
                    raise
                self._drop()
                self.away = False
                self.judge(verdict)

    def judge(self, verdict: Verdict) -> None:
        """Takes a verdict, also one that came with a heartbeat."""
        if self.verdict.kind == "continue" or verdict.kind == "kill":
            self.verdict = verdict

    def _drop(self) -> None:
        with self._lock:
            del self._waiting[0]
            self._tried = False


def _parts(rows: list[list[Any]]) -> Iterator[tuple[list[Any], int]]:
    """Rows as lists that a server takes in one report, with their sizes; at least one list."""
    part: list[Any] = []
    size = 0
    for row in rows:
        weight = len(repr(row[2]))
        if part and (size + weight > _SIZE or len(part) >= _ROWS):
            yield part, size
            part, size = [], 0
        part.append(row)
        size += weight
    yield part, size


def _joined(one: Report, other: Report) -> Report:
    return msgspec.structs.replace(
        one,
        rows=[*one.rows, *other.rows],
        checkpoint=other.checkpoint,
        resumable=one.resumable or other.resumable,
        summary={**one.summary, **other.summary},
        config={**one.config, **other.config},
    )
