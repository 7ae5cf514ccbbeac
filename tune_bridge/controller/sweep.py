"""One sweep's controller: the fold, made durable and given a clock.

Every change is one transaction of the backend: the event, what the engine answered, and what
follows for runs, rows and the sweep. When it cannot be written, memory is thrown away and read
again from the log, so that nothing is answered that is not kept.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tune_bridge import __version__
from tune_bridge.backends import codec
from tune_bridge.backends.base import (
    Backend,
    LogEvents,
    LogRows,
    Operation,
    PatchRun,
    Row,
    Sweep,
)
from tune_bridge.client import finite, flatten
from tune_bridge.controller.fold import Fold
from tune_bridge.controller.snapshots import Snapshot, Snapshots
from tune_bridge.controller.state import (
    Claimed,
    Commanded,
    Ended,
    Event,
    Found,
    Lost,
    RunState,
    SweepState,
    Told,
)
from tune_bridge.engines import make_engine, restore_engine
from tune_bridge.engines.base import EndState
from tune_bridge.errors import BackendError, InputError, NotFoundError, TuneBridgeError
from tune_bridge.experiment import Experiment
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.wire import Claim, Idle, Over, Settings, Verb, Verdict

__all__ = ["DRIVER", "META", "SweepController"]

META = "tune_bridge_controller"
"""The key of a sweep's meta with the controller's seed and settings."""

DRIVER = "tune-bridge controller"

_SNAPSHOT_EVERY = 1000
_KEEP_OVER = 60.0  # seconds that an answer to a report is kept for its retries


class SweepController:
    """One sweep: what agents and people ask of it. Thread-safe.

    Args:
        backend: Where it lives.
        sweep: The sweep, made by `Controller.create`.
        snapshots: Where its memory is kept between starts.
        clock: Seconds since the epoch.

    Raises:
        InputError: This sweep is not driven by a controller, or its config cannot be run.
        BackendError: The backend cannot be read.
    """

    def __init__(
        self,
        backend: Backend,
        sweep: Sweep,
        snapshots: Snapshots | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        about = sweep.meta.get(META)
        if not isinstance(about, dict):
            raise InputError(
                "this sweep gives out no runs: it is a report of an experiment that runs elsewhere",
                path=sweep.id,
                hint="make one for agents with: tune-bridge sweep FILE",
            )
        self.id = sweep.id
        self.experiment: Experiment = SweepConfig(sweep.config).experiment
        self.settings = msgspec.convert(about.get("settings", {}), Settings)
        self._seed = int(about["seed"])
        self._backend = backend
        self._snapshots = snapshots or Snapshots(None)
        self._clock = clock
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._listeners: list[Callable[[], None]] = []
        objective = self.experiment.objective
        self._metric = None if objective is None else objective.name
        self._saved = 0
        self._open()

    # For agents.

    def claim(self, agent: str, host: str, request: str) -> Claim | Idle | Over:
        """A run for a free agent; the same request gets the same run.

        Args:
            agent: Its name, unique.
            host: Its machine.
            request: Anything that is new for each claim, and the same when it is repeated.
        """
        with self._lock:
            for run_id in self.state.live:
                run = self.state.runs[run_id]
                if (run.agent, run.request) == (agent, request) and run.status == "running":
                    self._seen[run_id] = self._clock()
                    return self._completed(self._again(run))
            closed = self._fold.closed(host)
            if closed is not None:
                return closed
            answer: Claim | Idle | Over = self._commit(Claimed(agent, host, request, self._now()))
            if isinstance(answer, Claim):
                self._seen[answer.run] = self._clock()
                self._pending.pop(answer.run, None)
                return self._completed(answer)
            return answer

    def report(
        self,
        run_id: str,
        attempt: int,
        seq: int,
        rows: Sequence[Row],
        *,
        checkpoint: str | None = None,
        resumable: bool = False,
        summary: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> Verdict:
        """Rows of a run; the same report again changes nothing.

        Args:
            run_id: The run.
            attempt: Of the claim.
            seq: Counts the reports of the attempt from 0.
            rows: History rows, by step.
            checkpoint: Id of a checkpoint saved since the last report.
            resumable: The program has asked for a checkpoint to go on from.
            summary: Values set beside the rows.
            config: Parameters that the program has added.

        Returns:
            Whether it goes on.

        Raises:
            NotFoundError: This sweep has no such run.
            InputError: A value cannot be stored.
        """
        with self._lock:
            run = self._fold.run(run_id)
            late = run.status == "over" and run.state == "crashed"
            if attempt != run.attempt:
                return Verdict("kill", "the run was given to another agent")
            if run.status == "over" and not late:
                return Verdict("kill", "the run is over")
            self._seen[run_id] = self._clock()
            if run.missing:
                self._commit(Found(run_id, self._now()))
            pending = self._pending.get(run_id)
            if pending is None:
                pending = self._pending[run_id] = _Pending(run.seq)
            if seq <= pending.seq:
                return run.verdict
            operations: list[Operation] = [LogRows(run_id, rows)] if rows else []
            changes = _changes(summary, config, self._backend, run_id)
            if changes:
                operations.append(PatchRun(run_id, changes, self._now()))
            results, merged = pending.add(rows, summary, self._metric)
            events: list[Event] = []
            checkpoint = checkpoint or pending.checkpoint  # it belongs to the next result
            for number, result in enumerate([] if late else results):
                last = number == len(results) - 1
                events.append(
                    Told(
                        run_id,
                        attempt,
                        seq,
                        codec.plain(result),
                        self._now(),
                        checkpoint if last else None,
                        resumable,
                    )
                )
            if checkpoint and not events and run.status == "leaving":
                events.append(Told(run_id, attempt, seq, {}, self._now(), checkpoint, resumable))
            self._commit_all(events, operations)
            pending.seq, pending.values = seq, merged
            pending.checkpoint = None if events else checkpoint
            return Verdict() if late else run.verdict

    def end(
        self,
        run_id: str,
        attempt: int,
        state: EndState,
        *,
        message: str = "",
        exit_code: int | None = None,
    ) -> None:
        """A run's program has ended (also after a verdict). Idempotent.

        Raises:
            NotFoundError: This sweep has no such run.
        """
        with self._lock:
            run = self._fold.run(run_id)
            if attempt != run.attempt or (run.status == "over" and run.state != "crashed"):
                return
            if run.status == "paused":
                return
            self._commit(Ended(run_id, attempt, state, self._now(), message, exit_code))
            self._pending.pop(run_id, None)
            self._seen.pop(run_id, None)

    def heartbeat(self, runs: Mapping[str, int]) -> dict[str, Verdict]:
        """A sign of life of an agent.

        Args:
            runs: The runs that it has, with their attempts.

        Returns:
            What becomes of each.
        """
        with self._lock:
            verdicts = {}
            for run_id, attempt in runs.items():
                run = self.state.runs.get(run_id)
                if run is None or run.attempt != attempt:
                    verdicts[run_id] = Verdict("kill", "the run was given to another agent")
                    continue
                self._seen[run_id] = self._clock()
                if run.missing:
                    self._commit(Found(run_id, self._now()))
                over = run.status == "over" and run.state != "crashed"
                verdicts[run_id] = Verdict("kill", "the run is over") if over else run.verdict
            return verdicts

    # For people and for time.

    def command(self, verb: Verb, **args: Any) -> Any:
        """Does what somebody wants; see `tune_bridge.controller.state.Verb`.

        Returns:
            The new run's id of "enqueue", the list of them of "retry", else None.

        Raises:
            InputError: It is not possible now, or makes no sense.
            NotFoundError: It names a run or host that there is not.
        """
        with self._lock:
            return self._commit(Commanded(verb, self._now(), args))

    def expire(self) -> None:
        """Counts agents as lost that have not been heard of for the time of a lease."""
        with self._lock:
            limit = self._clock() - self.settings.lease
            for run_id in sorted(self.state.live):
                run = self.state.runs[run_id]
                if not run.missing and self._seen.setdefault(run_id, self._clock()) < limit:
                    self._commit(Lost(run_id, self._now()))

    def save(self) -> None:
        """Writes a snapshot, so that the next start is quick."""
        with self._lock:
            if self._count == self._saved:
                return
            with contextlib.suppress(TuneBridgeError):
                self._snapshots.write(
                    self.id,
                    Snapshot(
                        self._count,
                        self._about,
                        msgspec.msgpack.encode(self.state),
                        self._fold.engine.snapshot(),
                    ),
                )
                self._saved = self._count

    @property
    def state(self) -> SweepState:
        """The queue. Look, and change nothing."""
        return self._fold.state

    def listen(self, call: Callable[[], None]) -> Callable[[], None]:
        """Has `call` called, from whatever thread, after each change; returns what ends that."""
        with self._lock:
            self._listeners.append(call)

        def stop() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._listeners.remove(call)

        return stop

    def wait(self, timeout: float) -> bool:
        """Waits for the next change; false when there is none within `timeout` seconds."""
        with self._changed:
            return self._changed.wait(timeout)

    # Memory and log.

    def _open(self) -> None:
        """Reads everything again."""
        seen = self._clock()
        log = self._backend.events(self.id)
        self._about = f"{__version__} {codec.dumps(self._seed)}"
        snapshot = self._snapshots.read(self.id, about=self._about, events=len(log))
        fold = None
        if snapshot is not None:
            with contextlib.suppress(Exception):  # any: of another version, or damaged
                state = msgspec.msgpack.decode(snapshot.state, type=SweepState)
                fold = Fold(self.id, restore_engine(snapshot.engine), self.settings, state)
        if fold is None:
            snapshot = None
            engine = make_engine(self.experiment, sweep_id=self.id, seed=self._seed)
            fold = Fold(self.id, engine, self.settings)
        for record in log[snapshot.events if snapshot else 0 :]:
            # A command that was refused is not in the log: nothing here can fail but an engine
            # whose library has changed.
            fold.apply(_event(record))
        self._fold = fold
        self._count = len(log)
        self._saved = snapshot.events if snapshot else 0
        self._seen = dict.fromkeys(fold.state.live, seen)
        self._pending: dict[str, _Pending] = {}

    def _commit(self, event: Event) -> Any:
        return self._commit_all([event], [])[0]

    def _commit_all(self, events: Sequence[Event], operations: list[Operation]) -> list[Any]:
        """Applies events and makes them durable, with what follows from them; their answers."""
        answers, records = [], []
        operations = list(operations)
        try:
            for event in events:
                outcome = self._fold.apply(event)
                answers.append(outcome.answer)
                operations += outcome.operations
                record = msgspec.to_builtins(event)
                if outcome.notes:
                    record["did"] = outcome.notes
                records.append(record)
            if records:
                operations.append(LogEvents(self.id, self._count, records, events[-1].time))
            self._backend.apply(operations)
        except (InputError, NotFoundError, BackendError):
            self._open()
            raise
        except Exception as error:
            # The engine cannot go on: the sweep ends here, clearly, and nothing is half-done.
            self._open()
            if isinstance(events[-1], Commanded) and events[-1].verb == "fail":
                raise
            reason = f"the searcher or scheduler failed: {type(error).__name__}: {error}"
            self._commit(Commanded("fail", self._now(), {"reason": reason}))
            raise InputError(reason, path=self.id) from error
        self._count += len(records)
        if self._count - self._saved >= _SNAPSHOT_EVERY:
            self.save()
        if records:
            self._changed.notify_all()
            for call in list(self._listeners):
                call()
        return answers

    def _now(self) -> float:
        """The time, which never goes back within a log."""
        return max(self._clock(), self._fold.state.time)

    def _again(self, run: RunState) -> Claim:
        return Claim(
            run=run.id,
            attempt=run.attempt,
            config=run.config,
            checkpoint=run.checkpoint,
            lease=self.settings.lease,
            heartbeat=self.settings.heartbeat,
        )

    def _completed(self, claim: Claim) -> Claim:
        last = self._backend.run(claim.run).last_step if claim.attempt > 1 else -1
        return msgspec.structs.replace(claim, first_step=last + 1)


class _Pending:
    """Rows of a run on their way to a result: values without the metric wait for one that has it.

    Args:
        seq: Of the last report that is known.
    """

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.values: dict[str, Any] = {}
        self.checkpoint: str | None = None

    def add(
        self, rows: Iterable[Row], summary: Mapping[str, Any] | None, metric: str | None
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The results that rows give, and the values that wait for the next one."""
        values, results = dict(self.values), []
        for flat in (*(flatten(row.values) for row in rows), flatten(summary or {})):
            if not flat:
                continue
            values.update(flat)
            if metric is None or finite(flat.get(metric)):
                results.append(values)
                values = {}
        return results, values


def _changes(
    summary: Mapping[str, Any] | None,
    config: Mapping[str, Any] | None,
    backend: Backend,
    run_id: str,
) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if summary:
        changes["summary"] = flatten(summary)
    if config:
        changes["config"] = {**backend.run(run_id).config, **config}
    return changes


def _event(record: Mapping[str, Any]) -> Event:
    plain = {key: value for key, value in record.items() if key != "did"}
    return msgspec.convert(plain, Event)  # type: ignore[no-any-return]
