"""Nevergrad's parametrizations: ``p.Dict`` of Scalar, Log, Choice, TransitionChoice and Tuple.

The laws are those of ``parameter.sample()``: bounded scalars are uniform (``Log``: log-uniform),
and casting to an integer rounds, so that the ends weigh half where the bounds are integers. One
without bounds is a normal step of a width from its start; unless ``mutable_sigma`` is False, the
width changes before the step.
"""

from __future__ import annotations

import keyword
import math
from typing import Any

from tune_bridge.dialects.calls import Call, Signature, parse_signatures
from tune_bridge.dialects.flat_conditions import Row, tree_of
from tune_bridge.dialects.flat_space import FlatDialect, Named, options, spread
from tune_bridge.dialects.python_source import Program
from tune_bridge.dialects.python_space import at_path, short, type_name
from tune_bridge.errors import UnsupportedError
from tune_bridge.notes import Notes
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Integers,
    Node,
    Normal,
    Parameter,
    Sequence,
    Uniform,
)

__all__ = ["NevergradDialect"]

_SIGNATURES = parse_signatures(
    "nevergrad",
    """
    Scalar(init=None, *, lower=None, upper=None, mutable_sigma=True)
    Log(*, init=None, exponent=None, lower=None, upper=None, mutable_sigma=False)
    Choice(choices, repetitions=None, deterministic=False)
    TransitionChoice(choices, transitions=(1.0, 1.0), repetitions=None, ordered=True)
    Dict(**parameters)
    Instrumentation(*args, **kwargs)
    Tuple(*parameters)
    """,
    prefix="p",
)
_PLACES = 12
_CAST, _MUTATION = "set_integer_casting", "set_mutation"
_METHODS = {
    (name, method): Signature(f"p.{name}.{method}", "nevergrad", arguments)
    for name in ("Scalar", "Log")
    for method, arguments in ((_CAST, "self"), (_MUTATION, "self, sigma=1.0"))
}


def _flatten(value: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    """Named parameters below a container, recorded or live."""
    if isinstance(value, Call) and value.name in ("p.Dict", "p.Instrumentation"):
        items = value.arguments.get("parameters") or value.arguments.get("kwargs") or {}
        loose = value.arguments.get("args")
    elif type_name(value) == "nevergrad's Instrumentation":
        items, loose = dict(value[1]._content), list(value[0]._content)
    elif type_name(value) == "nevergrad's Dict":
        items, loose = dict(value._content), None
    else:
        return [(path, value)]
    if loose:
        raise UnsupportedError(
            "an Instrumentation with parameters that have no name",
            path=".".join(path),
            hint="give them by keyword",
        )
    rows = []
    for name, item in items.items():
        if not isinstance(name, str):
            raise UnsupportedError("a parameter's name is not a string", found=short(name))
        rows += _flatten(item, (*path, name))
    return rows


def _spec(value: Any) -> dict[str, Any]:
    if isinstance(value, Call):
        return _recorded(value)
    if type(value).__module__.partition(".")[0] != "nevergrad":
        return {"kind": "constant", "value": value}
    kind = type(value).__name__
    if kind == "Constant":
        return {"kind": "constant", "value": value.value}
    if kind in ("Choice", "TransitionChoice"):
        if value._repetitions is not None:
            raise UnsupportedError("repetitions of a choice", found=str(value._repetitions))
        return {"kind": kind, "choices": [_option(option) for option in value.choices]}
    if kind == "Tuple":
        return {"kind": kind, "items": [_option(item) for item in value._content.values()]}
    if kind not in ("Scalar", "Log"):
        raise UnsupportedError(
            f"{kind} cannot be translated",
            expected="Scalar, Log, Choice, TransitionChoice or Tuple",
        )
    return _live_scalar(value, kind)


def _option(value: Any) -> Any:
    """A plain value, or what an option or item holds: ``{"$dict": {...}}``, ``{"$one": ...}``."""
    if isinstance(value, Call):
        tree = value.name in ("p.Dict", "p.Instrumentation")
    elif type_name(value).startswith("nevergrad's"):
        if type(value).__name__ == "Constant":
            return value.value
        tree = type(value).__name__ in ("Dict", "Instrumentation")
    else:
        return value
    if not tree:
        return {"$one": _spec(value)}
    return {"$dict": {"/".join(path): _spec(item) for path, item in _flatten(value, ())}}


def _held(option: Any) -> bool:
    return (
        isinstance(option, dict) and len(option) == 1 and not {"$dict", "$one"}.isdisjoint(option)
    )


def _live_scalar(value: Any, kind: str) -> dict[str, Any]:
    layers = {type(layer).__name__: layer for layer in value._layers}
    low, high = (None if b is None else float(b[0]) for b in value.bounds)
    log = "Exponent" in layers
    if log and low is not None and high is not None:
        # The bounds are exponents inside; a trip through them leaves the last digits wrong.
        low, high = float(f"{low:.14g}"), float(f"{high:.14g}")
    spec: dict[str, Any] = {"kind": "Log" if log else kind, "integer": bool(value.integer)}
    bound = layers.get("Bound")
    if low is None or high is None:
        if low is not None or high is not None:
            raise UnsupportedError("a scalar with one bound", found=f"{low} and {high}")
        base = layers["Exponent"]._base if log else math.e
        # Not `value.value`, which is rounded where it is cast.
        start = float(value._value[0])
        spec["init"] = base**start if log else start
        spec["sigma"] = float(value.sigma.value) * math.log(base)
        return {**spec, "mutable": type(value.sigma).__name__ != "Constant"}
    spec |= {"lower": low, "upper": high}
    if not getattr(bound, "uniform_sampling", False):
        spec["init"] = float(value.value)
    return spec


def _recorded(call: Call) -> dict[str, Any]:
    name = call.name.removeprefix("p.")
    if name.endswith(_CAST):
        return {**_recorded(call.arguments["self"]), "integer": True}
    if name.endswith(_MUTATION):
        moved = _recorded(call.arguments["self"])
        return {**moved, "sigma": moved.get("sigma", 1.0) * float(call.get("sigma", 1.0))}
    if name in ("Choice", "TransitionChoice"):
        if call.get("repetitions") is not None:
            raise UnsupportedError("repetitions of a choice", found=short(call))
        choices = call.get("choices")
        choices = range(choices) if isinstance(choices, int) else choices
        return {"kind": name, "choices": [_option(option) for option in choices]}
    if name == "Tuple":
        return {"kind": name, "items": [_option(item) for item in call.get("parameters") or ()]}
    if name not in ("Scalar", "Log"):
        raise UnsupportedError(f"{call.name} cannot be translated", found=short(call))
    low, high, init = call.get("lower"), call.get("upper"), call.get("init")
    spec: dict[str, Any] = {"kind": name, "integer": False}
    if low is None and high is None:
        sigma = math.log(call.get("exponent") or 2.0) if name == "Log" else 1.0
        start = init if init is not None else float(name == "Log")
        spec |= {"init": float(start), "sigma": sigma}
        return {**spec, "mutable": bool(call.get("mutable_sigma"))}
    if low is None or high is None:
        raise UnsupportedError("a scalar with one bound", found=short(call))
    spec |= {"lower": float(low), "upper": float(high)}
    return spec if init is None else {**spec, "init": float(init)}


def _make_float(low: float, high: float, log: bool) -> Any:
    kind = "Log" if log else "Scalar"
    return {"kind": kind, "integer": False, "lower": float(low), "upper": float(high)}


def _make_rounded(low: float, high: float, log: bool) -> Any:
    return {**_make_float(low, high, log), "integer": True}


def _make_int(low: int, high: int, step: int, log: bool) -> Any:
    return _make_rounded(low - 0.5, high + 0.5, log) if step == 1 else None


def _make_normal(law: Normal) -> Any:
    """A step of fixed width from a start: `sample` takes one."""
    if law.q is not None and not (law.integer and law.q == 1):
        return None
    log = law.scale == "log"
    try:
        init = math.exp(law.mu) if log else law.mu
        wide = math.exp(law.sigma) if log else 2.0
    except OverflowError:
        return None
    if log and (not init > 0 or not wide > 1 + 1e-9):
        return None
    spec = {"kind": "Log" if log else "Scalar", "integer": law.q is not None}
    return {**spec, "init": init, "sigma": law.sigma, "mutable": False}


class NevergradDialect(FlatDialect):
    """Parametrizations of named parameters."""

    name = "nevergrad"
    suffixes = (".py",)
    title = "Nevergrad parameters"
    nests = True
    makers = {  # noqa: RUF012 - never changed
        "float": _make_float,
        "int": _make_int,
        "rounded": _make_rounded,
        "normal": _make_normal,
        "constant": lambda value: {"kind": "constant", "value": value},
        "options": lambda values, weights: {"kind": "Choice", "choices": list(values)},
    }

    def specs(self, source: Any, notes: Notes) -> tuple[dict[str, Any], dict[str, Any]]:
        """Parameters by name."""
        rows = _flatten(source, ())
        if rows and not rows[0][0]:
            raise UnsupportedError(
                "not a p.Dict, nor a p.Instrumentation of named parameters",
                found=type_name(source),
                expected="p.Dict(lr=p.Log(lower=1e-5, upper=0.1))",
            )
        found: dict[str, Any] = {}
        for path, value in rows:
            with at_path(".".join(path)):
                if any("/" in name for name in path):
                    raise UnsupportedError("a name with a '/'", hint="rename it")
                found["/".join(path)] = _spec(value)
        return found, {}

    def node(self, spec: Any, path: str, notes: Notes) -> Node:
        """The law of one parameter."""
        kind = spec["kind"]
        if kind == "constant":
            return Constant.of(spec["value"], path)
        if kind in ("Choice", "TransitionChoice"):
            if not any(map(_held, spec["choices"])):
                return options(spec["choices"])
            items = enumerate(spec["choices"])
            return Choice(tuple(self._held(item, f"{path}[{i}]", notes) for i, item in items))
        if kind == "Tuple":
            parts = tuple(
                self._held(item, f"{path}[{i}]", notes) for i, item in enumerate(spec["items"])
            )
            if all(isinstance(part, Constant) for part in parts):
                return Constant.of(tuple(p.value for p in parts if isinstance(p, Constant)), path)
            return Sequence(parts, "tuple")
        scale: Any = "log" if kind == "Log" else "linear"
        rounding: Any = {"q": 1, "integer": True} if spec["integer"] else {}
        if "lower" in spec:
            if "init" in spec:
                notes.approximated(
                    path, "drawn between its bounds", f"Nevergrad starts at {spec['init']:g}"
                )
            law = Uniform(spec["lower"], spec["upper"], scale, **rounding)
            return Parameter(_equal(law) or law)
        if spec["mutable"]:
            notes.approximated(
                path,
                "as normal",
                "Nevergrad changes the width before each step, so that it has heavier tails",
                "give mutable_sigma=False",
            )
        # A way through an exponential leaves the last digits wrong.
        mu = round(math.log(spec["init"]), _PLACES) if scale == "log" else spec["init"]
        sigma = round(spec["sigma"], _PLACES) if scale == "log" else spec["sigma"]
        return Parameter(Normal(mu, sigma, scale, **rounding))

    def _held(self, option: Any, path: str, notes: Notes) -> Node:
        """What an option or an item stands for."""
        if not _held(option):
            return Constant.of(option, path)
        if "$one" in option:
            return self.node(option["$one"], path, notes)
        rows = [
            Row(tuple(name.split("/")), self.node(spec, f"{path}.{name}".replace("/", "."), notes))
            for name, spec in option["$dict"].items()
        ]
        return tree_of(rows, lists=False)[0]

    def condition(self, choice: Choice, path: str, notes: Notes) -> Any:
        """A choice of dicts, which Nevergrad nests."""
        if choice.weights is not None and len(set(choice.weights)) > 1 and not choice.grid:
            even = 1 / len(choice.options)
            away = sum(abs(weight - even) for weight in choice.weights) / 2
            why = f"Nevergrad has no weights: total variation distance {away:.2g}"
            notes.approximated(path, "with equal weights", why)
        return {"kind": "Choice", "choices": self._inside(choice.options, path, notes)}

    def sequence(self, sequence: Sequence, path: str, notes: Notes) -> Any:
        """A ``p.Tuple``; a list becomes one too."""
        if sequence.kind == "list":
            notes.approximated(path, "a tuple", "Nevergrad has no lists of parameters")
        return {"kind": "Tuple", "items": self._inside(sequence.items, path, notes)}

    def _inside(self, nodes: tuple[Node, ...], path: str, notes: Notes) -> list[Any]:
        """Options or items, as `_option` gives them."""
        found: list[Any] = []
        for index, node in enumerate(nodes):
            place = f"{path}[{index}]"
            if isinstance(node, Constant):
                found.append(node.value)
            elif isinstance(node, Group):
                leaves = {
                    "/".join(name): self._spell(leaf, f"{place}.{'.'.join(name)}", notes)
                    for name, leaf in spread(node, "/")
                }
                found.append({"$dict": {k: v for k, v in leaves.items() if v is not None}})
            else:
                found.append({"$one": self._spell(node, place, notes)})
        return found

    def native(self, rows: list[Named], extras: dict[str, Any]) -> Any:
        """A call of ``p.Dict``, with groups as dicts inside."""
        return _nested({name: spec for name, spec, _ in rows})

    def text(self, native: Any) -> str:
        """A program with the parametrization."""
        program = _Chained("A search space for Nevergrad.")
        program.assign("space", native)
        return str(program)

    def show(self, spec: Any) -> object:
        """The call."""
        return _call(spec)


class _Leaf:
    def __init__(self, spec: Any) -> None:
        self.spec = spec


def _nested(specs: dict[str, Any]) -> Call:
    """A ``p.Dict`` with the groups that names say."""
    tree: dict[str, Any] = {}
    for name, spec in specs.items():
        *groups, last = name.split("/")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = _Leaf(spec)
    return _dict(tree)


def _held_call(option: Any) -> Any:
    if not _held(option):
        return option
    return _call(option["$one"]) if "$one" in option else _nested(option["$dict"])


def _dict(tree: dict[str, Any]) -> Call:
    items = {
        name: _call(item.spec) if isinstance(item, _Leaf) else _dict(item)
        for name, item in tree.items()
    }
    return Call(_SIGNATURES["p.Dict"], {"parameters": items})


def _call(spec: Any) -> Any:
    kind = spec["kind"]
    if kind == "constant":
        return spec["value"]
    if "choices" in spec:
        return _SIGNATURES[f"p.{kind}"].call([_held_call(item) for item in spec["choices"]])
    if kind == "Tuple":
        return _SIGNATURES["p.Tuple"].call(*map(_held_call, spec["items"]))
    given = {key: spec[key] for key in ("init", "lower", "upper") if key in spec}
    if "sigma" in spec:
        if kind == "Log":
            given["exponent"] = math.exp(spec["sigma"])
        if spec["mutable"] != (kind == "Scalar"):
            given["mutable_sigma"] = spec["mutable"]
    call = _SIGNATURES[f"p.{kind}"].call(**given)
    if kind == "Scalar" and spec.get("sigma", 1.0) != 1.0:
        call = _METHODS[kind, _MUTATION].call(call, sigma=spec["sigma"])
    return _METHODS[kind, _CAST].call(call) if spec["integer"] else call


def _equal(law: Uniform) -> Integers | None:
    """Integers, where the bounds are halfway between them: all of them weigh the same."""
    first, last = law.low + 0.5, law.high - 0.5
    whole = first == math.floor(first) and last == math.floor(last)
    if law.scale != "linear" or not law.integer or not whole or first > last:
        return None
    return Integers(int(first), int(last))


def _is_method(value: Any) -> bool:
    return isinstance(value, Call) and value.name.endswith((_CAST, _MUTATION))


class _Chained(Program):
    """Writes casts and mutations as methods, and names that are no identifiers in a dict."""

    def _flat(self, value: Any) -> str:
        if _is_method(value):
            method = value.name.rpartition(".")[2]
            given = "".join(
                f"sigma={self._flat(v)}" for k, v in value.arguments.items() if k != "self"
            )
            return f"{self._flat(value.arguments['self'])}.{method}({given})"
        if isinstance(value, Call) and value.name == "p.Dict":
            self._callable(value.signature)
            items = value.arguments["parameters"]
            if not all(name.isidentifier() and not keyword.iskeyword(name) for name in items):
                return f"p.Dict(**{self._flat(items)})"
        return super()._flat(value)

    def _parts(self, value: Any, indent: int) -> tuple[str, list[str], str] | None:
        if isinstance(value, Call) and self._flat(value).startswith("p.Dict(**"):
            opening, items, closing = super()._parts(value.arguments["parameters"], indent) or (
                "{",
                [],
                "}",
            )
            return f"p.Dict(**{opening}", items, f"{closing})"
        if _is_method(value):
            return None
        return super()._parts(value, indent)
