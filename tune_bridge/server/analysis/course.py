"""The drawings of how runs went: curves, rungs, lineage, timeline; as plain Plotly figures."""

from __future__ import annotations

import bisect
import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tune_bridge.server.analysis.frames import axis, framed, short, shorts
from tune_bridge.server.analysis.lineage import Member
from tune_bridge.server.analysis.results import run_name
from tune_bridge.server.analysis.rungs import Rung
from tune_bridge.server.analysis.story import MARKS, Copy, Story
from tune_bridge.server.axes import make_axis
from tune_bridge.server.figures import COLOURS, INK, RAMP, RULE, message
from tune_bridge.server.values import flatten, number, text
from tune_bridge.server.views import KINDS, Dimension, Snapshot, kind_of

__all__ = ["intermediate", "lineage", "rungs", "survival", "timeline"]

_BARS = 400  # runs of a timeline
_MARKS = 1500
_CURVES, _POINTS = 200, 6000  # runs with a curve, and points of all curves
_DOTS = 300  # runs of a rung
_ARROWS = 400
_NAMES = 30  # members whose names have room
_SYMBOLS = {"stopped_early": "x", "failed": "cross", "crashed": "cross", "running": "circle-open"}


def intermediate(
    snapshot: Snapshot,
    metric: str,
    points: Mapping[str, Sequence[tuple[int, float]]],
    rungs: Sequence[Rung],
    *,
    log: bool,
    scheme: str,
) -> dict[str, Any]:
    """The curves of all runs with their ends, and the rungs.

    Args:
        snapshot: The sweep.
        metric: The metric.
        points: Its steps and values, by run.
        rungs: Of the early stopping, in reports.
        log: Log scale.
        scheme: "light" or "dark".
    """
    drawn = [index for index, run in enumerate(snapshot.runs) if points.get(run.id)]
    if not drawn:
        return message(scheme, "Nothing logged yet")
    drawn = _chosen(snapshot, drawn)
    most = max(6, _POINTS // len(drawn))
    data: list[dict[str, Any]] = []
    for kind, (word, colour) in KINDS.items():
        mine = [index for index in drawn if kind_of(snapshot.runs[index]) == kind]
        if not mine:
            continue
        xs: list[int | None] = []
        ys: list[float | None] = []
        ends = []
        for index in mine:
            line = points[snapshot.runs[index].id]
            every = -(-len(line) // most)
            shown = [*line[:-1:every], line[-1]]
            xs += [*(step for step, _ in shown), None]
            ys += [*(_finite(value) for _, value in shown), None]
            ends.append((line[-1][0], _finite(line[-1][1]), run_name(snapshot.runs[index])))
        data += [
            {
                "type": "scatter", "mode": "lines", "uid": f"curves{kind}", "name": word,
                "x": xs[:-1], "y": ys[:-1], "connectgaps": False, "hoverinfo": "skip",
                "legendgroup": kind, "showlegend": False,
                "line": {"color": colour, "width": 1}, "opacity": max(0.25, 20 / len(drawn))
                if len(drawn) > 20 else 0.9,
            },
            {
                "type": "scatter", "mode": "markers", "uid": f"ends{kind}", "name": word,
                "x": [x for x, _, _ in ends], "y": [y for _, y, _ in ends],
                "text": [name for _, _, name in ends], "legendgroup": kind,
                "marker": {"color": colour, "size": 6, "symbol": _SYMBOLS.get(kind, "circle")},
                "hovertemplate": f"<b>%{{text}}</b><br>{word} at step %{{x}}<br>%{{y:.6g}}"
                "<extra></extra>",
            },
        ]  # fmt: skip
    lines = [
        {
            "type": "line", "x0": at - 1, "x1": at - 1, "y0": 0, "y1": 1, "yref": "paper",
            "line": {"color": INK[scheme], "width": 1, "dash": "dot"}, "layer": "below",
        }
        for at in dict.fromkeys(math.ceil(rung.at) for rung in rungs)
    ]  # fmt: skip
    frame = framed(
        scheme,
        axis(scheme, "step"),
        axis(scheme, metric, type="log" if log else "linear"),
        showlegend=True,
        shapes=lines,
    )
    return {"data": data, "layout": frame}


def _chosen(snapshot: Snapshot, drawn: Sequence[int]) -> list[int]:
    """As many runs as have room: the best ones, a fifth, and every n-th of the others."""
    if len(drawn) <= _CURVES:
        return list(drawn)
    there = set(drawn)
    best = [index for index in snapshot.ranked() if index in there][: _CURVES // 5]
    rest = [index for index in drawn if index not in set(best)]
    return sorted([*best, *rest[:: -(-len(rest) // (_CURVES - len(best)))]])


def _finite(value: float) -> float | None:
    return short(value) if math.isfinite(value) else None


def rungs(
    snapshot: Snapshot, found: Sequence[Rung], *, log: bool, scheme: str, why: str = ""
) -> dict[str, Any]:
    """The values of runs at each rung, who was let on, and the cut-off.

    Args:
        snapshot: The sweep.
        found: The rungs.
        log: Log scale of the values.
        scheme: "light" or "dark".
        why: What to say when there is none.
    """
    if not found:
        return message(scheme, why or "No run has come to a rung yet")
    data: list[dict[str, Any]] = []
    groups = (("let on", False, "finished"), ("stopped there", True, "stopped_early"))
    for word, stopped, kind in groups:
        dots = [
            (place + _jitter(index), value, index)
            for place, rung in enumerate(found)
            for index, value, ended in rung.runs[:: -(-len(rung.runs) // _DOTS) or 1]
            if ended == stopped and math.isfinite(value)
        ]
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": word, "uid": f"rung{kind}",
                "x": [round(x, 3) for x, _, _ in dots], "y": shorts([y for _, y, _ in dots]),
                "text": [run_name(snapshot.runs[index]) for _, _, index in dots],
                "marker": {
                    "color": KINDS[kind][1], "size": 6, "opacity": 0.75,
                    "symbol": "x" if stopped else "circle",
                },
                "hovertemplate": f"<b>%{{text}}</b><br>%{{y:.6g}}, {word}<extra></extra>",
            }
        )  # fmt: skip
    cuts = [(place, rung) for place, rung in enumerate(found) if rung.cutoff is not None]
    data.append(
        {
            "type": "scatter", "mode": "lines", "name": "cut-off", "uid": "cutoff",
            "x": [x for place, _ in cuts for x in (place - 0.4, place + 0.4, None)],
            "y": [y for _, rung in cuts for y in (short(rung.cutoff or 0), short(rung.cutoff or 0),
                                                  None)],
            "line": {"color": COLOURS[3], "width": 2},
            "hovertemplate": "cut-off %{y:.6g}<extra></extra>",
        }
    )  # fmt: skip
    words = [
        f"{number(rung.at)}{'' if rung.bracket is None else f' ({rung.bracket})'}"
        f"<br>{rung.came} → {rung.let_on}"
        for rung in found
    ]
    metric = snapshot.plan.objective or "value"
    kind = "rung" if found[0].bracket is None else "rung (bracket)"
    return {
        "data": data,
        "layout": framed(
            scheme,
            axis(
                scheme, f"{kind}; runs that came → were let on", showgrid=False,
                tickvals=list(range(len(found))), ticktext=words, range=[-0.6, len(found) - 0.4],
            ),
            axis(scheme, metric, type="log" if log else "linear"),
            showlegend=True,
            margin={"l": 64, "r": 16, "t": 8, "b": 60},
        ),
    }  # fmt: skip


def _jitter(index: int) -> float:
    """Where a run stands beside a rung's middle: spread, and the same at every rung."""
    return (index * 0.6180339887 % 1 - 0.5) * 0.6


def lineage(
    snapshot: Snapshot,
    found: Sequence[Member],
    copies: Sequence[Copy],
    *,
    metric: str,
    goal: str,
    colour: str | None,
    over_time: bool,
    scheme: str,
) -> dict[str, Any]:
    """The members of a population, a row for each, with arrows from donors to copies.

    Args:
        snapshot: The sweep.
        found: Its members.
        copies: What happened, in order of time; at least one.
        metric: The metric of the members' points.
        goal: Its goal.
        colour: The parameter that gives points their colours; None for the metric.
        over_time: The x axis is the time, and not the training iteration.
        scheme: "light" or "dark".
    """
    rows = {snapshot.runs[member.index].id: place for place, member in enumerate(found)}
    values: list[Any] = []
    xs: list[float] = []
    ys: list[int] = []
    most = max(8, _POINTS // 2 // max(len(found), 1))
    for place, member in enumerate(found):
        for at, value, config in _places(snapshot, member, over_time, metric, most):
            xs.append(at)
            ys.append(place)
            values.append(value if colour is None else config.get(colour))
    where = make_axis(_dimension(snapshot, colour or metric), values)
    ramp, label = RAMP[scheme], html.escape(where.label, quote=False)
    best_low = colour is None and goal == "minimize"
    ordered = sorted(where.positions)
    cut = len(ordered) // 10 if colour is None else 0  # the worst tenth, which begins, shares one
    low, high = (ordered[0], ordered[-1 - cut]) if best_low else (ordered[cut], ordered[-1])
    scale = [
        [place / (len(ramp) - 1), tint]
        for place, tint in enumerate(ramp[::-1] if best_low else ramp)
    ]
    bar: dict[str, Any] = {
        "title": {"text": label, "side": "right"},
        "thickness": 12, "outlinewidth": 0,
    }  # fmt: skip
    if colour is not None:
        bar["tickvals"] = where.tick_positions
        bar["ticktext"] = [html.escape(item, quote=False) for item in where.tick_texts]
    names = [run_name(snapshot.runs[member.index]) for member in found]
    shown = [copy for copy in copies if copy.run in rows]
    ends = [_ends(copy, over_time) for copy in shown]
    arrows = [
        (ends[place][0], rows[copy.donor], ends[place][1], rows[copy.run])
        for place, copy in enumerate(shown)
        if copy.donor in rows
    ][-_ARROWS:]
    side = {
        "tickvals": list(range(len(names))), "ticktext": names, "showgrid": False,
        "range": [len(names) - 0.4, -0.6], "showticklabels": len(names) <= _NAMES,
        "automargin": True,
    }  # fmt: skip
    first = {y: x for x, y in zip(reversed(xs), reversed(ys), strict=True)}
    last = dict(zip(ys, xs, strict=True))
    return {
        "data": [
            {
                "type": "scatter", "mode": "lines", "uid": "rows", "hoverinfo": "skip",
                "x": [x for y in first for x in (first[y], last[y], None)],
                "y": [each for y in first for each in (y, y, None)],
                "line": {"color": RULE[scheme], "width": 5},
            },
            {
                "type": "scatter", "mode": "markers", "uid": "members", "name": "reports",
                "x": xs, "y": ys, "text": [text(value, 30) for value in values],
                "marker": {
                    "symbol": "square", "size": 9, "color": shorts(where.positions),
                    "colorscale": scale, "colorbar": bar, "showscale": True,
                    "cmin": short(low), "cmax": short(high if high > low else low + 1),
                },
                "hovertemplate": f"{label} %{{text}}<extra></extra>",
            },
            {
                "type": "scatter", "mode": "lines+markers", "uid": "arrows", "hoverinfo": "skip",
                "x": [x for a, _, b, _ in arrows for x in (a, b, None)],
                "y": [y for _, a, _, b in arrows for y in (a, b, None)],
                "line": {"color": INK[scheme], "width": 1.2},
                "marker": {
                    "symbol": "arrow", "angleref": "previous", "color": INK[scheme],
                    "size": [0, 11, 0] * len(arrows),
                },
            },
            {
                "type": "scatter", "mode": "markers", "uid": "copies", "name": "copies",
                "x": [at for _, at in ends], "y": [rows[copy.run] for copy in shown],
                "text": [_said(snapshot, names, rows, copy) for copy in shown],
                "marker": {
                    "symbol": "circle-open", "size": 15, "color": MARKS["exploit"][2],
                    "line": {"width": 2},
                },
                "hovertemplate": "%{text}<extra></extra>",
            },
        ],
        "layout": framed(
            scheme,
            axis(scheme, "", type="date") if over_time else axis(scheme, "training iteration"),
            axis(scheme, "", **side),
            showlegend=False,
        ),
    }  # fmt: skip


def _dimension(snapshot: Snapshot, path: str) -> Dimension:
    return next((one for one in snapshot.searched if one.path == path), Dimension(path))


def _places(
    snapshot: Snapshot, member: Member, over_time: bool, metric: str, most: int
) -> list[tuple[float, Any, dict[str, Any]]]:
    """Where a member's points stand, the metric there, and the configuration."""
    if not over_time:
        line = member.points
        every = -(-len(line) // most) or 1
        shown = [*line[:-1:every], *line[-1:]]
        return [(at, value, member.configs[place]) for at, value, place in shown]
    run, last = snapshot.runs[member.index], snapshot.summaries[member.index].get(metric)
    ends = {place: value for _, value, place in member.points}  # the last value of each
    end = run.ended_at if run.ended_at is not None else snapshot.read_at
    found = [
        (1000 * since, ends.get(place, last), member.configs[place])
        for place, since in enumerate(member.since)
    ]
    return [*found, (1000 * end, last, member.configs[-1])]


def _ends(copy: Copy, over_time: bool) -> tuple[float, float]:
    """Where the arrow of a copy begins and ends."""
    if over_time:
        return 1000 * copy.time, 1000 * copy.time
    at = copy.at or 0
    return (at if copy.donor_at is None else copy.donor_at), at


def _said(snapshot: Snapshot, names: Sequence[str], rows: Mapping[str, int], copy: Copy) -> str:
    """What a copy was, for people."""
    said = f"<b>{names[rows[copy.run]]}</b>"
    if copy.donor is not None:
        said += f" goes on from {names[rows[copy.donor]] if copy.donor in rows else copy.donor}"
    if copy.at is not None:
        said += f" at iteration {copy.at}"
    if copy.score is not None and copy.donor_score is not None:
        said += f"<br>{number(copy.score)}, the donor {number(copy.donor_score)}"
    old, new = flatten(copy.old), flatten(copy.new)
    changes = [
        html.escape(f"{key} {text(old.get(key), 20)} → {text(new[key], 20)}", quote=False)
        for key in new
        if new[key] != old.get(key)
    ]
    return "<br>".join([said, *changes[:8]])


def timeline(snapshot: Snapshot, story: Story, scheme: str) -> dict[str, Any]:
    """When each run ran, with its pauses and what happened; the latest ones when there are many."""
    found = [
        (run, end)
        for run in snapshot.runs
        if run.started_at is not None
        and (end := run.ended_at if run.ended_at is not None else snapshot.read_at) is not None
    ][-_BARS:]
    if not found:
        return message(scheme, "No run has begun")
    data: list[dict[str, Any]] = []
    for kind, (word, colour) in KINDS.items():
        parts = [
            (place, run, begin, stop)
            for place, (run, end) in enumerate(found)
            if kind_of(run) == kind
            for begin, stop in spans(run.started_at or 0.0, end, story.gaps.get(run.id, ()))
        ]
        if not parts:
            continue
        data.append(
            {
                "type": "bar", "orientation": "h", "name": word, "uid": kind,
                "base": [round(1000 * begin) for _, _, begin, _ in parts],
                "x": [max(round(1000 * (stop - begin)), 1) for _, _, begin, stop in parts],
                "y": [place for place, _, _, _ in parts],
                "marker": {"color": colour},
                "text": [run_name(run) for _, run, _, _ in parts],
                "textposition": "none",
                "hovertemplate": f"<b>%{{text}}</b><br>{word}<extra></extra>",
            }
        )  # fmt: skip
    rows = {run.id: place for place, (run, _) in enumerate(found)}
    marks = [mark for mark in story.marks if mark.run in rows][-_MARKS:]
    for kind, (word, symbol, colour) in MARKS.items():
        mine = [mark for mark in marks if mark.kind == kind]
        if not mine:
            continue
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": word, "uid": f"mark{kind}",
                "x": [round(1000 * mark.time) for mark in mine],
                "y": [rows[mark.run] for mark in mine],
                "text": [
                    run_name(found[rows[mark.run]][0])
                    + (f"<br>{html.escape(text(mark.text, 80), quote=False)}" if mark.text else "")
                    for mark in mine
                ],
                "marker": {
                    "symbol": symbol, "size": 9, "color": colour,
                    "line": {"width": 1, "color": INK[scheme]},
                },
                "hovertemplate": f"<b>{word}</b><br>%{{text}}<extra></extra>",
            }
        )  # fmt: skip
    return {
        "data": data,
        "layout": framed(
            scheme,
            axis(scheme, "", type="date"),
            axis(scheme, "runs", autorange="reversed", showticklabels=False, showgrid=False),
            bargap=0.15,
            barmode="overlay",
            showlegend=True,
        ),
    }


def spans(
    begin: float, end: float, gaps: Sequence[tuple[float, float | None]]
) -> list[tuple[float, float]]:
    """When a run ran between its beginning and its end, without its pauses."""
    found, at = [], begin
    for left, back in gaps:
        if at < left:
            found.append((at, min(left, end)))
        at = end if back is None else max(at, back)
    if at < end or not found:
        found.append((min(at, end), end))
    return found


def survival(snapshot: Snapshot, scheme: str) -> dict[str, Any]:
    """How many runs got how far: where early stopping ended them."""
    ended = [run for run in snapshot.runs if run.ended_at is not None and run.rows]
    if not any(run.stopped_early for run in ended):
        return message(scheme, "No run was stopped early")
    longest = max(run.rows for run in ended)
    points = sorted({1, longest, *(run.rows for run in ended)})
    if len(points) > _CURVES:
        points = [*points[:: -(-len(points) // _CURVES)], longest]
    rows = sorted(run.rows for run in ended)
    stops: dict[int, int] = {}
    for run in ended:
        if run.stopped_early:
            stops[run.rows] = stops.get(run.rows, 0) + 1
    hover = "%{y} runs reported %{x} times or more<extra></extra>"
    return {
        "data": [
            {
                "type": "scatter", "mode": "lines", "name": "runs that got that far",
                "uid": "survival", "x": points,
                "y": [len(rows) - bisect.bisect_left(rows, point) for point in points],
                "line": {"color": COLOURS[0], "width": 2, "shape": "vh"}, "hovertemplate": hover,
            },
            {
                "type": "bar", "name": "stopped early there", "uid": "stops",
                "x": list(stops), "y": list(stops.values()),
                "marker": {"color": KINDS["stopped_early"][1], "opacity": 0.8},
                "hovertemplate": "%{y} runs were stopped after report %{x}<extra></extra>",
            },
        ],
        "layout": framed(
            scheme,
            axis(scheme, "reports"),
            axis(scheme, "runs", rangemode="tozero", tickformat="d"),
        ),
    }  # fmt: skip
