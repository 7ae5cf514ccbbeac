"""Where the client's projects and runs live in a backend.

A run of a sweep is a run of that sweep. Runs that belong to no sweep live together, one sweep per
project holds them: it has no parameters, gives out nothing, and is no sweep for the client. A run
has the id that the client gave it; where another project has a run with that id, a derived one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from tune_bridge.backends.base import PutSweep, Run, Sweep
from tune_bridge.controller import Controller, SweepController
from tune_bridge.controller.state import RunState
from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.server.wandb.execute import Call
from tune_bridge.server.wandb.ids import derived, parts

__all__ = ["ENTITY", "PROJECT", "Driven", "Home", "run_name"]

ENTITY = "local"
PROJECT = "uncategorized"
_PROJECT_MARK = "wandb_project"
_LOGS_MARK = "wandb_logs"
_NAME = "wandb.name"
_PAGE = 500
_LONGEST = 128


def run_name(run: Run) -> str:
    """The id by which the client knows a run."""
    return str(run.meta.get(_NAME, run.id))


class Driven:
    """A run that a sweep's controller has given out, and that is not over.

    Args:
        sweep: The controller of its sweep.
        state: What that knows of it.
    """

    def __init__(self, sweep: SweepController, state: RunState) -> None:
        self.sweep = sweep
        self.state = state


class Home:
    """Finds and makes sweeps and runs by the names that the client uses.

    Args:
        controller: The sweeps.
    """

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.backend = controller.backend
        self._lock = threading.Lock()
        self._sweeps: dict[str, Sweep] = {}

    # Projects.

    def place(self, call: Call) -> tuple[str, str]:
        """The entity and the project that a call names, by whichever name."""
        entity = call.get("entityName") or call.get("entity") or ENTITY
        names = ("projectName", "modelName", "project")
        project = next((call[name] for name in names if call.get(name)), PROJECT)
        return check(entity, "entity"), check(project, "project")

    def container(
        self, entity: str, project: str, *, create: bool = False, log: bool = False
    ) -> Sweep | None:
        """The sweep that holds the runs of a project that belong to no sweep.

        Args:
            entity: The project's entity.
            project: Its name.
            create: Make it when there is none.
            log: The one for runs that are but logs of sweep-schedulers, which no list shows.
        """
        sweep_id = derived("logs" if log else "project", entity, project)
        with contextlib.suppress(NotFoundError):
            return self.of_run(sweep_id)
        if not create:
            return None
        now = time.time()
        sweep = Sweep(
            id=sweep_id,
            project=project,
            entity=entity,
            name=f"{project}: {'logs of schedulers' if log else 'runs outside of sweeps'}",
            config={"method": "random", "parameters": {}},
            created_at=now,
            updated_at=now,
            meta={_PROJECT_MARK: True, _LOGS_MARK: log},
        )
        self.backend.apply([PutSweep(sweep)])
        return self.backend.sweep(sweep_id)

    def sweeps(self, entity: str, project: str, *, containers: bool = False) -> list[Sweep]:
        """The sweeps of a project, newest first."""
        return [
            sweep
            for sweep in self._all(project)
            if sweep.entity == entity
            and not sweep.meta.get(_LOGS_MARK)
            and (containers or not is_container(sweep))
        ]

    def projects(self, entity: str) -> list[str]:
        """The projects of an entity that have a sweep or a run, newest first."""
        return list(dict.fromkeys(s.project for s in self._all(None) if s.entity == entity))

    def _all(self, project: str | None) -> Iterator[Sweep]:
        offset = 0
        while page := self.backend.sweeps(project=project, limit=_PAGE, offset=offset):
            offset += len(page)
            yield from page

    # Sweeps.

    def sweep(self, name: Any) -> Sweep:
        """A sweep by its id, by a path that ends with it, or by its GraphQL id.

        Raises:
            NotFoundError: There is none.
        """
        text = str(name)
        with contextlib.suppress(NotFoundError):
            text = parts("Sweep", text)[0]
        sweep = self.backend.sweep(text.rpartition("/")[2])
        if is_container(sweep):
            raise NotFoundError("no such sweep", found=repr(text))
        return sweep

    def of_run(self, sweep_id: str) -> Sweep:
        """A sweep whose entity, project and config are wanted; it may be a bit old."""
        found = self._sweeps.get(sweep_id)
        if found is None:
            found = self.backend.sweep(sweep_id)
            with self._lock:
                self._sweeps[sweep_id] = found
        return found

    def forget(self, sweep_id: str) -> None:
        """Reads a sweep anew the next time."""
        with self._lock:
            self._sweeps.pop(sweep_id, None)

    # Runs.

    def run(self, entity: str, project: str, name: str) -> Run | None:
        """The run of a project with this id."""
        for run_id in (name, derived("run", entity, project, name)):
            try:
                run = self.backend.run(run_id)
            except NotFoundError:
                continue
            sweep = self.of_run(run.sweep_id)
            if run_name(run) == name and (sweep.entity, sweep.project) == (entity, project):
                return run
        return None

    def existing(self, entity: str, project: str, name: str) -> Run:
        """The run of a project with this id.

        Raises:
            NotFoundError: There is none.
        """
        found = self.run(entity, project, name)
        if found is None:
            raise NotFoundError("no such run", found=f"{entity}/{project}/{name}")
        return found

    def stored(self, text: Any) -> Run:
        """A run by its GraphQL id.

        Raises:
            NotFoundError: There is none.
        """
        return self.backend.run(parts("Run", text)[0])

    def free_id(self, entity: str, project: str, name: str) -> str:
        """The id that a new run gets in the backend."""
        try:
            self.backend.run(name)
        except NotFoundError:
            return name
        return derived("run", entity, project, name)

    def new_meta(self, run_id: str, name: str) -> dict[str, Any]:
        """What is kept with a new run."""
        return {} if run_id == name else {_NAME: name}

    def driven(self, run: Run) -> Driven | None:
        """A run's controller, when that waits for what the run does."""
        sweep = self.of_run(run.sweep_id)
        if is_container(sweep):
            return None
        try:
            controller = self.controller.sweep(run.sweep_id)
        except InputError:  # a report of an experiment that runs elsewhere
            return None
        state = controller.state.runs.get(run.id)
        if state is None or (state.status == "over" and state.state != "crashed"):
            return None
        return Driven(controller, state)


def is_container(sweep: Sweep) -> bool:
    """Whether a sweep only holds the runs of a project."""
    return bool(sweep.meta.get(_PROJECT_MARK))


def check(name: Any, what: str) -> str:
    """A name that can stand in an address.

    Raises:
        InputError: It cannot.
    """
    text = str(name)
    if not text or len(text) > _LONGEST or not text.isprintable() or set(text) & set("/\\#?%:"):
        raise InputError(
            f"no name for a {what}",
            found=repr(text[:200]),
            expected=f"at most {_LONGEST} characters, none of / \\ # ? % :",
        )
    return text
