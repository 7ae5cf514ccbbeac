"""Folders of wandb: ``wandb/offline-run-<time>-<id>/run-<id>.wandb``, ``run-...`` of online runs.

All runs of a folder make one sweep, or one for each sweep of W&B that they belong to; it keeps
W&B's id then, and runs always keep theirs. A run that was resumed has several folders and is one.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from tune_bridge.adopt.inference import flat, infer, nested
from tune_bridge.adopt.model import QUIET, Found, FoundRun, Wishes, in_order
from tune_bridge.adopt.scalars import scalars
from tune_bridge.adopt.wandb_file import HEADER, read_records
from tune_bridge.backends.base import Row, RunState
from tune_bridge.errors import InputError, MissingExtraError
from tune_bridge.notes import Notes

__all__ = ["find", "is_run_file", "read"]

_PATTERNS = ("offline-run-*", "run-*")
_OURS = "_wandb"


def is_run_file(path: Path) -> bool:
    """Whether a file is one of wandb's."""
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER


def find(path: Path) -> list[Path]:
    """The files of runs below a folder: it may hold ``wandb``, be that, or be of one run."""
    folders = [path, path / "wandb", path / ".wandb"]
    found = list(path.glob("run-*.wandb"))
    for folder in folders:
        for pattern in _PATTERNS:
            for run in folder.glob(pattern):
                if run.is_dir() and not run.is_symlink():
                    found += run.glob("run-*.wandb")
    return sorted(set(found))


class _Kept(msgspec.Struct):
    """What is known of one run after a look at its files.

    Attributes:
        files: In the order in which they were begun.
    """

    id: str
    files: list[Path] = []
    sweep: str = ""
    project: str = ""
    entity: str = ""
    name: str = ""
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    begun: float = 0.0
    last: float = 0.0
    exit_code: int | None = None


def read(path: Path, wishes: Wishes) -> list[Found]:
    """The runs of a folder or file, by their sweeps.

    Raises:
        InputError: A file is damaged, or there is no run.
        MissingExtraError: wandb is not installed.
    """
    files = [path] if path.is_file() else find(path)
    notes = Notes()
    kept: dict[str, _Kept] = {}
    for file in files:
        seen = _look(file, notes)
        if seen is None:
            notes.lost(str(file), "left out", "it does not say which run it is of")
        elif (old := kept.get(seen.id)) is None:
            kept[seen.id] = seen
        else:
            first, last = sorted((old, seen), key=lambda run: run.begun)
            last.files = [*first.files, *last.files]
            last.config = {**first.config, **last.config}
            last.summary = {**first.summary, **last.summary}
            last.begun, last.name = first.begun, last.name or first.name
            kept[seen.id] = last
    if not kept:
        raise InputError("no run of wandb's is in it", source=str(path))
    groups: dict[tuple[str, str, str], list[_Kept]] = {}
    for run in kept.values():
        group = (run.entity, run.project, run.sweep) if run.sweep else ("", "", "")
        groups.setdefault(group, []).append(run)
    return [_sweep(path, group, runs, wishes, notes) for group, runs in sorted(groups.items())]


def _sweep(
    path: Path, group: tuple[str, str, str], kept: list[_Kept], wishes: Wishes, shared: Notes
) -> Found:
    notes, sweep = Notes(shared), group[2]
    space = infer([run.config for run in kept], notes)
    notes.approximated(
        "parameters",
        "inferred from the values of the runs",
        "a run of wandb's says its own configuration only",
    )
    runs = in_order(_run(run, wishes) for run in kept)
    for run in runs:
        run.config = nested(space, dict(flat(run.config)))
    home = kept[0].files[0].resolve().parents[1]  # the same for a folder and for each of its runs
    label = home.parent.name if home.name in ("wandb", ".wandb") else home.name
    return Found(
        kind="runs of wandb",
        where=str(path),
        identity=f"wandb/{'/'.join(group)}" if sweep else f"wandb/{home}",
        id=sweep or None,
        name=sweep or label,
        project=next((run.project for run in kept if run.project), None),
        runs=runs,
        space=space,
        notes=notes,
    )


def _run(kept: _Kept, wishes: Wishes) -> FoundRun:
    touched = max(file.stat().st_mtime for file in kept.files)
    state: RunState = "finished"
    message = ""
    if kept.exit_code is None:
        state = "crashed" if wishes.now - touched > QUIET else "running"
        message = "it was not over when its process ended" if state == "crashed" else ""
    elif kept.exit_code:
        state, message = "failed", f"exit code {kept.exit_code}"
    last = max(kept.last, kept.begun)
    return FoundRun(
        key=kept.id,
        id=kept.id,
        name=kept.name or kept.id,
        state=state,
        config=kept.config,
        created_at=kept.begun,
        started_at=kept.begun,
        ended_at=None if state == "running" else last,
        message=message,
        exit_code=kept.exit_code,
        summary=kept.summary,
        meta={"folder": str(kept.files[-1].parent)},
        rows=lambda notes: _rows(kept.files, kept.begun, notes),
    )


def _records(path: Path, notes: Notes) -> Iterator[Any]:
    try:
        proto: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    except ImportError:
        raise MissingExtraError("wandb", "wandb", "reading a run of wandb's") from None
    from google.protobuf.message import DecodeError

    for data in read_records(path, notes):
        record = proto.Record()
        try:
            record.ParseFromString(data)
        except DecodeError:
            raise InputError("a record of it is no record of wandb's", source=str(path)) from None
        yield record


def _look(path: Path, notes: Notes) -> _Kept | None:
    """Everything of a file but its rows."""
    kept = _Kept("")
    for record in _records(path, notes):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            kept.id, kept.sweep = run.run_id, run.sweep_id or kept.sweep
            kept.project, kept.entity = run.project, run.entity
            kept.name = run.display_name or kept.name
            kept.begun = run.start_time.seconds + run.start_time.nanos / 1e9
            _update(kept.config, run.config)
            _update(kept.summary, run.summary)
        elif kind == "config":
            _update(kept.config, record.config)
        elif kind == "summary":
            _update(kept.summary, record.summary)
        elif kind == "exit":
            kept.exit_code = record.exit.exit_code
        elif kind == "history":
            for item in record.history.item:
                if (item.key or "/".join(item.nested_key)) == "_timestamp":
                    kept.last = _number(_json(item.value_json), kept.last)
    kept.files = [path]
    kept.config.pop(_OURS, None)
    kept.summary = scalars(_own(kept.summary))[0]
    return kept if kept.id else None


def _update(values: dict[str, Any], record: Any) -> None:
    for item in record.update:
        *groups, last = item.nested_key or [item.key]
        below = values
        for name in groups:
            if not isinstance(below.get(name), dict):
                below[name] = {}
            below = below[name]
        below[last] = _json(item.value_json)
    for item in record.remove:
        *groups, last = item.nested_key or [item.key]
        below = values
        for name in groups:
            found = below.get(name)
            below = found if isinstance(found, dict) else {}
        below.pop(last, None)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _number(value: Any, default: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else default


def _own(values: dict[str, Any]) -> dict[str, Any]:
    """What the program logged; wandb adds ``_runtime``, ``_step``, ``_timestamp``, ``_wandb``."""
    return {key: value for key, value in values.items() if not key.startswith("_")}


def _rows(files: Iterable[Path], begun: float, notes: Notes) -> Iterator[Row]:
    following, when, left = 0, begun, set[str]()
    for path in files:
        for record in _records(path, Notes()):
            if record.WhichOneof("record_type") != "history":
                continue
            values: dict[str, Any] = {}
            for item in record.history.item:
                values["/".join(item.nested_key) or item.key] = _json(item.value_json)
            when = _number(values.get("_timestamp"), when)
            step = max(following, int(_number(values.get("_step"), record.history.step.num)))
            following = step + 1
            shown, media = scalars(_own(values))
            for key in media - left:
                notes.lost(key, "left out of the history", "neither a number nor a text")
            left |= media
            yield Row(step, when, shown)
