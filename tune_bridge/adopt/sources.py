"""What can be adopted: a table of sources, and what all of them have in common."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tune_bridge.adopt import optuna_storage, ray_results, wandb_runs
from tune_bridge.adopt.model import Found, Wishes
from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.experiment import Objective, usual_goal
from tune_bridge.notes import Notes

__all__ = ["SOURCES", "Source", "read_source"]


class Source(NamedTuple):
    """One kind of results.

    Attributes:
        name: For people: what is expected.
        folder: It is a folder, not a file.
        recognises: Whether a path is one.
        read: Its experiments; the last argument names one of them, where they have names.
    """

    name: str
    folder: bool
    recognises: Callable[[Path], bool]
    read: Callable[[Path, Wishes, str | None], list[Found]]


SOURCES: tuple[Source, ...] = (
    Source(
        "a folder of results of Ray Tune",
        True,
        ray_results.is_experiment,
        lambda path, wishes, name: ray_results.read(path, wishes),
    ),
    Source(
        "a wandb folder",
        True,
        lambda path: bool(wandb_runs.find(path)),
        lambda path, wishes, name: wandb_runs.read(path, wishes),
    ),
    Source(
        "a folder of experiments",
        True,
        lambda path: bool(_experiments(path)),
        lambda path, wishes, name: [
            found for each in _experiments(path) for found in ray_results.read(each, wishes)
        ],
    ),
    Source(
        "Optuna's SQLite file",
        False,
        optuna_storage.is_database,
        optuna_storage.read_database,
    ),
    Source("Optuna's journal", False, optuna_storage.is_journal, optuna_storage.read_journal),
    Source(
        "a .wandb file",
        False,
        wandb_runs.is_run_file,
        lambda path, wishes, name: wandb_runs.read(path, wishes),
    ),
)
"""The first one that recognises a path reads it."""

_SQLITE = "sqlite:///"


def _experiments(path: Path) -> list[Path]:
    return [
        each
        for each in sorted(path.iterdir())
        if each.is_dir() and not each.is_symlink() and ray_results.is_experiment(each)
    ]


def read_source(where: str, wishes: Wishes) -> list[Found]:
    """The experiments of a source.

    Args:
        where: A path, or ``sqlite:///path``; with ``#name`` one study of several.
        wishes: What its user says about it.

    Raises:
        NotFoundError: There is nothing at this place, or no study of this name.
        InputError: It is nothing that can be adopted, it is broken, or what it has is to be
            minimised or maximised and nobody says which.
        MissingExtraError: A library that it needs is not installed.
    """
    path, name = _place(where)
    try:
        source = next(
            (s for s in SOURCES if s.folder == path.is_dir() and s.recognises(path)), None
        )
        found = source.read(path, wishes, name) if source is not None else []
    except PermissionError as error:
        raise InputError("cannot be read", source=str(error.filename or path)) from None
    if source is None:
        raise InputError(
            "cannot tell what these results are",
            source=str(path),
            expected=", ".join(s.name for s in SOURCES if s.folder == path.is_dir()),
        )
    if name is not None and not source.name.startswith("Optuna"):
        raise InputError("only a storage of Optuna has studies", found=f"#{name}", source=str(path))
    for each in found:
        if not each.space.items:
            raise InputError(
                "its runs have no parameters, so that there is nothing to search",
                source=str(path),
                found=f"{len(each.runs)} runs of {each.name}",
            )
        each.objectives = _objectives(each, wishes)
    return found


def _place(where: str) -> tuple[Path, str | None]:
    text = where[len(_SQLITE) :] if where.startswith(_SQLITE) else where
    if "://" in text:
        raise InputError(
            "only files and folders can be adopted",
            found=where.partition("://")[0] + "://...",
            expected="a path, or sqlite:///path",
            hint="optuna.copy_study brings a study from a server into a file",
        )
    path, name = Path(text).expanduser(), None
    try:
        there = path.exists()
        if not there and "#" in text:
            text, _, name = text.rpartition("#")
            path = Path(text).expanduser()
            there = path.exists()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"no path: {why}", found=text[:80]) from None
    if not there:
        raise NotFoundError("no such file or folder", source=str(path))
    return path, name


def _objectives(found: Found, wishes: Wishes) -> list[Objective]:
    """The metric: of the source, of its user, or the only one whose name says what it is."""
    if found.objectives:
        given = found.objectives[0]
        if wishes.goal is not None and wishes.goal != given.goal:
            raise InputError(
                f"the source says to {given.goal} {given.name}", found=f"--goal {wishes.goal}"
            )
        return found.objectives
    name = wishes.metric or found.metric
    if name is None:
        usual = {name: usual_goal(name) for name in _numbers(found)}
        likely = [name for name, goal in usual.items() if goal is not None]
        if len(likely) != 1:
            among = f"; one of {', '.join(list(usual)[:8])}" if usual else ""
            found.notes.lost(
                "metric", f"not known{among}", "the source does not name it", "say it by --metric"
            )
            return []
        name = likely[0]
        found.notes.approximated("metric", f"taken to be {name}", "by its name alone")
    goal = wishes.goal or usual_goal(name)
    if goal is None and wishes.metric is None:
        found.notes.lost(
            "metric",
            f"left out: nothing says whether {name} is to be small or large",
            "the source keeps that as a pickle only",
            "say it by --goal",
        )
        return []
    if goal is None:
        raise InputError(
            f"nothing says whether {name} is to be small or large",
            path="metric",
            hint="add --goal minimize or --goal maximize",
        )
    if wishes.goal is None:
        found.notes.approximated("metric", f"taken to be one to {goal}", "by its name alone")
    return [Objective(name, "maximize" if goal == "maximize" else "minimize")]


def _numbers(found: Found) -> list[str]:
    """Names of numbers that the first run with results has."""
    for run in found.runs:
        values = dict(run.summary)
        for row in itertools.islice(run.rows(Notes()), 1):
            values |= row.values
        numbers = [
            name
            for name, value in values.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        if numbers:
            return numbers
    return []
