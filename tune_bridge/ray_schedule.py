"""The scheduler that Ray Tune is given for an experiment: Ray's own, or W&B's rule as one of them.

Programs are processes, which go on after a pause only when they save checkpoints. So nothing is
paused here that need not be: MedianStoppingRule, which in Ray gives its place to any trial that
waits, does that only where ``min_time_slice`` asks for it (as with agents).
"""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    TrialScheduler,
)

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
    """Looks at a bracket again when one of its runs is lost after a halving.

    Ray 2.60 marks a bracket as being processed for good: when the last run that the others wait
    for fails, the paused ones wait for ever.
    """

    def _process_bracket(self, controller: Any, bracket: Any) -> str:
        try:
            return str(super()._process_bracket(controller, bracket))
        finally:
            bracket.is_being_processed = False


class _WatchfulForBOHB(_Watchful, HyperBandForBOHB):
    """The same for BOHB's."""


_BETTER: dict[type, type] = {
    HyperBandScheduler: _Watchful,
    HyperBandForBOHB: _WatchfulForBOHB,
    MedianStoppingRule: _Steady,
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
