"""The members of a population over their training: which values they had when, and from whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tune_bridge.backends.base import Run
from tune_bridge.server.analysis.story import Copy
from tune_bridge.server.values import flatten
from tune_bridge.server.views import Snapshot

Points = Mapping[str, Sequence[tuple[int, float]]]

__all__ = ["POPULATIONS", "Member", "changed", "members"]

POPULATIONS = frozenset({"PopulationBasedTraining", "PB2", "PopulationBasedTrainingReplay"})
"""Schedulers whose runs are members of a population."""


class Member(msgspec.Struct, frozen=True):
    """One run of a population.

    Attributes:
        index: Of the run in its snapshot.
        configs: Its flat configurations, the first one first.
        since: When each of them began, in seconds since the epoch.
        points: Training iteration, value of the metric, and place in `configs`, by report. An
            iteration can come again, or be left out: a copy goes on where its donor was.
    """

    index: int
    configs: list[dict[str, Any]]
    since: list[float]
    points: list[tuple[int, float, int]]


def members(
    snapshot: Snapshot,
    copies: Sequence[Copy],
    points: Points,
    iterations: Points,
) -> list[Member]:
    """The runs of a population, in order of creation.

    Args:
        snapshot: The sweep.
        copies: What happened, in order of time.
        points: Step and value of the metric, by run.
        iterations: Step and training iteration, of runs that have logged it; of others, it follows
            from their copies.
    """
    own: dict[str, list[Copy]] = {}
    for copy in copies:
        own.setdefault(copy.run, []).append(copy)
    return [
        _member(
            index,
            run,
            snapshot.configs[index],
            own.get(run.id, []),
            points.get(run.id, ()),
            {step: int(iteration) for step, iteration in iterations.get(run.id, ())},
        )
        for index, run in enumerate(snapshot.runs)
    ]


def _member(
    index: int,
    run: Run,
    config: dict[str, Any],
    copies: Sequence[Copy],
    points: Sequence[tuple[int, float]],
    known: Mapping[int, int],
) -> Member:
    configs = [flatten(copies[0].old)] if copies else [config]
    configs += [flatten(copy.new) for copy in copies]
    began = run.started_at if run.started_at is not None else run.created_at
    since = [began, *(copy.time for copy in copies)]
    found, iteration, place = [], 0, 0
    # A point is an iteration, or several of a history that was thinned.
    each = max(1, round((points[-1][0] + 1) / len(points))) if points else 1
    for step, value in points:
        while place < len(copies) and _begun(copies[place], step, iteration):
            donor_at = copies[place].donor_at
            iteration = iteration if donor_at is None else donor_at
            place += 1
            if donor_at is not None:
                break
        iteration = known.get(step, iteration + each)
        found.append((iteration, value, place))
    return Member(index, configs, since, found)


def _begun(copy: Copy, step: int, iteration: int) -> bool:
    """Whether a copy has happened before the report of a step, after that of an iteration."""
    if copy.step is not None:
        return step >= copy.step
    return copy.at is not None and iteration >= copy.at


def changed(copies: Sequence[Copy]) -> list[str]:
    """The parameters that copies have changed, flat, in order."""
    found: dict[str, None] = {}
    for copy in copies:
        old, new = flatten(copy.old), flatten(copy.new)
        found.update(dict.fromkeys(key for key in new if new[key] != old.get(key)))
    return list(found)
