"""``tune-bridge run``: executes a sweep on Ray."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import click
import msgspec

from tune_bridge.backends.places import default_place
from tune_bridge.backends.wandb import is_wandb
from tune_bridge.cli.options import AMOUNT, COUNT, TEXT
from tune_bridge.cli.scripts import OfFiles, script_arguments
from tune_bridge.cli.source import load_source
from tune_bridge.errors import InputError
from tune_bridge.runner import Best, Progress, Result, remarks, run_sweep

__all__ = ["run"]


@click.command(cls=OfFiles, short_help="Execute it on Ray, this machine or a cluster.")
@click.argument("src", type=TEXT)
@click.option(
    "--address", type=TEXT, metavar="RAY", help="A Ray cluster; the default starts Ray here."
)
@click.option("--cpus-per-trial", type=AMOUNT, metavar="N", help="Processors of a trial.")
@click.option("--gpus-per-trial", type=AMOUNT, metavar="N", help="GPUs of a trial.")
@click.option("--max-concurrent", type=COUNT, metavar="N", help="Trials at once.")
@click.option("--num-samples", type=COUNT, metavar="N", help="Draws of the space.")
@click.option("--project", type=TEXT, metavar="NAME", help="Instead of the sweep's project.")
@click.option("--name", type=TEXT, metavar="NAME", help="Instead of the sweep's name.")
@click.option("--backend", type=TEXT, metavar="URL", help="Where the sweep is kept.")
@click.option(
    "--object",
    "variable",
    type=TEXT,
    metavar="NAME",
    help="The variable meant, if SRC has several.",
)
@click.option(
    "--grace",
    type=AMOUNT,
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Between SIGTERM and SIGKILL when a program is stopped.",
)
@click.option(
    "--storage",
    type=TEXT,
    metavar="PLACE",
    help="A folder or URL that all nodes reach, for checkpoints of paused trials.",
)
@click.option("--open", "open_page", is_flag=True, help="Show the dashboard while it runs.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no remarks.")
def run(
    src: str,
    address: str | None,
    cpus_per_trial: float | None,
    gpus_per_trial: float | None,
    max_concurrent: int | None,
    num_samples: int | None,
    project: str | None,
    name: str | None,
    backend: str | None,
    variable: str | None,
    grace: float,
    storage: str | None,
    open_page: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Runs SRC, a sweep file (YAML) or a Python file that builds an experiment, on Ray.

    Its program is looked for beside SRC, then in the current folder; ${interpreter} is the Python
    that runs this command. A program reports with tune_bridge.init() and run.log(). Without a
    limit of its own a sweep runs until Ctrl-C, which ends the programs and keeps their runs. With
    --backend wandb (or wandb://ENTITY/PROJECT) it is reported to W&B.

    \b
      tune-bridge run sweep.yaml
      tune-bridge run sweep.yaml --cpus-per-trial 0.5 --num-samples 50
      tune-bridge run sweep.yaml --address auto --gpus-per-trial 1
      tune-bridge run sweep.yaml --backend wandb

    Exit codes: 0 done, 1 no trial gave a usable result or the input has to be changed, 2 wrong
    usage, 130 interrupted.
    """
    sweep = load_source(src, name=variable, arguments=script_arguments(src))
    experiment = sweep.experiment
    say = _silent if quiet else _to_stderr
    for note in remarks(experiment):
        say(f"note: {note}")
    if experiment.num_samples is None and num_samples is None and experiment.run_cap is None:
        say("note: no number of runs is given: it runs until Ctrl-C")

    at_wandb = is_wandb(backend or default_place())

    def begun(sweep_id: str, of_project: str) -> None:
        where = "it is at W&B" if at_wandb else "watch it with: tune-bridge dashboard"
        say(f"sweep {sweep_id} in project {of_project}; {where}")

    shown = None if quiet else _display(sys.stderr.isatty())
    with _dashboard(backend) if open_page else _Nothing(), shown or _Nothing():
        try:
            result = run_sweep(
                sweep,
                folder=Path(src).absolute().parent,
                address=address,
                cpus_per_trial=cpus_per_trial,
                gpus_per_trial=gpus_per_trial,
                max_concurrent=max_concurrent,
                num_samples=num_samples,
                backend=backend,
                project=project,
                name=name,
                progress=shown,
                on_interrupt=lambda: _to_stderr(
                    f"stopping: programs have {grace:g} s to end; Ctrl-C again kills them"
                ),
                on_start=begun,
                grace=grace,
                storage=storage,
            )
        except InputError as error:
            raise error.at(src, None, None) from None
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(result), indent=2))
    else:
        _print(result, src, quiet or at_wandb)
    if result.interrupted:
        return 130
    return 0 if result.usable else 1


@contextlib.contextmanager
def _dashboard(backend: str | None) -> Iterator[None]:
    """A dashboard in a browser window, in a process of its own, for as long as the sweep runs."""
    start = "from tune_bridge.cli.main import main; main()"
    where = {} if backend is None else {"TUNE_BRIDGE_BACKEND": backend}
    process = subprocess.Popen(
        [sys.executable, "-c", start, "dashboard", "--open"],
        env={**os.environ, **where},  # a place may hold a password, and others see arguments
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _print(result: Result, src: str, quiet: bool) -> None:
    counts = ", ".join(f"{number} {state}" for state, number in sorted(result.counts.items()))
    if result.stopped_early:
        counts += f"; {result.stopped_early} stopped early"
    if result.best is not None:
        click.echo(f"best {result.metric}: {result.best.value:.6g} (run {result.best.run_id})")
        for key, value in _flat(result.best.config).items():
            click.echo(f"  {key}: {value}")
    elif result.metric is not None:
        click.echo(f"no run reported a usable {result.metric}")
    click.echo(f"sweep {result.sweep_id}: {counts or 'no runs'}")
    for text in result.errors[:3]:
        click.echo(f"error: {text}", err=True)
    if len(result.errors) > 3:
        click.echo(f"and {len(result.errors) - 3} other errors; each run has its own", err=True)
    if quiet:
        return
    if result.interrupted:
        click.echo(f"interrupted; the runs are kept. Begin a new sweep with: tune-bridge run {src}")
    click.echo("look at it: tune-bridge dashboard")


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            found.update(_flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def _to_stderr(text: str) -> None:
    click.echo(text, err=True)


def _silent(text: str) -> None:
    del text


class _Nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _line(progress: Progress) -> str:
    total = "" if progress.total is None else f"/{progress.total}"
    parts = [f"{progress.done + progress.failed}{total} trials", f"{progress.running} running"]
    if progress.failed:
        parts.append(f"{progress.failed} unusable")
    if progress.best is not None:
        parts.append(f"best {progress.best.value:.6g}")
    return ", ".join(parts)


class _Lines:
    """Progress as plain lines: one for every trial that ended, best that was found, error."""

    def __init__(self) -> None:
        self._ended = -1
        self._error = ""
        self._best: Best | None = None

    def __call__(self, progress: Progress) -> None:
        ended = progress.done + progress.failed
        if ended != self._ended or progress.best != self._best:
            self._ended, self._best = ended, progress.best
            _to_stderr(_line(progress))
        if progress.last and progress.last != self._error:
            self._error = progress.last
            _to_stderr(f"  {progress.last}")

    def __enter__(self) -> _Lines:  # noqa: PYI034 - Self is newer than the oldest Python
        return self

    def __exit__(self, *_: object) -> None:
        return None


class _Bar:
    """Progress as a line that changes, on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("starting Ray", total=None)
        self._error = ""

    def __call__(self, progress: Progress) -> None:
        self._bar.update(
            self._task,
            description=_line(progress),
            total=progress.total,
            completed=progress.done + progress.failed,
        )
        if progress.last and progress.last != self._error:
            self._error = progress.last
            self._bar.console.print(progress.last, style="red", markup=False, highlight=False)

    def __enter__(self) -> _Bar:  # noqa: PYI034 - Self is newer than the oldest Python
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()


def _display(terminal: bool) -> _Lines | _Bar:
    return _Bar() if terminal else _Lines()
