"""What Ray's schedulers see of a controller, without one: trials, their states, and what is asked.

Schedulers are told the events of `tune_bridge.engines.parts.Judge` in the order in which Ray's own
controller tells them (``ray.tune.execution.tune_controller``, 2.60). What they do to trials by
themselves (`Stage.stop_trial` on paused ones, `Stage.pause_trial` with a new configuration) is
noted, for the judge to say as actions.

Trials are Ray's, as stubs: no trainable, no folder, no cluster. A checkpoint is a reference.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple, cast

from ray.train._internal.session import _FutureTrainingResult, _TrainingResult
from ray.tune.experiment import Trial
from ray.tune.experiment.trial import _TemporaryTrialState

from tune_bridge.engines.base import Checkpoint

__all__ = ["Ask", "HostedTrial", "Saved", "Stage"]

_schedulers = logging.getLogger("ray.tune.schedulers")
if _schedulers.level == logging.NOTSET:
    _schedulers.setLevel(logging.WARNING)  # each perturbation is an INFO of several lines


class Saved(NamedTuple):
    """A run's latest checkpoint, with the run that is to be copied (it may have copied itself)."""

    run: str
    checkpoint: Checkpoint

    def result(self) -> _TrainingResult:
        """In the form in which Ray keeps it."""
        metrics = {"trial_id": self.run, "training_iteration": self.checkpoint.iteration}
        return _TrainingResult(cast("Any", self), metrics)


class Ask(_FutureTrainingResult):
    """A save that a scheduler asked for: what the run had saved by then.

    When there was nothing, or a checkpoint follows alone because the run is being paused, that one
    counts: it is the one that was asked for.
    """

    def __init__(self, saved: Saved | None) -> None:
        self.saved = saved

    def resolve(self, block: bool = True) -> _TrainingResult | None:
        """The checkpoint as Ray keeps it, or None when there is none."""
        return None if self.saved is None else self.saved.result()


class HostedTrial(Trial):
    """A trial that stays in the state that it is in when it is pickled, and notes changes.

    Attributes:
        replaced: The configuration before a scheduler's change; None while there was none.
        ask: The last save that a scheduler asked for.
    """

    def __init__(self, run: str, config: dict[str, Any], stage: Stage) -> None:
        super().__init__("run", trial_id=run, experiment_tag=run, stub=True)
        self.config = config
        self.stage = stage
        self.replaced: dict[str, Any] | None = None
        self.ask: Ask | None = None

    def set_config(self, config: dict[str, Any]) -> None:
        """See Ray."""
        if self.replaced is None:
            self.replaced = self.config
            self.stage.changed.append(self)
        self.config = config

    def set_status(self, status: str) -> None:
        """See Ray; without a clock."""
        self.status = status

    @property
    def over(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self.status in (Trial.TERMINATED, Trial.ERROR)

    @property
    def _manager(self) -> Any:
        return self.run_metadata.checkpoint_manager

    @property
    def saved(self) -> Saved | None:
        """The checkpoint that it goes on from."""
        result = self._manager._latest_checkpoint_result
        return None if result is None else cast("Saved", result.checkpoint)

    def save(self, checkpoint: Checkpoint, *, asked: bool = False) -> None:
        """Notes the run's latest checkpoint.

        Args:
            checkpoint: It.
            asked: It came alone, not with a report.
        """
        saved = Saved(self.trial_id, checkpoint)
        if saved != self.saved:
            self._manager._latest_checkpoint_result = saved.result()
        if self.ask is not None and (asked or self.ask.saved is None):
            self.ask.saved = saved

    def reported(self, result: dict[str, Any]) -> None:
        """Notes the last result, as far as schedulers look at it (for their policies)."""
        iteration = result.get("training_iteration", 0)
        self.run_metadata.last_result = {
            "trial_id": self.trial_id,
            "training_iteration": iteration,
        }

    def restore(self) -> None:
        """Starts from its latest checkpoint, when it has one."""
        if (saved := self.saved) is None:
            return
        self.run_metadata.last_result = self._manager._latest_checkpoint_result.metrics
        self._manager._latest_checkpoint_result = saved._replace(run=self.trial_id).result()

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        del state["temporary_state"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.temporary_state = _TemporaryTrialState()  # type: ignore[no-untyped-call]


class _Search:
    """What HyperBandForBOHB tells its searcher, for whichever there is."""

    def __init__(self, live: Any) -> None:
        self.live = live

    @property
    def searcher(self) -> _Search:
        return self

    def on_pause(self, trial_id: str) -> None:
        self._tell("on_pause", trial_id)

    def on_unpause(self, trial_id: str) -> None:
        self._tell("on_unpause", trial_id)

    def _tell(self, hook: str, trial_id: str) -> None:
        if hasattr(self.live, hook):
            getattr(self.live, hook)(trial_id)


class Stage:
    """The controller, as far as schedulers use it.

    Args:
        scheduler: Who is told when another trial is stopped.
        live: The searcher of Ray Tune beside it, or None.
        hide_waiting: Trials that wait for their first place are no reason to give one's own up.

    Attributes:
        trials: All, in the order of addition; one that is tried again goes to the end.
        stopped: Paused or waiting trials that the scheduler has stopped since this was emptied.
        changed: Trials whose configuration it has changed since this was emptied.
    """

    def __init__(self, scheduler: Any, live: Any = None, *, hide_waiting: bool = False) -> None:
        self.scheduler = scheduler
        # Only who is told of pauses is kept: Ray's generator of grids cannot be pickled from here.
        self.search_alg = _Search(live if hasattr(live, "on_pause") else None)
        self.hide_waiting = hide_waiting
        self.trials: list[HostedTrial] = []
        self.by_run: dict[str, HostedTrial] = {}
        self.stopped: list[HostedTrial] = []
        self.changed: list[HostedTrial] = []
        self._live: dict[HostedTrial, None] = {}

    # What schedulers call

    def get_trials(self) -> list[HostedTrial]:
        """All trials."""
        return self.trials

    def get_live_trials(self) -> list[HostedTrial]:
        """Those that are not over. Ray counts failed ones, for which all others then wait."""
        hidden = (Trial.PENDING,) if self.hide_waiting else ()
        return [trial for trial in self._live if trial.status not in hidden]

    def stop_trial(self, trial: HostedTrial) -> None:
        """Stops another trial than the one that has reported."""
        if not trial.over:
            self.scheduler.on_trial_remove(self, trial)
            self.close(trial, Trial.TERMINATED)
            self.stopped.append(trial)

    def pause_trial(self, trial: HostedTrial, should_checkpoint: bool = True) -> None:
        """Takes a trial's place away; its configuration and checkpoint change next."""
        trial.set_status(Trial.PAUSED)

    def _schedule_trial_save(self, trial: HostedTrial, result: Any = None) -> Ask:
        trial.ask = Ask(trial.saved)
        return trial.ask

    # What the judge calls

    def add(self, run: str, config: dict[str, Any]) -> HostedTrial:
        """A trial, new or once more, at the end."""
        if run in self.by_run:
            trial = self.by_run[run]
            self.trials.remove(trial)
            trial.config = config
        else:
            trial = self.by_run[run] = HostedTrial(run, config, self)
        self.trials.append(trial)
        trial.set_status(Trial.PENDING)
        self._live[trial] = None
        return trial

    def close(self, trial: HostedTrial, status: str) -> None:
        """A trial is over."""
        trial.set_status(status)
        self._live.pop(trial, None)

    @property
    def live(self) -> list[HostedTrial]:
        """Trials that are not over."""
        return list(self._live)
