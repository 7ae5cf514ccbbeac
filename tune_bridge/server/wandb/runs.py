"""Runs: made, changed and shown."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

from tune_bridge.backends.base import ENDED_RUN, PatchRun, PutRun, Row, Run, Sweep
from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.server.wandb.catalog import Catalog
from tune_bridge.server.wandb.execute import Call
from tune_bridge.server.wandb.files import Files, Found
from tune_bridge.server.wandb.filters import MISSING, Record, page
from tune_bridge.server.wandb.home import ENTITY, Home, check, is_container, run_name
from tune_bridge.server.wandb.ids import Signer, global_id, number, parts
from tune_bridge.server.wandb.jsontext import (
    adopt,
    dump,
    iso,
    load,
    mapping,
    strict,
    unwrapped,
    wrapped,
)
from tune_bridge.server.wandb.lines import Lines
from tune_bridge.server.wandb.steering import is_log
from tune_bridge.server.wandb.watch import Watch

__all__ = ["Runs", "inside"]

UPLOAD, DOWNLOAD = "upload", "download"
_UPLOAD_SECONDS = 3600.0
_DOWNLOAD_SECONDS = 600.0
_MOST_FILES = 10_000
_MOST_ROWS = 100_000
_STOP = "wandb.stop"
ATTEMPT = "wandb.attempt"
_TEXTS = {
    "notes": "wandb.notes",
    "groupName": "wandb.group",
    "jobType": "wandb.job_type",
    "commit": "wandb.commit",
    "host": "wandb.host",
    "jobProgram": "wandb.program",
    "description": "wandb.description",
    "tags": "wandb.tags",
}
"""Arguments of upsertBucket that are kept as they are -> where."""

_STEPS = {
    "pending": ("running", "failed", "crashed", "preempted"),
    "failed": ("pending", "running"),
}
"""State that a user may give a run -> those that it may have then, as at W&B."""

USER = {"id": "user", "name": ENTITY, "username": ENTITY, "email": "", "entity": ENTITY}


class Runs:
    """The operations on runs.

    Args:
        home: Finds them.
        files: Their files.
        lines: Their console and system metrics.
        signer: Signs the addresses of files.
        watch: Knows when they were last heard of.
        catalog: What they have made and used.
    """

    def __init__(
        self,
        home: Home,
        files: Files,
        lines: Lines,
        signer: Signer,
        watch: Watch,
        catalog: Catalog,
    ) -> None:
        self._home = home
        self._files = files
        self._lines = lines
        self._signer = signer
        self._watch = watch
        self._catalog = catalog

    # Changes.

    def upsert(self, call: Call) -> dict[str, Any]:
        """Makes a run, or changes one; what is not said stays as it is."""
        run, inserted = self._stored(call) if call.get("id") else self._begun(call)
        changes = self._changes(call, run)
        if changes:
            self._home.backend.apply([PatchRun(run.id, changes, time.time())])
            run = self._home.backend.run(run.id)
        return {"bucket": self.node(run, call), "inserted": inserted}

    def _stored(self, call: Call) -> tuple[Run, bool]:
        return self._home.stored(call["id"]), False

    def _begun(self, call: Call) -> tuple[Run, bool]:
        """The run of a program that says it is there, and whether it is new."""
        name = check(call.get("name") or "", "run")
        sweep = self._home.sweep(call["sweep"]) if call.get("sweep") else None
        if sweep is not None:
            entity, project = sweep.entity, sweep.project
        else:
            entity, project = self._home.place(call)
        run = self._home.run(entity, project, name)
        inserted = run is None
        if run is None:
            log = is_log(self._home, name)
            home = sweep or self._home.container(entity, project, create=True, log=log)
            assert home is not None
            run = self._create(call, home, name)
        self._watch.heard(run.id)
        driven = self._home.driven(run)
        changes: dict[str, Any] = {}
        if driven is not None:
            driven.sweep.seen((run.id,))
            changes["meta"] = {ATTEMPT: driven.state.attempt}
        elif (
            run.state != "running"
            and call.get("state") != "pending"
            and not (run.state == "killed" and _given_out(run))
        ):
            changes.update(state="running", message="", meta={_STOP: False})
        if changes:
            patch = PatchRun(run.id, changes, time.time(), reopen="state" in changes)
            self._home.backend.apply([patch])
        return self._home.backend.run(run.id), inserted

    def _create(self, call: Call, sweep: Sweep, name: str) -> Run:
        now, backend = time.time(), self._home.backend
        run_id = self._home.free_id(sweep.entity, sweep.project, name)
        count = sum(backend.counts([sweep.id]).get(sweep.id, {}).values())
        pending = call.get("state") == "pending"
        run = Run(
            id=run_id,
            sweep_id=sweep.id,
            name=call.get("displayName") or f"run-{count + 1}",
            state="pending",
            created_at=now,
            updated_at=now,
            meta=self._home.new_meta(run_id, name),
        )
        start = [] if pending else [PatchRun(run_id, {"state": "running"}, now)]
        backend.apply([PutRun(run), *start])
        return backend.run(run_id)

    def _changes(self, call: Call, run: Run) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        meta = {place: call[name] for name, place in _TEXTS.items() if name in call}
        if "config" in call:
            config, internal = unwrapped(mapping(call["config"], "the config"))
            merged = adopt(config, run.config)
            if _given_out(run):  # what the sweep has drawn stays
                merged = {**run.config, **merged}
            if merged != run.config or repr(merged) != repr(run.config):
                changes["config"] = merged
            if internal is not None:
                meta["wandb.internal"] = internal
        if "summaryMetrics" in call:
            changes["summary"] = mapping(call["summaryMetrics"], "the summary")
        if call.get("displayName"):
            changes["name"] = str(call["displayName"])
        meta = {key: value for key, value in meta.items() if run.meta.get(key) != value}
        if meta:
            changes["meta"] = meta
        return changes

    def update_state(self, call: Call) -> dict[str, Any]:
        """Says that a run waits for a program again, or that it was lost.

        Raises:
            InputError: It is in a sweep, or in no state from which that is a step.
        """
        run, state = self._home.stored(call.get("id")), str(call.get("state", "")).lower()
        sources = _STEPS.get(state, ())
        if not is_container(self._home.of_run(run.sweep_id)):
            raise InputError(
                "the state of a run of a sweep follows from what its program does",
                path=run_name(run),
            )
        if run.state not in sources:
            raise InputError(
                f"invalid state transition of run {run_name(run)}",
                found=f"{run.state} to {state}"[:100],
                expected="; ".join(f"{', '.join(old)} to {new}" for new, old in _STEPS.items()),
            )
        self._watch.ended(run.id)
        self._home.backend.update_run(run.id, reopen=True, state=state, message="")
        return {"success": True}

    def stop(self, call: Call) -> dict[str, Any]:
        """Asks a run to stop; it is told at its next report."""
        run = self._home.stored(call["id"])
        driven = self._home.driven(run)
        if driven is not None and driven.state.status != "over":
            driven.sweep.command("stop_run", run=run.id)
        elif run.state not in ENDED_RUN:
            self._home.backend.update_run(run.id, meta={_STOP: True})
        return {"success": True, "clientMutationId": None}

    def delete(self, call: Call) -> dict[str, Any]:
        """Removes a run with its rows and files."""
        try:
            run = self._home.stored(call["id"])
        except NotFoundError:  # by the same request before
            return {"clientMutationId": None}
        driven = self._home.driven(run)
        if driven is not None and driven.state.status != "over":
            raise InputError(
                f"run {run_name(run)} is not over",
                found=run.state,
                expected="a run that has ended",
                hint="stop it first",
            )
        if call.get("deleteArtifacts"):
            self._catalog.remove_of_run(run, run_name(run))
        self._home.controller.delete_run(run.id)
        for kind in (self._files, self._lines):
            kind.delete(owner(run))
        return {"clientMutationId": None}

    def create_files(self, call: Call) -> dict[str, Any]:
        """Addresses to put files of a run to."""
        entity, project = self._home.place(call)
        run = self._home.existing(entity, project, str(call.get("runName", "")))
        names = [str(name) for name in call.get("files", [])]
        if len(names) > _MOST_FILES:
            raise InputError("too many files in one request", expected=f"{_MOST_FILES} at most")
        made = []
        for name in names:
            self._files.path(owner(run), name)  # a name that cannot be is refused here
            token = self._signer.sign(UPLOAD, *owner(run), name, seconds=_UPLOAD_SECONDS)
            made.append({"name": name, "uploadUrl": f"{call.base}/wandb/files/{token}"})
        return {"runID": global_id("Run", run.id), "uploadHeaders": [], "files": made}

    def delete_files(self, call: Call) -> dict[str, Any]:
        """Removes files of runs."""
        for text in call.get("files", []):
            sweep_id, run_id, name = parts("File", text)
            self._files.delete((sweep_id, run_id), name)
        return {"success": True}

    def alert(self, call: Call) -> dict[str, Any]:
        """Keeps an alert as the run's message."""
        entity, project = self._home.place(call)
        run = self._home.existing(entity, project, str(call.get("runName", "")))
        title, text = str(call.get("title", "")), str(call.get("text", ""))
        alerts = [*run.meta.get("wandb.alerts", []), {"title": title, "text": text}][-100:]
        self._home.backend.update_run(run.id, meta={"wandb.alerts": alerts})
        return {"success": True}

    # Shown.

    def stopping(self, run: Run) -> bool:
        """Whether a run's program is to end."""
        driven = self._home.driven(run)
        if driven is not None and driven.state.status != "over":
            return driven.state.verdict.kind != "continue"
        if run.state not in ENDED_RUN:
            return bool(run.meta.get(_STOP))
        return _given_out(run) and (run.state == "killed" or run.stopped_early)

    def node(self, run: Run, call: Call) -> dict[str, Any]:
        """What GraphQL shows of a run."""
        sweep = self._home.of_run(run.sweep_id)
        meta, state = run.meta, shown_state(run)
        project = {
            "__typename": "Project",
            "id": global_id("Project", sweep.entity, sweep.project),
            "internalId": number(sweep.entity, sweep.project),
            "name": sweep.project,
            "entityName": sweep.entity,
            "entity": entity_node(sweep.entity),
        }
        return {
            "__typename": "Run",
            "id": global_id("Run", run.id),
            "name": run_name(run),
            "displayName": run.name or run_name(run),
            "sweepName": None if is_container(sweep) else sweep.id,
            "state": state,
            "project": project,
            "projectId": project["internalId"],
            "group": meta.get("wandb.group"),
            "jobType": meta.get("wandb.job_type"),
            "commit": meta.get("wandb.commit"),
            "notes": meta.get("wandb.notes"),
            "description": meta.get("wandb.description"),
            "tags": meta.get("wandb.tags") or [],
            "host": meta.get("wandb.host") or meta.get("host"),
            "readOnly": False,
            "user": USER,
            "createdAt": iso(run.created_at),
            "heartbeatAt": iso(run.updated_at),
            "updatedAt": iso(run.updated_at),
            "exitcode": run.exit_code,
            "running": state == "running",
            "failed": state in ("failed", "crashed"),
            "stopped": state in ENDED_RUN,
            "shouldStop": self.stopping(run),
            "config": lambda _: dump(wrapped(run.config, meta.get("wandb.internal"))),
            "wandbConfig": lambda call: _internal(run, call),
            "summaryMetrics": lambda _: dump(self._summary(run)),
            "systemMetrics": lambda _: dump(self._system(run)),
            "historyKeys": lambda _: _history_keys(run),
            "historyLineCount": run.rows,
            "logLineCount": lambda _: self._lines.count(owner(run), "output"),
            "eventsLineCount": lambda _: self._lines.count(owner(run), "events"),
            "historyTail": lambda _: dump([dump(row) for row in self._tail(run)]),
            "eventsTail": lambda _: dump(self._lines.last(owner(run), "events", 1)),
            "history": lambda call: self._history(run, call),
            "events": lambda call: _thinned(
                self._lines.last(owner(run), "events", _MOST_ROWS), call.get("samples")
            ),
            "sampledHistory": lambda call: self._sampled(run, call),
            "parquetHistory": lambda _: {"parquetUrls": [], "liveData": _live(run)},
            "files": lambda inner: self._list(run, inner, call.base),
            "fileCount": lambda _: len(self._files.list(owner(run))),
            "outputArtifacts": lambda inner: self._catalog.of_run(
                run, run_name(run), "output", inner
            ),
            "inputArtifacts": lambda inner: self._catalog.of_run(
                run, run_name(run), "input", inner
            ),
        }

    def record(self, run: Run) -> Record:
        """A run's fields for filters and orders."""
        home = self._home

        def get(key: str) -> Any:
            head, _, rest = key.partition(".")
            kind = head.replace("_", "").lower()
            if kind == "config":
                first, _, more = rest.partition(".value")
                return inside(run.config, first + more)
            if kind in ("summarymetrics", "summary"):
                return inside(run.summary, rest)
            if kind == "tags" and rest:
                return rest in (run.meta.get("wandb.tags") or ())
            if kind == "sweep":
                sweep = home.of_run(run.sweep_id)
                return None if is_container(sweep) else sweep.id
            field = _RECORD.get(kind)
            return MISSING if field is None else field(run)

        return get

    def _summary(self, run: Run) -> dict[str, Any]:
        extra: dict[str, Any] = {}
        if run.rows:
            extra["_step"] = run.last_step
        return {**extra, **run.summary}

    def _system(self, run: Run) -> dict[str, Any]:
        last = self._lines.last(owner(run), "events", 1)
        try:
            return mapping(last[0], "system metrics") if last else {}
        except InputError:  # cut off where the limit was
            return {}

    def _rows(self, run: Run, low: int = 0) -> list[dict[str, Any]]:
        return [shown_row(row) for row in self._home.backend.history(run.id, min_step=low)]

    def _tail(self, run: Run) -> list[dict[str, Any]]:
        return self._rows(run, run.last_step)[-1:] if run.rows else []

    def _history(self, run: Run, call: Call) -> list[str]:
        """Rows as JSON texts: thinned to a number of samples, or those of some steps."""
        low = max(0, int(call.get("minStep", 0)))
        rows: Iterable[dict[str, Any]] = self._rows(run, low)
        if "maxStep" in call:
            rows = [row for row in rows if row["_step"] < int(call["maxStep"])]
        return [dump(row) for row in _thinned(list(rows), call.get("samples"))]

    def _sampled(self, run: Run, call: Call) -> list[list[dict[str, Any]]]:
        """Rows that hold all keys of a specification, for each of them."""
        specs = call.get("specs", [])
        found = []
        for text in specs if isinstance(specs, list) else [specs]:
            spec = mapping(load(text, "a specification"), "a specification")
            keys = [str(key) for key in spec.get("keys", [])]
            low, high = int(spec.get("minStep") or 0), spec.get("maxStep")
            rows = [
                strict({key: row[key] for key in keys})
                for row in (self._rows(run, max(0, low)) if keys else ())
                if all(key in row for key in keys) and (high is None or row["_step"] <= int(high))
            ]
            found.append(_thinned(rows, spec.get("samples")))
        return found

    def _list(self, run: Run, call: Call, base: str) -> dict[str, Any]:
        names, pattern = call.get("names") or [], call.get("pattern")
        found = [
            file
            for file in self._files.list(owner(run))
            if (not names or file.name in names) and (not pattern or _like(file.name, pattern))
        ]

        def node(file: Found) -> dict[str, Any]:
            token = self._signer.sign(DOWNLOAD, *owner(run), file.name, seconds=_DOWNLOAD_SECONDS)
            put = self._signer.sign(UPLOAD, *owner(run), file.name, seconds=_UPLOAD_SECONDS)
            address = f"{base}/wandb/files/{token}"
            return {
                "__typename": "File",
                "id": global_id("File", *owner(run), file.name),
                "name": file.name,
                "url": lambda call: f"{base}/wandb/files/{put}" if call.get("upload") else address,
                "directUrl": address,
                "sizeBytes": file.size,
                "mimetype": file.type,
                "updatedAt": iso(file.time),
                "md5": lambda _: file.md5(),
            }

        return page(found, call.get("first"), call.get("after"), node)


def owner(run: Run) -> tuple[str, str]:
    """The folders that hold a run's files."""
    return run.sweep_id, run.id


def entity_node(entity: str) -> dict[str, Any]:
    """What GraphQL shows of an entity."""
    return {
        "__typename": "Entity",
        "id": global_id("Entity", entity),
        "name": entity,
        "organization": {"name": entity, "orgEntity": {"name": entity}},
    }


def shown_state(run: Run) -> str:
    """A run's state for this client; one that was ended early is "killed" to it."""
    return "killed" if run.stopped_early and run.state == "finished" else run.state


def shown_row(row: Row) -> dict[str, Any]:
    """A row as the client logged it."""
    return {"_step": row.step, "_timestamp": row.time, **row.values}


_RECORD: dict[str, Callable[[Run], Any]] = {
    "name": run_name,
    "displayname": lambda run: run.name,
    "state": shown_state,
    "group": lambda run: run.meta.get("wandb.group"),
    "jobtype": lambda run: run.meta.get("wandb.job_type"),
    "tags": lambda run: run.meta.get("wandb.tags") or [],
    "createdat": lambda run: iso(run.created_at, exact=True),
    "updatedat": lambda run: iso(run.updated_at, exact=True),
    "heartbeatat": lambda run: iso(run.updated_at, exact=True),
    "username": lambda _: ENTITY,
    "host": lambda run: run.meta.get("wandb.host") or run.meta.get("host"),
}
"""Fields of a run that filters and orders may name, in lower case and without underscores."""


def _given_out(run: Run) -> bool:
    """Whether a controller has given it out."""
    return "attempt" in run.meta


def _internal(run: Run, call: Call) -> str:
    internal = run.meta.get("wandb.internal") or {}
    keys = call.get("keys")
    return dump({key: internal[key] for key in internal if keys is None or key in keys})


def _live(run: Run) -> list[dict[str, Any]]:
    """From where on rows are in no Parquet file; clients of 0.27 read pages from there."""
    return [{"_step": 0}] if run.rows else []


def _history_keys(run: Run) -> dict[str, Any]:
    if not run.rows:
        return {"lastStep": -1, "keys": {}, "sets": []}
    keys = {
        key: {
            "typeCounts": [{"type": _kind(value), "count": run.rows}],
            "monotonic": False,
            "previousValue": strict(value),
        }
        for key, value in {**run.summary, "_step": run.last_step}.items()
    }
    return {"lastStep": run.last_step, "keys": keys, "sets": []}


def _kind(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return "string" if isinstance(value, str) else "map"


def _thinned(rows: list[Any], samples: Any) -> list[Any]:
    """Evenly chosen rows, the first and the last among them."""
    most = _MOST_ROWS if samples is None else min(max(1, int(samples)), _MOST_ROWS)
    if len(rows) <= most:
        return rows
    if most == 1:
        return rows[-1:]
    step = (len(rows) - 1) / (most - 1)
    return [rows[math.floor(number * step + 0.5)] for number in range(most)]


def inside(values: dict[str, Any], path: str) -> Any:
    """A value by its name, or by the names of nested ones with dots between them."""
    if path in values:
        return values[path]
    head, dot, rest = path.partition(".")
    while dot:
        inner = values.get(head)
        if isinstance(inner, dict):
            return inside(inner, rest)
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return MISSING


def _like(name: str, pattern: str) -> bool:
    """SQL's LIKE, without regular expressions: % for anything."""
    pieces = str(pattern).split("%")
    if len(pieces) == 1:
        return name == pattern
    first, *middle, last = pieces
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first + last):
        return False
    rest = name[len(first) : len(name) - len(last)]
    for piece in middle:
        at = rest.find(piece)
        if at < 0:
            return False
        rest = rest[at + len(piece) :]
    return True
