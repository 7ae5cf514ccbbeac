"""How a sweep starts its program: the ``command`` list and its macros, as W&B's agent expands them.

A list item that is exactly ``${name}`` becomes any number of arguments; unknown names vanish.
Inside an item only ``${envvar:NAME}`` is replaced. No shell is involved, so nothing has to be
quoted. The rules are those of wandb's ``create_sweep_command`` and ``create_sweep_command_args``,
macro by macro.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tune_bridge.errors import InputError

__all__ = [
    "DEFAULT_COMMAND",
    "MACROS",
    "NO_PROGRAM",
    "Start",
    "check_command",
    "expand",
    "json_arguments",
    "startable",
    "wants_config_file",
]

DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
"""W&B's command when a sweep names none."""

_ENVVAR = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")
_CONFIG_FILE = "${args_json_file}"


class Start(NamedTuple):
    """What macros are expanded from.

    Attributes:
        config: Parameters by name, in the order in which they become arguments. A nested group
            stays one argument, as W&B passes it.
        program: The program, or None.
        interpreter: What ``${interpreter}`` stands for.
        config_file: Where the JSON of ``${args_json_file}`` stands, or None.
    """

    config: Mapping[str, Any]
    program: str | None = None
    interpreter: str = "python"
    config_file: str | None = None


def json_arguments(config: Mapping[str, Any]) -> str:
    """The parameters as the JSON object that ``${args_json}`` and ``${args_json_file}`` give."""
    return json.dumps(dict(config))


def _each(form: str) -> Callable[[Start], list[str]]:
    return lambda start: [form.format(k=key, v=value) for key, value in start.config.items()]


def _flags(start: Start) -> list[str]:
    return [
        f"--{key}" if value is True else f"--{key}={value}"
        for key, value in start.config.items()
        if value is not False
    ]


def _pairs(start: Start) -> list[str]:
    return [item for key, value in start.config.items() for item in (f"--{key}", str(value))]


def _given(value: str | None) -> list[str]:
    return [] if value is None else [value]


MACROS: dict[str, Callable[[Start], list[str]]] = {
    # "env" vanishes where there is no such program, as it does for W&B's agent on Windows.
    "env": lambda _: ["/usr/bin/env"] if os.name == "posix" else [],
    "interpreter": lambda start: [start.interpreter],
    "program": lambda start: _given(start.program),
    "args": _each("--{k}={v}"),
    "args_no_hyphens": _each("{k}={v}"),
    "args_no_boolean_flags": _flags,
    "args_no_equals": _pairs,
    "args_json": lambda start: [json_arguments(start.config)],
    "args_json_file": lambda start: _given(start.config_file),
    "args_append_hydra": _each("+{k}={v}"),
    "args_override_hydra": _each("++{k}={v}"),
    "args_dict": lambda start: list(start.config),
}
"""Macro -> the arguments that it becomes."""


def check_command(command: Iterable[Any] | None, program: str | None) -> None:
    """Refuses a command that would start something else than it says, or nothing.

    W&B drops a macro that it does not know without a word; every run would then miss an argument.

    Raises:
        InputError: A macro is unknown, or nothing is left to start.
    """
    items = [str(item) for item in tuple(command or ()) or DEFAULT_COMMAND]
    for place, item in enumerate(items):
        if not (item.startswith("${") and item.endswith("}")) or _ENVVAR.search(item):
            continue
        name = item[2:-1]
        if name not in MACROS:
            near = difflib.get_close_matches(name, MACROS, n=1)
            known = ", ".join(f"${{{macro}}}" for macro in MACROS)
            raise InputError(
                "unknown macro",
                path=f"command[{place}]",
                found=repr(item),
                expected=f"one of {known}, ${{envvar:NAME}}",
                hint=f"did you mean '${{{near[0]}}}'?" if near else "write the word itself",
            )
    if program is None and "${program}" in items:
        raise InputError(
            "the command names a program and there is none",
            path="program",
            expected="program: train.py, for example",
        )
    if not [item for item in items if item != "${env}"]:
        raise InputError(
            "the command starts nothing",
            path="command",
            found=repr(items),
            expected=f"words and macros, such as {list(DEFAULT_COMMAND)}",
        )


def wants_config_file(command: Iterable[Any] | None) -> bool:
    """Whether ``${args_json_file}`` occurs, so that the file has to be written."""
    return _CONFIG_FILE in map(str, command or ())


def expand(
    command: Iterable[Any] | None, start: Start, environ: Mapping[str, str] | None = None
) -> list[str]:
    """The argument list that starts a program.

    Args:
        command: The sweep's ``command``; None or an empty one for `DEFAULT_COMMAND`. Items that are
            no strings are written as `str` does.
        start: The run's parameters and surroundings.
        environ: Where ``${envvar:NAME}`` is looked up; this process's environment by default. An
            undefined variable becomes its name, as in W&B.
    """
    variables = os.environ if environ is None else environ
    argv: list[str] = []
    for item in tuple(command or ()) or DEFAULT_COMMAND:
        text = _ENVVAR.sub(lambda found: variables.get(found[1], found[1]), str(item))
        if text.startswith("${") and text.endswith("}"):
            macro = MACROS.get(text[2:-1])
            argv += macro(start) if macro else []
        else:
            argv.append(text)
    return argv


NO_PROGRAM = ("no program: agents have nothing to start", "add program: train.py")
"""What is missing where nothing is `startable`, and what to do."""


def startable(config: Mapping[str, Any]) -> bool:
    """Whether a sweep names what runs: a program, a command without one, a job, a function.

    Args:
        config: The sweep.
    """
    if any(config.get(key) for key in ("program", "job", "image_uri")):
        return True
    controller = config.get("controller")
    carry = controller.get("tune") if isinstance(controller, Mapping) else None
    if isinstance(carry, Mapping) and "trainable" in carry:
        return True
    command = config.get("command")
    return isinstance(command, list | tuple) and bool(command) and "${program}" not in command
