"""One sweep's controller: the fold, made durable and given a clock.

Every change is one transaction of the backend: the event, what the engine answered, and what
follows for runs, rows and the sweep. What waits at the same time is written at once (`together`),
and nobody is answered before that. When it cannot be written, memory is thrown away and read
again from the log, so that nothing is answered that is not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import msgspec

from tune_bridge import __version__
from tune_bridge.backends import codec
from tune_bridge.backends.base import (
    Backend,
    LogRows,
    Operation,
    PatchRun,
    Row,
    Sweep,
)
from tune_bridge.controller.fold import Fold
from tune_bridge.controller.journal import Journal
from tune_bridge.controller.reports import changes_of, event_of, results_of, verdict_on
from tune_bridge.controller.snapshots import Snapshot, Snapshots
from tune_bridge.controller.state import (
    Claimed,
    Commanded,
    Ended,
    Event,
    Found,
    Held,
    Lost,
    RunState,
    SweepState,
    Told,
    check_args,
)
from tune_bridge.engines import make_engine, restore_engine
from tune_bridge.engines.base import EndState
from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.experiment import Experiment
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.wire import Claim, Idle, Over, Settings, Verb, Verdict

__all__ = ["DRIVER", "META", "SweepController"]

META = "tune_bridge_controller"
"""The key of a sweep's meta with the controller's seed and settings."""

DRIVER = "tune-bridge controller"

_REDONE = 0.5
"""Seconds of work on events that a start may have to do again, for want of a later snapshot."""

_SHARE = 20
"""A snapshot waits for so many times the work that it takes itself, however large a sweep is."""

_Memory = tuple[int, Fold, list[dict[str, Any]]]
"""After how many events, the fold then, and the log from there on."""


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
        self.settings = msgspec.convert(about.get("settings", {}), Settings)
        self._seed = int(about["seed"])
        self._take_config(sweep.config)
        self._backend = backend
        self._snapshots = snapshots or Snapshots(None)
        self._clock = clock
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._listeners: list[Callable[[], None]] = []
        self._saved = 0
        self._work = self._save_takes = 0.0
        self._seen: dict[str, float] = {}
        self._stale = False
        self._gathers = False
        self._journal = Journal(backend, sweep.id)
        backend.steer(sweep.id)
        self._open()

    # For agents.

    def claim(self, agent: str, host: str, request: str) -> Claim | Idle | Over:
        """A run for a free agent; the same request gets the same run.

        Args:
            agent: Its name, unique.
            host: Its machine.
            request: Anything that is new for each claim, and the same when it is repeated.
        """
        with self._use():
            run = self._fold.given(agent, request)
            if run is not None:
                self._heard(run)
                return self._completed(self._again(run))
            closed = self._fold.closed(host)
            if closed is not None:
                return closed
            answer: Claim | Idle | Over = self._commit(Claimed(agent, host, request, self._now()))
            if isinstance(answer, Claim):
                self._seen[answer.run] = self._clock()
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
        with self._use():
            run = self._fold.run(run_id)
            late = run.status == "over" and run.state == "crashed"
            if attempt != run.attempt:
                return Verdict("kill", "the run was given to another agent")
            if run.status == "over" and not late:
                return Verdict("kill", "the run is over")
            self._heard(run)
            if seq <= run.seq:
                return verdict_on(run)
            operations: list[Operation] = [LogRows(run_id, rows)] if rows else []
            if config:
                self._alone()
            changes = changes_of(summary, config, self._backend, run_id)
            if changes:
                operations.append(PatchRun(run_id, changes, self._now()))
            events = [] if late else self._events(run, seq, rows, summary, checkpoint, resumable)
            self._commit_all(events, operations)
            return Verdict() if late else verdict_on(run)

    def _events(
        self,
        run: RunState,
        seq: int,
        rows: Sequence[Row],
        summary: Mapping[str, Any] | None,
        checkpoint: str | None,
        resumable: bool,
    ) -> list[Event]:
        """What a report is for the fold."""
        now = self._now()
        if not run.judged:  # it is on its way out: what it has saved is all that counts
            saved = Told(run.id, run.attempt, seq, {}, now, checkpoint, resumable)
            return [saved] if checkpoint else []
        results, held = results_of(run.held, rows, summary, self._metric)
        checkpoint = checkpoint or run.saved  # it belongs to the next result
        events: list[Event] = []
        for number, result in enumerate(results):
            last = number == len(results) - 1
            id_ = checkpoint if last else None
            plain = codec.plain(result)
            events.append(Told(run.id, run.attempt, seq, plain, now, id_, resumable))
        saved_id = None if results else checkpoint
        if held or saved_id:
            events.append(Held(run.id, run.attempt, seq, codec.plain(held), now, saved_id))
        return events

    def end(
        self,
        run_id: str,
        attempt: int,
        state: EndState,
        *,
        message: str = "",
        exit_code: int | None = None,
        preempted: bool = False,
    ) -> None:
        """A run's program has ended (also after a verdict). Idempotent.

        Args:
            run_id: The run.
            attempt: Of the claim.
            state: How it ended.
            message: Why, for people.
            exit_code: Of the program.
            preempted: With "crashed": its agent had to go, and the run is given out again.

        Raises:
            NotFoundError: This sweep has no such run.
        """
        with self._use():
            run = self._fold.run(run_id)
            if attempt != run.attempt or (run.status == "over" and run.state != "crashed"):
                return
            # One that waits to be tried again may have come to its end with its old agent.
            if run.status == "paused" and not (run.judged and state == "finished"):
                return
            self._commit(Ended(run_id, attempt, state, self._now(), message, exit_code, preempted))
            self._seen.pop(run_id, None)

    def heartbeat(self, runs: Mapping[str, int]) -> dict[str, Verdict]:
        """A sign of life of an agent.

        Args:
            runs: The runs that it has, with their attempts.

        Returns:
            What becomes of each.
        """
        with self._use():
            verdicts = {}
            for run_id, attempt in runs.items():
                run = self.state.runs.get(run_id)
                if run is None or run.attempt != attempt:
                    verdicts[run_id] = Verdict("kill", "the run was given to another agent")
                    continue
                self._heard(run)
                over = run.status == "over" and run.state != "crashed"
                verdicts[run_id] = Verdict("kill", "the run is over") if over else verdict_on(run)
            return verdicts

    def together(self, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """Makes calls of this object, one after the other, and writes what they did at once.

        Each comes out as if it were alone: one that is refused changes nothing of the others, and
        when what was gathered cannot be written, nobody is told that it was.

        Returns:
            What each returned, or the exception that it raised.
        """
        results: list[Any] = [None] * len(calls)
        made: list[int] = []

        def write() -> None:
            try:
                self._write()
            except InputError:  # somebody's values: each finds out alone whose
                for number in made:
                    results[number] = _result(calls[number])
            except Exception as error:  # noqa: BLE001 - whoever asked is told
                for number in made:
                    results[number] = error
            made.clear()

        with self.lock:
            for number, call in enumerate(calls):
                self._gathers = True
                results[number] = _result(call)
                self._gathers = False
                if isinstance(results[number], _AloneError):
                    write()
                    results[number] = _result(call)
                elif not isinstance(results[number], Exception):
                    made.append(number)
            write()
        return results

    # For people and for time.

    def command(self, verb: Verb, **args: Any) -> Any:
        """Does what somebody wants; see `tune_bridge.controller.state.Verb`.

        Returns:
            The new run's id of "enqueue", the list of them of "retry", else None.

        Raises:
            InputError: It is not possible now, or makes no sense.
            NotFoundError: It names a run or host that there is not.
        """
        check_args(verb, args)
        with self._use():
            return self._commit(Commanded(verb, self._now(), codec.plain(args)))

    def expire(self) -> None:
        """Counts agents as lost that have not been heard of for the time of a lease."""
        with self._use():
            limit = self._clock() - self.settings.lease
            for run_id in sorted(self.state.live):
                run = self.state.runs[run_id]
                if not run.missing and self._seen.setdefault(run_id, self._clock()) < limit:
                    self._commit(Lost(run_id, self._now()))

    def save(self) -> None:
        """Writes a snapshot, so that the next start is quick."""
        with self.lock:
            if self.count == self._saved or self._stale:
                return
            begun = time.perf_counter()
            # Without a snapshot a start takes longer, and nothing else: a library's object that
            # cannot be pickled must not become an answer to an agent.
            with contextlib.suppress(Exception):
                engine = self._fold.engine.snapshot()
                queue = msgspec.msgpack.encode(self.state)
                self._snapshots.write(self.id, Snapshot(self.count, self._about, queue, engine))
            self._saved, self._work = self.count, 0.0
            self._save_takes = time.perf_counter() - begun

    def read_again(self) -> None:
        """Takes over a config that was changed; the log is to hold nothing yet that needs the old.

        Raises:
            InputError: It cannot be run.
        """
        with self.lock:
            self._take_config(self._backend.sweep(self.id).config)
            self._snapshots.remove(self.id)
            self._open()

    def _take_config(self, config: Mapping[str, Any]) -> None:
        self.experiment: Experiment = SweepConfig(config).experiment
        objective = self.experiment.objective
        self._metric = None if objective is None else objective.name
        said = codec.dumps([self._seed, config])
        self._about = f"{__version__} {hashlib.sha256(said.encode()).hexdigest()}"

    @property
    def count(self) -> int:
        """How many events there are."""
        return self._journal.count

    @property
    def state(self) -> SweepState:
        """The queue. Look, and change nothing."""
        return self._fold.state

    @property
    def needs_checkpoints(self) -> str:
        """Why programs must be able to save and load checkpoints; empty when they need not."""
        return self._fold.engine.needs_checkpoints

    def checkpoints(self) -> set[str]:
        """Ids of all checkpoints that somebody may still start from."""
        with self._use():
            return self._fold.checkpoints()

    def seen(self, runs: Iterable[str]) -> None:
        """Something of these runs has arrived, and will be looked at when it is its turn.

        Waits for nothing, so that no agent counts as lost because an engine thinks for long.
        """
        now = self._clock()
        for run_id in runs:
            if run_id in self._seen:
                self._seen[run_id] = now

    def seen_at(self, run_id: str) -> float | None:
        """When something was last heard of a run that an agent has."""
        return self._seen.get(run_id)

    def listen(self, call: Callable[[], None]) -> Callable[[], None]:
        """Has `call` called, from whatever thread, after each change; returns what ends that."""
        with self.lock:
            self._listeners.append(call)

        def stop() -> None:
            with self.lock, contextlib.suppress(ValueError):
                self._listeners.remove(call)

        return stop

    def wait(self, timeout: float) -> bool:
        """Waits for the next change; false when there is none within `timeout` seconds."""
        with self._changed:
            return self._changed.wait(timeout)

    # Memory and log.

    @contextlib.contextmanager
    def _use(self) -> Iterator[None]:
        """The lock, with memory that is what the log says, and nobody else who steers it."""
        with self.lock:
            self._backend.steer(self.id)
            if self._stale:
                self._alone()
                # Somebody else may have brought runs (`tune_bridge.adopt`), and a wider space.
                self._take_config(self._backend.sweep(self.id).config)
                self._open()
            yield

    def _open(self) -> None:
        """Reads everything again."""
        self._saved, fold, log = self._remembered() or self._from_scratch()
        begun = time.perf_counter()
        try:
            fold.follow(map(event_of, log))
        except Exception as error:
            # What was refused is not in the log: it is an engine whose library has changed.
            raise InputError(
                f"its log cannot be followed any more: {type(error).__name__}: {error}",
                path=self.id,
                hint="go back to the versions of the libraries that it was begun with",
            ) from error
        self._fold = fold
        self._work = time.perf_counter() - begun
        self._journal.count = self._saved + len(log)
        now = self._clock()
        self._seen = {run_id: self._seen.get(run_id, now) for run_id in fold.state.live}
        self._stale = False

    def _from_scratch(self) -> _Memory:
        engine = make_engine(self.experiment, sweep_id=self.id, seed=self._seed)
        return 0, Fold(self.id, engine, self.settings), self._backend.events(self.id)

    def _remembered(self) -> _Memory | None:
        """What the snapshot says, if it is of this log and can be read."""
        snapshot = self._snapshots.read(self.id, about=self._about)
        if snapshot is None:
            return None
        log = self._backend.events(self.id, first=snapshot.events - 1)
        if not log:  # it knows more than the log: it is of another one
            return None
        with contextlib.suppress(Exception):  # any: of another version, or damaged
            state = msgspec.msgpack.decode(snapshot.state, type=SweepState)
            fold = Fold(self.id, restore_engine(snapshot.engine), self.settings, state)
            return snapshot.events, fold, log[1:]
        return None

    def _heard(self, run: RunState) -> None:
        """A sign of life of a run's agent."""
        if run.id in self.state.live:
            self._seen[run.id] = self._clock()
        if run.missing:
            self._commit(Found(run.id, self._now()))

    def _commit(self, event: Event) -> Any:
        return self._commit_all([event], [])[0]

    def _commit_all(self, events: Sequence[Event], operations: list[Operation]) -> list[Any]:
        """Applies events and makes them durable, with what follows from them; their answers."""
        answers: list[Any] = []
        records: list[dict[str, Any]] = []
        operations = list(operations)
        # Until all is written, memory may say what the log does not.
        self._stale = True
        try:
            self._apply(events, operations, answers, records)
        except _EngineFailedError as error:
            # The sweep ends here, clearly, and nothing is half-done.
            self._fail(error)
        self._stale = False
        loud = bool(records) and not all(isinstance(answer, Idle) for answer in answers)
        self._journal.add(operations, records, events[-1].time if events else 0.0, loud=loud)
        try:
            if not self._gathers:
                self._write()
        except InputError as error:
            if events and isinstance(events[0], Claimed):  # what the engine wants, nobody can keep
                self._fail(_EngineFailedError(error))
            raise
        return answers

    def _write(self) -> None:
        """Makes durable what was done, and wakes who waits for it."""
        if not self._journal.waits:
            return
        stale, self._stale = self._stale, True
        loud = self._journal.write()
        self._stale = stale
        if self._work >= max(_REDONE, _SHARE * self._save_takes):
            self.save()
        if loud:
            self._changed.notify_all()
            for call in list(self._listeners):
                call()

    def _alone(self) -> None:
        """What comes needs to read what others have done, and that is not written yet."""
        if self._gathers and self._journal.waits:
            raise _AloneError

    def _apply(
        self,
        events: Sequence[Event],
        operations: list[Operation],
        answers: list[Any],
        records: list[dict[str, Any]],
    ) -> None:
        begun = time.perf_counter()
        for event in events:
            try:
                outcome = self._fold.apply(event)
            except (InputError, NotFoundError):
                if isinstance(event, Commanded):  # it makes no sense: who asked for it is told
                    raise
                raise _EngineFailedError(sys.exc_info()[1]) from None
            except Exception as error:
                raise _EngineFailedError(error) from error
            answers.append(outcome.answer)
            operations += outcome.operations
            record = msgspec.to_builtins(event)
            if outcome.notes:
                record["did"] = outcome.notes
            records.append(record)
        self._work += time.perf_counter() - begun

    def _fail(self, error: _EngineFailedError) -> NoReturn:
        if self._gathers:
            raise _AloneError from error
        cause = error.args[0]
        reason = f"the searcher or scheduler failed: {type(cause).__name__}: {cause}"
        self._open()
        self._commit(Commanded("fail", self._now(), {"reason": reason}))
        raise InputError(reason, path=self.id) from error

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
        if claim.attempt == 1:
            return claim
        self._alone()
        last = self._backend.run(claim.run).last_step
        return msgspec.structs.replace(claim, first_step=last + 1)


class _EngineFailedError(Exception):
    """An engine cannot go on; holds the reason."""


class _AloneError(Exception):
    """This call is to be made again when all before it is written, and by itself."""


def _result(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - for whoever asked
        return error
