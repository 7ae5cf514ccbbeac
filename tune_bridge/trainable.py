"""A program as a Tune trainable: one `step` is one report of the metric.

A class trainable rather than a function: Tune leaves the thread of a stopped function behind
until its next report, while a class is told of its end (`cleanup`) and of its next trial
(`reset_config`), so that a program can be ended at once and its worker reused.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback

from tune_bridge.errors import BackendError
from tune_bridge.reports import PAYLOAD
from tune_bridge.server_process import find_server
from tune_bridge.trial import Program, ProgramError, ProgramSettings, RefusedError, run_id
from tune_bridge.wandb_relay import Upstream

__all__ = ["Halt", "ProgramTrainable", "of_trial", "program_trainable", "request_stop"]

_LOOK = 0.5  # seconds between two looks at the stop sign


def request_stop(key: str, *, kill: bool = False) -> None:
    """Puts up the sign on which every program of a sweep ends, wherever in the cluster it runs.

    Tune ends a trial between two steps only: a program that has not reported for an hour would
    not hear of a Ctrl-C. Should the store fail, the programs end with their workers, which Tune
    kills in the end.
    """
    from ray.experimental.internal_kv import _internal_kv_put

    with contextlib.suppress(Exception):
        _internal_kv_put(key, b"kill" if kill else b"stop", overwrite=True)


def of_trial(key: str, trial_id: str) -> str:
    """The sign on which the program of one trial ends."""
    return f"{key}:{trial_id}"


def _stop_sign(key: str) -> bytes:
    from ray.experimental.internal_kv import _internal_kv_get

    with contextlib.suppress(Exception):
        return _internal_kv_get(key) or b""
    return b""


class ProgramTrainable(tune.Trainable):
    """Runs a program for each trial; a subclass with `settings` is made by `program_trainable`."""

    settings: ProgramSettings

    def setup(self, config: dict[str, Any]) -> None:
        """Takes the parameters; the program is started by the first step."""
        self._program: Program | None = None
        self._values = config
        self._resumed = False

    def step(self) -> dict[str, Any]:
        """Waits for the program's next report of the metric.

        Raises:
            ProgramError: The program failed, or ended without anything that a searcher could use.
            RefusedError: The scheduler pauses runs, and the program saves no checkpoints.
        """
        if self._program is None:
            self._program = self._make()
            self._program.start()
        program = self._program
        while True:
            try:
                result = program.next(_LOOK)
            except queue.Empty:
                sign = self._sign()
            except ProgramError as error:
                if self._resumed and error.outcome == "finished":
                    # It was paused behind its last report, and has nothing more to say.
                    return {"__duplicate__": True, PAYLOAD: {}}
                raise
            else:
                if not self._resumed and "done" not in result and "__duplicate__" not in result:
                    self._check(program)
                return result
            if sign:
                program.stop(kill=sign == b"kill", hurry=self._killing)
                raise ProgramError("the sweep was stopped", exit_code=program.exit_code)
            if self._unwanted():
                return program.cut()

    def _check(self, program: Program) -> None:
        """Refuses a program that reports before it has asked for a checkpoint, as agents do."""
        needs = self.settings.needs_checkpoints
        if not needs:
            return
        if program.by_wandb:
            words = (
                "the program has reported by wandb, which does not wait for the decision: call "
                "tune_bridge.init(), run.checkpoint(), run.save_checkpoint(folder) and run.log "
                "in its place"
            )
        elif program.reports.resumable or any(program.checkpoint_dir.iterdir()):
            return
        else:
            words = (
                "the program has reported without having asked for a checkpoint: call "
                "run.checkpoint() before training and run.save_checkpoint(folder) while it goes on"
            )
        program.stop(hurry=self._killing)
        raise RefusedError(f"{needs}; {words}", payload=program.reports.take())

    def halt(self, trial_id: str | None = None) -> None:
        """Ends the program of a trial that does not run, while its worker waits for another one.

        Args:
            trial_id: The trial that is meant; another one, which has come since, goes on.
        """
        if self._program is not None and trial_id in (None, self.trial_id):
            self._program.stop(hurry=self._killing)
            self._program = None

    def _sign(self) -> bytes:
        return _stop_sign(self.settings.stop_key) if self.settings.stop_key else b""

    def _unwanted(self) -> bool:
        """Whether this trial alone is to end."""
        key = self.settings.stop_key
        return bool(key) and bool(_stop_sign(of_trial(key, self.trial_id)))

    def _killing(self) -> bool:
        return self._sign() == b"kill"

    def cleanup(self) -> None:
        """Ends the program."""
        self.halt()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Makes this worker ready for another trial."""
        self.halt()
        self._values, self._resumed = new_config, False
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Copies what the program put into its checkpoint folder; it waits in `log` meanwhile."""
        program = self._program or self._make()
        folder = program.checkpoint_dir
        if folder.is_dir():
            shutil.copytree(folder, checkpoint_dir, dirs_exist_ok=True)

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Puts a checkpoint where the program, when it is started, finds it."""
        self.halt()
        folder = self._make().checkpoint_dir
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(str(checkpoint), folder)
        self._resumed = True

    def _make(self) -> Program:
        about = {
            "id": run_id(self.settings.sweep_id, self.trial_id),
            "name": self.trial_name,
        }
        results = self.settings.results_dir
        folder = Path(results, self.trial_id) if results else Path(self.logdir)
        place = self.settings.wandb_place
        upstream = None if place is None else functools.partial(_upstream, place)
        return Program(self.settings, self._values, folder, about, upstream=upstream)


_STARTS = "import sys; from tune_bridge.server_process import ensure_server as s; s(sys.argv[1])"


def _upstream(place: str) -> Upstream:
    """The server of a place on this machine; it is started when none runs.

    Raises:
        BackendError: It does not start.
    """
    found = find_server(place)
    if found is None:
        # By a process that ends then: Ray ends the children of a worker together with it.
        started = subprocess.run(
            [sys.executable, "-c", _STARTS, place], capture_output=True, text=True, check=False
        )
        found = find_server(place)
        if found is None:
            lines = started.stderr.strip().splitlines()
            raise BackendError(lines[-1] if lines else f"{place}: no server could be started")
    return Upstream(found.url, found.key)


class Halt(Callback):
    """Ends the program of a trial as soon as Tune is done with it, or has paused it.

    With reused workers Tune tells a stopped trial nothing until its worker gets the next one: the
    program would wait in its last report, and keep its memory, for as long as there is none.
    """

    def __init__(self) -> None:
        self._running: dict[str, tuple[Any, Any]] = {}  # trial and worker by the trial's id

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Notes the worker."""
        self._running[trial.trial_id] = (trial, trial.temporary_state.ray_actor)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Tells the worker; nothing waits for it here."""
        self._halt(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Its worker ends with it."""
        self._running.pop(trial.trial_id, None)

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        """Tells the workers of trials that have been paused."""
        for trial, _ in list(self._running.values()):
            if trial.status == "PAUSED":
                self._halt(trial.trial_id)

    def _halt(self, trial_id: str) -> None:
        _, actor = self._running.pop(trial_id, (None, None))
        if actor is not None:
            with contextlib.suppress(Exception):
                actor.halt.remote(trial_id)


def program_trainable(settings: ProgramSettings) -> type[ProgramTrainable]:
    """The trainable class for the programs of one sweep, named after the program."""
    stem = Path(settings.program).stem if settings.program else "program"
    return type(stem, (ProgramTrainable,), {"settings": settings, "__module__": __name__})
