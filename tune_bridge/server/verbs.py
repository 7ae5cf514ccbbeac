"""What can be done from a page, with the names that the command line has for it.

A press asks first where something is lost. What was done, and what was refused, is said below the
bar at the top; the page itself follows by its next look at the backend.
"""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
import msgspec
from dash import Dash, Input, Output, State, dcc, html, no_update
from dash.exceptions import PreventUpdate

from tune_bridge.backends.base import ENDED_RUN, ENDED_SWEEP, Run, Sweep
from tune_bridge.controller.liveness import unheard_since, unheard_words
from tune_bridge.controller.steering import VERBS, is_steered
from tune_bridge.controller.sweep import META
from tune_bridge.dialects.sweep.yaml_file import load
from tune_bridge.errors import InputError, TuneBridgeError
from tune_bridge.server.addresses import Address
from tune_bridge.server.control import Control
from tune_bridge.server.values import text, to_yaml
from tune_bridge.server.views import Snapshot
from tune_bridge.server.widgets import dashed
from tune_bridge.sweep_config import SweepConfig
from tune_bridge.wire import Verb

__all__ = ["add_verbs", "answers", "run_verbs", "sweep_verbs"]

_CLONE = "clone"
_AGAIN = frozenset({"failed", "crashed", "killed"})
_CLOSED = frozenset({"canceled", "failed"})
"""States of a sweep that gives out nothing any more, whatever is asked."""


class _Button(msgspec.Struct, frozen=True):
    """A verb on a page.

    Attributes:
        verb: The controller's word; "clone" is none of them.
        label: On the button.
        said: When it was done; ``{}`` is what it was done to.
        line: The command line that does the same; ``{sweep}`` and ``{run}`` are what it is about.
        ask: What somebody is asked before, empty for nothing.
        colour: Of the button.
        edits: What is edited before, in a word; empty for nothing.
    """

    verb: str
    label: str
    said: str
    line: str
    ask: str = ""
    colour: str = "gray"
    edits: str = ""


_BUTTONS: dict[str, _Button] = {
    button.verb: button
    for button in (
        _Button("pause", "Pause", "{} is paused; its running runs go on", "pause {sweep}"),
        _Button("resume", "Resume", "{} gives out runs again", "resume {sweep}", colour="blue"),
        _Button(
            "stop",
            "Stop",
            "{} ends when its running runs have finished",
            "stop {sweep}",
            "The running runs finish, no other one begins, and the sweep ends.",
        ),
        _Button(
            "cancel",
            "Cancel",
            "{} is canceled",
            "cancel {sweep}",
            "All running runs are killed, and the sweep ends now. Those of an experiment that is "
            "not heard of any more are crashed.",
            "red",
        ),
        _Button("retry", "Retry failed", "to be run once more: {}", "retry {sweep} {run}"),
        _Button(
            "stop_run",
            "Stop run",
            "{} is stopped",
            "stop {sweep}/{run}",
            "The program is ended; the results that it has reported count.",
            "red",
        ),
        _Button(
            "enqueue",
            "Enqueue",
            "to be run next: {}",
            "enqueue {sweep} --file config.json",
            "A run with this configuration is the next one to begin; it counts for the run cap.",
            edits="Configuration",
        ),
        _Button(
            _CLONE,
            "Clone with changes",
            "made from it: {}",
            "sweep sweep.yaml",
            "A new sweep, with this to begin with. This one stays as it is.",
            edits="Sweep",
        ),
    )
}


def _can(snapshot: Snapshot) -> bool:
    return META in snapshot.sweep.meta or is_steered(snapshot.sweep)


def _possible(snapshot: Snapshot, verbs: list[Verb]) -> list[str]:
    """What the one who drives a sweep knows how to do."""
    return [verb for verb in verbs if verb in VERBS or not is_steered(snapshot.sweep)]


def _unheard(snapshot: Snapshot) -> str:
    """Why nobody would do what the experiment's program has to do; empty when somebody would."""
    since = unheard_since(snapshot.sweep) if is_steered(snapshot.sweep) else None
    return "" if since is None else unheard_words(since)


def _made(verb: str, target: str, unheard: str) -> Any:
    button = _BUTTONS[verb]
    unheard = unheard if verb in VERBS and verb != "cancel" else ""
    sweep, _, run = target.partition("/")
    line = button.line.format(sweep=sweep, run=run).strip()
    made = dmc.Button(
        "Retry" if verb == "retry" and run else button.label,
        color=button.colour,
        variant="default" if button.colour == "gray" else "light",
        size="xs",
        radius="sm",
        disabled=bool(unheard),
        **dashed(data_verb=verb, data_of=target),
    )
    return dmc.Tooltip(
        html.Span(made, title=unheard) if unheard else made,
        label=unheard or html.Code(f"tune-bridge {line}"),
        openDelay=400,
    )


def sweep_verbs(snapshot: Snapshot) -> Any:
    """What can be done with a sweep now."""
    sweep, verbs = snapshot.sweep, list[Verb]()
    if _can(snapshot) and sweep.state not in ENDED_SWEEP:
        verbs += ["resume" if sweep.state == "paused" else "pause", "stop", "cancel"]
    if _can(snapshot) and sweep.state not in _CLOSED:
        verbs += ["retry"] if any(run.state in _AGAIN for run in snapshot.runs) else []
    possible = _possible(snapshot, verbs)
    if sweep.config.get("parameters"):
        possible.append(_CLONE)
    return _bar(possible, sweep.id, _unheard(snapshot))


def run_verbs(snapshot: Snapshot, run: Run) -> Any:
    """What can be done with a run now."""
    verbs: list[Verb] = []
    if not _can(snapshot):
        return None
    if run.state not in ENDED_RUN:
        verbs.append("stop_run")
    if snapshot.sweep.state not in _CLOSED:
        verbs += ["enqueue", "retry"] if run.state in _AGAIN else ["enqueue"]
    unheard = _unheard(snapshot)
    bar = _bar(_possible(snapshot, verbs), f"{snapshot.sweep.id}/{run.id}", unheard)
    if bar and unheard and run.state not in ENDED_RUN:
        bar.children.insert(0, html.Span(f"The experiment is {unheard}", className="tb-dim"))
    return bar


def _bar(verbs: list[str], target: str, unheard: str) -> Any:
    if not verbs:
        return None
    label = dashed(aria_label="What can be done")
    return html.Div([_made(verb, target, unheard) for verb in verbs], className="tb-verbs", **label)


def answers() -> list[Any]:
    """The question and the answer, for the frame of every page."""
    return [
        dcc.Store(id="pressed"),
        dcc.Store(id="asked"),
        dcc.Store(id="answered"),
        html.Div(id="said", role="status", className="tb-said"),
        dmc.Modal(
            id="question",
            title="",
            centered=True,
            size="xl",
            closeButtonProps={"aria-label": "Close"},
            children=[
                html.P(id="question-text"),
                html.Div(
                    dmc.Textarea(
                        id="edited",
                        label="Configuration",
                        autosize=True,
                        minRows=4,
                        maxRows=22,
                        className="tb-edited",
                    ),
                    id="edits",
                ),
                html.Div(
                    [
                        dmc.Button("No", id="question-no", variant="default", size="xs"),
                        dmc.Button("Yes", id="question-yes", size="xs"),
                    ],
                    className="tb-verbs tb-right",
                ),
            ],
        ),
    ]


def add_verbs(app: Dash, control: Control | None) -> None:
    """Wires the buttons up; nothing when no sweep can be steered from here."""
    if control is not None:
        _add_press(app, control)
        _add_answer(app, control)


def _add_press(app: Dash, control: Control) -> None:
    @app.callback(
        Output("asked", "data"),
        Output("question", "opened"),
        Output("question", "title"),
        Output("question-text", "children"),
        Output("question-yes", "children"),
        Output("question-yes", "color"),
        Output("edits", "style"),
        Output("edited", "label"),
        Output("edited", "value"),
        Output("edited", "error", allow_duplicate=True),
        Output("said", "children"),
        Input("pressed", "data"),
        prevent_initial_call=True,
    )
    async def press(pressed: Any) -> Any:
        # A script says what was pressed. The buttons are drawn anew whenever the sweep changes, and
        # as inputs each drawing would call for the answer to the press before to be thrown away.
        button = _BUTTONS.get(str((pressed or {}).get("verb")))
        if button is None:
            raise PreventUpdate
        if not button.ask:
            said = await _do(control, pressed, None)
            return (*[no_update] * 10, said)
        return (
            pressed,
            True,
            f"{button.label}?",
            button.ask,
            button.label,
            button.colour if button.colour != "gray" else "blue",
            {} if button.edits else {"display": "none"},
            button.edits,
            await control.in_thread(_to_edit, control, button, pressed["of"]),
            "",
            no_update,
        )


def _to_edit(control: Control, button: _Button, target: str) -> str:
    """The text that is edited before something is done; empty when nothing is."""
    if not button.edits:
        return ""
    backend = control.controller.backend
    if button.verb != _CLONE:
        return to_yaml(backend.run(_run(target)).config)
    sweep = backend.sweep(target)
    about = {"project": sweep.project, "name": sweep.name}
    said = {key: value for key, value in about.items() if value not in ("", sweep.id)}
    return to_yaml({**said, **sweep.config})


def _add_answer(app: Dash, control: Control) -> None:
    @app.callback(
        Output("question", "opened", allow_duplicate=True),
        Output("edited", "error"),
        Output("said", "children", allow_duplicate=True),
        Output("address", "pathname", allow_duplicate=True),
        Output("address", "search", allow_duplicate=True),
        Input("answered", "data"),
        State("asked", "data"),
        prevent_initial_call=True,
    )
    async def answer(answered: Any, asked: Any) -> Any:
        # A script says what stood in the field: its value arrives here later than a quick click.
        stay = (no_update, no_update)
        if not (answered and answered["yes"] and asked):
            return False, "", no_update, *stay
        button, edited, config = _BUTTONS[asked["verb"]], str(answered["text"]), None
        try:
            if button.verb == _CLONE:
                made = await control.in_thread(_clone, control, asked["of"], edited)
                said = _said(button.said.format(f"sweep {made.id}"))
                return False, "", said, Address("sweep", made.id).path, ""
            if button.edits:
                config = _config(edited)
        except TuneBridgeError as error:  # what was written stays, to be mended
            return no_update, str(error), no_update, *stay
        return False, "", await _do(control, asked, config), *stay


def _clone(control: Control, sweep_id: str, edited: str) -> Sweep:
    """A new sweep of a text, as ``tune-bridge sweep`` makes one of a file.

    Raises:
        InputError: The text is no sweep that agents can run; it says where.
    """
    config = SweepConfig.from_yaml(edited, "sweep")
    old = control.controller.backend.sweep(sweep_id)
    return control.controller.create(dict(config), entity=config.get("entity") or old.entity)


def _config(edited: str) -> dict[str, Any]:
    data = load(edited, "configuration").data
    if not isinstance(data, dict) or not data:
        raise InputError("not a configuration", expected="parameters with their values")
    return data


def _run(target: str) -> str:
    return target.partition("/")[2]


async def _do(control: Control, pressed: dict[str, str], config: dict[str, Any] | None) -> Any:
    """Does it, and says so."""
    verb: Any = _BUTTONS[pressed["verb"]].verb
    sweep_id, _, run_id = pressed["of"].partition("/")
    args: dict[str, Any] = {}
    if config is not None:
        args = {"config": config}
    elif verb == "stop_run":
        args = {"run": run_id}
    elif verb == "retry" and run_id:
        args = {"runs": [run_id]}
    try:
        result = await control.tell(sweep_id, verb, args)
    except TuneBridgeError as error:
        return dmc.Alert(text(str(error), 600), color="red", withCloseButton=True)
    target = f"run {run_id}" if run_id else f"sweep {sweep_id}"
    if verb == "retry":
        target = ", ".join(result) or "no run"
    elif verb == "enqueue":
        target = str(result)
    return _said(_BUTTONS[verb].said.format(target))


def _said(words: str) -> Any:
    return dmc.Alert(text(words, 600), color="blue", withCloseButton=True, duration=8000)
