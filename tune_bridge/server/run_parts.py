"""The parts that show one run: its facts, and everything about it beside the table."""

from __future__ import annotations

import time
from typing import Any

from dash import html

from tune_bridge.backends.base import Run
from tune_bridge.server.addresses import run_json
from tune_bridge.server.values import absolute_time, duration, text, to_yaml
from tune_bridge.server.views import KINDS, kind_of
from tune_bridge.server.widgets import run_link

__all__ = ["run_details", "run_facts"]


def run_facts(run: Run) -> list[tuple[str, Any]]:
    """What is known of a run in a word each: name and value."""
    facts: list[tuple[str, Any]] = [
        ("Id", html.Span(run.id, className="tb-id")),
        ("Created", absolute_time(run.created_at)),
    ]
    if run.started_at is not None:
        end = run.ended_at if run.ended_at is not None else time.time()
        facts.append(("Runtime", duration(end - run.started_at)))
    facts.append(("Rows", str(run.rows)))
    if run.exit_code is not None:
        facts.append(("Exit code", str(run.exit_code)))
    for name, key in (("Host", "host"), ("Agent", "agent"), ("Attempt", "attempt")):
        if run.meta.get(key):
            facts.append((name, text(run.meta[key], 80)))
    return facts


def run_details(run: Run) -> list[Any]:
    """Everything about one run."""
    kind, facts = kind_of(run), run_facts(run)
    parts: list[Any] = [
        html.Span(KINDS[kind][0], className=f"tb-pill tb-{kind}"),
        html.Dl([part for name, value in facts for part in (html.Dt(name), html.Dd(value))]),
    ]
    if run.message.strip():
        parts += [html.H3("Message"), html.Pre(text(run.message, 20_000), className="tb-code")]
    for title, data in (("Config", run.config), ("Summary", run.summary), ("Meta", run.meta)):
        if data:
            parts += [html.H3(title), html.Pre(to_yaml(data), className="tb-code")]
    links = [
        run_link(run.sweep_id, run.id, "Open its page"),
        html.A(
            "JSON",
            href=run_json(run.id),
            className="tb-link",
            target="_blank",
            rel="noopener",
        ),
    ]
    return [html.Div(links, className="tb-links"), *parts]
