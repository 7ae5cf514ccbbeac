"""Lists of runs: filters, orders and pages, in the database as far as it can.

| order | what is read |
|---|---|
| by time | the page |
| by the metric of a sweep | the page |
| by another value of the summary | that value of all, and the page |
| by anything else, or with other conditions | the runs that the rest of the filter leaves |
"""

from __future__ import annotations

from typing import Any

import msgspec

from tune_bridge.backends.base import Run, RunQuery, Sweep
from tune_bridge.backends.scores import metric_of
from tune_bridge.server.wandb.execute import Call
from tune_bridge.server.wandb.filters import (
    Record,
    connection,
    first_by_value,
    matches,
    ordered,
    page,
    window,
)
from tune_bridge.server.wandb.home import Home, is_container
from tune_bridge.server.wandb.ids import derived
from tune_bridge.server.wandb.jsontext import load
from tune_bridge.server.wandb.queries import Plan, order_of, plan
from tune_bridge.server.wandb.runs import Runs

__all__ = ["Search"]

_SUMMARY = "summary_metrics."


class Search:
    """Finds runs.

    Args:
        home: Finds sweeps.
        runs: Shows what is found.
    """

    def __init__(self, home: Home, runs: Runs) -> None:
        self._home = home
        self._backend = home.backend
        self._runs = runs

    def chosen(self, entity: str, project: str, call: Call) -> list[tuple[Run, Record]]:
        """The runs of a project that a filter lets through, in order of creation."""
        asked, query = self._asked(entity, project, call)
        return self._look(asked, query)

    def count(self, entity: str, project: str, call: Call) -> int:
        """How many they are."""
        asked, query = self._asked(entity, project, call)
        return len(self._look(asked, query)) if asked.rest else self._backend.count_runs(query)

    def listed(self, entity: str, project: str, call: Call) -> dict[str, Any]:
        """A page of them."""
        asked, query = self._asked(entity, project, call)
        order = str(call.get("order") or "")
        if asked.rest:
            found = ordered(self._look(asked, query), order)
            return page(
                found, call.get("first"), call.get("after"), lambda it: self._runs.node(it[0], call)
            )
        in_order = order_of(order, query)
        if in_order is not None:
            return self._paged(in_order, call)
        if order.lstrip("+- ").startswith(_SUMMARY) and order.count(".") == 1 and "," not in order:
            return self._by_score(query, order, call) or self._by_summary(query, order, call)
        found = ordered(self._look(asked, query), order)
        return page(
            found, call.get("first"), call.get("after"), lambda it: self._runs.node(it[0], call)
        )

    def of_sweep(self, sweep: Sweep, call: Call, *, everything: bool = False) -> dict[str, Any]:
        """A page of the runs of a sweep; all of them when `everything` is set and no part asked."""
        query = RunQuery(sweeps=(sweep.id,))
        if everything and call.get("first") is None:
            found = self._backend.find_runs(query)
            return connection(found, 0, lambda run: self._runs.node(run, call), more=False)
        return self._paged(query, call)

    def values(self, sweep: Sweep, key: str) -> list[Any]:
        """One value of the summaries of a sweep's runs, where there is one."""
        found = self._backend.summaries(RunQuery(sweeps=(sweep.id,)), key)
        return [value for _, value in found if value is not None]

    def _asked(self, entity: str, project: str, call: Call) -> tuple[Plan, RunQuery]:
        asked = plan(load(call.get("filters") or "{}", "the filter") or {})
        wanted = asked.sweeps
        sweeps = tuple(
            sweep.id
            for sweep in self._home.sweeps(entity, project, containers=True)
            if wanted is None or (sweep.id in wanted and not is_container(sweep))
        )
        ids = None
        if asked.names is not None:  # where another project has a run of that name, a derived one
            ids = {derived("run", entity, project, name) for name in asked.names} | asked.names
        query = RunQuery(
            sweeps=sweeps,
            states=None if asked.states is None else tuple(sorted(asked.states)),
            ids=None if ids is None else tuple(sorted(ids)),
            created=asked.created,
            updated=asked.updated,
        )
        return asked, query

    def _look(self, asked: Plan, query: RunQuery) -> list[tuple[Run, Record]]:
        """The runs of a question that the rest of a filter lets through."""
        condition = {"$and": asked.rest}
        matches(condition, lambda key: None)  # one that makes no sense is refused, runs or not
        records = ((run, self._runs.record(run)) for run in self._backend.find_runs(query))
        return [(run, get) for run, get in records if matches(condition, get)]

    def _paged(self, query: RunQuery, call: Call) -> dict[str, Any]:
        start, count = window(call.get("first"), call.get("after"))
        query = msgspec.structs.replace(query, limit=count + 1, offset=start)
        found = self._backend.find_runs(query)
        shown = found[:count]
        node = self._runs.node
        return connection(shown, start, lambda run: node(run, call), more=len(found) > count)

    def _by_score(self, query: RunQuery, order: str, call: Call) -> dict[str, Any] | None:
        """A page in the order that the database keeps; None when the page needs another one."""
        if query != RunQuery(sweeps=query.sweeps) or len(query.sweeps) != 1:
            return None
        sweep = self._backend.sweep(query.sweeps[0])
        if metric_of(sweep.config) != order.lstrip("+- ").removeprefix(_SUMMARY):
            return None
        start, count = window(call.get("first"), call.get("after"))
        descending = order.startswith("-")
        found = self._backend.best_runs(sweep.id, descending=descending, limit=start + count + 1)
        if len(found) <= start + count:  # those without a number come after them
            return None
        shown = [run for run, _ in found[start : start + count]]
        return connection(shown, start, lambda run: self._runs.node(run, call), more=True)

    def _by_summary(self, query: RunQuery, order: str, call: Call) -> dict[str, Any]:
        key = order.lstrip("+- ").removeprefix(_SUMMARY)
        values = self._backend.summaries(query, key)
        start, count = window(call.get("first"), call.get("after"))
        part = tuple(
            first_by_value(values, start + count, descending=order.startswith("-"))[start:]
        )
        found = self._backend.find_runs(msgspec.structs.replace(query, ids=part))
        known = {run.id: run for run in found}
        runs = [known[run] for run in part if run in known]
        more = start + count < len(values)
        return connection(runs, start, lambda run: self._runs.node(run, call), more=more)
