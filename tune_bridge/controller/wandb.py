"""A sweep of W&B, steered by our engines: by Tune's searchers and schedulers.

W&B runs the agents and keeps the runs; this process looks at them every few seconds, tells the
engine what they report, and says what is to run and what is to stop. What the engine was told is
kept in a file, with the run that W&B gave for each of the engine's: a controller that is started
again tells a fresh engine all of it, and knows everything.

There are three doors (`door_of` says which one a sweep has):

* ``local``: the sweep says ``controller.type: local``. The schedule is written into the sweep; W&B
  searches nothing itself.
* ``scheduler``: the sweep has a ``scheduler`` key. W&B's own scheduler polls and enqueues, and asks
  our engine (`tune_bridge.controller.tune_optimizer`): not this module's affair.
* ``enqueue``: any other sweep. Runs are enqueued (``Sweep.enqueue_run``); W&B's own search stays
  out of it only with ``method: custom``.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from tune_bridge.backends import places
from tune_bridge.backends.base import ENDED_RUN, ENDED_SWEEP, Row, Run
from tune_bridge.backends.wandb.backend import WandbBackend
from tune_bridge.engines import chosen_seed, make_engine
from tune_bridge.engines.base import (
    Action,
    Asked,
    Done,
    Ended,
    EndState,
    Engine,
    Event,
    Start,
    Stop,
    StopAll,
    Told,
    Wait,
)
from tune_bridge.errors import BackendError, InputError, UnsupportedError
from tune_bridge.experiment import Experiment
from tune_bridge.sweep_config import SweepConfig

__all__ = [
    "Door",
    "Outcome",
    "Progress",
    "WandbController",
    "door_of",
    "pauseless_engine",
    "searched",
]

Door = Literal["local", "enqueue", "scheduler"]

_APPEARS = 60.0
"""Seconds for a run that was scheduled to appear at W&B."""


def door_of(config: Mapping[str, Any]) -> tuple[Door, str]:
    """By which door a sweep is steered, and why."""
    controller = config.get("controller")
    if isinstance(controller, Mapping) and controller.get("type") == "local":
        return "local", "the sweep has controller.type local: W&B searches nothing itself"
    if config.get("scheduler"):
        return "scheduler", "the sweep has a scheduler: W&B's own one asks our engine"
    if config.get("method") == "custom":
        return "enqueue", "the sweep has method custom: W&B runs what is enqueued"
    return "enqueue", (
        f"the sweep is W&B's own: runs are enqueued, and W&B's method {config.get('method')} goes "
        "on beside them; with method custom it would not"
    )


def pauseless_engine(experiment: Experiment, sweep_id: str, seed: int, path: str) -> Engine:
    """The engine of a sweep that W&B's agents run.

    Args:
        experiment: What the sweep says.
        sweep_id: Its id for the engine.
        seed: Of the engine.
        path: The sweep, in messages.

    Raises:
        UnsupportedError: The engine pauses runs, which W&B's agents cannot.
    """
    engine = make_engine(experiment, sweep_id=sweep_id, seed=seed)
    if engine.needs_checkpoints:
        raise UnsupportedError(
            f"W&B's agents cannot pause a run: {engine.needs_checkpoints}",
            path=path,
            hint="let our agents run it: tune-bridge sweep FILE, tune-bridge agent ID",
        )
    return engine


class Progress(msgspec.Struct, frozen=True):
    """How far a sweep is.

    Attributes:
        started: Runs that the engine has proposed.
        live: Of these, the ones that are not over.
        ended: The ones that are, by state.
        said: What was just done, for people.
    """

    started: int
    live: int
    ended: dict[str, int]
    said: str


class Outcome(msgspec.Struct, frozen=True):
    """How it ended.

    Attributes:
        reason: Why.
        finished: The engine has nothing more to do.
        runs: Runs that were started.
        ended: Runs that are over, by state.
    """

    reason: str
    finished: bool
    runs: int
    ended: dict[str, int]


class _Mapped(msgspec.Struct, frozen=True, tag_field="event", tag="map"):
    """W&B has a run for one of the engine's."""

    run: str
    wandb: str


class _Begun(msgspec.Struct, frozen=True, tag_field="event", tag="begin"):
    """The first line of a log."""

    seed: int
    about: str


_Line = Asked | Told | Ended | _Mapped | _Begun


class _Life:
    """A run of the engine at W&B.

    Attributes:
        id: The engine's id.
        config: Its parameters.
        wandb: The run at W&B, or None as long as there is none.
        step: The last step that was looked at.
        held: Values without the metric, for the next result.
        state: How it ended, or None.
    """

    __slots__ = ("config", "held", "id", "state", "step", "wandb")

    def __init__(self, run: str, config: dict[str, Any]) -> None:
        self.id, self.config = run, config
        self.wandb: str | None = None
        self.step = -1
        self.held: dict[str, Any] = {}
        self.state: str | None = None


class WandbController:
    """Steers one sweep.

    Args:
        backend: W&B.
        sweep_id: The sweep, as ``entity/project/id`` or by its id.
        ahead: Runs that wait for an agent, at most; one by the local controller.
        most: Runs at once, at most.
        seed: Of the engine; a fresh one without. A controller that goes on has its own.
        folder: Where the log is kept; in the package's home without.
        tell: Called after every change.

    Raises:
        NotFoundError: There is no such sweep.
        UnsupportedError: The sweep cannot be steered from here, or no engine does what it says.
    """

    def __init__(
        self,
        backend: WandbBackend,
        sweep_id: str,
        *,
        ahead: int = 1,
        most: int | None = None,
        seed: int | None = None,
        folder: Path | None = None,
        tell: Callable[[Progress], None] | None = None,
    ) -> None:
        self._backend, self._tell = backend, tell
        sweep = backend.sweep(sweep_id)
        self.sweep_id = sweep_id
        self.path = backend.path(sweep_id)
        self.door, self.why = door_of(sweep.config)
        if self.door == "scheduler":
            raise UnsupportedError(
                "this sweep is driven by W&B's own scheduler",
                path=self.path,
                hint="tune_bridge.controller.tune_optimizer.run_scheduler drives it",
            )
        self._ahead = 1 if self.door == "local" else ahead
        self._most = most
        self._experiment = SweepConfig(searched(sweep.config)).experiment
        objective = self._experiment.objective
        self._metric = None if objective is None else objective.name
        about = hashlib.sha256(json.dumps(sweep.config, sort_keys=True).encode()).hexdigest()
        name = hashlib.sha256(f"{backend.door.server}/{self.path}".encode()).hexdigest()[:16]
        folder = folder or places.home() / "controllers"
        self._log = folder / f"{self.path.rpartition('/')[2]}-{name}.jsonl"
        lines = self._read(about)
        begun = lines[0] if lines else None
        known = begun.seed if isinstance(begun, _Begun) else seed
        self._seed = chosen_seed(self._experiment, known)
        self.engine: Engine = pauseless_engine(
            self._experiment, backend.own_id(sweep_id), self._seed, self.path
        )
        self._lives: dict[str, _Life] = {}
        self._time = 0.0
        self._done = ""
        self._stops: list[str] = []
        self._waits = False
        self.known = len(lines)
        """Lines of the log that were there: more than none when it goes on."""
        if lines:
            self._replay(lines[1:])
        else:
            self._write(_Begun(self._seed, about))

    # The log.

    def _read(self, about: str) -> list[_Line]:
        try:
            text = self._log.read_text()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # a line that a crash cut off: it was not acted on
            os.truncate(self._log, len(whole.encode()))
        decoder = msgspec.json.Decoder(_Line)
        lines: list[_Line] = []
        for line in whole.splitlines():
            try:
                lines.append(decoder.decode(line))
            except msgspec.MsgspecError as error:
                raise InputError(
                    "the log of this controller cannot be read",
                    path=str(self._log),
                    found=str(error),
                    hint="remove it to begin anew",
                ) from None
        if lines and (not isinstance(lines[0], _Begun) or lines[0].about != about):
            raise InputError(
                "the sweep has another config now than when it was begun to be steered",
                path=self.path,
                hint=f"remove {self._log} to begin anew",
            )
        return lines

    def _write(self, line: _Line) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab", buffering=0) as file:
            file.write(msgspec.json.encode(line) + b"\n")
            os.fsync(file.fileno())

    def _replay(self, lines: list[_Line]) -> None:
        for line in lines:
            if isinstance(line, _Mapped):
                if line.run in self._lives:
                    self._lives[line.run].wandb = line.wandb
            elif not isinstance(line, _Begun):
                self._take(line)

    def _do(self, event: Asked | Told | Ended) -> Any:
        """Tells the engine something, once it is written down."""
        self._write(event)
        return self._take(event)

    def _take(self, event: Event) -> Any:
        self._time = max(self._time, event.time)
        answer = self.engine.handle(event)
        self._waits = isinstance(answer, Wait | Done)
        if isinstance(event, Told):
            step = event.result.get(_STEP)
            if isinstance(step, int):
                self._lives[event.run].step = step
        if isinstance(event, Ended):
            self._lives[event.run].state = event.state
        actions = getattr(answer, "actions", answer)
        self._act(actions if isinstance(actions, tuple) else ())
        if isinstance(answer, Start):
            self._lives[answer.run] = _Life(answer.run, answer.config)
        if isinstance(answer, Done):
            self._done = answer.reason
        return answer

    def _act(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            match action:
                case Stop(run=run, reason=reason):
                    life = self._lives[run]
                    life.state = "stopped"
                    self._stops.append(run)
                    self._say(f"stop {life.wandb or run}: {reason}")
                case StopAll(reason=reason):
                    for life in self._live():
                        life.state = "stopped"
                        self._stops.append(life.id)
                    self._done = reason

    # The work.

    def run(self, poll: float = 5.0, interrupted: threading.Event | None = None) -> Outcome:
        """Steers until the engine is done, the sweep is over, or somebody interrupts.

        Args:
            poll: Seconds between two looks at W&B.
            interrupted: Ends it when it is set; the sweep and its runs go on.

        Raises:
            BackendError: W&B does not answer at the first look; later it is waited for.
        """
        stop = interrupted or threading.Event()
        looked = False
        while not stop.is_set():
            try:
                over = self.step()
            except BackendError as error:
                if not looked:
                    raise
                self._say(f"{error}; trying again")
                over = None
            looked = True
            if over is not None:
                return over
            stop.wait(poll)
        return self._outcome("interrupted", finished=False)

    def step(self) -> Outcome | None:
        """One look at W&B, and what follows; the end, when this is it.

        Raises:
            BackendError: W&B does not answer.
        """
        sweep = self._backend.sweep(self.sweep_id)
        if sweep.state in ENDED_SWEEP:
            return self._outcome(f"the sweep is {sweep.state}", finished=False)
        runs = {run.id: run for run in self._backend.runs(self.sweep_id)}
        for life in [each for each in self._lives.values() if each.wandb is None]:
            self._start(life, runs)
        for life in self._live():
            self._look(life, runs.get(life.wandb or ""))
        self._stop_runs(runs)
        while sweep.state != "paused" and not self._done and self._room(runs):
            if self._waits:
                break  # until something happens
            answer = self._do(Asked(self._now()))
            if isinstance(answer, Start):
                self._start(self._lives[answer.run], runs)
        if self._done and not self._live() and not self._stops:
            self._finish()
            return self._outcome(self._done, finished=True)
        return None

    def _room(self, runs: Mapping[str, Run]) -> bool:
        live = self._live()
        begun = {run.id for run in runs.values() if run.state != "pending"}
        waiting = sum(life.wandb not in begun for life in live)
        return waiting < self._ahead and (self._most is None or len(live) < self._most)

    def _look(self, life: _Life, run: Run | None) -> None:
        """Tells the engine what a run has reported, and how it ended."""
        if run is None:
            return  # it has not appeared in the list yet
        if run.last_step > life.step:
            for row in self._backend.history(run.id, min_step=life.step + 1):
                self._report(life, row)
                if life.state is not None:
                    return
        if run.state in ENDED_RUN:
            state: EndState = run.state  # type: ignore[assignment]
            self._do(Ended(life.id, state, self._now(), run.message))
            self._say(f"run {run.id} {state}")

    def _report(self, life: _Life, row: Row) -> None:
        life.held.update(row.values)
        if self._metric is not None and self._metric not in life.held:
            return
        result, life.held = {**life.held, _STEP: row.step}, {}
        self._do(Told(life.id, result, self._now()))

    def _start(self, life: _Life, runs: dict[str, Run]) -> None:
        """Has W&B run it; one that was asked for before an interruption is found by its name."""
        name = f"{_NAME}{life.id}"
        found = next((run.id for run in runs.values() if run.name == name), None)
        if self.door == "local":
            life.wandb = found or self._schedule(life)
        else:
            life.wandb = found or self._enqueue(life, name)
        self._write(_Mapped(life.id, life.wandb))
        self._say(f"run {life.wandb}: {life.config}")

    def _enqueue(self, life: _Life, name: str) -> str:
        door = self._backend.door
        sweep = door.api.sweep(self.path)
        with door.errors():
            try:
                made = str(sweep.enqueue_run(life.config, name))
            except Exception as error:
                if type(error).__name__ != "UnsupportedError":
                    raise
                raise UnsupportedError(
                    "this W&B server takes no enqueued runs",
                    path=self.path,
                    hint="make the sweep with controller.type: local",
                ) from None
        return made

    def _schedule(self, life: _Life) -> str:
        entry = {"id": life.id, "data": {"args": _wrapped(life.config)}}
        self._put({"schedule": [entry]})
        until = time.monotonic() + _APPEARS
        while True:
            known = self._backend.steering(self.sweep_id).get("scheduled") or ()
            for each in known:
                if each.get("id") == life.id:
                    return str(each["runid"])
            if time.monotonic() > until:
                raise BackendError(f"{self.path}: W&B does not make the run that was scheduled")
            time.sleep(0.5)

    def _put(self, said: dict[str, Any]) -> None:
        self._backend.steer_by(self.sweep_id, json.dumps(said))

    def _stop_runs(self, runs: Mapping[str, Run]) -> None:
        """Tells W&B which runs are to stop; until they are over, at every look."""
        going = {run.id for run in runs.values() if run.state not in ENDED_RUN}
        self._stops = [each for each in self._stops if self._lives[each].wandb in going]
        wanted = [run for each in self._stops if (run := self._lives[each].wandb)]
        if not wanted:
            return
        if self.door == "local":
            self._put({"schedule": [], "earlystop": wanted})
            return
        for run in wanted:
            self._backend.stop_run(run)

    def _finish(self) -> None:
        if self.door == "local":
            self._put({"schedule": [{"id": f"{_NAME}end", "data": {"args": None}}]})
        self._backend.update_sweep(self.sweep_id, state="finished")

    def _live(self) -> list[_Life]:
        return [life for life in self._lives.values() if life.state is None]

    def _now(self) -> float:
        self._time = max(self._time, time.time())
        return self._time

    def _ended(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for life in self._lives.values():
            if life.state is not None:
                counts[life.state] = counts.get(life.state, 0) + 1
        return counts

    def _outcome(self, reason: str, *, finished: bool) -> Outcome:
        return Outcome(reason, finished, len(self._lives), self._ended())

    def _say(self, said: str) -> None:
        if self._tell is not None:
            self._tell(Progress(len(self._lives), len(self._live()), self._ended(), said))


_STEP = "_step"
_NAME = "tune-"


def _wrapped(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: {"value": value} for key, value in config.items()}


def searched(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without what says that somebody else searches.

    Raises:
        InputError: It does not say how it is searched.
    """
    found = {key: value for key, value in config.items() if key != "scheduler"}
    controller = found.get("controller")
    if isinstance(controller, Mapping):
        found["controller"] = {**controller, "type": "cloud"}
    carry = (controller or {}).get("tune")
    if found.get("method") == "custom" and isinstance(carry, Mapping):
        # The carry counts where the native keys are those that were written with it.
        found["method"] = "bayes" if "search_alg" in carry else "random"
    elif found.get("method") == "custom":
        raise InputError(
            "the sweep does not say how it is searched",
            path="method",
            found="custom",
            expected="a searcher under controller.tune, as tune-bridge convert writes it",
        )
    return found
