"""One execution of a sweep inside of a Ray session: Tune's arguments, its end, its best run."""

from __future__ import annotations

import contextlib
import math
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import ray
from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.error import TuneError
from ray.tune.schedulers import ResourceChangingScheduler
from ray.tune.search import BasicVariantGenerator

from tune_bridge import ray_schedule, tune_observer
from tune_bridge.backends.base import Backend
from tune_bridge.callback import SweepCallback
from tune_bridge.dialects.ray_tune import live_arguments
from tune_bridge.dialects.ray_tune.runs import is_hosted, plain_part
from tune_bridge.engines.engine import STOPPER
from tune_bridge.engines.parts import StopRule
from tune_bridge.engines.results import flatten
from tune_bridge.engines.tune.schedulers import needs_checkpoints
from tune_bridge.engines.tune.stoppers import stop_rule
from tune_bridge.errors import InputError, TuneBridgeError
from tune_bridge.experiment import Experiment, Objective
from tune_bridge.progress import Best, Progress, interrupts, is_better
from tune_bridge.ray_search import HostedSearch
from tune_bridge.reports import PAYLOAD
from tune_bridge.sweep_scheduler import SweepScheduler
from tune_bridge.trainable import Halt, of_trial, program_trainable, request_stop
from tune_bridge.trial import ProgramError, ProgramSettings, RefusedError, run_id

__all__ = ["Run", "SweepStopper"]

_OFTEN = 0.2  # seconds between two progress reports
_WAIT = 1.0  # seconds for workers to see that they are to kill


class SweepStopper(Stopper):
    """Tune's stop criteria, W&B's target, and Ctrl-C, in one.

    Args:
        criteria: A trial ends when one of these results reaches its value.
        objective: Its target ends the sweep when a run reaches it.
        stop_key: The sign on which programs end.
        rule: A Stopper of Tune's and a time budget, or None.

    Attributes:
        stopping_criterion: The criteria, under the name that a Tune trial has for them.
        reasons: Why the rule ended a trial, by trial.
        interrupted: Set by Ctrl-C.
        reached: Why the sweep has ended early, for people; empty when it has not.
        refused: Why the sweep cannot be run; empty when it can.
    """

    def __init__(
        self,
        criteria: Mapping[str, Any],
        objective: Objective | None,
        stop_key: str,
        rule: StopRule | None = None,
    ) -> None:
        self.stopping_criterion = {
            key: limit for key, limit in criteria.items() if not key.startswith(STOPPER)
        }
        self.reasons: dict[str, str] = {}
        self.interrupted = False
        self.reached = ""
        self.refused = ""
        self._rule = rule
        self._objective = objective
        self._stop_key = stop_key
        self._told = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether a trial ends with this result."""
        goal = self._objective
        if goal is not None and goal.target is not None:
            value = tune_observer.lookup(result, goal.name)
            if isinstance(value, int | float) and (
                value <= goal.target if goal.mode == "min" else value >= goal.target
            ):
                self.reached = f"{goal.name} reached the target {goal.target:g}"
        for name, limit in self.stopping_criterion.items():
            value = tune_observer.lookup(result, name)
            if isinstance(value, int | float) and value >= limit:
                return True
        if self._rule is not None:
            shown = {key: value for key, value in result.items() if key != PAYLOAD}
            why = self._rule.stop(trial_id, flatten(shown), time.time())
            if why:
                self.reasons[trial_id] = why
                return True
        return False

    def stop_all(self) -> bool:
        """Whether everything ends now; programs are told at once, wherever they run."""
        if self._rule is not None and not self.reached:
            self.reached = self._rule.stop_all(time.time())
        stop = self.interrupted or bool(self.reached or self.refused)
        if stop and not self._told:
            self._told = True
            if self._stop_key:
                request_stop(self._stop_key)
        return stop


class _CappedGenerator(BasicVariantGenerator):
    """Tune's grids and random draws, ended after a number of trials (W&B's ``run_cap``)."""

    _cap = sys.maxsize

    @classmethod
    def cap(cls, searcher: BasicVariantGenerator | None, number: int) -> BasicVariantGenerator:
        """Limits a generator."""
        capped = searcher or BasicVariantGenerator()
        capped.__class__ = cls  # it has the same state, and no other way to be copied
        vars(capped)["_cap"] = number
        return capped

    def next_trial(self) -> Any:
        """The next trial, or None."""
        if self._cap <= 0:
            self.set_finished()  # type: ignore[no-untyped-call]
            return None
        trial = super().next_trial()  # type: ignore[no-untyped-call]
        self._cap -= trial is not None
        return trial


class Watch(Callback):
    """Counts trials, keeps the best, and tells whoever wants to know.

    Args:
        sweep_id: The sweep.
        objective: What is optimised, or None.
        tell: Called with the progress.
        total: Number of trials where a cap is known, or None.
        grace: Seconds that programs have to end.
        stopper: Is told of a program that cannot do what the sweep asks for.
    """

    def __init__(
        self,
        sweep_id: str,
        objective: Objective | None,
        tell: Callable[[Progress], None] | None,
        total: int | None,
        grace: float,
        stopper: SweepStopper,
    ) -> None:
        self.best: Best | None = None
        self.done = self.failed = 0
        self._errors: dict[str, tuple[str, int]] = {}
        self._sweep_id = sweep_id
        self._objective = objective
        self._tell = tell
        self._total = total
        self._grace = grace
        self._stopper = stopper
        self._values: dict[str, float] = {}
        self._last = ""
        self._shown: Progress | None = None
        self._next = 0.0

    def setup(self, *args: Any, total_num_samples: int | None = None, **info: Any) -> None:
        """Notes the number of trials, and gives programs their time at the end."""
        if total_num_samples is not None and 0 < total_num_samples < sys.maxsize:
            self._total = min(total_num_samples, self._total or total_num_samples)
        # Tune kills workers ten seconds after it asked them to stop, less than a long grace period.
        controller = tune_observer.find(sys._getframe(1)).controller
        if hasattr(controller, "_actor_force_cleanup_timeout"):
            controller._actor_force_cleanup_timeout = max(10.0, self._grace + 5.0)

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Keeps the last value of the metric."""
        if self._objective is None:
            return
        value = tune_observer.lookup(result, self._objective.name)
        with contextlib.suppress(TypeError, ValueError):
            self._values[trial.trial_id] = float(value)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Counts a trial, and compares it with the best."""
        self.done += 1
        self._compare(trial)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Counts a trial that gave nothing."""
        self.failed += 1
        error = tune_observer.error_of(trial)
        if isinstance(error, RefusedError):
            self._stopper.refused = error.message
        text = error.message if isinstance(error, ProgramError) else str(error or "it failed")
        lines = [line for line in text.splitlines() if line.strip()] or ["it failed"]
        first = lines[0] if isinstance(error, ProgramError) else lines[-1]
        first = first.removesuffix("; its last lines:")
        self._last = f"trial {trial.trial_id}: {first.strip()}"
        key = error.reason if isinstance(error, ProgramError) else text
        first_text, number = self._errors.get(key, (text, 0))
        self._errors[key] = (first_text, number + 1)

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        """Tells the progress, when there is any."""
        now = time.monotonic()
        if self._tell is not None and now >= self._next:
            self._next = now + _OFTEN
            self._report(trials)

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        """Compares what was cut off as well, and tells for the last time."""
        for trial in trials:
            if trial.status != "ERROR":
                self._compare(trial)
        if self._tell is not None:
            self._report([])

    def _report(self, trials: Any) -> None:
        running = sum(trial.status == "RUNNING" for trial in trials)
        shown = Progress(self.done, self.failed, running, self._total, self.best, self._last)
        if shown != self._shown and self._tell is not None:
            self._shown = shown
            self._tell(shown)

    def _compare(self, trial: Any) -> None:
        value = self._values.get(trial.trial_id, math.nan)
        mode = self._objective.mode if self._objective else "min"
        if is_better(value, self.best.value if self.best else None, mode):
            config = tune_observer.plain_config(trial.config)
            run = run_id(self._sweep_id, trial.trial_id)
            self.best = Best(trial.trial_id, run, config, value)

    @property
    def errors(self) -> list[str]:
        """Messages of failed trials, each reason once, the most frequent first."""
        found = sorted(self._errors.values(), key=lambda pair: -pair[1])
        return [text for text, _ in found]

    @property
    def usable(self) -> int:
        """How many trials came to a usable end."""
        return self.done


class Run:
    """One sweep in a Ray session that is there.

    Args:
        experiment: What to run, with everything overridden that is to be.
        sweep_config: What the sweep says it is.
        settings: How its programs are run; None for a trainable of Tune.
        sweep_id: Its id.
        project: Its project.
        name: Its name, or None.
        backend: Where it is reported.
        progress: See `tune_bridge.runner.run_sweep`.
        on_interrupt: See there.
        storage: Where Tune keeps checkpoints while it runs: a folder or URL that all nodes reach;
            None for a new folder of this machine.

    Attributes:
        best: The best run.
        counts: Runs by state.
        stopped_early: How many the scheduler or the metric's target ended.
        usable: Trials with a usable result.
        errors: Messages of failed trials, most frequent first.
        interrupted: By Ctrl-C.
    """

    def __init__(
        self,
        *,
        experiment: Experiment,
        sweep_config: dict[str, Any],
        settings: ProgramSettings | None,
        sweep_id: str,
        project: str,
        name: str | None,
        backend: Backend | str | None,
        progress: Callable[[Progress], None] | None,
        on_interrupt: Callable[[], None] | None,
        storage: str | None = None,
    ) -> None:
        self._experiment = experiment
        self._storage = storage
        self._settings = settings and msgspec.structs.replace(
            settings, needs_checkpoints=needs_checkpoints(experiment.scheduler, on_ray=True)
        )
        self._sweep_id = sweep_id
        self._on_interrupt = on_interrupt
        self._stop_key = settings.stop_key if settings else ""
        self._callback = SweepCallback(
            project, name=name, backend=backend, sweep_config=sweep_config, sweep_id=sweep_id
        )
        self._stopper = SweepStopper(
            experiment.stop.value, experiment.objective, self._stop_key, stop_rule(experiment)
        )
        grace = settings.grace if settings else 10.0
        self._watch = Watch(
            sweep_id, experiment.objective, progress, experiment.run_cap, grace, self._stopper
        )
        self._check_resources()
        self._check_storage()

    def execute(self) -> Run:
        """Runs it to its end.

        Raises:
            InputError: Tune refuses the experiment.
            KeyboardInterrupt: At the second Ctrl-C.
        """
        arguments = self._arguments()
        folder = tempfile.mkdtemp(prefix="tune-bridge-")
        try:
            with interrupts(self._first, self._second):
                tune.run(storage_path=self._storage or folder, **arguments)
        except TuneBridgeError:
            raise
        except (TuneError, ValueError, TypeError) as error:
            raise InputError(
                f"Ray Tune refuses the experiment: {type(error).__name__}: {error}"
            ) from error
        finally:
            # Idempotent: closes the runs when Tune did not get to it.
            self._callback.abort(
                "interrupted" if self._stopper.interrupted else "the sweep broke off"
            )
            shutil.rmtree(folder, ignore_errors=True)
        return self

    def _arguments(self) -> dict[str, Any]:
        experiment = self._experiment
        arguments = live_arguments(plain_part(experiment).replace(name=None, run_cap=None))
        scheduler = ray_schedule.live(experiment)
        if is_hosted(experiment):
            arguments |= self._search()
        elif experiment.run_cap is not None:
            arguments["search_alg"] = _CappedGenerator.cap(
                arguments.get("search_alg"), experiment.run_cap
            )
        arguments["scheduler"] = steered = SweepScheduler(scheduler)
        if self._settings is not None:
            arguments["run_or_experiment"] = program_trainable(self._settings)
            key = self._settings.stop_key
            steered.stop_program = lambda trial: request_stop(of_trial(key, trial))
        arguments |= {
            "name": self._sweep_id,
            "stop": self._stopper,
            "callbacks": [self._callback, Halt(), self._watch],
            # Resources of a worker cannot change.
            "reuse_actors": not isinstance(scheduler, ResourceChangingScheduler),
            "raise_on_failed_trial": False,
            "verbose": 0,
        }
        return arguments

    def _search(self) -> dict[str, Any]:
        """Our searcher; its configurations are complete, so that Tune needs no space."""
        experiment = self._experiment
        search = HostedSearch(experiment, secrets.randbits(32))
        limits = [limit for limit in (search.total, experiment.run_cap) if limit is not None]
        return {
            "search_alg": search,
            "config": {},
            "num_samples": min(limits) if limits else -1,
        }

    def _check_resources(self) -> None:
        """Refuses what would wait for ever.

        Raises:
            InputError: A trial asks for more than there is.
        """
        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        for key, value in self._experiment.resources.value.items():
            name = {"cpu": "CPU", "gpu": "GPU"}.get(key, key)
            if isinstance(value, int | float) and value > there.get(name, 0.0):
                raise InputError(
                    f"a trial asks for more {name} than there is",
                    path=f"resources.{key}",
                    found=f"{value:g}",
                    expected=f"at most {there.get(name, 0.0):g}",
                )

    def _check_storage(self) -> None:
        """Refuses a cluster on which a checkpoint of one node cannot be found by another.

        Raises:
            InputError: There are several machines, checkpoints, and no storage.
        """
        needs = needs_checkpoints(self._experiment.scheduler, on_ray=True)
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        machines = {node["NodeManagerHostname"] for node in nodes if node["Alive"]}
        if needs and self._storage is None and len(machines) > 1:
            raise InputError(
                f"{needs}, and these machines share no place for them",
                path="--storage",
                found=f"{len(machines)} machines: {', '.join(sorted(machines))}",
                expected="a folder or a URL (s3://...) that all of them reach",
            )

    def _first(self) -> None:
        self._stopper.interrupted = True
        if self._on_interrupt is not None:
            self._on_interrupt()

    def _second(self) -> None:
        if self._stop_key:
            request_stop(self._stop_key, kill=True)
            time.sleep(_WAIT)

    @property
    def best(self) -> Best | None:
        """The best run."""
        return self._watch.best

    @property
    def counts(self) -> dict[str, int]:
        """Runs by state."""
        return dict(self._callback.outcomes)

    @property
    def stopped_early(self) -> int:
        """Runs that the scheduler or the metric's target ended."""
        return self._callback.stopped_early

    @property
    def usable(self) -> int:
        """Trials that came to a usable end."""
        return self._watch.usable

    @property
    def errors(self) -> list[str]:
        """Messages of failed trials, the most frequent first."""
        return self._watch.errors

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return self._stopper.interrupted
