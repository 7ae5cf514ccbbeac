"""Sweeps that the client steers: its local controller, its sweep-scheduler, runs that it enqueues.

The local controller writes into the sweep what is to happen::

    {"schedule": [{"id": "...", "data": {"args": {"x": {"value": 1}}}}], "earlystop": ["<run>"]}

and reads what became of it: ``{"scheduled": [{"id": "...", "runid": "<run>"}]}``. Arguments that
are null say that the search has come to its end.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from typing import Any

from tune_bridge.backends.base import Sweep
from tune_bridge.controller import SweepController
from tune_bridge.controller.sweep import META
from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.server.wandb.execute import Call
from tune_bridge.server.wandb.home import Home, run_name
from tune_bridge.server.wandb.ids import number
from tune_bridge.server.wandb.jsontext import dump, load, mapping, unwrapped

__all__ = ["Steering", "is_local", "is_log"]

_LOG = "-controller"
"""After a sweep's id, the id of the run in which a sweep-scheduler keeps its log."""

_CONTROLLER = "wandb.controller"
_SCHEDULED = "wandb.scheduled"
_MOST = 1000
"""Schedule entries that are remembered; the client has one at a time."""


class Steering:
    """What the client has to say on the runs of a sweep. Thread-safe.

    Args:
        home: Finds sweeps and runs.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._untold: dict[bytes, str] = {}

    def fields(self, sweep: Sweep) -> dict[str, Any]:
        """The fields of a sweep that its controllers look at."""
        scheduled = sweep.meta.get(_SCHEDULED)
        own = sweep.config.get("scheduler")
        return {
            "controller": sweep.meta.get(_CONTROLLER),
            "scheduler": None if scheduled is None else dump({"scheduled": scheduled}),
            "controllerRunName": f"{sweep.id}{_LOG}" if own else None,
        }

    def write(self, sweep: Sweep, text: Any) -> None:
        """Does what a local controller has written.

        Raises:
            InputError: It is malformed, or the sweep is not its own.
        """
        said = mapping(text, "the controller")
        if not is_local(sweep):
            raise InputError(
                "this sweep is steered by the server",
                path="controller",
                expected="a sweep with controller.type local",
            )
        with self._lock:
            sweep = self._home.backend.sweep(sweep.id)
            controller = self._home.controller.sweep(sweep.id)
            scheduled = list(sweep.meta.get(_SCHEDULED) or [])
            for entry in _list(said, "schedule"):
                self._schedule(controller, entry, scheduled)
            for name in _list(said, "earlystop"):
                self._stop(sweep, controller, str(name))
            meta = {_CONTROLLER: dump(said), _SCHEDULED: scheduled[-_MOST:]}
            self._home.backend.update_sweep(sweep.id, meta=meta)

    def _schedule(
        self, controller: SweepController, entry: Any, scheduled: list[dict[str, Any]]
    ) -> None:
        data = entry.get("data") if isinstance(entry, dict) else None
        if not isinstance(data, dict) or "args" not in data:
            raise InputError("an entry of the schedule has no arguments", path="schedule")
        if any(known["id"] == entry.get("id") for known in scheduled):
            return
        if data["args"] is None:
            if controller.state.gate in ("open", "paused"):
                controller.command("stop")
            return
        run = controller.command("enqueue", config=_config(data["args"]))
        scheduled.append({"id": entry.get("id"), "runid": run})

    def _stop(self, sweep: Sweep, controller: SweepController, name: str) -> None:
        run = self._home.run(sweep.entity, sweep.project, name)
        known = None if run is None else controller.state.runs.get(run.id)
        if known is not None and known.status not in ("over", "leaving"):
            controller.command("stop_run", run=known.id)

    def enqueue(self, call: Call) -> dict[str, Any]:
        """A configuration that somebody wants (`Sweep.enqueue_run`, a sweep-scheduler).

        Raises:
            InputError: It does not fit a sweep that our engine searches, or the sweep is over.
        """
        sweep = self._home.sweep(call.get("id", ""))
        if sweep.meta.get(META) is None:
            raise InputError("this sweep gives out no runs", path=sweep.id)
        config = _config(load(call.get("config") or "{}", "the config"))
        name = str(call.get("displayName") or "")
        key = hashlib.sha256(dump([sweep.id, config, name]).encode()).digest()
        with self._lock:
            # The client asks again when it has not got the answer; it gets the run it made.
            known = self._untold.pop(key, None)
        run_id = known or str(
            self._home.controller.sweep(sweep.id).command("enqueue", config=config)
        )
        call.lost.append(lambda: self._untold.__setitem__(key, run_id))
        if name:
            self._home.backend.update_run(run_id, name=name)
        shown = run_name(self._home.backend.run(run_id))
        return {"id": shown, "runQueueItemId": str(number("queue", run_id))}


def _list(said: Mapping[str, Any], key: str) -> list[Any]:
    found = said.get(key) or []
    if not isinstance(found, list):
        raise InputError("expected a list", path=f"controller.{key}", found=type(found).__name__)
    return found


def _config(args: Any) -> dict[str, Any]:
    if not isinstance(args, dict):
        raise InputError("a configuration must be a mapping", found=type(args).__name__)
    return unwrapped(args)[0]


def is_local(sweep: Sweep) -> bool:
    """Whether W&B's local controller steers a sweep."""
    local = sweep.config.get("controller")
    return isinstance(local, Mapping) and local.get("type") == "local"


def is_log(home: Home, name: str) -> bool:
    """Whether a run of this name holds but the log of a sweep-scheduler."""
    if not name.endswith(_LOG):
        return False
    try:
        return bool(home.sweep(name.removesuffix(_LOG)))
    except NotFoundError:
        return False
