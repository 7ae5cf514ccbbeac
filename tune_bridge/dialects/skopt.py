"""scikit-optimize's dimensions: Real, Integer and Categorical, with prior and name.

The laws are those of ``Dimension.rvs``: a log-uniform integer is the rounding of a log-uniform draw
between its bounds, so that the ends weigh less than Tune's.
"""

from __future__ import annotations

from typing import Any

from tune_bridge.dialects.calls import Call, parse_signatures
from tune_bridge.dialects.flat_space import FlatDialect, Named, options, unknown
from tune_bridge.dialects.python_source import Program
from tune_bridge.dialects.python_space import at_path, short, type_name
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.notes import Notes
from tune_bridge.space import Constant, Integers, Node, Parameter, Uniform

__all__ = ["SkOptDialect"]

_SIGNATURES = parse_signatures(
    "skopt.space",
    """
    Real(low, high, prior="uniform", base=10, transform=None, name=None, dtype=float)
    Integer(low, high, prior="uniform", base=10, transform=None, name=None, dtype=int)
    Categorical(categories, prior=None, transform=None, name=None)
    """,
)

_KEPT = {"Real": ("low", "high", "prior"), "Integer": ("low", "high", "prior")}
_TRANSFORMS = {"Real": "identity", "Integer": "identity", "Categorical": "onehot"}
"""The defaults, which a live dimension shows."""


def _spec(name: str, values: dict[str, Any]) -> dict[str, Any]:
    keys = _KEPT.get(name, ("categories", "prior"))
    spec: dict[str, Any] = {"name": name, **{key: values[key] for key in keys}}
    for key in ("low", "high"):
        if key in spec and (isinstance(spec[key], bool) or not isinstance(spec[key], int | float)):
            try:
                spec[key] = spec[key].item()
            except AttributeError:
                raise SpecError(
                    f"{key} is not a number", path=key, found=short(spec[key])
                ) from None
    if name == "Real":
        spec["low"], spec["high"] = float(spec["low"]), float(spec["high"])
    if name == "Categorical":
        spec["categories"] = list(spec["categories"])
        spec["prior"] = None if spec["prior"] is None else [float(w) for w in spec["prior"]]
    if values.get("transform") not in (None, _TRANSFORMS[name]):
        spec["transform"] = values["transform"]
    if values.get("base", 10) != 10:
        spec["base"] = values["base"]
    return spec


def _dimension(value: Any, index: int) -> tuple[str, dict[str, Any]]:
    """The name of a dimension, recorded or live, and its data."""
    with at_path(f"[{index}]"):
        if isinstance(value, Call) and value.name in _SIGNATURES:
            given = {key: value.get(key) for key in value.signature.signature.parameters}
            kind = value.name
        elif type(value).__module__.partition(".")[0] == "skopt":
            kind = type(value).__name__
            if kind not in _SIGNATURES:
                raise unknown("dimension", kind, _SIGNATURES)
            parameters = _SIGNATURES[kind].signature.parameters
            given = {key: getattr(value, key) for key in parameters if key != "transform"}
            given["transform"] = value.transform_
        else:
            raise SpecError(
                "not a dimension",
                found=short(value),
                expected='Real(0.1, 1, name="lr"), Integer or Categorical',
            )
        return str(given["name"] or f"x{index}"), _spec(kind, given)


def _make_float(low: float, high: float, log: bool) -> Any:
    prior = "log-uniform" if log else "uniform"
    return {"name": "Real", "low": float(low), "high": float(high), "prior": prior}


def _make_int(low: int, high: int, step: int, log: bool) -> Any:
    if step != 1:
        return None
    prior = "log-uniform" if log else "uniform"
    return {"name": "Integer", "low": low, "high": high, "prior": prior}


def _make_rounded(low: float, high: float, log: bool) -> Any:
    if not log or low != int(low) or high != int(high) or low < 1:
        return None
    return _make_int(int(low), int(high), 1, True)


def _make_options(values: list[Any], weights: Any) -> Any:
    spec = {"name": "Categorical", "categories": list(values), "prior": weights}
    # The default, one-hot, needs values that can be keys.
    lists = any(isinstance(value, list | dict) for value in values)
    return {**spec, "transform": "identity"} if lists else spec


class SkOptDialect(FlatDialect):
    """Lists of dimensions, or a ``Space`` of them."""

    name = "skopt"
    suffixes = (".py",)
    title = "scikit-optimize dimensions"
    makers = {  # noqa: RUF012 - never changed
        "float": _make_float,
        "int": _make_int,
        "rounded": _make_rounded,
        "options": _make_options,
    }

    def specs(self, source: Any, notes: Notes) -> tuple[dict[str, Any], dict[str, Any]]:
        """Dimensions by name; those without one are called x0, x1 and so on."""
        source = getattr(source, "dimensions", source)
        if not isinstance(source, list | tuple):
            raise UnsupportedError(
                "not a list of dimensions", found=type_name(source), expected="[Real(...), ...]"
            )
        found: dict[str, Any] = {}
        for index, value in enumerate(source):
            name, spec = _dimension(value, index)
            if name in found:
                raise SpecError("two dimensions of one name", path=name)
            found[name] = spec
        return found, {}

    def node(self, spec: Any, path: str, notes: Notes) -> Node:
        """The law of one dimension."""
        if spec["name"] == "Categorical":
            return options(spec["categories"], spec["prior"])
        low, high, log = spec["low"], spec["high"], spec["prior"] == "log-uniform"
        if low == high:
            return Constant.of(low)
        if spec["name"] == "Real":
            return Parameter(Uniform(low, high, "log" if log else "linear"))
        if log:
            return Parameter(Uniform(low, high, "log", q=1, integer=True))
        return Parameter(Integers(low, high))

    def native(self, rows: list[Named], extras: dict[str, Any]) -> Any:
        """A list of calls."""
        return [self._call(spec, name) for name, spec, _ in rows]

    def _call(self, spec: Any, name: str | None) -> Call:
        signature = _SIGNATURES[spec["name"]]
        defaults = signature.signature.parameters
        given = {k: v for k, v in spec.items() if k != "name" and v != defaults[k].default}
        return signature.call(**given, **({} if name is None else {"name": name}))

    def text(self, native: Any) -> str:
        """A program with the list."""
        program = Program("A search space for scikit-optimize.")
        program.assign("space", native)
        return str(program)

    def show(self, spec: Any) -> object:
        """The call."""
        return self._call(spec, None)
