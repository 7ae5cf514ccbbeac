"""Optuna's distributions: a dict of live ones, of their JSON, or a function that suggests.

The laws are those of Optuna 5's ``RandomSampler`` (``optuna._transform``): integers and stepped
floats are equally likely, and a log-scaled integer is the rounding of a log-uniform draw between
``low - 0.5`` and ``high + 0.5``.
"""

from __future__ import annotations

import json
from typing import Any

from tune_bridge.dialects.calls import Call, parse_signatures
from tune_bridge.dialects.flat_conditions import EMPTY_WHEN
from tune_bridge.dialects.flat_laws import MOST_OPTIONS
from tune_bridge.dialects.flat_space import FlatDialect, Named, options, unknown, whole_log_range
from tune_bridge.dialects.optuna_function import DefineByRun
from tune_bridge.dialects.python_source import Program
from tune_bridge.dialects.python_space import at_path, short
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.notes import Notes
from tune_bridge.space import Constant, Integers, Node, Parameter, Uniform

__all__ = ["SIGNATURES", "OptunaDialect"]

SIGNATURES = parse_signatures(
    "optuna.distributions",
    """
    FloatDistribution(low, high, log=False, step=None)
    IntDistribution(low, high, log=False, step=1)
    CategoricalDistribution(choices)
    """,
)

_OLD: dict[str, tuple[str, dict[str, Any]]] = {
    "UniformDistribution": ("FloatDistribution", {}),
    "LogUniformDistribution": ("FloatDistribution", {"log": True}),
    "DiscreteUniformDistribution": ("FloatDistribution", {}),
    "IntUniformDistribution": ("IntDistribution", {}),
    "IntLogUniformDistribution": ("IntDistribution", {"log": True}),
}
"""Names before Optuna 3, which its storages still hold -> today's, and what they imply."""

_SHORT = {
    "float": "FloatDistribution",
    "int": "IntDistribution",
    "categorical": "CategoricalDistribution",
}
"""The abbreviated JSON of Optuna's command line."""


def _spec(name: str, attributes: dict[str, Any]) -> dict[str, Any]:
    name, implied = _OLD.get(name, (name, {}))
    if name not in SIGNATURES:
        raise unknown("distribution", name, SIGNATURES)
    given = {"step" if key == "q" else key: value for key, value in attributes.items()}
    try:
        call = SIGNATURES[name].call(**{**implied, **given})
    except TypeError as error:
        raise SpecError(str(error)) from None
    found = {key: call.get(key) for key in call.signature.signature.parameters}
    if "choices" in found:
        return {"name": name, "attributes": {"choices": list(found["choices"])}}
    return {"name": name, "attributes": _numbers(name, found)}


def _numbers(name: str, found: dict[str, Any]) -> dict[str, Any]:
    for key in ("low", "high", "step"):
        value = found[key]
        if value is None and key == "step":
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SpecError(
                f"{key} is not a number", path=key, found=short(value), expected="a number"
            )
        found[key] = float(value) if name == "FloatDistribution" else int(value)
    return found


def _float(low: float, high: float, log: bool, step: float | None, notes: Notes, path: str) -> Node:
    if low == high:
        return Constant.of(low)
    if step is None:
        return Parameter(Uniform(low, high, "log" if log else "linear"))
    count = _count(low, high, step)
    if _multiple(low, step):
        first = round(low / step) * step
        return Parameter(Uniform(first - step / 2, first + (count - 0.5) * step, q=step))
    return _shifted([low + k * step for k in range(min(count, MOST_OPTIONS + 1))], notes, path) or (
        Parameter(Uniform(low - step / 2, low + (count - 0.5) * step, q=step))
    )


def _int(low: int, high: int, log: bool, step: int, notes: Notes, path: str) -> Node:
    high = low + (high - low) // step * step
    if low == high:
        return Constant.of(low)
    if log:
        return Parameter(Uniform(low - 0.5, high + 0.5, "log", q=1, integer=True))
    if low % step == 0:
        return Parameter(Integers(low, high, step))
    count = (high - low) // step + 1
    if count <= MOST_OPTIONS:
        return options(list(range(low, high + 1, step)))
    _shifted([low] * count, notes, path)
    near = low - low % step
    return Parameter(Integers(near, near + (count - 1) * step, step))


def _shifted(values: list[Any], notes: Notes, path: str) -> Node | None:
    """A grid that does not go through 0, as a list where it is short enough."""
    if len(values) <= MOST_OPTIONS:
        return options(values)
    notes.approximated(path, "moved to multiples of the step", "values move by less than a step")
    return None


def _count(low: float, high: float, step: float) -> int:
    from decimal import Decimal

    if not step > 0:
        raise SpecError("step is not positive", path="step", found=repr(step), expected="above 0")
    return int((Decimal(str(high)) - Decimal(str(low))) // Decimal(str(step))) + 1


def _multiple(low: float, step: float) -> bool:
    return abs(low / step - round(low / step)) < 1e-9


def _make_float(low: float, high: float, log: bool) -> Any:
    return _spec("FloatDistribution", {"low": low, "high": high, "log": log})


def _make_grid(low: float, high: float, step: float) -> Any:
    return _spec("FloatDistribution", {"low": low, "high": high, "step": step})


def _make_int(low: int, high: int, step: int, log: bool) -> Any:
    if log and (step != 1 or low < 1):
        return None
    return _spec("IntDistribution", {"low": low, "high": high, "step": step, "log": log})


def _make_rounded(low: float, high: float, log: bool) -> Any:
    ends = whole_log_range(low, high, log)
    return None if ends is None else _make_int(*ends, 1, True)


def _make_options(values: list[Any], weights: Any) -> Any:
    return _spec("CategoricalDistribution", {"choices": values})


class OptunaDialect(FlatDialect):
    """Dicts of distributions, and define-by-run functions."""

    name = "optuna"
    suffixes = (".py",)
    title = "Optuna distributions"
    conditional = True
    makers = {  # noqa: RUF012 - never changed
        "float": _make_float,
        "grid": _make_grid,
        "int": _make_int,
        "rounded": _make_rounded,
        "options": _make_options,
    }

    def rows(self, source: Any, notes: Notes) -> tuple[list[Named], dict[str, Any]]:
        """Distributions, from any of the forms that Optuna has."""
        if isinstance(source, DefineByRun):
            return list(source.rows), {}
        if callable(source):
            from tune_bridge.dialects.optuna_trace import trace

            found = trace(source, notes)
            return [(name, _plain(value, name), when) for name, value, when in found], {}
        if not isinstance(source, dict):
            raise UnsupportedError(
                "not a dict of distributions, nor a function that suggests",
                found=short(source),
                expected='{"lr": FloatDistribution(1e-5, 0.1, log=True)}',
            )
        return [(str(k), _plain(v, str(k)), EMPTY_WHEN) for k, v in source.items()], {}

    def node(self, spec: Any, path: str, notes: Notes) -> Node:
        """The law of one distribution."""
        name, values = spec["name"], spec["attributes"]
        if name == "CategoricalDistribution":
            return options(values["choices"])
        read: Any = _float if name == "FloatDistribution" else _int
        if values["low"] > values["high"]:
            raise SpecError(
                "low is above high", path="low", found=f"{values['low']:g} and {values['high']:g}"
            )
        if values["step"] is not None and values["step"] <= 0:
            raise SpecError("step is not positive", path="step", found=repr(values["step"]))
        return read(**values, notes=notes, path=path)  # type: ignore[no-any-return]

    def native(self, rows: list[Named], extras: dict[str, Any]) -> Any:
        """A dict of calls; a function that suggests where there are conditions."""
        if any(when for _, _, when in rows):
            return DefineByRun(rows)
        return {name: _call(spec) for name, spec, _ in rows}

    def text(self, native: Any) -> str:
        """A program with the dict, or with a function."""
        if isinstance(native, DefineByRun):
            program = Program("A search space for Optuna: call it in the objective.")
            program.define(native.text(program))
            return str(program)
        program = Program("A search space for Optuna: study.ask(space) draws from it.")
        program.assign("space", native)
        return str(program)

    def show(self, spec: Any) -> object:
        """The call."""
        return _call(spec)


def _call(spec: Any) -> Call:
    signature = SIGNATURES[spec["name"]]
    defaults = signature.signature.parameters
    given = {k: v for k, v in spec["attributes"].items() if v != defaults[k].default}
    return signature.call(**given)


def _plain(value: Any, name: str) -> dict[str, Any]:
    with at_path(name.replace("/", ".")):
        if isinstance(value, Call):
            return _spec(value.name, value.arguments)
        if type(value).__module__.partition(".")[0] == "optuna" and hasattr(value, "_asdict"):
            return _spec(type(value).__name__, dict(value._asdict()))
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                raise SpecError("not the JSON of a distribution", found=short(value)) from None
        if isinstance(value, dict) and isinstance(value.get("attributes"), dict):
            return _spec(str(value.get("name")), value["attributes"])
        if isinstance(value, dict) and value.get("type") in _SHORT:
            rest = {key: item for key, item in value.items() if key != "type"}
            return _spec(_SHORT[value["type"]], rest)
        raise SpecError(
            "not a distribution", found=short(value), expected="one of " + ", ".join(SIGNATURES)
        )
