"""What agents and the controller say to each other: values, and where they are sent.

Everything is JSON over HTTP. Values are written by `tune_bridge.values.encode` (NaN and infinities
survive) inside of the bodies below; the key, when the server has one, goes as
``Authorization: Bearer``. An error is ``{"error": {"status": ..., "message": ...}}``.

| request | body | answer |
|---|---|---|
| ``POST /api/sweeps`` | `NewSweep` | the sweep |
| ``GET /api/sweeps/{sweep}`` | | the sweep, its config included |
| ``POST /api/sweeps/{sweep}/commands`` | `Command` | ``{"result": ...}`` |
| ``GET /api/sweeps/{sweep}/queue`` | | gate, limits, hosts, agents, runs by status |
| ``GET /api/sweeps/{sweep}/events?first=&limit=`` | | ``{"events": [...]}``, the log |
| ``POST /api/sweeps/{sweep}/claims`` | `ClaimRequest` | `Answer` |
| ``POST /api/sweeps/{sweep}/heartbeats`` | `Heartbeat` | `Verdicts` |
| ``POST /api/runs/{run}/reports`` | `Report` | `Verdict` |
| ``POST /api/runs/{run}/end`` | `End` | `Ended` |
| ``POST /api/runs/{run}/output?attempt=&offset=`` | the program's output, bytes | ``{}`` |
| ``GET /api/runs/{run}/output`` | | the program's output, text |
| ``PUT /api/runs/{run}/checkpoints/{id}`` | a tar archive | ``{}`` |
| ``GET /api/runs/{run}/checkpoints/{id}`` | | the archive |

Every request can be repeated: a claim has its ``request``, a report its ``seq``, output its offset.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = [
    "Answer",
    "Checkpoint",
    "Claim",
    "ClaimRequest",
    "Command",
    "End",
    "EndState",
    "Ended",
    "Heartbeat",
    "Idle",
    "NewSweep",
    "Over",
    "Report",
    "Settings",
    "Verb",
    "Verdict",
    "Verdicts",
]

EndState = Literal["finished", "failed", "killed", "crashed"]

Verb = Literal[
    "pause",
    "resume",
    "stop",
    "cancel",
    "retry",
    "enqueue",
    "run_cap",
    "concurrency",
    "release",
    "stop_run",
    "fail",
]
"""pause: nothing new is given out. resume: again it is. stop: the running ones finish, then it is
over. cancel: the running ones are ended now. retry: failed, crashed and killed runs once more.
enqueue: a configuration. run_cap, concurrency: new limits. release: a host out of quarantine.
stop_run: one run ends here, its results are valid. fail: the engine cannot go on."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a sweep's queue behaves; kept with the sweep.

    Attributes:
        lease: Seconds without a sign of life after which a run's agent counts as lost.
        heartbeat: Seconds between two signs of life that agents are asked for.
        max_lost: How often a run whose agent was lost is given out again, from its last checkpoint;
            after that it is crashed.
        max_failures: How often a run whose program failed is started again (Tune's
            ``max_failures``), from its last checkpoint.
        quarantine: Failures in a row after which a host gets no more runs; 0 for never.
        concurrency: Runs at once; None for what the experiment says.
    """

    lease: float = 60.0
    heartbeat: float = 5.0
    max_lost: int = 2
    max_failures: int = 0
    quarantine: int = 3
    concurrency: int | None = None


class Checkpoint(msgspec.Struct, frozen=True):
    """A saved state of a run's program.

    Attributes:
        id: Names it where checkpoints are kept.
        run: The run that saved it.
        iteration: The run's ``training_iteration`` when it was saved: that of the report that it
            came with, as for Tune (save, then report); of the last report when it came alone.
        seconds: The run's ``time_total_s`` then.
    """

    id: str
    run: str
    iteration: int
    seconds: float = 0.0


class Claim(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="run"):
    """A run for an agent.

    Attributes:
        run: Its id.
        attempt: Counts from 1; reports say it, so that those of a lost attempt are known.
        config: Its parameters.
        checkpoint: Where it starts from; None for the beginning.
        first_step: The step of its first row: history goes on, nothing is replaced.
        lease: Seconds without a sign of life after which it is given to another agent.
        heartbeat: Seconds between two signs of life.
    """

    run: str
    attempt: int
    config: dict[str, Any]
    checkpoint: Checkpoint | None = None
    first_step: int = 0
    lease: float = 60.0
    heartbeat: float = 5.0


class Idle(msgspec.Struct, frozen=True, tag_field="kind", tag="wait"):
    """Nothing now.

    Attributes:
        reason: For people.
    """

    reason: str


class Over(msgspec.Struct, frozen=True, tag_field="kind", tag="over"):
    """Nothing any more, for this agent.

    Attributes:
        reason: For people.
    """

    reason: str


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a running run.

    Attributes:
        kind: "continue"; "stop": end it, its results are valid; "pause": end it, it will go on
            from its last checkpoint; "kill": end it, its results do not count (any more).
        reason: For people.
    """

    kind: Literal["continue", "stop", "pause", "kill"] = "continue"
    reason: str = ""


Answer = Claim | Idle | Over


class Verdicts(msgspec.Struct, frozen=True):
    """What becomes of each run of an agent."""

    runs: dict[str, Verdict]


# What is asked.


class NewSweep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A sweep that agents are to run; see `tune_bridge.controller.Controller.create`."""

    config: dict[str, Any]
    project: str | None = None
    name: str | None = None
    settings: Settings = Settings()
    seed: int | None = None


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """What somebody wants; `args` are those of `tune_bridge.controller.SweepController.command`."""

    verb: Verb
    args: dict[str, Any] = {}


class ClaimRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """An agent is free.

    Attributes:
        agent: Its name, unique among all agents.
        host: Its machine.
        request: New for each claim, the same when it is repeated.
        wait: Seconds that the server may hold the request until there is a run.
    """

    agent: str
    host: str
    request: str
    wait: float = 0.0


class Heartbeat(msgspec.Struct, frozen=True):
    """A sign of life: the runs that an agent has, with their attempts."""

    agent: str
    runs: dict[str, int]


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rows of a run.

    Attributes:
        attempt: Of the claim.
        seq: Counts the reports of the attempt from 0.
        rows: Step, time (seconds since the epoch) and values of each.
        checkpoint: Id of a checkpoint saved since the last report.
        resumable: The program has asked for a checkpoint to go on from.
        summary: Values set beside the rows.
        config: Parameters that the program has added.
    """

    attempt: int
    seq: int
    rows: list[tuple[int, float, dict[str, Any]]] = []
    checkpoint: str | None = None
    resumable: bool = False
    summary: dict[str, Any] = {}
    config: dict[str, Any] = {}


class End(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run's program has ended, by itself or as a verdict said.

    Attributes:
        attempt: Of the claim.
        state: How.
        message: Why, for people.
        exit_code: Of the program.
        preempted: With "crashed": its agent had to go, and nothing was wrong with the run. It is
            given out again, however often that happens.
        next: The agent is free, and wants another run of the same sweep; both are done or neither.
    """

    attempt: int
    state: EndState
    message: str = ""
    exit_code: int | None = None
    preempted: bool = False
    next: ClaimRequest | None = None


class Ended(msgspec.Struct, frozen=True, omit_defaults=True):
    """That a run's end is noted.

    Attributes:
        next: What its agent gets that was free, when it asked.
    """

    next: Answer | None = None
