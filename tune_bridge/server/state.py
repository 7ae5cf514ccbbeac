"""What a reader has chosen on a sweep's page, kept in the query of its address."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tune_bridge.server.addresses import query_of, scheme_of
from tune_bridge.server.views import KINDS, Snapshot

__all__ = ["TOPS", "Choices", "top_of"]

TOPS = (10, 25, 50, 100)
"""How many best runs can be asked for."""


class Choices(msgspec.Struct, frozen=True):
    """The choices of one reader.

    Attributes:
        metric: The metric of the drawings, or None for the objective.
        log: The metric is drawn on a log scale.
        show: Keys of `KINDS`; none means all.
        top: Only that many best runs, or None.
        sort: Columns of the table with "asc" or "desc", in order of importance.
        filters: The table's filter, as ag-grid keeps it.
        run: The run whose details are open, or None.
        scheme: "light" or "dark".
    """

    metric: str | None = None
    log: bool = False
    show: tuple[str, ...] = ()
    top: int | None = None
    sort: tuple[tuple[str, str], ...] = ()
    filters: dict[str, Any] = {}
    run: str | None = None
    scheme: str = "light"

    @classmethod
    def of(cls, search: str, scheme: str | None) -> Choices:
        """Reads an address's query; what makes no sense is left out."""
        query = query_of(search)
        shown = tuple(kind for kind in query.get("show", "").split(",") if kind in KINDS)
        return cls(
            metric=query.get("metric"),
            log=query.get("log") == "1",
            show=shown,
            top=top_of(query.get("top")),
            sort=_sort(query.get("sort", "")),
            filters=_filters(query.get("filter", "")),
            run=query.get("run"),
            scheme=scheme_of(scheme),
        )

    @classmethod
    def made(cls, metric: Any, log: Any, show: Any, top: Any, scheme: Any = None) -> Choices:
        """From what the controls say."""
        return cls(
            metric=metric if isinstance(metric, str) else None,
            log=bool(log),
            show=tuple(kind for kind in show or () if kind in KINDS),
            top=top_of(top),
            scheme=scheme_of(scheme),
        )

    def metric_in(self, snapshot: Snapshot) -> str | None:
        """The metric to draw: the chosen one when it was logged, else the objective, else any."""
        names = snapshot.metrics
        if self.metric in names:
            return self.metric
        return names[0] if names else None


def top_of(value: Any) -> int | None:
    """A number of best runs from a text, or None."""
    text = str(value or "")
    return int(text) if text in [str(top) for top in TOPS] else None


def _sort(text: str) -> tuple[tuple[str, str], ...]:
    data = _json(text)
    if not isinstance(data, list):
        return ()
    pairs = [item for item in data if isinstance(item, list) and len(item) == 2]
    return tuple((str(key), way) for key, way in pairs if way in ("asc", "desc"))


def _filters(text: str) -> dict[str, Any]:
    data = _json(text)
    return data if isinstance(data, dict) else {}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
