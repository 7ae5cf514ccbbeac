"""Small pieces that the pages share: badges, times, bars of counts, cards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from tune_bridge.server.addresses import Address
from tune_bridge.server.values import absolute_time, relative_time
from tune_bridge.server.views import KINDS

__all__ = [
    "NONE",
    "card",
    "code",
    "counts_bar",
    "counts_legend",
    "dashed",
    "empty",
    "graph",
    "moment",
    "run_link",
    "select",
    "state_badge",
    "sweep_link",
]

NONE = "\N{EN DASH}"
"""What stands where there is no value."""

_STATES = {
    "running": "blue",
    "finished": "teal",
    "pending": "gray",
    "paused": "yellow",
    "canceled": "gray",
    "failed": "red",
    "crashed": "grape",
}


def state_badge(state: str) -> Any:
    """A sweep's state with its colour; the word carries the meaning, the colour only helps."""
    return dmc.Badge(
        state, color=_STATES.get(state, "gray"), variant="light", radius="sm", className="tb-badge"
    )


def dashed(**attributes: str) -> dict[str, Any]:
    """Attributes with dashes: ``data_at`` is ``data-at``."""
    return {name.replace("_", "-"): value for name, value in attributes.items()}


def moment(then: float, prefix: str = "") -> Any:
    """A relative time that a script keeps fresh, with the absolute one as its tooltip."""
    return html.Time(
        f"{prefix}{relative_time(then)}",
        title=absolute_time(then),
        **dashed(data_at=f"{then:.3f}", data_prefix=prefix),
    )


def counts_bar(counts: Mapping[str, int], of: int | None = None) -> Any:
    """A stacked bar of the runs by kind; with `of`, of so many that there are to be."""
    label = ", ".join(f"{count} {KINDS[kind][0]}" for kind, count in counts.items()) or "no runs"
    there = sum(counts.values())
    total = max(there, of or 1)
    if of is not None:
        label = f"{there} of {of} runs: {label}" if there else f"none of {of} runs"
    parts = [
        html.Div(
            className="tb-bar-part",
            style={"width": f"{100 * count / total:.3f}%", "background": KINDS[kind][1]},
        )
        for kind, count in counts.items()
    ]
    return html.Div(parts, className="tb-bar", title=label, role="img", **dashed(aria_label=label))


def counts_legend(counts: Mapping[str, int]) -> Any:
    """The counts in words, each with the dot of its colour."""
    return html.Div(
        [
            html.Span(
                [
                    html.Span(className="tb-dot", style={"background": KINDS[kind][1]}),
                    f"{count} {KINDS[kind][0]}",
                ],
                className="tb-legend-item",
            )
            for kind, count in counts.items()
        ],
        className="tb-legend",
    )


def sweep_link(sweep_id: str, text: str, **more: Any) -> Any:
    """A link to a sweep's page."""
    return dcc.Link(text, href=Address("sweep", sweep_id).path, className="tb-link", **more)


def run_link(sweep_id: str, run_id: str, text: str, **more: Any) -> Any:
    """A link to a run's page."""
    href = Address("run", sweep_id, run_id).path
    return dcc.Link(text, href=href, className="tb-link", **more)


def card(title: str, children: Any, *, note: Any = None, **more: Any) -> Any:
    """A panel with a heading."""
    head: list[Any] = [html.H2(title, className="tb-card-title")]
    if note is not None:
        head.append(html.Div(note, className="tb-card-note"))
    return dmc.Paper(
        [
            html.Div(head, className="tb-card-head"),
            *(children if isinstance(children, list) else [children]),
        ],
        withBorder=True,
        radius="md",
        className="tb-card",
        **more,
    )


def code(shown: str, name: str) -> Any:
    """A text to read and to copy; `name` is its id."""
    return html.Div(
        [
            dcc.Clipboard(content=shown, className="tb-copy", title="Copy"),
            html.Pre(html.Code(shown), className="tb-code", id=name, tabIndex=0),
        ],
        className="tb-code-box",
    )


def empty(title: str, *children: Any, level: int = 2) -> Any:
    """What stands where there is nothing yet, and what to do about it; `level` 1 for a page."""
    heading = html.H1 if level == 1 else html.H2
    return dmc.Paper(
        [heading(title, className="tb-empty-title"), *children],
        withBorder=True,
        radius="md",
        className="tb-empty",
    )


def graph(name: str, figure: Any, **more: Any) -> Any:
    """A drawing; `name` is its id."""
    config: Any = {"displaylogo": False, "responsive": True, "displayModeBar": False}
    return dcc.Graph(id=name, figure=figure, config=config, responsive=True, **more)


def select(name: str, label: str, data: Any, value: str | None, width: int) -> Any:
    """A choice of one of several; `name` is its id, `width` in pixels."""
    return dmc.Select(
        id=name,
        label=label,
        data=data,
        value=value,
        allowDeselect=False,
        searchable=len(data) > 8,
        size="xs",
        w=width,
    )
