"""The space of runs whose space nobody has kept: from the values that were seen.

The rule, parameter by parameter (a note says what became of each):

* one value in all runs: a constant;
* numbers: the range from the smallest to the largest that was seen, logarithmic when all are
  positive and the largest is at least a hundred times the smallest; integers stay integers;
* numbers that repeat (at most ten different ones, and at most half as many as runs), and texts,
  truth values, None, lists and mixtures: a list of the values;
* a text or list that is another one in each of three runs or more is a name or a path, and a text
  like ``<function train at 0x...>`` an object: neither is a parameter;
* a parameter that is in some runs only belongs to the values of another one with which it was
  always seen, if there is one (``gamma`` to ``kernel: rbf``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tune_bridge.adopt.scalars import is_number
from tune_bridge.dialects.flat_conditions import Name, Row, When, selector_values, tree_of
from tune_bridge.errors import TuneBridgeError
from tune_bridge.notes import Notes
from tune_bridge.space import Choice, Constant, Group, Integers, Node, Parameter, Uniform
from tune_bridge.values import Frozen

__all__ = ["conditions", "flat", "infer", "nested"]

FEW = 10
"""Different numbers that can be a list of values."""
LOG = 100.0
"""Ratio of the largest to the smallest value from which a range is taken for a logarithmic one."""
NAMES = 3
"""Runs in which a text has to differ to be taken for a name."""

_OBJECT = re.compile(r"<.* at 0x[0-9a-f]+.*>|<class '.*'>|<function .*>", re.DOTALL)

Flat = Mapping[Name, Any]


def flat(config: Mapping[str, Any], prefix: Name = ()) -> Iterator[tuple[Name, Any]]:
    """Parameters by the names of their groups and their own."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, (*prefix, str(key)))
        else:
            yield (*prefix, str(key)), value


def infer(configs: Sequence[Mapping[str, Any]], notes: Notes) -> Group:
    """The space of runs, by the rule of this module.

    Args:
        configs: Parameters of each run.
        notes: Are added to.
    """
    runs = [dict(flat(config)) for config in configs]
    names = list(dict.fromkeys(name for run in runs for name in run))
    groups = {name[:end] for name in names for end in range(1, len(name))}
    nodes: dict[Name, Node] = {}
    for name in names:
        if name in groups:
            notes.approximated(_path(name), "left out", "a value in some runs, a group in others")
            continue
        node = _node(name, [run[name] for run in runs if name in run], notes)
        if node is not None:
            nodes[name] = node
    when = conditions(runs, nodes, notes)
    rows = [Row(name, node, when.get(name, {})) for name, node in nodes.items()]
    try:
        return tree_of(rows, lists=False)[0]
    except TuneBridgeError as error:
        notes.approximated("parameters", "conditions were left out", str(error))
        return tree_of([Row(row.name, row.node) for row in rows], lists=False)[0]


def _path(name: Name) -> str:
    return "parameters." + ".".join(name)


def _node(name: Name, seen: list[Any], notes: Notes) -> Node | None:
    values = list({Frozen(value): value for value in seen}.values())
    texts = all(isinstance(value, str) for value in values)
    if any(isinstance(value, str) and _OBJECT.fullmatch(value) for value in values):
        notes.approximated(_path(name), "left out", "an object of the program, kept as text only")
        return None
    if len(values) == 1:
        return Constant.of(values[0])
    numbers = all(map(is_number, values))
    if numbers:
        if len(values) > FEW or len(values) > len(seen) / 2:
            return _range(name, values, notes)
    elif len(values) == len(seen) >= NAMES and (texts or isinstance(values[0], list | dict)):
        notes.approximated(_path(name), "left out", "another text or list in each run: a name")
        return None
    values.sort(key=lambda value: (isinstance(value, str), value if numbers else str(value)))
    notes.approximated(_path(name), f"{len(values)} values", "those that were seen")
    return Choice(tuple(Constant.of(value) for value in values))


def _range(name: Name, values: list[Any], notes: Notes) -> Node:
    low, high = min(values), max(values)
    log = low > 0 and high >= LOG * low
    whole = all(isinstance(value, int) for value in values)
    kind = ("log-uniform " if log else "uniform ") + ("integers" if whole else "numbers")
    notes.approximated(
        _path(name), f"{kind} from {low:g} to {high:g}", "the range that was seen, and a guess"
    )
    if whole and log:
        return Parameter(Uniform(low - 0.5, high + 0.5, "log", q=1, integer=True))
    if whole:
        return Parameter(Integers(low, high))
    return Parameter(Uniform(float(low), float(high), "log" if log else "linear"))


# Conditions ---------------------------------------------------------------------------------------


def conditions(runs: Sequence[Flat], nodes: Mapping[Name, Node], notes: Notes) -> dict[Name, When]:
    """Which parameters were seen with some values of another one only.

    Args:
        runs: Values by name.
        nodes: The parameters; those with few values can be what others depend on.
        notes: Are added to, where a parameter is missing in runs for no such reason.
    """
    found: dict[Name, When] = {}
    selectors = [
        name
        for name, node in nodes.items()
        if isinstance(node, Choice | Parameter) and len(selector_values(node) or ()) > 1
    ]
    for name in nodes:
        if all(name in run for run in runs):
            continue
        candidates = [
            (rank, other, values)
            for other in selectors
            if other != name
            for rank, values in [_wanted(name, other, nodes[other], runs)]
            if values
        ]
        if not candidates:
            notes.approximated(
                _path(name),
                "searched in all runs",
                "not in each of them, and no other parameter says when",
            )
        else:
            _, other, values = min(candidates, key=lambda found: found[0])
            found[name] = {other: values}
            shown = ", ".join(str(value) for value in values)
            notes.approximated(
                _path(name),
                f"searched with {'.'.join(other)}: {shown}",
                "it was never seen without, nor that without it",
            )
    return found


def _wanted(
    name: Name, other: Name, selector: Node, runs: Sequence[Flat]
) -> tuple[tuple[int, int], tuple[Any, ...]]:
    """The values of another parameter with which one was seen, if never without it.

    Returns:
        A rank, the lowest one the likeliest, and the values; none where it is no condition. An
        integer is one from a number on (``layers`` for ``units_3``).
    """
    there: dict[Frozen, Any] = {}
    absent: dict[Frozen, Any] = {}
    for run in runs:
        if other in run:
            (there if name in run else absent)[Frozen(run[other])] = run[other]
        elif name in run:
            return (0, 0), ()
    if not absent or not there or absent.keys() & there.keys():
        return (0, 0), ()
    domain = [value for value, _ in selector_values(selector) or ()]
    if isinstance(selector, Choice):
        return (0, len(domain)), tuple(there.values())
    least = min(there.values())
    if least < max(absent.values()):
        return (0, 0), ()
    return (1, len(domain)), tuple(value for value in domain if value >= least)


def nested(space: Group, values: Flat) -> dict[str, Any]:
    """A configuration in the form of a space, of values by name.

    A selector whose values are mappings (see `tune_bridge.dialects.flat_conditions`) gets the
    mapping of its value; what the space does not have stays beside it. A configuration that does
    not fit stays as it is: the space refuses it then.
    """
    rest = dict(values)
    try:
        made = _nested(space, (), rest)
        assert isinstance(made, dict)
    except KeyError:
        made, rest = {}, dict(values)
    for name, value in rest.items():
        group = made
        for part in name[:-1]:
            below = group.setdefault(part, {})
            group = below if isinstance(below, dict) else {}
        group[name[-1]] = value
    return made


def _nested(node: Node, name: Name, values: dict[Name, Any]) -> Any:
    """Takes what a node has out of the values."""
    if isinstance(node, Group):
        return {key: _nested(child, (*name, key), values) for key, child in node.items}
    if isinstance(node, Choice) and not node.plain:
        wanted = Frozen(values.pop(name))
        for option in node.options:
            title = option.get(name[-1]) if isinstance(option, Group) else option
            if isinstance(title, Constant) and title.frozen == wanted:
                if not isinstance(option, Group):
                    return title.value
                return {
                    key: title.value
                    if key == name[-1]
                    else _nested(child, (*name[:-1], key), values)
                    for key, child in option.items
                }
        raise KeyError(name)
    if hasattr(node, "items"):  # a list
        return [_nested(item, (*name, str(index)), values) for index, item in enumerate(node.items)]
    if isinstance(node, Constant) and name not in values:
        return node.value
    return values.pop(name)
