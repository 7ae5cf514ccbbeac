"""Parallel coordinates: an axis for each searched parameter, the metric last and as the colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tune_bridge.server.axes import Axis, labels, make_axis
from tune_bridge.server.figures import INK, RAMP, layout, message, sample
from tune_bridge.server.packed import pack
from tune_bridge.server.views import Dimension, Snapshot, metric_value

__all__ = ["axes_of", "parallel_coordinates"]

_AXES = 40
_LINES = 2000
_VALUES = 44_000
_PLAIN = {"light": "#4c6ef5", "dark": "#91a7ff"}


def axes_of(snapshot: Snapshot) -> list[Dimension]:
    """The axes of parameters; where none is searched and none varies, all there are."""
    found = snapshot.searched
    if not found and not snapshot.plan.dimensions:
        found = [Dimension(key) for key in dict.fromkeys(k for c in snapshot.configs for k in c)]
    return found[:_AXES]


def parallel_coordinates(
    snapshot: Snapshot,
    indices: Sequence[int],
    metric: str | None,
    *,
    log: bool,
    scheme: str,
    picks: Mapping[str, Sequence[Any]] | None = None,
    order: Sequence[str] = (),
) -> dict[str, Any]:
    """The drawing; of many runs it draws the best ones and an even sample of the others.

    Args:
        snapshot: The sweep.
        indices: The runs to draw; those without a finite value of the metric are left out.
        metric: The metric; without one, the objective is drawn as it is, or else none.
        log: Draw the metric on a log scale, when all its values are positive.
        scheme: "light" or "dark".
        picks: What is picked on the axes, by field; what is not picked is faint.
        order: Fields of axes, in the order in which they stand; others stay where they are.

    Returns:
        A figure; ``layout.meta`` says what positions on its axes mean (``axes``, by field), and how
        many runs are ``drawn`` of how many that have a value (``runs``).
    """
    read = snapshot.summaries
    named = metric or snapshot.plan.objective
    if metric is not None:
        valued = [index for index in indices if metric_value(read[index], metric) is not None]
    else:
        valued = list(indices)
        if named is not None and all(read[index].get(named) is None for index in valued):
            valued = []
    dimensions = axes_of(snapshot)
    if not valued or not (dimensions or metric):
        return message(scheme, "No run has a value yet" if indices else "No run fits the filter")
    drawn = sample(snapshot, valued, min(_LINES, _VALUES // (len(dimensions) + 2)))
    configs = snapshot.configs
    names = labels([dimension.path for dimension in dimensions], () if named is None else (named,))
    axes = {
        f"c:{dimension.path}": make_axis(
            dimension, [configs[index].get(dimension.path) for index in drawn], name
        )
        for dimension, name in zip(dimensions, names, strict=True)
    }
    last: Axis | None = None
    if named is not None:
        values = [read[index].get(named) for index in drawn]
        last = axes[f"s:{named}"] = make_axis(Dimension(named, log=log), values)
    places = {field: place for place, field in enumerate(order)}
    fields = sorted(axes, key=lambda field: places.get(field, len(places)))
    first, end = axes[fields[0]], axes[fields[-1]]
    left = max(40, 26 + 7 * max(map(len, first.tick_texts)), 16 + 4 * len(first.label))
    up = snapshot.plan.goal == "maximize" or named != snapshot.plan.objective
    picked = dict(picks or {})
    return {
        "data": [
            {
                "type": "parcoords",
                "dimensions": [
                    axes[field].plotly(field, picked.get(field, ())) for field in fields
                ],
                "line": {"color": _PLAIN[scheme]}
                if last is None
                else _colour(last.positions, scheme, maximize=up),
                "labelfont": {"size": 13, "color": INK[scheme]},
                "tickfont": {"size": 11, "color": INK[scheme], "shadow": "none"},
                "rangefont": {"size": 1, "color": "rgba(0,0,0,0)"},
                "unselected": {"line": {"opacity": 0.08}},
                "uid": "runs",
            }
        ],
        "layout": layout(
            scheme,
            margin={"l": left, "r": 24 + 4 * len(end.label), "t": 56, "b": 24},
            # What was picked by hand is in `picks`: nothing else is to be kept.
            uirevision=f"{fields}|{sorted(picked)}|{snapshot.version}",
            meta={
                "axes": {field: axes[field].meaning() for field in fields},
                "drawn": len(drawn),
                "runs": len(valued),
            },
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
        "color": pack(values),
        "colorscale": [[index / (len(ramp) - 1), colour] for index, colour in enumerate(ramp)],
        "cmin": low,
        "cmax": high,
        "showscale": False,
    }
