"""A sweep as a piece of HTML for notebooks: without scripts, and drawings in a frame of its own."""

from __future__ import annotations

import html
from typing import Any

from tune_bridge.server.analysis.results import objectives
from tune_bridge.server.lines import run_cap_of
from tune_bridge.server.values import number, text
from tune_bridge.server.views import KINDS, Snapshot, kind_of, metric_value

__all__ = ["framed", "progress", "summary"]

_RUNS = 10
_PARAMETERS = 8
_WIDTH = 40
_STYLE = "font-family:system-ui,sans-serif;font-size:13px;line-height:1.6"


def progress(snapshot: Snapshot) -> str:
    """How far a sweep is: "7 of 20 runs: 6 finished, 1 running"."""
    cap = run_cap_of(snapshot.sweep.config)
    runs = f"{len(snapshot.runs)} of {cap} runs" if cap else f"{len(snapshot.runs)} runs"
    counts = ", ".join(f"{count} {KINDS[kind][0]}" for kind, count in snapshot.counts.items())
    return f"{runs}: {counts}" if counts else runs


def summary(snapshot: Snapshot, url: str | None) -> str:
    """State, progress, best run, and a table of the best runs; those without a value come last.

    Args:
        snapshot: The sweep.
        url: The address of its page, or None.
    """
    sweep, plan, best = snapshot.sweep, snapshot.plan, snapshot.best
    name = html.escape(sweep.name or sweep.id)
    shown = name if url is None else f'<a href="{html.escape(url)}" target="_blank">{name}</a>'
    lines = [f"<b>{shown}</b> · {html.escape(sweep.state)} · {html.escape(progress(snapshot))}"]
    if best is not None:
        config = ", ".join(f"{key}={text(value, _WIDTH)}" for key, value in best.config.items())
        words = f"best: {plan.objective} {number(best.value)} ({best.name})"
        lines.append(f"{html.escape(words)}: <code>{html.escape(config)}</code>")
    if sweep.message:
        lines.append(html.escape(sweep.message))
    ranked = snapshot.ranked()
    chosen = [*ranked, *sorted({*range(len(snapshot.runs))} - {*ranked})][:_RUNS]
    if chosen:
        lines.append(_table(snapshot, chosen))
    if left := len(snapshot.runs) - len(chosen):
        lines.append(f"{left} more")
    return f'<div style="{_STYLE}">{"".join(f"<div>{line}</div>" for line in lines)}</div>'


def _table(snapshot: Snapshot, chosen: list[int]) -> str:
    metrics = [*objectives(snapshot)]
    if not metrics and snapshot.ranking is not None:
        metrics = [snapshot.ranking]
    searched = [dimension.path for dimension in snapshot.searched][:_PARAMETERS]
    heads = ["run", "state", *metrics, *searched]
    rows = []
    for index in chosen:
        run, config = snapshot.runs[index], snapshot.configs[index]
        values = [metric_value(snapshot.summaries[index], name) for name in metrics]
        cells: list[Any] = [run.name or run.id, KINDS[kind_of(run)][0]]
        cells += ["" if value is None else number(value) for value in values]
        cells += [text(config[key], _WIDTH) if key in config else "" for key in searched]
        rows.append(cells)
    head = "".join(f"<th>{html.escape(text(cell, _WIDTH))}</th>" for cell in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def framed(page: str, height: int, url: str | None) -> str:
    """A page in a frame that can do nothing to the notebook around it.

    Args:
        page: A document that brings all that it needs.
        height: Of the frame, in pixels.
        url: The address of the live page, or None.
    """
    live = ""
    if url is not None:
        shown = html.escape(url)
        live = f'<div style="{_STYLE}">live: <a href="{shown}" target="_blank">{shown}</a></div>'
    return (
        f'{live}<iframe srcdoc="{html.escape(page)}" sandbox="allow-scripts" '
        f'style="width:100%;height:{int(height)}px;border:0"></iframe>'
    )
