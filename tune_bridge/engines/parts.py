"""The two parts of an engine: who proposes, and who judges.

`tune_bridge.engines.engine.HostedEngine` puts any proposer and any judge together and does what
they have in common: ids, limits, stop criteria, bookkeeping of results and times, enqueued points,
retries, isolation of random states, snapshots. So W&B's bayes can be stopped by Tune's ASHA, and
HyperOpt by W&B's hyperband.

Parts are called one at a time, inside of the engine's own random state (`random` and
``numpy.random`` may be used freely), and are pickled (cloudpickle) with the engine, so that they
hold no open file, lock or thread.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import msgspec

from tune_bridge.engines.base import Action, Checkpoint

__all__ = ["EXHAUSTED", "LATER", "Judge", "Proposal", "Proposer", "Refused"]


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
            ``num_samples`` say; None for no end.
    """

    total: int | None = None

    @abc.abstractmethod
    def propose(self, run: str) -> Proposal | Refused:
        """A configuration for a run, or `LATER`, `EXHAUSTED`, or a `Refused` that says more."""

    def progress(  # noqa: B027 - a proposer that does not learn needs none
        self, run: str, result: Mapping[str, Any]
    ) -> None:
        """A run has reported (and goes on)."""

    def close(  # noqa: B027 - a proposer that does not learn needs none
        self, run: str, result: Mapping[str, Any] | None, *, failed: bool
    ) -> None:
        """A run is over; called once for each run that was proposed.

        Args:
            run: Its id.
            result: Its last result; None when it never reported.
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

    Attributes:
        needs_checkpoints: See `tune_bridge.engines.base.Engine`.
        ahead: How many runs are to be proposed (`add`) and not started (`start`) yet before
            `choose` is asked: 0 for "propose when somebody is free". Tune keeps one for searchers
            and up to 200 for random search; populations need all of their members.
    """

    needs_checkpoints: str = ""
    ahead: int = 0

    @abc.abstractmethod
    def add(self, run: str, config: dict[str, Any]) -> None:
        """A run has been proposed; it waits for a place."""

    @abc.abstractmethod
    def choose(self) -> str | None:
        """Which waiting or paused run takes a free place; None for none of them.

        When it says None, the engine starts a waiting run if there is one, in the order of `add`
        (as Tune does), or a new one.
        """

    @abc.abstractmethod
    def start(self, run: str) -> tuple[dict[str, Any], Checkpoint | None]:
        """The run takes a place.

        Returns:
            Its config (changed after an exploit) and where it starts from.
        """

    @abc.abstractmethod
    def judge(
        self, run: str, result: dict[str, Any], checkpoint: Checkpoint | None
    ) -> tuple[Action, ...]:
        """A run has reported. `result` may be added to: the proposer sees it afterwards.

        Args:
            run: Its id.
            result: Flat and complete (see `Proposer`).
            checkpoint: The run's latest checkpoint, new or not; None when it never saved one.
        """

    @abc.abstractmethod
    def finish(self, run: str, result: Mapping[str, Any] | None) -> tuple[Action, ...]:
        """A run ended well, with its last result."""

    @abc.abstractmethod
    def fail(self, run: str, *, retry: bool) -> tuple[Action, ...]:
        """A run failed. With `retry` it waits for a place again, with its last checkpoint."""

    @abc.abstractmethod
    def remove(self, run: str) -> tuple[Action, ...]:
        """A waiting or paused run is taken out by a person or a limit."""
