"""The scheduler that Ray Tune is given for an experiment: Ray's own, or W&B's rule as one of them.

Programs are processes, which go on after a pause only when they save checkpoints. So nothing is
paused here that need not be: MedianStoppingRule, which in Ray gives its place to any trial that
waits, does that only where ``min_time_slice`` asks for it (as with agents).
"""

from __future__ import annotations

from typing import Any, cast

from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.schedulers.pb2 import PB2

from tune_bridge.dialects.ray_tune.algorithms import write_scheduler
from tune_bridge.engines.base import Stop
from tune_bridge.engines.native import hyperband
from tune_bridge.engines.results import flatten
from tune_bridge.engines.tune.schedulers import build_scheduler, check_population, needs_checkpoints
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Notes

__all__ = ["Hyperband", "live"]


class Hyperband(FIFOScheduler):
    """W&B's early termination as a scheduler of Tune: `tune_bridge.engines.native.hyperband`.

    W&B looks at all running runs at each report. Tune asks about one trial at a time: one that is
    found to be bad by another's report ends with its own next one.

    Args:
        experiment: Its scheduler has the arguments, its objective the metric.

    Attributes:
        reasons: Why a trial was stopped, by trial.

    Raises:
        InputError: There is no metric, or no band.
    """

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._judge = hyperband.Hyperband(experiment)
        self._judged: dict[str, Any] = {}  # the last iteration that was
        self.reasons: dict[str, str] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Takes what Tune has; the experiment has said it already."""
        return True

    def on_trial_result(self, controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """STOP for a run that is below the threshold of its band, else CONTINUE."""
        run = trial.trial_id
        if run not in self._judged:
            self._judge.start(run)
        self._judged[run] = result.get("training_iteration")
        for action in self._judge.judge(run, flatten(result), None):
            if isinstance(action, Stop):
                self.reasons[action.run] = action.reason
        return str(TrialScheduler.STOP if run in self.reasons else TrialScheduler.CONTINUE)

    def on_trial_complete(self, controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Its values still count; a last one that was not judged does as well."""
        run = trial.trial_id
        new = self._judged.get(run) != result.get("training_iteration")
        self._judge.finish(run, {**flatten(result), "done": True} if new else None)

    def on_trial_error(self, controller: Any, trial: Trial) -> None:
        """Its values still count."""
        self._judge.fail(trial.trial_id, retry=False)

    def on_trial_remove(self, controller: Any, trial: Trial) -> None:
        """Its values still count."""
        self._judge.remove(trial.trial_id)


class _Steady(MedianStoppingRule):
    """Lets a trial go on while there are too few to compare it with, whoever waits."""

    def _on_insufficient_samples(self, controller: Any, trial: Trial, time: float) -> str:
        return str(TrialScheduler.CONTINUE)


class _Watchful(HyperBandScheduler):
    """Leaves no trial of a bracket behind.

    Ray 2.60 marks a bracket as being processed for good: when the last run that the others wait
    for fails, the paused ones wait for ever. And when the last run of a bracket ends, it ends those
    that are paused, but not one that still saves what it is paused with.
    """

    def _process_bracket(self, controller: Any, bracket: Any) -> str:
        try:
            return str(super()._process_bracket(controller, bracket))
        finally:
            bracket.is_being_processed = False

    def choose_trial_to_run(self, tune_controller: Any, *args: Any, **more: Any) -> Trial | None:
        """What Ray chooses, once those are ended that came to their pause too late."""
        for bracket in (bracket for band in self._hyperbands for bracket in band):
            if bracket is not None and bracket.finished():
                bracket.cleanup_full(tune_controller)
        base: Any = super()
        chosen: Trial | None = base.choose_trial_to_run(tune_controller, *args, **more)
        return chosen


class _WatchfulForBOHB(_Watchful, HyperBandForBOHB):
    """The same for BOHB's."""


class _Living:
    """A controller whose live trials are those that have not failed."""

    def __init__(self, controller: Any) -> None:
        self._controller = controller

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)

    def get_live_trials(self) -> list[Trial]:
        return [trial for trial in self._controller.get_live_trials() if not trial.is_finished()]


class _Together(PopulationBasedTraining):
    """A population in which nobody waits for a member that is lost, when it is synchronous.

    Ray 2.60 counts failed trials among those that live, so that all others, paused, wait for them
    for ever; and looks at the others only when one reports, which none does any more when the last
    one that all wait for is lost.
    """

    def on_trial_result(self, controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        living = controller if isinstance(controller, _Living) else _Living(controller)
        return str(super().on_trial_result(cast("Any", living), trial, result))

    def on_trial_error(self, controller: Any, trial: Trial) -> None:
        super().on_trial_error(controller, trial)
        self._go_on(controller, trial)

    def on_trial_complete(self, controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        super().on_trial_complete(controller, trial, result)
        self._go_on(controller, trial)

    def on_trial_remove(self, controller: Any, trial: Trial) -> None:
        super().on_trial_remove(controller, trial)
        self._go_on(controller, trial)

    def _go_on(self, controller: Any, gone: Trial) -> None:
        """Compares those that are left, if all of them wait."""
        if not self._synch:
            return
        living = _Left(controller, gone)
        left = living.get_live_trials()
        states, until = self._trial_state, self._next_perturbation_sync
        if not left or not all(
            trial.status == Trial.PAUSED and states[trial].last_train_time >= until
            for trial in left
        ):
            return
        last = max(left, key=lambda trial: states[trial].last_train_time)
        result: Any = states[last].last_result
        if result:
            self.on_trial_result(living, last, result)


class _Left(_Living):
    """The same without one that is going."""

    def __init__(self, controller: Any, gone: Trial) -> None:
        super().__init__(controller)
        self._gone = gone

    def get_live_trials(self) -> list[Trial]:
        return [trial for trial in super().get_live_trials() if trial is not self._gone]


class _TogetherPb2(_Together, PB2):
    """The same for PB2."""


_BETTER: dict[type, type] = {
    HyperBandScheduler: _Watchful,
    HyperBandForBOHB: _WatchfulForBOHB,
    MedianStoppingRule: _Steady,
    PopulationBasedTraining: _Together,
    PB2: _TogetherPb2,
}
"""Ray's class -> ours, which has the same state: there is no other way to be copied."""


def live(experiment: Experiment) -> Any:
    """The scheduler of an experiment; None for first in, first out.

    Metric and mode are left to ``tune.run``.

    Raises:
        SpecError: Arguments that Ray refuses.
        UnsupportedError: A population without an end, or beside a searcher.
        MissingExtraError: scikit-learn for PB2 is not installed.
    """
    scheduler = experiment.scheduler
    if scheduler is None:
        return None
    if scheduler.kind == "hyperband":
        return Hyperband(experiment)
    check_population(experiment)
    call = write_scheduler(scheduler, Notes())
    assert call is not None
    made = build_scheduler(call, scheduler.kind)
    deciding = getattr(made, "_base_scheduler", made)
    if not (type(deciding) is MedianStoppingRule and needs_checkpoints(scheduler)):
        deciding.__class__ = _BETTER.get(type(deciding), type(deciding))
    return made
