"""Why a scheduler of Ray decided as it did: a sentence for people, and the same as data.

Schedulers say nothing but the decision. What they looked at is read from them: before the call
where they change it (`Reasons.before`), after it otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
)

from tune_bridge.engines.results import plain
from tune_bridge.engines.tune.driver import HostedTrial, Stage

__all__ = ["Reasons", "reasons_for"]

Reason = tuple[str, dict[str, Any]]


class Reasons:
    """Reasons of a scheduler that is not known better.

    Args:
        scheduler: The one that decides.
        stage: Its trials.

    Attributes:
        afterwards: A stop can be explained without `before`, right after it.
        of_paused: That holds for trials as well that are stopped while they are paused.
    """

    afterwards = False
    of_paused = False

    def __init__(self, scheduler: Any, stage: Stage) -> None:
        self.scheduler = scheduler
        self.stage = stage

    @property
    def time(self) -> str:
        """The scheduler's unit of time."""
        return str(self.scheduler._time_attr)

    @property
    def metric(self) -> str:
        """What it compares."""
        return str(self.scheduler._metric)

    def place(self, result: Mapping[str, Any] | None) -> dict[str, Any]:
        """When a decision was taken, and on which value."""
        names = {"time_attr": self.time, "metric": self.metric}
        if result is None:
            return names
        return {**names, "time": result.get(self.time), "value": _said(result.get(self.metric))}

    def before(self, trial: HostedTrial | None, result: Mapping[str, Any] | None) -> None:
        """The scheduler is about to be called; `trial` has reported `result`."""

    def stop(self, trial: HostedTrial, result: Mapping[str, Any] | None) -> Reason:
        """Why a trial is stopped; no result when it is another than the one that reported."""
        return "stopped by the scheduler", {}

    def pause(self, trial: HostedTrial, result: Mapping[str, Any]) -> Reason:
        """Why the trial that has reported is paused."""
        return "paused by the scheduler", {}

    def exploit(
        self, trial: HostedTrial, donor: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Reason:
        """Why a trial goes on as another."""
        return f"goes on from run {donor}", {}


def _ranked(value: float, others: list[float]) -> tuple[int, int]:
    """Place of a value among all, best first (larger is better), and how many there are."""
    return 1 + sum(other > value for other in others), len(others) + 1


class _Asha(Reasons):
    afterwards = True

    def stop(self, trial: HostedTrial, result: Mapping[str, Any] | None) -> Reason:
        assert result is not None
        info, scheduler = self.place(result), self.scheduler
        if result[self.time] >= scheduler._max_t and scheduler._stop_last_trials:
            text = f"{self.time} {result[self.time]:g} has reached max_t {scheduler._max_t:g}"
            return text, {**info, "max_t": scheduler._max_t}
        run, sign = trial.trial_id, scheduler._metric_op
        bracket = scheduler._trial_info[run]
        rung, recorded = next(
            (milestone, values)
            for milestone, values in bracket._rungs
            if result[self.time] >= milestone and run in values
        )
        others = [value for other, value in recorded.items() if other != run]
        cutoff = sign * float(bracket.cutoff(dict(enumerate(others))))
        rank, count = _ranked(recorded[run], others)
        info |= {"rung": rung, "cutoff": _said(cutoff), "rank": rank, "of": count}
        info["bracket"] = scheduler._brackets.index(bracket)
        text = (
            f"{self.metric} {result[self.metric]:g} is worse than {cutoff:g}, "
            f"the best 1/{bracket.rf:g} at {self.time} {rung:g} (rank {rank} of {count})"
        )
        return text, info


class _Median(Reasons):
    afterwards = True

    def stop(self, trial: HostedTrial, result: Mapping[str, Any] | None) -> Reason:
        assert result is not None
        rule, time = self.scheduler, result[self.time]
        means = [
            rule._running_mean(other, time)
            for other in rule._trials_beyond_time(time)
            if other is not trial
        ]
        median = float(np.median([mean for mean in means if np.isfinite(mean)]))
        best = float(rule._best_result(trial))
        text = (
            f"its best {self.metric} {best:g} is worse than {median:g}, "
            f"the median of {len(means)} runs up to {self.time} {time:g}"
        )
        return text, {
            **self.place(result),
            "best": _said(best),
            "median": _said(median),
            "of": len(means),
        }

    def pause(self, trial: HostedTrial, result: Mapping[str, Any]) -> Reason:
        if trial in self.scheduler._stopped_trials:
            return self.stop(trial, result)
        text = "too few runs to compare with; gives its place to one that waits"
        return text, self.place(result)


class _HyperBand(Reasons):
    """Keeps what the brackets held before a call that may halve them.

    Afterwards, those that go on are still as they were compared, until one of them reports again.
    """

    afterwards = of_paused = True

    def __init__(self, scheduler: Any, stage: Stage) -> None:
        super().__init__(scheduler, stage)
        self._held: dict[int, tuple[float, dict[str, float]]] | None = None

    def before(self, trial: HostedTrial | None, result: Mapping[str, Any] | None) -> None:
        self._held = {}
        if trial is not None and result is not None:
            bracket = self.scheduler._trial_info[trial][0]
            if result[self.time] >= bracket._cumul_r:
                self._hold(self._held, bracket, {trial: result})
            return
        for band in self.scheduler._hyperbands:
            for bracket in band:
                if bracket is not None and bracket._live_trials:
                    self._hold(self._held, bracket, {})

    def _hold(self, held: dict[int, Any], bracket: Any, new: dict[Any, Any]) -> None:
        values = {
            trial.trial_id: self.scheduler._metric_op * told[self.metric]
            for trial, told in {**bracket._live_trials, **new}.items()
            if told is not None
        }
        held[id(bracket)] = (bracket._cumul_r, values)

    def _where(self, trial: HostedTrial) -> tuple[Any, dict[str, Any], dict[str, float]]:
        bracket, band = self.scheduler._trial_info[trial]
        milestone, values = (self._held or {}).get(id(bracket), (bracket._cumul_r, {}))
        index = self.scheduler._hyperbands[band].index(bracket)
        info = {"band": band, "bracket": index, "milestone": milestone}
        return bracket, info, values

    def stop(self, trial: HostedTrial, result: Mapping[str, Any] | None) -> Reason:
        bracket, info, values = self._where(trial)
        info = {**self.place(result), **info, "kept": bracket._n}
        if self._held is None:
            assert result is not None
            return self._afterwards(trial, result, bracket, info)
        at = f"{self.time} {info['milestone']:g}"
        others = [value for run, value in values.items() if run != trial.trial_id]
        value = values.get(trial.trial_id)
        if value is None:
            return f"its bracket ended at {at}", info
        info["value"] = _said(self.scheduler._metric_op * value)
        info["rank"], info["of"] = _ranked(value, others)
        if info["rank"] <= bracket._n:
            return f"its bracket ended at {at} (rank {info['rank']} of {info['of']})", info
        return f"rank {info['rank']} of {info['of']} at {at}; {bracket._n} go on", info

    def _afterwards(
        self, trial: HostedTrial, result: Mapping[str, Any], bracket: Any, info: dict[str, Any]
    ) -> Reason:
        if bracket._halves == 0 and result[self.time] >= bracket._cumul_r:
            return f"its bracket ended at {self.time} {bracket._cumul_r:g}", info
        sign, value = self.scheduler._metric_op, result[self.metric]
        others = [told for other, told in bracket._live_trials.items() if other is not trial]
        best = sorted((sign * told[self.metric] for told in others if told), reverse=True)
        if len(best) < bracket._n or best[bracket._n - 1] < sign * value:
            raise LookupError(f"trial {trial.trial_id} is not among the worst of its bracket")
        cutoff, milestone = sign * best[bracket._n - 1], _halved_at(bracket)
        info |= {"value": _said(value), "cutoff": _said(cutoff), "milestone": milestone}
        text = (
            f"{self.metric} {value:g} is not among the best {bracket._n} of its bracket at "
            f"{self.time} {milestone:g}, which go on; the last of them has {cutoff:g}"
        )
        return text, info

    def pause(self, trial: HostedTrial, result: Mapping[str, Any]) -> Reason:
        _, info, _ = self._where(trial)
        text = f"waits for the other runs of its bracket at {self.time} {info['milestone']:g}"
        return text, {**self.place(result), **info}


def _halved_at(bracket: Any) -> float:
    """The milestone that a bracket of HyperBand was halved at last.

    By ``ray.tune.schedulers.hyperband._Bracket.successive_halving``, which keeps the next one only.
    """
    time, number = bracket._r0, bracket._n0
    while True:
        following = (
            int(min(time * bracket._eta, bracket._max_t_attr)),
            math.ceil(number / bracket._eta),
        )
        if following == (bracket._r, bracket._n):
            return float(time)
        if following == (time, number):
            raise LookupError("the bracket was never halved")
        time, number = following


class _Population(Reasons):
    def pause(self, trial: HostedTrial, result: Mapping[str, Any]) -> Reason:
        info = {**self.place(result), "synch": self.scheduler._synch}
        if self.scheduler._synch:
            return f"waits for the population at {self.time} {result[self.time]:g}", info
        return "gives its place to another of the population", info

    def exploit(
        self, trial: HostedTrial, donor: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Reason:
        states, other = self.scheduler._trial_state, self.stage.by_run[donor]
        sign = self.scheduler._metric_op
        score, donor_score = (sign * states[one].last_score for one in (trial, other))
        quantile = self.scheduler._quantile_fraction
        mutated = self.scheduler._hyperparam_mutations
        changes = ", ".join(
            f"{name} {_short(other.config[name])} -> {_short(new[name])}"
            for name in mutated
            if name in new and name in other.config
        )
        text = (
            f"{self.metric} {score:g} is in the worst {quantile:.0%}; goes on from run {donor} "
            f"({donor_score:g})" + (f" with {changes}" if changes else "")
        )
        info = {
            **self.place(None),
            "score": _said(score),
            "donor_score": _said(donor_score),
            "quantile": quantile,
            "steps": [_step(trial), _step(other)],
            "donor_config": plain(other.config),
        }
        return text, info


class _Replay(Reasons):
    def exploit(
        self, trial: HostedTrial, donor: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Reason:
        step = self.scheduler._current_step
        return f"the policy changes the configuration at training_iteration {step}", {"step": step}


def _said(value: Any) -> Any:
    """A number that JSON knows; the name of another."""
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def _step(trial: HostedTrial) -> int:
    return int(trial.last_result.get("training_iteration", 0))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


_KINDS: tuple[tuple[type, type[Reasons]], ...] = (
    (AsyncHyperBandScheduler, _Asha),
    (MedianStoppingRule, _Median),
    (HyperBandScheduler, _HyperBand),
    (PopulationBasedTraining, _Population),
    (PopulationBasedTrainingReplay, _Replay),
)


def reasons_for(scheduler: Any, stage: Stage) -> Reasons:
    """Who knows a scheduler's reasons."""
    kind = next((ours for theirs, ours in _KINDS if isinstance(scheduler, theirs)), Reasons)
    return kind(scheduler, stage)
