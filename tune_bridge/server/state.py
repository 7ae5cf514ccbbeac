"""What a reader has chosen on a sweep's page, kept in the query of its address."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tune_bridge.server.addresses import query_of, scheme_of
from tune_bridge.server.fields import is_field
from tune_bridge.server.selection import Selection
from tune_bridge.server.views import Snapshot

__all__ = ["TOPS", "Choices"]

TOPS = (10, 25, 50, 100, 500)
"""How many best runs are offered."""


class Choices(msgspec.Struct, frozen=True):
    """The choices of one reader.

    Attributes:
        selection: Which runs are meant, and in which order.
        metric: The metric of the drawings, or None for the objective.
        log: The metric is drawn on a log scale.
        group: The column that runs are grouped by, or None.
        axes: Fields of axes, in the order in which they were put.
        columns: Fields of the table's columns, in order; none means those that it begins with.
        pins: Fields of the columns that stay at the left; None means those that it begins with.
        run: The run whose details are open, or None.
        scheme: "light" or "dark".
    """

    selection: Selection = Selection()
    metric: str | None = None
    log: bool = False
    group: str | None = None
    axes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    pins: tuple[str, ...] | None = None
    run: str | None = None
    scheme: str = "light"

    @classmethod
    def of(cls, search: str, scheme: str | None) -> Choices:
        """Reads an address's query; what makes no sense is left out."""
        query = query_of(search)
        group = query.get("group")
        return cls(
            selection=Selection.of(query),
            metric=query.get("metric"),
            log=query.get("log") == "1",
            group=group if is_field(group) else None,
            axes=_fields(query.get("axes", "")),
            columns=_fields(query.get("cols", "")),
            pins=_fields(query["pin"]) if "pin" in query else None,
            run=query.get("run"),
            scheme=scheme_of(scheme),
        )

    def metric_in(self, snapshot: Snapshot) -> str | None:
        """The metric to draw: the chosen one when it was logged, else the objective, else any."""
        names = snapshot.metrics
        if self.metric in names:
            return self.metric
        return names[0] if names else None


def _fields(text: str) -> tuple[str, ...]:
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    return tuple(dict.fromkeys(filter(is_field, data))) if isinstance(data, list) else ()
