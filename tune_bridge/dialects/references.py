"""Functions and classes by reference: ``module:qualname`` in place of an object.

A reference is text. It is imported only where live objects are asked for (`calls.build`): no reader
of a file, and nothing that only translates, imports what a file names.
"""

from __future__ import annotations

import sys
from typing import Any

from tune_bridge.dialects.calls import Signature
from tune_bridge.errors import SpecError, UnsupportedError
from tune_bridge.values import Reference, shorten

__all__ = ["importable", "live_values", "reference"]


def importable(value: Any, path: str, *, main: bool = True) -> str:
    """``module:qualname`` of a function, a class, or a named optimizer of Nevergrad.

    Args:
        value: The function or class, or a recorded one.
        path: Where it stands, for the error.
        main: Whether it may be defined in the program that was started, and so be found again only
            from there.

    Raises:
        UnsupportedError: It cannot be imported by name.
    """
    if isinstance(value, Signature):
        return f"{value.module}:{value.name}"
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "name", None)
    if module and module.startswith("nevergrad."):
        module = "nevergrad.optimization.optimizerlib"
    problem = ""
    if not callable(value) or not module or not isinstance(name, str):
        problem = "this is neither a function nor a class"
    elif "<lambda>" in name:
        problem = "a lambda has no name to import it by"
    elif "<locals>" in name:
        problem = "a function inside a function cannot be imported"
    elif module == "__main__" and not main:
        problem = "a function of the program that was started cannot be imported from elsewhere"
    elif module in sys.modules and _look_up(module, name) is not value:
        problem = f"{module} has another {name}, or none"
    if problem:
        raise UnsupportedError(
            problem,
            path=path,
            found=name if isinstance(name, str) else shorten(value),
            expected="a function or class importable by name",
            hint="define it at the top level of a module of its own and import it, or search over "
            "its name and look it up in the program",
        )
    return f"{module}:{name}"


def _look_up(module: str, name: str) -> Any:
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


class _Named(Signature):
    """Something that a file or a program names."""

    path = ""

    def resolve(self) -> Any:
        """What is named, imported.

        Raises:
            SpecError: It cannot be imported.
        """
        try:
            return super().resolve()
        except (ImportError, AttributeError) as error:
            raise SpecError(
                f"{self.module}:{self.name} cannot be imported",
                path=self.path,
                found=str(error),
                expected="module:name, importable from here",
            ) from None


def reference(text: str, path: str = "") -> Signature:
    """The importable thing that ``module:qualname`` names; nothing is imported yet.

    Raises:
        SpecError: The text, which may come from a file, is no such name.
    """
    module, colon, name = text.partition(":")
    parts = [*module.split("."), *name.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise SpecError(
            "no reference to a function", path=path, found=repr(text), expected="module:qualname"
        )
    named = _Named(name, module, "*args, **kwargs")
    named.path = path
    return named


def live_values(value: Any, path: str = "") -> Any:
    """A plain value with a `Signature` in place of every `Reference`, which `build` imports."""
    if isinstance(value, Reference):
        return reference(value, path)
    if isinstance(value, dict):
        return {live_values(k, path): live_values(item, path) for k, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(live_values(item, path) for item in value)
    return value
