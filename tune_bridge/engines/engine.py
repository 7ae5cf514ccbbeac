"""The hosted engine: a proposer and a judge, and everything that engines have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from tune_bridge.engines.base import (
    Action,
    Answer,
    Checkpoint,
    Done,
    EndState,
    Engine,
    Exploit,
    Pause,
    Resume,
    Start,
    Stop,
    StopAll,
    Wait,
    run_id,
)
from tune_bridge.engines.configs import fit, trimmed
from tune_bridge.engines.native.fifo import Fifo
from tune_bridge.engines.parts import Judge, Proposer, Refused, StopRule
from tune_bridge.engines.random_state import Sandbox, derived
from tune_bridge.engines.results import flatten, is_usable, reaches
from tune_bridge.errors import InputError
from tune_bridge.experiment import Experiment

__all__ = ["STOPPER", "HostedEngine"]

STOPPER = "$stopper"
"""The one key of stop criteria that are a Stopper of Tune's (see the reader of Ray Tune)."""

_FAILURES = ("failed", "crashed", "killed")
_T = TypeVar("_T")


class _Run(msgspec.Struct):
    """What the engine knows of a run.

    Attributes:
        id: Its id.
        config: Its parameters.
        info: What the proposer gave with it.
        own: The proposer proposed it, and has not been told of its end yet.
        state: "waiting", "running", "paused" or "over".
        final: How it ended.
        given: `ask` has given it out at least once.
        checkpoint: Where it would go on from.
        copied: It will go on from another's checkpoint: what it still saves does not count.
        iteration: Its ``training_iteration``.
        seconds: Its ``time_total_s``.
        mark: When its present iteration began.
        result: Its last result.
        valued: Its last result that names the metric.
    """

    id: str
    config: dict[str, Any]
    info: dict[str, Any]
    own: bool
    state: str = "waiting"
    final: str = ""
    given: bool = False
    checkpoint: Checkpoint | None = None
    copied: bool = False
    iteration: int = 0
    seconds: float = 0.0
    mark: float = 0.0
    result: dict[str, Any] | None = None
    valued: dict[str, Any] | None = None


class HostedEngine(Engine):
    """Asks a proposer, tells a judge, and keeps the books (see `tune_bridge.engines.parts`).

    The order of calls is that of Ray Tune's controller: a result meets the stop criteria, then the
    judge, then the proposer; the judge chooses who runs next, then comes who waits, in order.

    Args:
        experiment: What is searched; its stop criteria, target and limits are kept here.
        sweep_id: See `Engine`.
        seed: See `Engine`.
        proposer: Who proposes.
        judge: Who stops and pauses; None for nobody.
        stop_rule: Stop criteria that are a Stopper.
        sandbox: The random state in which foreign parts were made; None for a new one.
    """

    def __init__(
        self,
        experiment: Experiment,
        *,
        sweep_id: str,
        seed: int,
        proposer: Proposer,
        judge: Judge | None = None,
        stop_rule: StopRule | None = None,
        sandbox: Sandbox | None = None,
    ) -> None:
        self.experiment = experiment
        self.proposer = proposer
        self.judge = judge or Fifo()
        self.needs_checkpoints = self.judge.needs_checkpoints
        self._sweep_id = sweep_id
        self._stop_rule = stop_rule
        if sandbox is None and (proposer.foreign or self.judge.foreign or stop_rule is not None):
            sandbox = Sandbox(derived(seed, "sandbox"))
        self._sandbox = sandbox
        criteria = flatten(experiment.stop.value)
        self._criteria = {
            key: bound for key, bound in criteria.items() if not key.startswith(STOPPER)
        }
        objective = experiment.objective
        self._metric = None if objective is None else objective.name
        caps = [cap for cap in (proposer.total, experiment.run_cap) if cap is not None]
        self._own_cap = min(caps) if caps else None
        self._cap = self._own_cap
        self._numbers = 0  # ids given
        self._count = 0  # runs that count for the cap
        self._runs: dict[str, _Run] = {}
        # Tables by state, in order; a dict is an ordered set.
        self._wanted: dict[str, None] = {}  # enqueued, waiting
        self._waiting: dict[str, None] = {}
        self._running: dict[str, None] = {}
        self._paused: dict[str, None] = {}
        self._failed: dict[str, None] = {}  # over, and a person may want them tried again
        self._over = ""  # why everything has ended
        self._refusal: Refused | None = None  # what the proposer said for good
        self._stuck: Refused | None = None  # the same, until something is enqueued or tried again
        self._later: list[Action] = []  # actions that go with the next answer

    # The calls.

    def ask(self, *, time: float) -> Answer:
        """See `Engine.ask`."""
        return self._call(self._ask, time)

    def tell(
        self,
        run_id: str,
        result: Mapping[str, Any],
        *,
        time: float,
        checkpoint: str | None = None,
    ) -> tuple[Action, ...]:
        """See `Engine.tell`."""
        run = self._runs.get(run_id)
        if run is None or run.state == "over" or self._over or not run.given:
            return ()
        return self._call(self._tell, run, result, time, checkpoint)

    def end(
        self,
        run_id: str,
        state: EndState,
        *,
        time: float,
        message: str = "",
        retry: bool = False,
    ) -> tuple[Action, ...]:
        """See `Engine.end`."""
        run = self._runs.get(run_id)
        if run is None or self._over:
            return ()
        if run.state == "over" and not (retry and run.final in _FAILURES):
            return ()
        return self._call(self._end, run, state, time, retry)

    def enqueue(self, config: Mapping[str, Any], *, time: float) -> str:
        """See `Engine.enqueue`.

        Raises:
            InputError: It does not fit the space, or the whole sweep has ended.
        """
        fitted = self.proposer.typed(config)
        if fitted is None:
            fitted = fit(self.experiment.space, config)
        if self._over:
            raise InputError("the sweep has ended", found=self._over, hint="start another one")
        return self._call(self._enqueue, fitted)

    def adopt(
        self,
        run_id: str,
        config: Mapping[str, Any],
        state: EndState,
        result: Mapping[str, Any],
        *,
        time: float,
    ) -> str:
        """See `Engine.adopt`."""
        if self._over:
            return self._over
        return self._call(self._adopt, run_id, dict(config), state, result)

    def limit(self, run_cap: int | None, *, time: float) -> tuple[Action, ...]:
        """See `Engine.limit`."""
        return self._call(self._limit, run_cap, time)

    def checkpoints(self) -> set[str]:
        """See `Engine.checkpoints`."""
        if self._over:
            return set()
        kept = set(self.judge.checkpoints())
        for table in (self._running, self._paused, self._wanted, self._waiting, self._failed):
            for name in table:
                checkpoint = self._runs[name].checkpoint
                if checkpoint is not None:
                    kept.add(checkpoint.id)
        return kept

    def snapshot(self) -> bytes:
        """See `Engine.snapshot`; `tune_bridge.engines.restore_engine` reads it."""
        from tune_bridge.engines import snapshots

        return snapshots.dump(self)

    def _call(self, function: Callable[..., _T], *args: Any) -> _T:
        """Calls inside of the sandbox, when there is one."""
        if self._sandbox is None:
            return function(*args)
        with self._sandbox:
            return function(*args)

    # Asking.

    def _ask(self, time: float) -> Answer:
        self._check_time(time)
        if self._over:
            return Done(self._over, self._take())
        self._fill(self.judge.ahead)
        answer = self._place(time)
        # Tune proposes the next one as soon as a place for waiting is free.
        self._fill(self.judge.ahead)
        return self._with_actions(answer)

    def _with_actions(self, answer: Answer) -> Answer:
        if self._over:
            return Done(self._over, self._take())
        if self._later:
            return msgspec.structs.replace(answer, actions=self._take())
        return answer

    def _place(self, time: float) -> Answer:
        """Who takes the free place."""
        most = self.experiment.max_concurrent
        if most is not None and len(self._running) >= most:
            return Wait(f"{most} runs at once are allowed, and as many run")
        while not self._over:
            refused = None
            chosen = self.judge.choose()
            self._settle(self.judge.pending())
            run = self._runs.get(chosen) if chosen is not None else None
            if run is None or run.state not in ("waiting", "paused"):
                name = next(iter(self._wanted or self._waiting), None)
                if name is None:
                    refused = self._propose()
                    name = next(iter(self._wanted or self._waiting), None)
                if name is None and not self._running:
                    # Nothing else can happen: a paused run goes on whatever the judge says.
                    name = next(iter(self._paused), None)
                run = None if name is None else self._runs[name]
            if run is None:
                return self._nothing(refused)
            if self._start(run, time):
                resumed = run.given or run.checkpoint is not None
                run.given = True
                if resumed:
                    return Resume(run.id, run.config, run.checkpoint)
                return Start(run.id, run.config, run.info)
        return Done(self._over)

    def _nothing(self, refused: Refused | None) -> Answer:
        """Wait or Done, and why."""
        reason = refused.reason if refused is not None else "nothing to start"
        final = refused is not None and refused.final
        if self._running:
            rest = f"{len(self._running)} running"
            return Wait(f"{reason}; {rest}", closing=final)
        if not final and self.proposer.patient:
            return Wait(reason)
        if not final:
            reason = f"{reason}, and no run is live"
            self._stuck = Refused(reason, final=True)
        return Done(reason)

    def _start(self, run: _Run, time: float) -> bool:
        """Gives a place to a run; False when the judge stopped it at that."""
        self._move(run, "running")
        run.copied = False
        start = run.checkpoint
        run.iteration, run.seconds = (start.iteration, start.seconds) if start else (0, 0.0)
        run.mark = time
        self.judge.start(run.id)
        self._settle(self.judge.pending())
        return run.state == "running"

    def _fill(self, ahead: int) -> None:
        """Proposes until `ahead` runs wait."""
        most = self.experiment.max_concurrent or math.inf
        while len(self._wanted) + len(self._waiting) < ahead and not self._over:
            waiting = len(self._wanted) + len(self._waiting)
            if waiting + len(self._running) >= most or self._propose() is not None:
                return

    def _propose(self) -> Refused | None:
        """A new waiting run, or why there is none."""
        if self._cap is not None and self._count >= self._cap:
            return Refused(f"all {self._cap} runs have been given out", final=True)
        if self._refusal is not None or self._stuck is not None:
            return self._refusal or self._stuck
        name = run_id(self._sweep_id, self._numbers)
        proposal = self.proposer.propose(name)
        if isinstance(proposal, Refused):
            if proposal.final:
                self._refusal = proposal
            return proposal
        self._add(_Run(name, proposal.config, proposal.info, own=True), self._waiting)
        return None

    def _add(self, run: _Run, table: dict[str, None]) -> None:
        self._numbers += 1
        self._count += 1
        self._runs[run.id] = run
        table[run.id] = None
        self.judge.add(run.id, run.config)
        self._settle(self.judge.pending())

    # Telling.

    def _tell(
        self, run: _Run, result: Mapping[str, Any], time: float, checkpoint: str | None
    ) -> tuple[Action, ...]:
        if not result:
            if checkpoint is not None and not run.copied:
                run.checkpoint = Checkpoint(checkpoint, run.id, run.iteration, run.seconds)
                self.judge.saved(run.id, run.checkpoint)
            return self._take()
        if run.state == "paused":
            return ()
        flat = self._complete(run, result, time)
        if checkpoint is not None:
            run.checkpoint = Checkpoint(checkpoint, run.id, run.iteration, run.seconds)
        if run.state == "waiting":
            return ()
        reached = self._target(flat)
        if reached:
            self._settle((StopAll(reached),))
            return self._take()
        stop = self._criterion(run, flat, time)
        if stop is not None:
            flat["done"] = True
            actions = self.judge.finish(run.id, flat)
            self._settle((stop,))
            self._settle(actions)
        else:
            self._settle(self.judge.judge(run.id, flat, run.checkpoint), flat)
            if run.state != "over":
                self.proposer.progress(run.id, flat)
        return self._after(time)

    def _complete(self, run: _Run, result: Mapping[str, Any], time: float) -> dict[str, Any]:
        """The result with what Tune would add, and the run's books."""
        flat = flatten(result)
        iteration = flat.get("training_iteration")
        if not isinstance(iteration, int | float) or not math.isfinite(iteration):
            flat["training_iteration"] = iteration = run.iteration + 1
        run.iteration = int(iteration)
        since = max(0.0, time - run.mark)
        run.mark = time
        for key, value in (("time_this_iter_s", since), ("time_total_s", run.seconds + since)):
            if not is_usable(flat.get(key)):
                flat[key] = value
        run.seconds = float(flat["time_total_s"])
        flat["timestamp"] = int(time)
        flat["trial_id"] = run.id
        flat["done"] = bool(flat.get("done", False))
        flat["config"] = run.config
        run.result = flat
        if self._metric is None or self._metric in flat:
            run.valued = flat
        return flat

    def _target(self, flat: dict[str, Any]) -> str:
        """Why the whole sweep ends with a result, or nothing."""
        goal = self.experiment.objective
        if goal is None or goal.target is None:
            return ""
        if not reaches(flat.get(goal.name), goal.target, goal.goal):
            return ""
        return f"{goal.name} reached the target {goal.target:g}"

    def _criterion(self, run: _Run, flat: dict[str, Any], time: float) -> Stop | None:
        """The stop criterion that a result meets."""
        if flat["done"]:
            return Stop(run.id, "the program said that it is done", {"rule": "done"})
        for key, bound in self._criteria.items():
            if reaches(flat.get(key), bound):
                info = {"rule": "stop", "key": key, "bound": bound, "value": flat[key]}
                return Stop(run.id, f"{key} reached {bound:g}", info)
        if self._stop_rule is not None:
            reason = self._stop_rule.stop(run.id, flat, time)
            if reason:
                return Stop(run.id, reason, {"rule": "stopper"})
        return None

    def _after(self, time: float) -> tuple[Action, ...]:
        """What follows each report and each end."""
        self._check_time(time)
        if self.judge.ahead:
            self._fill(self.judge.ahead)
        return self._take()

    def _check_time(self, time: float) -> None:
        if self._stop_rule is not None and not self._over:
            reason = self._stop_rule.stop_all(time)
            if reason:
                self._settle((StopAll(reason),))

    # Ends.

    def _end(self, run: _Run, state: EndState, time: float, retry: bool) -> tuple[Action, ...]:
        if retry:
            self._retry(run)
            return self._after(time)
        was = run.state
        failed = state in ("failed", "crashed")
        if was != "running":
            actions = self.judge.remove(run.id)
        elif failed or (state == "killed" and run.result is None):
            actions = self.judge.fail(run.id, retry=False)
        else:
            actions = self.judge.finish(run.id, run.result)
        self._close(run, state, failed)
        self._settle(actions)
        return self._after(time)

    def _retry(self, run: _Run) -> None:
        if run.state == "waiting":
            return
        was = run.state
        self._move(run, "waiting")
        self._stuck = None
        if was == "over":
            self.judge.add(run.id, run.config)
            self._settle(self.judge.pending())
        else:
            self._settle(self.judge.fail(run.id, retry=True))

    def _close(
        self, run: _Run, state: str, failed: bool, final: dict[str, Any] | None = None
    ) -> None:
        """Tells the proposer of a run's end, and forgets its results."""
        self._move(run, "over")
        run.final = state
        if state in _FAILURES:
            self._failed[run.id] = None
        result = run.valued or run.result
        bad = failed
        if self._metric is not None:
            bad = bad or result is None or not is_usable(result.get(self._metric))
        if run.own:
            run.own = False
            self.proposer.close(run.id, result, failed=bad)
        elif result is not None and not bad:
            self.proposer.learn(run.id, run.config, result)
        run.result = run.valued = None

    # What people want.

    def _enqueue(self, config: dict[str, Any]) -> str:
        name = run_id(self._sweep_id, self._numbers)
        self._stuck = None
        self.proposer.enqueued(name, config)
        self._add(_Run(name, config, {"enqueued": True}, own=False), self._wanted)
        self._withdraw()
        return name

    def _adopt(
        self, name: str, config: dict[str, Any], state: EndState, result: Mapping[str, Any]
    ) -> str:
        run = self._runs.get(name)
        if run is None:
            self._count += 1
            run = _Run(name, config, {}, own=False, state="over", given=True)
            self._runs[name] = run
        elif run.state != "over" or run.final not in _FAILURES or run.final == state:
            return "it is known"
        self._failed.pop(name, None)
        run.final = state
        if state in _FAILURES:
            self._failed[name] = None
        given = trimmed(self.experiment.space, config)
        fitted = self.proposer.typed(given)
        if fitted is None:
            try:
                fitted = fit(self.experiment.space, given)
            except InputError as error:
                return str(error)
        run.config = {**config, **fitted}
        flat = flatten(result)
        value = flat.get(self._metric) if self._metric is not None else None
        try:
            self.proposer.enqueued(name, fitted)
            if state in ("failed", "crashed") or not is_usable(value):
                self.proposer.close(name, None, failed=True)
                return "it gave no value"
            self.proposer.learn(name, fitted, {"training_iteration": 1, **flat, "trial_id": name})
        except Exception as error:  # noqa: BLE001 - the past cannot be changed, and must not stop us
            return f"{type(error).__name__}: {error}"
        return ""

    def _limit(self, run_cap: int | None, time: float) -> tuple[Action, ...]:
        self._cap = self._own_cap if run_cap is None else run_cap
        self._refusal = self._stuck = None
        self._withdraw()
        return self._after(time) if not self._over else ()

    def _withdraw(self) -> None:
        """Takes back proposals that nobody has got yet, the last ones first, to keep to the cap."""
        for name in reversed(list(self._waiting)):
            run = self._runs[name]
            if self._cap is None or self._count <= self._cap:
                break
            if not run.given:
                self._count -= 1
                actions = self.judge.remove(name)
                self._close(run, "killed", failed=True)
                self._settle(actions)

    # Tables.

    def _move(self, run: _Run, state: str) -> None:
        tables = {"running": self._running, "paused": self._paused}
        for table in (tables.get(run.state), self._wanted, self._waiting, self._failed):
            if table is not None:
                table.pop(run.id, None)
        run.state = state
        if state == "waiting":
            self._waiting[run.id] = None
        elif state in tables:
            tables[state][run.id] = None

    def _take(self) -> tuple[Action, ...]:
        actions, self._later = tuple(self._later), []
        return actions

    def _settle(self, actions: tuple[Action, ...], flat: dict[str, Any] | None = None) -> None:
        """Takes actions as done; they go with the answer to this call."""
        for action in actions:
            if self._over or not self._apply(action, flat):
                continue
            self._later.append(action)

    def _apply(self, action: Action, flat: dict[str, Any] | None) -> bool:
        """Whether an action changes anything, and the change."""
        if isinstance(action, StopAll):
            self._over = action.reason
            for run in self._live():
                self._move(run, "over")
                run.final = "killed"
            return True
        found = self._runs.get(action.run)
        if found is None or found.state == "over":
            return False
        if isinstance(action, Stop):
            if flat is not None and found.result is flat:
                flat["done"] = True
            self._close(found, "finished", failed=False)
        elif isinstance(action, Pause):
            if found.state != "running":
                return False
            self._move(found, "paused")
        elif isinstance(action, Exploit):
            found.config, found.checkpoint, found.copied = action.new, action.checkpoint, True
            self._move(found, "paused")
        return True

    def _live(self) -> Iterator[_Run]:
        for table in (self._running, self._paused, self._wanted, self._waiting):
            yield from [self._runs[name] for name in table]
