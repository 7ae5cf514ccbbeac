"""A sweep with simulated time, simulated agents and a backend that fails when it is told to.

Agents lose answers, repeat requests, go silent, come back late. `World` knows what each was told,
and checks at every step that no run is given to two of them, that none is forgotten, that the
budget is kept and that a controller that starts now would be the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from tune_bridge.backends.base import Operation, Row
from tune_bridge.backends.local import LocalBackend
from tune_bridge.controller import Controller, SweepController
from tune_bridge.errors import BackendError
from tune_bridge.wire import Claim, Over, Settings, Verdict

LEASE = 60.0


class Flaky(LocalBackend):
    """Fails when `fails` says so: before anything is written, or after all is."""

    fails: str = ""

    def apply(self, operations: Iterable[Operation]) -> None:
        how, self.fails = self.fails, ""
        if how == "before":
            raise BackendError("the disk is full")
        super().apply(operations)
        if how == "after":
            raise BackendError("the connection broke off")


class Agent:
    """What one agent knows."""

    def __init__(self, name: str, host: str) -> None:
        self.name, self.host = name, host
        self.requests = 0
        self.asking = False  # its last request has had no answer yet
        self.claim: Claim | None = None
        self.seq = 0
        self.step = 0
        self.verdict = Verdict()
        self.last: tuple[Any, ...] | None = None  # its last report, for repeating it

    def free(self) -> None:
        self.claim, self.verdict, self.last = None, Verdict(), None
        self.seq = 0


class World:
    """One sweep and its agents.

    Args:
        folder: Fresh.
        config: The sweep.
        agents: How many.
        settings: Of the queue; the lease is `LEASE`.
        check: Compare with a controller that starts anew after each step.
    """

    def __init__(
        self, folder: Path, config: dict[str, Any], agents: int = 4, *, check: bool = False,
        **settings: Any,
    ) -> None:  # fmt: skip
        self.now = 1000.0
        self.folder = folder
        self.backend = Flaky.open(str(folder / "sweeps.db"))
        self.controller = self._controller()
        made = Settings(lease=LEASE, **settings)
        self.id = self.controller.create(config, settings=made, seed=7).id
        self.sweep = self.controller.sweep(self.id)
        self.agents = [Agent(f"agent-{n}", f"host-{n % 3}") for n in range(agents)]
        self.check = check
        self.given: dict[str, tuple[int, str, int]] = {}
        self.released: set[tuple[str, int]] = set()
        self.heard: dict[str, float] = {}
        self.rows: dict[str, set[int]] = {}
        self.calls = 0
        self.most = int(config.get("run_cap", 0))
        self.checkpoints = 0
        self.saved: dict[str, str] = {}
        self.told: set[str] = set()  # checkpoints that the controller knows of
        self.pruned: set[str] = set()  # those that it did not need at some time

    def _controller(self) -> Controller:
        return Controller(self.backend, self.folder / "snapshots", clock=lambda: self.now)

    def close(self) -> None:
        self.backend.close()

    # What agents do. A false `arrives` is an answer that was lost on its way.

    def claim(self, agent: Agent, *, arrives: bool = True) -> Any:
        if agent.claim is not None:
            return agent.claim
        if not agent.asking:
            agent.requests += 1
        agent.asking = True
        answer = self._try(lambda: self.sweep.claim(agent.name, agent.host, str(agent.requests)))
        if isinstance(answer, Claim):
            self._check_given(agent, answer)
        if answer is None or not arrives:
            return None
        agent.asking = False
        if isinstance(answer, Claim):
            agent.free()
            agent.claim, agent.step = answer, answer.first_step
        return answer

    def report(
        self,
        agent: Agent,
        values: dict[str, Any],
        *,
        checkpoint: bool = False,
        arrives: bool = True,
    ) -> Verdict | None:
        claim = agent.claim
        assert claim is not None
        saved = None
        if checkpoint:
            self.checkpoints += 1
            saved = f"c{self.checkpoints}"
            self.saved[saved] = claim.run
        row = Row(agent.step, self.now, values)
        agent.last = (claim.run, claim.attempt, agent.seq, [row], saved)
        agent.step += 1
        agent.seq += 1
        return self.repeat(agent, arrives=arrives)

    def repeat(self, agent: Agent, *, arrives: bool = True) -> Verdict | None:
        """Sends the last report (again)."""
        assert agent.last is not None
        run, attempt, seq, rows, saved = agent.last
        verdict: Verdict | None = self._try(
            lambda: self.sweep.report(run, attempt, seq, rows, checkpoint=saved, resumable=True)
        )
        if verdict is not None:
            self._hear(run, attempt, verdict)
            if saved is not None:
                self.told.add(saved)
            if verdict.kind != "kill":
                self.rows.setdefault(run, set()).update(row.step for row in rows)
            if arrives:
                agent.verdict = verdict
        return verdict

    def end(
        self, agent: Agent, state: Any, *, arrives: bool = True, preempted: bool = False
    ) -> None:
        claim = agent.claim
        assert claim is not None
        done = self._try(
            lambda: (
                self.sweep.end(claim.run, claim.attempt, state, message=state, preempted=preempted)
                or True
            )
        )
        if done:
            self.released.add((claim.run, claim.attempt))
        if done and arrives:
            agent.free()

    def heartbeat(self, agent: Agent) -> None:
        if agent.claim is None:
            return
        claim = agent.claim
        told = self._try(lambda: self.sweep.heartbeat({claim.run: claim.attempt}))
        if told is not None:
            agent.verdict = told[claim.run]
            self._hear(claim.run, claim.attempt, agent.verdict)

    def vanish(self, agent: Agent) -> None:
        """It dies, and another one with a new name comes up."""
        number = self.agents.index(agent)
        self.agents[number] = Agent(f"{agent.name}'", agent.host)

    # What else happens.

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._try(lambda: self.sweep.expire())

    def command(self, verb: Any, **args: Any) -> Any:
        return self._try(lambda: self.sweep.command(verb, **args))

    def restart(self, *, snapshot: bool = False) -> None:
        """The process ends (by a signal, unless a snapshot is written), and another one starts."""
        if snapshot:
            self.controller.close()
        self.controller = self._controller()
        self.sweep = self.controller.sweep(self.id)
        # Who is alive is not known: everybody who was not lost before gets a fresh time.
        state = self.sweep.state
        for run_id in state.live:
            if not state.runs[run_id].missing:
                self.heard[run_id] = self.now

    def _try(self, call: Any) -> Any:
        """The answer, None when the backend failed; every other call is made as a server does."""
        self.calls += 1
        try:
            answer = call() if self.calls % 2 else self.sweep.together([call])[0]
            if isinstance(answer, Exception):
                raise answer
        except BackendError:
            answer = None
        if self.check:
            self.check_restart()
        return answer

    def _hear(self, run: str, attempt: int, verdict: Verdict) -> None:
        if self.given[run][0] == attempt and verdict.kind != "kill":
            self.heard[run] = self.now

    # What has to be true.

    def _check_given(self, agent: Agent, claim: Claim) -> None:
        assert claim.checkpoint is None or claim.checkpoint.id not in self.pruned
        mine = (claim.attempt, agent.name, agent.requests)
        before = self.given.get(claim.run)
        if before is not None and before != mine:
            # More than one further: of an attempt whose answer was lost, nobody knows.
            assert claim.attempt > before[0], (before, mine)
            silent = self.now - self.heard[claim.run]
            free = (claim.run, before[0]) in self.released
            known = self.sweep.state.runs[claim.run]
            assert free or silent > LEASE, f"given to two at once: {before}, {silent} s, {known}"
        self.given[claim.run] = mine
        self.heard[claim.run] = self.now
        assert claim.config == self.sweep.state.runs[claim.run].config

    def check_always(self) -> None:
        """True after each step."""
        self._refresh()
        self.pruned |= self.told - self.sweep.checkpoints()
        state = self.sweep.state
        assert len(state.runs) <= self.most
        for run in state.runs.values():
            assert (run.id in state.live) == (run.status in ("running", "leaving"))
            assert not (run.id in state.ready and run.status != "paused")
        assert all(state.runs[run_id].status == "paused" for run_id in state.ready)
        shown = {run.id: run for run in self.backend.runs(self.id)}
        assert shown.keys() == state.runs.keys()
        for run in state.runs.values():
            kept = shown[run.id]
            if run.status == "running":
                assert kept.config == run.config
            if run.status == "over":
                assert kept.state == run.state
            elif run.status == "running" and not run.missing:
                assert kept.state == "running"
        for run_id, steps in self.rows.items():
            assert {row.step for row in self.backend.history(run_id)} >= steps

    def _refresh(self) -> None:
        """Has memory that could not be written read again."""
        fails, self.backend.fails = self.backend.fails, ""
        self.sweep.expire()
        self.backend.fails = fails

    def check_restart(self) -> None:
        """A controller that starts now is the same, with a snapshot and without."""
        self._refresh()
        here = self.sweep
        for folder in (None, self.folder / "snapshots"):
            other = Controller(self.backend, folder, clock=lambda: self.now).sweep(self.id)
            assert same(other.state, here.state)
            assert next_answer(other) == next_answer(here)

    def drain(self, *, limit: int = 10_000) -> None:
        """All go on until there is nothing left to do: every run comes to its end."""
        self.backend.fails = ""
        if self.sweep.state.gate == "paused":
            self.command("resume")
        if self.sweep.state.concurrency is not None:
            self.command("concurrency", number=None)
        for host in list(self.sweep.state.hosts):
            self.command("release", host=host)
        for _ in range(limit):
            idle = [self.work(agent) for agent in self.agents]
            if all(idle):
                break
            self.wait(1.0)
        else:
            raise AssertionError("it goes on for ever")
        state = self.sweep.state
        while state.live:  # of agents that are gone for ever
            self.wait(LEASE + 1)
            state = self.sweep.state
        assert state.gate in ("finished", "canceled", "failed"), (state.gate, state.waiting)
        assert {run.status for run in state.runs.values()} <= {"over"}
        assert self.backend.sweep(self.id).state == state.gate
        self.check_always()

    def work(self, agent: Agent, reports: int = 3) -> bool:
        """One step of an agent that does all it should; whether it has nothing to do any more."""
        if agent.claim is None:
            return isinstance(self.claim(agent), Over)
        if agent.verdict.kind == "pause":
            self.report(agent, {}, checkpoint=True)
        if agent.verdict.kind != "continue":
            self.end(agent, "killed")
        elif agent.step >= reports:
            self.end(agent, "finished")
        else:
            self.report(agent, self.result(agent), checkpoint=True)
        return False

    def result(self, agent: Agent) -> dict[str, Any]:
        """What a run would report: it depends on its parameters and its step."""
        assert agent.claim is not None
        return {"loss": agent.claim.config["x"] + 1.0 / (1 + agent.step)}


def same(one: Any, other: Any) -> bool:
    """Equality in which a NaN is itself."""
    return repr(msgspec.to_builtins(one, order="sorted")) == repr(
        msgspec.to_builtins(other, order="sorted")
    )


def next_answer(sweep: SweepController) -> str:
    """What the engine would answer next, without asking it."""
    from tune_bridge.engines import restore_engine

    engine = restore_engine(sweep._fold.engine.snapshot())
    return repr(engine.ask(time=sweep.state.time))
