"""A run beside others of its sweep: which ones, what differs in their configs, their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from dash import html

from tune_bridge.backends.base import Run
from tune_bridge.backends.scores import sign_of
from tune_bridge.server.figures import COLOURS
from tune_bridge.server.run_curves import Look, labels, metrics_of
from tune_bridge.server.run_life import Change
from tune_bridge.server.values import duration, is_number, number, text
from tune_bridge.server.views import KINDS, Snapshot, kind_of, metric_value
from tune_bridge.server.widgets import NONE, dashed, run_link

__all__ = ["MOST", "Beside", "beside_table", "found", "shortcuts"]

MOST = 8
"""How many runs a run is compared with at most."""

_OFFERED = 20
_NOT_SHOWN = frozenset({"_timestamp", "_wandb"})
_NO_KEY = object()


class Line(msgspec.Struct, frozen=True):
    """A line of a table.

    Attributes:
        key: Dotted.
        values: Of each run; `_NO_KEY` where it has none.
        differs: Not all are the same.
    """

    key: str
    values: list[Any]
    differs: bool

    @classmethod
    def of(cls, key: str, maps: Sequence[dict[str, Any]]) -> Line:
        """Reads what stands at a key."""
        values = [one.get(key, _NO_KEY) for one in maps]
        return cls(key, values, any(not _same(value, values[0]) for value in values))

    def differences(self) -> list[float | None]:
        """How far the numbers are from the first one; None where there is no telling."""
        first = self.values[0]
        return [
            None
            if not place or not is_number(first) or not is_number(value)
            else float(value) - float(first)
            for place, value in enumerate(self.values)
        ]


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same; NaN is itself, and a bool is no number."""
    if is_number(one) and is_number(other):
        return bool(one == other or (one != one and other != other))
    return type(one) is type(other) and bool(one == other)


class Beside(msgspec.Struct, frozen=True):
    """A run and those it is compared with.

    Attributes:
        snapshot: Their sweep.
        places: Of the run and the others in the snapshot, the run first.
        notes: What is not there, as sentences.
    """

    snapshot: Snapshot
    places: list[int]
    notes: list[str]

    @classmethod
    def of(cls, snapshot: Snapshot, run: Run, others: Sequence[str]) -> Beside:
        """Finds the runs with these ids; at most `MOST`, and the run itself is none of them."""
        asked = [one for one in dict.fromkeys(others) if one != run.id]
        known = [snapshot.places[one] for one in asked if one in snapshot.places]
        notes = [
            f"There is no run {text(one, 60)!r} in this sweep."
            for one in asked
            if one not in snapshot.places
        ]
        if left := known[MOST:]:
            names = ", ".join(text(snapshot.runs[place].name, 40) for place in left[:MOST])
            notes.append(f"A run is compared with {MOST} others at most; left out: {names}.")
        return cls(snapshot, [snapshot.places[run.id], *known[:MOST]], notes)

    @property
    def others(self) -> list[Run]:
        """The runs beside it."""
        return [self.snapshot.runs[place] for place in self.places[1:]]

    @property
    def runs(self) -> list[Run]:
        """All of them, the run first."""
        return [self.snapshot.runs[place] for place in self.places]

    def config(self, *, everything: bool) -> list[Line]:
        """The configs, searched parameters first: what differs, or everything."""
        maps = [self.snapshot.configs[place] for place in self.places]
        searched = [dimension.path for dimension in self.snapshot.searched]
        keys = dict.fromkeys(key for key in searched if any(key in one for one in maps))
        keys |= dict.fromkeys(key for one in maps for key in one)
        lines = [Line.of(key, maps) for key in keys]
        return [line for line in lines if everything or line.differs]

    def results(self) -> list[Line]:
        """The summaries, the objective first."""
        maps = [self.snapshot.summaries[place] for place in self.places]
        names = metrics_of(self.snapshot, self.runs[0])
        keys = dict.fromkeys(name for name in names if any(name in one for one in maps))
        keys |= dict.fromkeys(key for one in maps for key in one if key not in _NOT_SHOWN)
        return [Line.of(key, maps) for key in keys]

    def leads(self) -> int | None:
        """Which of them has the best value of the objective; None when that is not one run."""
        plan = self.snapshot.plan
        sign = sign_of(plan.goal)
        valued = sorted(
            (sign * value, at)
            for at, place in enumerate(self.places)
            if (value := metric_value(self.snapshot.summaries[place], plan.objective)) is not None
        )
        alone = len(valued) > 1 and valued[0][0] != valued[1][0]
        return valued[0][1] if alone else None

    def data(self, *, everything: bool) -> dict[str, Any]:
        """The same for programs."""
        return {
            "runs": [
                {"id": run.id, "name": run.name, "state": run.state, "kind": kind_of(run)}
                for run in self.runs
            ],
            "notes": self.notes,
            "config": [_plain(line) for line in self.config(everything=everything)],
            "summary": [
                {**_plain(line), "differences": line.differences()} for line in self.results()
            ],
        }


def _plain(line: Line) -> dict[str, Any]:
    """A line for programs; a key that a run does not have is null, and `has` says so."""
    return {
        "key": line.key,
        "values": [None if value is _NO_KEY else value for value in line.values],
        "has": [value is not _NO_KEY for value in line.values],
    }


def found(snapshot: Snapshot, run: Run, words: str, chosen: Sequence[str]) -> list[dict[str, str]]:
    """The runs that a search by name or id offers, and those that are chosen.

    Without words the best ones come first, then the others by age.
    """
    words = words.strip().lower()
    called = {
        one.id: text(f"{one.name} ({one.id})" if one.name and one.name != one.id else one.id, 80)
        for one in snapshot.runs
    }
    order = dict.fromkeys(snapshot.runs[place].id for place in snapshot.ranked())
    order |= dict.fromkeys(called)
    fits = [one for one in order if one != run.id and words in called[one].lower()]
    if words:  # what begins with it stands before what holds it
        fits.sort(key=lambda one: not called[one].lower().startswith(words))
    shown = dict.fromkeys([*chosen, *[one for one in fits if one not in chosen][:_OFFERED]])
    return [{"value": one, "label": called.get(one, text(one, 60))} for one in shown]


def shortcuts(
    snapshot: Snapshot, run: Run, look: Look, changes: Sequence[Change]
) -> list[tuple[str, list[str]]]:
    """Words of links, and the runs that they compare with: the best run, the donors."""
    made: list[tuple[str, list[str]]] = []
    best = snapshot.best
    if best is not None and best.run_id not in (run.id, *look.others):
        made.append(("with the best run", [*look.others, best.run_id]))
    donors = dict.fromkeys(change.donor for change in reversed(changes) if change.donor)
    there = [one for one in donors if one in snapshot.places and one != run.id]
    new = [one for one in there if one not in look.others]
    if new:
        word = "with its donor" if len(there) == 1 else f"with its {len(there)} donors"
        made.append((word, [*look.others, *new[: max(0, MOST - len(look.others))]]))
    return [(word, others) for word, others in made if len(others) <= MOST]


def _state(run: Run) -> Any:
    kind = kind_of(run)
    return html.Span(KINDS[kind][0], className=f"tb-pill tb-{kind}")


def _runtime(run: Run) -> str:
    if run.started_at is None:
        return NONE
    end = run.ended_at if run.ended_at is not None else run.updated_at
    return duration(end - run.started_at)


_FACTS: tuple[tuple[str, Callable[[Run], Any]], ...] = (
    ("State", _state),
    ("Runtime", _runtime),
    ("Rows", lambda run: str(run.rows)),
)
"""The lines of the first table: a word, and what stands below a run."""


def beside_table(beside: Beside, *, everything: bool) -> Any:
    """What differs in the configs and the results, a column for each run."""
    facts = [(word, [make(run) for run in beside.runs], False) for word, make in _FACTS]
    config = [
        (line.key, [_shown(value) for value in line.values], everything and line.differs)
        for line in beside.config(everything=everything)
    ]
    objective, leads = beside.snapshot.plan.objective, beside.leads()
    results = [
        (line.key, _results(line, leads if line.key == objective else None), False)
        for line in beside.results()
    ]
    heading = "Configuration" if everything else "What differs in the configuration"
    if not config:
        heading = "Nothing differs in the configuration"
    wide = len(beside.runs) + 1
    groups = [
        html.Tbody([_line(*line) for line in facts]),
        html.Tbody([_heading(heading, wide), *[_line(*line) for line in config]]),
    ]
    if results:
        words = "Results, and the difference to this run"
        groups.append(html.Tbody([_heading(words, wide), *[_line(*line) for line in results]]))
    head = html.Thead(html.Tr([html.Td(html.Span("Run", className="tb-unseen")), *_heads(beside)]))
    return html.Div(
        html.Table([head, *groups], className="tb-table tb-beside"),
        className="tb-scroll",
        tabIndex=0,
        role="region",
        **dashed(aria_label="Side by side"),
    )


def _heading(words: str, wide: int) -> Any:
    cell = html.Th(html.Span(words), colSpan=wide, scope="rowgroup")
    return html.Tr(cell, className="tb-part")


def _line(word: str, cells: Sequence[Any], mark: bool) -> Any:
    made = [html.Th(text(word, 80), scope="row"), *map(html.Td, cells)]
    return html.Tr(made, className="tb-differs" if mark else None)


def _shown(value: Any) -> str:
    return NONE if value is _NO_KEY else text(value, 120)


def _results(line: Line, leads: int | None) -> list[Any]:
    cells = []
    for place, (value, by) in enumerate(zip(line.values, line.differences(), strict=True)):
        classes = "tb-value tb-leads" if place == leads else "tb-value"
        cell: list[Any] = [html.Span(_shown(value), className=classes)]
        if by is not None:
            cell += [" ", html.Span(_difference(by), className="tb-by")]
        cells.append(cell)
    return cells


def _difference(by: float) -> str:
    if by == 0:
        return "the same"
    if by != by:
        return ""
    return ("+" if by > 0 else "\N{MINUS SIGN}") + number(abs(by))


def _heads(beside: Beside) -> list[Any]:
    """The run, and links to the others, each with the colour of its curve."""
    colours = ("var(--tb-ink)", *COLOURS)
    made = []
    for at, (run, label) in enumerate(zip(beside.runs, labels(beside.runs), strict=True)):
        shown = text(label, 60)
        made.append(
            html.Th(
                [
                    html.Span(className="tb-dot", style={"background": colours[at % len(colours)]}),
                    run_link(run.sweep_id, run.id, shown) if at else f"{shown} (this run)",
                ],
                scope="col",
            )
        )
    return made
