"""W&B's distributions and the nodes of the space: one table, read in both directions.

Sources: the schema and ``params.py`` of W&B's ``sweeps`` package (0.2.0 and 0.3.0 agree). What has
    no
partner is spelled by the law that is exactly equal where one exists (multiples that are equally
likely are a ``q_uniform`` with bounds widened by ``q / 2``; few log integers are a weighted
categorical).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from tune_bridge import laws
from tune_bridge.dialects.base import suggest
from tune_bridge.dialects.sweep.conditions import (
    write_condition,
    write_operation,
    write_sequence,
)
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.notes import Notes
from tune_bridge.space import (
    Beta,
    Choice,
    Constant,
    Distribution,
    Group,
    Integers,
    Node,
    Normal,
    Operation,
    Parameter,
    Sequence,
    Uniform,
)
from tune_bridge.values import plain_json, shorten

__all__ = ["DISTRIBUTIONS", "MAX_WEIGHTED", "Native", "read_parameter", "write_parameter"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")
"""What W&B's schema accepts as the name of a parameter."""

MAX_WEIGHTED = 256
"""Log integers with up to this many values are written as a weighted categorical, which is
exact."""


class Native:
    """One distribution of W&B: its keys and how they are read.

    Args:
        read: Makes a node from the keys, defaults filled in.
        required: Keys that must be there.
        optional: Keys with defaults.
        grid: Whether W&B's grid method can enumerate it.
    """

    def __init__(
        self,
        read: Callable[..., Node],
        required: tuple[str, ...],
        optional: Mapping[str, Any] | None = None,
        *,
        grid: bool = False,
    ) -> None:
        self.read = read
        self.required = required
        self.optional = dict(optional or {})
        self.grid = grid


def _uniform(**fixed: Any) -> Callable[..., Node]:
    def read(min: Any, max: Any, q: Any = None) -> Node:  # noqa: A002 - W&B's words
        return Parameter(Uniform(min, max, q=q, integer=type(q) is int, **fixed))

    return read


def _normal(**fixed: Any) -> Callable[..., Node]:
    def read(mu: Any, sigma: Any, q: Any = None) -> Node:
        return Parameter(Normal(mu, sigma, q=q, integer=type(q) is int, **fixed))

    return read


def _beta(a: Any, b: Any, q: Any = None) -> Node:
    return Parameter(Beta(a, b, q=q, integer=type(q) is int))


def _int_uniform(min: Any, max: Any) -> Node:  # noqa: A002 - W&B's words
    for name, value in (("min", min), ("max", max)):
        if isinstance(value, bool) or value != int(value):
            raise SpecError(
                "int_uniform needs whole numbers",
                path=name,
                found=repr(value),
                expected="an integer",
                hint="use distribution: uniform for fractions",
            )
    return Parameter(Integers(min, max))


def _categorical(values: Any, probabilities: Any = None) -> Node:
    for name, value in (("values", values), ("probabilities", probabilities)):
        if value is not None and (not isinstance(value, list) or not value):
            raise SpecError(
                f"{name} is not a list with something in it", path=name, found=repr(value)
            )
    options = tuple(Constant.of(value, f"values[{i}]") for i, value in enumerate(values))
    return Choice(options, None if probabilities is None else tuple(probabilities))


_MIN_MAX, _Q = ("min", "max"), {"q": 1.0}
_MU, _AB = {"mu": 0.0, "sigma": 1.0}, {"a": 1.0, "b": 1.0}

DISTRIBUTIONS: dict[str, Native] = {
    "constant": Native(lambda value: Constant.of(value, "value"), ("value",), grid=True),
    "categorical": Native(_categorical, ("values",), grid=True),
    "categorical_w_probabilities": Native(_categorical, ("values", "probabilities")),
    "int_uniform": Native(_int_uniform, _MIN_MAX, grid=True),
    "uniform": Native(_uniform(), _MIN_MAX),
    "q_uniform": Native(_uniform(), _MIN_MAX, _Q, grid=True),
    "log_uniform": Native(_uniform(scale="log", exponents=True), _MIN_MAX),
    "log_uniform_values": Native(_uniform(scale="log"), _MIN_MAX),
    "q_log_uniform": Native(_uniform(scale="log", exponents=True), _MIN_MAX, _Q),
    "q_log_uniform_values": Native(_uniform(scale="log"), _MIN_MAX, _Q),
    "inv_log_uniform": Native(_uniform(scale="reciprocal", exponents=True), _MIN_MAX),
    "inv_log_uniform_values": Native(_uniform(scale="reciprocal"), _MIN_MAX),
    "normal": Native(_normal(), (), _MU),
    "q_normal": Native(_normal(), (), {**_MU, **_Q}),
    "log_normal": Native(_normal(scale="log"), (), _MU),
    "q_log_normal": Native(_normal(scale="log"), (), {**_MU, **_Q}),
    "beta": Native(_beta, (), _AB),
    "q_beta": Native(_beta, (), {**_AB, **_Q}),
}

_WORDS = {"low": "min", "high": "max"}
"""The tree's words -> W&B's, for errors."""


def read_parameter(spec: Any, path: str, *, grid: bool = False) -> Node:
    """Reads one entry of ``parameters``.

    Args:
        spec: The entry, a mapping.
        path: Where it stands.
        grid: The sweep's method is grid: what can be enumerated is marked so.

    Raises:
        SpecError: The entry is malformed; the path names the key.
    """
    if not isinstance(spec, Mapping):
        raise SpecError(
            "a parameter is not a mapping",
            path=path,
            found=shorten(spec, 40),
            expected="value:, values:, or distribution: with its keys",
            hint=f"write {{value: {shorten(spec, 40)}}} for a constant"
            if not isinstance(spec, list)
            else "write {values: [...]} for a choice",
        )
    if "parameters" in spec and "distribution" not in spec:
        return read_group(spec["parameters"], f"{path}.parameters", grid=grid, beside=spec)
    name = spec.get("distribution", None) if "distribution" in spec else _implied(spec, path)
    native = DISTRIBUTIONS.get(name) if isinstance(name, str) else None
    if native is None:
        raise SpecError(
            "unknown distribution",
            path=f"{path}.distribution",
            found=repr(name),
            expected="one of " + ", ".join(DISTRIBUTIONS),
            hint=suggest(str(name), list(DISTRIBUTIONS)),
        )
    _check_keys(spec, str(name), native, path)
    if native.required == _MIN_MAX:
        _check_bounds(spec, path)
    arguments = {
        **native.optional,
        **{key: spec[key] for key in (*native.required, *native.optional) if key in spec},
    }
    try:
        node = native.read(**arguments)
    except SpecError as error:
        error.path = f"{path}.{_WORDS.get(error.path, error.path)}" if error.path else path
        raise
    if not grid:
        return node
    return _as_grid(node, native, str(name), path)


def _as_grid(node: Node, native: Native, name: str, path: str) -> Node:
    if not native.grid:
        raise SpecError(
            "method grid cannot enumerate this distribution",
            path=f"{path}.distribution",
            found=name,
            expected="values, int_uniform or q_uniform",
            hint="list the values, or use method: random or bayes",
        )
    if isinstance(node, Parameter):
        return Parameter(node.distribution, grid=True)
    return Choice(node.options, grid=True) if isinstance(node, Choice) else node


def read_group(
    parameters: Any, path: str, *, grid: bool = False, beside: Mapping[str, Any] | None = None
) -> Group:
    """Reads a mapping of parameters.

    Args:
        parameters: Name -> entry.
        path: Where it stands.
        grid: As for `read_parameter`.
        beside: The mapping that holds it, for nested parameters: nothing else may stand there.

    Raises:
        SpecError: Not a mapping, empty, or an entry is malformed.
    """
    if beside is not None and len(beside) > 1:
        other = next(key for key in beside if key != "parameters")
        raise SpecError(
            "nested parameters stand alone",
            path=path.rpartition(".")[0],
            found=f"{other!r} beside 'parameters'",
        )
    if not isinstance(parameters, Mapping) or not parameters:
        raise SpecError(
            "parameters is not a mapping with something in it",
            path=path,
            found=shorten(parameters, 40),
            expected="name: {distribution: ...}",
        )
    items = []
    for name, spec in parameters.items():
        check_name(name, path)
        items.append((name, read_parameter(spec, f"{path}.{name}", grid=grid)))
    return Group(tuple(items))


def check_name(name: Any, path: str) -> None:
    """Refuses what W&B's schema does not accept as a parameter's name.

    Raises:
        SpecError: With a name that would do.
    """
    if isinstance(name, str) and NAME.match(name):
        return
    better = re.sub(r"[^A-Za-z0-9_.-]", ".", str(name)).strip(".")
    better = better if NAME.match(better) else f"_{better}"
    raise SpecError(
        "W&B forbids this name of a parameter",
        path=f"{path}.{name}",
        found=repr(name),
        expected="a letter or _, then letters, digits, _ . -",
        hint=f"rename it, for example to {better!r}",
    )


def _implied(spec: Mapping[str, Any], path: str) -> str:
    """The distribution that W&B infers where none is written."""
    if "value" in spec:
        return "constant"
    if "values" in spec:
        return "categorical_w_probabilities" if "probabilities" in spec else "categorical"
    if "min" in spec and "max" in spec:
        bounds = (spec["min"], spec["max"])
        _check_bounds(spec, path)
        whole = all(isinstance(bound, int) and not isinstance(bound, bool) for bound in bounds)
        return "int_uniform" if whole else "uniform"
    missing = "max" if "min" in spec else "min" if "max" in spec else ""
    near = suggest(next(iter(spec), ""), ["value", "values", "min", "max", "distribution"])
    raise SpecError(
        f"{missing} is missing" if missing else "a parameter without a distribution",
        path=path,
        found=", ".join(map(str, spec)) or "nothing",
        expected="value, values, or min and max",
        hint="" if missing else near,
    )


def _check_keys(spec: Mapping[str, Any], name: str, native: Native, path: str) -> None:
    allowed = (*native.required, *native.optional)
    for key in native.required:
        if key not in spec:
            raise SpecError(
                f"{key} is missing", path=path, found=", ".join(map(str, spec)), expected=key
            )
    for key in spec:
        if key not in allowed and key != "distribution":
            raise SpecError(
                f"{name} has no key {key!r}",
                path=f"{path}.{key}",
                expected=", ".join(allowed) or "no keys",
                hint=suggest(str(key), allowed),
            )


def _check_bounds(spec: Mapping[str, Any], path: str) -> None:
    for key in _MIN_MAX:
        value = spec[key]
        if isinstance(value, bool) or not isinstance(value, int | float):
            number = isinstance(value, str) and _is_number(value)
            raise SpecError(
                f"{key} is not a number",
                path=f"{path}.{key}",
                found=repr(value),
                expected="a number",
                hint="it is text here: write it without quotes" if number else "",
            )
        if not math.isfinite(value):
            raise SpecError(
                f"{key} is not finite",
                path=f"{path}.{key}",
                found=repr(value),
                expected="a finite number",
            )
    low, high = spec["min"], spec["max"]
    if not low < high:
        raise SpecError(
            "min is not below max",
            path=f"{path}.min",
            found=f"min {low} and max {high}",
            expected="min < max",
            hint="swap them" if low > high else f"write {{value: {low}}} for a constant",
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# Writing ------------------------------------------------------------------------------------------


def write_parameter(node: Node, path: str, notes: Notes) -> dict[str, Any]:
    """Writes one node as an entry of ``parameters``, always with an explicit distribution.

    Args:
        node: Any node.
        path: Where it stands, for notes and errors.
        notes: Gets a note where the entry alone says less than the node.

    Raises:
        UnsupportedError: W&B has no form for it.
    """
    if isinstance(node, Group):
        if not node.items:
            raise UnsupportedError("an empty group of parameters", path=path, hint="leave it out")
        for name, _ in node.items:
            check_name(name, path)
        return {
            "parameters": {
                name: write_parameter(child, f"{path}.{name}", notes) for name, child in node.items
            }
        }
    if isinstance(node, Constant):
        return {"value": _plain_constant(node, path, notes)}
    if isinstance(node, Sequence):
        return write_sequence(node, path, notes, write_parameter)
    if isinstance(node, Operation):
        return _write_operation(node, path, notes)
    if node.shared:
        notes.carried(
            path,
            f"one draw for all places of {node.label!r}, which stand here by themselves",
            "W&B draws each place; tune-bridge draws once, and tune_bridge.fold takes the first",
        )
    if isinstance(node, Choice):
        return _write_choice(node, path, notes)
    writer = _WRITERS[type(node.distribution)]
    return writer(node.distribution, path, notes)


def _write_operation(node: Operation, path: str, notes: Notes) -> dict[str, Any]:
    """The integer part of a parameter has a law of its own where it has few values."""
    first = node.args[0] if node.name == "int" and node.args else None
    if isinstance(first, Parameter) and not first.shared:
        cells = laws.whole_probabilities(first.distribution, MAX_WEIGHTED)
        if cells:
            notes.exact(path, "the integer part of a parameter, as weighted values")
            return {
                "distribution": "categorical_w_probabilities",
                "values": list(cells),
                "probabilities": list(cells.values()),
            }
    return write_operation(node, path, notes, write_parameter)


def _write_choice(node: Choice, path: str, notes: Notes) -> dict[str, Any]:
    if not node.plain:
        return write_condition(node, path, notes, write_parameter)
    values = [
        _plain_constant(option, f"{path}[{i}]", notes)
        for i, option in enumerate(node.options)
        if isinstance(option, Constant)
    ]
    if node.weights is None:
        return {"distribution": "categorical", "values": values}
    return {
        "distribution": "categorical_w_probabilities",
        "values": values,
        "probabilities": list(node.weights),
    }


def _plain_constant(node: Constant, path: str, notes: Notes) -> Any:
    value, changed = plain_json(node.value)
    if changed:
        notes.carried(
            path,
            f"{shorten(node.value, 40)} is written as {shorten(value, 40)}",
            "JSON has no tuples, no NaN or infinity, no functions and only text as keys",
        )
    return value


def _write_uniform(d: Uniform, path: str, notes: Notes) -> dict[str, Any]:
    low, high = d.low, d.high
    if d.scale == "linear":
        name = "uniform"
    else:
        name = "log_uniform_values" if d.scale == "log" else "inv_log_uniform_values"
    if d.exponents:
        low, high = _from_exponents(d, path)
        notes.exact(
            path,
            f"bounds exp({d.low:g}) and exp({d.high:g})"
            if d.scale == "log"
            else f"bounds exp({-d.high:g}) and exp({-d.low:g})",
            "exponents are written as the values they stand for: W&B deprecates log_uniform, "
            "which takes exponents",
        )
    if d.q is not None and d.scale == "reciprocal":
        # log(1/x) uniform and log(x) uniform are the same law, and only the latter has a q form.
        name = "log_uniform_values"
    return {
        "distribution": f"q_{name}" if d.q is not None else name,
        "min": _number(low),
        "max": _number(high),
        **_quantum(d),
    }


def _from_exponents(d: Uniform, path: str) -> tuple[float, float]:
    low, high = (d.low, d.high) if d.scale == "log" else (-d.high, -d.low)
    try:
        bounds = math.exp(low), math.exp(high)
    except OverflowError:
        bounds = (0.0, 0.0)
    if not 0 < bounds[0] < bounds[1]:
        raise SpecError(
            "these exponents have no values that a computer can hold",
            path=path,
            found=f"exp({low:g}) to exp({high:g})",
            expected="natural logarithms between -745 and 709",
            hint="use tune.loguniform (or log_uniform_values) when these are the values themselves",
        )
    return bounds


def _write_integers(d: Integers, path: str, notes: Notes) -> dict[str, Any]:
    if d.count == 1:
        notes.exact(path, f"one value, written as the constant {d.low}")
        return {"value": d.low}
    if d.log:
        return _write_log_integers(d, path, notes)
    if d.step == 1:
        return {"distribution": "int_uniform", "min": d.low, "max": d.high}
    notes.exact(
        path,
        f"q_uniform with bounds widened by q/2 to {d.low - d.step / 2:g} and "
        f"{d.high + d.step / 2:g}",
        "so that the multiples are equally likely after rounding",
    )
    return {
        "distribution": "q_uniform",
        "min": _number(d.low - d.step / 2),
        "max": _number(d.high + d.step / 2),
        "q": d.step,
    }


def _write_log_integers(d: Integers, path: str, notes: Notes) -> dict[str, Any]:
    if d.count <= MAX_WEIGHTED:
        notes.exact(
            path,
            f"{d.count} weighted values",
            "W&B has no log-uniform integers; the weights ln((k+1)/k) are their law",
        )
        return {
            "distribution": "categorical_w_probabilities",
            "values": list(range(d.low, d.high + 1, d.step)),
            "probabilities": laws.log_integer_weights(d),
        }
    notes.carried(
        path,
        "q_log_uniform_values",
        f"the nearest to {d.count} log-uniform integers: total variation distance "
        f"{_rounding_distance(d):.2g}",
    )
    return {
        "distribution": "q_log_uniform_values",
        "min": _number(d.low - d.step / 2),
        "max": _number(d.high + d.step / 2),
        "q": d.step,
    }


def _rounding_distance(d: Integers, head: int = 100_000) -> float:
    """Total variation between flooring and rounding a log-uniform draw."""
    first, last = d.low // d.step, d.high // d.step
    floored = math.log(last + 1) - math.log(first)
    rounded = math.log(last + 0.5) - math.log(first - 0.5)
    cut = min(last, first + head)
    distance = sum(
        abs(math.log1p(1 / k) / floored - (math.log1p(1 / (k - 0.5))) / rounded)
        for k in range(first, cut + 1)
    )
    tail = (math.log(last + 1) - math.log(cut + 1)) / floored
    return 0.5 * (distance + abs(tail - (math.log(last + 0.5) - math.log(cut + 0.5)) / rounded))


def _write_normal(d: Normal, path: str, notes: Notes) -> dict[str, Any]:
    name = "log_normal" if d.scale == "log" else "normal"
    return {
        "distribution": f"q_{name}" if d.q is not None else name,
        "mu": _number(d.mu),
        "sigma": _number(d.sigma),
        **_quantum(d),
    }


def _write_beta(d: Beta, path: str, notes: Notes) -> dict[str, Any]:
    return {
        "distribution": "q_beta" if d.q is not None else "beta",
        "a": _number(d.a),
        "b": _number(d.b),
        **_quantum(d),
    }


_WRITERS: dict[type[Distribution], Callable[[Any, str, Notes], dict[str, Any]]] = {
    Uniform: _write_uniform,
    Integers: _write_integers,
    Normal: _write_normal,
    Beta: _write_beta,
}


def _quantum(d: Uniform | Normal | Beta) -> dict[str, int | float]:
    """W&B returns ints for an int q and floats for a float q: the type of q is a meaning."""
    if d.q is None:
        return {}
    return {"q": int(d.q) if d.integer else float(d.q)}


def _number(value: float) -> int | float:
    """Whole numbers as people write them; the explicit distribution has the type."""
    return int(value) if value == int(value) and abs(value) < 1e15 else value
