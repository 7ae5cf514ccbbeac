"""Tune's searchers and schedulers inside of `wandb sweep-scheduler`.

A sweep with a ``scheduler`` key has W&B's own scheduler drive it: wandb-core polls and enqueues,
and an optimizer in this process proposes and prunes. W&B's command knows three of them, by name;
`run_scheduler` takes any. `TuneOptimizer` is one around our engines.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from wandb.sdk.sweeps.run_state import RunState
from wandb.sdk.sweeps.scheduler.optimizer import (
    Optimizer,
    RunConfig,
    RunSuggestion,
    RunWithMetrics,
    is_terminal_state,
)
from wandb.sdk.sweeps.scheduler.optimizer import Run as ActiveRun
from wandb.sdk.sweeps.sweep_info import SweepInfo

from tune_bridge.backends.wandb.backend import WandbBackend
from tune_bridge.controller.wandb import pauseless_engine
from tune_bridge.engines import chosen_seed
from tune_bridge.engines.base import Action, EndState, Start, Stop, StopAll, Wait
from tune_bridge.errors import BackendError, InputError
from tune_bridge.experiment import Experiment

__all__ = ["TuneOptimizer", "run_scheduler"]

_ENDS: dict[RunState, EndState] = {
    RunState.FINISHED: "finished",
    RunState.FAILED: "failed",
    RunState.KILLED: "killed",
    RunState.CRASHED: "crashed",
    RunState.PREEMPTED: "crashed",
}
_STEP = "_step"


class TuneOptimizer(Optimizer):
    """One of our engines, as W&B's scheduler asks it.

    Runs that were there before, because the scheduler was started again, are enqueued in the engine
    and told to it: they count for the run cap, and searchers learn from them.

    Args:
        sweep: The sweep, as W&B says it.
        experiment: What its config says.
        seed: Of the engine.

    Raises:
        UnsupportedError: The engine pauses runs, which W&B's agents cannot.
    """

    def __init__(self, sweep: SweepInfo, experiment: Experiment, seed: int) -> None:
        objective = experiment.objective
        self._metric = None if objective is None else objective.name
        self._hosted = pauseless_engine(experiment, sweep.id, seed, sweep.id)
        self._told: dict[str, float] = {}
        self._over: set[str] = set()
        self._stops: set[str] = set()
        self._all = False
        self._time = 0.0
        super().__init__(sweep)

    def validate_sweep_objective(self) -> None:
        """The engine is made from the sweep's own config."""

    def ask_n_runs(self, n: int) -> Sequence[RunSuggestion] | None:
        """Up to `n` runs; None when the searcher waits, none at all when it has no more."""
        found: list[RunSuggestion] = []
        while len(found) < n:
            answer = self._hosted.ask(time=self._now())
            if not isinstance(answer, Start):
                self._act(getattr(answer, "actions", ()))
                return None if isinstance(answer, Wait) and not found else found
            self._told[answer.run] = -math.inf
            found.append(RunSuggestion(RunConfig.from_values(answer.config), answer.run))
        return found

    def tell_run(self, run_id: Any, data: RunWithMetrics) -> None:
        """Tells the engine what is new of a run."""
        run = str(run_id)
        if run not in self._told or run in self._over:
            return
        for row in sorted(data.history_metrics, key=_step):
            if _step(row) > self._told[run]:
                self._told[run] = _step(row)
                self._report(run, row)
        if is_terminal_state(data.state):
            if self._told[run] == -math.inf:
                self._report(run, data.summary_metrics or {})
            self._over.add(run)
            self._act(self._hosted.end(run, _ENDS[data.state], time=self._now()))

    def _report(self, run: str, values: Mapping[str, Any]) -> None:
        if values and (self._metric is None or self._metric in values):
            self._act(self._hosted.tell(run, dict(values), time=self._now()))

    def tell_existing_finished_run(self, data: RunWithMetrics) -> None:
        """Lets the searcher learn from a run of before."""
        run = self._adopt(data)
        if run is not None:
            self.tell_run(run, data)

    def tell_existing_active_run(self, data: ActiveRun) -> Any:
        """Goes on with a run of before; None when it does not fit the space."""
        return self._adopt(data)

    def _adopt(self, data: ActiveRun) -> str | None:
        try:
            run = self._hosted.enqueue(data.config.flat_dict(), time=self._now())
        except InputError:
            return None
        answer = self._hosted.ask(time=self._now())
        if not isinstance(answer, Start) or answer.run != run:
            return None
        self._told[run] = -math.inf
        return run

    def prune_run(self, run_id: Any, data: RunWithMetrics) -> bool:
        """Whether the engine has stopped it."""
        return str(run_id) in self._stops

    def has_terminator(self) -> bool:
        """Stoppers and targets end a sweep."""
        return True

    def should_terminate_sweep(self) -> bool:
        """Whether the engine has ended the sweep."""
        return self._all

    def _act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Stop):
                self._stops.add(action.run)
                self._over.add(action.run)
            elif isinstance(action, StopAll):
                self._all = True

    def _now(self) -> float:
        self._time = max(self._time, time.time())
        return self._time


def _step(row: Mapping[str, Any]) -> float:
    step = row.get(_STEP)
    return float(step) if isinstance(step, int | float) else -math.inf


def run_scheduler(
    backend: WandbBackend,
    path: str,
    experiment: Experiment,
    *,
    most: int = 10,
    poll: float = 10.0,
    seed: int | None = None,
) -> str:
    """Drives a sweep by W&B's own scheduler until it stops.

    Args:
        backend: W&B.
        path: The sweep, as ``entity/project/id``.
        experiment: What its config says.
        most: Runs in flight at once.
        poll: Seconds between two looks at W&B, not below about five.
        seed: Of the engine; a fresh one without.

    Returns:
        Why it stopped, in W&B's words.

    Raises:
        BackendError: The scheduler failed.
        UnsupportedError: The engine pauses runs, which W&B's agents cannot.
    """
    import wandb
    from wandb.sdk.sweeps.scheduler import client
    from wandb.sdk.sweeps.scheduler.ipc import describe_done

    os.environ.setdefault("WANDB_BASE_URL", backend.door.server)
    os.environ.setdefault("WANDB_API_KEY", backend.door.key)
    entity, project, sweep_id = path.split("/")
    number = chosen_seed(experiment, seed)
    try:
        done = client.run_scheduler(
            entity=entity,
            project=project,
            sweep_id=sweep_id,
            make_optimizer=lambda sweep: TuneOptimizer(sweep, experiment, number),
            batch_size=most,
            poll_interval=poll,
        )
    except wandb.Error as error:
        raise BackendError(f"{path}: {error}") from None
    return str(describe_done(done)[0])
