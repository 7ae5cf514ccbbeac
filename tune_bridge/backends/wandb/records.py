"""Sweeps, runs and rows as W&B keeps them, and as this package does.

What W&B has no place for is kept beside what it has: for a sweep under ``controller.tune_bridge``
of its config (the schema of W&B has no objection to more keys there), for a run under
``_tune_bridge`` of its summary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

import yaml

from tune_bridge.backends import codec
from tune_bridge.backends.base import ENDED_RUN, ENDED_SWEEP, Row, Run, Sweep
from tune_bridge.backends.merge import RunRecord, Stamps
from tune_bridge.errors import InputError

__all__ = [
    "EXIT_CODES",
    "OURS",
    "SWEEP_STATES",
    "about",
    "config_text",
    "floats_of",
    "kept",
    "record_of",
    "row_of",
    "run_of",
    "said_of",
    "same",
    "seconds",
    "sweep_of",
    "with_floats",
]

OURS = "_tune_bridge"
"""The key of a run's summary with what W&B has no place for."""

_MARK = "tune_bridge"
_ADDED = "_added"

EXIT_CODES = {"finished": 0, "failed": 1, "crashed": 1, "killed": 255}
"""State of a run -> the exit code with which W&B's client ends it: 255 is an interrupt."""

SWEEP_STATES = {
    "running": "RUNNING",
    "paused": "PAUSED",
    "finished": "FINISHED",
    "canceled": "CANCELED",
    "failed": "CANCELED",
    "crashed": "CANCELED",
}
"""State of a sweep -> W&B's, as far as a client can set it."""

_LEAST: dict[str, Any] = {
    "method": "random",
    "parameters": {"tune_bridge": {"value": "see the runs"}},
}
"""Without these W&B makes no sweep."""

_RUN_STATES = {"preempted": "crashed", "preempting": "running"}
_TECHNICAL = frozenset({"_step", "_runtime", "_timestamp", "_wandb", OURS})
_KEPT = (
    "name",
    "state",
    "message",
    "stopped_early",
    "exit_code",
    "created_at",
    "started_at",
    "ended_at",
    "updated_at",
    "meta",
)


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LONGEST = 16 * 2**20


_ABOUT = {
    "tags": "wandb.tags",
    "notes": "wandb.notes",
    "group": "wandb.group",
    "job_type": "wandb.job_type",
}
"""Argument of ``wandb.init`` -> key of a run's meta, as our server has it."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def config_text(sweep: Sweep) -> str:
    """A sweep's config as W&B takes it, with what it has no place for.

    Values are plain JSON values already; NaN and infinities are YAML's.
    """
    config = codec.plain(sweep.config)
    controller = config.get("controller")
    added = [name for name in ("controller",) if controller is None]
    controller = dict(controller) if isinstance(controller, dict) else {}
    if "type" not in controller:
        controller["type"] = "cloud"
        added = added or ["controller.type"]
    controller[_MARK] = {
        "sweep": sweep.id,
        "state": sweep.state,
        "created_at": sweep.created_at,
        "ended_at": sweep.ended_at,
        "message": sweep.message,
        "meta": codec.plain(sweep.meta),
    }
    for name, least in _LEAST.items():
        if not config.get(name):
            config[name] = least
            added.append(name)
    controller[_MARK][_ADDED] = added
    config["controller"] = controller
    return yaml.dump(config, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def sweep_of(node: Mapping[str, Any], entity: str, project: str) -> Sweep:
    """A sweep as W&B shows it.

    Args:
        node: Fields of GraphQL.
        entity: Where it is.
        project: Where it is.
    """
    config = _config(node)
    controller = config.get("controller")
    said = controller.pop(_MARK, None) if isinstance(controller, dict) else None
    said = said if isinstance(said, dict) else {}
    for name in said.get(_ADDED, ()):
        if name == "controller.type" and isinstance(controller, dict):
            controller.pop("type", None)
        elif name == "controller" or name in _LEAST:
            config.pop(name, None)
    state = str(node.get("state") or "running").lower()
    kept = said.get("state")
    # A sweep is pending at W&B until the first agent works for it.
    fits = {SWEEP_STATES.get(str(kept), "").lower(), "pending" if kept == "running" else ""}
    if isinstance(kept, str) and state in fits:
        state = kept
    updated = seconds(node.get("updatedAt") or node.get("heartbeatAt"))
    created = said.get("created_at") or seconds(node.get("createdAt"))
    ended = said.get("ended_at") or (updated if state in ENDED_SWEEP else None)
    return Sweep(
        id=str(node["name"]),
        project=project,
        entity=entity,
        name=str(node.get("displayName") or config.get("name") or node["name"]),
        state=state,  # type: ignore[arg-type]
        config=config,
        created_at=created,
        updated_at=max(updated, created),
        ended_at=ended if state in ENDED_SWEEP else None,
        message=str(said.get("message") or ""),
        meta=said.get("meta") or {},
    )


def said_of(node: Mapping[str, Any]) -> str | None:
    """The id under which this package has made a sweep, or None."""
    if _MARK not in (node.get("config") or ""):
        return None
    controller = _config(node).get("controller")
    said = controller.get(_MARK) if isinstance(controller, dict) else None
    return str(said["sweep"]) if isinstance(said, dict) and "sweep" in said else None


def _config(node: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a sweep at W&B.

    Raises:
        InputError: It cannot be read.
    """
    text = str(node.get("config") or "{}")
    try:
        if len(text) > _LONGEST:
            raise ValueError(f"{len(text)} characters")
        found = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe one
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        words = " ".join(str(error).split())[:300]
        raise InputError(
            "the config of this sweep cannot be read", path=str(node.get("name")), found=words
        ) from None
    return found if isinstance(found, dict) else {}


def record_of(run: Run) -> RunRecord:
    """What of a run can change."""
    own: dict[str, Any] = {
        "stamps": Stamps()
    }  # and what else a database keeps beside a run, which W&B does not
    fields = RunRecord.__struct_fields__
    values: dict[str, Any] = {name: getattr(run, name, own.get(name)) for name in fields}
    return RunRecord(**values)


def kept(record: RunRecord, run: Run, floats: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept with a run beside what W&B has a place for."""
    said = {name: getattr(record, name) for name in _KEPT if hasattr(record, name)}
    said["created_at"] = run.created_at
    stamps = {"attributes": record.stamps.attributes, "meta": record.stamps.meta}
    said["stamps"] = {**stamps, "opened": record.stamps.opened}
    said["floats"] = dict(floats)
    return {key: value for key, value in codec.plain(said).items() if value not in (None, "", {})}


def run_of(found: Any, sweep_id: str) -> tuple[Run, dict[str, Any]]:
    """A run as ``wandb.Api`` shows it, and what is kept beside it.

    Args:
        found: A ``wandb.apis.public.Run`` that is fully loaded.
        sweep_id: Its sweep.
    """
    summary = dict(found.summary_metrics or {})
    said = summary.get(OURS)
    said = said if isinstance(said, dict) else {}
    state = str(found.state or "running").lower()
    state = _RUN_STATES.get(state, state)
    mine = said.get("state")
    if isinstance(mine, str):
        ended = state in ENDED_RUN
        # W&B knows when it ended; how, it says less exactly.
        agrees = mine in ENDED_RUN and EXIT_CODES.get(state) == EXIT_CODES[mine]
        if (ended and agrees) or (not ended and mine not in ENDED_RUN):
            state = mine
    if state not in ENDED_RUN and state != "pending":
        state = "running"
    floats = said.get("floats") or {}
    beat = seconds(getattr(found, "heartbeatAt", None) or found.created_at)
    created = said.get("created_at") or seconds(found.created_at)
    last = summary.get("_step")
    config = {key: value for key, value in dict(found.config).items() if not key.startswith("_")}
    run = Run(
        id=str(found.id),
        sweep_id=sweep_id,
        name=str(said.get("name") or found.name or found.id),
        state=state,  # type: ignore[arg-type]
        config=with_floats(config, floats.get("config", ())),
        summary=with_floats(
            {key: value for key, value in summary.items() if key not in _TECHNICAL},
            floats.get("summary", ()),
        ),
        rows=int(found._attrs.get("historyLineCount") or 0),
        last_step=-1 if last is None else int(last),
        created_at=created,
        started_at=said.get("started_at") or (None if state == "pending" else created),
        ended_at=(said.get("ended_at") or beat) if state in ENDED_RUN else None,
        updated_at=said.get("updated_at") or max(beat, created),
        stopped_early=bool(said.get("stopped_early")),
        message=str(said.get("message") or ""),
        exit_code=said.get("exit_code"),
        meta=said.get("meta") or _about(found),
    )
    return run, said


def about(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What W&B's client takes of a run's meta when the run begins."""
    given = {name: meta.get(key) for name, key in _ABOUT.items()}
    return {name: value for name, value in given.items() if value}


def _about(found: Any) -> dict[str, Any]:
    """What W&B knows of a run that others have made."""
    names = {"job_type": "jobType"}
    known = {key: getattr(found, names.get(name, name), None) for name, key in _ABOUT.items()}
    return {key: value for key, value in known.items() if value}


def row_of(found: Mapping[str, Any], floats: Iterable[str] = ()) -> Row:
    """A history row as W&B shows it."""
    values = {key: value for key, value in found.items() if key not in _TECHNICAL}
    when = found.get("_timestamp")
    at = float(when) if isinstance(when, int | float) else 0.0
    return Row(int(found["_step"]), at, with_floats(values, floats))


def seconds(text: Any) -> float:
    """A time of W&B's as seconds since the epoch; 0 for none."""
    if not isinstance(text, str) or not text:
        return 0.0
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


def floats_of(value: Any, path: str = "") -> list[str]:
    """Where whole numbers stand that are floats: W&B's client drops their ``.0``."""
    if isinstance(value, float):
        return [path] if math.isfinite(value) and value.is_integer() else []
    if isinstance(value, dict):
        return [
            found
            for key, item in value.items()
            for found in floats_of(item, f"{path}\0{key}" if path else key)
        ]
    if isinstance(value, list):
        return [
            found
            for number, item in enumerate(value)
            for found in floats_of(item, f"{path}\0{number}")
        ]
    return []


def with_floats(value: dict[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Puts floats back where `floats_of` has found them."""
    for path in paths:
        *head, last = path.split("\0")
        place: Any = value
        for part in head:
            place = _item(place, part)
        item = _item(place, last)
        if isinstance(item, int) and not isinstance(item, bool):
            place[int(last) if isinstance(place, list) else last] = float(item)
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two plain values are equal, where NaN is equal to itself."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (one != one and other != other)


def _item(place: Any, key: str) -> Any:
    if isinstance(place, dict):
        return place.get(key)
    if isinstance(place, list) and key.isdigit() and int(key) < len(place):
        return place[int(key)]
    return None
