"""Ax's parameter dicts, as ``AxClient.create_experiment(parameters=[...])`` takes them.

Ax takes numbers, text and bools. A range of integers on a log scale is read as the rounding of a
log-uniform draw from half a step outside the bounds.
"""

from __future__ import annotations

import json
from typing import Any

from tune_bridge.dialects.flat_conditions import When
from tune_bridge.dialects.flat_space import FlatDialect, Named, options, unknown, whole_log_range
from tune_bridge.dialects.python_space import at_path, short, type_name
from tune_bridge.dialects.sweep.conditions import SELECTOR
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.notes import Notes
from tune_bridge.space import Constant, Integers, Node, Parameter, Uniform

__all__ = ["AxDialect"]

_CASTS: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}
_KEYS = {
    "range": ("bounds", "value_type", "log_scale"),
    "choice": ("values", "value_type", "is_ordered"),
    "fixed": ("value", "value_type"),
}
_NEEDED = {"range": "bounds", "choice": "values", "fixed": "value"}
_REFUSED = {
    "parameter_constraints": "constraints between parameters",
    "digits": "rounding to decimal digits",
    "step_size": "a step",
}


def _spec(row: Any, index: int) -> tuple[str, dict[str, Any]]:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise SpecError(
            "not a parameter",
            path=f"[{index}]",
            found=short(row),
            expected='{"name": "lr", "type": "range", "bounds": [0.001, 0.1]}',
        )
    with at_path(row["name"].replace("/", ".")):
        kind = row.get("type")
        if kind not in _KEYS:
            raise unknown("type of parameter", kind, _KEYS)
        if _NEEDED[kind] not in row:
            raise SpecError(f"a {kind} parameter without {_NEEDED[kind]}", found=short(row))
        for key, what in _REFUSED.items():
            if row.get(key) is not None:
                raise UnsupportedError(
                    f"{what} cannot be translated", path=key, found=short(row[key])
                )
        spec = {key: value for key, value in row.items() if key != "name"}
        spec.setdefault("value_type", _value_type(spec))
        if spec["value_type"] not in _CASTS:
            raise unknown("value_type", spec["value_type"], _CASTS)
        if kind == "range":
            spec["bounds"] = _bounds(spec["bounds"], _CASTS[spec["value_type"]])
            spec["log_scale"] = bool(spec.get("log_scale", False))
        return row["name"], spec


def _bounds(bounds: Any, cast: type) -> list[Any]:
    numbers = isinstance(bounds, list | tuple) and len(bounds) == 2
    if not numbers or any(isinstance(b, bool) or not isinstance(b, int | float) for b in bounds):
        raise SpecError(
            "bounds are not two numbers", path="bounds", found=short(bounds), expected="[low, high]"
        )
    if cast not in (int, float):
        raise SpecError("a range of something else than numbers", path="value_type")
    return [cast(bound) for bound in bounds]


def _value_type(spec: dict[str, Any]) -> str:
    values = spec.get("bounds") or spec.get("values") or [spec.get("value")]
    kinds = {type(value).__name__ for value in values}
    if kinds == {"int", "float"}:
        return "float"
    return kinds.pop() if len(kinds) == 1 and kinds <= _CASTS.keys() else "str"


def _scalars(values: list[Any]) -> list[Any]:
    """Values of one type that Ax takes: as they are, or all as JSON text."""
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or not kinds <= set(_CASTS.values()):
        values = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return list(dict.fromkeys(values))


def _make_float(low: float, high: float, log: bool) -> Any:
    bounds = [float(low), float(high)]
    return {"type": "range", "bounds": bounds, "value_type": "float", "log_scale": log}


def _make_int(low: int, high: int, step: int, log: bool) -> Any:
    if step != 1 or (log and low < 1):
        return None
    return {"type": "range", "bounds": [low, high], "value_type": "int", "log_scale": log}


def _make_rounded(low: float, high: float, log: bool) -> Any:
    ends = whole_log_range(low, high, log)
    return None if ends is None else _make_int(*ends, 1, True)


def _make_options(values: list[Any], weights: Any) -> Any:
    values = _scalars(values)
    if len(values) == 1:
        return {"type": "fixed", "value": values[0], "value_type": type(values[0]).__name__}
    return {"type": "choice", "values": values, "value_type": type(values[0]).__name__}


def _whens(specs: dict[str, dict[str, Any]]) -> dict[str, When]:
    """The conditions that ``dependents`` say, by the name of the parameter that depends.

    What depends on a fixed parameter is there whenever that parameter is.
    """
    whens: dict[str, When] = {}
    above: dict[str, str] = {}
    for name, spec in specs.items():
        table = spec.get("dependents") or {}
        if spec["type"] == "range" and table:
            raise SpecError("dependents of a range", path=f"{name}.dependents", found=short(table))
        options = spec["values"] if spec["type"] == "choice" else [spec.get("value")]
        if not isinstance(table, dict):
            raise SpecError(
                "dependents are no mapping", path=f"{name}.dependents", expected="{value: [names]}"
            )
        for text, children in table.items():
            value = next((option for option in options if str(option) == str(text)), None)
            unknown_names = [child for child in children if child not in specs]
            if value is None or unknown_names:
                raise SpecError(
                    "dependents of a value or a parameter that is not there",
                    path=f"{name}.dependents",
                    found=short(unknown_names or text),
                )
            for child in children:
                selector = tuple(name.split("/"))
                if spec["type"] == "fixed" and not selector[-1].startswith(SELECTOR):
                    above[child] = name
                else:
                    old = whens.get(child, {}).get(selector, ())
                    whens[child] = {**whens.get(child, {}), selector: (*old, value)}
        if spec["type"] != "fixed":
            spec.pop("dependents", None)
    for child in above:
        top = child
        while top in above:
            top = above[top]
        whens[child] = {**whens.get(top, {}), **whens.get(child, {})}
    return whens


class AxDialect(FlatDialect):
    """Lists of parameter dicts."""

    name = "ax"
    suffixes = (".json",)
    title = "Ax parameters"
    conditional = True
    unions = False
    makers = {  # noqa: RUF012 - never changed
        "float": _make_float,
        "int": _make_int,
        "rounded": _make_rounded,
        "options": _make_options,
    }

    def rows(self, source: Any, notes: Notes) -> tuple[list[Named], dict[str, Any]]:
        """Parameter dicts, and on which values of others they depend."""
        if isinstance(source, dict):
            constraints = source.get("parameter_constraints")
            if constraints:
                raise UnsupportedError(
                    "constraints between parameters cannot be translated",
                    path="parameter_constraints",
                    found=short(constraints),
                    hint="search over other parameters in which the constraint always holds",
                )
            source = source.get("parameters")
        if not isinstance(source, list | tuple):
            raise UnsupportedError(
                "not a list of parameter dicts", found=type_name(source), expected="[{...}, ...]"
            )
        found: dict[str, Any] = {}
        for index, row in enumerate(source):
            name, spec = _spec(row, index)
            if name in found:
                raise SpecError("two parameters of one name", path=name)
            found[name] = spec
        whens = _whens(found)
        return [(name, spec, whens.get(name, {})) for name, spec in found.items()], {}

    def node(self, spec: Any, path: str, notes: Notes) -> Node:
        """The law of one parameter."""
        cast = _CASTS[spec["value_type"]]
        if spec["type"] == "fixed":
            return Constant.of(cast(spec["value"]))
        if spec["type"] == "choice":
            if not isinstance(spec["values"], list) or not spec["values"]:
                raise SpecError("no values", path="values", found=short(spec["values"]))
            return options([cast(value) for value in spec["values"]])
        low, high = spec["bounds"]
        if low == high:
            return Constant.of(low)
        log = spec["log_scale"]
        if cast is float:
            return Parameter(Uniform(low, high, "log" if log else "linear"))
        if log:
            return Parameter(Uniform(low - 0.5, high + 0.5, "log", q=1, integer=True))
        return Parameter(Integers(low, high))

    def native(self, rows: list[Named], extras: dict[str, Any]) -> Any:
        """A list of dicts."""
        found = {name: {"name": name, **spec} for name, spec, _ in rows}
        for row in found.values():
            row.pop("dependents", None)
        for name, _, when in rows:
            for selector, values in when.items():
                parent = found["/".join(selector)]
                for value in values:
                    parent.setdefault("dependents", {}).setdefault(value, []).append(name)
        for name, spec, _ in rows:
            if spec["type"] == "fixed" and spec.get("dependents"):
                found[name]["dependents"] = spec["dependents"]
        return list(found.values())

    def text(self, native: Any) -> str:
        """JSON."""
        return json.dumps(native, indent=2) + "\n"
