"""The two drawings of a sweep: parallel coordinates and metric curves, as plain Plotly figures."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tune_bridge.backends.base import Backend
from tune_bridge.server.packed import pack
from tune_bridge.server.values import is_number, text
from tune_bridge.server.views import KINDS, Snapshot, kind_of

__all__ = [
    "COLOURS", "FRONT", "INK", "RAMP", "RULE", "Line", "curves", "histories_of", "layout",
    "message", "run_curves", "sample", "smoothed", "thinned",
]  # fmt: skip

_POINTS = 16_000
_LINES = 400
_MANY = 200
_ALONE = 12
_FEW = 8
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif'
INK = {"light": "#495057", "dark": "#b8bcc4"}
RULE = {"light": "#e9ecef", "dark": "#34373d"}
FRONT = {"light": "#1a1b1e", "dark": "#ffffff"}
COLOURS = ("#228be6", "#e8940c", "#12a37c", "#e03131", "#7950f2", "#d6336c", "#15aabf", "#74b816")
_PANEL = {"light": "#ffffff", "dark": "#1c1e21"}
RAMP = {
    "light": ("#f0a35e", "#f07c5f", "#e65164", "#b63679", "#7b2382", "#3b0f70"),
    "dark": ("#5f4fa3", "#7d3c98", "#b5367a", "#f1605d", "#feb078", "#fcfdbf"),
}
"""Worst to best: faint to strong against the background."""


def layout(scheme: str, **more: Any) -> dict[str, Any]:
    """What all drawings have in common."""
    return {
        "paper_bgcolor": _PANEL[scheme],
        "plot_bgcolor": _PANEL[scheme],
        "font": {"family": _FONT, "size": 12, "color": INK[scheme]},
        **more,
    }


def message(scheme: str, words: str) -> dict[str, Any]:
    """Words where a drawing would be."""
    return {
        "data": [],
        "layout": layout(
            scheme,
            xaxis={"visible": False},
            yaxis={"visible": False},
            annotations=[
                {
                    "text": html.escape(words, quote=False),
                    "x": 0.5,
                    "y": 0.5,
                    "xref": "paper",
                    "yref": "paper",
                    "showarrow": False,
                    "font": {"size": 14},
                }
            ],
        ),
    }


def histories_of(
    backend: Backend, snapshot: Snapshot, indices: Sequence[int], metric: str
) -> Mapping[str, Sequence[tuple[int, float]]]:
    """Points of the runs to draw, by run id, thinned so that all of them stay quick."""
    many = len(snapshot.runs)
    if many <= _MANY or len(indices) > _ALONE:
        most = max(10, min(500, _POINTS // max(many, 1)))
        return backend.histories(snapshot.sweep.id, metric, max_points=most)
    found = {}
    for index in indices:  # a few of many: reading all would be slow, and few points are left
        run = snapshot.runs[index].id
        points: list[tuple[float, float]] = []
        for row in backend.history(run, keys=[metric]):
            value: Any = row.values.get(metric)
            if is_number(value):
                points.append((row.step, float(value)))
        if points:
            found[run] = [(int(step), value) for step, value in thinned(points, 500)]
    return found


def sample(snapshot: Snapshot, indices: Sequence[int], most: int) -> list[int]:
    """At most so many runs, in their order: half of them the best ones, the rest evenly."""
    if len(indices) <= most:
        return list(indices)
    allowed = set(indices)
    best = {*itertools.islice((i for i in snapshot.ranked() if i in allowed), most // 2)}
    rest = [index for index in indices if index not in best]
    room = most - len(best)
    best.update(rest[place * len(rest) // room] for place in range(room))
    return sorted(best)


def curves(
    snapshot: Snapshot,
    indices: Sequence[int],
    metric: str | None,
    histories: Mapping[str, Sequence[tuple[int, float]]],
    *,
    log: bool,
    scheme: str,
) -> dict[str, Any]:
    """Metric curves: a line for each run, the best one (by the objective) in front.

    A few runs have a colour each; many share the colour of their state, one trace for each state,
    so that a thousand lines stay quick.

    Args:
        snapshot: The sweep.
        indices: The runs to draw.
        metric: The metric.
        histories: Points by run id.
        log: Log scale; values that are not positive have no place on it.
        scheme: "light" or "dark".
    """
    found = [index for index in indices if histories.get(snapshot.runs[index].id)]
    drawn = sample(snapshot, found, _LINES)
    if metric is None or not drawn:
        return message(scheme, "Nothing logged yet" if indices else "No run fits the filter")
    ranked = set(indices)
    best = next((index for index in snapshot.ranked() if index in ranked), None)
    few = len(drawn) <= _FEW
    groups: dict[str, list[int]] = {}
    for index in drawn:
        if few or index != best:
            run = snapshot.runs[index]
            groups.setdefault(run.id if few else kind_of(run), []).append(index)
    single = max(len(histories[snapshot.runs[index].id]) for index in drawn) == 1
    opacity = 1.0 if few else max(0.25, min(0.8, 25 / len(drawn)))
    traces = []
    order = list(groups) if few else [kind for kind in KINDS if kind in groups]
    for place, key in enumerate(order):
        run = snapshot.runs[groups[key][0]]
        traces.append(
            _trace(
                snapshot,
                groups[key],
                histories,
                uid=f"run{groups[key][0]}" if few else key,
                name=(run.name or run.id) if few else KINDS[key][0],
                colour=COLOURS[place % len(COLOURS)] if few else KINDS[key][1],
                width=1.8 if few else 1.1,
                opacity=opacity,
                dots=single,
            )
        )
    if not few and best is not None and best in drawn:
        traces.append(
            _trace(
                snapshot,
                [best],
                histories,
                uid="best",
                name="best",
                colour=FRONT[scheme],
                width=2.4,
                opacity=1.0,
                dots=single,
            )
        )
    last_step = max(histories[snapshot.runs[index].id][-1][0] for index in drawn)
    return {
        "data": [part for trace in traces for part in _with_legend(trace)],
        "layout": _curve_layout(metric, last_step, log=log, scheme=scheme),
    }


class Line(msgspec.Struct, frozen=True):
    """A curve of `run_curves`.

    Attributes:
        name: What it is called, where the mouse rests on it and in the legend.
        points: Places and values, by place.
        colour: Of Plotly.
        dash: Of Plotly.
        group: Lines of one group begin together, and are switched off together.
        listed: It stands in the legend.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    dash: str = "solid"
    group: str = ""
    listed: bool = True


def run_curves(
    lines: Sequence[Line],
    title: str,
    *,
    over: str,
    times: bool,
    smooth: float,
    log: bool,
    scheme: str,
) -> dict[str, Any]:
    """The curves of one run or of a few.

    Args:
        lines: What is drawn; a line without points stands in the legend alone.
        title: Of the vertical axis.
        over: What the places are, as the axis says.
        times: The places are seconds since the epoch; they are drawn from the first one of the
            line's group on.
        smooth: Weight of what came before in the exponential moving average (debiased, as W&B and
            TensorBoard draw it); 0 for none. The values themselves stay, faintly.
        log: Log scale.
        scheme: "light" or "dark".
    """
    if not any(line.points for line in lines):
        return message(scheme, "Nothing logged yet")
    starts: dict[str, float] = {}
    for line in lines if times else ():
        if line.points:
            first = line.points[0][0]
            starts[line.group] = min(first, starts.get(line.group, first))
    traces = []
    for place, line in enumerate(lines):
        shown = thinned(line.points)
        start = starts.get(line.group, 0.0)
        places: list[float | None] = [at - start for at, _ in shown]
        base = {
            "type": "scatter",
            "x": places or [None],
            "name": html.escape(text(line.name, 60), quote=False),
            "legendgroup": line.group or f"y{place}",
            "showlegend": line.listed,
            "connectgaps": False,
            "hovertemplate": f"{over} %{{x}}<br>%{{y:.6g}}<extra>%{{fullData.name}}</extra>",
            "marker": {"color": line.colour, "size": 6},
            "line": {"color": line.colour, "width": 1.8, "dash": line.dash},
            "mode": "lines+markers" if 0 < len(shown) <= 30 else "lines",
        }
        values: list[float | None] = [_rounded(value) for _, value in shown] or [None]
        if smooth and shown:
            faint = {
                "opacity": 0.25,
                "showlegend": False,
                "hoverinfo": "skip",
                "uid": f"raw{place}",
            }
            traces.append({**base, **faint, "y": values, "mode": "lines"})
            values = smoothed(values, smooth)
        traces.append({**base, "y": values, "uid": f"y{place}"})
    last = max(line.points[-1][0] - starts.get(line.group, 0.0) for line in lines if line.points)
    framed = _curve_layout(title, math.ceil(last), log=log, scheme=scheme)
    framed["xaxis"]["title"] = {"text": f"{over} (s)" if times else over, "standoff": 8}
    framed["uirevision"] = f"{over}|{log}|{[line.name for line in lines]}"
    return {"data": traces, "layout": framed}


def smoothed(values: Sequence[float | None], weight: float) -> list[float | None]:
    """The debiased exponential moving average; gaps stay gaps."""
    mean, norm, found = 0.0, 0.0, list[float | None]()
    for value in values:
        if value is None:
            found.append(None)
            continue
        mean, norm = weight * mean + (1 - weight) * value, weight * norm + (1 - weight)
        found.append(_rounded(mean / norm))
    return found


def thinned(points: Sequence[tuple[float, float]], most: int = 3000) -> list[tuple[float, float]]:
    """At most about that many points, evenly; the last one is kept."""
    every = -(-len(points) // most)
    if every <= 1:
        return list(points)
    return [*points[:-1:every], points[-1]]


def _with_legend(trace: dict[str, Any]) -> list[dict[str, Any]]:
    """A trace and its line in the legend, which is never faint."""
    nothing = [None]
    sample = {**trace, "x": nothing, "y": nothing, "text": nothing, "opacity": 1}
    sample["line"] = {**trace["line"], "width": 2.4}
    group = trace["uid"]
    return [
        {**trace, "legendgroup": group, "showlegend": False},
        {**sample, "legendgroup": group, "showlegend": True, "uid": f"{group}legend"},
    ]


def _curve_layout(metric: str, last_step: int, *, log: bool, scheme: str) -> dict[str, Any]:
    rule = {"gridcolor": RULE[scheme], "zeroline": False, "linecolor": RULE[scheme]}
    return layout(
        scheme,
        margin={"l": 64, "r": 16, "t": 8, "b": 40},
        xaxis={
            **rule,
            "title": {"text": "step", "standoff": 8},
            "tickformat": "~s",
            **({"dtick": 1} if last_step <= 10 else {}),
        },
        yaxis={
            **rule,
            "title": {"text": html.escape(text(metric, 40), quote=False), "standoff": 8},
            "type": "log" if log else "linear",
            "exponentformat": "e",
            "nticks": 8,
        },
        hovermode="closest",
        hoverlabel={"namelength": 40},
        legend={"orientation": "h", "y": 1.02, "x": 0, "yanchor": "bottom"},
        showlegend=True,
        uirevision=f"{metric}|{log}",
    )


def _trace(
    snapshot: Snapshot,
    indices: Sequence[int],
    histories: Mapping[str, Sequence[tuple[int, float]]],
    *,
    uid: str,
    name: str,
    colour: str,
    width: float,
    opacity: float,
    dots: bool,
) -> dict[str, Any]:
    xs: list[float] = []
    ys: list[float] = []
    texts: list[str] = []
    for index in indices:
        run = snapshot.runs[index]
        label = html.escape(text(run.name or run.id, 40), quote=False)
        for step, value in histories[run.id]:
            xs.append(step)
            ys.append(math.nan if _rounded(value) is None else value)
            texts.append(label)
        xs.append(xs[-1])  # a gap before the next run
        ys.append(math.nan)
        texts.append("")
    return {
        "type": "scatter",
        "mode": "markers" if dots else "lines",
        "x": pack(xs[:-1]),
        "y": pack(ys[:-1]),
        "text": texts[:-1],
        "name": html.escape(text(name, 28), quote=False),
        "uid": uid,  # plain letters: Plotly makes a CSS selector of it
        "line": {"color": colour, "width": width},
        "marker": {"color": colour, "size": 6},
        "opacity": opacity,
        "hovertemplate": "<b>%{text}</b><br>step %{x}<br>%{y:.6g}<extra></extra>",
        "connectgaps": False,
    }


def _rounded(value: float) -> float | None:
    """Seven significant digits are more than a screen has; what is not finite is a gap."""
    return float(f"{value:.7g}") if is_number(value) and math.isfinite(value) else None
