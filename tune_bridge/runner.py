"""`run_sweep`: a sweep, executed on Ray - this machine by default, a cluster by its address."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tune_bridge import ray_session
from tune_bridge.backends import open_backend, places
from tune_bridge.backends.base import Backend, new_id
from tune_bridge.backends.wandb import is_wandb
from tune_bridge.dialects.base import get_dialect
from tune_bridge.dialects.ray_tune.runs import check_runs, plain_part
from tune_bridge.errors import InputError, TuneBridgeError
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Level, Note
from tune_bridge.progress import Best, Progress
from tune_bridge.space import Choice, Parameter
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.trial import ProgramSettings, resolve_program

__all__ = ["Best", "Progress", "Result", "remarks", "run_sweep"]


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
    notes = get_dialect("tune").write(plain_part(experiment)).notes
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
    storage: str | os.PathLike[str] | None = None,
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
        backend: A backend or its URL; the default one without. At W&B (``wandb``) the sweep is made
            before anything is started.
        project: Instead of the sweep's.
        name: Instead of the sweep's.
        progress: Called after every change, a few times a second at most.
        on_interrupt: Called at the first Ctrl-C, in the handler.
        on_start: Called with the sweep's id and project, before the first trial.
        grace: Seconds between SIGTERM and SIGKILL for a program.
        storage: Where checkpoints of schedulers that pause or copy trials are kept while the sweep
            runs: a folder or URL that all nodes reach. A new folder of this machine by default.

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
    metric = experiment.objective.name if experiment.objective else None
    address, ship = ray_session.place(address)
    program = None
    if experiment.trainable is None:
        program, cwd = resolve_program(
            experiment.program, experiment.command, Path(folder or Path.cwd()).absolute()
        )
        folder = cwd
    shipped = str(folder) if ship and folder else None
    with (
        _sweep_at(backend, config, project, name) as (backend, sweep_id, project),
        ray_session.session(address, shipped, "running a sweep"),
    ):
        from tune_bridge.ray_run import Run

        results = places.home() / "results" / sweep_id
        settings = None
        if program is not None:
            settings = ProgramSettings(
                program=program,
                command=experiment.command,
                cwd=None if ship else str(folder),
                metric=metric,
                sweep_id=sweep_id,
                project=project,
                grace=grace,
                stop_key=f"tune_bridge:{sweep_id}",
                results_dir=None if ship else str(results),
                wandb_place=None if ship else _place(backend),
            )
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
            storage=None if storage is None else os.fspath(storage),
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


@contextlib.contextmanager
def _sweep_at(
    backend: Backend | str | None, config: SweepConfig, project: str, name: str | None
) -> Iterator[tuple[Backend | str | None, str, str]]:
    """The backend, and the id and project of the new sweep.

    At W&B, which gives sweeps their ids, it is made now: what is wrong there is said before
    anything is started.

    Raises:
        InputError: W&B refuses the key or the config.
        BackendError: W&B does not answer.
    """
    given = isinstance(backend, Backend)
    if not given and is_wandb(str(backend or places.default_place())):
        backend = open_backend(str(backend or places.default_place()))
    if not isinstance(backend, Backend) or not backend.names_sweeps:
        yield backend, new_id(), project
        return
    try:
        made = backend.create_sweep(config, project=project, name=name)
        try:
            yield backend, made.id, made.project
        except BaseException:
            with contextlib.suppress(TuneBridgeError):
                backend.update_sweep(made.id, state="canceled", message="it could not be run")
            raise
    finally:
        if not given:
            backend.close()


def _place(backend: Backend | str | None) -> str | None:
    """Where a server finds the sweeps of a backend; None when it cannot."""
    if isinstance(backend, Backend):
        url = getattr(backend, "url", None)
        if url is None:
            return None
        backend = str(url)
    place = places.canonical(backend)
    return place if place.startswith(("sqlite:", "postgresql:")) else None


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
