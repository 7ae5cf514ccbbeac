"""Existing results as a sweep: a Ray results folder, an Optuna storage, a folder of wandb.

    from tune_bridge.adopt import adopt

    for made in adopt("~/ray_results/my_experiment", metric="loss", goal="minimize"):
        print(made.sweep, made.runs, made.added)

Reading is pure (`tune_bridge.adopt.sources`: path -> what was found) and opens no pickle; writing
is the operations of a backend (`tune_bridge.adopt.bring`). Adopting again adds what is new. Agents
that go on with the sweep get configurations of a searcher that knows the adopted runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tune_bridge.adopt.bring import Brought, Step
    from tune_bridge.backends.base import Backend

__all__ = ["adopt"]


def adopt(
    path: str | os.PathLike[str],
    *,
    backend: Backend | str | None = None,
    project: str | None = None,
    name: str | None = None,
    metric: str | None = None,
    goal: str | None = None,
    searcher: str | None = None,
    program: str | None = None,
    copy: bool = False,
    dry_run: bool = False,
    tell: Callable[[Step], None] | None = None,
) -> list[Brought]:
    """Turns results into sweeps, one for each experiment that is found.

    Args:
        path: A folder of results of Ray Tune (an experiment, one of its trials, or a folder of
            experiments), a SQLite file or journal of Optuna (``#study`` behind it names one of
            several studies; ``sqlite:///file`` is taken, too), or a folder of wandb.
        backend: Where the sweeps are to live, or its URL; the default one without.
        project: The sweeps' project; the source's without, else "uncategorized".
        name: The sweep's name; the source's without.
        metric: Name of the metric, where the source does not say it.
        goal: "minimize" or "maximize", where the source does not say it.
        searcher: Who proposes when agents go on: "random", "bayes" (the default, with a metric),
            or a class of Ray Tune's (``OptunaSearch`` for a study of Optuna).
        program: The script that agents start.
        copy: Make a sweep also of an experiment of Ray Tune that has reported itself to this place
            (`tune_bridge.SweepCallback`).
        dry_run: Read, and write nothing.
        tell: Called after each transaction.

    Returns:
        What has become of each.

    Raises:
        NotFoundError: There is nothing at this path.
        InputError: It cannot be adopted, or has reported itself; the message says where and why.
        MissingExtraError: Optuna or wandb is needed to read it, and not installed.
        BackendError: The backend is away, or another process steers a sweep.
    """
    from tune_bridge.adopt.bring import bring, is_there, remembered
    from tune_bridge.adopt.model import Wishes
    from tune_bridge.adopt.reported import check_new
    from tune_bridge.adopt.sources import read_source
    from tune_bridge.backends import open_backend
    from tune_bridge.backends.base import Backend as Place
    from tune_bridge.errors import InputError

    if goal not in (None, "minimize", "maximize"):
        raise InputError("no goal", found=repr(goal), expected="minimize or maximize")
    wishes = Wishes(
        name=name,
        project=project,
        metric=metric,
        goal=goal,
        searcher=searcher,
        program=program,
        now=time.time(),
    )
    found = read_source(os.fspath(path), wishes)
    if name is not None and len(found) > 1:
        raise InputError(
            f"one name for {len(found)} experiments",
            found=", ".join(each.name for each in found[:4]),
            hint="adopt them one by one, or leave the name out",
        )
    if dry_run:
        return [bring(each, None, wishes) for each in found]
    place = backend if isinstance(backend, Place) else open_backend(backend)
    try:
        if not place.keeps_events:
            raise InputError(
                "results are adopted into a place of our own",
                found=str(backend),
                hint="adopt them there, and bring them to W&B with: tune-bridge push SWEEP",
            )
        if not copy:
            check_new([each for each in found if not is_there(each, place)], place)
        made = []
        for each in found:
            said = remembered(each, place, wishes)
            if said != wishes:  # its metric was named when it was adopted first
                again = read_source(each.where, said)
                each = next(other for other in again if other.identity == each.identity)  # noqa: PLW2901
            made.append(bring(each, place, said, tell))
        return made
    finally:
        if place is not backend:
            place.close()
