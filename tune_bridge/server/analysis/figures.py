"""The drawings of the analysis page, as plain Plotly figures."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from tune_bridge.server.analysis.importance import FEW, Importance
from tune_bridge.server.analysis.results import Results, front, in_order, run_name, shared
from tune_bridge.server.analysis.what_if import Outcome
from tune_bridge.server.axes import Axis, make_axis
from tune_bridge.server.figures import COLOURS, INK, RAMP, RULE, layout, message
from tune_bridge.server.values import number, text
from tune_bridge.server.views import KINDS, Dimension, Snapshot, kind_of

__all__ = [
    "contour", "distribution", "importances", "outcomes", "pareto", "progress", "slices",
    "survival", "timeline",
]  # fmt: skip

_POINTS = 1500  # runs that one drawing shows at most
_EACH = 500  # the same where each run has a point in several small drawings
_STEPS = 1000  # points of a line
_BARS = 400
_SLICES, _ACROSS = 12, 4
_SHOWN = 24  # parameters that have a bar
_GRID = 40


def short(value: float) -> float:
    """Five digits, which are more than a drawing shows."""
    return float(f"{value:.5g}")


def shorts(values: Sequence[float]) -> list[float]:
    """The same for all of them."""
    return [float(f"{value:.5g}") for value in values]


def _axis(scheme: str, title: str, **more: Any) -> dict[str, Any]:
    return {
        "gridcolor": RULE[scheme],
        "linecolor": RULE[scheme],
        "zeroline": False,
        "exponentformat": "e",
        "title": {"text": html.escape(text(title, 40), quote=False), "standoff": 8},
        **more,
    }


def _framed(scheme: str, x: dict[str, Any], y: dict[str, Any], **more: Any) -> dict[str, Any]:
    margin = {"l": 64, "r": 16, "t": 8, "b": 44}
    legend = {"orientation": "h", "y": 1.02, "x": 0, "yanchor": "bottom"}
    return layout(
        scheme, margin=margin, xaxis=x, yaxis=y, hovermode="closest", legend=legend, **more
    )


def _few(scheme: str, runs: int) -> dict[str, Any]:
    return message(scheme, f"Too few runs to say: {runs}, and {FEW} are needed")


def progress(results: Results, *, log: bool, scheme: str) -> dict[str, Any]:
    """Every run's value in the order of their ends, and the best one so far."""
    if not results.indices:
        return message(scheme, "No run has a value yet")
    line = in_order(results)
    dots = set(results.thinned(_POINTS).indices)
    shown = [(at, *item) for at, item in enumerate(line, 1) if item[0] in dots]
    steps = [(1, line[0][2])]
    for at, (_, _, best) in enumerate(line, 1):
        if best != steps[-1][1] or at == len(line):
            steps.append((at, best))
    hover = "<b>%{text}</b><br>%{y:.6g}<extra></extra>"
    return {
        "data": [
            {
                "type": "scatter", "mode": "markers", "name": "runs", "uid": "runs",
                "x": [at for at, *_ in shown],
                "y": [short(value) for _, _, value, _ in shown],
                "text": [results.name(index) for _, index, _, _ in shown],
                "marker": {"color": COLOURS[0], "size": 6, "opacity": 0.55},
                "hovertemplate": hover,
            },
            {
                "type": "scatter", "mode": "lines", "name": "best so far", "uid": "best",
                "x": [at for at, _ in steps], "y": [short(best) for _, best in steps],
                "line": {"color": COLOURS[3], "width": 2, "shape": "hv"}, "hoverinfo": "skip",
            },
        ],
        "layout": _framed(
            scheme,
            _axis(scheme, "runs that have ended"),
            _axis(scheme, results.metric, type="log" if log else "linear"),
        ),
    }  # fmt: skip


def importances(found: Sequence[Importance], kind: str, scheme: str) -> dict[str, Any]:
    """A bar for each parameter, with its interval; those with too few runs say so."""
    if not any(one.value is not None for one in found):
        return _few(scheme, max((one.runs for one in found), default=0))
    shown = [one for one in found if one.value is not None][:_SHOWN][::-1]
    labels = [
        text(one.path, 28) + ("" if kind != "correlation" or one.signed else " (η²)")
        for one in shown
    ]
    values = [one.value or 0.0 for one in shown]
    colours = [COLOURS[3] if value < 0 else COLOURS[0] for value in values]
    unsaid = [text(one.path, 24) for one in found if one.value is None]
    notes = []
    if unsaid:
        words = f"too few runs to say, or always the same: {', '.join(unsaid[:6])}"
        notes.append(
            {
                "text": html.escape(words, quote=False), "xref": "paper", "yref": "paper", "x": 0,
                "y": 1.02, "xanchor": "left", "yanchor": "bottom", "showarrow": False,
            }
        )  # fmt: skip
    return {
        "data": [
            {
                "type": "bar", "orientation": "h", "uid": "importance",
                "x": values,
                "y": [html.escape(label, quote=False) for label in labels],
                "marker": {"color": colours, "opacity": 0.85},
                "error_x": {
                    "type": "data", "symmetric": False, "thickness": 1.2, "width": 4,
                    "color": INK[scheme],
                    "array": [max((one.high or 0) - (one.value or 0), 0) for one in shown],
                    "arrayminus": [max((one.value or 0) - (one.low or 0), 0) for one in shown],
                },
                "customdata": [one.runs for one in shown],
                "hovertemplate": "<b>%{y}</b><br>%{x:.3f}, on %{customdata} runs<extra></extra>",
            }
        ],
        "layout": {
            **_framed(scheme, _axis(scheme, ""), {"automargin": True, "ticklen": 6}),
            "annotations": notes,
            "height": bars_height(len(found)),
            "margin": {"l": 16, "r": 16, "t": 28 if notes else 8, "b": 32},
        },
    }  # fmt: skip


def bars_height(count: int) -> int:
    """Pixels that the bars of that many parameters need."""
    return max(180, 64 + 28 * min(count, _SHOWN))


def slices_height(count: int) -> int:
    """Pixels that the slices of that many parameters need."""
    return 60 + 220 * max(1, math.ceil(min(count, _SLICES) / _ACROSS))


def _ranked_colours(results: Results, scheme: str) -> dict[str, Any]:
    """Colours by rank: the best ones strongest."""
    order = sorted(range(len(results.values)), key=results.costs.__getitem__)
    rank = [0.0] * len(order)
    for place, index in enumerate(order):
        rank[index] = round(1 - place / max(len(order) - 1, 1), 3)
    ramp = RAMP[scheme]
    scale = [[place / (len(ramp) - 1), colour] for place, colour in enumerate(ramp)]
    return {"color": rank, "colorscale": scale, "cmin": 0, "cmax": 1, "size": 6, "opacity": 0.75}


def _place(results: Results, dimension: Dimension) -> Axis:
    configs = results.snapshot.configs
    values = [configs[index].get(dimension.path) for index in results.indices]
    return make_axis(dimension, values)


def _ticked(axis: Axis, scheme: str, **more: Any) -> dict[str, Any]:
    span = (axis.high - axis.low) or 1.0
    return {
        **_axis(scheme, axis.label),
        "tickvals": axis.tick_positions,
        "ticktext": [html.escape(item, quote=False) for item in axis.tick_texts],
        "range": [axis.low - 0.04 * span, axis.high + 0.04 * span],
        **more,
    }


def slices(results: Results, dimensions: Sequence[Dimension], *, log: bool, scheme: str) -> Any:
    """The metric over each parameter, coloured by rank."""
    results = results.thinned(_EACH)
    shown = list(dimensions)[:_SLICES]
    if not results.indices or not shown:
        return message(scheme, "No run has a value yet")
    across = min(len(shown), _ACROSS)
    down = math.ceil(len(shown) / across)
    colours, values = _ranked_colours(results, scheme), shorts(results.values)
    names = [results.name(index) for index in results.indices]
    figure: dict[str, Any] = {"data": [], "layout": {}}
    parts = layout(
        scheme,
        grid={"rows": down, "columns": across, "pattern": "independent", "ygap": 0.35},
        showlegend=False,
        hovermode="closest",
        height=slices_height(len(shown)),
        margin={"l": 60, "r": 16, "t": 16, "b": 44},
    )
    for place, dimension in enumerate(shown):
        axis = _place(results, dimension)
        suffix = "" if place == 0 else str(place + 1)
        parts[f"xaxis{suffix}"] = _ticked(axis, scheme)
        title = results.metric if place % across == 0 else ""
        parts[f"yaxis{suffix}"] = _axis(
            scheme, title, type="log" if log else "linear", matches="y" if place else None
        )
        figure["data"].append(
            {
                "type": "scatter",
                "mode": "markers", "uid": f"slice{place}",
                "x": shorts(axis.positions), "y": values, "text": names,
                "xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "marker": colours,
                "hovertemplate": "<b>%{text}</b><br>%{y:.6g}<extra></extra>",
            }
        )  # fmt: skip
    figure["layout"] = parts
    return figure


def contour(results: Results, one: Dimension, two: Dimension, scheme: str) -> dict[str, Any]:
    """Two parameters: the runs coloured by rank, over what a forest expects of the rank between."""
    results = results.thinned(_POINTS)
    x, y = _place(results, one), _place(results, two)
    if not results.indices:
        return message(scheme, "No run has a value yet")
    colours = _ranked_colours(results, scheme)
    data: list[dict[str, Any]] = []
    surface = _surface(x, y, colours["color"]) if len(results.indices) >= FEW else None
    if surface is not None:
        data.append(
            {
                "type": "contour", "uid": "surface", **surface,
                "colorscale": colours["colorscale"], "zmin": 0, "zmax": 1, "opacity": 0.55,
                "showscale": False, "hoverinfo": "skip", "line": {"width": 0}, "ncontours": 14,
            }
        )  # fmt: skip
    marker = {**colours, "opacity": 1, "line": {"width": 0.6, "color": INK[scheme]}}
    data.append(
        {
            "type": "scatter", "mode": "markers", "uid": "pair",
            "x": shorts(x.positions), "y": shorts(y.positions), "marker": marker,
            "text": [results.name(index) for index in results.indices],
            "customdata": [number(value) for value in results.values],
            "hovertemplate": "<b>%{text}</b><br>%{customdata}<extra></extra>",
        }
    )  # fmt: skip
    return {
        "data": data,
        "layout": _framed(scheme, _ticked(x, scheme), _ticked(y, scheme), showlegend=False),
    }


def _surface(x: Axis, y: Axis, rank: Sequence[float]) -> dict[str, Any] | None:
    """What a forest expects on a grid, from these two parameters alone."""
    try:
        import numpy as np
        from sklearn.ensemble import RandomForestRegressor
    except ImportError:
        return None
    forest = RandomForestRegressor(60, min_samples_leaf=3, random_state=0)
    forest.fit(np.column_stack([x.positions, y.positions]), np.asarray(rank))
    across = np.linspace(min(x.positions), max(x.positions), _GRID)
    up = np.linspace(min(y.positions), max(y.positions), _GRID)
    if across[0] == across[-1] or up[0] == up[-1]:
        return None
    grid = np.array([(a, b) for b in up for a in across])
    expected = forest.predict(grid).reshape(_GRID, _GRID)
    return {"x": across.tolist(), "y": up.tolist(), "z": np.round(expected, 4).tolist()}


def distribution(results: Results, *, log: bool, scheme: str) -> dict[str, Any]:
    """The share of runs that are at least as good as a value."""
    if not results.indices:
        return message(scheme, "No run has a value yet")
    values = sorted(results.values, reverse=results.goal == "maximize")
    every = math.ceil(len(values) / _STEPS)
    shown = [*range(0, len(values) - 1, every), len(values) - 1]
    word = "at least" if results.goal == "maximize" else "at most"
    return {
        "data": [
            {
                "type": "scatter", "mode": "lines", "uid": "edf",
                "x": [short(values[at]) for at in shown],
                "y": [short((at + 1) / len(values)) for at in shown],
                "line": {"color": COLOURS[0], "width": 2, "shape": "hv"},
                "hovertemplate": f"%{{y:.1%}} of the runs are {word} %{{x:.6g}}<extra></extra>",
            }
        ],
        "layout": _framed(
            scheme,
            _axis(scheme, results.metric, type="log" if log else "linear"),
            _axis(scheme, "share of runs", range=[0, 1.02], tickformat=".0%"),
            showlegend=False,
        ),
    }  # fmt: skip


def timeline(snapshot: Snapshot, scheme: str) -> dict[str, Any]:
    """When each run ran; the latest ones when there are many."""
    found = [
        (run, end)
        for run in snapshot.runs
        if run.started_at is not None
        and (end := run.ended_at if run.ended_at is not None else snapshot.read_at) is not None
    ][-_BARS:]
    if not found:
        return message(scheme, "No run has begun")
    data = []
    for kind, (word, colour) in KINDS.items():
        places = [place for place, (run, _) in enumerate(found) if kind_of(run) == kind]
        if not places:
            continue
        runs = [found[place] for place in places]
        data.append(
            {
                "type": "bar", "orientation": "h", "name": word, "uid": kind,
                "base": [1000 * (run.started_at or 0) for run, _ in runs],
                "x": [1000 * max(end - (run.started_at or 0), 0.001) for run, end in runs],
                "y": places,
                "marker": {"color": colour},
                "text": [run_name(run) for run, _ in runs],
                "textposition": "none",
                "hovertemplate": f"<b>%{{text}}</b><br>{word}<extra></extra>",
            }
        )  # fmt: skip
    return {
        "data": data,
        "layout": _framed(
            scheme,
            _axis(scheme, "", type="date"),
            _axis(scheme, "runs", autorange="reversed", showticklabels=False, showgrid=False),
            bargap=0.15,
            barmode="overlay",
            showlegend=True,
        ),
    }


def survival(snapshot: Snapshot, scheme: str) -> dict[str, Any]:
    """How many runs got how far: where early stopping ended them."""
    ended = [run for run in snapshot.runs if run.ended_at is not None and run.rows]
    if not any(run.stopped_early for run in ended):
        return message(scheme, "No run was stopped early")
    longest = max(run.rows for run in ended)
    points = sorted({1, longest, *(run.rows for run in ended)})
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
                "y": [sum(run.rows >= point for run in ended) for point in points],
                "line": {"color": COLOURS[0], "width": 2, "shape": "vh"}, "hovertemplate": hover,
            },
            {
                "type": "bar", "name": "stopped early there", "uid": "stops",
                "x": list(stops), "y": list(stops.values()),
                "marker": {"color": KINDS["stopped_early"][1], "opacity": 0.8},
                "hovertemplate": "%{y} runs were stopped after report %{x}<extra></extra>",
            },
        ],
        "layout": _framed(
            scheme,
            _axis(scheme, "reports"),
            _axis(scheme, "runs", rangemode="tozero"),
        ),
    }  # fmt: skip


def outcomes(found: Sequence[Outcome], runs: int, scheme: str) -> dict[str, Any]:
    """What each setting of early stopping would have saved, and lost."""
    if runs < FEW:
        return message(scheme, f"Too few runs ran to their ends: {runs}, and {FEW} are needed")
    if not found:
        return message(scheme, "No setting would have stopped a run")
    etas = sorted({one.setting["eta"] for one in found})
    return {
        "data": [
            {
                "type": "scatter", "mode": "markers+text", "name": f"eta {eta}", "uid": f"eta{eta}",
                "x": [one.saved for one in mine], "y": [one.regret for one in mine],
                "text": [str(one.setting["min_iter"]) for one in mine],
                "customdata": [one.stopped for one in mine],
                "textposition": "top center",
                "marker": {"color": COLOURS[place], "size": 9},
                "hovertemplate": f"min_iter %{{text}}, eta {eta}<br>saves %{{x:.0%}}, regret "
                "%{y:.1%}<br>stops %{customdata} runs<extra></extra>",
            }
            for place, eta in enumerate(etas)
            for mine in [[one for one in found if one.setting["eta"] == eta]]
        ],
        "layout": _framed(
            scheme,
            _axis(scheme, "reports saved", tickformat=".0%", range=[-0.02, 1.02]),
            _axis(scheme, "regret", tickformat=".0%", rangemode="tozero"),
            showlegend=True,
        ),
    }  # fmt: skip


def pareto(one: Results, two: Results, scheme: str) -> dict[str, Any]:
    """Two metrics, and the runs that no other one beats in both."""
    both = shared(one, two)
    if not both:
        return message(scheme, "No run has both metrics")
    best = front(one, two)
    on_front = {item[0] for item in best}
    every = math.ceil(len(both) / _POINTS)
    rest = [item for item in both if item[0] not in on_front][::every]
    hover = "<b>%{text}</b><br>%{x:.6g}, %{y:.6g}<extra></extra>"
    return {
        "data": [
            {
                "type": "scatter", "mode": mode, "name": name, "uid": name.replace(" ", ""),
                "x": [short(item[1]) for item in items], "y": [short(item[2]) for item in items],
                "text": [one.name(item[0]) for item in items],
                "marker": {"color": colour, "size": 7}, "line": {"color": colour, "dash": "dot"},
                "hovertemplate": hover,
            }
            for name, items, colour, mode in (
                ("runs", rest, COLOURS[0], "markers"),
                ("Pareto front", best, COLOURS[3], "lines+markers"),
            )
        ],
        "layout": _framed(scheme, _axis(scheme, one.metric), _axis(scheme, two.metric)),
    }  # fmt: skip
