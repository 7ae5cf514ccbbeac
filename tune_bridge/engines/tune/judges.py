"""One of Ray's schedulers as a judge."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, cast

from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    TrialScheduler,
)

from tune_bridge.engines.base import Action, Checkpoint, Exploit, Pause, Stop
from tune_bridge.engines.parts import Judge
from tune_bridge.engines.results import plain
from tune_bridge.engines.tune.driver import Ask, HostedTrial, Stage
from tune_bridge.engines.tune.reasons import Reasons, reasons_for
from tune_bridge.errors import InputError

__all__ = ["TuneJudge"]

_log = logging.getLogger("tune_bridge.engines")


class TuneJudge(Judge):
    """Asks one of Ray's schedulers.

    Reports that lack the metric or the scheduler's unit of time are no reports for it: programs say
    several metrics in several rows. It is logged, once. (Ray ends the experiment there.)

    Three things are better than in a Ray experiment, and happen only where one would hang: a
    bracket of HyperBand whose last missing run is lost after the first halving is processed, a
    synchronous population goes on when the last member that all wait for is lost, and a replay that
    has no checkpoint to change its configuration with does so when there is one.

    Args:
        kind: The scheduler's class name.
        scheduler: It, with its metric and mode.
        live: Ray's searcher that proposes, or None.
        needs: Names of what a report has to hold for the scheduler to be asked.
        ahead: See `Judge`.
        needs_checkpoints: See `Judge`.
        hide_waiting: See `Stage`.
    """

    def __init__(
        self,
        kind: str,
        scheduler: Any,
        *,
        live: Any = None,
        needs: tuple[str, ...] = (),
        ahead: int = 0,
        needs_checkpoints: str = "",
        hide_waiting: bool = False,
    ) -> None:
        self.kind = kind
        self.scheduler = scheduler
        self.stage = Stage(scheduler, live, hide_waiting=hide_waiting)
        self.needs = needs
        self.ahead = ahead
        self.needs_checkpoints = needs_checkpoints
        self.base: Any = getattr(scheduler, "_base_scheduler", scheduler)
        self.keeps_all = isinstance(self.base, MedianStoppingRule)
        self.reasons: Reasons = reasons_for(self.base, self.stage)
        self._pending: list[Action] = []
        self._left: HostedTrial | None = None
        self._replayed: set[str] = set()
        self._said: set[str] = set()

    # The contract

    def add(self, run: str, config: dict[str, Any]) -> None:
        """A trial is added."""
        trial = self._add(run, plain(config))
        config.clear()
        config.update(plain(trial.config))

    def choose(self) -> str | None:
        """The scheduler chooses; brackets may be halved by it."""
        chosen = self._choose_another() or self._choose()
        return None if chosen is None else str(chosen.trial_id)

    def start(self, run: str) -> None:
        """A trial runs, from its latest checkpoint."""
        trial = self.stage.by_run[run]
        trial.restore()
        trial.set_status(Trial.RUNNING)

    def saved(self, run: str, checkpoint: Checkpoint) -> None:
        """It is the one that the scheduler asked for, if it did."""
        trial = self.stage.by_run[run]
        if trial.saved is None or trial.saved.run == run:  # else it goes on from another's
            trial.save(checkpoint, asked=True)

    def checkpoints(self) -> set[str]:
        """Those of runs that are not over: populations copy no others."""
        found: list[Any] = []
        states = getattr(self.base, "_trial_state", {})
        for trial in self.stage.live:
            found += [trial.saved, trial.ask, getattr(states.get(trial), "last_checkpoint", None)]
        saved = [each.saved if isinstance(each, Ask) else each for each in found]
        return {each.checkpoint.id for each in saved if each is not None}

    def pending(self) -> tuple[Action, ...]:
        """What `choose` did."""
        told, self._pending = tuple(self._pending), []
        return told

    def judge(
        self, run: str, result: dict[str, Any], checkpoint: Checkpoint | None
    ) -> tuple[Action, ...]:
        """A trial has a result."""
        trial = self.stage.by_run[run]
        if checkpoint is not None:
            trial.save(checkpoint)
        decision = TrialScheduler.CONTINUE

        def ask() -> None:
            nonlocal decision
            decision = self.scheduler.on_trial_result(self.stage, trial, self._seen(result))

        actions = self._effects(trial, ask, result) if self._usable(trial, result) else []
        trial.reported(result)
        if decision == TrialScheduler.PAUSE:
            trial.set_status(Trial.PAUSED)
            self._left = trial
            reason, info = self.reasons.pause(trial, result)
            actions.append(Pause(run, reason, {"rule": self.kind, **info}))
        elif decision == TrialScheduler.STOP:
            reason, info = self.reasons.stop(trial, result)
            actions.append(Stop(run, reason, {"rule": self.kind, **info}))
            actions += self._close(trial, Trial.TERMINATED, result)
        return tuple(actions)

    def finish(self, run: str, result: Mapping[str, Any] | None) -> tuple[Action, ...]:
        """A trial is complete."""
        return tuple(self._close(self.stage.by_run[run], Trial.TERMINATED, result))

    def fail(self, run: str, *, retry: bool) -> tuple[Action, ...]:
        """A trial has an error, and is added again when it is tried again."""
        trial = self.stage.by_run[run]
        actions = self._close(trial, Trial.ERROR, None)
        if retry:
            self._add(run, trial.config)
        return tuple(actions)

    def remove(self, run: str) -> tuple[Action, ...]:
        """A trial is removed."""
        return tuple(self._close(self.stage.by_run[run], Trial.TERMINATED, None))

    # Inside

    def _choose(self) -> HostedTrial | None:
        chosen: list[Any] = []

        def choose() -> None:
            chosen.append(self.scheduler.choose_trial_to_run(self.stage))

        self._pending += self._effects(None, choose)
        return cast("HostedTrial | None", chosen[0])

    def _choose_another(self) -> HostedTrial | None:
        """Somebody else than the trial that has just given its place up.

        Ray chooses while that trial still saves and counts as running: otherwise the first in order
        would get its own place again and again.
        """
        left, self._left = self._left, None
        if left is None or left.status != Trial.PAUSED:
            return None
        left.set_status(Trial.RUNNING)
        try:
            return self._choose()
        finally:
            left.set_status(Trial.PAUSED)

    def _add(self, run: str, config: dict[str, Any]) -> HostedTrial:
        trial = self.stage.add(run, config)
        if run in self._replayed:
            return trial  # a replay that is tried again goes on where it was
        self._call(lambda: self.scheduler.on_trial_add(self.stage, trial))
        self.stage.changed.clear()
        trial.replaced = None
        if self.kind == "PopulationBasedTrainingReplay":
            self._replayed.add(run)
        return trial

    def _call(self, call: Callable[[], None]) -> None:
        """Calls the scheduler; functions of the user's may be inside."""
        try:
            call()
        except Exception as error:
            raise InputError(
                f"{self.kind} cannot go on",
                path="scheduler",
                found=f"{type(error).__name__}: {error}",
            ) from error

    def _usable(self, trial: HostedTrial, result: Mapping[str, Any]) -> bool:
        """Whether the scheduler can be asked about a report; says why not, once."""
        for name in self.needs:
            if not isinstance(result.get(name), int | float):
                self._say(f"{self.kind} passes over reports without a number for {name!r}")
                return False
        if self.kind == "PopulationBasedTrainingReplay" and trial.saved is None:
            self._say(f"{self.kind} waits for a checkpoint of run {trial.trial_id}")
            return False
        return True

    def _has_all(self, result: Mapping[str, Any] | None) -> bool:
        return result is not None and all(
            isinstance(result.get(name), int | float) for name in self.needs
        )

    def _seen(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """What the scheduler gets: the median rule keeps all reports, and looks at two numbers."""
        if self.keeps_all:
            return {name: result[name] for name in self.needs}
        return result if isinstance(result, dict) else dict(result)

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            _log.warning(text)

    def _close(
        self, trial: HostedTrial, status: str, result: Mapping[str, Any] | None
    ) -> list[Action]:
        """A trial is over: tells the scheduler in the way that its state asks for."""
        if trial.over:
            return []

        def tell() -> None:
            if trial.status != Trial.RUNNING:
                self.scheduler.on_trial_remove(self.stage, trial)
            elif self._has_all(result):
                self.scheduler.on_trial_complete(self.stage, trial, self._seen(result or {}))
            else:  # without a last result, MedianStoppingRule would fail at the next report
                self.scheduler.on_trial_error(self.stage, trial)
            self.stage.close(trial, status)

        return [*self._effects(None, tell), *self._effects(None, lambda: self._unblock(trial))]

    def _effects(
        self,
        reporting: HostedTrial | None,
        call: Callable[[], None],
        result: Mapping[str, Any] | None = None,
    ) -> list[Action]:
        """What a call of the scheduler did to trials by itself."""
        self.reasons.before(reporting, result)
        self._call(call)
        actions: list[Action] = []
        for trial in self.stage.stopped:
            reason, info = self.reasons.stop(trial, None)
            actions.append(Stop(trial.trial_id, reason, {"rule": self.kind, **info}))
        actions += [self._exploit(trial) for trial in self.stage.changed]
        self.stage.stopped.clear()
        self.stage.changed.clear()
        return actions

    def _exploit(self, trial: HostedTrial) -> Exploit:
        assert trial.saved is not None
        assert trial.replaced is not None
        old, new, donor = plain(trial.replaced), plain(trial.config), trial.saved
        trial.replaced = None
        reason, info = self.reasons.exploit(trial, donor.run, old, new)
        return Exploit(
            run=trial.trial_id,
            donor=donor.run,
            checkpoint=donor.checkpoint,
            old=old,
            new=new,
            reason=reason,
            info={"rule": self.kind, **info},
        )

    def _unblock(self, gone: HostedTrial) -> None:
        """Goes on where all that are left wait for a run that is gone.

        Ray never does: it processes a bracket of HyperBand after a loss before the first halving
        only (``is_being_processed`` stays set), and a population never.
        """
        if isinstance(self.base, HyperBandForBOHB):
            return  # it looks by itself when nothing runs
        if isinstance(self.base, HyperBandScheduler):
            bracket = self.base._trial_info[gone][0]
            left = bracket.current_trials()
            if left and all(
                trial.status == Trial.PAUSED and trial not in bracket.trials_to_unpause
                for trial in left
            ):
                self.base._process_bracket(cast("Any", self.stage), bracket)
        elif getattr(self.base, "_synch", False):
            self._unblock_population(self.stage.live)

    def _unblock_population(self, left: list[HostedTrial]) -> None:
        states, until = self.base._trial_state, self.base._next_perturbation_sync
        if not all(
            trial.status == Trial.PAUSED and states[trial].last_train_time >= until
            for trial in left
        ):
            return
        if last := [trial for trial in left if self._has_all(states[trial].last_result)]:
            trial = max(last, key=lambda one: states[one].last_train_time)
            self.base.on_trial_result(self.stage, trial, states[trial].last_result)
