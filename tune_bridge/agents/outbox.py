"""Reports on their way to the server, in order, each once.

A report that could not be delivered waits, and the program goes on: training never stops because a
server is away. What waits is put together as far as nobody has tried to send it; a report that was
tried keeps its number and content, so that the server knows it when it comes again.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec

from tune_bridge.agents.http import Server, UnreachableError
from tune_bridge.wire import Report, Verdict

__all__ = ["Outbox"]

_PAUSE = 1.0  # seconds between two attempts while the server is away
_ROWS = 5_000  # in one report


class Outbox:
    """The reports of one attempt of a run. Thread-safe.

    Args:
        server: Where they go.
        run: The run.
        attempt: Of the claim.

    Attributes:
        verdict: The last one; anything but "continue" stays.
    """

    def __init__(self, server: Server, run: str, attempt: int) -> None:
        self.verdict = Verdict()
        self._server = server
        self._run = run
        self._attempt = attempt
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._waiting: list[Report] = []
        self._tried = False
        self._seq = 0
        self._not_before = 0.0

    def add(
        self,
        payload: dict[str, Any],
        *,
        checkpoint: str | None = None,
        resumable: bool = False,
    ) -> Verdict:
        """Takes rows (with config and summary, as `Reports.take` gives them) and sends them.

        Returns:
            The verdict on the run as far as it is known.
        """
        with self._lock:
            rows = [list(row) for row in payload.get("rows", ())]
            new = Report(
                attempt=self._attempt,
                seq=self._seq,
                rows=rows,  # type: ignore[arg-type]
                checkpoint=checkpoint,
                resumable=resumable,
                summary=payload.get("summary", {}),
                config=payload.get("config", {}),
            )
            last = self._waiting[-1] if len(self._waiting) > self._tried else None
            if last is not None and len(last.rows) + len(rows) <= _ROWS and not last.checkpoint:
                self._waiting[-1] = _joined(last, new)
            else:
                self._waiting.append(new)
                self._seq += 1
        self.flush()
        return self.verdict

    @property
    def left(self) -> int:
        """How many rows wait."""
        with self._lock:
            return sum(max(1, len(report.rows)) for report in self._waiting)

    def flush(self, *, now: bool = False) -> bool:
        """Sends what waits; whether nothing does any more.

        Args:
            now: Also when an attempt has just failed.

        Raises:
            TuneBridgeError: The server refuses a report.
        """
        with self._sending:
            while True:
                with self._lock:
                    if not self._waiting:
                        return True
                    if not now and time.monotonic() < self._not_before:
                        return False
                    report, self._tried = self._waiting[0], True
                try:
                    verdict = self._server.report(self._run, report)
                except UnreachableError:
                    with self._lock:
                        self._not_before = time.monotonic() + _PAUSE
                    return False
                except BaseException:
                    self._drop()
                    raise
                self._drop()
                self.judge(verdict)

    def judge(self, verdict: Verdict) -> None:
        """Takes a verdict, also one that came with a heartbeat."""
        if self.verdict.kind == "continue" or verdict.kind == "kill":
            self.verdict = verdict

    def _drop(self) -> None:
        with self._lock:
            del self._waiting[0]
            self._tried = False


def _joined(one: Report, other: Report) -> Report:
    return msgspec.structs.replace(
        one,
        rows=[*one.rows, *other.rows],
        checkpoint=other.checkpoint,
        resumable=one.resumable or other.resumable,
        summary={**one.summary, **other.summary},
        config={**one.config, **other.config},
    )
