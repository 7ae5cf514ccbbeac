"""The controller of a place: many sweeps, one clock."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tune_bridge.backends.base import ENDED_SWEEP, Backend, Sweep
from tune_bridge.controller.snapshots import Snapshots
from tune_bridge.controller.sweep import META, SweepController
from tune_bridge.engines import chosen_seed, make_engine
from tune_bridge.errors import TuneBridgeError
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.wire import Settings

__all__ = ["Controller"]


class Controller:
    """The sweeps of one backend that agents run. Thread-safe.

    One process has a place at a time; two of them would get a `ConflictError` from the backend at
    the first thing that both decide.

    Args:
        backend: Where the sweeps live; stays open.
        folder: For snapshots of engines; None for none.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        backend: Backend,
        folder: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.backend = backend
        self._snapshots = Snapshots(folder)
        self._clock = clock
        self._lock = threading.Lock()
        self._sweeps: dict[str, SweepController] = {}
        self._opening: dict[str, threading.Lock] = {}
        self.ticks: list[Callable[[], None]] = []
        """What else is to be done about once a second."""
        self.deleted: list[Callable[[str, str | None], None]] = []
        """Called when a sweep, or a run of it, was deleted."""

    def create(
        self,
        config: Mapping[str, Any],
        *,
        project: str | None = None,
        entity: str | None = None,
        name: str | None = None,
        settings: Settings | None = None,
        seed: int | None = None,
    ) -> Sweep:
        """Makes a sweep that agents can run.

        Args:
            config: The sweep config.
            project: See `Backend.create_sweep`.
            entity: See `Backend.create_sweep`.
            name: See `Backend.create_sweep`.
            settings: Of its queue.
            seed: Of its engine; a fresh one without.

        Raises:
            InputError: The config is no sweep, or no engine can do what it says.
        """
        experiment = SweepConfig(config).experiment
        seed = chosen_seed(experiment, seed)
        make_engine(experiment, sweep_id="check", seed=seed)
        about = {"seed": seed, "settings": msgspec.to_builtins(settings or Settings())}
        return self.backend.create_sweep(
            config, project=project, entity=entity, name=name, meta={META: about}
        )

    def check(self, config: Mapping[str, Any]) -> None:
        """Looks whether agents could run a sweep.

        Raises:
            InputError: The config is no sweep, or no engine can do what it says.
        """
        make_engine(SweepConfig(config).experiment, sweep_id="check", seed=0)

    def sweep(self, sweep_id: str) -> SweepController:
        """The controller of one sweep.

        Raises:
            NotFoundError: There is no such sweep.
            InputError: Agents cannot run it.
        """
        found = self._sweeps.get(sweep_id)
        if found is not None:
            return found
        with self._lock:
            opening = self._opening.setdefault(sweep_id, threading.Lock())
        with opening:  # one that takes long to read keeps nobody from the others
            found = self._sweeps.get(sweep_id)
            if found is None:
                sweep = self.backend.sweep(sweep_id)
                found = SweepController(self.backend, sweep, self._snapshots, self._clock)
                self._sweeps[sweep_id] = found
        with self._lock:
            self._opening.pop(sweep_id, None)
        return found

    def resume(self) -> list[str]:
        """Opens all sweeps that are not over, as after a start; returns their ids.

        One that cannot be opened is left alone: who asks for it is told why.
        """
        opened = []
        offset = 0
        while page := self.backend.sweeps(limit=200, offset=offset):
            offset += len(page)
            for sweep in page:
                if META in sweep.meta and sweep.state not in ENDED_SWEEP:
                    with contextlib.suppress(TuneBridgeError):
                        self.sweep(sweep.id)
                        opened.append(sweep.id)
        return opened

    def tick(self) -> None:
        """Looks for agents that were lost; to be called about once a second."""
        for sweep in list(self._sweeps.values()):
            with contextlib.suppress(TuneBridgeError):
                sweep.expire()
        for call in list(self.ticks):
            with contextlib.suppress(TuneBridgeError):
                call()

    def opened(self) -> list[SweepController]:
        """The sweeps that somebody has asked for since the start."""
        return list(self._sweeps.values())

    def delete_sweep(self, sweep_id: str) -> None:
        """Deletes a sweep with its runs, rows and files.

        Raises:
            NotFoundError: There is none.
        """
        self.backend.delete_sweep(sweep_id)
        with self._lock:
            self._sweeps.pop(sweep_id, None)
            self._snapshots.remove(sweep_id)
        self._tell_deleted(sweep_id, None)

    def delete_run(self, run_id: str) -> None:
        """Deletes a run with its rows and files.

        Raises:
            NotFoundError: There is none.
        """
        sweep_id = self.backend.run(run_id).sweep_id
        self.backend.delete_run(run_id)
        self._tell_deleted(sweep_id, run_id)

    def _tell_deleted(self, sweep_id: str, run_id: str | None) -> None:
        for call in self.deleted:
            call(sweep_id, run_id)

    def close(self) -> None:
        """Writes the snapshots."""
        for sweep in list(self._sweeps.values()):
            sweep.save()
