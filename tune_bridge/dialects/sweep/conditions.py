"""Conditions and lists of parameters in W&B's native keys, and back to what they stand for.

A choice between search spaces is written as nested parameters, a selector and a group per branch:

    optimizer:
      parameters:
        branch: {values: [sgd, adam]}
        sgd: {parameters: {type: {value: sgd}, momentum: {min: 0.0, max: 0.9}}}
        adam: {parameters: {type: {value: adam}, beta: {min: 0.8, max: 0.99}}}

a list as ``item_0``, ``item_1``, ..., and an operation as ``call`` and its arguments. W&B draws
every branch; `tune_bridge.dialects.sweep.folding` keeps the one that the selector names and gives
the value that the program was written for. All names follow from the tree alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tune_bridge.laws import OPERATIONS, SAMPLE_FROM, argument_names
from tune_bridge.notes import Notes
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Node,
    Operation,
    Sequence,
)
from tune_bridge.values import same_data

__all__ = [
    "ITEM",
    "SELECTOR",
    "adopt",
    "branch_names",
    "write_condition",
    "write_operation",
    "write_sequence",
]

SELECTOR = "branch"
"""Name of the parameter that says which branch counts; underscores follow where it is taken."""

ITEM = "item_{}"

_LONGEST = 40

Write = Callable[[Node, str, Notes], dict[str, Any]]


# Names --------------------------------------------------------------------------------------------


def branch_names(choice: Choice) -> tuple[str, list[str]]:
    """The selector's name and the names of the branches of a condition.

    A branch is called after a constant that tells the options apart (``type: sgd``) or, without
    one, after its only key, a plain option after its value, and ``option_N`` where there is no such
    thing or W&B forbids it.

    Returns:
        The selector, and one name per option; all are different.
    """
    key = _telling_key(choice)
    wanted = [_legal(_title(option, key)) for option in choice.options]
    names = [
        name if name and wanted.count(name) == 1 else f"option_{index}"
        for index, name in enumerate(wanted)
    ]
    if len(set(names)) < len(names):
        names = [f"option_{index}" for index in range(len(names))]
    taken = {*names}
    for option in choice.options:
        if isinstance(option, Group):
            taken |= {name for name, _ in option.items}
        elif isinstance(option, Constant) and isinstance(option.value, dict):
            taken |= {str(name) for name in option.value}
    selector = SELECTOR
    while selector in taken:
        selector += "_"
    return selector, names


def _constants(option: Node) -> dict[str, Any]:
    """The plain values directly inside an option that could name it."""
    if isinstance(option, Group):
        found = {name: node.value for name, node in option.items if isinstance(node, Constant)}
    elif isinstance(option, Constant) and isinstance(option.value, dict):
        found = {str(name): value for name, value in option.value.items()}
    else:
        return {}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, str | int) and not isinstance(value, bool)
    }


def _telling_key(choice: Choice) -> str | None:
    """The first key with a constant in every mapping among the options, different in each."""
    tables = [
        _constants(option)
        for option in choice.options
        if isinstance(option, Group)
        or (isinstance(option, Constant) and isinstance(option.value, dict))
    ]
    if not tables:
        return None
    for key in sorted(tables[0], key=lambda key: not isinstance(tables[0][key], str)):
        values = [table.get(key) for table in tables]
        if None not in values and len({str(value) for value in values}) == len(values):
            return key
    return None


def _title(option: Node, key: str | None) -> str:
    if isinstance(option, Sequence):
        first = option.items[0] if option.items else None
        if isinstance(first, Constant) and isinstance(first.value, str):
            return first.value
        return ""
    if isinstance(option, Constant) and not isinstance(option.value, dict | list | tuple):
        value = option.value
        return str(value).lower() if value is None or isinstance(value, bool) else str(value)
    if key is not None:
        return str(_constants(option).get(key, ""))
    return option.items[0][0] if isinstance(option, Group) and len(option.items) == 1 else ""


def _legal(title: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", title).strip("_-")[:_LONGEST]
    return f"_{name}" if name and not (name[0].isalpha()) else name


# Writing ------------------------------------------------------------------------------------------


def write_condition(choice: Choice, path: str, notes: Notes, write: Write) -> dict[str, Any]:
    """Writes a choice between search spaces as nested parameters.

    Args:
        choice: The choice.
        path: Where it stands.
        notes: Gets a note: W&B samples inactive branches too.
        write: Writes an option.
    """
    selector, names = branch_names(choice)
    first: dict[str, Any] = {"distribution": "categorical", "values": names}
    if choice.weights is not None:
        first = {
            "distribution": "categorical_w_probabilities",
            "values": names,
            "probabilities": list(choice.weights),
        }
    parameters = {selector: first}
    for index, (name, option) in enumerate(zip(names, choice.options, strict=True)):
        if not isinstance(option, Constant):
            parameters[name] = write(option, f"{path}[{index}]", notes)
    notes.carried(
        path,
        f"a condition as nested parameters: {selector!r} names the branch",
        "W&B samples the inactive branches too; tune-bridge draws the active one alone",
        "in a program that W&B's own agent starts, tune_bridge.fold(config, sweep) gives the value",
    )
    return {"parameters": parameters}


def write_sequence(sequence: Sequence, path: str, notes: Notes, write: Write) -> dict[str, Any]:
    """Writes a list of parameters as nested parameters, one per item.

    Args:
        sequence: The list or tuple.
        path: Where it stands.
        notes: Gets a note: W&B has no lists of parameters.
        write: Writes an item.
    """
    notes.carried(
        path,
        f"a {sequence.kind} as nested parameters {ITEM.format(0)}, ...",
        "W&B has no lists of parameters",
        "in a program that W&B's own agent starts, tune_bridge.fold(config, sweep) gives the value",
    )
    items = enumerate(sequence.items)
    return {
        "parameters": {
            ITEM.format(index): write(item, f"{path}[{index}]", notes) for index, item in items
        }
    }


def write_operation(operation: Operation, path: str, notes: Notes, write: Write) -> dict[str, Any]:
    """Writes an operation as nested parameters: its name, and its arguments.

    Args:
        operation: The operation.
        path: Where it stands.
        notes: Gets a note: W&B does not do it.
        write: Writes an argument.
    """
    if operation.name == SAMPLE_FROM:
        (function,) = operation.args
        notes.carried(
            path,
            "the name of the function that makes the value",
            "W&B has no functions of a configuration; tune-bridge calls it when it runs the search",
        )
        return write(function, path, Notes())
    key, names = argument_names(operation)
    known = operation.name in OPERATIONS
    notes.carried(
        path,
        f"{operation.name} as nested parameters: {key!r} names it, beside its arguments",
        "W&B has no arithmetic; tune-bridge does it on what it draws"
        if known
        else "only the program has this function",
        "in a program that W&B's own agent starts, tune_bridge.fold(config, sweep) gives the value",
    )
    parameters: dict[str, Any] = {key: {"value": operation.name}}
    for name, (where, argument) in zip(names, operation.arguments, strict=True):
        parameters[name] = write(argument, f"{path}{where}", notes)
    return {"parameters": parameters}


# Edits by hand ------------------------------------------------------------------------------------


def adopt(
    node: Node,
    entry: Any,
    path: str,
    write: Callable[[Node, str], Any],
    read: Callable[[Any, str], Node],
    changed: list[str],
) -> Node | None:
    """A carried node with what was edited by hand in its native entry.

    Args:
        node: What is carried.
        entry: What stands in ``parameters`` now.
        path: Where.
        write: Writes a node as an entry.
        read: Reads an entry that holds no condition.
        changed: Gets the places inside of a condition or list that were edited.

    Returns:
        The node, its edited parts replaced, or None when the entry says something else altogether.
    """
    if entry is None:
        return None
    if same_data(entry, write(node, path)):
        return node
    if not isinstance(node, Sequence | Choice | Operation):
        return None
    if (isinstance(node, Choice) and node.plain) or getattr(node, "name", "") == SAMPLE_FROM:
        return None
    return _adopt(node, entry, path, write, read, changed)


def _adopt(
    node: Node,
    entry: Any,
    path: str,
    write: Callable[[Node, str], Any],
    read: Callable[[Any, str], Node],
    changed: list[str],
) -> Node | None:
    below = entry.get("parameters") if isinstance(entry, Mapping) else None
    if same_data(entry, write(node, path)):
        return node

    def parts(nodes: list[tuple[str, Node]], more: tuple[str, ...] = ()) -> list[Node] | None:
        if not isinstance(below, Mapping) or {*below} != {*more, *(name for name, _ in nodes)}:
            return None
        found = [
            _adopt(child, below[name], f"{path}.{name}", write, read, changed)
            for name, child in nodes
        ]
        return None if any(child is None for child in found) else found  # type: ignore[return-value]

    if isinstance(node, Group):
        children = parts(list(node.items))
        names = [name for name, _ in node.items]
        return None if children is None else Group(tuple(zip(names, children, strict=True)))
    if isinstance(node, Sequence):
        children = parts([(ITEM.format(i), item) for i, item in enumerate(node.items)])
        return None if children is None else Sequence(tuple(children), node.kind)
    if isinstance(node, Operation):
        key, arguments = argument_names(node)
        pairs = [
            (name, argument) for name, (_, argument) in zip(arguments, node.arguments, strict=True)
        ]
        children = parts(pairs, (key,))
        if children is None or below is None or not same_data(below[key], {"value": node.name}):
            return None
        count, named = len(node.args), [name for name, _ in node.kwargs.items]
        kwargs = Group(tuple(zip(named, children[count:], strict=True)))
        return Operation(node.name, tuple(children[:count]), kwargs)
    if isinstance(node, Choice) and not node.plain:
        return _adopt_condition(node, below, path, parts, read, changed)
    if below is not None:
        return None
    changed.append(path)
    return read(entry, path)


def _adopt_condition(
    node: Choice,
    below: Any,
    path: str,
    parts: Callable[..., list[Node] | None],
    read: Callable[[Any, str], Node],
    changed: list[str],
) -> Node | None:
    selector, names = branch_names(node)
    pairs = zip(names, node.options, strict=True)
    inner = parts([(n, o) for n, o in pairs if not isinstance(o, Constant)], (selector,))
    if inner is None:
        return None
    rest = iter(inner)
    options = tuple(o if isinstance(o, Constant) else next(rest) for o in node.options)
    first = read(below[selector], f"{path}.{selector}")
    if not isinstance(first, Choice) or first.values() != names:
        return None
    if first.weights != node.weights:
        changed.append(f"{path}.{selector}")
    made = Choice(options, first.weights, node.label, node.grid, node.shared)
    if node.shared and made != node:
        # An edit in one place makes it another parameter.
        made = Choice(options, first.weights, None, node.grid)
    return made if branch_names(made) == (selector, names) else None
