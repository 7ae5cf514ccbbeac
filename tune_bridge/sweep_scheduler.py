"""`SweepScheduler`: any scheduler of Ray, with its decisions explained and steered from outside.

    tune.run(train, scheduler=SweepScheduler(ASHAScheduler(...)), callbacks=[SweepCallback()])

It asks the scheduler that it is given, and nobody else: what that decides happens, in its order.
Around that it says why (rung, cut-off, rank), which `SweepCallback` keeps as events of the sweep,
and does what is asked of the sweep from the command line or a page: stop a run, pause, resume,
finish, cancel, another number of runs at once.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    FIFOScheduler,
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
    TrialScheduler,
    create_scheduler,
)
from ray.tune.schedulers.util import _set_search_properties_backwards_compatible

from tune_bridge.engines.tune.reasons import Reasons, reasons_for
from tune_bridge.tune_observer import source_of
from tune_bridge.wire import Command

__all__ = ["COMMANDED", "SweepScheduler"]

_logger = logging.getLogger(__name__)

COMMANDED = "stopped by command"
_PATIENCE = 10.0  # seconds that a trial may take to report, before it is ended without
_WAITING = (Trial.PENDING, Trial.PAUSED)
_OVER = (Trial.TERMINATED, Trial.ERROR)
_POPULATIONS = (PopulationBasedTraining, PopulationBasedTrainingReplay)


class SweepScheduler(TrialScheduler):
    """A scheduler of Ray that says why, and that can be told what to do.

    Args:
        scheduler: The one that decides: an object, or Ray's name of one; first in, first out
            without.

    Attributes:
        inner: The one that decides.
        reasons: Why trials were stopped, by trial.
        listener: Called with each decision: ``action`` (stop, pause), ``run`` (the trial), the
            reason for people, and the same as data.
        exploits: Reason and data of the last change of a trial's configuration, by trial.
        commanded: Trials that somebody has stopped.
        ending: The sweep's end that somebody wants: "", "stop" or "cancel".
        paused: Nothing begins or goes on.
        limit: How many trials may run at once; None for as many as Ray has room for.
        stop_program: Ends the program of a trial, wherever it runs; None for trainables of Ray.
    """

    words = COMMANDED

    def __init__(self, scheduler: TrialScheduler | str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if isinstance(scheduler, str):
            scheduler = create_scheduler(scheduler)
        self.inner: Any = scheduler or FIFOScheduler()  # type: ignore[no-untyped-call]
        self.reasons: dict[str, str] = {}
        self.exploits: dict[str, tuple[str, dict[str, Any]]] = {}
        self.commanded: set[str] = set()
        self.ending = ""
        self.paused = False
        self.limit: int | None = None
        self.listener: Callable[[dict[str, Any]], None] | None = None
        self.stop_program: Callable[[str], None] | None = None
        self._kept: set[str] = set()
        self._silent: dict[str, float] = {}
        self._depth = 0
        self._stage = _Stage()
        self._why: Reasons | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state.update(listener=None, stop_program=None, _why=None, _stage=_Stage())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    # What Ray reads and sets.

    @property
    def _metric(self) -> Any:  # type: ignore[override]
        return self.inner._metric

    @property
    def metric(self) -> Any:
        """See Ray."""
        return self.inner.metric

    @property
    def supports_buffered_results(self) -> Any:
        """See Ray."""
        return self.inner.supports_buffered_results

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """See Ray."""
        given = self.inner.set_search_properties
        return bool(_set_search_properties_backwards_compatible(given, metric, mode, **spec))

    def debug_string(self) -> str:
        """See Ray."""
        return str(self.inner.debug_string())

    def save(self, checkpoint_path: str) -> None:
        """See Ray."""
        self.inner.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """See Ray."""
        self.inner.restore(checkpoint_path)

    # Ray's events.

    def on_trial_add(self, controller: Any, trial: Trial) -> None:
        """See Ray."""
        with self._asking(controller, None, None):
            self.inner.on_trial_add(controller, trial)

    def on_trial_error(self, controller: Any, trial: Trial) -> None:
        """See Ray."""
        with self._asking(controller, None, None):
            self.inner.on_trial_error(controller, trial)

    def on_trial_complete(self, controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """See Ray."""
        with self._asking(controller, None, None):
            self.inner.on_trial_complete(controller, trial, result)

    def on_trial_remove(self, controller: Any, trial: Trial) -> None:
        """See Ray. One that the scheduler itself stops, while it is asked, is a decision."""
        if self._depth:
            self._say("stop", trial, None)
            self.inner.on_trial_remove(controller, trial)
            return
        with self._asking(controller, None, None):
            self.inner.on_trial_remove(controller, trial)

    def on_trial_result(self, controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """What the scheduler decides."""
        if self._silent.pop(trial.trial_id, None) is not None:
            return str(TrialScheduler.STOP)
        with self._asking(controller, trial, result):
            decision = str(self.inner.on_trial_result(controller, trial, result))
        if decision in (TrialScheduler.STOP, TrialScheduler.PAUSE):
            self._say(decision.lower(), trial, result)
        return decision

    def choose_trial_to_run(self, controller: Any) -> Trial | None:
        """What the scheduler chooses."""
        with self._asking(controller, None, None):
            return self.inner.choose_trial_to_run(controller)  # type: ignore[no-any-return]

    # Why.

    @contextlib.contextmanager
    def _asking(
        self, controller: Any, trial: Trial | None, result: dict[str, Any] | None
    ) -> Iterator[None]:
        """The scheduler is asked; configurations that it changes are explained."""
        before: dict[Trial, dict[str, Any]] = {}
        deciding = getattr(self.inner, "_base_scheduler", self.inner)
        if not self._depth:
            self._stage.controller = controller
            if self._why is None or self._why.scheduler is not deciding:
                self._why = reasons_for(deciding, self._stage)  # type: ignore[arg-type]
            with contextlib.suppress(Exception):  # a reason is no reason to end a search
                self._why.before(trial, result)  # type: ignore[arg-type]
            if isinstance(deciding, _POPULATIONS):
                before = {each: each.config for each in controller.get_trials()}
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        for each, old in before.items():
            if each.config is not old:
                self._explain(each, old)

    def _explain(self, trial: Trial, old: dict[str, Any]) -> None:
        donor = (source_of(trial) or (trial.trial_id,))[0]
        with contextlib.suppress(Exception):
            assert self._why is not None
            self.exploits[trial.trial_id] = self._why.exploit(
                trial,  # type: ignore[arg-type]
                donor,
                old,
                trial.config,
            )

    def _say(self, action: str, trial: Trial, result: dict[str, Any] | None) -> None:
        reason, info = f"{action} by the scheduler", dict[str, Any]()
        own = getattr(self.inner, "reasons", {}).get(trial.trial_id)
        try:
            if own:
                reason = str(own)
            elif action == "stop":
                reason, info = self._why.stop(trial, result)  # type: ignore[union-attr,arg-type]
            else:
                reason, info = self._why.pause(trial, result)  # type: ignore[union-attr,arg-type]
        except Exception:  # as above
            _logger.debug("a decision could not be explained", exc_info=True)
        if action == "stop":
            self.reasons[trial.trial_id] = reason
        if self.listener is not None:
            said = {"action": action, "run": trial.trial_id, "reason": reason, "info": info}
            self.listener(said)

    # Commands.

    def command(self, controller: Any, command: Command, trial: Trial | None) -> str | None:
        """Does what somebody wants; to be called by the thread of the experiment.

        Args:
            controller: Ray's.
            command: What is wanted; `tune_bridge.controller.steering.VERBS` are known.
            trial: The trial that it names, or None.

        Returns:
            The sweep's new state; None when it stays as it is.
        """
        match command.verb:
            case "pause":
                self._gate(controller)
                self.paused = True
                return "paused"
            case "resume":
                self.paused = False
                return "running"
            case "concurrency":
                self._gate(controller)
                self.limit = command.args["number"]
            case "stop":
                paused, self.paused, self.ending = self.paused, False, "stop"
                running = (t for t in controller.get_trials() if t.status == Trial.RUNNING)
                self._kept = {each.trial_id for each in running}
                controller._search_alg.set_finished()
                return "running" if paused else None
            case "cancel":
                self.paused, self.ending = False, "cancel"
                controller.request_stop_experiment()
            case "stop_run" if trial is not None and trial.status not in _OVER:
                self._stop(controller, trial)
        return None

    def _stop(self, controller: Any, trial: Trial) -> None:
        self.commanded.add(trial.trial_id)
        if trial.status != Trial.RUNNING:
            controller.stop_trial(trial)
        elif self.stop_program is not None:
            self.stop_program(trial.trial_id)
        else:  # at its next report, in the common way
            self._silent[trial.trial_id] = time.monotonic() + _PATIENCE

    def step(self, controller: Any) -> None:
        """What a command has to do again and again; once per turn of Ray's loop."""
        if self.ending != "stop" and not self._silent:
            return
        now = time.monotonic()
        for trial in list(controller.get_live_trials()):
            run = trial.trial_id
            if self.ending == "stop" and trial.status in _WAITING and run not in self._kept:
                self._stop(controller, trial)
            elif trial.status == Trial.RUNNING and self._silent.get(run, now) < now:
                del self._silent[run]
                controller.stop_trial(trial)

    @staticmethod
    def _gate(controller: Any) -> None:
        if type(controller) is TuneController:
            controller.__class__ = _Gated  # it has the same state, and there is no other way in


class _Stage:
    """The trials, as `Reasons` finds them."""

    controller: Any = None

    @property
    def by_run(self) -> dict[str, Any]:
        return {trial.trial_id: trial for trial in self.controller.get_trials()}


class _Gated(TuneController):
    """Begins no trial while its scheduler is paused, and no more at once than that wants."""

    def _maybe_add_actors(self) -> None:
        scheduler: Any = self._scheduler_alg
        if scheduler.paused:
            return
        if scheduler.limit is None:
            super()._maybe_add_actors()
            return
        # One at a time, as the first part of Ray's own does it; the rest begins all that wait.
        trial = scheduler.choose_trial_to_run(self._wrapped())  # type: ignore[no-untyped-call]
        if trial is None:
            return
        busy = self._staged_trials | set(self._trial_to_actor)
        if trial in busy:
            self._maybe_reuse_cached_actor(trial)
        elif len(busy) < scheduler.limit:
            self._set_trial_status(trial, Trial.PENDING)
            self._staged_trials.add(trial)
            self._actor_cache.increase_max(trial.placement_group_factory)
            self._schedule_trial_actor(trial)
