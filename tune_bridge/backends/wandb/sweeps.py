"""The sweeps of W&B, by our ids and by theirs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import msgspec

from tune_bridge.backends import codec
from tune_bridge.backends.base import Sweep
from tune_bridge.backends.wandb import records
from tune_bridge.backends.wandb.door import Door
from tune_bridge.backends.wandb.place import WandbPlace
from tune_bridge.errors import NotFoundError

__all__ = ["Sweeps"]

_DEFAULT_ENTITY = "local"
_DEFAULT_PROJECT = "uncategorized"
_PAGE = 100

_FIELDS = "id name displayName state description config createdAt updatedAt heartbeatAt runCount"
_ONE = f"""query TuneBridgeSweep($entity: String, $project: String, $sweep: String!) {{
  project(name: $project, entityName: $entity) {{
    sweep(sweepName: $sweep) {{ {_FIELDS} project {{ name entity {{ name }} }} }} }} }}"""
_ALL = f"""query TuneBridgeSweeps($entity: String, $project: String, $first: Int, $after: String) {{
  project(name: $project, entityName: $entity) {{
    sweeps(first: $first, after: $after) {{
      edges {{ node {{ {_FIELDS} }} }} pageInfo {{ endCursor hasNextPage }} }} }} }}"""
_UPSERT = """mutation UpsertSweep($id: ID, $config: String, $description: String,
    $entityName: String, $projectName: String, $displayName: String, $state: String) {
  upsertSweep(input: {id: $id, config: $config, description: $description, entityName: $entityName,
      projectName: $projectName, displayName: $displayName, state: $state}) {
    sweep { id name project { name entity { name } } } configValidationWarnings } }"""

_STEERING = """query TuneBridgeSteering($entity: String, $project: String, $sweep: String!) {
  project(name: $project, entityName: $entity) { sweep(sweepName: $sweep) { scheduler } } }"""
_STEER = """mutation UpsertSweep($id: ID, $controller: JSONString, $entityName: String,
    $projectName: String) {
  upsertSweep(input: {id: $id, controller: $controller, entityName: $entityName,
      projectName: $projectName}) { sweep { name } } }"""


class _Place:
    """A sweep at W&B: its name there, its id of GraphQL, and what it is."""

    def __init__(self, node: dict[str, Any], sweep: Sweep) -> None:
        self.name = str(node["name"])
        self.node_id = str(node["id"])
        self.own_id = records.said_of(node) or self.name
        self.sweep = sweep


class Sweeps:
    """Finds, makes and changes sweeps.

    Args:
        door: The server.
        place: The entity and project where sweeps are that name none.
    """

    def __init__(self, door: Door, place: WandbPlace) -> None:
        self._door = door
        self._place = place
        self._known: dict[str, _Place] = {}

    @property
    def project(self) -> str:
        """The project of the place."""
        return self._place.project or os.environ.get("WANDB_PROJECT") or _DEFAULT_PROJECT

    def _where(self, sweep: Sweep) -> tuple[str, str]:
        own = None if sweep.entity == _DEFAULT_ENTITY else sweep.entity
        project = None if sweep.project == _DEFAULT_PROJECT else sweep.project
        entity = self._place.entity or own or self._door.entity
        return entity, self._place.project or project or self.project

    def find(self, sweep: Sweep) -> Sweep | None:
        """The sweep at W&B that is this one, by its name there or by the id that it was put with.

        Raises:
            BackendError: W&B does not answer.
        """
        if sweep.id not in self._known:
            entity, project = self._where(sweep)
            if not self._look(sweep.id, entity, project):
                return None
        return self._known[sweep.id].sweep

    def get(self, sweep_id: str, *, fresh: bool = False) -> Sweep:
        """A sweep by its id, or by ``entity/project/id``.

        Raises:
            NotFoundError: There is none.
            BackendError: W&B does not answer.
        """
        if sweep_id not in self._known or fresh:
            known = self._known.get(sweep_id)
            *head, name = sweep_id.strip("/").split("/")
            entity = (
                known.sweep.entity if known else head[0] if len(head) > 1 else self._door.entity
            )
            project = known.sweep.project if known else head[-1] if head else self.project
            if not self._look(sweep_id, entity, project, known.name if known else name):
                raise NotFoundError(
                    "no such sweep at W&B",
                    found=f"{entity}/{project}/{name}",
                    expected="ENTITY/PROJECT/ID of a sweep that this key may read",
                )
        return self._known[sweep_id].sweep

    def name_of(self, sweep_id: str) -> str:
        """The id that a sweep has at W&B."""
        self.get(sweep_id)
        return self._known[sweep_id].name

    def own_id(self, sweep_id: str) -> str:
        """The id with which a sweep was put here, else the one that it has at W&B."""
        self.get(sweep_id)
        return self._known[sweep_id].own_id

    def node_of(self, sweep_id: str) -> str:
        """The id that GraphQL has for a sweep."""
        self.get(sweep_id)
        return self._known[sweep_id].node_id

    def id_of(self, run: Any) -> str:
        """The id of a run's sweep as it is known here; the empty text when it belongs to none."""
        name = str(run.sweep_name or "")
        known = (key for key, place in self._known.items() if place.name == name)
        return next(known, name)

    def _look(self, sweep_id: str, entity: str, project: str, name: str | None = None) -> bool:
        variables = {"entity": entity, "project": project, "sweep": name or sweep_id}
        found = (self._door.ask(_ONE, variables).get("project") or {}).get("sweep")
        if found is None:
            marked = (node for node in self._nodes(entity, project) if _is(node, sweep_id))
            found = next(marked, None)
        if found is None:
            return False
        self._keep(sweep_id, found, entity, project)
        return True

    def _keep(self, sweep_id: str, node: dict[str, Any], entity: str, project: str) -> None:
        at = node.get("project") or {}
        entity = (at.get("entity") or {}).get("name") or entity
        sweep = records.sweep_of(node, entity, at.get("name") or project)
        self._known[sweep_id] = _Place(node, msgspec.structs.replace(sweep, id=sweep_id))

    def _nodes(self, entity: str, project: str) -> Iterator[dict[str, Any]]:
        after = None
        while True:
            variables = {"entity": entity, "project": project, "first": _PAGE, "after": after}
            found = (self._door.ask(_ALL, variables).get("project") or {}).get("sweeps") or {}
            for edge in found.get("edges", ()):
                yield edge["node"]
            page = found.get("pageInfo") or {}
            after = page.get("endCursor")
            if not page.get("hasNextPage"):
                return

    def create(self, sweep: Sweep, entity: str | None = None, project: str | None = None) -> str:
        """Makes a sweep; it is known by its own id, and by the one that W&B gives it.

        Args:
            sweep: The sweep.
            entity: Instead of the place's, and the sweep's.
            project: Instead of the place's, and the sweep's.

        Returns:
            The id that W&B gives it.

        Raises:
            InputError: W&B refuses the config.
            BackendError: W&B does not answer.
        """
        where = self._where(sweep)
        entity = entity or where[0]
        project = where[1] if project in (None, _DEFAULT_PROJECT) else project
        made = self._door.ask(
            _UPSERT,
            {
                "config": records.config_text(sweep),
                "description": sweep.config.get("description"),
                "entityName": entity,
                "projectName": project,
                "displayName": sweep.name or None,
            },
        )["upsertSweep"]["sweep"]
        name = str(made["name"])
        for known in (name, sweep.id):
            if known:
                self._look(known, entity, project, name)
        return name

    def update(self, sweep_id: str, now: Sweep) -> None:
        """Writes what has changed in a sweep.

        Raises:
            InputError: W&B refuses it.
            BackendError: W&B does not answer.
        """
        old = self.get(sweep_id)
        changes: dict[str, Any] = {}
        state = records.SWEEP_STATES.get(now.state)
        if state is not None and state != records.SWEEP_STATES.get(old.state, "RUNNING"):
            changes["state"] = state
        if now.name and now.name != old.name:
            changes["displayName"] = now.name
        if now.message != old.message:
            changes["description"] = now.message
        if not records.same(codec.plain(now.config), old.config):
            changes["config"] = records.config_text(now)
        if changes:
            where = {
                "id": self.node_of(sweep_id),
                "entityName": old.entity,
                "projectName": old.project,
            }
            for name, value in changes.items():  # a config that is refused keeps no state away
                self._door.ask(_UPSERT, {**where, name: value})
        at = {"entity": old.entity, "project": old.project}
        self._known[sweep_id].sweep = msgspec.structs.replace(now, name=now.name or old.name, **at)

    def steering(self, sweep_id: str) -> dict[str, Any]:
        """What W&B answers to a local controller."""
        sweep = self.get(sweep_id)
        variables = {"entity": sweep.entity, "project": sweep.project}
        variables["sweep"] = self.name_of(sweep_id)
        found = (self._door.ask(_STEERING, variables).get("project") or {}).get("sweep") or {}
        said = json.loads(found.get("scheduler") or "{}")
        return said if isinstance(said, dict) else {}

    def steer_by(self, sweep_id: str, controller: str) -> None:
        """Writes what a local controller wants."""
        sweep = self.get(sweep_id)
        self._door.ask(
            _STEER,
            {
                "id": self.node_of(sweep_id),
                "controller": controller,
                "entityName": sweep.entity,
                "projectName": sweep.project,
            },
        )

    def listed(self, project: str | None) -> list[Sweep]:
        """The sweeps of a project, newest first."""
        entity, project = self._door.entity, project or self.project
        found = [records.sweep_of(node, entity, project) for node in self._nodes(entity, project)]
        return sorted(found, key=lambda sweep: -sweep.created_at)

    def runs(self, sweep_id: str) -> Iterator[Any]:
        """The runs of a sweep, as ``wandb.Api`` shows them, oldest first."""
        sweep = self.get(sweep_id)
        filters = {"$and": [{"sweep": self.name_of(sweep_id)}]}
        api = self._door.api
        with self._door.errors():
            yield from api.runs(
                f"{sweep.entity}/{sweep.project}",
                filters=filters,
                order="+created_at",
                per_page=_PAGE,
                lazy=False,
            )

    def run(self, entity: str, project: str, run_id: str) -> Any:
        """A run, as ``wandb.Api`` shows it; None when there is none."""
        from wandb.apis.public.runs import RunNotFoundError
        from wandb.errors import CommError

        api = self._door.api
        with self._door.errors():
            try:
                return api.run(f"{entity}/{project}/{run_id}")
            except RunNotFoundError:
                return None
            except CommError as error:
                if isinstance(error.exc, RunNotFoundError):
                    return None
                raise

    def version(self, sweep_id: str | None) -> str:
        """A text that changes with a sweep, or with the project's list of sweeps."""
        if sweep_id is None:
            nodes = self._nodes(self._door.entity, self.project)
            return repr(
                sorted((n["name"], n["state"], n["updatedAt"], n["runCount"]) for n in nodes)
            )
        try:
            sweep = self.get(sweep_id, fresh=True)
        except NotFoundError:
            return ""
        runs = [(run.id, run.state, run.heartbeatAt) for run in self.runs(sweep_id)]
        return repr((sweep.state, sweep.name, sweep.updated_at, runs))


def _is(node: dict[str, Any], sweep_id: str) -> bool:
    return node["name"] == sweep_id or records.said_of(node) == sweep_id
