"""The two parts of an engine: who proposes, and who judges.

`tune_bridge.engines.engine.HostedEngine` puts any proposer and any judge together and does what
they have in common: ids, limits, stop criteria, bookkeeping of results and times, enqueued points,
retries, isolation of random states, snapshots. So W&B's bayes can be stopped by Tune's ASHA, and
HyperOpt by W&B's hyperband.

Parts are called one at a time and are pickled (cloudpickle) with the engine, so that they hold no
open file, lock or thread. A part that is `foreign` is made and called inside of the engine's own
random state (`random`, ``numpy.random`` and torch's may be used freely), and what it prints goes to
the log; one that is not must leave all of these alone.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from tune_bridge.engines.base import Action, Checkpoint

__all__ = ["EXHAUSTED", "LATER", "Judge", "Proposal", "Proposer", "Refused", "StopRule"]


class Refused(msgspec.Struct, frozen=True):
    """Why there is no configuration.

    Attributes:
        reason: For people.
        final: Asking again can never help.
    """

    reason: str
    final: bool = False


LATER = Refused("the searcher waits for results")
"""Nothing before a run has ended."""

EXHAUSTED = Refused("the searcher has nothing more to propose", final=True)
"""Nothing, ever."""


class Proposal(msgspec.Struct, frozen=True):
    """A configuration.

    Attributes:
        config: Parameters and constants, plain and nested as the space is.
        info: To keep with the run.
    """

    config: dict[str, Any]
    info: dict[str, Any] = {}


class Proposer(abc.ABC):
    """Proposes configurations.

    Results are flat ("a/b"), complete (``training_iteration``, ``time_total_s``, ``trial_id``,
    ``config``, ...) and hold plain numbers; NaN stands for what was reported as NaN.

    Attributes:
        total: The number of configurations that there are in all, as far as the space and
            ``num_samples`` say; None for no end. The engine keeps to it; a proposer need not, and
            is asked beyond it when a person raises the limit.
        foreign: Code of libraries runs inside: see the module.
        patient: Runs come from outside (`Engine.enqueue`), so that having nothing to propose while
            nothing runs is no end of the sweep.
    """

    total: int | None = None
    foreign: bool = True
    patient: bool = False

    @abc.abstractmethod
    def propose(self, run: str) -> Proposal | Refused:
        """A configuration for a run, or `LATER`, `EXHAUSTED`, or a `Refused` that says more.

        A run that got a `Refused` may be asked for again. `LATER` while no run is live ends the
        sweep: nothing could change it.
        """

    def typed(self, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Somebody else's configuration as it is to run; None for one that has to fit the space."""
        return None

    def enqueued(  # noqa: B027 - most proposers need not know
        self, run: str, config: Mapping[str, Any]
    ) -> None:
        """Somebody else's configuration (see `Engine.enqueue`) is to run; `learn` may follow."""

    def progress(  # noqa: B027 - a proposer that does not learn needs none
        self, run: str, result: Mapping[str, Any]
    ) -> None:
        """A run has reported (and goes on)."""

    def close(  # noqa: B027 - a proposer that does not learn needs none
        self, run: str, result: Mapping[str, Any] | None, *, failed: bool
    ) -> None:
        """A run is over; called once for each run that was proposed.

        Also for one of somebody else's that was over without a value when it came
        (`tune_bridge.engines.base.Engine.adopt`).

        Args:
            run: Its id.
            result: Its last result that names the metric (its last one when there is no objective,
                or when none does); None when it never reported.
            failed: It failed, or its last value of the metric is missing or NaN.
        """

    def learn(  # noqa: B027 - a proposer that does not learn needs none
        self, run: str, config: Mapping[str, Any], result: Mapping[str, Any]
    ) -> None:
        """The result of a run that somebody else proposed (enqueued); ignored by default."""

    @property
    def live(self) -> Any:
        """The searcher of Ray Tune inside, or None."""
        return None


class Judge(abc.ABC):
    """Stops, pauses and copies runs. It sees each run from `add` to `remove` or its end.

    The engine keeps configs and checkpoints: an `Exploit` says the new ones, and the run is paused
    then. A run that the judge itself stops is over for it at once: neither `finish` nor `remove`
    follows. Actions on runs that are over already are dropped.

    Attributes:
        foreign: See `Proposer`.
        needs_checkpoints: See `tune_bridge.engines.base.Engine`.
        ahead: How many runs are to be proposed (`add`) and not started (`start`) yet before
            `choose` is asked: 0 for "propose when somebody is free". Tune keeps one for searchers
            and up to 200 for random search; populations need all of their members.
    """

    needs_checkpoints: str = ""
    ahead: int = 0
    foreign: bool = True

    @abc.abstractmethod
    def add(self, run: str, config: dict[str, Any]) -> None:
        """A run has been proposed or enqueued, or is tried again after its end; it waits.

        A judge may change `config` in place (a population draws what it mutates and the space does
        not name); the run starts with what it holds afterwards.
        """

    @abc.abstractmethod
    def choose(self) -> str | None:
        """Which waiting or paused run takes a free place; None for none of them.

        When it says None, the engine starts a waiting run if there is one, in the order of `add`
        (as Tune does), or a new one.
        """

    def start(self, run: str) -> None:  # noqa: B027 - most judges need not know
        """A waiting or paused run takes a place."""

    def saved(  # noqa: B027 - most judges need not know
        self, run: str, checkpoint: Checkpoint
    ) -> None:
        """A checkpoint came alone, without a report: that of a run that is being paused."""

    def pending(self) -> tuple[Action, ...]:
        """Actions that arose in `add`, `choose` or `start`; each is told once."""
        return ()

    def checkpoints(self) -> set[str]:
        """Ids of all checkpoints that an `Exploit` may still name; see `Engine.checkpoints`."""
        return set()

    @abc.abstractmethod
    def judge(
        self, run: str, result: dict[str, Any], checkpoint: Checkpoint | None
    ) -> tuple[Action, ...]:
        """A running run has reported. `result` may be added to: the proposer sees it afterwards.

        The metric or another value may be missing or NaN: a judge that cannot use it goes on.

        Args:
            run: Its id.
            result: Flat and complete (see `Proposer`).
            checkpoint: The run's latest checkpoint, new or not; None when it never saved one.
        """

    @abc.abstractmethod
    def finish(self, run: str, result: Mapping[str, Any] | None) -> tuple[Action, ...]:
        """A running run ended well, with its last result: by itself or by a stop criterion."""

    @abc.abstractmethod
    def fail(self, run: str, *, retry: bool) -> tuple[Action, ...]:
        """A running run failed, or any run with `retry`: it waits for a place again then."""

    @abc.abstractmethod
    def remove(self, run: str) -> tuple[Action, ...]:
        """A waiting or paused run is taken out by a person or a limit."""


class StopRule(Protocol):
    """Ends runs, or all of them, by what is no scheduler: Tune's ``Stopper``.

    Made by ``tune_bridge.engines.tune.stoppers.stop_rule(experiment)``, pickled with the engine.
    Time comes from the calls: a rule has no clock.
    """

    def stop(self, run: str, result: Mapping[str, Any], time: float) -> str:
        """Why the run ends with this result, for people; empty when it goes on.

        Asked once for each report, before the judge, which gets `Judge.finish` then.
        """

    def stop_all(self, time: float) -> str:
        """Why everything ends now, for people; empty when it goes on. Asked once in each call."""
