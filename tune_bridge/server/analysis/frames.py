"""What the drawings of the analysis have in common: frames, and numbers as short as they show."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from tune_bridge.server.figures import RULE, layout
from tune_bridge.server.values import text

__all__ = ["axis", "framed", "short", "shorts"]


def short(value: float) -> float:
    """Five digits, which are more than a drawing shows."""
    return float(f"{value:.5g}")


def shorts(values: Sequence[float]) -> list[float]:
    """The same for all of them."""
    return [float(f"{value:.5g}") for value in values]


def axis(scheme: str, title: str, **more: Any) -> dict[str, Any]:
    """An axis of a drawing."""
    return {
        "gridcolor": RULE[scheme],
        "linecolor": RULE[scheme],
        "zeroline": False,
        "exponentformat": "e",
        "title": {"text": html.escape(text(title, 46), quote=False), "standoff": 8},
        **more,
    }


def framed(scheme: str, x: dict[str, Any], y: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The layout of a drawing with two axes."""
    shared = {
        "margin": {"l": 64, "r": 16, "t": 8, "b": 44},
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": 1.02, "x": 0, "yanchor": "bottom"},
    }
    # Long labels, and those that a phone turns, need more than the margins.
    x, y = ({"automargin": True, **one} for one in (x, y))
    return layout(scheme, xaxis=x, yaxis=y, **{**shared, **more})
