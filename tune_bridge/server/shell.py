"""The frame of every page, and the page that stands where there is none."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from tune_bridge.server.verbs import answers
from tune_bridge.server.widgets import dashed, empty

__all__ = ["UNREAD", "away_page", "missing_page", "shell"]

UNREAD = "The sweeps cannot be read at the moment. This page goes on by itself when they can."


def shell(poll: float, *, steers: bool = True) -> Any:
    """The frame of every page: the bar at the top, the stores, the clock that polls.

    Args:
        poll: Seconds between two looks at the backend.
        steers: Whether sweeps can be steered from here; verbs are not shown otherwise.
    """
    return dmc.MantineProvider(
        [
            dcc.Location(id="address", refresh=False),
            dcc.Store(id="where"),
            dcc.Store(id="scheme", data="light"),
            dcc.Store(id="tick"),
            dcc.Store(id="title"),
            dcc.Store(id="beat"),
            dcc.Interval(id="clock", interval=round(poll * 1000)),
            html.A("Skip to content", href="#page", className="tb-skip"),
            html.Header(
                [
                    dcc.Link("tune-bridge", href="/", className="tb-brand"),
                    html.Nav(dcc.Link("Sweeps", href="/"), **dashed(aria_label="Main")),
                ],
                className="tb-top",
            ),
            html.Div(id="away", className="tb-away", role="status"),
            html.Div(id="unreachable", className="tb-away", role="status"),
            html.Div(id="odd", className="tb-away tb-odd", role="status"),
            *answers(),
            html.Main(
                id="page", className="tb-page" if steers else "tb-page tb-looks", tabIndex=-1
            ),
        ],
        defaultColorScheme="auto",
        theme={
            "primaryColor": "blue",
            "primaryShade": {"light": 9, "dark": 8},  # dark enough for white words
            "defaultRadius": "md",
            "fontFamily": 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif',
        },
    )


def missing_page(what: str) -> Any:
    """Nothing stands at this address."""
    return empty(
        "Nothing here",
        html.P(what),
        dcc.Link("Back to all sweeps", href="/", className="tb-link"),
        level=1,
    )


def away_page(why: str) -> Any:
    """The place of the sweeps does not answer."""
    return empty(
        "The sweeps cannot be read",
        html.P("Their place does not answer. This page opens by itself as soon as it does."),
        dmc.Code(why, block=True),
        level=1,
    )
