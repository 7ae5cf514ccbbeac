"""Rendering calls and plain values as the text of a Python program.

Calls keep the names of their libraries and bring the imports that they need. Lines are broken as
``ruff format`` breaks them: one item a line, with a trailing comma, where a line would be too long.
"""

from __future__ import annotations

import keyword
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tune_bridge.dialects.calls import Call, Signature

__all__ = ["Program"]

_WIDTH = 88
_STANDARD = frozenset({"functools", "math", "subprocess", "sys"})

_INFIX = {
    "scope.add": "+",
    "scope.sub": "-",
    "scope.mul": "*",
    "scope.truediv": "/",
    "scope.floordiv": "//",
    "scope.pow": "**",
}
"""Calls that people write with an operator; HyperOpt has no ``1 // node`` and no ``2 ** node``."""

_POSITIONAL = ("hp.randint", "random.default_rng")
"""Calls whose optional arguments people do not name."""


class Program:
    """A program that is being written.

    Args:
        doc: The docstring.
        rename: Module to import from instead of the one in a signature (the recording twins).
    """

    def __init__(self, doc: str, rename: Callable[[str], str] = lambda module: module) -> None:
        self._doc = doc
        self._rename = rename
        self._modules: set[str] = set()
        self._names: dict[str, set[str]] = {}
        self._body: list[tuple[int, str]] = []
        self._variables: dict[int, str] = {}

    def import_name(self, module: str, name: str) -> None:
        """Adds ``from module import name``."""
        self._names.setdefault(self._rename(module), set()).add(name)

    def import_module(self, module: str) -> None:
        """Adds ``import module``."""
        self._modules.add(module)

    def share(self, value: Any, taken: Iterable[str] = ()) -> None:
        """Assigns the labelled calls that stand in several places of a value to variables.

        Wherever the value is written later, the variables stand in their places.

        Args:
            value: Plain values and calls.
            taken: Names that the program uses.
        """
        names = {*taken, "fmin", "hp", "pyll", "rand", "scope", "tpe", "tune", "np"}
        for call in _repeated(value):
            name = variable = _identifier(str(call.arguments["label"]))
            number = 2
            while variable in names:
                variable, number = f"{name}_{number}", number + 1
            names.add(variable)
            self.assign(variable, call)
            self._variables[id(call)] = variable

    def assign(self, name: str, value: Any) -> None:
        """Adds ``name = value``."""
        self.add(f"{name} = {self.text(value, used=len(name) + 3)}")

    def add(self, text: str) -> None:
        """Adds lines as they are."""
        self._body.append((1, text.strip("\n") + "\n"))

    def define(self, text: str) -> None:
        """Adds a function."""
        self._body.append((2, text.strip("\n") + "\n"))

    def __str__(self) -> str:
        names = [
            (module, f"from {module} import {', '.join(sorted(found))}")
            for module, found in self._names.items()
        ]
        plain = [(module, f"import {module}") for module in self._modules]
        # isort's order: the standard library first, then plain imports before from-imports.
        standard = [text for module, text in sorted(plain) if module in _STANDARD]
        standard += [text for module, text in sorted(names) if module in _STANDARD]
        others = [text for module, text in sorted(plain) if module not in _STANDARD]
        others += [text for module, text in sorted(names) if module not in _STANDARD]
        head = [f'"""{self._doc}"""', "\n".join(standard), "\n".join(others)]
        text, before = "\n\n".join(filter(None, head)) + "\n", 1
        for blank, part in self._body:
            text += "\n" * max(blank, before) + part
            before = blank
        return text

    def text(self, value: Any, indent: int = 0, used: int = 0) -> str:
        """The source of a value.

        Args:
            value: Plain values, calls, and signatures (the callable itself).
            indent: Columns that the statement is indented by.
            used: Columns that stand before the value on its first line.
        """
        flat = self._flat(value)
        if indent + used + len(flat) <= _WIDTH:
            return flat
        parts = self._parts(value, indent + 4)
        if parts is None:
            return flat
        opening, items, closing = parts
        pad = " " * (indent + 4)
        lines = "".join(f"{pad}{item},\n" for item in items)
        return f"{opening}\n{lines}{' ' * indent}{closing}"

    def _parts(self, value: Any, indent: int) -> tuple[str, list[str], str] | None:
        """Opening, items and closing of something that can be broken over lines.

        Each item is followed by a comma, which takes a column too.
        """
        if isinstance(value, Call) and id(value) not in self._variables:
            named = self._named(value)
            return (
                f"{self._callable(value.signature)}(",
                [f"{name}{self.text(item, indent, len(name) + 1)}" for name, item in named],
                ")",
            )
        if isinstance(value, dict) and value:
            keys = [(f"{self._flat(key)}: ", item) for key, item in value.items()]
            return "{", [f"{key}{self.text(item, indent, len(key) + 1)}" for key, item in keys], "}"
        if isinstance(value, list | tuple) and value:
            brackets = ("[", "]") if isinstance(value, list) else ("(", ")")
            return brackets[0], [self.text(item, indent, 1) for item in value], brackets[1]
        return None

    def _flat(self, value: Any) -> str:
        if isinstance(value, Signature):
            return self._callable(value)
        if isinstance(value, Call) and id(value) in self._variables:
            return self._variables[id(value)]
        if isinstance(value, Call) and _infix(value):
            left, right = (self._operand(item) for item in value.arguments["args"])
            return f"{left} {_INFIX[value.name]} {right}"
        if isinstance(value, Call):
            items = (f"{name}{self._flat(item)}" for name, item in self._named(value))
            return f"{self._callable(value.signature)}({', '.join(items)})"
        if isinstance(value, dict):
            pairs = (f"{self._flat(key)}: {self._flat(item)}" for key, item in value.items())
            return f"{{{', '.join(pairs)}}}"
        if isinstance(value, list):
            return f"[{', '.join(map(self._flat, value))}]"
        if isinstance(value, tuple):
            comma = "," if len(value) == 1 else ""
            return f"({', '.join(map(self._flat, value))}{comma})"
        if isinstance(value, str):
            return quote(value)
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        return repr(value)

    def _operand(self, value: Any) -> str:
        text = self._flat(value)
        nested = isinstance(value, Call) and id(value) not in self._variables and _infix(value)
        return f"({text})" if nested else text

    def _named(self, call: Call) -> Iterator[tuple[str, Any]]:
        """The arguments with what stands before each: ``name=`` or nothing."""
        shown: list[Any] = []

        def show(value: Any) -> str:
            shown.append(value)
            return ""

        pairs = list(zip(call.argument_list(show), shown, strict=True))
        if call.name in _POSITIONAL:
            pairs = [("", value) for _, value in pairs]
        # Keywords stand in the order in which they were given, not in that of the signature.
        order = [f"{name}=" for name in call.arguments]
        yield from sorted(pairs, key=lambda pair: order.index(pair[0]) if pair[0] in order else -1)

    def _callable(self, signature: Signature) -> str:
        if signature.module in _STANDARD | {"numpy"}:
            alias = {"numpy": "np"}.get(signature.module, signature.module)
            self.import_module("numpy as np" if alias == "np" else signature.module)
            return f"{alias}.{signature.name}"
        if signature.module not in ("__main__", "builtins"):
            self.import_name(signature.module, signature.root)
        return signature.name


def _infix(call: Call) -> bool:
    args = call.arguments.get("args", ())
    if call.name not in _INFIX or len(args) != 2 or call.arguments.get("kwargs"):
        return False
    first, second = (isinstance(item, Call) for item in args)
    return first or (second and _INFIX[call.name] not in ("//", "**"))


def _repeated(value: Any) -> list[Call]:
    """The labelled calls that stand in several places, those inside of others first."""
    uses: Counter[int] = Counter()
    found: list[Call] = []

    def visit(item: Any) -> None:
        if isinstance(item, Call):
            uses[id(item)] += 1
            if uses[id(item)] > 1:
                return
            for argument in item.arguments.values():
                visit(argument)
            if "label" in item.arguments:
                found.append(item)
        elif isinstance(item, dict):
            for entry in item.values():
                visit(entry)
        elif isinstance(item, list | tuple):
            for entry in item:
                visit(entry)

    visit(value)
    return [call for call in found if uses[id(call)] > 1]


def _identifier(label: str) -> str:
    """A variable's name that is near to a label."""
    name = re.sub(r"\W+", "_", label, flags=re.ASCII).strip("_").lower() or "shared"
    name = f"x_{name}" if name[0].isdigit() else name
    return f"{name}_" if keyword.iskeyword(name) or keyword.issoftkeyword(name) else name


def quote(text: str) -> str:
    """A string literal, in double quotes unless it holds some."""
    plain = repr(text)
    if plain[0] == "'" and '"' not in text:
        return f'"{plain[1:-1]}"'.replace("\\'", "'")
    return plain
