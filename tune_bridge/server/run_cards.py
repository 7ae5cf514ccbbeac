"""The cards of a run's page: why it ended, what changed, its life, its files, its output."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from dash import dcc, html

from tune_bridge.backends.base import Run
from tune_bridge.errors import TuneBridgeError
from tune_bridge.server.addresses import Address, run_json
from tune_bridge.server.run_files import Checkpoint, RunFile, RunFiles, told_checkpoints
from tune_bridge.server.run_life import Change, Decision, Life, Moment
from tune_bridge.server.values import absolute_time, text
from tune_bridge.server.views import kind_of
from tune_bridge.server.widgets import NONE, card, run_link

__all__ = [
    "changes_card",
    "decision_part",
    "files_card",
    "life_card",
    "message_part",
    "output_part",
    "readable",
]

_TAIL = 64 * 1024
_FOLDED = 12
"""Lines from which on a text or a list is folded."""

_FEW = 3
_MOST = 500
_IMAGES = 24
_ESCAPES = re.compile(
    r"\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)?|\[[0-?]*[ -/]*[@-~]"
    r"|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TRACEBACK = "Traceback (most recent call last)"


def _size(number: int) -> str:
    """A number of bytes for people."""
    shown, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if shown < 1000 or unit == "TB":
            break
        shown /= 1000
    return f"{shown:.3g} {unit}" if unit != "B" else f"{number} B"


def readable(data: bytes) -> str:
    """Output as a terminal would leave it: no colours, and of a progress bar its last state."""
    shown = _ESCAPES.sub("", data.decode("utf-8", "replace")).replace("\r\n", "\n")
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in shown.split("\n"))
    return _CONTROLS.sub("", "\n".join(lines))


def message_part(run: Run) -> list[Any]:
    """Why a run is in its state; of a traceback the error, and the rest folded when it is long."""
    message = readable(run.message.encode("utf-8", "replace")).strip()
    if not message:
        return []
    style = f"tb-code tb-message tb-on-{kind_of(run)}"
    lines = message.splitlines()
    if len(lines) <= _FOLDED:
        return [html.Pre(text(message, 20_000), className=style)]
    traced = any(_TRACEBACK in line for line in lines)
    said = [lines[0]] if _TRACEBACK not in lines[0] else []
    if traced and lines[-1].strip() not in said:
        said.append(lines[-1].strip())
    name = "Traceback" if traced else "All of it"
    return [
        html.Pre(text("\n".join(said), 2000), className=style),
        _folded(
            f"{name}, {len(lines)} lines",
            html.Pre(text(message, 20_000), className="tb-code", tabIndex=0),
        ),
    ]


def _folded(words: str, content: Any, *, opened: bool = False) -> Any:
    more: dict[str, Any] = {"open": True} if opened else {}
    return html.Details([html.Summary(words), content], className="tb-folded", **more)


def decision_part(run: Run, decision: Decision | None) -> list[Any]:
    """The decision that ended a run, with its numbers."""
    if decision is None:
        return []
    shown = "rungs" if "rung" in decision.info else "survival"
    early = f"{Address('analysis', run.sweep_id).path}#analysis-{shown}"
    facts = [html.Span([name, " ", html.B(value)]) for name, value in decision.facts()]
    return [
        html.Div(
            [
                html.P(text(decision.sentence(), 1000), className="tb-decision-says"),
                html.Div(
                    [
                        *facts,
                        dcc.Link("Early stopping of the sweep", href=early, className="tb-link"),
                    ],
                    className="tb-decision-facts",
                ),
            ],
            className="tb-decision",
        )
    ]


def changes_card(run: Run, changes: Sequence[Change]) -> list[Any]:
    """The history of a run's configuration; nothing when it has kept its first one."""
    if not changes:
        return []
    head = html.Tr([html.Th(word) for word in ("When", "At", "From run", "Parameter", "Change")])
    rows: list[Any] = []
    shown = list(changes[-_MOST:])
    for _, group in groupby(shown, key=lambda change: (change.time, change.donor)):
        members = list(group)
        for number, change in enumerate(members):
            first = number == 0
            rows.append(
                html.Tr(
                    [
                        html.Td(absolute_time(change.time) if first else ""),
                        html.Td(_at(change) if first else ""),
                        html.Td(_donor(run, change) if first else ""),
                        html.Td(text(change.key, 80) or html.Span("its state", className="tb-dim")),
                        html.Td(_change(change), className="tb-value"),
                    ],
                    title=text(change.reason, 500) or None,
                    className="" if first else "tb-same",
                )
            )
    table = html.Table([html.Thead(head), html.Tbody(rows)], className="tb-table tb-changes")
    times = len({change.time for change in changes})
    note = f"{times} time{'s' if times > 1 else ''}"
    return [
        card("Configuration changes", html.Div(table, className="tb-scroll", tabIndex=0), note=note)
    ]


def _at(change: Change) -> str:
    if change.iteration is not None:
        return f"iteration {change.iteration}"
    return NONE if change.step is None else f"step {change.step}"


def _donor(run: Run, change: Change) -> Any:
    if not change.donor:
        return NONE
    return run_link(run.sweep_id, change.donor, text(change.donor, 40))


def _change(change: Change) -> Any:
    if not change.key:
        return "taken over"
    return [text(change.old, 80), " \N{RIGHTWARDS ARROW} ", text(change.new, 80)]


def life_card(run: Run, life: Life) -> list[Any]:
    """What happened to a run, by time; the middle of a long list is folded."""
    moments = _gathered(life.moments)
    if len(moments) <= _FOLDED:
        return [card("Life", html.Ol(_items(run, moments), className="tb-life"))]
    half = _FOLDED // 2
    middle = moments[half:-half]
    words = f"{len(middle)} more"
    if len(middle) > _MOST:
        words += f", the last {_MOST} of them here"
    parts = [
        html.Ol(_items(run, moments[:half]), className="tb-life"),
        _folded(words, html.Ol(_items(run, middle[-_MOST:]), className="tb-life")),
        html.Ol(_items(run, moments[-half:]), className="tb-life"),
    ]
    return [card("Life", parts, note=f"{len(life.moments)} events")]


def _gathered(moments: Sequence[Moment]) -> list[Moment]:
    """Moments, with checkpoints that follow each other as one."""
    found: list[Moment] = []
    for what, group in groupby(moments, key=lambda moment: moment.what):
        members = list(group)
        if what != "checkpoint" or len(members) < _FEW:
            found += members
            continue
        places = [m.iteration for m in members if m.iteration is not None]
        between = f", iterations {min(places)} to {max(places)}" if places else ""
        found.append(
            Moment(members[-1].time, f"{len(members)} checkpoints", f"until then{between}")
        )
    return found


def _items(run: Run, moments: Sequence[Moment]) -> list[Any]:
    return [
        html.Li(
            [
                html.Time(absolute_time(moment.time), className="tb-dim"),
                html.Span(moment.what, className="tb-what"),
                html.Span(
                    [
                        text(moment.text, 400),
                        *([f" (iteration {moment.iteration})"] if moment.iteration else []),
                        *(
                            [" ", run_link(run.sweep_id, moment.other, "donor")]
                            if moment.other
                            else []
                        ),
                    ]
                ),
            ]
        )
        for moment in moments
    ]


def files_card(files: RunFiles | None, run: Run, life: Life) -> list[Any]:
    """Checkpoints, and what the client uploaded; nothing where there is nothing."""
    try:
        saved = files.checkpoints(run, life) if files is not None else told_checkpoints(run)
        found = files.files(run) if files is not None else []
    except (OSError, TuneBridgeError):
        saved, found = told_checkpoints(run), []
    parts: list[Any] = []
    if saved:
        parts.append(_part("Checkpoints", len(saved), _checkpoints(saved)))
    images = [file for file in found if file.image][-_IMAGES:]
    if images:
        parts.append(html.Div([_figure(file) for file in images], className="tb-images"))
    mine = [file for file in found if file.artifact is None]
    if mine:
        parts.append(_part("Uploaded by its program", len(mine), _files(mine)))
    for about, group in groupby(
        (file for file in found if file.artifact is not None), key=lambda file: file.artifact
    ):
        members = list(group)
        name, kind = about or ("", "")
        parts.append(
            _part(f"Artifact {text(name, 80)} ({text(kind, 40)})", len(members), _files(members))
        )
    return [card("Files", parts)] if parts else []


def _part(title: str, count: int, content: Any) -> Any:
    return _folded(f"{title}: {count}", content, opened=count <= _FOLDED)


def _checkpoints(saved: Sequence[Checkpoint]) -> Any:
    rows = []
    for one in reversed(saved[-_MOST:]):
        name: Any = text(one.id or one.path or "", 200)
        if one.url is not None:
            name = html.A(name, href=one.url, className="tb-link", download="")
        kept = _size(one.size) if one.size is not None else "where its program keeps it"
        if one.size is None and not one.path:
            kept = "pruned"
        rows.append(
            html.Tr(
                [
                    html.Td(name),
                    html.Td(NONE if one.iteration is None else f"iteration {one.iteration}"),
                    html.Td(kept),
                    html.Td("" if one.time is None else absolute_time(one.time)),
                ]
            )
        )
    return html.Div(
        html.Table(html.Tbody(rows), className="tb-table tb-files"),
        className="tb-scroll",
        tabIndex=0,
    )


def _files(found: Sequence[RunFile]) -> Any:
    rows = [
        html.Tr(
            [
                html.Td(html.A(text(file.name, 200), href=file.url, className="tb-link")),
                html.Td(_size(file.size)),
                html.Td(absolute_time(file.time)),
            ]
        )
        for file in found[:_MOST]
    ]
    if len(found) > _MOST:
        rows.append(html.Tr(html.Td(f"and {len(found) - _MOST} more", colSpan=3)))
    return html.Div(
        html.Table(html.Tbody(rows), className="tb-table tb-files"),
        className="tb-scroll",
        tabIndex=0,
    )


def _figure(file: RunFile) -> Any:
    shown = text(file.name.rpartition("/")[2], 60)
    return html.Figure(
        [
            html.A(html.Img(src=file.url, alt=shown), href=file.url),
            html.Figcaption(shown, className="tb-dim"),
        ]
    )


def output_part(files: RunFiles | None, run: Run) -> tuple[list[Any], int]:
    """The end of what a run's programs have printed, and the size of all of it in bytes."""
    data, whole = b"", 0
    if files is not None:
        try:
            data, whole = files.tail(run, _TAIL)
        except (OSError, TuneBridgeError):
            data, whole = b"", 0
    cut = whole > len(data)
    shown = readable((data.partition(b"\n")[2] or data) if cut else data)
    if not shown.strip():
        words = "Nothing is kept of what its program has printed."
        return [html.P(words, className="tb-dim")], whole
    parts: list[Any] = [html.Pre(shown, className="tb-code tb-output", tabIndex=0)]
    if cut:
        parts.insert(0, html.P(f"The end of {_size(whole)}:", className="tb-dim"))
    parts.append(html.A("All of it", href=f"{run_json(run.id)}/output", className="tb-link"))
    return parts, whole
