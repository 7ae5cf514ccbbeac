"""Reading spaces that are Python objects: recorded calls, live objects and plain values in any mix.

`TreeReader` walks dicts and hands every call to the leaf reader of its name; a live object is first
*recalled*, that is turned into the call that would make it. Which library an object belongs to is
asked of its type's module, so that nothing is imported when no live object is there.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tune_bridge.dialects.calls import Call, Signature
from tune_bridge.dialects.references import importable
from tune_bridge.errors import InputError, SpecError, UnsupportedError
from tune_bridge.experiment import ROOT
from tune_bridge.notes import Notes
from tune_bridge.space import Constant, Group, Node, Sequence
from tune_bridge.values import Reference

__all__ = [
    "LeafReader",
    "TreeReader",
    "anonymous",
    "at_path",
    "join",
    "merge",
    "recall",
    "same",
    "short",
    "type_name",
]

_RECALL = {
    "hyperopt": "tune_bridge.dialects.hyperopt.live",
    "ray": "tune_bridge.dialects.ray_tune.live",
    "tune_bridge": "tune_bridge.dialects.ray_tune.live",
}
"""Top-level package of a live object's type -> module whose ``recall(value, memo)`` knows it."""

_LEAF = frozenset((type(None), bool, int, float, str, bytes))
_PLAIN = _LEAF | {list, tuple, dict, Call}


def recall(value: Any, memo: dict[int, Any]) -> Any:
    """Turns a live object into the call, or the plain value, that it stands for.

    Args:
        value: Anything.
        memo: What objects were turned into, by id, so that one object stays one call.

    Returns:
        A `Call`, a plain value that may hold further live objects, or `value` itself.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if id(value) in memo:
        return memo[id(value)]
    module = _RECALL.get(kind.__module__.partition(".")[0])
    if module is None:
        return value
    known = sys.modules.get(module) or importlib.import_module(module)
    memo[id(value)] = made = known.recall(value, memo)
    return made


def join(path: str, name: object) -> str:
    """A dotted path with one more name."""
    return f"{path}.{name}" if path else str(name)


def short(value: object, width: int = 60) -> str:
    """The text of a value for a message, without addresses in memory."""
    text = anonymous(repr(value))
    return text if len(text) <= width else text[: width - 3] + "..."


def same(value: Any, other: Any) -> bool:
    """Whether two values are equal, also where the answer is an array or an error."""
    if value is other:
        return True
    try:
        return bool(value == other)
    except (TypeError, ValueError):
        return False


def anonymous(text: str) -> str:
    """A text about an object without the address that it happens to have."""
    return _ADDRESS.sub("", text)


_ADDRESS = re.compile(r"(?: object)? at 0x[0-9a-f]+")


def type_name(value: object) -> str:
    """The name of a value's type, with the library it is from."""
    kind = type(value)
    root = kind.__module__.partition(".")[0]
    return kind.__qualname__ if root == "builtins" else f"{root}'s {kind.__qualname__}"


class at_path:  # noqa: N801 - it is used as a statement
    """Puts `path` before the path of an input error that is raised inside."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InputError):
            _place(error, self.path)


def _place(error: InputError, path: str) -> None:
    """Puts `path` before the path of an error, unless it stands there."""
    if error.path != path and not error.path.startswith((f"{path}.", f"{path}[")):
        error.path = join(path, error.path) if error.path else path


LeafReader = Callable[[Call, str, "TreeReader"], Node]


class TreeReader:
    """Reads a nested dict of parameters and constants.

    Args:
        leaves: Reader of a call by the call's name.
        notes: Where remarks go.
        grid: Reader of the list in Tune's ``{"grid_search": [...]}``; None where it means nothing.
    """

    def __init__(
        self,
        leaves: Mapping[str, LeafReader],
        notes: Notes,
        *,
        grid: Callable[[Any, str, TreeReader], Node] | None = None,
    ) -> None:
        self.leaves = leaves
        self.notes = notes
        self.grid = grid
        self.labels: dict[str, tuple[Call, str]] = {}
        self.sharing = False
        self._uses: dict[int, int] = {}
        self._memo: dict[int, Any] = {}

    def whole(self, value: Any) -> tuple[Group, str | None]:
        """Reads a whole space that need not be a mapping.

        Returns:
            The space and its root: for what is no mapping a group with one name, `ROOT`.

        Raises:
            UnsupportedError: It draws nothing, or holds something that cannot be translated.
            SpecError: Something in it is malformed.
        """
        value = self.recall(value)
        if isinstance(value, dict) or not self.holds_call(value):
            return self.root(value), None
        self._count(value)
        return Group(((ROOT, self.node(value, ROOT)),)), ROOT

    def root(self, value: Any) -> Group:
        """Reads a whole space.

        Raises:
            UnsupportedError: It is not a dict, or holds something that cannot be translated.
            SpecError: Something in it is malformed.
        """
        value = self.recall(value)
        if not isinstance(value, dict):
            raise UnsupportedError(
                "a space that is not a dict of parameters",
                found=f"a call of {value.name}" if isinstance(value, Call) else type_name(value),
                expected='a dict such as {"lr": hp.uniform("lr", 0, 1)}',
            )
        self._count(value)
        return self.group(value, "")

    def _count(self, value: Any) -> None:
        """Counts in how many places each call stands, before any of them is read."""
        value = self.recall(value)
        parts: Iterable[Any] = ()
        if isinstance(value, Call):
            uses = self._uses[id(value)] = self._uses.get(id(value), 0) + 1
            parts = value.arguments.values() if uses == 1 else ()
        elif isinstance(value, dict):
            parts = value.values()
        elif isinstance(value, list | tuple):
            parts = value
        for part in parts:
            if type(part) not in _LEAF:
                self._count(part)

    def used_once(self, call: Call) -> bool:
        """Whether a call stands in one place of the space, as far as that was counted."""
        return self._uses.get(id(call), 0) <= 1

    def group(self, value: dict[Any, Any], path: str) -> Group:
        """Reads a dict with names as keys."""
        for key in value:
            if not isinstance(key, str):
                raise UnsupportedError(
                    "a parameter's name is not a string", path=path, found=short(key)
                )
        return Group(
            tuple((str(key), self.node(item, join(path, key))) for key, item in value.items())
        )

    def node(self, value: Any, path: str) -> Node:
        """Reads whatever stands at `path`."""
        value = self.recall(value)
        if isinstance(value, Call):
            name = value.signature.name
            reader = self.leaves.get(name) or self.leaves.get(name.partition(".")[0] + ".*")
            if reader is None:
                raise UnsupportedError(
                    f"{value.name} has no place inside this space", path=path, found=short(value)
                )
            before, self.sharing = self.sharing, self.sharing or not self.used_once(value)
            try:
                return reader(value, path, self)
            except InputError as error:
                _place(error, path)
                raise
            finally:
                self.sharing = before
        if isinstance(value, dict) and value and all(isinstance(key, str) for key in value):
            if self.grid is not None and set(value) == {"grid_search"}:
                return self.grid(value["grid_search"], path, self)
            return self.group(value, path)
        if isinstance(value, list | tuple) and self.holds_call(value):
            items = [self.option(item, f"{path}[{index}]") for index, item in enumerate(value)]
            return Sequence(tuple(items), "tuple" if isinstance(value, tuple) else "list")
        return self.constant(value, path)

    def option(self, value: Any, path: str) -> Node:
        """Reads an option of a choice, or an item of a list: a constant if nothing is drawn in it.

        Raises:
            UnsupportedError: It cannot be translated.
            SpecError: Something in it is malformed.
        """
        value = self.recall(value)
        return self.node(value, path) if self.holds_call(value) else self.constant(value, path)

    def holds_call(self, value: Any) -> bool:
        """Whether a value is or holds a call, or one of Tune's grids in its form as a dict."""
        if type(value) in _LEAF:
            return False
        value = self.recall(value)
        if isinstance(value, Call):
            return True
        if isinstance(value, dict):
            if self.grid is not None and set(value) == {"grid_search"}:
                return True
            return any(map(self.holds_call, value.values()))
        return isinstance(value, list | tuple) and any(map(self.holds_call, value))

    def constant(self, value: Any, path: str) -> Constant:
        """Reads a value that holds no parameter.

        Raises:
            UnsupportedError: It holds a parameter, an object of the author's program, or a function
                that cannot be imported by name.
        """
        plain = self.plain(value, path)
        try:
            return Constant.of(plain, path)
        except SpecError as error:
            raise UnsupportedError(
                error.message,
                path=error.path or path,
                found=anonymous(error.found),
                expected=error.expected,
                hint=error.hint,
            ) from None

    def plain(self, value: Any, path: str) -> Any:
        """Resolves live literals in a value, refers to functions, refuses parameters."""
        if type(value) in _LEAF:
            return value
        value = self.recall(value)
        if isinstance(value, Call):
            raise UnsupportedError(
                "a parameter inside a mapping whose keys are not text",
                path=path,
                found=short(value),
                hint="use text as keys",
            )
        if isinstance(value, dict):
            return {key: self.plain(item, join(path, key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            items = [self.plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
            return tuple(items) if isinstance(value, tuple) else items
        if callable(value) or isinstance(value, Signature):
            return Reference(importable(value, path, main=False))
        return value

    def argument(self, call: Call, name: str, path: str) -> Any:
        """An argument of a leaf call as a plain value.

        Raises:
            SpecError: It was not given and has no default.
            UnsupportedError: It is an expression of other parameters.
        """
        value = call.arguments.get(name, _MISSING)
        if type(value) in _LEAF:
            return value
        value = self.recall(call.get(name, _MISSING))
        if value is _MISSING:
            raise SpecError(
                f"{call.name} without {name}", path=path, expected=f"{call.name}({_usage(call)})"
            )
        if isinstance(value, Call):
            raise UnsupportedError(
                f"{name} of {call.name} is an expression of other parameters",
                path=path,
                found=short(value),
            )
        return value

    def recall(self, value: Any) -> Any:
        """`recall` with this reader's memo."""
        return value if type(value) in _PLAIN else recall(value, self._memo)


_MISSING = object()


def _usage(call: Call) -> str:
    return ", ".join(call.signature.signature.parameters)


def merge(below: Group, above: Group) -> Group:
    """Two trees as one; where both name a leaf, that of `above` holds."""
    items = dict(below.items)
    for name, node in above.items:
        old = items.get(name)
        both = isinstance(old, Group) and isinstance(node, Group)
        items[name] = merge(old, node) if both else node  # type: ignore[arg-type]
    return Group(tuple(items.items()))
