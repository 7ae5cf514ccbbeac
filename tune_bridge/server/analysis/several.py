"""The drawings of several objectives, as plain Plotly figures."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Sequence
from typing import Any

from tune_bridge.server.analysis.frames import axis, framed, short, shorts
from tune_bridge.server.analysis.results import Results, Together, run_name
from tune_bridge.server.figures import COLOURS, message
from tune_bridge.server.figures import layout as shared
from tune_bridge.server.values import number, text

__all__ = ["hypervolume", "pareto"]

_POINTS = 1500  # runs that are drawn at most, beside the front
_FRONT = 500
_EACH = 150  # pixels of one of several small drawings
_LINE = 40  # characters that a phone has room for
_ARROWS = {"minimize": "\N{DOWNWARDS ARROW}", "maximize": "\N{UPWARDS ARROW}"}


def _called(one: Results, most: int = 36) -> str:
    """A metric and where it is to go."""
    return f"{text(one.metric, most)} {_ARROWS[one.goal]}"


def pareto(found: Together, scheme: str) -> dict[str, Any]:
    """The objectives pairwise, and the runs that no other one dominates; of two, their front."""
    if not found.indices:
        return message(scheme, "No run has all of these metrics")
    best = found.front()
    on_front = set(best)
    rest = [place for place in range(len(found.indices)) if place not in on_front]
    groups = (
        ("runs", rest[:: math.ceil(len(rest) / _POINTS) or 1], COLOURS[0], 0.55),
        ("Pareto front", best[:: math.ceil(len(best) / _FRONT) or 1], COLOURS[3], 1.0),
    )
    make = _plane if len(found.parts) == 2 else _matrix
    traces = [
        {
            "name": name, "uid": name.replace(" ", ""),
            "marker": {"color": colour, "size": 7 if opacity == 1 else 6, "opacity": opacity},
            **make(found, places, line=opacity == 1),
        }
        for name, places, colour, opacity in groups
    ]  # fmt: skip
    if len(found.parts) == 2:
        return {
            "data": traces,
            "layout": framed(scheme, *(axis(scheme, _called(one)) for one in found.parts)),
        }
    axes = {
        f"{way}axis{place or ''}": axis(scheme, _called(one, 20), nticks=5)
        for place, one in zip(_numbers(found), found.parts, strict=True)
        for way in "xy"
    }
    frame = shared(
        scheme,
        **axes,
        hovermode="closest",
        legend={"orientation": "h", "y": 1.0, "x": 0, "yanchor": "bottom"},
        height=100 + _EACH * (len(found.parts) - 1),
        margin={"l": 72, "r": 16, "t": 36, "b": 52},
    )
    return {"data": traces, "layout": frame}


def _numbers(found: Together) -> list[str]:
    return ["", *(str(place) for place in range(2, len(found.parts) + 1))]


def _plane(found: Together, places: Sequence[int], *, line: bool) -> dict[str, Any]:
    snapshot = found.parts[0].snapshot
    return {
        "type": "scatter", "mode": "lines+markers" if line else "markers",
        "x": shorts([found.values[place][0] for place in places]),
        "y": shorts([found.values[place][1] for place in places]),
        "text": [run_name(snapshot.runs[found.indices[place]]) for place in places],
        "line": {"dash": "dot"},
        "hovertemplate": "<b>%{text}</b><br>%{x:.6g}, %{y:.6g}<extra></extra>",
    }  # fmt: skip


def _matrix(found: Together, places: Sequence[int], *, line: bool) -> dict[str, Any]:
    return {
        "type": "splom",
        "dimensions": [
            {"label": html.escape(_called(one, 20), quote=False),
             "values": shorts([found.values[place][at] for place in places])}
            for at, one in enumerate(found.parts)
        ],
        "text": [_said(found, place) for place in places],
        "diagonal": {"visible": False}, "showupperhalf": False,
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip


def _said(found: Together, place: int) -> str:
    """A run and its values, for people."""
    run = found.parts[0].snapshot.runs[found.indices[place]]
    lines = [
        html.escape(f"{text(one.metric, 24)} {number(value)}", quote=False)
        for one, value in zip(found.parts, found.values[place], strict=True)
    ]
    return "<br>".join([f"<b>{run_name(run)}</b>", *lines])


def hypervolume(found: Together, chosen: Sequence[float], scheme: str) -> dict[str, Any]:
    """The volume that the runs dominate, as they ended; it says up to where.

    Args:
        found: The runs.
        chosen: The reference point, or nothing for the worst values.
        scheme: "light" or "dark".
    """
    if not found.indices:
        return message(scheme, "No run has all of these metrics")
    reference = found.reference(chosen)
    grown = found.growth(reference)
    point = ", ".join(
        f"{text(one.metric, 20)}\N{NO-BREAK SPACE}{number(short(value))}"
        for one, value in zip(found.parts, reference, strict=True)
    )
    if not grown.places:
        return message(scheme, f"No run is better in all than the reference point: {point}")
    last = len(found.indices)
    steps = [*zip(grown.places, grown.volumes, strict=True)]
    title = "hypervolume" if grown.exact else "hypervolume (estimated)"
    whose = "chosen" if len(chosen) == len(found.parts) else "the worst values"
    said = textwrap.wrap(f"reference point ({whose}): {point}", _LINE)
    return {
        "data": [
            {
                "type": "scatter", "mode": "lines", "uid": "volume", "hoverinfo": "skip",
                "x": [*(place + 1 for place, _ in steps), last],
                "y": [short(volume) for _, volume in [*steps, steps[-1]]],
                "line": {"color": COLOURS[3], "width": 2, "shape": "hv"},
            },
            {
                "type": "scatter", "mode": "markers", "uid": "grown",
                "x": [place + 1 for place, _ in steps],
                "y": [short(volume) for _, volume in steps],
                "text": [_said(found, place) for place, _ in steps],
                "marker": {"color": COLOURS[3], "size": 6},
                "hovertemplate": "%{text}<br>hypervolume %{y:.6g}<extra></extra>",
            },
        ],
        "layout": framed(
            scheme,
            axis(scheme, "runs that have ended", range=[0, last + 1]),
            axis(scheme, title, rangemode="tozero"),
            showlegend=False,
            margin={"l": 64, "r": 16, "t": 12 + 16 * len(said), "b": 44},
            annotations=[
                {
                    "text": "<br>".join(html.escape(line, quote=False) for line in said),
                    "xref": "paper", "yref": "paper", "x": 0, "y": 1.02, "xanchor": "left",
                    "yanchor": "bottom", "showarrow": False, "align": "left",
                }
            ],
        ),
    }  # fmt: skip
