"""What `tune_bridge.callback` is made of: a trial's record, its errors, and what a sweep has."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

from tune_bridge import tune_observer
from tune_bridge.backends import open_backend
from tune_bridge.backends.base import Backend, Run
from tune_bridge.errors import TuneBridgeError
from tune_bridge.trial import printable, run_id

__all__ = ["Exploit", "Record", "contained", "error_text", "exploit_of", "runs_of"]

_logger = logging.getLogger("tune_bridge.callback")
_MESSAGE = 8000  # characters of an error that are kept, the last ones

_Hook = TypeVar("_Hook", bound=Callable[..., None])


def contained(hook: _Hook) -> _Hook:
    """Keeps an exception away from Tune, which would abort the experiment; it is logged once."""

    @functools.wraps(hook)
    def call(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            hook(self, *args, **kwargs)
        except Exception as error:  # reporting must not end a search
            place = (hook.__name__, type(error))
            if place not in self._told:
                self._told.add(place)
                _logger.warning(
                    "the sweep misses something: %s failed; it is not said again",
                    hook.__name__,
                    exc_info=True,
                )

    return cast("_Hook", call)


class Record:
    """What the callback remembers of a trial.

    Attributes:
        run: The run's id.
        name: Of the trial, for people.
        next: The next free step.
        offset: Added to the steps of a program that counts from 0 again after a restart.
        tag: The experiment tag, which Tune changes with the configuration.
        source: Where the checkpoint is that was taken over from another trial, or None.
        config: The parameters as stored.
        lineage: Its configurations: since which step, and taken over from whom.
        state: The run's state as stored; "retried" while one waits that is to be tried again.
        natural: Why the trial ends at its last result, or None when the scheduler ended it.
        reason: Why the scheduler ended it, behind a colon, when that is known.
        program: It is a program, which reports rows of its own.
        stopped: The last result was marked as the last one.
        unwanted: Somebody has asked, where the sweep is shown, that it ends.
        where: Name and address of the machine that it was last on.
    """

    __slots__ = (
        "config",
        "lineage",
        "name",
        "natural",
        "next",
        "offset",
        "program",
        "reason",
        "run",
        "source",
        "state",
        "stopped",
        "tag",
        "unwanted",
        "where",
    )

    def __init__(self, run: str) -> None:
        self.run = run
        self.name = ""
        self.next = self.offset = 0
        self.tag: str | None = None
        self.source: str | None = None
        self.config: dict[str, Any] = {}
        self.lineage: list[dict[str, Any]] = []
        self.state = "pending"
        self.natural: str | None = None
        self.reason = ""
        self.where: tuple[Any, Any] = (None, None)
        self.program = self.stopped = self.unwanted = False


class Exploit(NamedTuple):
    """That a trial goes on with other values, or from another's state.

    Attributes:
        changes: Of its run.
        info: Both steps, and the other's values.
    """

    changes: dict[str, Any]
    info: dict[str, Any]


def exploit_of(
    record: Record, trial: Any, source: tuple[str, str] | None, sweep_id: str, now: float
) -> Exploit | None:
    """What a trial goes on with, and writes it down in its record; None when that is as before.

    Args:
        record: The trial's.
        trial: Tune's.
        source: See `tune_bridge.tune_observer.source_of`.
        sweep_id: The sweep.
        now: The time.
    """
    donor, name = source or (trial.trial_id, "")
    taken = f"{donor}/{name}"
    copied = donor != trial.trial_id and taken != record.source
    if not copied and trial.experiment_tag == record.tag:
        return None
    record.tag = trial.experiment_tag
    config = tune_observer.plain_config(trial.config)
    changed = {key: value for key, value in config.items() if record.config.get(key) != value}
    if not (changed or copied):
        return None
    exploit: dict[str, Any] = {"old": record.config, "new": config}
    took, info = "goes on with other values from", {}
    if copied:
        record.source = taken
        exploit["donor"] = run_id(sweep_id, donor)
        took = f"took over the state of run {exploit['donor']} before"
        info = tune_observer.copied(trial)
    if not record.lineage:
        record.lineage = [{"step": 0, "config": record.config}]
    since = {"step": record.next, "config": config, "time": now, "donor": exploit.get("donor")}
    record.lineage = [*record.lineage, since]
    record.config = config
    shown = ", ".join(f"{key}={value}" for key, value in changed.items())
    message = f"{took} step {record.next}" + (f": {shown}" if shown else "")
    meta = {"exploit": exploit, "lineage": record.lineage}
    return Exploit({"config": config, "message": message, "meta": meta}, info)


def error_text(trial: Any) -> str:
    """A trial's traceback, under the error that it ends with."""
    text = tune_observer.error_text(trial)[-_MESSAGE:]
    lines = [printable(line) for line in text.splitlines()]
    return "\n".join(lines if len(lines) == 1 else [*lines[-1:], *lines])


def runs_of(place: Backend | str | None, sweep_id: str, timeout: float) -> dict[str, Run]:
    """The runs that a sweep has already, by id; none when its backend does not say in time.

    Args:
        place: The backend, or where it is.
        sweep_id: The sweep.
        timeout: Seconds to wait.
    """
    found: dict[str, Run] = {}

    def read() -> None:
        try:
            backend = place if isinstance(place, Backend) else open_backend(place)
            try:
                found.update({run.id: run for run in backend.runs(sweep_id)})
            finally:
                if backend is not place:
                    backend.close()
        except TuneBridgeError as error:
            _logger.warning("what sweep %s has already is not known: %s", sweep_id, error)

    reader = threading.Thread(target=read, name="tune-bridge-recall", daemon=True)
    reader.start()
    reader.join(timeout)
    return dict(found)
