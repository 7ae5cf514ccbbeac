"""Experiments that have reported themselves: `tune_bridge.SweepCallback` has made a sweep of them.

What the callback keeps in the experiment's folder is a pickle, which is not opened. But it makes
the ids of runs of the sweep's and the trial's, so that the place itself knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tune_bridge.adopt.model import Found
from tune_bridge.backends.base import Backend, Sweep
from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.trial import run_id

__all__ = ["check_new"]

_PAGE = 1000


def check_new(found: Iterable[Found], backend: Backend) -> None:
    """Looks whether there is a sweep of an experiment's own already.

    Args:
        found: Experiments of a source.
        backend: The place.

    Raises:
        InputError: There is one; naming it.
    """
    own = [sweep for sweep in _all(backend) if sweep.meta.get("made_by") == "SweepCallback"]
    for each in found:
        trials = [str(run.meta["trial_id"]) for run in each.runs if "trial_id" in run.meta]
        some = {trials[place] for place in (0, len(trials) // 2, -1)} if trials else set()
        for sweep in own:
            if any(_has(backend, run_id(sweep.id, trial)) for trial in some):
                runs = {run.id for run in backend.runs(sweep.id)}
                there = sum(run_id(sweep.id, trial) in runs for trial in trials)
                raise InputError(
                    "the experiment has reported itself: "
                    f"it is sweep {sweep.id} ({sweep.name}, {sweep.state}) already, "
                    f"with {there} of its {len(trials)} trials",
                    source=each.where,
                    hint="look at that one; make another sweep of these files with --copy",
                )


def _all(backend: Backend) -> Iterator[Sweep]:
    offset = 0
    while page := backend.sweeps(limit=_PAGE, offset=offset):
        yield from page
        offset += len(page)


def _has(backend: Backend, run: str) -> bool:
    try:
        backend.run(run)
    except NotFoundError:
        return False
    return True
