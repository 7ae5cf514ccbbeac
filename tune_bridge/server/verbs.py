"""What can be done from a page, with the names that the command line has for it.

A press asks first where something is lost. What was done, and what was refused, is said below the
bar at the top; the page itself follows by its next look at the backend.
"""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
import msgspec
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from tune_bridge.backends.base import ENDED_RUN, ENDED_SWEEP, Run
from tune_bridge.controller.steering import VERBS, is_steered
from tune_bridge.controller.sweep import META
from tune_bridge.dialects.sweep.yaml_file import load
from tune_bridge.errors import InputError, TuneBridgeError
from tune_bridge.server.control import Control
from tune_bridge.server.values import text, to_yaml
from tune_bridge.server.views import Snapshot
from tune_bridge.server.widgets import dashed
from tune_bridge.wire import Verb

__all__ = ["add_verbs", "answers", "run_verbs", "sweep_verbs"]

_AGAIN = frozenset({"failed", "crashed", "killed"})


class _Button(msgspec.Struct, frozen=True):
    """A verb on a page.

    Attributes:
        verb: The controller's word.
        label: On the button.
        said: When it was done; ``{}`` is what it was done to.
        ask: What somebody is asked before, empty for nothing.
        colour: Of the button.
        edits: Whether a configuration is edited before.
    """

    verb: Verb
    label: str
    said: str
    ask: str = ""
    colour: str = "gray"
    edits: bool = False


_BUTTONS: dict[str, _Button] = {
    button.verb: button
    for button in (
        _Button("pause", "Pause", "{} is paused; its running runs go on"),
        _Button("resume", "Resume", "{} gives out runs again", colour="blue"),
        _Button(
            "stop",
            "Stop",
            "{} ends when its running runs have finished",
            "The running runs finish, no other one begins, and the sweep ends.",
        ),
        _Button(
            "cancel",
            "Cancel",
            "{} is canceled",
            "All running runs are killed, and the sweep ends now.",
            "red",
        ),
        _Button("retry", "Retry failed", "to be run once more: {}"),
        _Button(
            "stop_run",
            "Stop run",
            "{} is stopped",
            "The program is ended; the results that it has reported count.",
            "red",
        ),
        _Button(
            "enqueue",
            "Run with changes",
            "to be run next: {}",
            "A run with this configuration is the next one to begin; it counts for the run cap.",
            edits=True,
        ),
    )
}


def _can(snapshot: Snapshot) -> bool:
    return META in snapshot.sweep.meta or is_steered(snapshot.sweep)


def _possible(snapshot: Snapshot, verbs: list[Verb]) -> list[Verb]:
    """What the one who drives a sweep knows how to do."""
    return [verb for verb in verbs if verb in VERBS or not is_steered(snapshot.sweep)]


def _made(verb: Verb, target: str) -> Any:
    button = _BUTTONS[verb]
    return dmc.Button(
        "Retry" if verb == "retry" and _run(target) else button.label,
        color=button.colour,
        variant="default" if button.colour == "gray" else "light",
        size="xs",
        radius="sm",
        **dashed(data_verb=verb, data_of=target),
    )


def sweep_verbs(snapshot: Snapshot) -> Any:
    """What can be done with a sweep now."""
    sweep, verbs = snapshot.sweep, list[Verb]()
    if not _can(snapshot):
        return None
    if sweep.state not in ENDED_SWEEP:
        verbs += ["resume" if sweep.state == "paused" else "pause", "stop", "cancel"]
    if sweep.state != "canceled" and any(run.state in _AGAIN for run in snapshot.runs):
        verbs.append("retry")
    return _bar(_possible(snapshot, verbs), sweep.id)


def run_verbs(snapshot: Snapshot, run: Run) -> Any:
    """What can be done with a run now."""
    verbs: list[Verb] = []
    if not _can(snapshot):
        return None
    if run.state not in ENDED_RUN:
        verbs.append("stop_run")
    if snapshot.sweep.state not in ENDED_SWEEP:
        verbs.append("enqueue")
    if run.state in _AGAIN and snapshot.sweep.state != "canceled":
        verbs.append("retry")
    return _bar(_possible(snapshot, verbs), f"{snapshot.sweep.id}/{run.id}")


def _bar(verbs: list[Verb], target: str) -> Any:
    if not verbs:
        return None
    label = dashed(aria_label="What can be done")
    return html.Div([_made(verb, target) for verb in verbs], className="tb-verbs", **label)


def answers() -> list[Any]:
    """The question and the answer, for the frame of every page."""
    return [
        dcc.Store(id="pressed"),
        dcc.Store(id="asked"),
        html.Div(id="said", role="status", className="tb-said"),
        dmc.Modal(
            id="question",
            title="",
            centered=True,
            size="lg",
            closeButtonProps={"aria-label": "Close"},
            children=[
                html.P(id="question-text"),
                html.Div(
                    dmc.Textarea(
                        id="edited",
                        label="Configuration",
                        autosize=True,
                        minRows=4,
                        maxRows=18,
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
        Output("edited", "value"),
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
            return (*[no_update] * 8, said)
        config = ""
        if button.edits:
            run = await control.in_thread(control.controller.backend.run, _run(pressed["of"]))
            config = to_yaml(run.config)
        return (
            pressed,
            True,
            f"{button.label}?",
            button.ask,
            button.label,
            button.colour if button.colour != "gray" else "blue",
            {} if button.edits else {"display": "none"},
            config,
            no_update,
        )


def _add_answer(app: Dash, control: Control) -> None:
    @app.callback(
        Output("question", "opened", allow_duplicate=True),
        Output("edited", "error"),
        Output("said", "children", allow_duplicate=True),
        Input("question-yes", "n_clicks"),
        Input("question-no", "n_clicks"),
        State("asked", "data"),
        State("edited", "value"),
        prevent_initial_call=True,
    )
    async def answer(_: Any, __: Any, asked: Any, edited: Any) -> Any:
        if ctx.triggered_id != "question-yes" or not asked:
            return False, "", no_update
        button, config = _BUTTONS[asked["verb"]], None
        if button.edits:
            try:
                config = _config(str(edited))
            except InputError as error:
                return no_update, str(error), no_update
        return False, "", await _do(control, asked, config)


def _config(edited: str) -> dict[str, Any]:
    data = load(edited, "the configuration").data
    if not isinstance(data, dict) or not data:
        raise InputError("not a configuration", expected="parameters with their values")
    return data


def _run(target: str) -> str:
    return target.partition("/")[2]


async def _do(control: Control, pressed: dict[str, str], config: dict[str, Any] | None) -> Any:
    """Does it, and says so."""
    verb, (sweep_id, _, run_id) = _BUTTONS[pressed["verb"]].verb, pressed["of"].partition("/")
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
    said = _BUTTONS[verb].said.format(target)
    return dmc.Alert(text(said, 600), color="blue", withCloseButton=True, duration=8000)
