"""W&B as a backend: sweeps and runs at W&B, written and read by W&B's own client.

W&B holds less than the contract of `tune_bridge.backends.base` asks for; what differs:

* **Ids of sweeps are W&B's.** A sweep that is put under another id is found again by it, since the
  id is kept in its config; `WandbBackend.create_sweep` gives a sweep with the id that it has there.
* **Rows cannot be replaced**, nor added before the last one: such rows are passed over.
* **Parameters and summary values cannot be taken away**, only set.
* **Durable** is what the client promises: it writes a file of its own and uploads in the
  background. What has not arrived when a run ends is named in `WandbBackend.left`.
* **Atomic** is the check: an `apply` that holds something that cannot be done does nothing. When
  W&B goes away halfway, a part is done; applying all again is safe.
* **Readers** see what has arrived; a run that this process writes is waited for.
* **Events** are not kept, sweeps are not deleted, and their meta is set once: these are refused.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from tune_bridge.backends import codec, merge
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
    SweepState,
    fresh_sweep,
)
from tune_bridge.backends.wandb import records
from tune_bridge.backends.wandb.changes import (
    WRITES,
    Change,
    Known,
    arrived,
    config_of,
    exit_code,
    floats,
    log,
    note_floats,
    patched,
    thinned,
)
from tune_bridge.backends.wandb.door import Door
from tune_bridge.backends.wandb.place import WandbPlace, parse_place
from tune_bridge.backends.wandb.sdk_runs import LONGEST_NOTES, Opener, OpenRun
from tune_bridge.backends.wandb.sweeps import Sweeps
from tune_bridge.errors import BackendError, NotFoundError, UnsupportedError

__all__ = ["WandbBackend"]

_SETTLE = 60.0
_PAGES = 200


class WandbBackend(Backend):
    """Sweeps at W&B. The module docstring says what it promises.

    Args:
        place: Where: see `tune_bridge.backends.wandb.place`.
        finish_timeout: Seconds that the end of a run may wait for its upload.
        transmit_interval: Seconds between uploads of rows; the client's own without.

    Raises:
        MissingExtraError: wandb is not installed.
    """

    names_sweeps: ClassVar[bool] = True
    keeps_events: ClassVar[bool] = False

    def __init__(
        self,
        place: WandbPlace | None = None,
        *,
        finish_timeout: float = 20.0,
        transmit_interval: float | None = None,
    ) -> None:
        self.place = place or WandbPlace()
        self.url = self.place.url
        self.door = Door(self.place)
        self._opener = Opener(self.door, finish_timeout, transmit_interval)
        self._sweeps = Sweeps(self.door, self.place)
        self._lock = threading.RLock()
        self._known: dict[str, Known] = {}
        self._homes: dict[str, str] = {}
        self._closed = False

    def __enter__(self) -> WandbBackend:  # noqa: PYI034 - Self needs Python 3.11
        return self

    @classmethod
    def open(cls, url: str = "wandb") -> WandbBackend:
        """The backend at a place that is named; W&B is not asked yet.

        Raises:
            InputError: It is no such place.
            MissingExtraError: wandb is not installed.
        """
        return cls(parse_place(url))

    # Changes.

    def apply(self, operations: Iterable[Operation]) -> None:
        """See `Backend.apply` and the module.

        Raises:
            UnsupportedError: W&B has no place for something.
        """
        with self._use():
            sweeps: dict[str, tuple[Sweep, Sweep | None]] = {}
            changes: dict[str, Change] = {}
            for operation in operations:
                match operation:
                    case PutSweep(sweep=sweep):
                        merge.checked_put(operation)
                        codec.plain([sweep.config, sweep.meta])
                        if sweep.id not in sweeps:
                            found = self._sweeps.find(sweep)
                            sweeps[sweep.id] = (found or sweep, found)
                    case PatchSweep():
                        now, before = self._of_sweep(operation.id, sweeps)
                        sweeps[operation.id] = (patched(now, operation), before)
                    case PutRun(run=run):
                        merge.checked_put(operation)
                        _, home = self._of_sweep(run.sweep_id, sweeps)
                        if run.id not in changes:
                            known = self._put(run, new=home is None)
                            changes[run.id] = Change(known)
                            if not known.writes and not known.said:
                                changes[run.id].summary.update(codec.plain(run.summary))
                    case PatchRun():
                        change = self._change(operation.id, changes)
                        merge.patch_run(change.record, operation)
                        change.summary.update(codec.plain(operation.changes.get("summary") or {}))
                    case LogRows():
                        log(self._change(operation.run_id, changes), operation.rows)
                    case LogEvents():
                        self._of_sweep(operation.sweep_id, sweeps)
                        raise UnsupportedError(
                            "W&B keeps no events of a controller",
                            path=operation.sweep_id,
                            hint="let an embedded sweep be driven, and bring it over with: "
                            "tune-bridge push",
                        )
            self._write(sweeps, changes)

    def _write(
        self, sweeps: Mapping[str, tuple[Sweep, Sweep | None]], changes: Mapping[str, Change]
    ) -> None:
        """Does what was checked: new sweeps, then runs, then what changes in sweeps."""
        for sweep_id, (_, before) in sweeps.items():
            if before is None:
                self._sweeps.create(sweeps[sweep_id][0])
        for change in changes.values():
            self._write_run(change)
        for sweep_id, (now, _) in sweeps.items():
            self._sweeps.update(sweep_id, now)

    def _write_run(self, change: Change) -> None:
        known, record = change.known, change.record
        self._known[known.run.id] = known
        ended = record.state in ENDED_RUN
        rows = [change.rows[step] for step in sorted(change.rows) if step > known.run.last_step]
        said = records.kept(record, known.run, floats(known, record))
        summary = {
            key: value
            for key, value in change.summary.items()
            if key not in known.summary or not records.same(known.summary[key], value)
        }
        if records.same(said, known.said) and not rows and not summary:
            return
        if known.open is None:
            known.open = self._begin(known, record)
        run = known.open
        run.log(rows)
        for row in rows:
            note_floats(known.floats, row.values)
        if not records.same(known.config, config_of(record)):
            run.configure(config_of(record))
        run.describe(record.name, record.message)
        said = records.kept(record, known.run, floats(known, record))
        known.writes += 1
        run.summarize({**summary, records.OURS: {**said, WRITES: known.writes}})
        for values in (*(row.values for row in rows), summary):
            known.summary.update(values)
        known.record, known.said = record, said
        known.config = copy.deepcopy(config_of(record))
        if ended:
            self.door.check()  # its end waits for W&B
            known.open = None
            run.finish(exit_code(record))

    def _begin(self, known: Known, record: merge.RunRecord) -> OpenRun:
        sweep = self._sweeps.get(known.run.sweep_id)
        config = config_of(record)
        opened = self._opener.open(
            known.run.id,
            entity=sweep.entity,
            project=sweep.project,
            sweep=self._sweeps.name_of(known.run.sweep_id),
            name=record.name,
            config=config,
            about={"notes": record.message[-LONGEST_NOTES:], **records.about(record.meta)},
        )
        known.config = copy.deepcopy(config)
        return opened

    def _put(self, run: Run, *, new: bool) -> Known:
        """A run that is there, or a new one: always when its sweep is new."""
        known = self._known.get(run.id)
        if known is None and not new:
            known = self._find(run.id, run.sweep_id)
        if known is None:
            codec.plain([run.config, run.summary, run.meta])
            known = Known(msgspec.structs.replace(run, rows=0, last_step=-1))
        return known

    def _change(self, run_id: str, changes: dict[str, Change]) -> Change:
        if run_id not in changes:
            known = self._known.get(run_id) or self._find(run_id)
            if known is None:
                raise NotFoundError("no such run at W&B", found=repr(run_id))
            changes[run_id] = Change(known)
        return changes[run_id]

    def _find(self, run_id: str, sweep_id: str | None = None) -> Known | None:
        """A run that others have made, or this package in another process."""
        found = self._fetch(run_id, sweep_id)
        if found is None:
            return None
        run, said = records.run_of(found, sweep_id or self._sweeps.id_of(found))
        known = Known(run)
        stamps = said.get("stamps")
        if isinstance(stamps, dict):
            known.record.stamps = msgspec.convert(stamps, merge.Stamps)
        known.floats = dict.fromkeys((said.get("floats") or {}).get("rows", ()), True)
        known.writes = said.pop(WRITES, 0)
        known.said, known.config, known.summary = said, run.config, run.summary
        self._known[run_id] = known
        return known

    def _fetch(self, run_id: str, sweep_id: str | None = None) -> Any:
        sweep_id = sweep_id or self._homes.get(run_id)
        sweep = self._sweeps.get(sweep_id) if sweep_id else None
        entity = sweep.entity if sweep else self.door.entity
        project = sweep.project if sweep else self._sweeps.project
        return self._sweeps.run(entity, project, run_id)

    def _of_sweep(
        self, sweep_id: str, sweeps: Mapping[str, tuple[Sweep, Sweep | None]]
    ) -> tuple[Sweep, Sweep | None]:
        if sweep_id in sweeps:
            return sweeps[sweep_id]
        found = self._sweeps.get(sweep_id)
        return found, found

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
        """Creates a sweep; its id is the one that W&B gives it.

        Raises:
            InputError: There is no key, or W&B refuses the key or the config.
            BackendError: W&B does not answer.
        """
        with self._use():
            made = fresh_sweep(  # W&B gives the id, and a name where there is none
                "", config, project=project, entity=entity, name=name, state=state, meta=meta
            )
            found = self._sweeps.get(self._sweeps.create(made, entity, project))
            self._sweeps.update(found.id, msgspec.structs.replace(found, state=state))
            return found

    # What is asked for.

    def sweep(self, sweep_id: str) -> Sweep:
        """See `Backend.sweep`."""
        with self._use():
            return copy.deepcopy(self._sweeps.get(sweep_id, fresh=True))

    def sweeps(
        self, *, project: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[Sweep]:
        """See `Backend.sweeps`; those of one project: that of the place when none is named."""
        with self._use():
            return self._sweeps.listed(project)[offset : offset + limit]

    def run(self, run_id: str) -> Run:
        """See `Backend.run`; a run that this backend has not seen is looked for in its project."""
        with self._use():
            return self._settled(run_id)[1]

    def _settled(self, run_id: str) -> tuple[Any, Run, dict[str, Any]]:
        """A run at W&B, when all that this process has written has arrived."""
        known = self._known.get(run_id)
        sweep_id = known.run.sweep_id if known else self._homes.get(run_id)
        until = time.monotonic() + _SETTLE
        while True:
            found = self._fetch(run_id, sweep_id)
            if found is None and known is None:
                raise NotFoundError("no such run at W&B", found=repr(run_id))
            if found is not None:
                run, said = records.run_of(found, sweep_id or self._sweeps.id_of(found))
                if known is None or time.monotonic() > until or arrived(known, run, said):
                    return found, run, said
            elif time.monotonic() > until:
                raise BackendError(f"{self.door.server}: run {run_id} has not arrived")
            time.sleep(0.1)

    def runs(
        self,
        sweep_id: str,
        *,
        states: Iterable[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Run]:
        """See `Backend.runs`."""
        with self._use():
            chosen = None if states is None else set(states)
            found = []
            for each in self._sweeps.runs(sweep_id):
                run, said = records.run_of(each, sweep_id)
                self._homes[run.id] = sweep_id
                known = self._known.get(run.id)
                if known is not None and not arrived(known, run, said):
                    run = self._settled(run.id)[1]
                if chosen is None or run.state in chosen:
                    found.append(run)
            found.sort(key=lambda run: run.created_at)
            return found[offset : None if limit is None else offset + limit]

    def counts(self, sweep_ids: Iterable[str]) -> dict[str, dict[str, int]]:
        """See `Backend.counts`."""
        counted: dict[str, dict[str, int]] = {}
        for sweep_id in sweep_ids:
            try:
                runs = self.runs(sweep_id)
            except NotFoundError:
                continue
            for run in runs:
                states = counted.setdefault(sweep_id, {})
                states[run.state] = states.get(run.state, 0) + 1
        return counted

    def history(
        self, run_id: str, *, keys: Iterable[str] | None = None, min_step: int = 0
    ) -> list[Row]:
        """See `Backend.history`."""
        with self._use():
            found, _, said = self._settled(run_id)
            chosen = None if keys is None else set(keys)
            rows = []
            for row in self._rows(found, said, min_step):
                values = row.values
                if chosen is not None:
                    values = {key: values[key] for key in values if key in chosen}
                    if not values:
                        continue
                rows.append(Row(row.step, row.time, values))
            return rows

    def _rows(self, found: Any, said: Mapping[str, Any], min_step: int) -> Iterator[Row]:
        whole = (said.get("floats") or {}).get("rows", ())
        with self.door.errors():
            if not found._attrs.get("historyLineCount"):
                return
            # A page is a range of steps, however few of them there are.
            size = max(1000, int(found.lastHistoryStep) // _PAGES + 1)
            scan = list(found.scan_history(page_size=size, min_step=min_step, use_cache=False))
        for row in sorted(scan, key=lambda row: row["_step"]):
            yield records.row_of(row, whole)

    def histories(
        self, sweep_id: str, key: str, *, max_points: int = 500
    ) -> dict[str, list[tuple[int, float]]]:
        """See `Backend.histories`."""
        found = {}
        for run in self.runs(sweep_id):
            points = [
                (row.step, float(value))
                for row in self.history(run.id, keys=[key])
                if isinstance(value := row.values[key], int | float) and not isinstance(value, bool)
            ]
            if points:
                found[run.id] = thinned(points, max_points)
        return found

    def events(
        self, sweep_id: str, *, first: int = 0, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """See `Backend.events`: there are none at W&B."""
        with self._use():
            self._sweeps.get(sweep_id)
            return []

    def version(self, sweep_id: str | None = None) -> str:
        """See `Backend.version`."""
        with self._use():
            return self._sweeps.version(sweep_id)

    def stop_requests(self) -> frozenset[str]:
        """See `Backend.stop_requests`."""
        return self._opener.stops

    def delete_sweep(self, sweep_id: str) -> None:
        """Refused: W&B's client deletes no sweeps.

        Raises:
            UnsupportedError: There is such a sweep.
        """
        with self._use():
            try:
                sweep = self._sweeps.get(sweep_id)
            except NotFoundError:
                return
            page = self.door.page_of(sweep.entity, sweep.project, self._sweeps.name_of(sweep_id))
            raise UnsupportedError(
                "W&B's client cannot delete a sweep", path=sweep_id, hint=f"do it at {page}"
            )

    def delete_run(self, run_id: str) -> None:
        """See `Backend.delete_run`."""
        with self._use():
            known = self._known.pop(run_id, None)
            if known is not None and known.open is not None:
                known.open.finish(exit_code(known.record))
            found = self._fetch(run_id, known.run.sweep_id if known else None)
            if found is not None:
                with self.door.errors():
                    found.delete()

    # Of W&B alone.

    @property
    def left(self) -> tuple[str, ...]:
        """Folders of runs that were not uploaded in time: ``wandb sync FOLDER`` brings them."""
        return tuple(self._opener.left)

    def page(self, sweep_id: str) -> str:
        """The address of a sweep's page.

        Raises:
            NotFoundError: There is no such sweep.
        """
        with self._use():
            sweep = self._sweeps.get(sweep_id)
            return self.door.page_of(sweep.entity, sweep.project, self._sweeps.name_of(sweep_id))

    def path(self, sweep_id: str) -> str:
        """A sweep as ``entity/project/id``, as W&B's own commands take it.

        Raises:
            NotFoundError: There is no such sweep.
        """
        with self._use():
            sweep = self._sweeps.get(sweep_id)
            return f"{sweep.entity}/{sweep.project}/{self._sweeps.name_of(sweep_id)}"

    def begin(self, sweep: Sweep) -> None:
        """Puts a sweep, but leaves it running until its state is set by a patch.

        Raises:
            InputError: W&B refuses it.
            BackendError: W&B does not answer.
        """
        with self._use():
            if self._sweeps.find(sweep) is None:
                self._sweeps.create(sweep)

    def own_id(self, sweep_id: str) -> str:
        """The id under which this package has put a sweep here, else the one that W&B gave it."""
        with self._use():
            return self._sweeps.own_id(sweep_id)

    def steering(self, sweep_id: str) -> dict[str, Any]:
        """What W&B answers to a local controller: ``scheduled``, a list of ``id`` and ``runid``."""
        with self._use():
            return self._sweeps.steering(sweep_id)

    def steer_by(self, sweep_id: str, controller: str) -> None:
        """Writes what a local controller wants, as JSON."""
        with self._use():
            self._sweeps.steer_by(sweep_id, controller)

    def stop_run(self, run_id: str) -> None:
        """Asks W&B to stop a run; nothing happens when there is none."""
        with self._use():
            found = self._fetch(run_id)
            if found is not None:
                with self.door.errors():
                    found.stop()

    def close(self) -> None:
        """Ends what is open at the client; runs that have not ended count as crashed at W&B.

        Idempotent, and bounded: each run waits for its upload as long as `finish_timeout` says.
        """
        with self._lock:
            self._closed = True
            for known in self._known.values():
                run, known.open = known.open, None
                if run is not None:
                    run.finish(exit_code(known.record))

    def _use(self) -> threading.RLock:
        if self._closed:
            raise BackendError("this backend is closed")
        return self._lock
