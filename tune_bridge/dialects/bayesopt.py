"""BayesOpt's bounds: name -> (low, high). All of them are uniform floats."""

from __future__ import annotations

from typing import Any

from tune_bridge.dialects.flat_space import FlatDialect, Named
from tune_bridge.dialects.python_source import Program
from tune_bridge.dialects.python_space import at_path, short, type_name
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.notes import Notes
from tune_bridge.space import Constant, Node, Parameter, Uniform

__all__ = ["BayesOptDialect"]


def _bounds(value: Any, name: str) -> list[float]:
    with at_path(name):
        try:
            low, high = value
            if isinstance(low, bool | str) or isinstance(high, bool | str):
                raise TypeError
            return [float(low) + 0.0, float(high) + 0.0]
        except (TypeError, ValueError):
            raise SpecError(
                "not a pair of bounds", found=short(value), expected="(low, high)"
            ) from None


def _constant(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return [float(value), float(value)] if number else None


class BayesOptDialect(FlatDialect):
    """``pbounds``, or a ``BayesianOptimization`` that was given them."""

    name = "bayesopt"
    suffixes = (".py",)
    title = "BayesOpt bounds"
    makers = {  # noqa: RUF012 - never changed
        "float": lambda low, high, log: [float(low), float(high)],
        "constant": _constant,
    }

    def specs(self, source: Any, notes: Notes) -> tuple[dict[str, Any], dict[str, Any]]:
        """Bounds by name. Where no name has a ``/``, dots join the names of groups."""
        space = getattr(source, "_space", None)
        if space is not None and type(source).__module__.partition(".")[0] == "bayes_opt":
            source = dict(zip(space.keys, space.bounds, strict=True))
        if not isinstance(source, dict):
            raise UnsupportedError(
                "not a dict of bounds", found=type_name(source), expected='{"lr": (0.001, 0.1)}'
            )
        dotted = any("." in name for name in source) and not any("/" in name for name in source)
        rows = {
            str(name).replace(".", "/") if dotted else str(name): _bounds(value, str(name))
            for name, value in source.items()
        }
        return rows, {"separator": "."} if dotted else {}

    def node(self, spec: Any, path: str, notes: Notes) -> Node:
        """A uniform float, or a constant where the bounds are one."""
        low, high = spec
        return Constant.of(low) if low == high else Parameter(Uniform(low, high))

    def native(self, rows: list[Named], extras: dict[str, Any]) -> Any:
        """A dict of pairs."""
        join = extras.get("separator", self.separator)
        return {name.replace("/", join): tuple(pair) for name, pair, _ in rows}

    def text(self, native: Any) -> str:
        """A program with the dict."""
        program = Program("Bounds for BayesianOptimization(f, pbounds).")
        program.assign("pbounds", native)
        return str(program)
