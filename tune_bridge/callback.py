"""`SweepCallback`: a running Tune experiment is a sweep, and each of its trials a run.

    from tune_bridge import SweepCallback

    tune.run(train, config=space, callbacks=[SweepCallback("my-project")])

or, without touching a script, with ``RAY_TUNE_CALLBACKS=tune_bridge.callback.SweepCallback`` in the
environment. Everything goes through one `Writer`: a hook costs microseconds on Tune's thread, a
backend that is away costs nothing, and no error in here reaches the experiment.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from ray.tune import Callback

from tune_bridge import tune_observer
from tune_bridge.backends import open_backend
from tune_bridge.backends.base import (
    ENDED_RUN,
    Backend,
    LogRows,
    PatchRun,
    PatchSweep,
    PutRun,
    PutSweep,
    Row,
    Run,
    Sweep,
    new_id,
)
from tune_bridge.backends.places import default_place
from tune_bridge.backends.wandb import is_wandb
from tune_bridge.backends.writer import Writer
from tune_bridge.errors import TuneBridgeError
from tune_bridge.reports import PAYLOAD
from tune_bridge.trial import ProgramError, printable, run_id
from tune_bridge.tune_observer import plain_config, plain_row

__all__ = ["SweepCallback"]

_logger = logging.getLogger(__name__)
_MESSAGE = 8000  # characters of an error that are kept, the last ones

_Hook = TypeVar("_Hook", bound=Callable[..., None])


def _contained(hook: _Hook) -> _Hook:
    """Keeps an exception away from Tune, which would abort the experiment; it is logged once."""

    @functools.wraps(hook)
    def call(self: SweepCallback, *args: Any, **kwargs: Any) -> None:
        try:
            hook(self, *args, **kwargs)
        except Exception as error:  # reporting must not end a search
            place = (hook.__name__, type(error))
            if place not in self._told:
                self._told.add(place)
                _logger.warning(
                    "the sweep misses something: %s failed; it is not said again",
                    hook.__name__,
                    exc_info=True,
                )

    return cast("_Hook", call)


class _Record:
    """What the callback remembers of a trial.

    Attributes:
        run: The run's id.
        next: The next free step.
        offset: Added to the steps of a program that counts from 0 again after a restart.
        tag: The experiment tag, which Tune changes with the configuration.
        source: Where the checkpoint is that was taken over from another trial, or None.
        config: The parameters as stored.
        state: The run's state as stored.
        natural: Why the trial ends at its last result, or None when the scheduler ended it.
        program: It is a program, which reports rows of its own.
        stopped: The last result was marked as the last one.
        unwanted: Somebody has asked, where the sweep is shown, that it ends.
    """

    __slots__ = (
        "config",
        "natural",
        "next",
        "offset",
        "program",
        "run",
        "source",
        "state",
        "stopped",
        "tag",
        "unwanted",
    )

    def __init__(self, run: str) -> None:
        self.run = run
        self.next = self.offset = 0
        self.tag: str | None = None
        self.source: str | None = None
        self.config: dict[str, Any] = {}
        self.state = "pending"
        self.natural: str | None = None
        self.program = self.stopped = self.unwanted = False


class SweepCallback(Callback):
    """Makes a Tune experiment a sweep. Works in ``tune.run`` and in a ``Tuner``.

    Args:
        project: The sweep's project; by default the sweep config's, else ``WANDB_PROJECT``, else
            "uncategorized".
        name: The sweep's name; by default the sweep config's, else the experiment's.
        backend: A backend, or its URL; the default one without. ``wandb`` (or
            ``wandb://entity/project``) is W&B itself, where a click on "stop" ends the trial.
        sweep_config: What the sweep says it is. By default that is read off the experiment: its
            space, searcher, scheduler and metric, as far as a sweep can say them.
        sweep_id: An id for a new sweep; a fresh one by default. With an existing one the runs join
            it.
        exclude: Names of results that are not logged, beside those that Tune adds about the
            machine.
        close_timeout: Seconds that the end of the experiment may wait for the backend.

    Attributes:
        sweep_id: The sweep's id; known when the experiment has begun. At W&B that is the one that
            W&B gave it, unless W&B did not answer then.
        outcomes: Number of ended runs by state.
        stopped_early: How many of them the scheduler or the metric's target ended.
    """

    def __init__(
        self,
        project: str | None = None,
        *,
        name: str | None = None,
        backend: Backend | str | None = None,
        sweep_config: Mapping[str, Any] | None = None,
        sweep_id: str | None = None,
        exclude: Iterable[str] = (),
        close_timeout: float = 30.0,
    ) -> None:
        self.sweep_id = sweep_id
        self.project = project
        self.name = name
        self._backend = backend
        self._sweep_config = None if sweep_config is None else dict(sweep_config)
        self._exclude = frozenset(exclude)
        self._close_timeout = close_timeout
        self._given_id = sweep_id
        self._fresh()

    def _fresh(self) -> None:
        self._records: dict[str, _Record] = {}
        self._told: set[Any] = set()
        self._writer: Writer | None = None
        self._opened: Backend | None = None
        self._observer = tune_observer.Observer(None, {})
        self._restored = self._over = False
        self._running: dict[str, Any] = {}
        self._derived = False
        self.outcomes: dict[str, int] = {}
        self.stopped_early = 0

    def __getstate__(self) -> dict[str, Any]:
        """Without the writer and the views of Tune's objects: a ``Tuner`` pickles its callbacks."""
        state = dict(self.__dict__)
        for name in ("_writer", "_opened", "_observer", "_records", "_told", "_running"):
            del state[name]
        if isinstance(self._backend, Backend):
            state["_backend"] = getattr(self._backend, "url", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._fresh()
        self.__dict__.update(state)

    def get_state(self) -> dict[str, Any]:
        """What a restored experiment needs to go on in the same sweep and the same runs."""
        return {
            "sweep_id": self.sweep_id,
            "records": {
                trial: {slot: getattr(record, slot) for slot in _Record.__slots__}
                for trial, record in self._records.items()
            },
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes what `get_state` gave; Tune calls it before `setup`."""
        self.sweep_id = state["sweep_id"]
        self._records = {}
        for trial, slots in state["records"].items():
            record = self._records[trial] = _Record(slots["run"])
            for slot, value in slots.items():
                setattr(record, slot, value)
            record.unwanted = False
            if record.state == "running":
                record.state = "pending"  # it was cut off, and may have been closed since
        self._restored = self.sweep_id is not None

    # Hooks, in the order in which Tune calls them.

    @_contained
    def setup(self, *args: Any, **info: Any) -> None:
        """Creates the sweep, or opens it again after a restore."""
        if self._over:  # the same callback in a second experiment: another sweep
            self._fresh()
            self.sweep_id = self._given_id
        self._observer = tune_observer.find(sys._getframe(1))
        self._writer = Writer(self._open())
        now = time.time()
        config = self._sweep_config
        if config is None:
            config = self._observer.sweep_config()
            self._derived = not config.get("parameters")
        self._config = config
        project = self.project or config.get("project") or os.environ.get("WANDB_PROJECT")
        name = self.name or config.get("name") or self._observer.experiment_name
        about = {"made_by": "SweepCallback", **self._observer.about()}
        self.sweep_id = self.sweep_id or self._named(project, name, about) or new_id()
        self._put(
            PutSweep(
                Sweep(
                    id=self.sweep_id,
                    project=project or "uncategorized",
                    entity=config.get("entity") or "local",
                    name=name or self.sweep_id,
                    config=config,
                    created_at=now,
                    updated_at=now,
                    meta=about,
                )
            )
        )
        if self._restored:
            changes = {"state": "running", "message": "restored"}
            self._put(PatchSweep(self.sweep_id, changes, now, reopen=True))

    def _open(self) -> Backend | str | None:
        """The backend for the writer; a place at W&B is opened here, since stops come from it."""
        if isinstance(self._backend, Backend):
            return self._backend
        if not is_wandb(place := self._backend or default_place()):
            return self._backend  # opened in the writer's thread
        self._opened = open_backend(place)
        return self._opened

    def _named(self, project: str | None, name: str | None, about: dict[str, Any]) -> str | None:
        """Makes the sweep where a place gives sweeps their ids; None where ids are ours."""
        backend = self._opened or self._backend
        if not isinstance(backend, Backend) or not backend.names_sweeps:
            return None
        try:
            made = backend.create_sweep(self._config, project=project, name=name, meta=about)
        except TuneBridgeError as error:
            _logger.warning("the sweep could not be made yet: %s", error)
            return None
        if (page := getattr(backend, "page", None)) is not None:
            _logger.info("sweep %s: %s", made.id, page(made.id))
        return made.id

    @_contained
    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Creates the trial's run, or notes that it goes on."""
        record, now = self._record(trial), time.time()
        if record.state != "running":
            about: dict[str, Any] = {"message": "restored" if self._restored else ""}
            if record.state == "pending" and not record.next:
                # The program's own wandb may have made the run before this was written.
                about |= {"name": str(trial), "meta": {"trial_id": trial.trial_id}}
            self._patch(record, now, reopen=self._restored, state="running", **about)
        record.state = "running"
        self._running[trial.trial_id] = trial
        record.offset = record.next
        record.stopped = False
        record.natural = None
        self._notice_exploit(record, trial, now)

    @_contained
    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Logs a result as a row, or the rows that a program sent with it."""
        payload = result.pop(PAYLOAD, None)
        record, now = self._record(trial), time.time()
        if payload is None:
            row = plain_row(result, self._exclude, self._told)
            self._log(record, [Row(record.next, now, row)])
        else:
            record.program = True
            self._log_payload(record, payload, now, result)
        if result.get("done"):
            record.stopped = True
            final = payload is not None and payload.get("final", False)
            record.natural = "" if final else self._observer.natural_end(trial, result)

    @_contained
    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Ends a run that came to its end, or that the scheduler ended."""
        record = self._record(trial)
        last = trial.last_result or {}
        if record.unwanted:
            self._end(record, "killed", message="stopped by a person")
            return
        if trial.status in ("PAUSED", "PENDING"):
            record.stopped, record.natural = True, self._observer.natural_end(trial, last)
        if record.stopped and record.natural is None:
            at = last.get("training_iteration")
            message = f"stopped early by {self._observer.scheduler_name}"
            if at is not None:
                message += f" at iteration {at}"
            message = self._observer.why(trial) or message
            self._end(record, "finished", message=message, stopped_early=True)
        else:
            by_itself = record.program and not record.natural
            code = {"exit_code": 0} if by_itself else {}
            self._end(record, "finished", message=record.natural or "", **code)

    @_contained
    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        """Notes which trials have been paused: Tune does not tell. Stops those that have to."""
        backend = self._opened or self._backend
        if isinstance(backend, Backend) and (unwanted := backend.stop_requests()):
            self._stop(unwanted)
        for trial_id, trial in list(self._running.items()):
            record = self._record(trial)
            if record.state == "running" and trial.status != "PAUSED":
                continue
            del self._running[trial_id]
            if record.state == "running":
                record.state = "pending"
                message = f"paused by {self._observer.scheduler_name} before step {record.next}"
                self._patch(record, time.time(), state="pending", message=message)

    def _stop(self, unwanted: frozenset[str]) -> None:
        """Has Tune end the trials that somebody wants stopped."""
        controller = self._observer.controller
        for trial in list(self._running.values()):
            record = self._record(trial)
            if record.run in unwanted and not record.unwanted and record.state == "running":
                record.unwanted = True
                controller.stop_trial(trial)

    @_contained
    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Notes an attempt that failed, when Tune tries again."""
        record = self._record(trial)
        text = _error_text(trial)
        failures = int(getattr(trial, "num_failures", 1) or 1)
        self._patch(
            record,
            time.time(),
            message=f"attempt {failures} failed and is repeated:\n{text}",
            meta={"failures": failures},
        )

    @_contained
    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Ends a run with its error; a program without a usable metric has finished."""
        record = self._record(trial)
        error = tune_observer.error_of(trial)
        if isinstance(error, ProgramError):
            self._log_payload(record, error.payload, time.time(), {})
            message = error.message
            if error.outcome == "finished":
                message += "; the searcher was told of a failure"
            self._end(record, error.outcome, message=message, exit_code=error.exit_code)
        else:
            self._end(record, "failed", message=_error_text(trial))

    @_contained
    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        """Closes what is open: Tune says nothing of trials that a budget or an interrupt ended."""
        interrupted = self._observer.interrupted()
        reached, refused = self._observer.reached, self._observer.refused
        if interrupted:
            self._close_sweep("canceled", "killed", "interrupted")
        elif refused:
            self._close_sweep("failed", "killed", refused)
        elif reached:
            self._close_sweep("finished", "finished", reached, stopped_early=True)
        else:
            self._close_sweep("finished", "killed", "the experiment ended before the run did")
        self.close()

    @_contained
    def abort(self, reason: str) -> None:
        """Closes what is open when Tune did not come to its end; nothing happens when it did."""
        if self._writer is not None:
            self._close_sweep("canceled", "killed", reason)
            self.close()

    def _close_sweep(self, state: str, runs: str, reason: str, **changes: Any) -> None:
        cut = [record for record in self._records.values() if record.state not in ENDED_RUN]
        for record in cut:
            self._end(record, runs, message=reason, **changes)
        if self.sweep_id is None:
            return
        about: dict[str, Any] = {"state": state}
        if state != "finished" or changes:
            about["message"] = reason
        if self._derived:
            observed = tune_observer.observed([r.config for r in self._records.values()])
            about["config"] = {**self._config, "parameters": observed}
        self._put(PatchSweep(self.sweep_id, about, time.time()))

    def close(self) -> None:
        """Waits for the backend, at most ``close_timeout`` seconds. Idempotent."""
        self._over = True
        writer, self._writer = self._writer, None
        if writer is None:
            return
        left = writer.close(self._close_timeout)
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()
        if left.count or left.lost or left.refused:
            _logger.warning(
                "sweep %s: %d changes wait in %s, %d were refused, %d are lost",
                self.sweep_id,
                left.count,
                left.spool,
                left.refused,
                left.lost,
            )

    # What the hooks are made of.

    def _put(self, operation: Any) -> None:
        if self._writer is not None:
            self._writer.put(operation)

    def _patch(self, record: _Record, when: float, *, reopen: bool = False, **changes: Any) -> None:
        self._put(PatchRun(record.run, changes, when, reopen))

    def _record(self, trial: Any) -> _Record:
        record = self._records.get(trial.trial_id)
        if record is not None:
            return record
        assert self.sweep_id is not None
        record = _Record(run_id(self.sweep_id, trial.trial_id))
        self._records[trial.trial_id] = record
        record.tag = trial.experiment_tag
        record.config = plain_config(trial.config)
        self._put(
            PutRun(
                Run(
                    id=record.run,
                    sweep_id=self.sweep_id,
                    name=str(trial),
                    config=record.config,
                    created_at=time.time(),
                    meta={"trial_id": trial.trial_id, "experiment_tag": trial.experiment_tag},
                )
            )
        )
        return record

    def _notice_exploit(self, record: _Record, trial: Any, now: float) -> None:
        """Notes other values, and a state that was taken over, where a trial goes on."""
        donor, source = tune_observer.source_of(trial) or (trial.trial_id, None)
        copied = donor != trial.trial_id and source != record.source
        if not copied and trial.experiment_tag == record.tag:
            return
        record.tag = trial.experiment_tag
        config = plain_config(trial.config)
        changed = {key: value for key, value in config.items() if record.config.get(key) != value}
        if not (changed or copied):
            return
        took = "goes on with other values from"
        exploit: dict[str, Any] = {"old": record.config, "new": config}
        if copied:
            record.source = source
            exploit["donor"] = run_id(self.sweep_id or "", donor)
            took = f"took over the state of run {exploit['donor']} before"
        record.config = config
        shown = ", ".join(f"{key}={value}" for key, value in changed.items())
        self._patch(
            record,
            now,
            config=config,
            message=f"{took} step {record.next}" + (f": {shown}" if shown else ""),
            meta={"exploit": exploit},
        )

    def _log(self, record: _Record, rows: list[Row]) -> None:
        if rows:
            record.next = max(record.next, rows[-1].step + 1)
            self._put(LogRows(record.run, rows))

    def _log_payload(
        self, record: _Record, payload: Mapping[str, Any], now: float, result: Mapping[str, Any]
    ) -> None:
        rows = [
            Row(record.offset + step, when, values)
            for step, when, values in payload.get("rows", ())
        ]
        if rows and not payload.get("final"):
            for key in ("training_iteration", "time_total_s"):
                if key in result:
                    rows[-1].values.setdefault(key, result[key])
        self._log(record, rows)
        if payload.get("config"):
            record.config = {**record.config, **payload["config"]}
            self._patch(record, now, config=record.config)
        if payload.get("summary"):
            self._patch(record, now, summary=payload["summary"])

    def _end(self, record: _Record, state: str, **changes: Any) -> None:
        record.state = state
        self.outcomes[state] = self.outcomes.get(state, 0) + 1
        self.stopped_early += bool(changes.get("stopped_early"))
        self._patch(record, time.time(), state=state, **changes)


def _error_text(trial: Any) -> str:
    """A trial's traceback, under the error that it ends with."""
    text = tune_observer.error_text(trial)[-_MESSAGE:]
    lines = [printable(line) for line in text.splitlines()]
    return "\n".join(lines if len(lines) == 1 else [*lines[-1:], *lines])
