"""Between nodes of the space and Tune's domains: one reader and one writer for all functions."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import msgspec

from tune_bridge import laws
from tune_bridge.dialects.calls import Call
from tune_bridge.dialects.hyperopt.reader import LEAVES as HYPEROPT_LEAVES
from tune_bridge.dialects.hyperopt.reader import options as read_options
from tune_bridge.dialects.hyperopt.signatures import refusal
from tune_bridge.dialects.hyperopt.writer import number
from tune_bridge.dialects.python_space import LeafReader, TreeReader, join, short
from tune_bridge.dialects.ray_tune.signatures import DOMAINS, OWN, SIGNATURES, DomainRow
from tune_bridge.dialects.references import importable, live_values
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.laws import OPERATIONS, SAMPLE_FROM, transformed_bounds
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
from tune_bridge.values import Reference

__all__ = [
    "LEAVES",
    "SEARCHER_LEAVES",
    "grid",
    "has_partner",
    "own_call",
    "write_config",
    "write_node",
]

_MOST_REPEATS = 100
"""Weights with a common denominator up to this are written by repeating options."""

_OWN_KINDS: dict[str, type[Uniform | Normal | Beta | Integers]] = {
    "domains.uniform": Uniform,
    "domains.normal": Normal,
    "domains.beta": Beta,
    "domains.integers": Integers,
}


# Reading


def _domain(row: DomainRow) -> LeafReader:
    names, quantized = tuple(row.names.items()), row.quantized

    def read(call: Call, path: str, reader: TreeReader) -> Node:
        values = {ours: reader.argument(call, name, path) for name, ours in names}
        if quantized and values["q"] is None:
            raise SpecError("q is not a number", path="q", found="None", expected="a number")
        if row.kind is Integers:
            return Parameter(_integers(row, values, call))
        if row.kind is Normal:
            return Parameter(Normal(**values))
        law = Uniform(**values, scale=row.scale)  # type: ignore[arg-type]
        if quantized and not _divisible(law):
            raise SpecError(
                "Ray Tune takes only bounds that are multiples of q",
                path=path,
                found=f"{law.low:g} and {law.high:g} with q={law.q:g}",
                expected="lower and upper divisible by q",
                hint="hp.quniform has no such rule",
            )
        return Parameter(law)

    return read


def _integers(row: DomainRow, values: dict[str, Any], call: Call) -> Integers:
    """The integers of a domain: ``lower`` is drawn, ``upper`` only with a q above 1.

    With a q, Ray draws the index of a multiple (``tune.search.sample.Quantized``): all multiples
    between the bounds are equally likely, or have the log law on the index.
    """
    low, high, step = (_whole(values.get(name, 1), name) for name in ("low", "high", "q"))
    if step < 1:
        raise SpecError("q is not positive", path="q", found=str(step), expected="q >= 1")
    first, last = -(-low // step), high // step - (1 if step == 1 else 0)
    if first > last:
        raise SpecError(
            f"{call.name} has nothing to draw",
            found=f"lower {low}, upper {high}" + (f", q {step}" if row.quantized else ""),
            expected="lower < upper; the upper bound itself is drawn only with a q above 1",
        )
    return Integers(first * step, last * step, step, log=row.scale == "log")


def _whole(value: Any, name: str) -> int:
    try:
        if isinstance(value, bool | str | bytes) or value != int(value):
            raise TypeError
    except (TypeError, ValueError, OverflowError):
        raise SpecError(
            f"{name} is not a whole number", path=name, found=short(value), expected="an integer"
        ) from None
    return int(value)


def _divisible(law: Uniform) -> bool:
    """Ray's rule for bounds and q (``tune.search.sample.Float.quantized``)."""
    assert law.q is not None
    low, high = _value_bounds(law)
    return all(math.isclose(bound / law.q, round(bound / law.q)) for bound in (low, high))


def _choice(call: Call, path: str, reader: TreeReader) -> Node:
    return Choice(read_options(reader.argument(call, "categories", path), path, reader))


def grid(values: Any, path: str, reader: TreeReader) -> Node:
    """Reads the list of a grid search.

    Raises:
        SpecError: Not a list; Ray takes nothing else.
        UnsupportedError: An option holds an object.
    """
    values = reader.recall(values)
    if not isinstance(values, list):
        raise SpecError(
            "a grid search over something that is not a list",
            path=path,
            found=short(values),
            expected="tune.grid_search([...])",
        )
    return Choice(read_options(values, path, reader), grid=True)


def _grid_call(call: Call, path: str, reader: TreeReader) -> Node:
    return grid(call.get("values"), path, reader)


def _function(call: Call, path: str, reader: TreeReader) -> Node:
    function = importable(reader.recall(call.get("func")), path, main=False)
    return Operation(SAMPLE_FROM, (Constant.of(Reference(function)),))


def _own(call: Call, path: str, reader: TreeReader) -> Node:
    if call.name == "domains.choice":
        options = read_options(reader.argument(call, "options", path), path, reader)
        weights = reader.argument(call, "weights", path)
        if weights is not None and not isinstance(weights, list | tuple):
            raise SpecError("weights", path=path, found=short(weights), expected="a list")
        return Choice(options, None if weights is None else tuple(weights))
    if call.name == "domains.operation":
        return _own_operation(call, path, reader)
    kind = _OWN_KINDS[call.name]
    tag = kind.__struct_config__.tag
    try:
        return Parameter(msgspec.convert({**call.arguments, "distribution": tag}, kind))
    except msgspec.ValidationError as error:
        raise SpecError(f"{call.name}: {error}", path=path, found=short(call)) from None


def _own_operation(call: Call, path: str, reader: TreeReader) -> Node:
    name = call.get("function")
    refused = refusal(name) if isinstance(name, str) else "its name is text"
    if refused:
        raise SpecError(f"{call.name}: {refused}", path=path, found=short(name))
    args = enumerate(call.get("args", ()))
    kwargs = call.get("kwargs", {}).items()
    return Operation(
        name,
        tuple(reader.option(item, f"{path}[{index}]") for index, item in args),
        Group(tuple((key, reader.option(item, f"{path}.{key}")) for key, item in kwargs)),
    )


def _hyperopt(read: LeafReader) -> LeafReader:
    def note_and_read(call: Call, path: str, reader: TreeReader) -> Node:
        reader.notes.exact(path, f"{call.name} inside a Tune config, taken as a parameter")
        return read(call, path, reader)

    return note_and_read


SEARCHER_LEAVES: dict[str, LeafReader] = {
    **HYPEROPT_LEAVES,
    **{f"tune.{row.name}": _domain(row) for row in DOMAINS},
    "tune.choice": _choice,
    "tune.grid_search": _grid_call,
    "tune.sample_from": _function,
    "domains.*": _own,
}
"""Reader of a call inside a searcher's space, by its name."""

LEAVES: dict[str, LeafReader] = {
    name: _hyperopt(read) if name.startswith("hp.") else read
    for name, read in SEARCHER_LEAVES.items()
}
"""Reader of a call inside a Tune config, by its name: HyperOpt's own are remarked on."""


# Writing


def write_config(space: Group, notes: Notes) -> dict[str, Any]:
    """Writes a tree as a Tune config of domain calls and constants.

    Args:
        space: The tree.
        notes: Where remarks go.

    Raises:
        UnsupportedError: A grid over a distribution that has no list of values.
    """
    return {name: write_node(node, name, notes) for name, node in space.items}


def write_node(node: Node, path: str, notes: Notes) -> Any:
    """Writes one node by itself, with all that it holds."""
    if isinstance(node, Group):
        return {name: write_node(child, join(path, name), notes) for name, child in node.items}
    if isinstance(node, Constant):
        return live_values(node.value, path)
    if isinstance(node, Operation):
        return _operation_call(node, path, notes)
    if isinstance(node, Sequence):
        items = [
            write_node(item, f"{path}[{index}]", notes) for index, item in enumerate(node.items)
        ]
        return tuple(items) if node.kind == "tuple" else items
    if node.grid:
        return SIGNATURES["tune.grid_search"].call(_grid_values(node, path, notes))
    call = _native(node, path, notes)
    if call is None:
        call = own_call(node, path, notes)
        notes.exact(path, "drawn by tune_bridge's own domain", "ray.tune has no such function")
    return call


def _operation_call(node: Operation, path: str, notes: Notes) -> Call:
    """Tune's own sample_from, or our own domain for what HyperOpt calls an operation."""
    args = [write_node(item, f"{path}[{i}]", notes) for i, item in enumerate(node.args)]
    if node.name == SAMPLE_FROM:
        return SIGNATURES["tune.sample_from"].call(*args)
    kwargs = {name: write_node(item, f"{path}.{name}", notes) for name, item in node.kwargs.items}
    notes.exact(path, "done by tune_bridge's own domain", "ray.tune has no arithmetic")
    if node.name not in OPERATIONS:
        notes.approximated(
            path,
            "a mapping of a function's name and its arguments",
            "only the program has this function",
            "tune_bridge.fold(config, space) calls it there",
        )
    return OWN["domains.operation"].call(node.name, *args, **kwargs)


def _write_options(choice: Choice, path: str, notes: Notes) -> list[Any]:
    options = enumerate(choice.options)
    return [write_node(option, f"{path}[{index}]", notes) for index, option in options]


def has_partner(node: Parameter | Choice) -> bool:
    """Whether ``ray.tune`` has a function of this very law, whatever its options hold."""
    if isinstance(node, Choice):
        return node.grid or _repeats(node) is not None
    return node.grid or _native(node, "", Notes()) is not None


def _native(node: Parameter | Choice, path: str, notes: Notes) -> Call | None:
    """The call of ``ray.tune`` with this law, or None."""
    if isinstance(node, Choice):
        repeats = _repeats(node)
        if repeats is None:
            return None
        values = _write_options(node, path, notes)
        pairs = zip(values, repeats, strict=True)
        repeated = [value for value, count in pairs for _ in range(count)]
        return SIGNATURES["tune.choice"].call(repeated)
    law = node.distribution
    if isinstance(law, Integers):
        return _integer_call(law)
    if isinstance(law, Beta) or law.integer:
        return None
    if isinstance(law, Normal):
        return _call("linear", law, law.mu, law.sigma) if law.scale == "linear" else None
    if law.q is not None and not _divisible(law):
        return None
    # The reciprocal scale has the law of the log scale.
    scale = "linear" if law.scale == "linear" else "log"
    return _call(scale, law, *_value_bounds(law))


def _call(scale: str, law: Uniform | Normal, *bounds: float) -> Call:
    quantum = () if law.q is None else (law.q,)
    row = next(
        row
        for row in DOMAINS
        if (row.kind, row.scale, row.quantized) == (type(law), scale, law.q is not None)
    )
    values = map(number, (*bounds, *quantum))
    return SIGNATURES[f"tune.{row.name}"].call(*values)


def _integer_call(law: Integers) -> Call:
    log = "log" if law.log else ""
    if law.step == 1:
        return SIGNATURES[f"tune.{log}randint"].call(law.low, law.high + 1)
    return SIGNATURES[f"tune.q{log}randint"].call(law.low, law.high, law.step)


def _value_bounds(law: Uniform) -> tuple[float, float]:
    """The bounds of the value itself."""
    if not law.exponents:
        return law.low, law.high
    low, high = transformed_bounds(law)
    if law.scale == "reciprocal":
        low, high = -high, -low
    return math.exp(low), math.exp(high)


def _repeats(choice: Choice) -> list[int] | None:
    """How often each option stands in a list to get its weight; None where that takes too many."""
    if choice.weights is None:
        return [1] * len(choice.options)
    shares = [Fraction(weight).limit_denominator(_MOST_REPEATS) for weight in choice.weights]
    near = all(abs(share - w) < 1e-12 for share, w in zip(shares, choice.weights, strict=True))
    if not near or sum(shares) != 1:
        return None
    whole = math.lcm(*(share.denominator for share in shares))
    if whole > _MOST_REPEATS:
        return None
    return [int(share * whole) for share in shares]


def own_call(
    node: Parameter | Choice | Operation, path: str = "", notes: Notes | None = None
) -> Call:
    """The call of `tune_bridge.tune.domains` with this law."""
    if isinstance(node, Operation):
        return _operation_call(node, path, Notes() if notes is None else notes)
    if isinstance(node, Choice):
        weights = None if node.weights is None else list(node.weights)
        values = _write_options(node, path, Notes() if notes is None else notes)
        return OWN["domains.choice"].call(values, weights)
    law: Distribution = node.distribution
    name = next(name for name, kind in _OWN_KINDS.items() if isinstance(law, kind))
    signature = OWN[name]
    given = {}
    for parameter in signature.signature.parameters.values():
        value = getattr(law, parameter.name)
        if value != parameter.default:
            given[parameter.name] = number(value) if isinstance(value, float) else value
    return Call(signature, given)


def _grid_values(node: Parameter | Choice, path: str, notes: Notes) -> list[Any]:
    """The values of a grid."""
    if isinstance(node, Choice):
        return _write_options(node, path, notes)
    values = laws.grid_values(node.distribution)
    if values is not None:
        return values
    raise UnsupportedError(
        "a grid over a distribution without a list of values",
        path=path,
        found=short(node),
        hint="give the values, or search at random",
    )
