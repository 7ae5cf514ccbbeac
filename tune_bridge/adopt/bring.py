"""Writes an adopted experiment into a backend, so that doing it again adds what is new.

Everything has an id that derives from the source. A run that is over there is written with an event
for the sweep's controller in one transaction; so a run that is over here has been told, and is not
looked at again. Rows go in batches: memory does not grow with their number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tune_bridge.adopt.model import Found, FoundRun, Wishes
from tune_bridge.adopt.scalars import is_number
from tune_bridge.backends import codec
from tune_bridge.backends.base import (
    ENDED_RUN,
    Backend,
    LogEvents,
    LogRows,
    Operation,
    PatchRun,
    PatchSweep,
    PutRun,
    PutSweep,
    Row,
    Run,
    Sweep,
)
from tune_bridge.backends.scores import score_of
from tune_bridge.controller.sweep import META
from tune_bridge.engines.base import run_id as derived_id
from tune_bridge.engines.configs import fit, trimmed
from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.experiment import RANDOM, Algorithm, Experiment
from tune_bridge.notes import Notes
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.trial import run_id
from tune_bridge.wire import Settings

__all__ = ["ADOPTED", "Brought", "Step", "bring", "config_of", "is_there", "sweep_id_of"]

ADOPTED = "adopted"
"""The key of a sweep's meta with where it came from; the name of the event of each of its runs."""

_BATCH = 2000  # rows of one transaction, and
_MOST = 200  # runs of one
_PAGE = 1000
_DEAF = {
    "ZOOptSearch": "it has no way to take a result that it did not ask for",
    "BasicVariantGenerator": "it draws at random, and learns from nothing",
}
"""Searchers that cannot learn from what was there before, and why."""


class Step(msgspec.Struct, frozen=True):
    """How far it is: runs that were looked at, all runs, rows that were added so far."""

    done: int
    total: int
    rows: int


class Brought(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of an experiment.

    Attributes:
        sweep: The sweep's id.
        name: Its name.
        project: Its project.
        kind: What the source is.
        source: Where it is.
        metric: Name and goal of the metric, or None.
        searcher: Who goes on.
        states: Runs of the source by state.
        runs: How many there are.
        added: Of these, the ones that were not there.
        rows: Rows that were added.
        teaching: Runs that the searcher learns from when the sweep goes on.
        running: Runs that are not over; adopt again when they are.
        waiting: Trials that had not begun, and are no runs.
        config: The sweep config.
        notes: What is not known, and what was guessed.
        dry: Nothing was written.
    """

    sweep: str
    name: str
    project: str
    kind: str
    source: str
    metric: dict[str, str] | None
    searcher: str
    states: dict[str, int]
    runs: int
    added: int
    rows: int
    teaching: int
    running: int
    waiting: int
    config: dict[str, Any]
    notes: list[dict[str, object]]
    dry: bool = False


def sweep_id_of(found: Found) -> str:
    """The id of an experiment's sweep: that of its source, or one that derives from it."""
    return found.id or derived_id(f"adopt/{found.identity}", 0)


def config_of(found: Found, wishes: Wishes) -> SweepConfig:
    """The sweep config of an experiment.

    Raises:
        InputError: The searcher that is wished for is none.
    """
    experiment = Experiment(
        space=found.space,
        program=wishes.program,
        objective=found.objectives[0] if found.objectives else None,
        num_samples=None,
        name=wishes.name or found.name,
        project=wishes.project or found.project,
    )
    kind = wishes.searcher or found.searcher
    if wishes.searcher is None:
        if not found.objectives or not (experiment.searched or experiment.conditional):
            kind = "random"
        elif kind == "bayes" and experiment.is_nested:
            kind = "HyperOptSearch"
    searcher = RANDOM if kind == "random" else Algorithm(_known(kind))
    if searcher != RANDOM and experiment.objective is None:
        raise InputError(f"{kind} needs a metric", path="metric", hint="say it by --metric")
    if len(found.objectives) > 1:
        others = ", ".join(objective.name for objective in found.objectives[1:])
        found.notes.approximated(
            "metric",
            f"{found.objectives[0].name} alone is searched for",
            f"a sweep has one metric; {others} are kept as results",
        )
    if searcher.kind in _DEAF and found.objectives:
        found.notes.lost(
            "method", f"{kind} does not learn from the adopted runs", _DEAF[searcher.kind]
        )
    if experiment.conditional:
        found.notes.approximated(
            "parameters",
            "conditions are nested parameters",
            "what depends on a value is in a mapping with it: {kernel: {kernel: rbf, gamma: 1}}",
        )
    return SweepConfig.from_experiment(msgspec.structs.replace(experiment, searcher=searcher))


def _word(searcher: Algorithm) -> str:
    """What `Wishes.searcher` says for a searcher."""
    return "random" if searcher == RANDOM else searcher.kind


def _known(kind: str) -> str:
    from tune_bridge.engines.tune.searchers import SEARCHERS

    if kind != "bayes" and kind not in SEARCHERS:
        raise InputError(
            "no such searcher",
            path="searcher",
            found=repr(kind),
            expected="random, bayes or one of " + ", ".join(sorted(SEARCHERS)),
        )
    return kind


def bring(
    found: Found,
    backend: Backend | None,
    wishes: Wishes,
    tell: Callable[[Step], None] | None = None,
) -> Brought:
    """Makes an experiment a sweep of a backend, or adds to that what is new.

    Args:
        found: The experiment.
        backend: Where to; None only says what would be done.
        wishes: What its user says about it.
        tell: Called after each transaction.

    Raises:
        InputError: A sweep or run with one of its ids is there, and came from elsewhere; or a file
            of the source is broken.
        BackendError: The backend is away, or another process steers the sweep; repeating goes on.
    """
    sweep_id = sweep_id_of(found)
    old = None if backend is None else _there(found, sweep_id, backend)
    if old is not None:
        wishes = _kept(old, wishes)
    config = config_of(found, wishes)
    project = wishes.project or found.project or "uncategorized"
    writer = _Writer(found, config, sweep_id, backend, tell, wishes.now)
    sweep = writer.begin(project, wishes, old)
    for run in found.runs:
        writer.take(run)
    writer.end(wishes)
    objective = found.objectives[0] if found.objectives else None
    states: dict[str, int] = {}
    for run in found.runs:
        states[run.state] = states.get(run.state, 0) + 1
    return Brought(
        sweep=sweep_id,
        name=sweep.name,
        project=sweep.project,
        kind=found.kind,
        source=found.where,
        metric=None if objective is None else {"name": objective.name, "goal": objective.goal},
        searcher=_word(config.experiment.searcher),
        states=states,
        runs=len(found.runs),
        added=writer.added,
        rows=writer.rows,
        teaching=writer.teaching,
        running=states.get("running", 0),
        waiting=found.waiting,
        config=dict(config),
        notes=[note.as_dict() for note in dict.fromkeys(found.notes)],
        dry=backend is None,
    )


def _there(found: Found, sweep_id: str, backend: Backend) -> Sweep | None:
    """The sweep of an experiment that was adopted before."""
    try:
        old = backend.sweep(sweep_id)
    except NotFoundError:
        return None
    origin = old.meta.get(ADOPTED)
    if not isinstance(origin, Mapping) or origin.get("identity") != found.identity:
        raise InputError(
            f"there is a sweep {sweep_id} already, and it came from elsewhere",
            found=str(old.meta.get("made_by") or "a sweep of agents"),
            hint="adopt into another backend, or delete that sweep",
        )
    return old


def is_there(found: Found, backend: Backend) -> bool:
    """Whether an experiment was adopted before.

    Raises:
        InputError: The sweep with its id came from elsewhere.
    """
    return _there(found, sweep_id_of(found), backend) is not None


def remembered(found: Found, backend: Backend, wishes: Wishes) -> Wishes:
    """The metric that was named when an experiment was adopted before, if none is named now.

    Raises:
        InputError: The sweep with its id came from elsewhere.
    """
    old = _there(found, sweep_id_of(found), backend)
    said = {} if old is None else old.meta[ADOPTED]
    if wishes.metric is not None or said.get("metric") is None:
        return wishes
    goal = wishes.goal or said.get("goal")
    return msgspec.structs.replace(wishes, metric=said["metric"], goal=goal)


def _kept(old: Sweep, wishes: Wishes) -> Wishes:
    """What nobody says now stays as it was said before."""
    before = SweepConfig(old.config).experiment
    kind = None if before.objective is None else _word(before.searcher)
    return msgspec.structs.replace(
        wishes,
        name=wishes.name or old.name,
        program=wishes.program or before.program,
        searcher=wishes.searcher or kind,
        project=old.project,
    )


class _Writer:
    """Writes one experiment.

    Args:
        found: It.
        config: Its sweep config.
        sweep_id: Its sweep.
        backend: Where to; None for nowhere.
        tell: Called after each transaction.
        now: Seconds since the epoch.

    Attributes:
        added: Runs that were not there.
        rows: Rows that were added.
        teaching: Runs with a value of the metric that fit the space.
    """

    def __init__(
        self,
        found: Found,
        config: SweepConfig,
        sweep_id: str,
        backend: Backend | None,
        tell: Callable[[Step], None] | None,
        now: float,
    ) -> None:
        self._now = now
        self.added = self.rows = self.teaching = 0
        self._found, self._config, self._id = found, config, sweep_id
        self._backend, self._tell = backend, tell
        self._space = config.experiment.space
        self._metrics = [objective.name for objective in found.objectives]
        self._there: dict[str, Run] = {}
        self._count, self._begun = 0, False
        self._operations: list[Operation] = []
        self._events: list[dict[str, Any]] = []
        self._waits = self._done = 0
        self._misfits: list[str] = []
        self._valueless = 0

    def begin(self, project: str, wishes: Wishes, old: Sweep | None) -> Sweep:
        """Makes the sweep, or looks at what there is of it."""
        created = min(run.created_at for run in self._found.runs)
        name = wishes.name or self._found.name
        seed = int.from_bytes(hashlib.sha256(self._id.encode()).digest()[:4], "big")
        sweep = Sweep(
            id=self._id,
            project=project,
            name=name,
            config=dict(self._config),
            created_at=created,
            updated_at=created,
            message="runs are being adopted",
            meta={
                "made_by": "adopt",
                ADOPTED: self._about(wishes),
                META: {"seed": seed, "settings": msgspec.to_builtins(Settings())},
            },
        )
        if self._backend is None:
            return sweep
        if old is None:
            self._check_runs()
            self._backend.apply([PutSweep(sweep)])
            return sweep
        self._backend.steer(self._id)
        self._there = {run.id: run for run in self._backend.runs(self._id)}
        self._check_runs()
        self._read_log()
        self._keep_config(old, wishes)
        return msgspec.structs.replace(old, name=name)

    def _about(self, wishes: Wishes) -> dict[str, Any]:
        about = {"identity": self._found.identity, "from": self._found.where}
        said = {"metric": wishes.metric, "goal": wishes.goal}
        return about | {name: word for name, word in said.items() if word is not None}

    def _check_runs(self) -> None:
        """Runs with ids of their own may be in another sweep."""
        assert self._backend is not None
        for run in self._found.runs:
            if run.id is None or run.id in self._there:
                continue
            try:
                other = self._backend.run(run.id)
            except NotFoundError:
                continue
            raise InputError(
                f"run {run.id} is there already, in sweep {other.sweep_id}",
                hint="adopt into another backend, or delete that run",
            )

    def _read_log(self) -> None:
        assert self._backend is not None
        while page := self._backend.events(self._id, first=self._count, limit=_PAGE):
            self._count += len(page)
            self._begun = self._begun or any(event.get("event") != ADOPTED for event in page)

    def _keep_config(self, old: Sweep, wishes: Wishes) -> None:
        """What is known now replaces what was there, until somebody has used that."""
        assert self._backend is not None
        same = codec.dumps(old.config) == codec.dumps(dict(self._config))
        part = len(self._found.runs) < len(self._there)  # one run of a folder, say
        changes: dict[str, Any] = {} if old.name == wishes.name else {"name": wishes.name}
        if not same and (self._begun or part):
            self._config = SweepConfig(old.config)
            self._space = self._config.experiment.space
            why = "the sweep has gone on with it" if self._begun else "it knows more runs"
            self._found.notes.approximated("parameters", "the sweep's config stays as it was", why)
        elif not same:
            changes["config"] = dict(self._config)
            changes["meta"] = {ADOPTED: self._about(wishes)}
        if changes:
            self._backend.apply([PatchSweep(self._id, changes, self._now)])

    # Runs.

    def take(self, run: FoundRun) -> None:
        """Adds what is new of a run."""
        self._done += 1
        if self._backend is None:
            self._judge(run, _last(run, self._metrics, self._found.notes))
            return
        id_ = run.id or run_id(self._id, run.key)
        known = self._there.get(id_)
        if known is not None and _settled(known, run):
            self._judge(run, known.summary)
            return
        if known is None:
            self.added += 1
            self._operations.append(PutRun(_fresh(run, id_, self._id)))
        last: dict[str, Any] = {}
        first = 0 if known is None else known.last_step + 1
        batch: list[Row] = []
        for row in run.rows(self._found.notes):
            last |= row.values
            if row.step >= first:
                batch.append(row)
                if len(batch) >= _BATCH:
                    self._log(id_, batch)
                    self._flush()
                    batch = []
        self._log(id_, batch)
        result = self._judge(run, {**last, **run.summary})
        self._operations.append(_ending(run, id_))
        if run.state in ENDED_RUN:
            self._events.append(
                {
                    "event": ADOPTED,
                    "run": id_,
                    "config": codec.plain(run.config),
                    "state": run.state,
                    "result": codec.plain(result),
                    "time": run.ended_at or run.created_at,
                }
            )
        self._waits += 1
        if self._waits >= _MOST or sum(_size(o) for o in self._operations[-_MOST:]) >= _BATCH:
            self._flush()

    def _log(self, id_: str, batch: list[Row]) -> None:
        if batch:
            self.rows += len(batch)
            self._operations.append(LogRows(id_, batch))

    def _judge(self, run: FoundRun, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the searcher is told of a run; counts whether that teaches it anything."""
        if run.state not in ENDED_RUN:
            return {}
        # All numbers: somebody may say later which of them is the metric.
        result = {name: value for name, value in values.items() if is_number(value)}
        for name in self._metrics:
            value = score_of(values, name)
            if is_number(value):
                result[name] = value
            else:
                result.pop(name, None)
        if not self._metrics or self._metrics[0] not in result:
            self._valueless += 1
            return result
        if run.state in ("finished", "killed"):
            try:
                fit(self._space, trimmed(self._space, run.config))
                self.teaching += 1
            except InputError as error:
                self._misfits.append(f"{run.name}: {error}")
        return result

    def _flush(self) -> None:
        """Writes what waits, in one transaction."""
        assert self._backend is not None
        operations, events = self._operations, self._events
        self._operations, self._events, self._waits = [], [], 0
        if events:
            operations.append(LogEvents(self._id, self._count, events, self._now))
        if operations:
            self._backend.apply(operations)
        self._count += len(events)
        if self._tell is not None:
            self._tell(Step(self._done, len(self._found.runs), self.rows))

    def end(self, wishes: Wishes) -> None:
        """Writes the rest, and how the sweep stands."""
        notes, runs = self._found.notes, self._found.runs
        if self._misfits:
            notes.approximated(
                "parameters",
                f"{len(self._misfits)} runs teach the searcher nothing",
                f"they do not fit the space, the first one: {self._misfits[0]}",
            )
        if self._metrics and self._valueless:
            notes.approximated(
                "metric",
                f"{self._valueless} of {len(runs)} runs have no value of {self._metrics[0]}",
                "they teach the searcher nothing",
            )
        if self._backend is None:
            return
        self._flush()
        if self._begun:  # its state is the controller's now
            return
        running = any(run.state not in ENDED_RUN for run in runs)
        changes: dict[str, Any] = {"state": "running", "message": "some of its runs are not over"}
        if not running:
            ended = max(run.ended_at or run.created_at for run in runs)
            words = f"adopted from {self._found.where}; agents may go on with it"
            changes = {"state": "finished", "message": words, "ended_at": ended}
        self._backend.apply([PatchSweep(self._id, changes, self._now, reopen=True)])


def _settled(known: Run, run: FoundRun) -> bool:
    """Whether nothing of a run can be new: it was over, or an agent has it since."""
    if "attempt" in known.meta:
        return True
    return known.state in ENDED_RUN and (known.state == run.state or run.state not in ENDED_RUN)


def _fresh(run: FoundRun, id_: str, sweep_id: str) -> Run:
    return Run(
        id=id_,
        sweep_id=sweep_id,
        name=run.name,
        config=run.config,
        created_at=run.created_at,
        updated_at=run.created_at,
        meta={**run.meta, ADOPTED: True},
    )


def _ending(run: FoundRun, id_: str) -> PatchRun:
    changes: dict[str, Any] = {"state": run.state, "message": run.message, "config": run.config}
    if run.started_at is not None:
        changes["started_at"] = run.started_at
    if run.summary:
        changes["summary"] = run.summary
    if run.state in ENDED_RUN:
        changes["ended_at"] = run.ended_at or run.created_at
        changes["exit_code"], changes["stopped_early"] = run.exit_code, run.stopped_early
    when = run.ended_at or max(run.created_at, run.started_at or 0.0)
    return PatchRun(id_, changes, when, reopen=True)


def _size(operation: Operation) -> int:
    return len(operation.rows) if isinstance(operation, LogRows) else 0


def _last(run: FoundRun, metrics: list[str], notes: Notes) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for row in run.rows(notes):
        values |= {name: row.values[name] for name in metrics if name in row.values}
    return values | run.summary
