"""Conditions and lists of parameters in W&B's native keys, and back to what they stand for.

A choice between search spaces is written as nested parameters, a selector and a group per branch:

    optimizer:
      parameters:
        branch: {values: [sgd, adam]}
        sgd: {parameters: {type: {value: sgd}, momentum: {min: 0.0, max: 0.9}}}
        adam: {parameters: {type: {value: adam}, beta: {min: 0.8, max: 0.99}}}

and a list as ``item_0``, ``item_1``, ... W&B draws every branch; `fold` keeps the one that the
selector names and gives the value that the program was written for. All names follow from the tree
alone, so that `fold` needs nothing but the configuration and the space.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tune_bridge.errors import InputError, SpecError
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Notes
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Integers,
    Node,
    Parameter,
    Sequence,
)
from tune_bridge.values import Frozen, plain_json, same_data

__all__ = ["SELECTOR", "adopt", "branch_names", "fold", "write_condition", "write_sequence"]

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
    if not isinstance(node, Sequence | Choice) or (isinstance(node, Choice) and node.plain):
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
    made = Choice(options, first.weights, node.label, node.grid)
    return made if branch_names(made) == (selector, names) else None


# Folding ------------------------------------------------------------------------------------------


def fold(
    config: Mapping[str, Any], space: Group | Experiment | Mapping[str, Any]
) -> dict[str, Any]:
    """The configuration that a program was written for, from the one that W&B's agent drew.

    The branch that a selector names takes the place of the selector and all branches, ``item_N``
    become a list or a tuple, and values get the types that they have in Python: tuples, NaN, ints
    and floats. What is folded already, because Ray drew it, stays as it is, and so does what the
    space does not know.

    Args:
        config: Names and values as W&B gives them, for example ``dict(wandb.config)``.
        space: The tree, an experiment, or the sweep's config with its ``controller.tune``.

    Raises:
        SpecError: A branch that the selector names is missing.

    Example:
        >>> from tune_bridge.space import Choice, Constant, Group, Parameter, Uniform
        >>> sgd = Group((("type", Constant.of("sgd")), ("momentum", Parameter(Uniform(0, 1)))))
        >>> space = Group((("optimizer", Choice((sgd, Constant.of("adam")))),))
        >>> drawn = {"optimizer": {"branch": "sgd", "sgd": {"type": "sgd", "momentum": 0.5}}}
        >>> fold(drawn, space)
        {'optimizer': {'type': 'sgd', 'momentum': 0.5}}
    """
    if isinstance(space, Experiment):
        space = space.space
    if not isinstance(space, Group):
        from tune_bridge.dialects.base import get_dialect

        space = get_dialect("sweep").read(space).value.space
    return {**_fold(dict(config), space, "")}


def _fold(value: Any, node: Node, path: str) -> Any:
    if isinstance(node, Group):
        if not isinstance(value, Mapping):
            return value
        children = dict(node.items)
        return {
            name: _fold(item, children[name], f"{path}.{name}" if path else str(name))
            if name in children
            else item
            for name, item in value.items()
        }
    if isinstance(node, Sequence):
        return _fold_sequence(value, node, path)
    if isinstance(node, Parameter):
        return _typed(value, node)
    if isinstance(node, Choice) and not node.plain:
        return _fold_condition(value, node, path)
    options = node.options if isinstance(node, Choice) else (node,)
    return _exact(value, [option.value for option in options if isinstance(option, Constant)])


def _fold_condition(value: Any, node: Choice, path: str) -> Any:
    selector, names = branch_names(node)
    if not isinstance(value, Mapping) or value.get(selector) not in names:
        return value
    index = names.index(value[selector])
    option = node.options[index]
    if isinstance(option, Constant):
        return option.value
    if names[index] not in value:
        raise SpecError(
            f"the branch {names[index]!r} is missing from the configuration",
            path=path,
            found=", ".join(map(str, value)),
            expected=names[index],
        )
    return _fold(value[names[index]], option, f"{path}[{index}]")


def _fold_sequence(value: Any, node: Sequence, path: str) -> Any:
    keys = [ITEM.format(index) for index in range(len(node.items))]
    if isinstance(value, Mapping) and set(value) == set(keys):
        value = [value[key] for key in keys]
    if not isinstance(value, list | tuple) or len(value) != len(keys):
        return value
    pairs = enumerate(zip(value, node.items, strict=True))
    items = [_fold(item, child, f"{path}[{index}]") for index, (item, child) in pairs]
    return tuple(items) if node.kind == "tuple" else items


def _typed(value: Any, node: Parameter) -> Any:
    """JSON may have turned 1.0 into 1; a law knows which of them it draws."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    law = node.distribution
    if not isinstance(law, Integers) and not law.integer:
        return float(value)
    return int(value) if value == int(value) else value


def _exact(value: Any, known: list[Any]) -> Any:
    """The one of some Python values that JSON would write as `value`; the value without any."""
    try:
        frozen = Frozen(value)
    except InputError:
        return value
    if any(Frozen(item) == frozen for item in known):
        return value
    return next((item for item in known if same_data(plain_json(item)[0], value)), value)
