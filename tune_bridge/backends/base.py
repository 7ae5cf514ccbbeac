"""The contract of a backend: the place where sweeps, runs and their histories live.

There is one way to change anything: `Backend.apply`, a list of operations. That makes atomicity,
durability and replay one promise each, stated here and tested by `tune_bridge.testing.backends`:

* **Atomic.** All operations of one `apply` happen, in order, or none does.
* **Durable.** When `apply` returns, the operations survive the end of this process.
* **Idempotent.** Applying the same operations again (a replayed spool, a retried request) changes
  nothing: what exists is not created twice, a row of the same run and step is replaced by itself,
  and a run or sweep that has ended does not come back to life through an old state.
  Every change carries a time: one that is older than what is there (attribute by attribute, row by
  row) loses, whenever it arrives.
* **Isolated.** What is returned is a copy; changing it changes nothing in the backend.
* **Concurrent.** Several threads may use one backend object, and several processes one place.
  A reader sees the operations of an `apply` together or not at all.
* **Ordered.** Rows of a run come back by step, runs of a sweep by creation, events by number.
* **One author of events.** The events of a sweep are numbered from 0 without a gap. Two controllers
  cannot both write number n: the second one gets a `ConflictError`, and nothing of its `apply`
  happens.

States are W&B's: a sweep is pending, running, paused, finished, canceled, failed or crashed; a run
is pending, running, finished, failed (its program did), killed (somebody stopped it) or crashed (it
vanished). A run that the scheduler ended is finished, with `Run.stopped_early` set and the reason
in `Run.message`. Times are seconds since the epoch, UTC.
"""

from __future__ import annotations

import abc
import contextlib
import math
import operator
import secrets
import string
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from tune_bridge.backends.key import Key
from tune_bridge.backends.query import RunQuery, chosen
from tune_bridge.backends.scores import metric_of, range_of, scored
from tune_bridge.errors import InputError, NotFoundError

__all__ = [
    "BEHIND",
    "ENDED_RUN",
    "ENDED_SWEEP",
    "Backend",
    "Changes",
    "Key",
    "LogEvents",
    "LogRows",
    "Operation",
    "PatchRun",
    "PatchSweep",
    "PutRun",
    "PutSweep",
    "Row",
    "Run",
    "RunQuery",
    "RunState",
    "Sweep",
    "SweepState",
    "fresh_sweep",
    "new_id",
]

SweepState = Literal["pending", "running", "paused", "finished", "canceled", "failed", "crashed"]
RunState = Literal["pending", "running", "finished", "failed", "killed", "crashed"]
ENDED_SWEEP: frozenset[str] = frozenset({"finished", "canceled", "failed", "crashed"})
ENDED_RUN: frozenset[str] = frozenset({"finished", "failed", "killed", "crashed"})

_ALPHABET = string.ascii_lowercase + string.digits


def new_id() -> str:
    """A fresh id as W&B makes them: eight lower-case letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))


class Sweep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sweep.

    Attributes:
        id: Eight lower-case letters and digits.
        project: W&B's project.
        entity: W&B's entity; "local" for the embedded backend.
        name: Display name; the id when none was given.
        state: See the module.
        config: The sweep config, as `SweepConfig` would hold it.
        created_at: When it was created.
        updated_at: When it or one of its runs last changed.
        ended_at: When it ended, or None.
        message: Why it is in this state, for people.
        meta: Free data of whoever made it (host, versions, ...).
    """

    id: str
    project: str = "uncategorized"
    entity: str = "local"
    name: str = ""
    state: SweepState = "running"
    config: dict[str, Any] = {}
    created_at: float = 0.0
    updated_at: float = 0.0
    ended_at: float | None = None
    message: str = ""
    meta: dict[str, Any] = {}


def fresh_sweep(
    sweep_id: str,
    config: Mapping[str, Any],
    *,
    project: str | None = None,
    entity: str | None = None,
    name: str | None = None,
    state: SweepState = "running",
    meta: Mapping[str, Any] | None = None,
) -> Sweep:
    """A sweep of now, nowhere yet; what is not said is as in `Backend.create_sweep`."""
    now = time.time()
    return Sweep(
        id=sweep_id,
        project=project or config.get("project") or "uncategorized",
        entity=entity or config.get("entity") or "local",
        name=name or config.get("name") or sweep_id,
        state=state,
        config=dict(config),
        created_at=now,
        updated_at=now,
        meta=dict(meta or {}),
    )


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run of a sweep.

    Attributes:
        id: Unique in the backend.
        sweep_id: Its sweep.
        name: Display name.
        state: See the module.
        config: Parameters, possibly nested.
        summary: Last value of every logged key.
        rows: Number of history rows.
        last_step: Step of the last one, -1 without any.
        created_at: When it was created.
        started_at: When it first ran, or None.
        ended_at: When it ended, or None.
        updated_at: When it last changed or logged.
        stopped_early: The scheduler ended it.
        message: Why it is in this state, for people: exit code, traceback, rung.
        exit_code: Of its program, or None.
        meta: Free data of whoever made it (trial id, host, ...).
    """

    id: str
    sweep_id: str
    name: str = ""
    state: RunState = "pending"
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    rows: int = 0
    last_step: int = -1
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    updated_at: float = 0.0
    stopped_early: bool = False
    message: str = ""
    exit_code: int | None = None
    meta: dict[str, Any] = {}


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One history row.

    Attributes:
        step: Counts from 0 within a run and never goes back.
        time: When it was logged.
        values: What was logged. NaN and infinities are kept as floats.
    """

    step: int
    time: float
    values: dict[str, Any]


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of a sweep.

    Attributes:
        version: The version that this leads to.
        sweep: The sweep as it is then.
        runs: The runs that are new or have changed, in order of creation. Of those made at the
            same time, a new one comes after all that were there.
    """

    version: str
    sweep: Sweep
    runs: list[Run]


class PutSweep(msgspec.Struct, frozen=True, tag_field="op", tag="put_sweep"):
    """Creates the sweep; nothing happens when one with its id exists."""

    sweep: Sweep


class PatchSweep(msgspec.Struct, frozen=True, tag_field="op", tag="patch_sweep"):
    """Changes attributes of a sweep: name, state, config, ended_at, message, meta (merged).

    A state change into an ended state sets ``ended_at`` to `time`. An ended sweep changes its state
    only with ``reopen`` set.
    """

    id: str
    changes: dict[str, Any]
    time: float
    reopen: bool = False


class PutRun(msgspec.Struct, frozen=True, tag_field="op", tag="put_run"):
    """Creates the run; nothing happens when one with its id exists."""

    run: Run


class PatchRun(msgspec.Struct, frozen=True, tag_field="op", tag="patch_run"):
    """Changes attributes of a run; summary and meta are merged into what is there.

    A state change to running sets ``started_at`` once, one into an ended state sets ``ended_at``,
    both to `time`. An ended run changes its state only with ``reopen`` set (a restored trial);
    that takes ``ended_at`` back. A refused state takes along what explains it: ``message``,
    ``stopped_early`` and ``ended_at``. ``config`` is replaced as a whole.
    """

    id: str
    changes: dict[str, Any]
    time: float
    reopen: bool = False


class LogRows(msgspec.Struct, frozen=True, tag_field="op", tag="log_rows"):
    """Adds history rows to a run and updates its summary; a known step is replaced."""

    run_id: str
    rows: Sequence[Row]


BEHIND = -1


class LogEvents(msgspec.Struct, frozen=True, tag_field="op", tag="log_events"):
    """Adds events to a sweep: everything that its controller was told and has decided.

    Attributes:
        sweep_id: The sweep.
        first: Number of the first event; the number of events that the sweep has, for new ones;
            `BEHIND` for whoever cannot know it, because the place is away: they come after all.
            Events that are there already, and are the same, are not added again.
        events: Plain data each.
        time: When.
    """

    sweep_id: str
    first: int
    events: Sequence[dict[str, Any]]
    time: float


Operation = PutSweep | PatchSweep | PutRun | PatchRun | LogRows | LogEvents


class Backend(abc.ABC):
    """Where sweeps live. The module docstring is the contract.

    Use as a context manager, or call `close`.

    Attributes:
        names_sweeps: It gives sweeps their ids itself: `create_sweep` tells the id.
        keeps_events: It has a place for the events of a controller, and for commands to it.
    """

    names_sweeps: ClassVar[bool] = False
    keeps_events: ClassVar[bool] = True

    @abc.abstractmethod
    def apply(self, operations: Iterable[Operation]) -> None:
        """Applies operations in order, all or none; they are durable on return.

        Raises:
            NotFoundError: An operation names a sweep or run that does not exist.
            InputError: An operation holds a value or an attribute that cannot be stored.
            ConflictError: Events with these numbers are there, and are others, or some before
                them are missing.
            BackendError: The place cannot be reached or written; nothing was applied.
        """

    @abc.abstractmethod
    def sweep(self, sweep_id: str) -> Sweep:
        """One sweep.

        Raises:
            NotFoundError: There is none with this id.
        """

    @abc.abstractmethod
    def sweeps(
        self, *, project: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[Sweep]:
        """Sweeps, newest first, optionally of one project."""

    @abc.abstractmethod
    def run(self, run_id: str) -> Run:
        """One run.

        Raises:
            NotFoundError: There is none with this id.
        """

    @abc.abstractmethod
    def runs(
        self,
        sweep_id: str,
        *,
        states: Iterable[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Run]:
        """Runs of a sweep in order of creation.

        Raises:
            NotFoundError: There is no such sweep.
        """

    def find_runs(self, query: RunQuery) -> list[Run]:
        """The runs that a question asks for; sweeps that there are not have none."""
        return chosen(self._all_runs(query), query)

    def count_runs(self, query: RunQuery) -> int:
        """How many there are, whatever part of them is asked for."""
        return sum(query.holds(run) for run in self._all_runs(query))

    def summaries(self, query: RunQuery, key: str) -> list[tuple[str, Any]]:
        """Ids of those that `find_runs` gives, and one value of their summaries or None."""
        return [(run.id, run.summary.get(key)) for run in self.find_runs(query)]

    def _all_runs(self, query: RunQuery) -> Iterable[Run]:
        for sweep_id in query.sweeps:
            with contextlib.suppress(NotFoundError):
                yield from self.runs(sweep_id)

    def best_runs(
        self,
        sweep_id: str,
        *,
        descending: bool = False,
        states: Iterable[str] | None = None,
        limit: int = 1,
    ) -> list[tuple[Run, float]]:
        """The runs with the lowest values of the sweep's metric, and these.

        Runs without a number there are left out. Of equal ones the oldest comes first.

        Args:
            sweep_id: The sweep.
            descending: The highest values instead.
            states: Of the runs; None for all.
            limit: How many at most.

        Raises:
            NotFoundError: There is no such sweep.
        """
        metric = metric_of(self.sweep(sweep_id).config)
        found = scored(self.runs(sweep_id, states=states) if metric else (), metric)
        return sorted(found, key=lambda pair: -pair[1] if descending else pair[1])[:limit]

    def scores(self, sweep_id: str, *, leave_out: Iterable[str] = ()) -> list[float]:
        """The values of the sweep's metric, in the order in which the runs ended.

        Runs that have not ended come last, runs without a number are left out.

        Args:
            sweep_id: The sweep; one that there is not has none.
            leave_out: States of runs to leave out.
        """
        left_out = frozenset(leave_out)
        with contextlib.suppress(NotFoundError):
            metric = metric_of(self.sweep(sweep_id).config)
            found = [
                (run.ended_at if run.ended_at is not None else math.inf, value)
                for run, value in scored(self.runs(sweep_id) if metric else (), metric)
                if run.state not in left_out
            ]
            return [value for _, value in sorted(found, key=operator.itemgetter(0))]
        return []

    def score_ranges(
        self, sweep_ids: Iterable[str], *, leave_out: Iterable[str] = ()
    ) -> dict[str, tuple[float, float]]:
        """The lowest and the highest finite value of the metric, of each sweep that has one.

        Args:
            sweep_ids: The sweeps; those that there are not have none.
            leave_out: States of runs to leave out.
        """
        left_out = tuple(leave_out)
        found = {one: range_of(self.scores(one, leave_out=left_out)) for one in sweep_ids}
        return {one: ends for one, ends in found.items() if ends is not None}

    @abc.abstractmethod
    def counts(self, sweep_ids: Iterable[str]) -> dict[str, dict[str, int]]:
        """Number of runs by state, for each sweep that has runs."""

    @abc.abstractmethod
    def history(
        self, run_id: str, *, keys: Iterable[str] | None = None, min_step: int = 0
    ) -> list[Row]:
        """Rows of a run from `min_step` on, by step; with `keys`, cut to these.

        Rows that hold none of the keys are left out.

        Raises:
            NotFoundError: There is no such run.
        """

    def sample(
        self, run_id: str, key: str, *, also: Iterable[str] = (), max_rows: int = 3000
    ) -> list[Row]:
        """Rows of a run that hold a key, for drawing: thinned evenly, the last one is kept.

        Args:
            run_id: The run.
            key: What the rows hold.
            also: Other keys, of which the rows show what they hold.
            max_rows: How many at most; at least 1.

        Raises:
            NotFoundError: There is no such run.
        """
        rows = [row for row in self.history(run_id, keys=[key, *also]) if key in row.values]
        if len(rows) <= max_rows:
            return rows
        last = len(rows) - 1
        return [rows[last - place * last // max(1, max_rows - 1)] for place in range(max_rows)][
            ::-1
        ]

    @abc.abstractmethod
    def histories(
        self, sweep_id: str, key: str, *, max_points: int = 500
    ) -> dict[str, list[tuple[int, float]]]:
        """One metric of all runs of a sweep, for drawing.

        Args:
            sweep_id: The sweep.
            key: The metric; values that are not numbers are left out.
            max_points: Longer histories are thinned evenly; the last point is always kept.

        Returns:
            Run id -> (step, value) by step; runs without the metric are absent.
        """

    @abc.abstractmethod
    def events(
        self, sweep_id: str, *, first: int = 0, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Events of a sweep from number `first` on, in order.

        Raises:
            NotFoundError: There is no such sweep.
        """

    @abc.abstractmethod
    def version(self, sweep_id: str | None = None) -> str:
        """A text that changes when the sweep (or anything, for None) does; cheap."""

    def changes(self, sweep_id: str, since: str) -> Changes | None:
        """Those runs of a sweep that have changed since `version` said `since`, in order.

        Returns:
            None when that cannot be said: runs were deleted since, or this backend keeps no account
            of it. Who wants to know reads all runs then.

        Raises:
            NotFoundError: There is no such sweep.
        """
        self.sweep(sweep_id)
        return None

    @abc.abstractmethod
    def delete_sweep(self, sweep_id: str) -> None:
        """Removes a sweep with its runs and rows; nothing happens when there is none."""

    @abc.abstractmethod
    def delete_run(self, run_id: str) -> None:
        """Removes a run with its rows; nothing happens when there is none.

        Events of its sweep keep what they say of it.
        """

    def stop_requests(self) -> frozenset[str]:
        """Ids of runs that somebody wants stopped, at the place itself; known without asking it.

        Empty for a place at which nobody can want that.
        """
        return frozenset()

    def keys(self) -> list[Key]:
        """The keys to the servers of this place, by name; none for a place without servers."""
        return []

    def add_key(self, key: Key) -> None:
        """Keeps a key.

        Raises:
            InputError: There is one with its name, or this place can keep none.
        """
        raise InputError("this place keeps no keys", found=type(self).__name__)

    def revoke_key(self, name: str) -> None:
        """Forgets a key.

        Raises:
            NotFoundError: There is none with this name.
        """
        raise NotFoundError("no such key", found=repr(name))

    def mark_key(self, name: str, at: float) -> None:  # noqa: B027 - for places without keys
        """Notes that a key was used; an earlier time, or a key that is gone, changes nothing."""

    def steer(self, sweep_id: str) -> None:  # noqa: B027 - most have nothing to do
        """Makes this process the one that steers a sweep, until the backend is closed.

        To be called again before each thing that is done as such. A backend that one server has to
        itself by other means does nothing here.

        Raises:
            OccupiedError: Another process does, on whatever machine; naming it.
            BackendError: The place cannot be reached.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Releases connections. Idempotent."""

    def __enter__(self) -> Backend:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create_sweep(
        self,
        config: Mapping[str, Any],
        *,
        project: str | None = None,
        entity: str | None = None,
        name: str | None = None,
        state: SweepState = "running",
        meta: Mapping[str, Any] | None = None,
    ) -> Sweep:
        """Creates a sweep with a fresh id.

        Args:
            config: The sweep config; ``project``, ``entity`` and ``name`` are defaults from it.
            project: Overrides the config's; "uncategorized" without either, as W&B.
            entity: Overrides the config's; "local" without either.
            name: Overrides the config's; the id without either.
            state: Its first state.
            meta: Free data.
        """
        sweep = fresh_sweep(
            new_id(), config, project=project, entity=entity, name=name, state=state, meta=meta
        )
        self.apply([PutSweep(sweep)])
        return sweep

    def update_sweep(self, sweep_id: str, *, reopen: bool = False, **changes: Any) -> None:
        """Applies one `PatchSweep`, now."""
        self.apply([PatchSweep(sweep_id, changes, time.time(), reopen)])

    def update_run(self, run_id: str, *, reopen: bool = False, **changes: Any) -> None:
        """Applies one `PatchRun`, now."""
        self.apply([PatchRun(run_id, changes, time.time(), reopen)])
