"""A define-by-run function for Optuna, as data that can be called and written down."""

from __future__ import annotations

import keyword
import re
from typing import Any

from tune_bridge.dialects.flat_conditions import Name, When, matching
from tune_bridge.dialects.flat_space import Named
from tune_bridge.dialects.python_source import Program

__all__ = ["DefineByRun"]

_SUGGEST = {
    "FloatDistribution": "suggest_float",
    "IntDistribution": "suggest_int",
    "CategoricalDistribution": "suggest_categorical",
}
_DEFAULTS = {"log": False, "step": None}
_WIDTH = 88


class DefineByRun:
    """A function that suggests: call it with a trial, and it gives what it suggested by name.

    Args:
        rows: Name, JSON of the distribution, and condition; selectors may come in any order.
    """

    def __init__(self, rows: list[Named]) -> None:
        self.rows = _ordered(rows)

    def __call__(self, trial: Any) -> dict[str, Any]:
        """Suggests what the conditions ask for."""
        values: dict[Name, Any] = {}
        for name, spec, when in self.rows:
            if matching(when, values):
                arguments = _arguments(spec)
                suggest = getattr(trial, _SUGGEST[spec["name"]])
                values[tuple(name.split("/"))] = suggest(name, *arguments[0], **arguments[1])
        return {"/".join(name): value for name, value in values.items()}

    def text(self, program: Program) -> str:
        """The source of the function.

        Args:
            program: Renders values.
        """
        selectors = {selector for _, _, when in self.rows for selector in when}
        variables: dict[Name, str] = {}
        lines = ["def space(trial):", '    """Suggests the parameters of a trial."""']
        whole = {tuple(name.split("/")): when for name, _, when in self.rows}
        last: When | None = None
        for name, spec, when in self.rows:
            key = tuple(name.split("/"))
            full = _closed(when, whole)
            indent = 8 if full else 4
            if full and full != last:
                tests = " and ".join(_test(variables[k], v) for k, v in full.items())
                lines += _broken("    if ", tests, ":")
            last = full
            target = ""
            if key in selectors:
                variables.setdefault(key, _variable(key, set(variables.values())))
                target = f"{variables[key]} = "
            lines += _suggestion(name, spec, target, indent, program)
        return "\n".join([*lines, "    return trial.params"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DefineByRun) and self.rows == other.rows

    def __hash__(self) -> int:
        return hash(tuple(name for name, _, _ in self.rows))

    def __repr__(self) -> str:
        return f"DefineByRun({self.rows!r})"


def _ordered(rows: list[Named]) -> list[Named]:
    """Rows after the selectors that they depend on."""
    found: list[Named] = []
    rest = list(rows)
    while rest:
        missing = {tuple(name.split("/")) for name, _, _ in rest}
        ready = [row for row in rest if not missing.intersection(row[2])]
        found += ready or rest
        rest = [row for row in rest if row not in ready] if ready else []
    return found


def _arguments(spec: Any) -> tuple[list[Any], dict[str, Any]]:
    given = spec["attributes"]
    if "choices" in given:
        return [given["choices"]], {}
    named = {key: given[key] for key in ("step", "log") if given[key] != _DEFAULTS[key]}
    if spec["name"] == "IntDistribution" and named.get("step") == 1:
        del named["step"]
    return [given["low"], given["high"]], named


def _closed(when: When, whole: dict[Name, When]) -> When:
    """A condition with those of its selectors, outermost first."""
    found: dict[Name, tuple[Any, ...]] = {}
    for selector, values in when.items():
        found = {**found, **_closed(whole.get(selector, {}), whole)}
        found[selector] = values
    return found


def _test(variable: str, values: tuple[Any, ...]) -> str:
    if len(values) > 1:
        return f"{variable} in ({', '.join(map(_literal, values))})"
    (value,) = values
    if isinstance(value, bool):
        return variable if value else f"not {variable}"
    if value is None:
        return f"{variable} is None"
    return f"{variable} == {_literal(value)}"


def _literal(value: Any) -> str:
    return Program("").text(value)


def _broken(start: str, text: str, end: str) -> list[str]:
    if len(start) + len(text) + len(end) <= _WIDTH:
        return [f"{start}{text}{end}"]
    pad = " " * (len(start) - len(start.lstrip()))
    parts = text.split(" and ")
    lines = [f"{pad}    {'and ' if i else ''}{part}" for i, part in enumerate(parts)]
    return [f"{start}(", *lines, f"{pad}){end}"]


def _suggestion(name: str, spec: Any, target: str, indent: int, program: Program) -> list[str]:
    positional, named = _arguments(spec)
    pad = " " * indent
    start = f"{pad}{target}trial.{_SUGGEST[spec['name']]}("
    items = [name, *positional]
    flat = [_literal(item) for item in items]
    flat = [text if "\n" not in text else "" for text in flat]
    words = [*flat, *(f"{key}={value!r}" for key, value in named.items())]
    line = f"{start}{', '.join(words)})"
    if len(line) <= _WIDTH and all(flat):
        return [line]
    lines = [f"{pad}    {program.text(item, indent + 4)}," for item in items]
    lines += [f"{pad}    {key}={value!r}," for key, value in named.items()]
    return [start, *"\n".join(lines).split("\n"), f"{pad})"]


def _variable(name: Name, taken: set[str]) -> str:
    """A Python name for a value, from the last names that it has."""
    for length in range(1, len(name) + 1):
        text = re.sub(r"\W+", "_", "_".join(name[-length:])).strip("_").lower() or "value"
        text = f"_{text}" if text[0].isdigit() or keyword.iskeyword(text) else text
        if text not in taken | {"trial", "space"}:
            return text
    return f"value_{len(taken)}"
