"""The drawings of the analysis page, as plain Plotly figures."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from tune_bridge.server.analysis.frames import axis, framed, short, shorts
from tune_bridge.server.analysis.importance import FEW, Importance
from tune_bridge.server.analysis.results import Results, in_order
from tune_bridge.server.analysis.what_if import RULES, Outcome
from tune_bridge.server.axes import Axis, make_axis
from tune_bridge.server.figures import COLOURS, INK, RAMP, layout, message
from tune_bridge.server.values import number, text
from tune_bridge.server.views import Dimension

__all__ = [
    "contour", "distribution", "importances", "outcomes", "progress", "ranks", "slices",
]  # fmt: skip

_POINTS = 1500  # runs that one drawing shows at most
_EACH = 500  # the same where each run has a point in several small drawings
_STEPS = 1000  # points of a line
_SLICES, _ACROSS = 12, 4
_SHOWN = 24  # parameters that have a bar
_PAIRED = 5  # parameters that are drawn pairwise
_GRID = 40
_LEAST_REGRET = 0.05  # that the axis of regret goes to
_SYMBOLS = ("circle", "square", "diamond")
_SAMPLE, _TREES = 600, 40  # runs and trees of what is expected between two parameters


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
        "layout": framed(
            scheme,
            axis(scheme, "runs that have ended"),
            axis(scheme, results.metric, type="log" if log else "linear"),
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
            **framed(scheme, axis(scheme, ""), {"automargin": True, "ticklen": 6}),
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


def ranks_height(count: int) -> int:
    """Pixels that so many parameters need pairwise."""
    return 90 + 130 * max(2, min(count, _PAIRED))


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


def _ticked(place: Axis, scheme: str, label: str | None = None) -> dict[str, Any]:
    span = (place.high - place.low) or 1.0
    return {
        **axis(scheme, place.label if label is None else label),
        "tickvals": place.tick_positions,
        "ticktext": [html.escape(item, quote=False) for item in place.tick_texts],
        "range": [place.low - 0.04 * span, place.high + 0.04 * span],
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
        has = [
            at
            for at, index in enumerate(results.indices)
            if results.snapshot.configs[index].get(dimension.path) is not None
        ]
        whole = len(has) == len(results.indices)
        where = _place(results.only(has), dimension)
        suffix = "" if place == 0 else str(place + 1)
        label = where.label if whole else f"{where.label} ({len(has)} runs)"
        parts[f"xaxis{suffix}"] = _ticked(where, scheme, label)
        title = results.metric if place % across == 0 else ""
        parts[f"yaxis{suffix}"] = axis(
            scheme, title, type="log" if log else "linear", matches="y" if place else None
        )
        marker = colours if whole else {**colours, "color": [colours["color"][at] for at in has]}
        figure["data"].append(
            {
                "type": "scatter", "mode": "markers", "uid": f"slice{place}",
                "x": shorts(where.positions), "y": [values[at] for at in has],
                "text": [names[at] for at in has],
                "xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "marker": marker,
                "hovertemplate": "<b>%{text}</b><br>%{y:.6g}<extra></extra>",
            }
        )  # fmt: skip
    figure["layout"] = parts
    return figure


def ranks(results: Results, dimensions: Sequence[Dimension], scheme: str) -> dict[str, Any]:
    """Some parameters pairwise, the runs coloured by rank."""
    results = results.thinned(_POINTS)
    shown = list(dimensions)[:_PAIRED]
    if not results.indices:
        return message(scheme, "No run has a value yet")
    if len(shown) < 2:
        return message(scheme, "Two parameters are needed")
    places = [_place(results, dimension) for dimension in shown]
    parts = layout(
        scheme,
        showlegend=False,
        hovermode="closest",
        height=ranks_height(len(dimensions)),
        margin={"l": 72, "r": 16, "t": 16, "b": 52},
    )
    for at, place in enumerate(places, 1):
        for way in "xy":
            parts[f"{way}axis{'' if at == 1 else at}"] = _ticked(place, scheme)
    return {
        "data": [
            {
                "type": "splom", "uid": "ranks",
                "dimensions": [
                    {"label": html.escape(place.label, quote=False),
                     "values": shorts(place.positions)}
                    for place in places
                ],
                "text": [
                    f"<b>{results.name(index)}</b><br>{number(value)}"
                    for index, value in zip(results.indices, results.values, strict=True)
                ],
                "marker": {**_ranked_colours(results, scheme), "size": 5},
                # Of two parameters, Plotly cannot draw the one half alone.
                "diagonal": {"visible": False}, "showupperhalf": len(shown) == 2,
                "hovertemplate": "%{text}<extra></extra>",
            }
        ],
        "layout": parts,
    }  # fmt: skip


def contour(
    results: Results, one: Dimension, two: Dimension, scheme: str, *, by_value: bool, log: bool
) -> dict[str, Any]:
    """Two parameters: the runs, over what a forest expects between them.

    Args:
        results: The runs.
        one: The parameter across.
        two: The parameter upwards.
        scheme: "light" or "dark".
        by_value: Colours are the metric's values and not their ranks.
        log: Of the values, their logarithms, where all are positive.
    """
    results = results.thinned(_POINTS)
    x, y = _place(results, one), _place(results, two)
    if not results.indices:
        return message(scheme, "No run has a value yet")
    colours = _colours(results, scheme, log=log) if by_value else _ranked_colours(results, scheme)
    low, high = colours["cmin"], colours["cmax"]
    data: list[dict[str, Any]] = []
    surface = _surface(x, y, colours["color"]) if len(results.indices) >= FEW else None
    if surface is not None:
        data.append(
            {
                "type": "contour", "uid": "surface", **surface,
                "colorscale": colours["colorscale"], "zmin": low, "zmax": high, "opacity": 0.55,
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
        "layout": framed(scheme, _ticked(x, scheme), _ticked(y, scheme), showlegend=False),
    }


def _colours(results: Results, scheme: str, *, log: bool) -> dict[str, Any]:
    """Colours by value, the best ones strongest; the worst twentieth shares one."""
    where = make_axis(Dimension(results.metric, log=log), results.values)
    ordered = sorted(where.positions)
    cut = len(ordered) // 20
    minimize = results.goal == "minimize"
    low, high = (ordered[0], ordered[-1 - cut]) if minimize else (ordered[cut], ordered[-1])
    ramp = RAMP[scheme][::-1] if minimize else RAMP[scheme]
    return {
        "color": shorts(where.positions),
        "colorscale": [[place / (len(ramp) - 1), tint] for place, tint in enumerate(ramp)],
        "cmin": low, "cmax": high if high > low else low + 1, "size": 6, "opacity": 0.75,
        "showscale": True,
        "colorbar": {
            "thickness": 12, "outlinewidth": 0, "tickvals": where.tick_positions,
            "ticktext": where.tick_texts,
        },
    }  # fmt: skip


def _surface(x: Axis, y: Axis, height: Sequence[float]) -> dict[str, Any] | None:
    """What a forest expects on a grid, from these two parameters alone."""
    try:
        import numpy as np
        from sklearn.ensemble import RandomForestRegressor
    except ImportError:
        return None
    sample = slice(None, None, -(-len(height) // _SAMPLE))
    forest = RandomForestRegressor(_TREES, min_samples_leaf=3, random_state=0)
    forest.fit(np.column_stack([x.positions, y.positions])[sample], np.asarray(height)[sample])
    across = np.linspace(min(x.positions), max(x.positions), _GRID)
    up = np.linspace(min(y.positions), max(y.positions), _GRID)
    if across[0] == across[-1] or up[0] == up[-1]:
        return None
    grid = np.array([(a, b) for b in up for a in across])
    expected = forest.predict(grid).reshape(_GRID, _GRID)
    return {
        "x": shorts(across.tolist()),
        "y": shorts(up.tolist()),
        "z": [shorts(row) for row in expected.tolist()],
    }


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
        "layout": framed(
            scheme,
            axis(scheme, results.metric, type="log" if log else "linear"),
            axis(scheme, "share of runs", range=[0, 1.02], tickformat=".0%"),
            showlegend=False,
        ),
    }  # fmt: skip


def outcomes(found: Sequence[Outcome], runs: int, longest: int, scheme: str) -> dict[str, Any]:
    """What each setting of early stopping would have saved, and lost.

    Args:
        found: The settings.
        runs: How many runs ran to their ends.
        longest: How many reports the longest of them has made.
        scheme: "light" or "dark".
    """
    if runs < FEW:
        return message(scheme, f"Too few runs ran to their ends: {runs}, and {FEW} are needed")
    if longest < 2:
        said = "a single value" if longest else "no curve"
        return message(scheme, f"Runs have {said} of this metric: there is nothing to stop early")
    if not found:
        return message(
            scheme, f"No setting would have stopped a run: the longest one has {longest} reports"
        )
    top = max(_LEAST_REGRET, *(one.regret for one in found))
    groups: dict[tuple[str, int], list[Outcome]] = {}
    for one in found:
        groups.setdefault((one.rule, int(one.setting[_SECOND[one.rule][0]])), []).append(one)
    order = [(rule, second) for rule in RULES for _, second in sorted(groups) if _ == rule]
    best = _unbeaten(found)
    return {
        "data": [
            {
                "type": "scatter", "mode": "markers+text", "uid": f"{rule}{second}",
                "name": f"{RULES[rule][0]}, {_SECOND[rule][1]} {second}",
                "x": [short(one.saved) for one in mine], "y": [short(one.regret) for one in mine],
                "text": [number(one.first) if one in best else "" for one in mine],
                "customdata": [[one.first, one.stopped] for one in mine],
                "textposition": "top center", "cliponaxis": False,
                "marker": {
                    "color": COLOURS[list(RULES).index(rule)], "size": 9, "opacity": 0.85,
                    "symbol": _SYMBOLS[[key for key in order if key[0] == rule].index(
                        (rule, second)) % len(_SYMBOLS)],
                },
                "hovertemplate": f"<b>{RULES[rule][0]}</b> from report %{{customdata[0]}} on, "
                f"{_SECOND[rule][1]} {second}<br>saves %{{x:.0%}}, regret %{{y:.1%}}<br>stops "
                "%{customdata[1]} runs<extra></extra>",
            }
            for rule, second in order
            for mine in [groups[rule, second]]
        ],
        "layout": framed(
            scheme,
            axis(scheme, "reports saved", tickformat=".0%", range=[-0.02, 1.02]),
            axis(scheme, "regret", tickformat=".0%", range=[-0.03 * top, 1.12 * top]),
            showlegend=True,
        ),
    }  # fmt: skip


_SECOND = {
    "hyperband": ("eta", "eta"),
    "asha": ("reduction_factor", "factor"),
    "median": ("min_samples_required", "samples"),
    "halving": ("reduction_factor", "factor"),
}
"""Rule -> the setting beside the first report, and its word."""


def _unbeaten(found: Sequence[Outcome]) -> list[Outcome]:
    """Those that save most for their regret."""
    best, lowest = [], math.inf
    for one in sorted(found, key=lambda one: (-one.saved, one.regret)):
        if one.regret < lowest:
            lowest = one.regret
            best.append(one)
    return best
