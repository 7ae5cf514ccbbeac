"""A run as a process: the sweep's program, started as its command says."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable
from typing import Any

import msgspec

from tune_bridge.agents.execution import Execution
from tune_bridge.agents.http import Server
from tune_bridge.agents.leaving import Leave, left
from tune_bridge.errors import BackendError, TuneBridgeError
from tune_bridge.reports import PAYLOAD
from tune_bridge.trial import Program, ProgramError, ProgramSettings, Spare
from tune_bridge.wandb_env import wandb_env
from tune_bridge.wire import Claim, End, EndState, Heartbeat

__all__ = ["run_program"]

_LOOK = 0.2  # seconds between two looks for a verdict, and for rows that wait for the metric
_ASK = 0.5  # seconds between two questions for the verdict of a run that reports by wandb
_CHUNK = 256 * 1024
_OFTEN, _AGAIN = 0.5, 5.0  # seconds between two pieces of output; after one that could not be sent


def run_program(
    execution: Execution,
    settings: ProgramSettings,
    server: Server,
    stopping: Callable[[], Leave],
    spare: Spare,
) -> End:
    """Runs a program to its end, or to its verdict.

    Args:
        execution: The attempt.
        settings: How the sweep's programs are run.
        server: For the output.
        stopping: Says "preempt", "stop" or "kill" when the agent itself is to end, else "".
        spare: Where its guard comes from; the next one is made while it runs.

    Returns:
        How it ended.
    """
    claim = execution.claim
    env = wandb_env(
        server.url,
        server.key,
        run=claim.run,
        config=claim.config,
        sweep=settings.sweep_id,
        folder=execution.folder,
    )
    settings = msgspec.structs.replace(settings, env={**env, **settings.env})
    program = Program(settings, claim.config, execution.folder, execution.about, spare)
    output = _Output(program, server, claim)
    try:
        program.start()
        spare.make()
        end = _follow(program, execution, stopping, output, _Verdicts(execution, server))
    except ProgramError as error:
        if error.payload.get("rows") or error.payload.get("summary"):
            with contextlib.suppress(TuneBridgeError):
                execution.report(error.payload, resumable=program.reports.resumable)
        # A run that goes on from a checkpoint may have had everything to say before.
        said = "" if error.outcome == "finished" and claim.attempt > 1 else error.reason
        if error.outcome == "finished" and _by_wandb(server, claim.run, settings.metric):
            said = ""
        end = End(claim.attempt, error.outcome, said, error.exit_code)
    except TuneBridgeError as error:
        program.stop(kill=True)
        # What the server refuses, it refuses again; what goes wrong there may go well next time.
        state: EndState = "crashed" if isinstance(error, BackendError) else "failed"
        end = End(claim.attempt, state, str(error), program.exit_code)
    except BaseException:
        program.stop(kill=True)
        raise
    output.send(last=True)
    return end


def _by_wandb(server: Server, run_id: str, metric: str | None) -> bool:
    """Whether a program has said by wandb what it did not say by us."""
    try:
        run = server.get(f"/api/runs/{run_id}")
    except TuneBridgeError:
        return False
    said = run["summary"]
    return "wandb.attempt" in run["meta"] and bool(said if metric is None else metric in said)


def _follow(
    program: Program,
    execution: Execution,
    stopping: Callable[[], Leave],
    output: _Output,
    verdicts: _Verdicts,
) -> End:
    attempt, resumable = execution.claim.attempt, False
    while True:
        verdicts.look()
        leave = stopping()
        verdict = execution.verdict
        if leave or verdict.kind != "continue":
            kill = leave == "kill" or verdict.kind == "kill"
            program.stop(kill=kill, hurry=lambda: stopping() == "kill")
            rows = program.waiting()
            if rows or not kill:
                # What it saved while it waited in `log`, or when it was asked to end, is whole.
                execution.report(rows or {"rows": []}, resumable=resumable)
            if leave:
                return left(attempt, leave, program.exit_code)
            return End(attempt, "killed", verdict.reason, program.exit_code)
        try:
            result = program.next(_LOOK)
        except queue.Empty:
            rows = program.waiting()
            if rows:
                execution.report(rows, resumable=program.reports.resumable, settled=False)
            output.send()
            continue
        resumable = program.reports.resumable
        payload: dict[str, Any] = result[PAYLOAD]
        if payload.get("rows") or payload.get("summary") or payload.get("config"):
            execution.report(payload, resumable=resumable)
        output.send()
        if result.get("done") or "__duplicate__" in result:
            return End(attempt, "finished", "", program.exit_code)


class _Verdicts:
    """Asks what becomes of a run that reports by wandb: no answer to a report says it."""

    def __init__(self, execution: Execution, server: Server) -> None:
        self._execution, self._server = execution, server
        self._not_before = 0.0

    def look(self) -> None:
        execution, now = self._execution, time.monotonic()
        if now < self._not_before or not (execution.folder / "wandb").is_dir():
            return
        self._not_before = now + _ASK
        about, claim = execution.about, execution.claim
        beat = Heartbeat(str(about["agent"]), {claim.run: claim.attempt})
        with contextlib.suppress(TuneBridgeError):
            found = self._server.heartbeat(str(about["sweep_id"]), beat)
            execution.outbox.judge(found[claim.run])


class _Output:
    """A program's output on its way to the server; what cannot be sent now is sent later."""

    def __init__(self, program: Program, server: Server, claim: Claim) -> None:
        self._program, self._server, self._claim = program, server, claim
        self._sent = 0
        self._not_before = 0.0

    def send(self, *, last: bool = False) -> None:
        path = self._program.output
        if not last and time.monotonic() < self._not_before:
            return
        try:
            if path.stat().st_size <= self._sent:
                return
            with path.open("rb") as file:
                file.seek(self._sent)
                while data := file.read(_CHUNK):
                    self._server.output(self._claim.run, self._claim.attempt, self._sent, data)
                    self._sent += len(data)
                    if not last:
                        break
            self._not_before = time.monotonic() + _OFTEN
        except (OSError, TuneBridgeError):
            self._not_before = time.monotonic() + _AGAIN
