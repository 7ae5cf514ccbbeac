"""What programs report, as a controller takes it, and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tune_bridge.backends.base import Backend, Row
from tune_bridge.client import flatten
from tune_bridge.controller.state import Event, RunState
from tune_bridge.wire import Verdict

__all__ = ["changes_of", "event_of", "results_of", "verdict_on"]


def results_of(
    held: Mapping[str, Any],
    rows: Iterable[Row],
    summary: Mapping[str, Any] | None,
    metric: str | None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The results that rows give, and the values that wait for the next one.

    Values without the metric wait for a row that has it (also as NaN, which an engine has to know).
    """
    values, results = dict(held), []
    for flat in (*(flatten(row.values) for row in rows), flatten(summary or {})):
        if not flat:
            continue
        values.update(flat)
        if metric is None or metric in flat:
            results.append(values)
            values = {}
    return results, values


def verdict_on(run: RunState) -> Verdict:
    """What becomes of a run, for the agent that had its last attempt."""
    if run.status == "paused" and run.verdict.kind == "continue":
        # The engine may give it to anybody at any time: two must not go on with it.
        return Verdict("kill", "its agent was lost; the run waits to be tried again")
    return run.verdict


def changes_of(
    summary: Mapping[str, Any] | None,
    config: Mapping[str, Any] | None,
    backend: Backend,
    run_id: str,
) -> dict[str, Any]:
    """What a report changes beside its rows."""
    changes: dict[str, Any] = {}
    if summary:
        changes["summary"] = flatten(summary)
    if config:
        changes["config"] = {**backend.run(run_id).config, **config}
    return changes


def event_of(record: Mapping[str, Any]) -> Event:
    """The event of a record of the log."""
    return msgspec.convert(record, Event)  # type: ignore[no-any-return]
