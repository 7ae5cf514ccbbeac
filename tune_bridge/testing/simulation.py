"""Simulated agents for an engine: a clock of their own, crashes, retries, late and lost messages.

The `Driver` makes the calls, does what the answers say, and checks what must hold at every step. It
writes down events and answers, so that a run of it can be replayed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any

from tune_bridge.engines.base import (
    Action,
    Answer,
    Asked,
    Done,
    Ended,
    EndState,
    Engine,
    Enqueued,
    Event,
    Exploit,
    Limited,
    Pause,
    Resume,
    Start,
    Stop,
    StopAll,
    Told,
)
from tune_bridge.engines.configs import canonical, fit

__all__ = ["Driver", "Loss", "noise"]

Loss = Callable[[dict[str, Any], int], dict[str, Any]]
"""What a program reports: of its config and the number of its report."""

_PLAIN = (dict, list, str, int, float, bool, type(None))


def noise(config: dict[str, Any], iteration: int) -> dict[str, Any]:
    """A loss between 0 and 2 that depends on the configuration and falls with the iterations."""
    digest = hashlib.sha256(canonical(config).encode()).digest()
    return {"loss": int.from_bytes(digest[:4], "big") / 2**32 + 1 / iteration}


class Driver:
    """Agents that run what an engine gives out.

    Args:
        engine: The engine.
        loss: What programs report.
        iterations: Reports of a program that runs to its end.
        seed: Of the agents: who reports next, and how long that takes.
        agents: How many there are.

    Attributes:
        events: What was said to the engine.
        answers: What it answered, one for each event.
        running: Runs with an agent, and their iterations.
        paused: Runs that left their agent, and their iterations.
        waiting: Runs that are to be tried again.
        over: Runs that have ended.
        configs: The configuration of each run that was started.
        infos: What came with it.
        done: The last answer was `Done`.
        pruned: Checkpoints that the engine did not need at some time.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        loss: Loss = noise,
        iterations: int = 4,
        seed: int = 0,
        agents: int = 4,
    ) -> None:
        self.engine = engine
        self.loss = loss
        self.iterations = iterations
        self.agents = agents
        self.events: list[Event] = []
        self.answers: list[Any] = []
        self.running: dict[str, int] = {}
        self.paused: dict[str, int] = {}
        self.waiting: set[str] = set()
        self.over: set[str] = set()
        self.configs: dict[str, dict[str, Any]] = {}
        self.infos: dict[str, dict[str, Any]] = {}
        self.done = False
        self.time = 1000.0
        self._random = random.Random(seed)
        self._saved: dict[str, tuple[str, int]] = {}
        self.pruned: set[str] = set()
        self._kept: dict[str, None] = {}

    # What agents and people do.

    def ask(self) -> Answer:
        """A free agent asks."""
        answer: Answer = self._say(Asked(self._tick()))
        for action in answer.actions:
            self._do(action)
        self.done = isinstance(answer, Done)
        if isinstance(answer, Start):
            assert answer.run not in self.configs, "a run is started once"
            self._check_config(answer.config)
            self.configs[answer.run] = answer.config
            self.infos[answer.run] = answer.info
            self._run(answer.run, 0)
        elif isinstance(answer, Resume):
            assert answer.run in self.paused or answer.run in self.waiting, "it had left"
            saved = answer.checkpoint
            if saved is not None:
                assert saved.id not in self.pruned, f"{saved.id} was not needed any more"
                assert (saved.run, saved.iteration) == self._saved[saved.id], "as it was reported"
            self._check_config(answer.config, exploited=True)
            self.configs[answer.run] = answer.config
            self.paused.pop(answer.run, None)
            self.waiting.discard(answer.run)
            self._run(answer.run, 0 if saved is None else saved.iteration)
        elif isinstance(answer, Done):
            assert not self.running, "runs go on"
            assert not self.paused, "a paused run is left alone for ever"
            assert not self.waiting, "a run is left that was to be tried again"
        else:
            assert answer.reason
            assert self.running, f"nothing runs, and the engine waits: {answer.reason}"
        return answer

    def report(self, run: str, result: dict[str, Any] | None = None) -> None:
        """A running program reports, with a checkpoint."""
        iteration = self.running[run] + 1
        self.running[run] = iteration
        result = self.loss(self.configs[run], iteration) if result is None else result
        name = f"{run}-{len(self._saved)}"
        time = self._tick()
        self._kept[name] = None
        self._saved[name] = run, iteration  # a checkpoint counts as the report that it comes with
        actions = self._say(Told(run, result, time, name))
        for action in actions:
            self._do(action)

    def end(self, run: str, state: EndState, *, retry: bool = False) -> None:
        """A run ends."""
        live = run in self.running or run in self.paused or run in self.waiting
        actions = self._say(Ended(run, state, self._tick(), "simulated", retry))
        if live:
            for table in (self.running, self.paused):
                table.pop(run, None)
            if retry:
                self.waiting.add(run)
            else:
                self.waiting.discard(run)
                self.over.add(run)
        for action in actions:
            self._do(action)

    def enqueue(self, config: dict[str, Any]) -> str:
        """A person wants a configuration."""
        event = Enqueued(config, self._tick())
        run = self.engine.enqueue(config, time=event.time)
        self.events.append(event)
        self.answers.append(())
        return run

    def limit(self, run_cap: int | None) -> None:
        """A person changes the number of runs."""
        for action in self._say(Limited(run_cap, self._tick())):
            self._do(action)

    def say_late(self, event: Event) -> None:
        """A message of no effect: late, twice, or of nobody."""
        assert self._say(event) == (), "a late message changes nothing"

    # A whole sweep.

    def step(self) -> bool:
        """One thing happens; False when nothing more will."""
        if len(self.running) < self.agents and self._random.random() < 0.7:
            answer = self.ask()
            if isinstance(answer, Done):
                return False
            if isinstance(answer, Start | Resume):
                return True
        if self.running:
            self.work(self._random.choice(list(self.running)))
        return True

    def work(self, run: str) -> None:
        """A program reports, or ends after its last report."""
        if self.running[run] >= self.iterations:
            self.end(run, "finished")
        else:
            self.report(run)

    def drain(self, most: int = 100_000) -> Driver:
        """Goes on until the engine is done.

        Raises:
            AssertionError: It is not after `most` steps.
        """
        for _ in range(most):
            if not self.step():
                return self
        raise AssertionError(f"not done after {most} steps")

    # Inside.

    def _tick(self) -> float:
        self.time += self._random.random()
        return self.time

    def _say(self, event: Event) -> Any:
        answer = self.engine.handle(event)
        self.events.append(event)
        self.answers.append(answer)
        if isinstance(event, Told | Ended):
            self._prune()
        return answer

    def _prune(self) -> None:
        """Deletes what the engine does not need; it is never asked for again (see `ask`)."""
        needed = self.engine.checkpoints()
        assert not needed & self.pruned, "what was not needed is needed again"
        for name in [name for name in self._kept if name not in needed]:
            del self._kept[name]
            self.pruned.add(name)

    def _run(self, run: str, iteration: int) -> None:
        most = self.engine.experiment.max_concurrent
        self.running[run] = iteration
        assert most is None or len(self.running) <= most, "more at once than are allowed"

    def _do(self, action: Action) -> None:
        if isinstance(action, StopAll):
            self.over.update(self.running, self.paused, self.waiting)
            self.running.clear()
            self.paused.clear()
            self.waiting.clear()
            return
        run = action.run
        assert run not in self.over, f"an action on a run that is over: {action}"
        if run not in self.configs:
            assert isinstance(action, Stop | Exploit), f"it has not been started: {action}"
        if isinstance(action, Stop):
            assert action.reason
            self.over.add(run)
            self.waiting.discard(run)
            self.running.pop(run, None)
            self.paused.pop(run, None)
        elif isinstance(action, Pause):
            self.paused[run] = self.running.pop(run)
        else:
            assert action.donor in self.configs
            assert action.checkpoint.id in self._saved
            assert action.checkpoint.id not in self.pruned
            self.paused[run] = self.running.pop(run, self.paused.get(run, 0))

    def _check_config(self, config: dict[str, Any], exploited: bool = False) -> None:
        _check_plain(config)
        if not exploited:
            fitted = fit(self.engine.experiment.space, config)
            assert canonical(fitted) == canonical(config), "typed as the space types it, complete"


def _check_plain(value: Any) -> None:
    assert type(value) in _PLAIN, f"{value!r} is a {type(value)}"
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
        for item in value.values():
            _check_plain(item)
    elif isinstance(value, list):
        for item in value:
            _check_plain(item)
