"""What can be copied of a run, to have it again elsewhere: YAML, Tune code, a command line."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

from tune_bridge.backends.base import Run
from tune_bridge.command import Start, expand
from tune_bridge.errors import TuneBridgeError
from tune_bridge.server.values import text, to_yaml
from tune_bridge.server.views import Snapshot

__all__ = ["command_of", "copies", "tune_code"]


def copies(snapshot: Snapshot, run: Run) -> list[tuple[str, str]]:
    """The forms in which a run can be copied: pairs of a label and a text.

    Args:
        snapshot: The run's sweep.
        run: The run.

    Returns:
        "YAML" and "Tune code", and "Command line" when the sweep has a program.
    """
    made = [("YAML", to_yaml(run.config)), ("Tune code", tune_code(run.config))]
    command = command_of(snapshot, run)
    return made if command is None else [*made, ("Command line", command)]


def command_of(snapshot: Snapshot, run: Run) -> str | None:
    """The command line that runs a run's program with its parameters; None when it has none."""
    config = snapshot.sweep.config
    program, command = config.get("program"), config.get("command")
    if not isinstance(program, str) or not isinstance(command, list | None):
        return None
    try:
        items = expand(tuple(command) if command else None, Start(run.config, program), {})
    except TuneBridgeError:
        return None
    return shlex.join(items)


def tune_code(config: Mapping[str, Any]) -> str:
    """A config as Python that runs it once with Ray Tune; the trainable is the reader's."""
    return (
        "from ray import tune\n\n"
        f"config = {_literal(config)}\n\n"
        "tune.run(train, config=config)  # train: your trainable\n"
    )


def _literal(value: Any, indent: str = "") -> str:
    """A value as Python source; what JSON cannot hold becomes its text."""
    if isinstance(value, Mapping):
        inner = f"{indent}    "
        lines = [f"{inner}{str(key)!r}: {_literal(item, inner)},\n" for key, item in value.items()]
        return "{\n" + "".join(lines) + indent + "}" if lines else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_literal(item, indent) for item in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if value is None or isinstance(value, str | bool | int | float):
        return repr(value)
    return repr(text(value))
