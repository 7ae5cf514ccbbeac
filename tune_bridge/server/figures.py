"""The two drawings of a sweep: parallel coordinates and metric curves, as plain Plotly figures."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tune_bridge.server.axes import make_axis
from tune_bridge.server.values import is_number, text
from tune_bridge.server.views import KINDS, Dimension, Snapshot, kind_of, metric_value

__all__ = [
    "COLOURS", "INK", "RAMP", "RULE", "curves", "layout", "message", "parallel_coordinates",
    "run_curves",
]  # fmt: skip

_POINTS = 30_000
_AXES = 24
_FEW = 8
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif'
INK = {"light": "#495057", "dark": "#b8bcc4"}
RULE = {"light": "#e9ecef", "dark": "#34373d"}
_BEST = {"light": "#1a1b1e", "dark": "#ffffff"}
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


def _searched(snapshot: Snapshot) -> list[Dimension]:
    """The axes: the searched parameters; where none is named and none varies, all there are."""
    found = snapshot.searched
    if not found and not snapshot.plan.dimensions:
        found = [Dimension(key) for key in dict.fromkeys(k for c in snapshot.configs for k in c)]
    return found[:_AXES]


def _labels(dimensions: Sequence[Dimension]) -> list[str]:
    """The last part of each path where that is enough to tell them apart."""
    last = [dimension.path.rpartition(".")[2] for dimension in dimensions]
    return [
        short if last.count(short) == 1 else dimension.path
        for short, dimension in zip(last, dimensions, strict=True)
    ]


def parallel_coordinates(
    snapshot: Snapshot, indices: Sequence[int], metric: str | None, *, log: bool, scheme: str
) -> dict[str, Any]:
    """Parallel coordinates: an axis for each searched parameter, the metric last and as the colour.

    Args:
        snapshot: The sweep.
        indices: The runs to draw; those without a finite value of the metric are left out.
        metric: The metric.
        log: Draw the metric on a log scale, when all its values are positive.
        scheme: "light" or "dark".
    """
    drawn = {
        index: value
        for index in indices
        if (value := metric_value(snapshot.summaries[index], metric)) is not None
    }
    dimensions = _searched(snapshot)
    if metric is None or not drawn:
        return message(scheme, "No run has a value yet" if indices else "No run fits the filter")
    axes = [
        make_axis(dimension, [snapshot.configs[index].get(dimension.path) for index in drawn], name)
        for dimension, name in zip(dimensions, _labels(dimensions), strict=True)
    ]
    last = make_axis(Dimension(metric, log=log), list(drawn.values()))
    up = snapshot.plan.goal == "maximize" or metric != snapshot.plan.objective
    line = _colour(last.positions, scheme, maximize=up)
    first = (axes or [last])[0]
    left = max(40, 26 + 7 * max(map(len, first.tick_texts)), 16 + 4 * len(first.label))
    return {
        "data": [
            {
                "type": "parcoords",
                "dimensions": [axis.plotly() for axis in (*axes, last)],
                "line": line,
                "labelfont": {"size": 13, "color": INK[scheme]},
                "tickfont": {"size": 11, "color": INK[scheme], "shadow": "none"},
                "rangefont": {"size": 1, "color": "rgba(0,0,0,0)"},
                "unselected": {"line": {"opacity": 0.08}},
                "uid": "runs",
            }
        ],
        "layout": layout(
            scheme,
            margin={"l": left, "r": 24 + 4 * len(last.label), "t": 56, "b": 24},
            uirevision=f"{metric}|{last.log}|{len(axes)}",
            meta={"axes": [{"label": axis.label, "log": axis.log} for axis in (*axes, last)]},
        ),
    }


def _colour(positions: Sequence[float], scheme: str, *, maximize: bool) -> dict[str, Any]:
    """Colours by the metric, the best ones strongest and in front (Plotly draws high numbers last).

    The worst twentieth shares one colour, so that outliers take no room.
    """
    values = list(positions) if maximize else [-position for position in positions]
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 20], ordered[-1]
    if low == high:
        low = high - 1
    ramp = RAMP[scheme]
    return {
        "color": values,
        "colorscale": [[index / (len(ramp) - 1), colour] for index, colour in enumerate(ramp)],
        "cmin": low,
        "cmax": high,
        "showscale": False,
    }


def points_for(runs: int) -> int:
    """How many points a curve may have when that many runs are drawn."""
    return max(10, min(500, _POINTS // max(runs, 1)))


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
    drawn = [index for index in indices if histories.get(snapshot.runs[index].id)]
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
                colour=_BEST[scheme],
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


def run_curves(
    names: Sequence[str],
    points: Sequence[Sequence[tuple[float, float]]],
    *,
    over: str,
    times: bool,
    smooth: float,
    log: bool,
    scheme: str,
) -> dict[str, Any]:
    """The curves of one run, a colour for each metric.

    Args:
        names: The metrics.
        points: Place and value for each metric, by step.
        over: What the places are, as the axis says.
        times: The places are seconds since the epoch; they are drawn from the first one on.
        smooth: Weight of what came before in the exponential moving average (debiased, as W&B and
            TensorBoard draw it); 0 for none. The values themselves stay, faintly.
        log: Log scale.
        scheme: "light" or "dark".
    """
    if not any(points):
        return message(scheme, "Nothing logged yet")
    start = min(line[0][0] for line in points if line) if times else 0.0
    traces = []
    for place, (name, line) in enumerate(zip(names, points, strict=True)):
        shown = thinned(line)
        base = {
            "type": "scatter",
            "x": [at - start for at, _ in shown],
            "name": html.escape(text(name, 40), quote=False),
            "legendgroup": f"y{place}",
            "connectgaps": False,
            "hovertemplate": f"{over} %{{x}}<br>%{{y:.6g}}<extra>%{{fullData.name}}</extra>",
            "marker": {"color": COLOURS[place % len(COLOURS)], "size": 6},
            "line": {"color": COLOURS[place % len(COLOURS)], "width": 1.8},
            "mode": "lines+markers" if len(shown) <= 30 else "lines",
        }
        values = [_rounded(value) for _, value in shown]
        if smooth:
            faint = {
                "opacity": 0.25,
                "showlegend": False,
                "hoverinfo": "skip",
                "uid": f"raw{place}",
            }
            traces.append({**base, **faint, "y": values, "mode": "lines"})
            values = smoothed(values, smooth)
        traces.append({**base, "y": values, "uid": f"y{place}"})
    framed = _curve_layout(", ".join(names), 11, log=log, scheme=scheme)
    framed["xaxis"]["title"] = {"text": f"{over} (s)" if times else over, "standoff": 8}
    framed["uirevision"] = f"{over}|{log}|{names}"
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
    xs: list[int | None] = []
    ys: list[float | None] = []
    texts: list[str | None] = []
    for index in indices:
        run = snapshot.runs[index]
        label = html.escape(text(run.name or run.id, 40), quote=False)
        for step, value in histories[run.id]:
            xs.append(step)
            ys.append(_rounded(value))
            texts.append(label)
        xs.append(None)
        ys.append(None)
        texts.append(None)
    return {
        "type": "scatter",
        "mode": "markers" if dots else "lines",
        "x": xs[:-1],
        "y": ys[:-1],
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
