"""Conditional trees as rows of named parameters with conditions, and back.

A row is one parameter and what has to hold for it to be drawn: ``when`` maps a selector, another
row, to the values of it that count. A choice between groups that all say who they are by a constant
with the choice's own name (``optimizer: {optimizer: sgd, momentum: ...}``) becomes the rows
``optimizer`` and ``momentum``, as people write them. Every other choice becomes the rows of W&B's
nested form (`tune_bridge.dialects.sweep.conditions`): ``model/branch``, ``model/svm/gamma``, ...
The items of a list are named by their places: ``layers/0``, ``layers/1``, ...

Reading rows gives nested choices again. A row that depends on two selectors makes the later one
part of the earlier one's branches: the law is the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tune_bridge import laws
from tune_bridge.dialects.sweep.conditions import SELECTOR, branch_names
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.space import Choice, Constant, Group, Integers, Node, Parameter, Sequence
from tune_bridge.values import Frozen

__all__ = [
    "MOST_VALUES",
    "Name",
    "Row",
    "When",
    "as_group",
    "is_numbered",
    "matching",
    "rows_of",
    "selector_values",
    "tree_of",
    "unlisted",
]

Name = tuple[str, ...]
When = Mapping[Name, tuple[Any, ...]]
"""Selector -> its values with which a parameter is drawn; all of them have to hold."""

EMPTY_WHEN: When = MappingProxyType({})

MOST_VALUES = 64
"""Values that a selector may have."""

_MOST_NODES = 50_000


class Row(NamedTuple):
    """One parameter of a flat notation.

    Attributes:
        name: The names of its groups and its own.
        node: What it draws.
        when: What has to hold; empty where it is drawn always.
        path: Where the node stands in the tree that it comes from: ``model[1].lr``.
    """

    name: Name
    node: Node
    when: When = EMPTY_WHEN
    path: str = ""


def matching(when: When, values: Mapping[Name, Any]) -> bool:
    """Whether a condition holds; a selector without a value was not drawn."""
    return all(
        name in values and any(_same(values[name], value) for value in wanted)
        for name, wanted in when.items()
    )


def _same(one: Any, other: Any) -> bool:
    return Frozen(one) == Frozen(other)


# Trees to rows ------------------------------------------------------------------------------------


def rows_of(space: Group, *, unions: bool = True) -> list[Row]:
    """The rows that say a tree.

    Args:
        space: The tree.
        unions: A parameter of several branches may be one row; otherwise each branch has its own.
    """
    rows = _merged(_spread(space, (), "", {}, short=True)) if _has_conditions(space) else None
    if rows is None or not (unions or all(map(_single, rows))):
        rows = list(_spread(space, (), "", {}, short=False))
    table = {row.name: row.when for row in rows}
    return [row._replace(when=_direct(row.when, table)) for row in rows]


def _direct(when: When, table: Mapping[Name, When]) -> When:
    """A condition without what its selectors depend on themselves."""
    implied = {
        name
        for selector in when
        for name, values in table[selector].items()
        if set(map(Frozen, values)) <= set(map(Frozen, when.get(name, ())))
    }
    return {name: values for name, values in when.items() if name not in implied}


def _single(row: Row) -> bool:
    return all(len(values) == 1 for values in row.when.values())


def _has_conditions(node: Node) -> bool:
    if isinstance(node, Group):
        return any(_has_conditions(child) for _, child in node.items)
    if isinstance(node, Sequence):
        return any(map(_has_conditions, node.items))
    return isinstance(node, Choice) and not node.plain


def as_group(node: Node) -> Group | None:
    """A group, or a constant mapping with names as one."""
    if isinstance(node, Group):
        return node
    value = node.value if isinstance(node, Constant) else None
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return Group(tuple((key, Constant.of(item)) for key, item in value.items()))
    return None


def _spread(node: Node, name: Name, path: str, when: When, *, short: bool) -> Iterable[Row]:
    group = as_group(node)
    if group is not None and (group.items or isinstance(node, Group)):
        for key, child in group.items:
            yield from _spread(child, (*name, key), _join(path, key), when, short=short)
    elif isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            yield from _spread(item, (*name, str(index)), f"{path}[{index}]", when, short=short)
    elif isinstance(node, Choice) and not node.plain:
        yield from _spread_choice(node, name, path, when, short=short)
    else:
        yield Row(name, node, when, path)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _spread_choice(
    node: Choice, name: Name, path: str, when: When, *, short: bool
) -> Iterable[Row]:
    # Nothing that depends on an item of a list could have a name beside it.
    titles = _titles(node, name[-1]) if short and name and not name[-1].isdigit() else None
    if titles is not None:
        yield Row(name, _selector(titles, node), when, path)
        for index, (title, option) in enumerate(zip(titles, node.options, strict=True)):
            inner, place = {**when, name: (title.value,)}, f"{path}[{index}]"
            for key, child in (as_group(option) or Group()).items:
                if key != name[-1]:
                    below = (*name[:-1], key)
                    yield from _spread(child, below, f"{place}.{key}", inner, short=short)
        return
    last, names = branch_names(node)
    selector = (*name, last)
    yield Row(selector, _selector(map(Constant.of, names), node), when, path)
    for index, (branch, option) in enumerate(zip(names, node.options, strict=True)):
        inner = {**when, selector: (branch,)}
        yield from _spread(option, (*name, branch), f"{path}[{index}]", inner, short=short)


def _selector(titles: Iterable[Constant], choice: Choice) -> Choice:
    return Choice(tuple(titles), choice.weights, choice.label, choice.grid, choice.shared)


def _titles(node: Choice, key: str) -> list[Constant] | None:
    """The constant called `key` in every option, if they are all different.

    Where no option holds anything else, a choice of mappings would become one of plain values.
    """
    found = []
    if all(len((as_group(option) or Group()).items) < 2 for option in node.options):
        return None
    for option in node.options:
        title = (as_group(option) or Group()).get(key)
        if not isinstance(title, Constant) or not isinstance(title.value, str | int | float):
            return None
        found.append(title)
    kinds = {type(title.value) for title in found}
    different = len({title.frozen for title in found}) == len(found)
    return found if different and len(kinds) == 1 else None


def _merged(rows: Iterable[Row]) -> list[Row] | None:
    """Rows with one for each name; None where one name would be two parameters."""
    found: dict[Name, Row] = {}
    for row in rows:
        old = found.get(row.name)
        if old is None:
            found[row.name] = row
            continue
        when = _union(old.when, row.when)
        if old.node != row.node or when is None:
            return None
        found[row.name] = old._replace(when=when)
    names = set(found)
    if any(name[:end] in names for name in names for end in range(1, len(name))):
        return None
    return list(found.values())


def _union(one: When, other: When) -> When | None:
    differ = [name for name in one if name in other and one[name] != other[name]]
    if one.keys() != other.keys() or len(differ) != 1:
        return None
    (name,) = differ
    return {**one, name: one[name] + other[name]}


# Rows to trees ------------------------------------------------------------------------------------


def selector_values(node: Node) -> list[tuple[Any, float]] | None:
    """Values and weights of a parameter that others may depend on; None where they are too many."""
    if isinstance(node, Constant):
        return [(node.value, 1.0)]
    if isinstance(node, Choice) and node.plain:
        weights = node.weights or (1 / len(node.options),) * len(node.options)
        return list(zip(node.values(), weights, strict=True))
    if not isinstance(node, Parameter):
        return None
    law = node.distribution
    if not isinstance(law, Integers) and law.q is None:
        return None
    try:
        cells = laws.cell_probabilities(law, MOST_VALUES)
    except ValueError:
        return None
    whole = isinstance(law, Integers) or law.integer
    return [((int(value) if whole else value), weight) for value, weight in cells.items()]


class _Part(NamedTuple):
    """A row with the place that it gets below the branch that is being built."""

    name: Name
    place: Name
    node: Node
    when: dict[Name, tuple[Any, ...]]


class _Builder:
    """Builds one tree.

    Args:
        lists: Names that are numbers stand for the items of lists.
    """

    def __init__(self, lists: bool) -> None:
        self.lists = lists
        self.nested: dict[Name, list[Name]] = {}
        self.nodes = 0

    def build(self, parts: list[_Part], top: bool = False) -> Node:
        """The tree of parts, whose selectors are among them; at the top it is always a group."""
        self.nodes += len(parts)
        if self.nodes > _MOST_NODES:
            raise UnsupportedError(
                "conditions that depend on each other in too many combinations",
                expected=f"a tree of at most {_MOST_NODES} parameters",
            )
        tree: dict[str, Any] = {}
        bare: Node | None = None
        rest = list(parts)
        while part := next((part for part in rest if not part.when), None):
            rest.remove(part)
            place, node = part.place, part.node
            below = self.dependents(part, rest)
            if below:
                rest = [other for other in rest if other not in below]
                place, node = self.choice(part, below, rest)
            if place:
                _put(tree, place, node, part.name)
            else:
                bare = node
        if rest:
            raise self.dangling(rest[0])
        if bare is not None:
            return bare
        group = self.grouped(tree)
        return group if top else self.listed(group)

    def grouped(self, tree: dict[str, Any]) -> Group:
        return Group(
            tuple(
                (name, self.listed(self.grouped(item)) if isinstance(item, dict) else item)
                for name, item in tree.items()
            )
        )

    def listed(self, group: Group) -> Node:
        """A list in place of a group whose names say so."""
        children = dict(group.items)
        if not self.lists or not is_numbered(children):
            return group
        items = tuple(children[str(index)] for index in range(len(children)))
        if all(isinstance(item, Constant) for item in items):
            return Constant.of([item.value for item in items if isinstance(item, Constant)])
        return Sequence(items)

    def dangling(self, part: _Part) -> SpecError:
        names = ", ".join("/".join(name) for name in part.when)
        return SpecError(
            "a condition on a parameter that does not come before it",
            path=".".join(part.name),
            found=names,
        )

    def dependents(self, selector: _Part, others: list[_Part]) -> list[_Part]:
        """What depends on a selector, with all that this depends on beside it."""
        found = [other for other in others if selector.name in other.when]
        size = -1
        while found and size != len(found):
            size = len(found)
            names = {part.name for part in found}
            needed = {name for part in found for name in part.when} - {selector.name}
            found = [
                other
                for other in others
                if other in found or other.name in needed or names.intersection(other.when)
            ]
        return found

    def choice(
        self, selector: _Part, below: list[_Part], rest: list[_Part]
    ) -> tuple[Name, Choice | Node]:
        """The choice that a selector and its dependents are, and its place."""
        values = selector_values(selector.node)
        if values is None:
            raise UnsupportedError(
                "a condition on a parameter with too many values",
                path=".".join(selector.name),
                expected=f"at most {MOST_VALUES}",
            )
        home = selector.place[:-1]
        ours = _is_branch(selector, below, rest)
        options = []
        for value, _ in values:
            parts = []
            for part in below:
                wanted = part.when.get(selector.name)
                if wanted is not None and not any(_same(value, item) for item in wanted):
                    continue
                place = part.place
                if ours:
                    place = place[len(home) + 1 :]
                elif place[: len(selector.place)] == selector.place:
                    place = place[len(selector.place) :]
                elif place[: len(home)] == home:
                    place = place[len(home) :]
                when = {k: v for k, v in part.when.items() if k != selector.name}
                parts.append(_Part(part.name, place, part.node, when))
            parts = _reachable(parts)
            if not ours:
                title = _Part((*selector.name, ""), (selector.place[-1],), Constant.of(value), {})
                parts = [title, *parts]
            options.append(self.build(parts) if parts else Constant.of({}))
        if not ours:
            self.nested[selector.name] = [part.name for part in below]
        shares = [weight for _, weight in values]
        even = max(shares) - min(shares) < 1e-12
        grid = bool(getattr(selector.node, "grid", False))
        choice = Choice(tuple(options), None if even else tuple(shares), None, grid)
        return (home if ours else selector.place), choice


def _is_branch(selector: _Part, below: list[_Part], rest: list[_Part]) -> bool:
    """Whether a selector is the one that `rows_of` makes of a choice without titles."""
    home = selector.place[:-1]
    if selector.name[:1] == selector.place or not re.fullmatch(f"{SELECTOR}_*", selector.place[-1]):
        return False
    if any(part.place[: len(home)] == home for part in rest):
        return False
    return all(
        part.place[: len(home)] == home
        and len(part.place) > len(home)
        and part.when.get(selector.name) in (None, (part.place[len(home)],))
        for part in below
    )


def _reachable(parts: list[_Part]) -> list[_Part]:
    """The parts whose selectors are among them."""
    size = -1
    while size != len(parts):
        size = len(parts)
        names = {part.name for part in parts}
        parts = [part for part in parts if names.issuperset(part.when)]
    return parts


def _put(tree: dict[str, Any], place: Name, node: Node, name: Name) -> None:
    for part in place[:-1]:
        tree = tree.setdefault(part, {}) if isinstance(tree, dict) else {}
    if not isinstance(tree, dict) or place[-1] in tree:
        raise SpecError(
            "both a parameter and a group of parameters",
            path=".".join(name),
            expected="one of them",
        )
    tree[place[-1]] = node


def is_numbered(names: Iterable[str]) -> bool:
    """Whether names are those of the items of a list: ``0``, ``1``, ..., without a gap."""
    found = set(names)
    return bool(found) and found == {str(index) for index in range(len(found))}


def unlisted(node: Group) -> Group:
    """A tree with groups in place of the lists that numbered names were read as."""
    return Group(tuple((name, _unlisted(child)) for name, child in node.items))


def _unlisted(node: Node) -> Node:
    if isinstance(node, Group):
        return unlisted(node)
    if isinstance(node, Sequence) and node.kind == "list":
        return Group(tuple((str(i), _unlisted(item)) for i, item in enumerate(node.items)))
    if isinstance(node, Choice) and not node.plain:
        options = tuple(map(_unlisted, node.options))
        return Choice(options, node.weights, node.label, node.grid, node.shared)
    return node


def tree_of(rows: Iterable[Row], *, lists: bool = True) -> tuple[Group, dict[Name, list[Name]]]:
    """The tree that rows say.

    Args:
        rows: One name may be in several rows, if no two of them hold together.
        lists: Groups whose names are 0, 1, ... without a gap are lists.

    Returns:
        The tree, and the selectors whose values are mappings now, each with the names in them.

    Raises:
        SpecError: A selector is missing, or a name is both a parameter and a group.
        UnsupportedError: A selector has too many values.
    """
    builder = _Builder(lists)
    parts = [_Part(row.name, row.name, row.node, dict(row.when)) for row in rows]
    tree = builder.build(parts, top=True)
    assert isinstance(tree, Group)
    return tree, builder.nested
