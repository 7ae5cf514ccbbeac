"""Notations that name parameters in one flat table: what their readers and writers share.

Such a notation says a space and nothing around it. Its dialect is two tables: how each of its
forms reads as a node, and how each *proposal* (a float or an int range, a grid of floats, a list of
options, ...) is spelled. The writer spells every proposal near a node's law, reads each one back,
and keeps the first with the very same law, or else the nearest, with a note that says by how much.
Groups become names joined by a separator.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from tune_bridge.dialects.base import Dialect, Translation, suggest
from tune_bridge.dialects.flat_conditions import (
    EMPTY_WHEN,
    Name,
    Row,
    When,
    as_group,
    is_numbered,
    rows_of,
    tree_of,
)
from tune_bridge.dialects.flat_laws import (
    FAR,
    SAME,
    gap,
    missing,
    proposals,
    score,
    shape,
    unrounded,
    whole,
)
from tune_bridge.dialects.python_space import at_path, short
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.experiment import Experiment
from tune_bridge.notes import Notes
from tune_bridge.space import (
    Choice,
    Constant,
    Group,
    Node,
    Operation,
    Parameter,
    Sequence,
    check_executable,
    walk,
)
from tune_bridge.values import EMPTY, Frozen, Reference

__all__ = ["FlatDialect", "Named", "options", "spread", "unknown", "whole_log_range"]


Maker = Callable[..., Any]
"""Spells a proposal; None where the notation has no such form."""


Named = tuple[str, Any, When]
"""A parameter as a notation says it: name, spelling, condition."""


class FlatDialect(Dialect):
    """A notation of named parameters. Subclasses fill in the two tables and the outer form."""

    separator: ClassVar[str] = "/"
    title: ClassVar[str]
    """How people call what it writes: "Optuna distributions"."""

    conditional: ClassVar[bool] = False
    """Whether a parameter can depend on the value of another one."""

    unions: ClassVar[bool] = True
    """Whether it can depend on several values of it."""

    nests: ClassVar[bool] = False
    """Whether options and lists can hold parameters; `condition` and `sequence` spell them."""

    makers: ClassVar[Mapping[str, Maker]]
    """Kind of proposal -> its spelling: plain data."""

    def rows(self, source: Any, notes: Notes) -> tuple[list[Named], dict[str, Any]]:
        """The notation's own objects as plain data, and extras to keep."""
        specs, extras = self.specs(source, notes)
        return [(name, spec, EMPTY_WHEN) for name, spec in specs.items()], extras

    def specs(self, source: Any, notes: Notes) -> tuple[dict[str, Any], dict[str, Any]]:
        """As `rows`, for a notation without conditions: spelling by name, and extras."""
        raise NotImplementedError

    @abc.abstractmethod
    def node(self, spec: Any, path: str, notes: Notes) -> Node:
        """What one spelling stands for."""

    @abc.abstractmethod
    def native(self, rows: list[Named], extras: dict[str, Any]) -> Any:
        """The outer form: plain data or calls."""

    @abc.abstractmethod
    def text(self, native: Any) -> str:
        """The text of a file with the outer form."""

    def condition(self, choice: Choice, path: str, notes: Notes) -> Any:
        """Spells a choice whose options hold parameters, where the notation `nests`."""
        raise NotImplementedError

    def sequence(self, sequence: Sequence, path: str, notes: Notes) -> Any:
        """Spells a list that holds parameters, where the notation `nests`."""
        raise NotImplementedError

    def carrying(self, spec: Any, leaf: Parameter | Choice | Constant) -> Any:
        """A spelling that holds, unseen by the library, the law that it only comes near to.

        Returns:
            The spelling; None where the notation has no room for it.
        """
        return None

    def adapted(self, extras: dict[str, Any], rows: list[Named], notes: Notes) -> dict[str, Any]:
        """The extras of a space that was changed since it was read."""
        return extras

    def read(self, source: Any, notes: Notes | None = None) -> Translation[Experiment]:
        """Reads live objects of the library, or the data that `write` makes.

        Raises:
            SpecError: Something is malformed; the message names the parameter.
            UnsupportedError: Something cannot be translated.
        """
        notes = Notes() if notes is None else notes
        rows, extras = self.rows(source, notes)
        nodes = self._nodes(rows, notes)
        space, nested = tree_of(nodes, lists=not self.nests)
        _remark_branches(nested, notes)
        if not self.nests:
            _remark_lists(space, notes)
        check_executable(space)
        if any(when for _, _, when in rows):
            again = self._rows(space, {}, Notes())
            if extras or not _same_data(_plain_rows(again), _plain_rows(rows)):
                extras = {**extras, "rows": _plain_rows(rows)}
        else:
            kept = {
                name: spec
                for (name, spec, _), row in zip(rows, nodes, strict=True)
                if not _same_data(self._spell(row.node, "", Notes()), spec)
            }
            extras = {**extras, "specs": kept} if kept else extras
        frozen = Frozen({self.name: extras}) if extras else EMPTY
        return Translation(Experiment(space=space, num_samples=None, extras=frozen), notes)

    def _nodes(self, rows: list[Named], notes: Notes) -> list[Row]:
        found = []
        for name, spec, when in rows:
            parts = tuple(name.split(self.separator))
            with at_path(".".join(parts)):
                found.append(Row(parts, self.node(spec, ".".join(parts), notes), when))
        return found

    def _kept(self, own: dict[str, Any], space: Group) -> list[Named] | None:
        """The rows that were read, if they still say the space."""
        rows: list[Named] = [
            (name, spec, _mapped(when)) for name, spec, when in own.get("rows", ())
        ]
        if rows and tree_of(self._nodes(rows, Notes()), lists=not self.nests)[0] == space:
            return rows
        return None

    def write(self, experiment: Experiment) -> Translation[Any]:
        """Writes the space; a note says what of the experiment has no place here.

        Raises:
            UnsupportedError: The space has something in it that cannot be written near enough, or
                a name that cannot be written.
        """
        check_executable(experiment.space)
        notes = Notes()
        own = experiment.extras.value.get(self.name, {})
        extras = {key: value for key, value in own.items() if key not in ("specs", "rows")}
        rows = self._kept(own, experiment.space)
        if rows is None:
            rows = self._rows(experiment.space, own.get("specs", {}), notes)
            extras = self.adapted(extras, rows, notes) if extras else extras
        self._unsaid(experiment, notes)
        return Translation(self.native(rows, extras), notes)

    def _rows(self, space: Group, kept: dict[str, Any], notes: Notes) -> list[Named]:
        """The spelling of all that a space holds."""
        if self.nests:
            leaves = [Row(name, leaf, path=".".join(name)) for name, leaf in spread(space, "/")]
        else:
            leaves = rows_of(space, unions=self.unions)
            _remark_names(space, "", notes)
            if not self.conditional:
                self._remark_selectors(leaves, notes)
        found: dict[Name, Named] = {}
        for row in leaves:
            if any(self.separator in part for part in row.name):
                raise _separated(row.path, self.separator)
            name = self.separator.join(row.name)
            if name in kept and self.node(kept[name], row.path, Notes()) == row.node:
                spec = kept[name]
            else:
                spec = self._spell(row.node, row.path, notes)
            if spec is None:
                continue
            when = {key: values for key, values in row.when.items() if key in found}
            if when and not self.conditional:
                notes.approximated(
                    row.path, "sampled always", f"it counts only where {_sentence(when)}"
                )
                when = {}
            found[row.name] = name, spec, when
        return list(found.values())

    def _remark_selectors(self, rows: list[Row], notes: Notes) -> None:
        selectors = {name for row in rows for name in row.when}
        for row in rows:
            if row.name in selectors:
                notes.approximated(
                    row.path,
                    f"every option, and the one that counts as {'/'.join(row.name)}",
                    f"{self.title} have no conditions",
                )

    def source(self, experiment: Experiment) -> Translation[str]:
        """Writes the text of a file.

        Raises:
            UnsupportedError: As `write`.
        """
        written = self.write(experiment)
        return Translation(self.text(written.value), written.notes)

    def _unsaid(self, experiment: Experiment, notes: Notes) -> None:
        default = Experiment(space=Group())
        for name in Experiment.__struct_fields__:
            value = getattr(experiment, name)
            if name in ("space", "extras", "space_in") or value == getattr(default, name):
                continue
            if name != "num_samples" or value is not None:
                notes.approximated(name, "left out", f"{self.title} hold a space and nothing else")
        for name in experiment.extras.value:
            if name != self.name:
                notes.approximated(
                    f"extras.{name}", "left out", f"they belong to another notation, {name}"
                )

    # One leaf --------------------------------------------------------------------------------

    def _spell(self, leaf: Node, path: str, notes: Notes) -> Any:
        if isinstance(leaf, Operation):
            leaf = self._operation(leaf, path, notes)
        if isinstance(leaf, Parameter | Choice):
            self._remark_draw(leaf, path, notes)
        if isinstance(leaf, Choice) and not leaf.plain:
            return self.condition(leaf, path, notes)
        if isinstance(leaf, Sequence):
            return self.sequence(leaf, path, notes)
        leaf, named = _by_name(leaf)
        if named:
            notes.approximated(path, "functions by their names", "they are found in the program")
        best: tuple[float, Any, Node] | None = None
        for kind, values in proposals(leaf):
            maker = self.makers.get(kind)
            spec = None if maker is None else maker(**values)
            if spec is None:
                continue
            says = self.node(spec, path, Notes())
            away = score(leaf, says)
            if best is None or away < best[0]:
                best = away, spec, says
            if away < SAME:
                break
        if best is None:
            notes.lost(path, "left out", f"{self.title} have no form for it")
            return None
        exact = self.carrying(best[1], _bare(leaf)) if best[0] >= SAME else None
        self._remark(leaf, best, path, notes, exact is not None)
        return best[1] if exact is None else exact

    def trusted(self, leaf: Node, spec: Any) -> bool:
        """Whether `spec`, without what it carries, is still what would be written for `leaf`."""
        return _same_data(self._spell(leaf, "", Notes()), spec)

    def _operation(self, operation: Operation, path: str, notes: Notes) -> Choice:
        """The one operation that has a law of its own."""
        leaf = whole(operation)
        if not isinstance(leaf, Choice):
            raise UnsupportedError(
                f"the operation {operation.name}, and {self.title} draw and do nothing else",
                path=path,
                hint="search its arguments and do it in the program",
            )
        notes.exact(path, "the integer part of a parameter, by its values")
        return leaf

    def _remark_draw(self, leaf: Parameter | Choice, path: str, notes: Notes) -> None:
        """What a notation that samples each name by itself does not say."""
        if leaf.grid:
            notes.approximated(path, "sampled instead of enumerated", f"{self.title} have no grid")
        if leaf.shared:
            notes.lost(
                path,
                f"drawn apart from the other places of {leaf.label!r}",
                f"{self.title} draw every name by itself",
                "take the value from the other name in the program",
            )
        elif leaf.label is not None:
            notes.exact(path, "without its label", "a parameter is known by its name here")

    def _remark(
        self, leaf: Node, best: tuple[float, Any, Node], path: str, notes: Notes, carried: bool
    ) -> None:
        away, spec, says = best
        shown = f"as {short(self.show(spec), 80)}"
        if away < SAME:
            if isinstance(leaf, Parameter) and isinstance(says, Choice):
                notes.exact(path, shown, "the same law; a searcher does not see the order")
            return
        away = shape(leaf, says)
        why = f"total variation distance {away:.2g}"
        if unrounded(leaf, says):
            before = f"{why}, and " if away > SAME else ""
            why = f"{before}{self.title} do not round it: {gap(leaf)}"
        if missing(leaf, says) or away > FAR:
            notes.lost(path, shown, why)
        elif carried:
            notes.carried(path, shown, f"{why}; the law itself is in its meta data")
        else:
            notes.approximated(path, shown, why)

    def show(self, spec: Any) -> object:
        """A spelling as a person would write it, by its `repr`."""
        return spec


def _remark_branches(nested: dict[Name, list[Name]], notes: Notes) -> None:
    """Says how a program that reads names beside each other goes on, outer selectors first."""
    inner = {name for names in nested.values() for name in names}
    for selector, names in reversed(nested.items()):
        *home, last = selector
        below = ", ".join(dict.fromkeys(name[-1] for name in names))
        place = "config" + "".join(f"[{part!r}]" for part in home)
        branch = f"{place}.get({last!r}, {{}})" if selector in inner else f"{place}[{last!r}]"
        hint = f"read {place}[{last!r}][{last!r}] in the program"
        if all(list(name[: len(home)]) == home for name in names):
            hint += (
                f", or begin it with {place} |= {branch}, which puts all names beside each other"
            )
        notes.approximated(
            ".".join(selector),
            f"a mapping of {last} and what depends on it: {below}",
            "the value of a condition is its branch",
            hint,
        )


def _remark_lists(space: Group, notes: Notes) -> None:
    for place in walk(space):
        if isinstance(place.node, Sequence):
            count = len(place.node.items)
            notes.exact(place.path, f"a list of {count}", "the names say so: 0, 1, ...")


def _remark_names(node: Node, path: str, notes: Notes) -> None:
    """Names what the names of items do not keep: tuples, and mappings with numbers for names."""
    group = as_group(node)
    if group is not None:
        if path and is_numbered(name for name, _ in group.items):
            notes.approximated(path, "a list", "names that are numbers stand for the items of one")
        for name, child in group.items:
            _remark_names(child, f"{path}.{name}" if path else name, notes)
    elif isinstance(node, Sequence):
        if node.kind == "tuple":
            notes.approximated(path, "a list", "the names of its items do not say: a tuple")
        for index, item in enumerate(node.items):
            _remark_names(item, f"{path}[{index}]", notes)
    elif isinstance(node, Choice) and not node.plain:
        for index, option in enumerate(node.options):
            _remark_names(option, f"{path}[{index}]", notes)


def _bare(leaf: Node) -> Any:
    """A leaf as it is drawn, without its label."""
    if isinstance(leaf, Parameter):
        return Parameter(leaf.distribution)
    return Choice(leaf.options, leaf.weights) if isinstance(leaf, Choice) else leaf


def _by_name(leaf: Node) -> tuple[Node, bool]:
    """A leaf with text in place of references, and whether there are any."""
    if isinstance(leaf, Constant):
        value, found = _without_references(leaf.value)
        return (Constant.of(value), True) if found else (leaf, False)
    if not isinstance(leaf, Choice):
        return leaf, False
    pairs = [_by_name(option) for option in leaf.options]
    if not any(named for _, named in pairs):
        return leaf, False
    return Choice(tuple(o for o, _ in pairs), leaf.weights, leaf.label, leaf.grid), True


def _without_references(value: Any) -> tuple[Any, bool]:
    if isinstance(value, Reference):
        return str(value), True
    if isinstance(value, dict):
        items = {key: _without_references(item) for key, item in value.items()}
        return {k: item for k, (item, _) in items.items()}, any(f for _, f in items.values())
    if type(value) in (list, tuple):
        pairs = [_without_references(item) for item in value]
        return type(value)(item for item, _ in pairs), any(found for _, found in pairs)
    return value, False


def _same_data(one: Any, other: Any) -> bool:
    try:
        return Frozen(one) == Frozen(other)
    except SpecError:
        return False


def _sentence(when: When) -> str:
    """A condition as text: ``model/branch is 'svm'``."""
    parts = []
    for name, values in when.items():
        shown = short(values[0]) if len(values) == 1 else f"one of {short(list(values))}"
        parts.append(f"{'/'.join(name)} is {shown}")
    return " and ".join(parts)


def _plain_rows(rows: list[Named]) -> list[Any]:
    """Rows as plain data, in one order."""
    return [
        [name, spec, [[list(key), list(values)] for key, values in when.items()]]
        for name, spec, when in sorted(rows, key=lambda row: row[0])
    ]


def _mapped(when: list[Any]) -> When:
    return {tuple(name): tuple(values) for name, values in when}


def _separated(path: str, separator: str) -> UnsupportedError:
    return UnsupportedError(
        f"the name of a parameter holds {separator!r}, which joins the names of groups here",
        path=path,
        hint="rename it",
    )


def spread(
    node: Node, separator: str, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Node]]:
    """Leaves with their paths; a constant mapping counts as a group of constants.

    Raises:
        UnsupportedError: A name holds the separator.
    """
    if path and separator in path[-1]:
        raise _separated(".".join(path), separator)
    value = node.value if isinstance(node, Constant) else None
    if isinstance(value, dict) and value and all(isinstance(key, str) for key in value):
        node = Group(tuple((key, Constant.of(item)) for key, item in value.items()))
    if isinstance(node, Group):
        for name, child in node.items:
            yield from spread(child, separator, (*path, name))
    else:
        yield path, node


def options(values: Any, weights: Any = None, path: str = "") -> Node:
    """A choice of plain values; a single one is a constant.

    Raises:
        SpecError: No list, or nothing in it.
    """
    if not isinstance(values, list | tuple) or not values:
        raise SpecError("no options", path=path, found=short(values), expected="a list of values")
    nodes = tuple(Constant.of(value, f"{path}[{i}]") for i, value in enumerate(values))
    if len(nodes) == 1 and not isinstance(nodes[0].value, dict):
        return nodes[0]
    if weights is not None:
        try:
            total = math.fsum(weights)
            weights = tuple(float(weight) / total for weight in weights)
        except (TypeError, ValueError, ZeroDivisionError):
            raise SpecError(
                "weights", path=path, found=short(weights), expected="numbers"
            ) from None
        if max(weights) - min(weights) < 1e-15:
            weights = None
    return Choice(nodes, weights)


def whole_log_range(low: float, high: float, log: bool) -> tuple[int, int] | None:
    """The integers whose halves a rounded log range runs between; None for any other range."""
    first, last = low + 0.5, high - 0.5
    if not log or first < 1 or first != int(first) or last != int(last):
        return None
    return int(first), int(last)


def unknown(what: str, word: object, known: Any) -> SpecError:
    """An error about a word that the notation does not have."""
    return SpecError(
        f"unknown {what}",
        found=repr(word),
        expected=f"one of {', '.join(known)}",
        hint=suggest(str(word), list(known)),
    )
