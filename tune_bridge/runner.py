"""`run_sweep`: a sweep, executed on Ray - this machine by default, a cluster by its address."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tune_bridge.backends import places
from tune_bridge.backends.base import Backend, new_id
from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.ray_tune.runs import check_runs
from tune_bridge.errors import BackendError, InputError, MissingExtraError
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Level, Note
from tune_bridge.progress import Best, Progress
from tune_bridge.space import Choice, Parameter
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.trial import ProgramSettings, resolve_program

__all__ = ["Best", "Progress", "Result", "remarks", "run_sweep"]

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
"""Environment in which Ray and Tune say nothing of themselves; what the user has set stays."""


class Result(msgspec.Struct, frozen=True):
    """How a sweep ended.

    Attributes:
        sweep_id: Its id in the backend.
        project: Its project.
        metric: What was optimised, or None.
        best: The best run, or None.
        counts: Number of runs by state (finished, failed, killed).
        stopped_early: Runs, of those finished, that the scheduler or the metric's target ended.
        usable: Trials whose result the searcher could use.
        errors: The first lines of the errors of trials, each once.
        interrupted: By Ctrl-C.
        results_dir: Where the programs' output is, or None when there is none on this machine.
    """

    sweep_id: str
    project: str
    metric: str | None
    best: Best | None
    counts: dict[str, int]
    stopped_early: int
    usable: int
    errors: list[str]
    interrupted: bool
    results_dir: str | None


def remarks(experiment: Experiment) -> list[Note]:
    """What Tune makes of an experiment less exactly than it is written.

    Raises:
        TuneBridgeError: Tune cannot run it at all.
    """
    # Tune has no word for these; the runner sees to them, or keeps them with the sweep.
    said = {"objective.target", "run_cap", "command", "project", "entity", "description"}
    check_runs(experiment)
    notes = get_dialect("tune").write(experiment).notes
    return [note for note in notes if note.level > Level.CARRIED and note.path not in said]


def run_sweep(
    sweep: SweepConfig | Experiment | Mapping[str, Any],
    *,
    folder: str | os.PathLike[str] | None = None,
    address: str | None = None,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | None = None,
    max_concurrent: int | None = None,
    num_samples: int | None = None,
    backend: Backend | str | None = None,
    project: str | None = None,
    name: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    on_interrupt: Callable[[], None] | None = None,
    on_start: Callable[[str, str], None] | None = None,
    grace: float = 10.0,
) -> Result:
    """Runs a sweep to its end, and reports it to a backend.

    Each trial is a process of the sweep's program (with its ``command``), or Tune's own trainable
    when the experiment names one. The first Ctrl-C ends the programs with grace and closes the
    runs, the second one kills.

    Args:
        sweep: A sweep config, or an experiment.
        folder: Where the program is looked for first; the current folder by default.
        address: Address of a Ray cluster (``auto`` for the one of this machine). The folder is
            shipped to it. Without one ``RAY_ADDRESS`` counts, and else Ray is started here. A
            session that this process has joined already is used as it is.
        cpus_per_trial: Processors of a trial; the experiment's, else one.
        gpus_per_trial: GPUs of a trial; the experiment's, else none.
        max_concurrent: Trials at once; the experiment's, else as many as there are processors for.
        num_samples: Instead of the experiment's; an experiment without any runs until Ctrl-C.
        backend: A backend or its URL; the default one without.
        project: Instead of the sweep's.
        name: Instead of the sweep's.
        progress: Called after every change, a few times a second at most.
        on_interrupt: Called at the first Ctrl-C, in the handler.
        on_start: Called with the sweep's id and project, before the first trial.
        grace: Seconds between SIGTERM and SIGKILL for a program.

    Returns:
        The best configuration, and how many runs ended how.

    Raises:
        InputError: There is no program, or Tune refuses the experiment.
        UnsupportedError: The searcher or scheduler is translated, not run.
        BackendError: There is no Ray at the address.
        MissingExtraError: Ray is not installed.
        KeyboardInterrupt: At the second Ctrl-C.
    """
    if isinstance(sweep, Experiment):
        experiment, config = sweep, SweepConfig.from_experiment(sweep)
    else:
        config = sweep if isinstance(sweep, SweepConfig) else SweepConfig(sweep)
        experiment = config.experiment
    check_runs(experiment)
    experiment = _settle(experiment, cpus_per_trial, gpus_per_trial, max_concurrent, num_samples)
    project = project or experiment.project or os.environ.get("WANDB_PROJECT") or "uncategorized"
    sweep_id = new_id()
    metric = experiment.objective.name if experiment.objective else None
    results = places.home() / "results" / sweep_id
    address, ship = _place(address)
    settings = None
    if experiment.trainable is None:
        program, cwd = resolve_program(
            experiment.program, experiment.command, Path(folder or Path.cwd()).absolute()
        )
        settings = ProgramSettings(
            program=program,
            command=experiment.command,
            cwd=None if ship else str(cwd),
            metric=metric,
            sweep_id=sweep_id,
            project=project,
            grace=grace,
            stop_key=f"tune_bridge:{sweep_id}",
            results_dir=None if ship else str(results),
        )
        folder = cwd
    with _session(address, str(folder) if ship and folder else None):
        from tune_bridge.ray_run import Run

        run = Run(
            experiment=experiment,
            sweep_config=dict(config),
            settings=settings,
            sweep_id=sweep_id,
            project=project,
            name=name,
            backend=backend,
            progress=progress,
            on_interrupt=on_interrupt,
        )
        if on_start is not None:
            on_start(sweep_id, project)
        ended = run.execute()
    return Result(
        sweep_id=sweep_id,
        project=project,
        metric=metric,
        best=ended.best,
        counts=ended.counts,
        stopped_early=ended.stopped_early,
        usable=ended.usable,
        errors=ended.errors,
        interrupted=ended.interrupted,
        results_dir=None if settings is None or ship else str(results),
    )


def _place(address: str | None) -> tuple[str, bool]:
    """Where Ray is, and whether the program has to be shipped there.

    Without an address ``ray.init`` would join a cluster that somebody has started on this machine,
    whose other machines do not have the program: that takes an address here, or ``RAY_ADDRESS``.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    ray = sys.modules.get("ray")
    joined = ray is not None and ray.is_initialized()
    return address, address != "local" and not joined


def _settle(
    experiment: Experiment,
    cpus: float | None,
    gpus: float | None,
    max_concurrent: int | None,
    num_samples: int | None,
) -> Experiment:
    """The experiment with what the caller overrides."""
    from tune_bridge.values import Frozen

    resources = experiment.resources.value
    for key, value in (("cpu", cpus), ("gpu", gpus)):
        if value is not None:
            if value < 0:
                raise InputError(f"{key}s per trial", found=f"{value:g}", expected="not below 0")
            resources[key] = value
    for label, number in (("max_concurrent", max_concurrent), ("num_samples", num_samples)):
        if number is not None and number < 1:
            raise InputError(label, found=str(number), expected="at least 1")
    changes: dict[str, Any] = {"resources": Frozen(resources)}
    if max_concurrent is not None:
        changes["max_concurrent"] = max_concurrent
    if num_samples is not None:
        changes["num_samples"] = num_samples
    has_grid = any(
        node.grid for node in experiment.searched.values() if isinstance(node, Parameter | Choice)
    )
    if experiment.run_cap is not None and not has_grid:
        wanted = changes.get("num_samples", experiment.num_samples)
        cap = experiment.run_cap
        changes["num_samples"] = cap if wanted is None else min(wanted, cap)
        changes["run_cap"] = None
    return experiment.replace(**changes)


@contextlib.contextmanager
def _session(address: str, working_dir: str | None) -> Iterator[None]:
    """A quiet Ray session: the one there is, or one of our own, which ends with the sweep."""
    before = dict(os.environ)
    for key, value in _QUIET.items():
        os.environ.setdefault(key, value)
    try:
        import ray
    except ImportError:
        raise MissingExtraError("ray[tune]", "ray", "running a sweep") from None
    own = not ray.is_initialized()
    levels = {name: logging.getLogger(name).level for name in ("ray", "ray.tune", "ray.data")}
    try:
        if own:
            try:
                ray.init(
                    address=address,
                    include_dashboard=False if address == "local" else None,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    runtime_env={"working_dir": working_dir} if working_dir else None,
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                where = "on this machine" if address == "local" else f"at {address}"
                raise BackendError(f"no Ray session {where}: {error}") from error
        for name in levels:
            # Tune writes a line for every trial that fails; the sweep's own report has them all.
            logging.getLogger(name).setLevel(logging.CRITICAL)
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if own and ray.is_initialized():
            ray.shutdown()
        for key in _QUIET:
            if key not in before:
                os.environ.pop(key, None)
