"""What a sweep has shown, computed when it is asked for and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tune_bridge.backends.base import Backend, Run
from tune_bridge.server.analysis.importance import FEW, Importance, measure
from tune_bridge.server.analysis.kept import Kept
from tune_bridge.server.analysis.lineage import Member, members
from tune_bridge.server.analysis.results import Results
from tune_bridge.server.analysis.rungs import Rung, rungs_of
from tune_bridge.server.analysis.settings import scheduler_of
from tune_bridge.server.analysis.story import Copy, Story, from_runs, told
from tune_bridge.server.analysis.what_if import Outcome, what_if
from tune_bridge.server.run_life import Logs
from tune_bridge.server.views import Snapshot

__all__ = ["Analyst", "Played", "at_once"]

_POINTS = 300  # of a curve that is played again
_ITERATION = "training_iteration"
_ALL, _LEAST = 300_000, 40  # points of all curves, and of each at least

Points = Mapping[str, Sequence[tuple[int, float]]]


class Played(msgspec.Struct, frozen=True):
    """Runs that were played again.

    Attributes:
        runs: How many ran to their ends.
        longest: Reports of the longest one; 0 when there are too few runs.
        outcomes: What settings of early stopping would have done, the one that saves most first.
    """

    runs: int
    longest: int
    outcomes: list[Outcome]


class Analyst:
    """Computes what takes a while, and keeps what it has computed.

    Args:
        backend: Has the curves of runs; without it there are none.
        logs: What the logs of the backend's sweeps say; read by this one without.
    """

    def __init__(self, backend: Backend | None = None, logs: Logs | None = None) -> None:
        self._backend = backend
        self._logs = logs or (None if backend is None else Logs(backend))
        self._importances: Kept[list[Importance]] = Kept()
        self._outcomes: Kept[Played] = Kept()
        self._points: Kept[Points] = Kept(8)
        self._stories: Kept[Story] = Kept(8)
        self._rungs: Kept[list[Rung]] = Kept(8)

    def known(self, snapshot: Snapshot, metric: str, kind: str) -> list[Importance]:
        """What was computed last; nothing when nothing was."""
        return self._importances.last((snapshot.sweep.id, metric, kind)) or []

    def importance(self, snapshot: Snapshot, metric: str, kind: str) -> list[Importance]:
        """The importance of each searched parameter for a metric, the largest first.

        While a sweep runs, what took long is not computed anew for every run that ends.

        Raises:
            MissingExtraError: The library of that measure is not installed.
        """
        results = Results.of(snapshot, metric)
        return self._importances.get(
            (snapshot.sweep.id, metric, kind),
            (len(results.indices), sum(results.values)),
            lambda: self._compute(snapshot, results, kind),
        )

    def points(self, snapshot: Snapshot, metric: str) -> Points:
        """Steps and values of a metric, by run; long histories are thinned by the database."""
        backend = self._backend
        if backend is None:
            return {}
        most, sweep = _most(snapshot), snapshot.sweep.id
        return self._points.get(
            (sweep, metric),
            snapshot.version,
            lambda: backend.histories(sweep, metric, max_points=most),
        )

    def story(self, snapshot: Snapshot) -> Story:
        """What the sweep's log says of its runs; where there is no log, what they say themselves.

        Raises:
            NotFoundError: The sweep is gone.
        """
        logs = self._logs
        if logs is None:
            return Story(copies=from_runs(snapshot.runs))
        sweep = snapshot.sweep.id

        def read() -> Story:
            said = logs.all(sweep)
            return told(said) if said else Story(copies=from_runs(snapshot.runs))

        return self._stories.get(sweep, snapshot.version, read)

    def copies(self, snapshot: Snapshot) -> list[Copy]:
        """What a population did."""
        return self.story(snapshot).copies

    def members(self, snapshot: Snapshot, metric: str) -> list[Member]:
        """The members of a population, with their values of a metric; none where nobody copied."""
        copies = self.copies(snapshot)
        if not copies:
            return []
        logged = _ITERATION in snapshot.metrics
        iterations = self.points(snapshot, _ITERATION) if logged else {}
        return members(snapshot, copies, self.points(snapshot, metric), iterations)

    def rungs(self, snapshot: Snapshot) -> list[Rung]:
        """The rungs of the early stopping that runs have got to."""
        objective = snapshot.plan.objective
        if objective is None:
            return []
        return self._rungs.get(
            snapshot.sweep.id,
            snapshot.version,
            lambda: rungs_of(
                snapshot,
                scheduler_of(snapshot.sweep.config),
                self.story(snapshot).verdicts,
                self.points(snapshot, objective),
                _most(snapshot),
            ),
        )

    def what_if(self, snapshot: Snapshot, metric: str) -> Played:
        """What early stopping would have done to the runs that ran to their ends."""
        whole = [run for run in snapshot.runs if run.state == "finished" and not run.stopped_early]
        if self._backend is None or len(whole) < FEW:
            return Played(0 if self._backend is None else len(whole), 0, [])
        return self._outcomes.get(
            (snapshot.sweep.id, metric),
            len(whole),
            lambda: self._played(snapshot, metric, whole),
        )

    def _played(self, snapshot: Snapshot, metric: str, whole: Sequence[Run]) -> Played:
        assert self._backend is not None
        points = self._backend.histories(snapshot.sweep.id, metric, max_points=_POINTS)
        longest = max((len(points.get(run.id, ())) for run in whole), default=0)
        every = max(1, round(max(run.rows for run in whole) / max(longest, 1)))
        curves = [[value for _, value in points.get(run.id, ())] for run in whole]
        goal = Results.of(snapshot, metric).goal
        found = what_if(curves, goal, parallel=at_once(whole), every=every)
        return Played(len(whole), longest * every if longest > 1 else longest, found)

    @staticmethod
    def _compute(snapshot: Snapshot, results: Results, kind: str) -> list[Importance]:
        shown = snapshot.varied
        columns = {
            one.path: [snapshot.configs[index].get(one.path) for index in results.indices]
            for one in shown
        }
        log = frozenset(one.path for one in shown if one.log)
        return measure(columns, results.costs, kind, log)


def _most(snapshot: Snapshot) -> int:
    """How many points of each curve are read."""
    return max(_LEAST, _ALL // max(len(snapshot.runs), 1))


def at_once(runs: Sequence[Run]) -> int:
    """How many runs ran at once, on average over the time in which some did."""
    spans = [
        (run.started_at, run.ended_at)
        for run in runs
        if run.started_at is not None and run.ended_at is not None
    ]
    if not spans:
        return 1
    busy = sum(end - start for start, end in spans)
    took = max(end for _, end in spans) - min(start for start, _ in spans)
    return max(1, round(busy / took)) if took > 0 else 1
