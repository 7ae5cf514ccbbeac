"""The drawings of the analysis page: a table, and what a reader can choose of them."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from tune_bridge.errors import TuneBridgeError
from tune_bridge.server.addresses import scheme_of
from tune_bridge.server.analysis import course, figures, several
from tune_bridge.server.analysis.analyst import Analyst
from tune_bridge.server.analysis.importance import MEASURES, measures
from tune_bridge.server.analysis.lineage import POPULATIONS, changed
from tune_bridge.server.analysis.results import Results, Together, objectives
from tune_bridge.server.analysis.rungs import STOPPERS
from tune_bridge.server.figures import message
from tune_bridge.server.views import Dimension, Snapshot

__all__ = ["CHOICES", "FIGURES", "MOST", "Card", "View", "cards", "draw"]

CHOICES = (
    "metric", "measure", "one", "two", "pair", "colour", "over", "log", "objectives", "reference",
)  # fmt: skip
"""What a reader can choose: the names in the query of the address, and of the JSON twin."""

MOST = 6
"""Objectives that are drawn together at most."""


class View(msgspec.Struct, frozen=True):
    """What a reader has chosen.

    Attributes:
        metric: The metric, or None for the objective.
        measure: Key of `MEASURES`, or None for the first that can be computed.
        one: Parameter of the pair's first axis, or None for the most important one.
        two: Of its second axis, or None.
        pair: The pair is coloured by "rank" or "value".
        colour: The parameter that colours the lineage, or None for the metric.
        over: The lineage is drawn over the "iteration" or the "time".
        log: The metric is drawn on a log scale.
        objectives: The metrics that are drawn together; none for the declared objectives, or the
            metric and the next one.
        reference: The values up to which their volume is measured; none for the worst ones.
        scheme: "light" or "dark".
    """

    metric: str | None = None
    measure: str | None = None
    one: str | None = None
    two: str | None = None
    pair: str = "rank"
    colour: str | None = None
    over: str = "iteration"
    log: bool = False
    objectives: tuple[str, ...] = ()
    reference: tuple[float, ...] = ()
    scheme: str = "light"

    @classmethod
    def of(cls, search: str, scheme: str | None) -> View:
        """Reads an address's query; what makes no sense is left out."""
        query = parse_qs(search.lstrip("?"))
        said = {key: values[-1] for key, values in query.items()}
        return cls.made({**said, "objectives": query.get("objectives", ()), "scheme": scheme})

    @classmethod
    def made(cls, chosen: Mapping[str, Any]) -> View:
        """From what the controls or a query say, by name."""
        names = ("metric", "one", "two", "colour")
        texts = {name: value for name in names if isinstance(value := chosen.get(name), str)}
        measure = chosen.get("measure")
        return cls(
            **texts,
            measure=measure if measure in MEASURES else None,
            pair="value" if chosen.get("pair") == "value" else "rank",
            over="time" if chosen.get("over") == "time" else "iteration",
            log=chosen.get("log") in (True, "1"),
            objectives=tuple(one for one in chosen.get("objectives") or () if isinstance(one, str)),
            reference=reference_of(chosen.get("reference")) or (),
            scheme=scheme_of(chosen.get("scheme")),
        )

    def filled(self, snapshot: Snapshot, analyst: Analyst) -> View:
        """With everything that was left open."""
        names = snapshot.metrics
        metric = self.metric if self.metric in names else next(iter(names), None)
        together = [name for name in dict.fromkeys(self.objectives) if name in names]
        if len(together) < 2:
            together = [name for name in objectives(snapshot) if name in names]
        if len(together) < 2:
            together = [*dict.fromkeys([metric, *names])][:2] if metric else []
        kinds = measures()
        kind = self.measure if self.measure in kinds else next(iter(kinds), "correlation")
        paths = [one.path for one in ordered(snapshot, analyst, metric, kind)]
        one = self.one if self.one in paths else next(iter(paths), None)
        rest = [path for path in paths if path != one]
        two = self.two if self.two in rest else next(iter(rest), None)
        return msgspec.structs.replace(
            self, metric=metric, measure=kind, one=one, two=two, objectives=tuple(together[:MOST])
        )


def reference_of(said: Any) -> tuple[float, ...] | None:
    """A point as it is typed, "0.5, 100"; None when these are no numbers."""
    try:
        found = tuple(float(part) for part in str(said or "").split(",") if part.strip())
    except ValueError:
        return None
    return found if all(map(math.isfinite, found)) else None


def ordered(snapshot: Snapshot, analyst: Analyst, metric: str | None, kind: str) -> list[Dimension]:
    """The parameters that vary, the most important ones first as far as that is known."""
    known = [] if metric is None else analyst.known(snapshot, metric, kind)
    place = {one.path: at for at, one in enumerate(known)}
    return sorted(snapshot.varied, key=lambda one: place.get(one.path, len(place)))


class Case(msgspec.Struct, frozen=True):
    """What a drawing is made from."""

    snapshot: Snapshot
    view: View
    analyst: Analyst

    @property
    def results(self) -> Results:
        return Results.of(self.snapshot, self.view.metric or "")

    @property
    def together(self) -> Together | None:
        """The runs with all objectives; None where there are no two."""
        names = self.view.objectives
        return Together.of(self.snapshot, names) if len(names) > 1 else None

    def dimension(self, path: str | None) -> Dimension | None:
        return next((one for one in self.snapshot.varied if one.path == path), None)


def _progress(case: Case) -> Any:
    return figures.progress(case.results, log=case.view.log, scheme=case.view.scheme)


def _importance(case: Case) -> Any:
    view = case.view
    if view.metric is None:
        return message(view.scheme, "No run has a value yet")
    kind = view.measure or "correlation"
    found = case.analyst.importance(case.snapshot, view.metric, kind)
    return figures.importances(found, kind, view.scheme)


def _slices(case: Case) -> Any:
    view, shown = case.view, case.snapshot.varied
    return figures.slices(case.results, shown, log=view.log, scheme=view.scheme)


def _ranks(case: Case) -> Any:
    view = case.view
    kind = view.measure or "correlation"
    if view.metric is not None:
        case.analyst.importance(case.snapshot, view.metric, kind)
    shown = ordered(case.snapshot, case.analyst, view.metric, kind)
    return figures.ranks(case.results, shown, view.scheme)


def _contour(case: Case) -> Any:
    view = case.view
    one, two = case.dimension(view.one), case.dimension(view.two)
    if one is None or two is None:
        return message(view.scheme, "Two parameters are needed")
    by_value = view.pair == "value"
    return figures.contour(case.results, one, two, view.scheme, by_value=by_value, log=view.log)


def _intermediate(case: Case) -> Any:
    snapshot, view = case.snapshot, case.view
    if view.metric is None:
        return message(view.scheme, "Nothing logged yet")
    points = case.analyst.points(snapshot, view.metric)
    rungs = case.analyst.rungs(snapshot)
    return course.intermediate(
        snapshot, view.metric, points, rungs, log=view.log, scheme=view.scheme
    )


def _rungs(case: Case) -> Any:
    snapshot, view = case.snapshot, case.view
    found = case.analyst.rungs(snapshot)
    why = ""
    if not found and snapshot.plan.scheduler not in STOPPERS:
        by = snapshot.plan.scheduler
        why = f"{by} has no rungs" if by else "This sweep has no early stopping"
    return course.rungs(snapshot, found, log=view.log, scheme=view.scheme, why=why)


def _survival(case: Case) -> Any:
    return course.survival(case.snapshot, case.view.scheme)


def _lineage(case: Case) -> Any:
    snapshot, view, metric = case.snapshot, case.view, case.view.metric or ""
    copies = case.analyst.copies(snapshot)
    if not copies:
        return message(view.scheme, "No run has copied another yet")
    return course.lineage(
        snapshot,
        case.analyst.members(snapshot, metric),
        copies,
        metric=metric,
        goal=case.results.goal,
        colour=view.colour if view.colour in changed(copies) else None,
        over_time=view.over == "time",
        scheme=view.scheme,
    )


def _timeline(case: Case) -> Any:
    return course.timeline(case.snapshot, case.analyst.story(case.snapshot), case.view.scheme)


def _distribution(case: Case) -> Any:
    return figures.distribution(case.results, log=case.view.log, scheme=case.view.scheme)


def _pareto(case: Case) -> Any:
    if case.together is None:
        return message(case.view.scheme, "Only one metric was logged")
    return several.pareto(case.together, case.view.scheme)


def _hypervolume(case: Case) -> Any:
    if case.together is None:
        return message(case.view.scheme, "Only one metric was logged")
    return several.hypervolume(case.together, case.view.reference, case.view.scheme)


def _what_if(case: Case) -> Any:
    found = case.analyst.what_if(case.snapshot, case.view.metric or "")
    return figures.outcomes(found.outcomes, found.runs, found.longest, case.view.scheme)


def _always(snapshot: Snapshot) -> bool:
    return True


def _stops(snapshot: Snapshot) -> bool:
    return snapshot.plan.scheduler in STOPPERS or any(run.stopped_early for run in snapshot.runs)


def _copies(snapshot: Snapshot) -> bool:
    if snapshot.plan.scheduler in POPULATIONS:
        return True
    return any("lineage" in run.meta or "exploit" in run.meta for run in snapshot.runs)


def _two(snapshot: Snapshot) -> bool:
    return len(snapshot.plan.dimensions) + len(snapshot.plan.conditional) != 1


def _paired(snapshot: Snapshot) -> bool:
    return len(snapshot.metrics) > 1


class Card(msgspec.Struct, frozen=True):
    """One drawing.

    Attributes:
        title: Its heading.
        note: What it shows; "" for what the page says itself.
        make: Makes it.
        uses: What of the reader's choices it depends on; the scheme for all.
        applies: Whether it can ever show something of a sweep: others have no such card.
        height: Pixels that it needs, by number of parameters.
    """

    title: str
    note: str
    make: Callable[[Case], Any]
    uses: tuple[str, ...]
    applies: Callable[[Snapshot], bool] = _always
    height: Callable[[int], int] = lambda parameters: 340


FIGURES: dict[str, Card] = {
    "progress": Card(
        "Progress", "Each run's value, and the best one so far.", _progress, ("metric", "log")
    ),
    "importance": Card(
        "Importance", "", _importance, ("metric", "measure"), height=figures.bars_height
    ),
    "slices": Card(
        "Slices",
        "The metric over each parameter; the best runs are strongest.",
        _slices,
        ("metric", "log"),
        height=figures.slices_height,
    ),
    "contour": Card(
        "Pair",
        "Two parameters: the runs, over what a forest expects between.",
        _contour,
        ("metric", "measure", "one", "two", "pair", "log"),
        _two,
    ),
    "ranks": Card(
        "Pairs",
        "The most important parameters pairwise, runs coloured by rank.",
        _ranks,
        ("metric", "measure"),
        _two,
        height=figures.ranks_height,
    ),
    "intermediate": Card(
        "Intermediate values",
        "Every run's curve and how it ended; dotted lines are rungs.",
        _intermediate,
        ("metric", "log"),
    ),
    "rungs": Card(
        "Rungs",
        "The objective of the runs at each rung of the early stopping, and the cut-off now.",
        _rungs,
        ("log",),
        _stops,
    ),
    "survival": Card("Early stopping", "How far runs got.", _survival, (), _stops),
    "what_if": Card(
        "What if",
        (
            "What early stopping would have saved and lost on the runs that ran to their ends; the "
            "numbers are min_iter or grace_period, of HyperBand its first rung."
        ),
        _what_if,
        ("metric",),
    ),
    "lineage": Card(
        "Lineage",
        "The members of the population; arrows go from donors to copies.",
        _lineage,
        ("metric", "colour", "over"),
        _copies,
    ),
    "timeline": Card(
        "Timeline",
        "When each run ran, and what happened; the latest ones when there are many.",
        _timeline,
        (),
    ),
    "distribution": Card(
        "Distribution",
        "The share of runs that are as good as a value.",
        _distribution,
        ("metric", "log"),
    ),
    "pareto": Card(
        "Objectives",
        "Nothing beats a run of the Pareto front: what is better in one is worse in another.",
        _pareto,
        ("metric", "objectives"),
        _paired,
    ),
    "hypervolume": Card(
        "Hypervolume",
        "The volume that the Pareto front dominates, up to a reference point, as runs ended.",
        _hypervolume,
        ("metric", "objectives", "reference"),
        _paired,
    ),
}
"""Id -> card, in their order on the page."""


def cards(snapshot: Snapshot) -> dict[str, Card]:
    """The cards that can ever show something of a sweep; what it is about comes first."""
    first = ("pareto", "hypervolume") if len(objectives(snapshot)) > 1 else ()
    order = sorted(FIGURES, key=lambda name: name not in first)
    return {name: FIGURES[name] for name in order if FIGURES[name].applies(snapshot)}


def draw(name: str, snapshot: Snapshot, view: View, analyst: Analyst) -> Any:
    """One drawing; why there is none when it cannot be made, in less room."""
    try:
        made = FIGURES[name].make(Case(snapshot, view.filled(snapshot, analyst), analyst))
    except TuneBridgeError as error:
        made = message(view.scheme, str(error))
    if made["data"]:
        return made
    (words,) = made["layout"]["annotations"]
    lines = textwrap.wrap(html.unescape(words["text"]), _LINE)
    shown = {**words, "text": "<br>".join(html.escape(line, quote=False) for line in lines)}
    height = 60 + 20 * len(lines)
    return {"data": [], "layout": {**made["layout"], "annotations": [shown], "height": height,
                                   "margin": {"l": 8, "r": 8, "t": 8, "b": 8}}}  # fmt: skip


_LINE = 44  # characters that a phone has room for
