"""A sweep in one file: its data and drawings as a page that needs no server and no network."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tune_bridge.server import plotly_build
from tune_bridge.server.analysis.analyst import Analyst
from tune_bridge.server.analysis.cards import View, cards, draw
from tune_bridge.server.state import Choices
from tune_bridge.server.sweep_page import curve_figure, parallel_figure
from tune_bridge.server.table import columns, rows
from tune_bridge.server.values import (
    absolute_time,
    duration,
    is_number,
    number,
    plain,
    text,
    to_yaml,
)
from tune_bridge.server.views import KINDS, Reader, Snapshot

__all__ = ["bundle"]

_ASSETS = Path(__file__).parent / "assets"
_ROWS = 5000
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)


def bundle(reader: Reader, sweep_id: str, analyst: Analyst) -> str:
    """The page.

    Args:
        reader: Of the sweep.
        sweep_id: The sweep.
        analyst: For its importances.

    Raises:
        NotFoundError: There is no such sweep.
    """
    snapshot = reader.snapshot(sweep_id)
    sections = [
        (title, note, json.dumps(plain(figure)).replace("<", "\\u003c"))
        for title, note, figure in _figures(reader, snapshot, analyst)
    ]
    name = snapshot.sweep.name or snapshot.sweep.id
    return _PAGE.format(
        policy=_POLICY,
        title=html.escape(name),
        style=(_ASSETS / "bundle.css").read_text("utf-8"),
        head=_head(snapshot),
        sections="".join(
            _SECTION.format(
                title=html.escape(title), note=html.escape(note), number=index, data=data
            )
            for index, (title, note, data) in enumerate(sections)
        ),
        table=_table(snapshot),
        config=html.escape(to_yaml(snapshot.sweep.config)),
        plotly=plotly_build.source(),
        script=(_ASSETS / "bundle.js").read_text("utf-8"),
    )


def _figures(
    reader: Reader, snapshot: Snapshot, analyst: Analyst
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    if not snapshot.runs:
        return
    choices = Choices()
    yield "Parallel coordinates", "", parallel_figure(snapshot, choices)
    yield "Metric curves", "", curve_figure(reader, snapshot, choices)
    for key, card in cards(snapshot).items():
        yield card.title, card.note, draw(key, snapshot, View(), analyst)


def _head(snapshot: Snapshot) -> str:
    sweep, plan, best = snapshot.sweep, snapshot.plan, snapshot.best
    facts = [
        sweep.state,
        sweep.project,
        " + ".join(part for part in (plan.searcher or plan.method, plan.scheduler) if part),
        f"made {absolute_time(sweep.created_at)}",
        ", ".join(f"{count} {KINDS[kind][0]}" for kind, count in snapshot.counts.items()),
        sweep.id,
    ]
    parts = [
        f"<h1>{html.escape(sweep.name or sweep.id)}</h1>",
        f"<p class=dim>{html.escape(' · '.join(fact for fact in facts if fact))}</p>",
    ]
    if sweep.message:
        parts.append(f"<pre>{html.escape(sweep.message)}</pre>")
    if best is not None:
        words = f"Best run: {plan.objective} {number(best.value)} ({best.name})"
        parts.append(f"<h2>{html.escape(words)}</h2><pre>{html.escape(to_yaml(best.config))}</pre>")
    return "".join(parts)


def _table(snapshot: Snapshot) -> str:
    shown = columns(snapshot)
    ranked = snapshot.ranked()
    known = set(ranked)
    rest = [index for index in range(len(snapshot.runs)) if index not in known]
    heads = "".join(f"<th>{html.escape(column['headerName'])}</th>" for column in shown)
    body = "".join(
        "<tr>" + "".join(_cell(row.get(column["field"]), column["field"]) for column in shown)
        + "</tr>"
        for row in rows(snapshot, [*ranked, *rest][:_ROWS])
    )  # fmt: skip
    left = len(snapshot.runs) - _ROWS
    note = f"<p class=dim>The best {_ROWS} runs; {left} more are left out.</p>" if left > 0 else ""
    return f"{note}<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any, field: str) -> str:
    if value is None:
        return "<td></td>"
    forms: dict[str, Callable[[Any], str]] = {"created": absolute_time, "runtime": duration}
    shown = forms.get(field, text)(value)
    if not is_number(value):
        return f"<td>{html.escape(shown)}</td>"
    return f'<td class=n data-v="{value}">{html.escape(shown)}</td>'


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<header>{head}</header>
{sections}
<section><h2>Runs</h2><div class=scroll>{table}</div></section>
<section><h2>Config</h2><pre>{config}</pre></section>
</main>
<script>{plotly}</script>
<script>{script}</script>
</body>
</html>
"""

_SECTION = """<section><h2>{title}</h2><p class=dim>{note}</p><div class=figure id=f{number}></div>
<script type="application/json" data-for=f{number}>{data}</script></section>
"""
