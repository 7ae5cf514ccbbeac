"""`SweepCallback`: a running Tune experiment is a sweep, and each of its trials a run.

    from tune_bridge import SweepCallback

    tune.run(train, config=space, callbacks=[SweepCallback("my-project")])

or, without touching a script, with ``RAY_TUNE_CALLBACKS=tune_bridge.callback.SweepCallback`` in the
environment. Everything goes through one `Writer`: a hook costs microseconds on Tune's thread, a
backend that is away costs nothing, and no error in here reaches the experiment.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

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
from tune_bridge.backends.places import canonical, default_place
from tune_bridge.backends.wandb import is_wandb
from tune_bridge.backends.writer import Writer
from tune_bridge.callback_files import Attachments, folder_of, is_of_this_machine
from tune_bridge.callback_parts import Record, contained, error_text, exploit_of, runs_of
from tune_bridge.controller.steering import STEERED, Link
from tune_bridge.errors import TuneBridgeError
from tune_bridge.reports import PAYLOAD
from tune_bridge.sweep_scheduler import COMMANDED
from tune_bridge.trial import ProgramError, run_id
from tune_bridge.tune_observer import plain_config, plain_row

__all__ = ["SweepCallback"]

_logger = logging.getLogger(__name__)
_LIVE = (
    *("_writer", "_opened", "_link", "_known", "_observer", "_records", "_told", "_running"),
    *("_steered", "_stops", "_files"),
)
"""Attributes that are made anew in each process."""

_TRAIN_CHECKPOINT = "checkpoint_path"
"""Where Ray Train, launched by a trial, says that a report has a checkpoint: Tune is not told."""

_RECALL = 10.0  # seconds to look, after a restore, for what the sweep has already


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
        self._records: dict[str, Record] = {}
        self._told: set[Any] = set()
        self._writer: Writer | None = None
        self._opened: Backend | None = None
        self._link: Link | None = None
        self._observer = tune_observer.Observer(None, {})
        self._known: dict[str, Run] = {}
        self._restored = self._over = False
        self._running: dict[Record, Any] = {}
        self._steered: Any = None
        self._stops: Backend | None = None
        self._files = Attachments(None, "")
        self._derived = False
        self.outcomes: dict[str, int] = {}
        self.stopped_early = 0

    def __getstate__(self) -> dict[str, Any]:
        """Without the writer and the views of Tune's objects: a ``Tuner`` pickles its callbacks."""
        state = dict(self.__dict__)
        for name in _LIVE:
            del state[name]
        if isinstance(self._backend, Backend):
            state["_backend"] = getattr(self._backend, "url", None)
        elif isinstance(self._backend, str):  # another folder may be the current one then
            state["_backend"] = canonical(self._backend)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._fresh()
        self.__dict__.update(state)

    def get_state(self) -> dict[str, Any]:
        """What a restored experiment needs to go on in the same sweep and the same runs."""
        return {
            "sweep_id": self.sweep_id,
            "records": {
                trial: {slot: getattr(record, slot) for slot in Record.__slots__}
                for trial, record in self._records.items()
            },
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes what `get_state` gave; Tune calls it before `setup`."""
        self.sweep_id = state["sweep_id"]
        self._records = {}
        for trial, slots in state["records"].items():
            record = self._records[trial] = Record(slots["run"])
            for slot, value in slots.items():
                setattr(record, slot, value)
            record.unwanted = False
            if record.state == "running":
                record.state = "pending"  # it was cut off, and may have been closed since
        self._restored = self.sweep_id is not None

    # Hooks, in the order in which Tune calls them.

    @contained
    def setup(self, *args: Any, **info: Any) -> None:
        """Creates the sweep, or opens it again after a restore."""
        if self._over:  # the same callback in a second experiment: another sweep
            self._fresh()
            self.sweep_id = self._given_id
        self._observer = tune_observer.find(sys._getframe(1))
        writer = self._writer = Writer(self._open())
        now = time.time()
        config = self._sweep_config
        if config is None:
            config = self._observer.sweep_config()
            self._derived = not config.get("parameters")
        self._config = config
        project = self.project or config.get("project") or os.environ.get("WANDB_PROJECT")
        name = self.name or config.get("name") or self._observer.experiment_name
        about = {"made_by": "SweepCallback", **self._observer.about()}
        steered = self._steered = self._observer.steered
        if steered is not None:
            about[STEERED] = "SweepScheduler"
            steered.listener = self._decided
        place = self._opened or self._backend
        self._stops = place if isinstance(place, Backend) else None
        known = 0 if self.sweep_id is None else None
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
        place = self._opened or self._backend
        stays = is_of_this_machine(place)
        self._files = Attachments(folder_of(place), self.sweep_id, stays=stays)
        self._link = Link(
            self._opened or self._backend,
            self.sweep_id,
            self._put,
            known=known,
            steered=steered is not None,
            away=lambda: writer.away,
            delivered=lambda: writer.flush(_RECALL),
        )
        if self._restored:
            changes = {"state": "running", "message": "restored"}
            self._put(PatchSweep(self.sweep_id, changes, now, reopen=True))
            self._log("restored")
            self._recall()

    def _recall(self) -> None:
        """Learns of rows and runs that are newer than what Tune has kept of this callback."""
        assert self._writer is not None
        assert self.sweep_id is not None
        self._writer.flush(_RECALL)
        self._known = runs_of(self._opened or self._backend, self.sweep_id, _RECALL)
        for record in self._records.values():
            if record.run in self._known:
                record.next = max(record.next, self._known[record.run].last_step + 1)

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

    @contained
    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Creates the trial's run, or notes that it goes on."""
        record, now = self._record(trial), time.time()
        source = tune_observer.source_of(trial)
        if record.state != "running":
            about: dict[str, Any] = {"message": "restored" if self._restored else ""}
            if record.state == "retried":
                about = {}  # the error of the last attempt stays
            if record.state == "pending" and not record.next:
                # The program's own wandb may have made the run before this was written.
                about |= {"name": record.name, "meta": {"trial_id": trial.trial_id}}
            self._patch(record, now, reopen=self._restored, state="running", **about)
            again = "restored" if self._restored else "resumed"
            more = {"checkpoint": source[1]} if source and record.next else {}
            self._log(again if record.next else "started", record, **more)
        record.state = "running"
        self._running[record] = trial
        record.offset = record.next
        record.stopped = False
        record.natural = None
        self._notice_exploit(record, trial, source, now)

    @contained
    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Logs a result as a row, or the rows that a program sent with it."""
        payload = result.pop(PAYLOAD, None)
        record, now = self._record(trial), time.time()
        if (where := (result.get("hostname"), result.get("node_ip"))) != record.where:
            record.where = where
            self._patch(record, now, meta={"host": where[0], "node_ip": where[1]})
        if payload is None:
            row = self._row(record, result)
            self._add(record, [Row(record.next, now, row)])
            if _TRAIN_CHECKPOINT in row:
                self._note_checkpoint(record, str(row[_TRAIN_CHECKPOINT]))
        else:
            record.program = True
            self._log_payload(record, payload, now, result)
        if result.get("done"):
            record.stopped = True
            final = payload is not None and payload.get("final", False)
            record.natural = "" if final else self._observer.natural_end(trial, result)
            if record.natural is None:
                record.reason = self._observer.because(trial, result)

    @contained
    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Ends a run that came to its end, or that the scheduler ended."""
        record = self._record(trial)
        last = trial.last_result or {}
        if record.unwanted:
            self._end(record, "killed", message="stopped by a person")
            return
        if trial.status in ("PAUSED", "PENDING"):
            record.stopped, record.natural = True, self._observer.natural_end(trial, last)
        if words := self._observer.commanded(trial):
            self._end(record, "finished", message=words, stopped_early=True)
        elif record.stopped and record.natural is None:
            at = last.get("training_iteration")
            message = f"stopped early by {self._observer.scheduler_name}"
            if at is not None:
                message += f" at iteration {at}"
            message += record.reason or self._observer.because(trial, last or None)
            message = self._observer.why(trial) or message
            self._end(record, "finished", message=message, stopped_early=True)
        else:
            by_itself = record.program and not record.natural
            code = {"exit_code": 0} if by_itself else {}
            self._end(record, "finished", message=record.natural or "", **code)

    @contained
    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        """Notes which trials have been paused: Tune does not tell. Stops those that have to."""
        # Tune comes here more often than anywhere else, mostly for nothing.
        if self._stops is not None and (unwanted := self._stops.stop_requests()):
            self._stop(unwanted)
        if self._steered is not None:
            self._obey(trials)
        left = [
            record
            for record, trial in self._running.items()
            if record.state != "running" or trial.status == "PAUSED"
        ]
        for record in left:
            del self._running[record]
            if record.state == "running":
                record.state = "pending"
                message = f"paused by {self._observer.scheduler_name} before step {record.next}"
                self._patch(record, time.time(), state="pending", message=message)
                self._log("paused", record)

    def _obey(self, trials: Any) -> None:
        """Does what is asked of the sweep."""
        scheduler, controller = self._steered, self._observer.controller
        if controller is None or self._link is None:
            return
        for command in self._link.take():
            record = None
            named = [t for t in trials if self._record(t).run == command.args.get("run")]
            if named:
                record = self._record(named[0])
            state = scheduler.command(controller, command, named[0] if named else None)
            self._log("command", record, verb=command.verb, args=command.args)
            if state is not None and self.sweep_id is not None:
                message = "paused by command" if state == "paused" else ""
                changes = {"state": state, "message": message}
                self._put(PatchSweep(self.sweep_id, changes, time.time()))
        scheduler.step(controller)

    def _decided(self, said: dict[str, Any]) -> None:
        """The scheduler has decided; `tune_bridge.SweepScheduler` says why."""
        run = run_id(self.sweep_id or "", said["run"])
        record = self._records.get(said["run"])
        did = {**said, "run": run, "info": plain_config(said["info"])}
        self._log("decision", record, did=[did])

    def _log(self, event: str, record: Record | None = None, **more: Any) -> None:
        """Adds an event to the sweep's log."""
        if self._link is not None:
            about = {} if record is None else {"run": record.run, "step": record.next}
            self._link.log({"event": event, **about, **more})

    @contained
    def on_checkpoint(
        self, iteration: int, trials: Any, trial: Any, checkpoint: Any, **info: Any
    ) -> None:
        """Notes the last checkpoint, where it is now."""
        self._note_checkpoint(self._record(trial), str(getattr(checkpoint, "path", "")))

    def _note_checkpoint(self, record: Record, path: str) -> None:
        saved = {"step": record.next - 1, "path": path}
        self._patch(record, time.time(), meta={"checkpoint": saved})
        self._log("checkpoint", record, path=path)

    def _stop(self, unwanted: frozenset[str]) -> None:
        """Has Tune end the trials that somebody wants stopped."""
        controller = self._observer.controller
        for record, trial in list(self._running.items()):
            if record.run in unwanted and not record.unwanted and record.state == "running":
                record.unwanted = True
                controller.stop_trial(trial)

    @contained
    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Notes an attempt that failed, when Tune tries again."""
        record = self._record(trial)
        text = error_text(trial)
        failures = int(getattr(trial, "num_failures", 1) or 1)
        record.state = "retried"
        message = f"attempt {failures} failed and is repeated:\n{text}"
        meta = {"failures": failures}
        self._patch(record, time.time(), state="pending", message=message, meta=meta)
        first = text.partition("\n")[0]
        self._log("recovered", record, failures=failures, error=first, traceback=text)

    @contained
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
            self._end(record, "failed", message=error_text(trial))

    @contained
    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        """Closes what is open: Tune says nothing of trials that a budget or an interrupt ended."""
        steered = self._observer.steered
        wanted = steered.ending if steered is not None else ""
        interrupted = self._observer.interrupted()
        reached, refused = self._observer.reached, self._observer.refused
        if interrupted:
            self._close_sweep("canceled", "killed", "interrupted")
        elif refused:
            self._close_sweep("failed", "killed", refused)
        elif wanted == "cancel":
            self._close_sweep("canceled", "killed", "canceled by command")
        elif wanted:
            self._close_sweep("finished", "finished", COMMANDED, stopped_early=True)
        elif reached:
            self._close_sweep("finished", "finished", reached, stopped_early=True)
        else:
            self._close_sweep("finished", "killed", "the experiment ended before the run did")
        self.close()

    @contained
    def abort(self, reason: str) -> None:
        """Closes what is open when Tune did not come to its end; nothing happens when it did."""
        if self._writer is not None:
            self._close_sweep("canceled", "killed", reason)
            self.close()

    def _close_sweep(self, state: str, runs: str, reason: str, **changes: Any) -> None:
        cut = [record for record in self._records.values() if record.state not in ENDED_RUN]
        for record in cut:
            self._end(record, runs, message=reason, **changes)
        ours = {record.run for record in self._records.values()}
        for run in self._known.values():
            if run.id not in ours and run.state not in ENDED_RUN:
                lost = {"state": "crashed", "message": "lost when its experiment was killed"}
                self._put(PatchRun(run.id, lost, time.time()))
        if self.sweep_id is None:
            return
        about: dict[str, Any] = {"state": state}
        if state != "finished" or changes:
            about["message"] = reason
        if self._derived:
            observed = tune_observer.observed([r.config for r in self._records.values()])
            about["config"] = {**self._config, "parameters": observed}
        self._put(PatchSweep(self.sweep_id, about, time.time(), reopen=True))
        self._log("end", state=state)

    def close(self) -> None:
        """Waits for the backend, at most ``close_timeout`` seconds. Idempotent."""
        self._over = True
        until = time.monotonic() + self._close_timeout
        if self._link is not None:
            self._link.close()
        writer, self._writer = self._writer, None
        if writer is None:
            return
        self._files.close(self._close_timeout / 3)
        left = writer.close(max(0.0, until - time.monotonic()))
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()
        if left.count or left.lost or left.refused:
            _logger.warning(
                "sweep %s: %d changes wait in %s (tune-bridge sync delivers them), %d were "
                "refused, %d are lost",
                self.sweep_id,
                left.count,
                left.spool,
                left.refused,
                left.lost,
            )

    # What the hooks are made of.

    def _put(self, operation: Any) -> None:
        if (writer := self._writer) is not None:
            writer.put(operation)

    def _patch(self, record: Record, when: float, *, reopen: bool = False, **changes: Any) -> None:
        self._put(PatchRun(record.run, changes, when, reopen))

    def _record(self, trial: Any) -> Record:
        record = self._records.get(trial.trial_id)
        if record is not None:
            return record
        assert self.sweep_id is not None
        record = Record(run_id(self.sweep_id, trial.trial_id))
        if record.run in self._known:  # it began after Tune last kept what it knows
            record.next = self._known[record.run].last_step + 1
        self._records[trial.trial_id] = record
        record.name, record.tag = str(trial), trial.experiment_tag
        record.config = plain_config(trial.config)
        self._put(
            PutRun(
                Run(
                    id=record.run,
                    sweep_id=self.sweep_id,
                    name=record.name,
                    config=record.config,
                    created_at=time.time(),
                    meta={"trial_id": trial.trial_id, "experiment_tag": trial.experiment_tag},
                )
            )
        )
        if record.run not in self._known:
            self._log("created", record)
        return record

    def _notice_exploit(
        self, record: Record, trial: Any, source: tuple[str, str] | None, now: float
    ) -> None:
        """Notes other values, and a state that was taken over, where a trial goes on."""
        found = exploit_of(record, trial, source, self.sweep_id or "", now)
        if found is None:
            return
        reason, more = self._observer.exploited(trial)
        exploit = found.changes["meta"]["exploit"]
        self._patch(record, now, **found.changes)
        did = {"action": "exploit", "run": record.run, "reason": reason, **exploit}
        info = plain_config({**found.info, **more})
        self._log("exploit", record, did=[{**did, "info": info}])

    def _row(self, record: Record, result: Mapping[str, Any]) -> dict[str, Any]:
        run, step, files = record.run, record.next, self._files
        return plain_row(
            result, self._exclude, self._told, lambda key, value: files.take(run, step, key, value)
        )

    def _add(self, record: Record, rows: list[Row]) -> None:
        if rows:
            record.next = max(record.next, rows[-1].step + 1)
            self._put(LogRows(record.run, rows))

    def _log_payload(
        self, record: Record, payload: Mapping[str, Any], now: float, result: Mapping[str, Any]
    ) -> None:
        rows = [
            Row(record.offset + step, when, values)
            for step, when, values in payload.get("rows", ())
        ]
        if rows and not payload.get("final"):
            for key in ("training_iteration", "time_total_s"):
                if key in result:
                    rows[-1].values.setdefault(key, result[key])
        self._add(record, rows)
        if payload.get("config"):
            record.config = {**record.config, **payload["config"]}
            self._patch(record, now, config=record.config)
        if payload.get("summary"):
            self._patch(record, now, summary=payload["summary"])

    def _end(self, record: Record, state: str, **changes: Any) -> None:
        record.state = state
        self.outcomes[state] = self.outcomes.get(state, 0) + 1
        self.stopped_early += bool(changes.get("stopped_early"))
        told = {"state": state, "message": str(changes.get("message", "")).partition("\n")[0]}
        self._log("ended", record, **told)
        # Somebody may have taken it for lost, while its place was away.
        self._patch(record, time.time(), reopen=True, state=state, **changes)
