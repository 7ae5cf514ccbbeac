"""From ``hp`` calls to nodes of the space."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from tune_bridge.dialects.calls import Call
from tune_bridge.dialects.hyperopt.arithmetic import OPERATORS, combine
from tune_bridge.dialects.hyperopt.signatures import LAWS, Law, refusal
from tune_bridge.dialects.python_space import LeafReader, TreeReader, short
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.space import (
    Choice,
    Distribution,
    Group,
    Integers,
    Node,
    Normal,
    Operation,
    Parameter,
    Uniform,
)

__all__ = ["LEAVES"]


def _named(call: Call, path: str, reader: TreeReader) -> dict[str, Any]:
    """The label as the node keeps it, and whether it is shared.

    A label belongs to one call. That call may stand in several places: HyperOpt draws it once.
    """
    label = reader.argument(call, "label", path)
    if isinstance(label, bytes):
        label = label.decode()
    if not isinstance(label, str):
        names = ", ".join(list(call.signature.signature.parameters)[1:])
        raise SpecError(
            f"{call.name} without a label",
            path=path,
            found=short(label),
            expected=f'{call.name}("name", {names})',
        )
    other, first = reader.labels.setdefault(label, (call, path))
    if other is not call:
        raise SpecError(
            f"the label {label!r} belongs to two parameters, {first} and {path}, which is "
            "HyperOpt's DuplicateLabel",
            path=path,
            found=short(call),
            expected="a label of its own, or the very same object in both places",
        )
    if reader.sharing:
        return {"label": label, "shared": True}
    return {"label": None if label == path else label}


def _law(law: Law) -> LeafReader:
    def read(call: Call, path: str, reader: TreeReader) -> Node:
        named = _named(call, path, reader)
        arguments = {name: reader.argument(call, name, path) for name in law.arguments}
        if arguments.get("q", 0) is None:
            raise SpecError("q is not a number", path="q", found="None", expected="a number")
        distribution = law.kind(**arguments, **law.fixed)
        return Parameter(_equal_cells(distribution) or distribution, **named)

    return read


def _randint(call: Call, path: str, reader: TreeReader) -> Node:
    named = _named(call, path, reader)
    low, high = (reader.argument(call, name, path) for name in ("low", "high"))
    if high is None:
        low, high = 0, low
    first, last = _bound(low, "low"), _bound(high, "high")
    if first >= last:
        raise SpecError(
            "the lower bound is not below the upper bound",
            path=path,
            found=f"{first} and {last}",
            expected="low < high, which itself is never drawn",
        )
    return Parameter(Integers(first, last - 1), **named)


def _bound(value: Any, name: str) -> int:
    try:
        if isinstance(value, bool | str | bytes) or value != int(value):
            raise TypeError
    except (TypeError, ValueError, OverflowError):
        raise SpecError(
            f"{name} is not a whole number", path=name, found=short(value), expected="an integer"
        ) from None
    return int(value)


def _choice(call: Call, path: str, reader: TreeReader) -> Node:
    named = _named(call, path, reader)
    return Choice(options(reader.argument(call, "options", path), path, reader), **named)


def _pchoice(call: Call, path: str, reader: TreeReader) -> Node:
    named = _named(call, path, reader)
    pairs = reader.argument(call, "p_options", path)
    try:
        rows = [tuple(reader.recall(pair)) for pair in pairs]
        weights = [reader.recall(weight) for weight, _ in rows]
    except (TypeError, ValueError):
        raise SpecError(
            "hp.pchoice takes pairs",
            path=path,
            found=short(pairs),
            expected='hp.pchoice("name", [(probability, option), ...])',
        ) from None
    found = options([option for _, option in rows], path, reader)
    return Choice(found, tuple(weights), **named)


def options(values: Any, path: str, reader: TreeReader) -> tuple[Node, ...]:
    """Reads the options of a choice: plain values, or trees with parameters in them.

    Raises:
        SpecError: Not a sequence.
        UnsupportedError: An option holds an object, or something else that cannot be translated.
    """
    rows = enumerate(as_list(values, path, reader))
    return tuple(reader.option(value, f"{path}[{index}]") for index, value in rows)


def as_list(values: Any, path: str, reader: TreeReader) -> list[Any]:
    """The options of a choice, from whatever can be gone through but text and dicts.

    Raises:
        SpecError: It is something else.
    """
    values = reader.recall(values)
    try:
        if isinstance(values, dict | str | bytes | Call):
            raise TypeError
        return list(values)
    except TypeError:
        raise SpecError(
            "the options of a choice are a list", path=path, found=short(values), expected="a list"
        ) from None


def _int(call: Call, path: str, reader: TreeReader) -> Node:
    inner = reader.recall(call.get("obj"))
    node = reader.node(inner, path) if isinstance(inner, Call) else None
    if isinstance(node, Parameter) and (reader.used_once(inner) or _is_whole(node.distribution)):
        whole = _as_integers(node.distribution)
        if whole is not None:
            return Parameter(whole, node.label, shared=node.shared)
    return _operation(call, path, reader)


def _is_whole(law: Distribution) -> bool:
    return isinstance(law, Integers) or law.integer


def _as_integers(distribution: Distribution) -> Distribution | None:
    """The law of ``int(x)``, where the tree has one."""
    if isinstance(distribution, Integers) or distribution.integer:
        return distribution
    if distribution.q is not None:
        if distribution.q != int(distribution.q):
            return None
        made = msgspec.structs.replace(distribution, integer=True)
        return _equal_cells(made) or made
    if not isinstance(distribution, Uniform):
        return None
    # Cutting off the fraction of a draw between whole bounds, neither below 0, is flooring it: all
    # integers weigh the same, or have the log law.
    log = distribution.scale == "log"
    bounds = [math.exp(x) if log else x for x in (distribution.low, distribution.high)]
    low, high = map(round, bounds)
    whole = all(math.isclose(x, round(x), rel_tol=1e-12) for x in bounds)
    if not whole or low < (1 if log else 0) or low >= high:
        return None
    return Integers(low, high - 1, log=log)


def _equal_cells(distribution: Distribution) -> Integers | None:
    """Integers, where rounding gives each of them the same weight: bounds halfway between them."""
    if not isinstance(distribution, Uniform) or distribution.scale != "linear":
        return None
    if not distribution.integer or distribution.q is None:
        return None
    step = int(distribution.q)
    first, last = distribution.low / step + 0.5, distribution.high / step - 0.5
    if first != math.floor(first) or last != math.floor(last) or first > last:
        return None
    return Integers(int(first) * step, int(last) * step, step)


def _float(call: Call, path: str, reader: TreeReader) -> Node:
    inner = reader.recall(call.get("obj"))
    node = reader.node(inner, path) if isinstance(inner, Call) else None
    distribution = node.distribution if isinstance(node, Parameter) else None
    if isinstance(distribution, Uniform | Normal) and not distribution.integer:
        assert node is not None
        return node
    return _operation(call, path, reader)


def _arithmetic(call: Call, path: str, reader: TreeReader) -> Node:
    operands = [reader.recall(item) for item in call.get("args", ())]
    calls = [item for item in operands if isinstance(item, Call)]
    if call.get("kwargs") or len(calls) != 1 or not reader.used_once(calls[0]):
        return _operation(call, path, reader)
    read = [reader.node(x, path) if isinstance(x, Call) else x for x in operands]
    node = combine(call.name.removeprefix("scope."), read)
    if node is None:
        return _operation(call, path, reader)
    reader.notes.exact(
        path, f"{short(call, 80)} is a law of its own", "the arithmetic is in its bounds"
    )
    return node


def _operation(call: Call, path: str, reader: TreeReader) -> Node:
    """Any operation as it is."""
    name = call.name.removeprefix("scope.")
    refused = refusal(name)
    if refused:
        raise UnsupportedError(
            f"{call.name}: {refused}",
            path=path,
            found=short(call),
            hint="do that in the program",
        )
    given = call.arguments
    # scope.int and scope.float have a signature of their own.
    args = given.get("args", [given["obj"]] if "obj" in given else ())
    kwargs = given.get("kwargs", {})
    return Operation(
        name,
        tuple(reader.option(item, f"{path}[{index}]") for index, item in enumerate(args)),
        Group(tuple((key, reader.option(item, f"{path}.{key}")) for key, item in kwargs.items())),
    )


LEAVES: dict[str, LeafReader] = {
    **{f"hp.{law.name}": _law(law) for law in LAWS},
    "hp.randint": _randint,
    "hp.choice": _choice,
    "hp.pchoice": _pchoice,
    "scope.int": _int,
    "scope.float": _float,
    **{f"scope.{name}": _arithmetic for name in OPERATORS},
    "scope.*": _operation,
}
"""Reader of a call by its name; ``scope.*`` stands for every further operation."""
