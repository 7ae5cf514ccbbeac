"""The contract of an engine: who proposes configurations and judges runs.

An engine is asked and told; it starts nothing and waits for nothing. Whoever drives it (the
controller, a simulation, a test) says what happened, in an order of its own, and does what the
answers say:

* `Engine.ask`: somebody is free. The answer is a new run, a paused one to go on with, "nothing now"
  or "never again". It carries actions when asking itself decided something on other runs (a
  bracket of HyperBand for BOHB is halved when nothing runs any more).
* `Engine.tell`: a run has reported. The answer is a tuple of actions, on this run and on others; a
  run that is not named goes on.
* `Engine.end`: a run is over (or will be tried again).
* `Engine.enqueue`: somebody asks for a configuration of their own.
* `Engine.limit`: the run cap has changed.
* `Engine.checkpoints`: what is still needed of all that was saved; changes nothing.

Promises, tested by `tune_bridge.testing.engines`:

* **Deterministic.** The answers are a function of the experiment (its seed included), of the engine
  seed and of the calls so far: no clock, no global random state. Every call gives its own time.
* **Restorable.** `Engine.snapshot` and `restore_engine` give an engine with the same future.
  A snapshot is a pickle: it is written to and read from our own files, nothing else.
* **Polite.** Global random states are as before after each call; nothing is printed; ``ray.init``
  is never called.
* **Honest.** What a searcher cannot use (a failed run, a NaN, a metric that is missing) reaches it
  in the form in which it can go on; it never sees a value that was not reported.
* **Plain.** Configurations hold plain values (dict, list, str, int, float, bool, None), typed as
  the space types them, constants included, nested as the space is.

Engines are not thread-safe; a driver makes one call at a time.
"""

from __future__ import annotations

import abc
import hashlib
import string
from collections.abc import Mapping
from typing import Any

import msgspec

from tune_bridge.experiment import Experiment
from tune_bridge.wire import Checkpoint, EndState

__all__ = [
    "Action",
    "Answer",
    "Asked",
    "Checkpoint",
    "Done",
    "EndState",
    "Ended",
    "Engine",
    "Enqueued",
    "Event",
    "Exploit",
    "Limited",
    "Pause",
    "Resume",
    "Start",
    "Stop",
    "StopAll",
    "Told",
    "Wait",
    "replay",
    "run_id",
]

_ALPHABET = string.ascii_lowercase + string.digits
_PAIRS = [first + second for second in _ALPHABET for first in _ALPHABET]


# What `tell`, `end` and `limit` answer, and what comes with an answer of `ask`.


class Stop(msgspec.Struct, frozen=True, tag_field="action", tag="stop"):
    """The run ends here; its results are valid. The engine takes it as ended: no `end` follows.

    Attributes:
        run: Its id; it may be paused.
        reason: Why, for people: rung and cut-off, limit, median.
        info: The same as data: ``rule``, and what the rule knows (rung, cutoff, rank, ...).
    """

    run: str
    reason: str
    info: dict[str, Any] = {}


class Pause(msgspec.Struct, frozen=True, tag_field="action", tag="pause"):
    """The run leaves its place; a later `ask` may answer `Resume` for it.

    It will go on from its last checkpoint: one that came with a report, or alone after this action
    (see `Engine.tell`).
    """

    run: str
    reason: str
    info: dict[str, Any] = {}


class Exploit(msgspec.Struct, frozen=True, tag_field="action", tag="exploit"):
    """The run leaves its place; `Resume` brings it back with another's checkpoint and a new config.

    Attributes:
        run: Its id.
        donor: The run it copies.
        checkpoint: The donor's checkpoint.
        old: Its parameters so far.
        new: Its parameters from now on.
        reason: For people.
        info: The same as data: ``rule``, scores, quantile, and the steps of both runs.
    """

    run: str
    donor: str
    checkpoint: Checkpoint
    old: dict[str, Any]
    new: dict[str, Any]
    reason: str
    info: dict[str, Any] = {}


class StopAll(msgspec.Struct, frozen=True, tag_field="action", tag="stop_all"):
    """The whole sweep ends: its target is reached, its time is up, a stopper says so.

    The engine takes all of its runs as ended, and answers `Done` from now on.
    """

    reason: str


Action = Stop | Pause | Exploit | StopAll


# What `ask` answers.


class Start(msgspec.Struct, frozen=True, tag_field="answer", tag="start"):
    """A new run.

    Attributes:
        run: Its id (see `run_id`).
        config: Its parameters and constants, nested as the space is.
        info: What to keep with the run, for people: grid index, bracket, repeat of which run.
        actions: What is to be done with others first: a scheduler may stop or copy runs when it is
            asked for the next one.
    """

    run: str
    config: dict[str, Any]
    info: dict[str, Any] = {}
    actions: tuple[Action, ...] = ()


class Resume(msgspec.Struct, frozen=True, tag_field="answer", tag="resume"):
    """A run that was paused, or is tried again, goes on.

    Attributes:
        run: Its id.
        config: Its parameters; others than before after an `Exploit`.
        checkpoint: Where it starts from; None for the beginning.
        actions: See `Start`.
    """

    run: str
    config: dict[str, Any]
    checkpoint: Checkpoint | None = None
    actions: tuple[Action, ...] = ()


class Wait(msgspec.Struct, frozen=True, tag_field="answer", tag="wait"):
    """Nothing now: ask again after the next report or end of a run.

    Attributes:
        reason: Why, for people.
        closing: No new run will come: all that are left have been given out, and may come back
            only when they are paused or tried again.
        actions: See `Start`.
    """

    reason: str
    actions: tuple[Action, ...] = ()
    closing: bool = False


class Done(msgspec.Struct, frozen=True, tag_field="answer", tag="done"):
    """Nothing any more, unless `Engine.limit`, `Engine.enqueue` or a retry opens it again.

    No run is waiting, running or paused any more.

    Attributes:
        reason: Why, for people.
        actions: See `Start`; `StopAll` among them when the time is up.
    """

    reason: str
    actions: tuple[Action, ...] = ()


Answer = Start | Resume | Wait | Done


# What is said to an engine, as data: the event log.


class Asked(msgspec.Struct, frozen=True, tag_field="event", tag="ask"):
    """`Engine.ask` was called."""

    time: float


class Told(msgspec.Struct, frozen=True, tag_field="event", tag="tell"):
    """`Engine.tell` was called."""

    run: str
    result: dict[str, Any]
    time: float
    checkpoint: str | None = None


class Ended(msgspec.Struct, frozen=True, tag_field="event", tag="end"):
    """`Engine.end` was called."""

    run: str
    state: EndState
    time: float
    message: str = ""
    retry: bool = False


class Enqueued(msgspec.Struct, frozen=True, tag_field="event", tag="enqueue"):
    """`Engine.enqueue` was called."""

    config: dict[str, Any]
    time: float


class Limited(msgspec.Struct, frozen=True, tag_field="event", tag="limit"):
    """`Engine.limit` was called."""

    run_cap: int | None
    time: float


class Adopted(msgspec.Struct, frozen=True, tag_field="event", tag="adopted"):
    """`Engine.adopt` was called."""

    run: str
    config: dict[str, Any]
    state: EndState
    result: dict[str, Any]
    time: float


Event = Asked | Told | Ended | Enqueued | Limited | Adopted


class Engine(abc.ABC):
    """Proposes configurations and judges runs. The module docstring is the contract.

    Args:
        experiment: What is searched, by whom, and all limits.
        sweep_id: Its runs' ids derive from it (see `run_id`).
        seed: Decides everything random that the experiment's own seed leaves open; the driver
            keeps it with the sweep.

    Raises:
        UnsupportedError: This engine cannot do what the experiment says.
        MissingExtraError: A library is not installed.
    """

    experiment: Experiment

    needs_checkpoints: str = ""
    """Why programs must be able to save and load checkpoints, for people; empty when they need
    not."""

    @abc.abstractmethod
    def ask(self, *, time: float) -> Answer:
        """Somebody is free.

        Args:
            time: Seconds since the epoch; never before that of an earlier call.
        """

    @abc.abstractmethod
    def tell(
        self,
        run_id: str,
        result: Mapping[str, Any],
        *,
        time: float,
        checkpoint: str | None = None,
    ) -> tuple[Action, ...]:
        """A run has reported.

        The engine adds what Tune adds where the program does not say it: ``training_iteration``
        (reports so far, counted on from the checkpoint that the run started from),
        ``time_total_s`` and ``time_this_iter_s`` (by the times of the calls, pauses left out).

        Args:
            run_id: A run that `ask` gave out, and that is not over. An unknown run, or one that is
                over or paused, is ignored: its report was late. One that waits to be tried again is
                noted and not judged.
            result: Metrics, nested or with "/" in their names. An empty one says a checkpoint
                alone, and is no report: what a program saves when it is paused.
            time: See `ask`.
            checkpoint: Id of a checkpoint that the program saved with this report, or since the
                last one; None for none.

        Returns:
            What is to be done; empty for "go on".
        """

    @abc.abstractmethod
    def end(
        self,
        run_id: str,
        state: EndState,
        *,
        time: float,
        message: str = "",
        retry: bool = False,
    ) -> tuple[Action, ...]:
        """A run is over. One that is over already, or unknown, is ignored.

        Args:
            run_id: Its id; it may be running, paused or waiting.
            state: "finished" for a program that came to its end; "killed" when a person ended it:
                its last result counts when there is one; "failed" and "crashed" are failures.
            time: See `ask`.
            message: Why, for people.
            retry: It will be tried again: a later `ask` answers `Resume` for it, with its last
                checkpoint. Also for a run that is over as failed, crashed or killed, when a person
                wants it once more.

        Returns:
            What is to be done with others.
        """

    @abc.abstractmethod
    def enqueue(self, config: Mapping[str, Any], *, time: float) -> str:
        """A configuration that a person wants; one of the next `ask` starts it.

        It counts for the run cap. Searchers that can learn from points that are not theirs do.

        Returns:
            The id of its run.

        Raises:
            InputError: It does not fit the space; naming the parameter.
        """

    @abc.abstractmethod
    def adopt(
        self,
        run_id: str,
        config: Mapping[str, Any],
        state: EndState,
        result: Mapping[str, Any],
        *,
        time: float,
    ) -> str:
        """A run that nobody was asked for, and that is over: what was done before the sweep.

        It counts for the run cap. Searchers that can learn from points that are not theirs do, as
        with `enqueue`; a finite space is not searched there again. Schedulers are not told. The
        same run again changes nothing, unless it had failed and has not since.

        Args:
            run_id: Its id, none that `ask` gives.
            config: Its parameters; names that the space does not have are left out.
            state: How it ended; one that failed or crashed teaches nothing.
            result: Its last values, the metric among them; empty when it had none.
            time: See `ask`.

        Returns:
            Why the searcher was not told, for people; empty when it was.
        """

    @abc.abstractmethod
    def limit(self, run_cap: int | None, *, time: float) -> tuple[Action, ...]:
        """Changes the number of runs of the sweep in all; None for the experiment's own end.

        Runs that were given out, and enqueued ones, are kept.

        Returns:
            What is to be done with others.
        """

    @abc.abstractmethod
    def checkpoints(self) -> set[str]:
        """Ids of all checkpoints that a `Resume` may still name.

        Whatever is not among them now, will never be asked for: whoever keeps checkpoints may
        delete it. It may hold more than that.
        """

    @abc.abstractmethod
    def snapshot(self) -> bytes:
        """Everything, for our own local file."""

    def handle(self, event: Event) -> Answer | tuple[Action, ...]:
        """Makes the call that `event` describes, and returns what it answers."""
        match event:
            case Asked():
                return self.ask(time=event.time)
            case Told():
                return self.tell(
                    event.run, event.result, time=event.time, checkpoint=event.checkpoint
                )
            case Ended():
                return self.end(
                    event.run,
                    event.state,
                    time=event.time,
                    message=event.message,
                    retry=event.retry,
                )
            case Enqueued():
                self.enqueue(event.config, time=event.time)
            case Limited():
                return self.limit(event.run_cap, time=event.time)
            case Adopted():
                self.adopt(event.run, event.config, event.state, event.result, time=event.time)
        return ()


def run_id(sweep_id: str, number: int) -> str:
    """The id of the run that an engine makes as its `number`-th: eight letters and digits as W&B's.

    Derived, not drawn, so that an engine that is rebuilt gives the same ids.
    """
    digest = hashlib.sha256(f"{sweep_id}/{number}".encode()).digest()
    value = int.from_bytes(digest[:8], "big")
    pairs = []
    for _ in range(4):
        value, rest = divmod(value, len(_PAIRS))
        pairs.append(_PAIRS[rest])
    return "".join(pairs)


def replay(engine: Engine, events: list[Event]) -> None:
    """Brings a fresh engine (or one from a snapshot) to where the log ends."""
    for event in events:
        engine.handle(event)
