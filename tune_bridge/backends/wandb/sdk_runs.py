"""Runs that this process writes: one run of W&B's client for each, all in one process."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from tune_bridge.backends.base import Row
from tune_bridge.backends.wandb.door import Door

__all__ = ["OpenRun", "Opener"]

_logger = logging.getLogger(__name__)
LONGEST_NOTES = 8000

Errors = Callable[[], AbstractContextManager[None]]


class OpenRun:
    """One run that is being written.

    Args:
        run: The client's run.
        errors: Makes what the client raises errors of ours.
        on_left: Called with the folder of what could not be uploaded in time.
    """

    def __init__(self, run: Any, errors: Errors, on_left: Callable[[str], None]) -> None:
        self._run = run
        self._errors = errors
        self._on_left = on_left
        self.next_step = int(run.starting_step or 0)
        """Steps below are there already, and cannot be replaced."""

    def log(self, rows: Sequence[Row]) -> None:
        """Logs rows, by step; those that are there are passed over."""
        with self._errors():
            for row in rows:
                if row.step >= self.next_step:
                    values = dict(row.values)
                    if row.time and math.isfinite(row.time):
                        values["_timestamp"] = row.time
                    self._run.log(values, step=row.step, commit=True)
                    self.next_step = row.step + 1

    def configure(self, config: Mapping[str, Any]) -> None:
        """Sets parameters."""
        with self._errors():
            self._run.config.update(dict(config), allow_val_change=True)

    def summarize(self, values: Mapping[str, Any]) -> None:
        """Sets values of the summary."""
        with self._errors():
            self._run.summary.update(dict(values))

    def describe(self, name: str, message: str) -> None:
        """Sets what people see."""
        with self._errors():
            if name and name != self._run.name:
                self._run.name = name
            if message and (notes := message[-LONGEST_NOTES:]) != self._run.notes:
                self._run.notes = notes

    def finish(self, exit_code: int) -> None:
        """Ends it, in bounded time."""
        folder = str(self._run.settings.sync_dir)
        with self._errors():
            try:
                self._run.finish(exit_code=exit_code)
            except TimeoutError:
                self._on_left(folder)


class Opener:
    """Opens runs at one server.

    Args:
        door: The server.
        finish_timeout: Seconds that the end of a run may wait for its upload.
        transmit_interval: Seconds between uploads of rows; the client's own without.
    """

    def __init__(
        self, door: Door, finish_timeout: float, transmit_interval: float | None = None
    ) -> None:
        self._door = door
        self._finish_timeout = finish_timeout
        self._transmit_interval = transmit_interval
        self._lock = threading.Lock()
        self._stops: set[str] = set()
        self.left: list[str] = []
        """Folders of runs that could not be uploaded in time; ``wandb sync`` brings them."""

    @property
    def stops(self) -> frozenset[str]:
        """Runs that somebody wants stopped, at W&B."""
        with self._lock:
            return frozenset(self._stops)

    def open(
        self,
        run_id: str,
        *,
        entity: str,
        project: str,
        sweep: str,
        name: str,
        config: Mapping[str, Any],
        about: Mapping[str, Any],
    ) -> OpenRun:
        """Begins a run, or goes on with it where it is.

        Raises:
            BackendError: W&B does not answer.
            InputError: W&B refuses it.
        """
        import wandb

        self._door.check()
        service = os.environ.get("WANDB_SERVICE")
        with self._door.errors():
            run = wandb.init(
                entity=entity,
                project=project,
                id=run_id,
                name=name or None,
                config=dict(config),
                **about,
                reinit="create_new",
                resume="allow",
                settings=self._settings(run_id, sweep),
            )
        if service is None:
            # For programs that this process starts: their client has to have its own service.
            os.environ.pop("WANDB_SERVICE", None)
        with self._lock:
            self._stops.discard(run_id)
        return OpenRun(run, self._door.errors, self._note_left)

    def _settings(self, run_id: str, sweep: str) -> Any:
        """Settings of one run: the client changes them, so each has its own."""
        import wandb

        more: dict[str, Any] = {}
        if self._transmit_interval is not None:
            more["x_file_stream_transmit_interval"] = self._transmit_interval
        return wandb.Settings(
            base_url=self._door.server,
            api_key=self._door.key,
            sweep_id=sweep,
            silent=True,
            console="off",
            save_code=False,
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
            init_timeout=30.0,
            finish_timeout=self._finish_timeout,
            finish_timeout_raises=True,
            stop_fn=lambda: self._stop(run_id),
            **more,
        )

    def _stop(self, run_id: str) -> None:
        with self._lock:
            self._stops.add(run_id)

    def _note_left(self, folder: str) -> None:
        with contextlib.suppress(Exception):
            _logger.warning("W&B has not got all of a run in time: wandb sync %s", folder)
        with self._lock:
            self.left.append(folder)
