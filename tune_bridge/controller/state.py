"""What a controller is told and what it remembers; what it answers is in `tune_bridge.wire`.

The log of a sweep is the list of what its controller was told (`Event`), each with what came of it.
State is a fold over the log (`tune_bridge.controller.fold`): a controller that is started again
reads the log and knows everything, except who is alive; so every agent gets a fresh grace period.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from tune_bridge.backends.base import Operation
from tune_bridge.errors import InputError
from tune_bridge.wire import Checkpoint, EndState, Verb, Verdict

__all__ = [
    "Adopted",
    "Claimed",
    "Commanded",
    "Ended",
    "Event",
    "Found",
    "Gate",
    "Held",
    "Host",
    "Lost",
    "Outcome",
    "RunState",
    "SweepState",
    "Told",
    "check_args",
]

Gate = Literal["open", "paused", "stopping", "canceled", "failed", "finished"]


# What a controller is told.


class Claimed(msgspec.Struct, frozen=True, tag_field="event", tag="claim"):
    """An agent is free."""

    agent: str
    host: str
    request: str
    time: float


class Told(msgspec.Struct, frozen=True, tag_field="event", tag="tell"):
    """A run has a result."""

    run: str
    attempt: int
    seq: int
    result: dict[str, Any]
    time: float
    checkpoint: str | None = None
    resumable: bool = False


class Held(msgspec.Struct, frozen=True, tag_field="event", tag="hold"):
    """A run has said what waits for its next result: values without the metric, a checkpoint."""

    run: str
    attempt: int
    seq: int
    values: dict[str, Any]
    time: float
    checkpoint: str | None = None


class Ended(msgspec.Struct, frozen=True, tag_field="event", tag="end"):
    """A run's program has ended."""

    run: str
    attempt: int
    state: EndState
    time: float
    message: str = ""
    exit_code: int | None = None
    preempted: bool = False


class Lost(msgspec.Struct, frozen=True, tag_field="event", tag="lost"):
    """Nothing was heard of a run's agent for the time of a lease."""

    run: str
    time: float


class Found(msgspec.Struct, frozen=True, tag_field="event", tag="found"):
    """A lost agent is back, and its run was not given to another one."""

    run: str
    time: float


class Commanded(msgspec.Struct, frozen=True, tag_field="event", tag="command"):
    """Somebody wants something."""

    verb: Verb
    time: float
    args: dict[str, Any] = {}


class Adopted(msgspec.Struct, frozen=True, tag_field="event", tag="adopted"):
    """A run that was over before the sweep was made has come to it (see `tune_bridge.adopt`).

    Whoever brings it writes the run itself, and this event with it.
    """

    run: str
    config: dict[str, Any]
    state: EndState
    result: dict[str, Any]
    time: float


Event = Claimed | Told | Held | Ended | Lost | Found | Commanded | Adopted


# The arguments of commands.


class _None(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _Runs(msgspec.Struct, forbid_unknown_fields=True):
    runs: list[str] | None = None


class _Config(msgspec.Struct, forbid_unknown_fields=True):
    config: dict[str, Any]


class _Number(msgspec.Struct, forbid_unknown_fields=True):
    number: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None


class _Host(msgspec.Struct, forbid_unknown_fields=True):
    host: str


class _Run(msgspec.Struct, forbid_unknown_fields=True):
    run: str


class _Reason(msgspec.Struct, forbid_unknown_fields=True):
    reason: str


_ARGS: dict[Verb, type[msgspec.Struct]] = {
    "pause": _None,
    "resume": _None,
    "stop": _None,
    "cancel": _None,
    "retry": _Runs,
    "enqueue": _Config,
    "run_cap": _Number,
    "concurrency": _Number,
    "release": _Host,
    "stop_run": _Run,
    "fail": _Reason,
}


def check_args(verb: Verb, args: Mapping[str, Any]) -> None:
    """Looks whether a command has the arguments that it needs, and no others.

    Raises:
        InputError: It has not.
    """
    kind = _ARGS.get(verb)
    if kind is None:
        raise InputError("no such command", found=repr(verb), expected=", ".join(_ARGS))
    try:
        msgspec.convert(dict(args), kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{verb}: {error}", expected=", ".join(kind.__struct_fields__)) from None


# What it remembers.


class RunState(msgspec.Struct):
    """One run.

    Attributes:
        id: Its id.
        config: Its parameters now.
        status: "running" (an agent has it), "leaving" (its agent is to end it, see `verdict`),
            "paused" (the engine will say when it goes on), "over".
        attempt: How often it was given out.
        agent: Who has it, or had it last.
        host: The agent's machine.
        request: Of the claim that it was given for.
        seq: Of the last report that said something for the engine, within the attempt.
        held: Values that wait for its next result.
        saved: A checkpoint that waits for its next result.
        verdict: What its agent is to be told.
        lost: How often its agent was lost.
        missing: Its agent is lost, and it waits for another one (or for the agent to come back).
        failures: How often its program failed.
        results: How many results it had.
        checkpoint: Where it starts from.
        again: It may go on as soon as its agent has left it.
        state: How it ended.
    """

    id: str
    config: dict[str, Any]
    status: Literal["running", "leaving", "paused", "over"] = "paused"
    attempt: int = 0
    agent: str = ""
    host: str = ""
    request: str = ""
    seq: int = -1
    held: dict[str, Any] = {}
    saved: str | None = None
    verdict: Verdict = Verdict()
    lost: int = 0
    missing: bool = False
    failures: int = 0
    results: int = 0
    checkpoint: Checkpoint | None = None
    again: bool = False
    state: EndState | None = None

    @property
    def judged(self) -> bool:
        """Whether its results are for the engine.

        Also while it waits to be tried again: its old agent may come back with them.
        """
        if self.status == "paused":
            return self.verdict.kind == "continue"
        return self.status == "running"


class Host(msgspec.Struct):
    """One machine with agents.

    Attributes:
        failures: In a row.
        quarantine: Why it gets no runs; empty when it does.
    """

    failures: int = 0
    quarantine: str = ""


class SweepState(msgspec.Struct):
    """Everything about a sweep's queue.

    Attributes:
        gate: Whether runs are given out, and if not, why.
        reason: For people.
        concurrency: Runs at once, or None.
        runs: By id.
        live: Ids of the runs that agents have.
        hosts: By name.
        ready: Runs that are to go on, with nobody to do it yet, in order.
        waiting: The engine said "wait", and nothing has happened since.
        done: Why the engine has nothing more; empty while it may have.
        time: Of the last event.
        asleep: It came with its runs and is shown as finished; nobody has wanted more yet.
    """

    gate: Gate = "open"
    reason: str = ""
    concurrency: int | None = None
    runs: dict[str, RunState] = {}
    live: set[str] = set()
    hosts: dict[str, Host] = {}
    ready: dict[str, None] = {}
    waiting: str = ""
    done: str = ""
    time: float = 0.0
    asleep: bool = False


class Outcome(msgspec.Struct):
    """What came of an event.

    Attributes:
        answer: For whoever caused it.
        operations: For the backend.
        notes: Plain data for the log: what the engine answered.
    """

    answer: Any = None
    operations: list[Operation] = []
    notes: list[dict[str, Any]] = []
