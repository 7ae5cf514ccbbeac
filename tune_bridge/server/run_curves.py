"""The curves of a run: what a reader has chosen of them, their points, drawing and marks."""

from __future__ import annotations

import bisect
import html
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode

import msgspec

from tune_bridge.backends.base import Row, Run
from tune_bridge.server.addresses import scheme_of
from tune_bridge.server.figures import COLOURS, FRONT, INK, Line, run_curves, smoothed, thinned
from tune_bridge.server.run_life import Change
from tune_bridge.server.values import flatten, is_number, text
from tune_bridge.server.views import Reader, Snapshot

__all__ = ["AXES", "SMOOTH", "Look", "curves_data", "labels", "marks", "metrics_of", "run_figure"]

AXES = {"_step": "step", "_timestamp": "time", "training_iteration": "training iteration"}
"""What a curve can be drawn over: the key of a row -> its word."""

SMOOTH = (0, 0.5, 0.8, 0.9, 0.95)
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "1px 5px", "9px 2px 2px")
"""The metrics of several runs, whose colours are the runs'."""

_MARKS = 50
_OF_ROWS = frozenset({"_step", "_timestamp"})
"""Axes that are a row's own, and none of its values."""


class Look(msgspec.Struct, frozen=True):
    """What a reader has chosen on a run's page, kept in the query of its address.

    Attributes:
        metrics: The metrics that are drawn.
        over: Key of `AXES`.
        smooth: Weight of what came before in the exponential moving average, from 0 to below 1.
        log: Draw on a log scale.
        others: Ids of the runs to compare with, each once; some may not exist.
        everything: Of their configurations, show what is the same, too.
        scheme: "light" or "dark".
    """

    metrics: tuple[str, ...] = ()
    over: str = "_step"
    smooth: float = 0.0
    log: bool = False
    others: tuple[str, ...] = ()
    everything: bool = False
    scheme: str = "light"

    @classmethod
    def of(cls, search: str, scheme: str | None) -> Look:
        """Reads an address's query; what makes no sense is left out."""
        query = parse_qs(search.lstrip("?"))
        last = {key: values[-1] for key, values in query.items()}
        return cls.made(
            query.get("y"),
            last.get("x"),
            last.get("smooth"),
            last.get("log") == "1",
            scheme,
            [part for given in query.get("with", ()) for part in given.split(",")],
            last.get("all") == "1",
        )

    @classmethod
    def made(
        cls,
        metrics: Any,
        over: Any,
        smooth: Any,
        log: Any,
        scheme: Any,
        others: Any = (),
        everything: Any = False,
    ) -> Look:
        """From what the controls say."""
        try:
            weight = float(smooth or 0)
        except (TypeError, ValueError):
            weight = 0.0
        return cls(
            metrics=tuple(str(name) for name in metrics or ()),
            over=over if over in AXES else "_step",
            smooth=weight if weight in SMOOTH else 0.0,
            log=bool(log),
            others=tuple(dict.fromkeys(part for one in others or () if (part := str(one).strip()))),
            everything=bool(everything),
            scheme=scheme_of(scheme),
        )

    def query(self, others: Sequence[str]) -> str:
        """The query of the same page with other runs."""
        said: list[tuple[str, str]] = [("y", name) for name in self.metrics]
        said += [("x", self.over)] if self.over != "_step" else []
        said += [("smooth", str(self.smooth))] if self.smooth else []
        said += [("log", "1")] if self.log else []
        said += [("with", ",".join(others))] if others else []
        return urlencode([*said, *([("all", "1")] if self.everything else [])], safe=",")

    def drawn(self, snapshot: Snapshot, run: Run) -> list[str]:
        """The metrics to draw: the chosen ones that there are, else the objective."""
        names = metrics_of(snapshot, run)
        return [name for name in self.metrics if name in names] or names[:1]


def metrics_of(snapshot: Snapshot, run: Run) -> list[str]:
    """Keys that hold numbers in a run, the objective first."""
    summary = flatten(run.summary)
    names = [name for name in snapshot.metrics if is_number(summary.get(name))]
    return names or snapshot.metrics


def labels(runs: Sequence[Run]) -> list[str]:
    """What runs are called, each by a name of its own."""
    names = [run.name or run.id for run in runs]
    return [
        name if names.count(name) == 1 else f"{text(name, 40)} ({run.id})"
        for run, name in zip(runs, names, strict=True)
    ]


def run_figure(
    reader: Reader,
    snapshot: Snapshot,
    run: Run,
    look: Look,
    changes: Sequence[Change] = (),
    others: Sequence[Run] = (),
) -> dict[str, Any]:
    """The curves of a run, with a mark where its configuration changed.

    Args:
        reader: Has the rows.
        snapshot: The sweep.
        run: The run.
        look: What a reader has chosen.
        changes: Of the run's configuration.
        others: Runs to draw over it, a colour each.
    """
    names = look.drawn(snapshot, run)
    rows = _rows(reader, run, look, names)
    points = {name: _points(found, name, look.over) for name, found in rows.items()}
    if others:
        lines = _lines_of(reader, (run, *others), look, names, points)
    else:
        lines = [
            Line(name, line, COLOURS[place % len(COLOURS)], group=f"y{place}")
            for place, (name, line) in enumerate(points.items())
        ]
    figure = run_curves(
        lines,
        ", ".join(names),
        over=AXES[look.over],
        times=look.over == "_timestamp",
        smooth=look.smooth,
        log=look.log,
        scheme=look.scheme,
    )
    if figure["data"] and changes and any(points.values()):
        start = 0.0
        if look.over == "_timestamp":
            start = min(line[0][0] for line in points.values() if line)
        placed = [(at - start, words) for at, words in marks(_longest(rows), look.over, changes)]
        _add_marks(figure, placed, look.scheme)
    return figure


def _lines_of(
    reader: Reader,
    runs: Sequence[Run],
    look: Look,
    names: Sequence[str],
    points: dict[str, list[tuple[float, float]]],
) -> list[Line]:
    """The lines of several runs: a colour for each run, a dash for each metric.

    Args:
        reader: Has the rows.
        runs: The runs.
        look: What a reader has chosen.
        names: The metrics.
        points: Of the first run.
    """
    several = len(names) > 1
    made: list[Line] = []
    called = labels(runs)
    colours = (FRONT[look.scheme], *COLOURS)
    for place, (run, label) in enumerate(zip(runs, called, strict=True)):
        if place:
            rows = _rows(reader, run, look, names)
            points = {name: _points(found, name, look.over) for name, found in rows.items()}
        group, colour = f"run{place}", colours[place % len(colours)]
        shown = text(label, 40)
        if several:
            made.append(Line(shown, (), colour, group=group))
        for name, dash in zip(names, _DASHES, strict=False):
            full = f"{shown}: {text(name, 40)}" if several else shown
            made.append(Line(full, points[name], colour, dash, group, listed=not several))
    if several:
        ink = INK[look.scheme]
        made += [Line(name, (), ink, dash) for name, dash in zip(names, _DASHES, strict=False)]
    return made


def _rows(reader: Reader, run: Run, look: Look, names: Sequence[str]) -> dict[str, list[Row]]:
    """For each metric to draw, rows that hold it: of a long history a sample of the database's."""
    also = [] if look.over in _OF_ROWS else [look.over]
    return {name: reader.backend.sample(run.id, name, also=also) for name in names}


def _longest(rows: Mapping[str, list[Row]]) -> list[Row]:
    return max(rows.values(), key=len, default=[])


def marks(
    rows: Sequence[Row], over: str, changes: Sequence[Change]
) -> list[tuple[float, list[Change]]]:
    """Where on the axis a configuration changed: place and changes, at most `_MARKS` of them."""
    found: list[tuple[float, list[Change]]] = []
    times = [row.time for row in rows]
    for time, group in itertools.groupby(changes, key=lambda change: change.time):
        members = list(group)
        place: Any = time if over == "_timestamp" else None
        if over == "_step":
            place = members[0].step
        if place is None:
            before = bisect.bisect_right(times, time) - 1
            places = (_place(row, over) for row in reversed(rows[: before + 1]))
            place = next((value for value in places if is_number(value)), None)
        if place is not None:
            found.append((float(place), members))
    return found[-_MARKS:]


def _points(rows: Sequence[Row], name: str, over: str) -> list[tuple[float, float]]:
    found = []
    for row in rows:
        value: Any = row.values.get(name)
        place = _place(row, over)
        if is_number(value) and is_number(place):
            found.append((float(place), float(value)))
    return found


def _place(row: Row, over: str) -> Any:
    """Where a row stands on the axis."""
    if over == "_step":
        return row.step
    return row.time if over == "_timestamp" else row.values.get(over)


def _add_marks(
    figure: dict[str, Any], placed: Sequence[tuple[float, list[Change]]], scheme: str
) -> None:
    """Dotted lines where a configuration changed, and above them what has."""
    layout = figure["layout"]
    line = {"color": INK[scheme], "width": 1, "dash": "dot"}
    layout["shapes"] = [
        {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": line}
        for at, _ in placed
    ]
    layout["annotations"] = [
        {
            "x": at,
            "y": 1,
            "yref": "paper",
            "yanchor": "bottom",
            "showarrow": False,
            "text": "\N{BLACK DIAMOND}",
            "font": {"size": 10, "color": INK[scheme]},
            "hovertext": "<br>".join(_words(change) for change in changes[:12]),
        }
        for at, changes in placed
    ]


def _words(change: Change) -> str:
    """What has changed, for Plotly, which reads tags."""
    if not change.key:
        return html.escape(f"state of {text(change.donor, 40)}", quote=False)
    words = f"{text(change.key, 40)}: {text(change.old, 40)} \N{RIGHTWARDS ARROW} "
    return html.escape(words + text(change.new, 40), quote=False)


def curves_data(
    reader: Reader,
    snapshot: Snapshot,
    run: Run,
    look: Look,
    changes: Sequence[Change],
    others: Sequence[Run] = (),
) -> dict[str, Any]:
    """The numbers of the curves, for programs: what the drawing shows; see `run_figure`."""
    names = look.drawn(snapshot, run)
    curves = []
    first: dict[str, list[Row]] = {}
    for one in (run, *others):
        rows = _rows(reader, one, look, names)
        first = first or rows
        for name, found in rows.items():
            points = thinned(_points(found, name, look.over))
            values = [value for _, value in points]
            smooth = {"smoothed": smoothed(_finite(values), look.smooth)} if look.smooth else {}
            curves.append(
                {
                    "run_id": one.id,
                    "metric": name,
                    "x": [at for at, _ in points],
                    "y": values,
                    **smooth,
                }
            )
    shown = [
        {"x": at, "changes": [msgspec.structs.asdict(change) for change in members]}
        for at, members in marks(_longest(first), look.over, changes)
    ]
    return {
        "run_id": run.id,
        "x": look.over,
        "smooth": look.smooth,
        "curves": curves,
        "config_changes": shown,
    }


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]
