"""The fold: one event after the other, on the queue's state and the engine.

Nothing here waits, writes or looks at a clock: the same events give the same state, the same
answers and the same operations for the backend. The live controller writes the operations with the
event; one that starts again drops them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from tune_bridge.backends.base import PatchRun, PatchSweep, PutRun, Run
from tune_bridge.controller.queue import CLOSED, Queue
from tune_bridge.controller.state import (
    Adopted,
    Claimed,
    Commanded,
    Ended,
    Event,
    Found,
    Gate,
    Held,
    Host,
    Lost,
    Outcome,
    RunState,
    SweepState,
    Told,
)
from tune_bridge.engines.base import (
    Action,
    Done,
    Engine,
    Exploit,
    Pause,
    Resume,
    Start,
    Stop,
    StopAll,
    Wait,
)
from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.wire import Claim, Idle, Over, Settings, Verdict

__all__ = ["Fold"]

_KEPT = frozenset({"failed", "crashed", "killed"})


class Fold(Queue):
    """The state of one sweep's queue, and its laws of change.

    Args:
        sweep_id: The sweep.
        engine: Its engine.
        settings: Of its queue.
        state: Where it goes on; a new one without.
    """

    def __init__(
        self, sweep_id: str, engine: Engine, settings: Settings, state: SweepState | None = None
    ) -> None:
        super().__init__(engine, settings, state)
        self.sweep_id = sweep_id
        self._outcome = Outcome()
        self._writes = True
        self._handlers: dict[type, Callable[[Any], Any]] = {
            Claimed: self._claimed,
            Told: self._told,
            Held: self._held,
            Ended: self._ended,
            Lost: self._lost,
            Found: self._found,
            Commanded: self._commanded,
            Adopted: self._adopted,
        }

    def apply(self, event: Event) -> Outcome:
        """Takes one event.

        Raises:
            TuneBridgeError: It makes no sense (an unknown run, a point outside of the space), or
                the engine cannot go on. The state may have changed: read it again from the log.
        """
        self._outcome = Outcome(operations=[], notes=[])
        self.state.time = max(self.state.time, event.time)
        self._outcome.answer = self._handlers[type(event)](event)
        self._settle()
        return self._outcome

    def follow(self, events: Iterable[Event]) -> None:
        """Takes events of the past: what came of them is written already.

        Raises:
            TuneBridgeError: See `apply`.
        """
        self._writes = False
        try:
            for event in events:
                self.apply(event)
        finally:
            self._writes = True

    # Events.

    def _claimed(self, event: Claimed) -> Claim | Idle | Over:
        state = self.state
        self._take_back(event)
        while True:
            if state.ready:
                run_id = next(iter(state.ready))
                del state.ready[run_id]
                return self._give(state.runs[run_id], event)
            answer = self.engine.ask(time=event.time)
            self._note(answer)
            self._act(answer.actions)
            if isinstance(answer, Wait | Done) and self._take_back(event):
                continue
            if isinstance(answer, Wait):
                state.waiting = answer.reason
                return Idle(answer.reason)
            if isinstance(answer, Done):
                state.done = answer.reason
                return Idle(answer.reason) if state.live else Over(answer.reason)
            if isinstance(answer, Start):
                self._starts(answer, event)
            else:
                self._goes_on(answer, event)

    def _take_back(self, event: Claimed) -> bool:
        """Takes a run from an agent that is lost; whether there was one.

        One for each free agent: the others may still be found by their own.
        """
        run_id = self._index.first_missing
        if run_id is None:
            return False
        run = self.state.runs[run_id]
        self._retry(run, "crashed", f"agent {run.agent} was lost", event.time)
        return True

    def _starts(self, answer: Start, event: Claimed) -> None:
        run = self.state.runs.get(answer.run)
        if run is None:
            run = self.state.runs[answer.run] = RunState(id=answer.run, config=answer.config)
            self._put(run, answer.info, event.time)
        else:  # it was enqueued
            run.config = answer.config
        self.state.ready[run.id] = None

    def _goes_on(self, answer: Resume, event: Claimed) -> None:
        run = self.state.runs.get(answer.run)
        if run is None:  # it starts as a copy of another one
            run = self.state.runs[answer.run] = RunState(id=answer.run, config=answer.config)
            run.checkpoint = answer.checkpoint
            self._put(run, {}, event.time)
            self.state.ready[run.id] = None
            return
        run.config, run.checkpoint = answer.config, answer.checkpoint
        if run.status == "leaving":
            run.again = True
        else:
            self.state.ready[run.id] = None

    def _put(self, run: RunState, info: Mapping[str, Any], time: float) -> None:
        self._index.open[run.id] = None
        number = len(self.state.runs)
        new = Run(
            id=run.id,
            sweep_id=self.sweep_id,
            name=f"run-{number}",
            state="pending",
            config=run.config,
            created_at=time,
            updated_at=time,
            meta=dict(info),
        )
        self._outcome.operations.append(PutRun(new))

    def _give(self, run: RunState, event: Claimed) -> Claim:
        run.status, run.again = "running", False
        self._index.find(run)
        run.attempt += 1
        run.agent, run.host, run.request = event.agent, event.host, event.request
        run.seq, run.held, run.saved, run.verdict = -1, {}, None, Verdict()
        self.state.live.add(run.id)
        self._index.give(run)
        if self.state.asleep:
            self._sweep(state="running", message="")
        about = {"agent": run.agent, "host": run.host, "attempt": run.attempt}
        self._patch(run, state="running", message="", config=run.config, meta=about)
        return Claim(
            run=run.id,
            attempt=run.attempt,
            config=run.config,
            checkpoint=run.checkpoint,
            lease=self.settings.lease,
            heartbeat=self.settings.heartbeat,
        )

    def _told(self, event: Told) -> Verdict:
        run = self.run(event.run)
        run.seq, run.held, run.saved = event.seq, {}, None
        if not run.judged or not event.result:
            if event.checkpoint and self._asks:  # what it saved when it was told to pause
                self._act(
                    self.engine.tell(run.id, {}, time=event.time, checkpoint=event.checkpoint)
                )
            return run.verdict
        needs = self.engine.needs_checkpoints
        if needs and not run.results and not event.resumable:
            self._close(
                "failed",
                f"{needs}; run {run.id} has reported without having asked for a checkpoint: call "
                "run.checkpoint() before training and run.save_checkpoint(folder) while it goes on",
                "kill",
            )
            return run.verdict
        run.results += 1
        actions = self.engine.tell(
            run.id, event.result, time=event.time, checkpoint=event.checkpoint
        )
        self._act(actions)
        return run.verdict

    def _held(self, event: Held) -> None:
        run = self.run(event.run)
        run.seq, run.held = event.seq, event.values
        run.saved = event.checkpoint or run.saved

    def _ended(self, event: Ended) -> None:
        run, state = self.run(event.run), event.state
        if run.status == "over":
            if run.state == "crashed" and state != "crashed":  # late, and welcome
                run.state = state
                self._patch(
                    run,
                    reopen=True,
                    state=state,
                    message=event.message or "its agent came back late",
                    exit_code=event.exit_code,
                )
            return
        verdict, was = run.verdict, run.status
        self._free(run)
        if was == "leaving" and verdict.kind == "pause" and state != "finished":
            run.status = "paused"
            self._patch(run, state="pending", message=verdict.reason)
            if run.again:
                run.again = False
                self.state.ready[run.id] = None
            return
        if was == "leaving" and verdict.kind in ("stop", "kill"):
            self._over(run, "finished" if verdict.kind == "stop" else "killed", verdict.reason)
            return
        if state == "finished":
            self._host(run).failures = 0
        if not self._once_more(run, event):
            self._over(run, state, event.message, event.exit_code)
            self._act(self.engine.end(run.id, state, time=event.time, message=event.message))

    def _once_more(self, run: RunState, event: Ended) -> bool:
        """Whether a run that did not end well is given out again."""
        if event.state == "failed":
            self._count_failure(run, event.message)
            again = run.failures <= self.settings.max_failures
        elif event.preempted:
            again = True
        else:
            run.lost += event.state == "crashed"
            again = event.state == "crashed" and run.lost <= self.settings.max_lost
        if not again or not self._gives:
            return False
        if event.preempted and run.seq < 0:  # nothing was heard of it: for the engine, it runs
            run.status = "paused"
            self.state.ready[run.id] = None
            self._patch(run, state="pending", message=event.message)
            return True
        if event.preempted and run.saved:  # when it had to go
            self._act(self.engine.tell(run.id, {}, time=event.time, checkpoint=run.saved))
        self._retry(run, event.state, event.message, event.time)
        return True

    def _lost(self, event: Lost) -> None:
        run = self.run(event.run)
        if run.id not in self.state.live or run.missing:
            return
        words = f"agent {run.agent} on {run.host} has not been heard of for a while"
        if run.status == "leaving":
            self._ended(Ended(run.id, run.attempt, "crashed", event.time, words))
            return
        run.lost += 1
        if run.lost <= self.settings.max_lost and self._gives:
            self._index.miss(run)
            self._patch(run, state="pending", message=f"{words}; it waits for another agent")
            return
        self._free(run)
        self._over(run, "crashed", words)
        self._act(self.engine.end(run.id, "crashed", time=event.time, message=words))

    def _found(self, event: Found) -> None:
        run = self.run(event.run)
        if run.missing:
            self._index.find(run)
            self._patch(run, state="running", message="")

    def _adopted(self, event: Adopted) -> None:
        """A run from elsewhere; it is in the backend already."""
        run = self.state.runs.get(event.run)
        if run is None:
            self.state.asleep = self.state.asleep or not self.state.runs
            run = self.state.runs[event.run] = RunState(id=event.run, config=event.config)
            # Should somebody want it tried again, then that is another attempt.
            run.status, run.attempt, run.results = "over", 1, int(bool(event.result))
        elif run.status != "over" or run.attempt > 1:
            return
        run.state = event.state
        self.engine.adopt(run.id, event.config, event.state, event.result, time=event.time)

    # Commands.

    def _commanded(self, event: Commanded) -> Any:
        return getattr(self, f"_do_{event.verb}")(event, **event.args)

    def _do_pause(self, event: Commanded) -> None:
        self._expect("open", "paused")
        self._gate("paused", "")

    def _do_resume(self, event: Commanded) -> None:
        if self.state.gate == "finished":
            raise InputError(
                f"the sweep is over: {self.state.reason or 'it is finished'}",
                hint="raise its run cap, enqueue a configuration or retry runs; clone it otherwise",
            )
        self._expect("open", "paused", "stopping")
        self._gate("open", "")

    def _do_stop(self, event: Commanded) -> None:
        self._expect("open", "paused", "stopping")
        self._gate("stopping", "stopped by command")

    def _do_cancel(self, event: Commanded) -> None:
        self._expect("open", "paused", "stopping")
        self._close("canceled", "canceled by command", "kill")

    def _do_fail(self, event: Commanded, reason: str) -> None:
        if self.state.gate not in ("canceled", "failed", "finished"):
            self._close("failed", reason, "kill")

    def _do_stop_run(self, event: Commanded, run: str) -> None:
        record = self.run(run)
        if record.status == "over" or not self._asks:
            raise InputError(f"run {run} is over", found=str(record.state or self.state.gate))
        actions = self.engine.end(run, "killed", time=event.time, message="stopped by command")
        self._stop(record, "stop", "stopped by command", early=True)
        self._act(actions)

    def _do_retry(self, event: Commanded, runs: list[str] | None = None) -> list[str]:
        if not self._asks:
            raise InputError(CLOSED[self.state.gate])
        known = self.state.runs.values()
        chosen = (
            [run for run in known if run.state in ("failed", "crashed")]
            if runs is None
            else [self.run(run_id) for run_id in runs]
        )
        for run in chosen:
            if run.status != "over" or run.state not in _KEPT:
                raise InputError(
                    f"run {run.id} has not failed",
                    found=str(run.state or run.status),
                    expected="a failed, crashed or killed run",
                )
        for run in chosen:
            state, run.state, run.failures, run.lost = run.state, None, 0, 0
            self._patch(run, reopen=True, state="pending", message="it will be tried again")
            run.status = "paused"
            self._index.open[run.id] = None
            self._act(self.engine.end(run.id, state or "failed", time=event.time, retry=True))
        if chosen:
            self._reopen()
        return [run.id for run in chosen]

    def _do_enqueue(self, event: Commanded, config: dict[str, Any]) -> str:
        if not self._asks:
            raise InputError(CLOSED[self.state.gate])
        run_id = self.engine.enqueue(config, time=event.time)
        run = self.state.runs[run_id] = RunState(id=run_id, config=config)
        self._put(run, {"enqueued": True}, event.time)  # to be seen while it waits
        self._reopen()
        return run_id

    def _do_run_cap(self, event: Commanded, number: int | None) -> None:
        if not self._asks:
            raise InputError(CLOSED[self.state.gate])
        self._act(self.engine.limit(number, time=event.time))
        self._reopen()

    def _do_concurrency(self, event: Commanded, number: int | None) -> None:
        self.state.concurrency = number

    def _do_release(self, event: Commanded, host: str) -> None:
        if host not in self.state.hosts:
            raise NotFoundError("no such host", found=repr(host))
        self.state.hosts[host] = Host()

    def _expect(self, *gates: Gate) -> None:
        if self.state.gate not in gates:
            raise InputError(CLOSED.get(self.state.gate, f"the sweep is {self.state.gate}"))

    def _reopen(self) -> None:
        """There may be something to do again."""
        self.state.waiting = self.state.done = ""
        if self.state.asleep:
            self._sweep(state="running", message="")
        if self.state.gate == "finished":
            self.state.gate, self.state.reason = "open", ""
            self._sweep(reopen=True, state="running", message="")

    # What follows from an event.

    def _act(self, actions: tuple[Action, ...]) -> None:
        self.state.waiting = ""
        for action in actions:
            self._note(action)
            if isinstance(action, StopAll):
                self._stop_all(action)
                continue
            run = self.state.runs.get(action.run)
            if run is None:  # proposed, and never given to anybody
                continue
            if isinstance(action, Stop):
                self._stop(run, "stop", action.reason, early=True, info=action.info)
            elif isinstance(action, Pause):
                self._leave(run, Verdict("pause", action.reason))
            elif isinstance(action, Exploit):
                self._leave(run, Verdict("pause", action.reason))
                kept = {"donor": action.donor, "old": action.old, "new": action.new}
                self._patch(run, meta={"exploit": kept})

    def _stop_all(self, action: StopAll) -> None:
        self._gate("stopping", action.reason)
        for run in list(self.state.runs.values()):
            if run.status != "over":
                self._stop(run, "stop", action.reason, early=True)

    def _close(self, gate: Gate, reason: str, kind: str) -> None:
        """Ends the sweep and all of its runs now, for good: the engine is asked nothing more."""
        self._gate(gate, reason)
        for run in list(self.state.runs.values()):
            self._stop(run, kind, reason, early=False)

    def _stop(
        self,
        run: RunState,
        kind: Any,
        reason: str,
        *,
        early: bool,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        if run.status == "over":
            return
        if early:
            self._patch(run, stopped_early=True, message=reason)
            if info:
                self._patch(run, meta={"stopped_by": dict(info)})
        if run.id in self.state.live:
            self._leave(run, Verdict(kind, reason))
        else:
            self._free(run)
            self._over(run, "finished" if kind == "stop" else "killed", reason)

    def _leave(self, run: RunState, verdict: Verdict) -> None:
        if run.id not in self.state.live or run.missing:  # nobody has it
            self._free(run)
            if run.status == "over":
                return
            if verdict.kind == "pause":
                run.status = "paused"
            else:
                self._over(run, "finished" if verdict.kind == "stop" else "killed", verdict.reason)
            return
        run.status, run.verdict, run.again = "leaving", verdict, False

    def _free(self, run: RunState) -> None:
        """No agent has it, and none will get it before the engine says so."""
        self.state.live.discard(run.id)
        self.state.ready.pop(run.id, None)
        self._index.find(run)
        self._index.take(run)

    def _retry(self, run: RunState, state: Any, message: str, time: float) -> None:
        self._free(run)
        run.status = "paused"
        self.state.done = ""
        self._patch(run, state="pending", message=f"{message}; it will be tried again")
        self._act(self.engine.end(run.id, state, time=time, message=message, retry=True))

    def _over(
        self, run: RunState, state: Any, message: str = "", exit_code: int | None = None
    ) -> None:
        run.status, run.state, run.again = "over", state, False
        self._index.open.pop(run.id, None)
        run.held, run.saved = {}, None
        self._patch(run, state=state, message=message, exit_code=exit_code)

    def _host(self, run: RunState) -> Host:
        return self.state.hosts.setdefault(run.host, Host())

    def _count_failure(self, run: RunState, message: str) -> None:
        run.failures += 1
        host, limit = self._host(run), self.settings.quarantine
        host.failures += 1
        if limit and host.failures >= limit and not host.quarantine:
            last = message.strip().splitlines()[0] if message.strip() else "no message"
            host.quarantine = (
                f"{run.host} gets no more runs: {host.failures} in a row have failed there, the "
                f"last one: {last}"
            )
            self._sweep(message=host.quarantine)

    def _settle(self) -> None:
        """The sweep is finished when nothing runs and nothing will."""
        state = self.state
        if state.live:
            return
        if state.gate == "stopping":
            for run in list(state.runs.values()):
                if run.status != "over":  # paused ones, which nobody will go on with
                    self._act(self.engine.end(run.id, "killed", time=state.time))
                    self._free(run)
                    self._over(run, "finished" if run.results else "killed", state.reason)
            self._gate("finished", state.reason)
        elif state.gate == "open" and state.done and not state.ready:
            self._gate("finished", state.done)

    def _gate(self, gate: Gate, reason: str) -> None:
        self.state.gate, self.state.reason = gate, reason
        shown = {"open": "running", "stopping": "running"}.get(gate, gate)
        self._sweep(state=shown, message=reason)

    def _sweep(self, *, reopen: bool = False, **changes: Any) -> None:
        if self.state.asleep and "state" in changes:
            self.state.asleep, reopen = False, True
        if self._writes:
            patch = PatchSweep(self.sweep_id, changes, self.state.time, reopen)
            self._outcome.operations.append(patch)

    def _patch(self, run: RunState, *, reopen: bool = False, **changes: Any) -> None:
        if self._writes:
            patch = PatchRun(run.id, changes, self.state.time, reopen)
            self._outcome.operations.append(patch)

    def _note(self, value: msgspec.Struct) -> None:
        if self._writes:
            self._outcome.notes.append(msgspec.to_builtins(value))
