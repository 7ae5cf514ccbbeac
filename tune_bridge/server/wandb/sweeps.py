"""Sweeps: made, changed and shown."""

from __future__ import annotations

import contextlib
import hashlib
import math
import threading
from typing import Any

from tune_bridge.backends.base import Sweep
from tune_bridge.controller.sweep import META
from tune_bridge.dialects.sweep.keys import grid_size
from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.server.values import to_yaml
from tune_bridge.server.wandb.agents import Agents
from tune_bridge.server.wandb.catalog import Catalog
from tune_bridge.server.wandb.execute import Call
from tune_bridge.server.wandb.filters import page
from tune_bridge.server.wandb.home import Home
from tune_bridge.server.wandb.ids import global_id, number
from tune_bridge.server.wandb.jsontext import dump, iso
from tune_bridge.server.wandb.runs import USER, Runs, entity_node
from tune_bridge.server.wandb.search import Search
from tune_bridge.server.wandb.steering import Steering, is_local
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.wire import Settings, Verb

__all__ = ["Sweeps"]

_SETTINGS = Settings(max_lost=0, quarantine=0)
"""As at W&B: a crashed run stays crashed, and agents themselves stop after too many failures."""

_VERBS: dict[str, Verb] = {
    "RUNNING": "resume",
    "PAUSED": "pause",
    "FINISHED": "stop",
    "CANCELED": "cancel",
}
_FREE = ("name", "description", "program", "command", "project", "entity", "settings")
"""Keys that may change while a sweep runs: no engine looks at them."""

_PRIOR = "wandb.prior"


class Sweeps:
    """The operations on sweeps and projects.

    Args:
        home: Finds them.
        runs: Shows their runs.
        agents: Knows who works for them.
        catalog: What is kept beside the runs.
        steering: What clients have to say on which runs there are.
    """

    def __init__(
        self, home: Home, runs: Runs, agents: Agents, catalog: Catalog, steering: Steering
    ) -> None:
        self._home = home
        self._steering = steering
        self._runs = runs
        self._search = Search(home, runs)
        self._agents = agents
        self._catalog = catalog
        self._lock = threading.Lock()
        self._untold: dict[bytes, str] = {}

    # Changes.

    def upsert(self, call: Call) -> dict[str, Any]:
        """Makes a sweep, or changes one; what is not said stays as it is."""
        sweep = self._change(call) if call.get("id") else self._create(call)
        return {"sweep": self.node(sweep, call), "configValidationWarnings": self._warnings(sweep)}

    def _create(self, call: Call) -> Sweep:
        text = call.get("config")
        if not text:
            raise InputError("a sweep needs a config", path="config")
        config = dict(SweepConfig.from_yaml(str(text), "the sweep config"))
        entity, project = self._home.place(
            Call({"entityName": config.get("entity"), "projectName": config.get("project")} | call)
        )
        key = hashlib.sha256(dump([entity, project, text]).encode()).digest()
        with self._lock:
            # The client asks again when it has not got the answer; it gets the sweep it made.
            known = self._untold.pop(key, None)
        if known is None:
            known = self._home.controller.create(
                config,
                project=project,
                entity=entity,
                name=call.get("displayName"),
                settings=_SETTINGS,
            ).id
            if call.get("priorRunsFilters"):
                wanted = Call(filters=call["priorRunsFilters"])
                runs = [run.id for run, _ in self._search.chosen(entity, project, wanted)]
                self._home.backend.update_sweep(known, meta={_PRIOR: runs})
        sweep_id = known
        call.lost.append(lambda: self._untold.__setitem__(key, sweep_id))
        return self._home.backend.sweep(sweep_id)

    def _change(self, call: Call) -> Sweep:
        sweep = self._home.sweep(call["id"])
        if call.get("config"):
            self._update(sweep, str(call["config"]))
        if call.get("displayName"):
            self._home.backend.update_sweep(sweep.id, name=str(call["displayName"]))
        if call.get("state"):
            self._command(sweep, str(call["state"]).upper())
        if call.get("controller"):
            self._steering.write(self._home.backend.sweep(sweep.id), call["controller"])
        return self._home.backend.sweep(sweep.id)

    def _command(self, sweep: Sweep, state: str) -> None:
        verb = _VERBS.get(state)
        if verb is None:
            raise InputError("no such state of a sweep", found=state, expected=", ".join(_VERBS))
        if sweep.state.upper() != state:  # a request that is repeated changes nothing
            self._home.controller.sweep(sweep.id).command(verb)

    def _update(self, sweep: Sweep, text: str) -> None:
        config = dict(SweepConfig.from_yaml(text, "the sweep config"))
        if config == sweep.config and repr(config) == repr(sweep.config):
            return
        controller = self._home.controller
        changed = [
            key for key in {*config, *sweep.config} if config.get(key) != sweep.config.get(key)
        ]
        if sweep.meta.get(META) is not None and not set(changed) <= {*_FREE, "run_cap"}:
            started = controller.sweep(sweep.id).count
            if started:
                raise InputError(
                    "the search of a sweep that has begun cannot change",
                    path=", ".join(sorted(set(changed) - {*_FREE, "run_cap"})),
                    expected=f"other values of {', '.join(_FREE)} or run_cap alone",
                    hint="make a new sweep",
                )
            controller.check(config)
        self._home.backend.update_sweep(sweep.id, config=config)
        self._home.forget(sweep.id)
        if sweep.meta.get(META) is None:
            return
        if not set(changed) <= set(_FREE):
            if controller.sweep(sweep.id).count:
                controller.sweep(sweep.id).command("run_cap", number=config.get("run_cap"))
            else:
                controller.sweep(sweep.id).read_again()

    def _warnings(self, sweep: Sweep) -> list[str]:
        if sweep.meta.get(META) is None:
            return []
        warnings = []
        needs = self._home.controller.sweep(sweep.id).needs_checkpoints
        if needs:
            warnings.append(f"{needs}: run this sweep with `tune-bridge agent`")
        if _PRIOR in sweep.meta:
            warnings.append("the search does not learn from prior runs, which are shown alone")
        return warnings

    # Shown.

    def project(self, call: Call) -> dict[str, Any]:
        """A project: its runs and its sweeps."""
        name = call.get("name")
        entity, project = self._home.place(Call({"projectName": name} | call) if name else call)
        return self._project(entity, project, call)

    def projects(self, call: Call) -> dict[str, Any]:
        """The projects of an entity."""
        entity, _ = self._home.place(call)
        found = self._home.projects(entity)
        return page(
            found,
            call.get("first"),
            call.get("after"),
            lambda name: self._project(entity, name, call),
        )

    def upsert_project(self, call: Call) -> dict[str, Any]:
        """Makes a project."""
        name = call.get("name")
        entity, project = self._home.place(Call({"projectName": name} | call) if name else call)
        inserted = self._home.container(entity, project) is None
        self._home.container(entity, project, create=True)
        node = self._project(entity, project, call)
        return {"project": node, "model": node, "inserted": inserted}

    def _project(self, entity: str, project: str, call: Call) -> dict[str, Any]:
        home = self._home

        def run(call: Call) -> Any:
            found = home.run(entity, project, str(call.get("name") or call.get("runName") or ""))
            return None if found is None else self._runs.node(found, call)

        def sweep(call: Call) -> Any:
            try:
                found = home.sweep(call.get("sweepName", ""))
            except NotFoundError:
                return None
            return self.node(found, call)

        def sweeps(call: Call) -> Any:
            found = home.sweeps(entity, project)
            return page(
                found, call.get("first"), call.get("after"), lambda item: self.node(item, call)
            )

        return {
            **self._catalog.fields(entity, project),
            "__typename": "Project",
            "id": global_id("Project", entity, project),
            "internalId": str(number(entity, project)),
            "name": project,
            "entityName": entity,
            "entity": entity_node(entity),
            "createdAt": lambda _: iso(self._since(entity, project)),
            "description": "",
            "isBenchmark": False,
            "readOnly": False,
            "user": USER,
            "runCount": lambda call: self._search.count(entity, project, call),
            "runs": lambda call: self._search.listed(entity, project, call),
            "run": run,
            "bucket": run,
            "sweep": sweep,
            "sweeps": sweeps,
            "totalSweeps": lambda _: len(home.sweeps(entity, project)),
        }

    def _since(self, entity: str, project: str) -> float:
        found = self._home.sweeps(entity, project, containers=True)
        return found[-1].created_at if found else 0.0

    def node(self, sweep: Sweep, call: Call) -> dict[str, Any]:
        """What GraphQL shows of a sweep."""
        home = self._home
        counts = home.backend.counts([sweep.id]).get(sweep.id, {})

        def runs(call: Call) -> Any:
            return self._search.of_sweep(sweep, call, everything=is_local(sweep))

        def project(call: Call) -> Any:
            return self._project(sweep.entity, sweep.project, call)

        return {
            "__typename": "Sweep",
            "id": global_id("Sweep", sweep.id),
            "name": sweep.id,
            "displayName": sweep.name if sweep.name != sweep.id else None,
            "method": sweep.config.get("method"),
            "state": self._state(sweep, sum(counts.values())),
            "description": sweep.config.get("description"),
            "config": lambda _: to_yaml(sweep.config),
            "createdAt": iso(sweep.created_at),
            "updatedAt": iso(sweep.updated_at),
            "heartbeatAt": iso(sweep.updated_at),
            "earlyStopJobRunning": False,
            "bestLoss": lambda _: self._best(sweep),
            **self._steering.fields(sweep),
            "runCount": sum(counts.values()),
            "runCountExpected": lambda _: _expected(sweep),
            "runs": runs,
            "agents": lambda call: self._agents.listed(sweep, call),
            "agent": lambda call: self._agents.one(sweep, call),
            "project": project,
            "priorRuns": lambda call: self._prior(sweep, call),
        }

    def _state(self, sweep: Sweep, runs: int) -> str:
        """As at W&B a sweep that nobody has worked for is pending."""
        begun = runs or sweep.state != "running" or self._agents.any(sweep)
        return sweep.state.upper() if begun else "PENDING"

    def _prior(self, sweep: Sweep, call: Call) -> dict[str, Any]:
        found = []
        for run_id in sweep.meta.get(_PRIOR, ()):
            with contextlib.suppress(NotFoundError):  # deleted since
                found.append(self._home.backend.run(run_id))
        node = self._runs.node
        return page(found, call.get("first"), call.get("after"), lambda run: node(run, call))

    def _best(self, sweep: Sweep) -> float | None:
        metric = sweep.config.get("metric")
        if not isinstance(metric, dict) or not metric.get("name"):
            return None
        values = [
            value
            for value in self._search.values(sweep, str(metric["name"]))
            if isinstance(value, int | float) and math.isfinite(value)
        ]
        choose = max if metric.get("goal") == "maximize" else min
        return float(choose(values)) if values else None


def _expected(sweep: Sweep) -> int | None:
    """How many runs there will be, when the config says so."""
    cap = sweep.config.get("run_cap")
    caps = [cap] if isinstance(cap, int) else []
    if sweep.config.get("method") == "grid":
        experiment = SweepConfig(sweep.config).experiment
        if experiment.is_grid and experiment.num_samples is not None:
            caps.append(grid_size(experiment) * experiment.num_samples)
    return min(caps, default=None)
