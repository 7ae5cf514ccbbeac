"""What follows from a sweep's events, on its way to the backend."""

from __future__ import annotations

from typing import Any

from tune_bridge.backends.base import Backend, LogEvents, Operation

__all__ = ["Journal"]


class Journal:
    """Operations and records of one sweep that are written together, in one transaction.

    Args:
        backend: Where they go.
        sweep_id: The sweep.

    Attributes:
        count: How many events are in the backend's log.
    """

    def __init__(self, backend: Backend, sweep_id: str) -> None:
        self._backend = backend
        self._sweep_id = sweep_id
        self.count = 0
        self._operations: list[Operation] = []
        self._records: list[dict[str, Any]] = []
        self._time = 0.0
        self._loud = False

    @property
    def waits(self) -> bool:
        """Whether anything is not written yet."""
        return bool(self._operations or self._records)

    def add(
        self,
        operations: list[Operation],
        records: list[dict[str, Any]],
        time: float,
        *,
        loud: bool,
    ) -> None:
        """Takes what is to be written with the next `write`.

        Args:
            operations: For the backend, in order.
            records: Events with what came of them, in order.
            time: Of the last event.
            loud: Who waits for a change is to look.
        """
        self._operations += operations
        self._records += records
        self._time = max(self._time, time)
        self._loud = self._loud or loud

    def write(self) -> bool:
        """Writes all of it, or nothing; it waits no more either way.

        Returns:
            Whether who waits for a change is to look.

        Raises:
            TuneBridgeError: The backend refuses it, or cannot be written to.
        """
        operations, records, loud = self._operations, self._records, self._loud
        self._operations, self._records, self._loud = [], [], False
        if records:
            operations.append(LogEvents(self._sweep_id, self.count, records, self._time))
        self._backend.apply(operations)
        self.count += len(records)
        return loud
