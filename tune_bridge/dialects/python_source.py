"""Rendering calls and plain values as the text of a Python program.

Calls keep the names of their libraries and bring the imports that they need. Lines are broken as
``ruff format`` breaks them: one item a line, with a trailing comma, where a line would be too long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from tune_bridge.dialects.calls import Call, Signature

__all__ = ["Program"]

_WIDTH = 88
_STANDARD = frozenset({"functools", "math", "subprocess", "sys"})

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

    def import_name(self, module: str, name: str) -> None:
        """Adds ``from module import name``."""
        self._names.setdefault(self._rename(module), set()).add(name)

    def import_module(self, module: str) -> None:
        """Adds ``import module``."""
        self._modules.add(module)

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
        """Opening, items and closing of something that can be broken over lines."""
        if isinstance(value, Call):
            named = self._named(value)
            return (
                f"{self._callable(value.signature)}(",
                [f"{name}{self.text(item, indent, len(name))}" for name, item in named],
                ")",
            )
        if isinstance(value, dict) and value:
            keys = [(f"{self._flat(key)}: ", item) for key, item in value.items()]
            return "{", [f"{key}{self.text(item, indent, len(key))}" for key, item in keys], "}"
        if isinstance(value, list | tuple) and value:
            brackets = ("[", "]") if isinstance(value, list) else ("(", ")")
            return brackets[0], [self.text(item, indent) for item in value], brackets[1]
        return None

    def _flat(self, value: Any) -> str:
        if isinstance(value, Signature):
            return self._callable(value)
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
        if signature.module != "__main__":
            self.import_name(signature.module, signature.root)
        return signature.name


def quote(text: str) -> str:
    """A string literal, in double quotes unless it holds some."""
    plain = repr(text)
    if plain[0] == "'" and '"' not in text:
        return f'"{plain[1:-1]}"'.replace("\\'", "'")
    return plain
