"""A run outside of any sweep."""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from tune_bridge.client import Link, flatten

__all__ = ["Alone"]


class Alone(Link):
    """A run outside of any sweep: a sweep with one configuration, written to a backend.

    Args:
        project: W&B's project.
        name: Display name; the program's file name by default.
        backend: URL of the backend.
        config: The parameters.
    """

    def __init__(
        self,
        project: str | None,
        name: str | None,
        backend: str | None,
        config: dict[str, Any],
    ) -> None:
        from tune_bridge.backends.base import PutRun, PutSweep, Sweep, new_id
        from tune_bridge.backends.base import Run as Record
        from tune_bridge.backends.writer import Writer

        program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "program"
        name = name or program
        now, sweep_id, self._id = time.time(), new_id(), new_id()
        project = project or os.environ.get("WANDB_PROJECT") or "uncategorized"
        sweep_config = {
            "name": name,
            "project": project,
            "program": program,
            "method": "grid",
            "run_cap": 1,
            "parameters": {key: {"value": value} for key, value in config.items()},
        }
        self._sweep_id = sweep_id
        self._writer = Writer(backend)
        self._writer.put(
            PutSweep(
                Sweep(
                    id=sweep_id,
                    project=project,
                    name=name,
                    config=sweep_config,
                    created_at=now,
                    updated_at=now,
                    meta={"made_by": "tune_bridge.init"},
                )
            )
        )
        self._writer.put(
            PutRun(Record(id=self._id, sweep_id=sweep_id, name=name, created_at=now, config=config))
        )
        self._config = dict(config)
        self._patch(state="running")
        self._row: dict[str, Any] = {}
        self._step = -1
        self.about = {"id": self._id, "name": name, "sweep_id": sweep_id, "project": project}

    def _patch(self, **changes: Any) -> None:
        from tune_bridge.backends.base import PatchRun

        self._writer.put(PatchRun(self._id, changes, time.time()))

    def send(self, message: dict[str, Any]) -> bool:
        """Hands the message to the writer; it never asks to stop."""
        from tune_bridge.backends.base import LogRows, Row

        if "log" in message:
            row = flatten(message["log"])
            self._row = {**self._row, **row} if message["step"] == self._step else row
            self._step = message["step"]
            self._writer.put(LogRows(self._id, [Row(self._step, message["time"], dict(self._row))]))
        if "config" in message:
            self._config.update(message["config"])
            self._patch(config=dict(self._config))
        if "summary" in message:
            self._patch(summary=flatten(message["summary"]))
        return False

    def close(self, exit_code: int) -> None:
        """Ends the run and its sweep and waits for the writer."""
        from tune_bridge.backends.base import PatchSweep

        failed = exit_code != 0
        message = f"exit code {exit_code}" if failed else ""
        self._patch(state="failed" if failed else "finished", exit_code=exit_code, message=message)
        state = "failed" if failed else "finished"
        self._writer.put(PatchSweep(self._sweep_id, {"state": state}, time.time()))
        left = self._writer.close(timeout=10)
        if left.count:
            warnings.warn(f"{left.count} changes of this run wait in {left.spool}", stacklevel=2)
