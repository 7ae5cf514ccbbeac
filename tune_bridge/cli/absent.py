"""Stand-ins for modules that a captured file imports and that are not installed here.

A program that trains imports much that its space does not need. `Absence` gives such a module a
stand-in once its absence has ended the file, so that ``try: import`` with an ``except ImportError``
stays what it is. What is taken from a stand-in can be called, inherited from, used as a decorator
or an annotation and handed on; it is named as the real thing would be. What needs its value ends
the file, as it does for the result of a search (`intercept.Unrun`).
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Iterable, Sequence
from typing import Any

from tune_bridge.cli.intercept import Ended, Unrun

__all__ = ["Absence"]

_ANSWERS = {"is_available": False, "device_count": 0}
"""What programs ask a library about the machine: none of it is there without the library."""


class _Absent(Unrun):
    """Something of a module that is not installed.

    Args:
        module: The module.
        name: Its name therein, dotted; with brackets where it is made of such a thing.
    """

    _state = "not installed"
    __fspath__ = None  # it may be a function: nobody shall take it for a path

    def __init__(self, module: str, name: str) -> None:
        super().__init__(f"{module}.{name}")
        here: dict[str, Any] = vars(self)
        here["_place"] = (module, name)
        if not set(name) & set("[("):
            last = name.rpartition(".")[2]
            here |= {"__module__": module, "__qualname__": name, "__name__": last}

    @property
    def _why(self) -> str:
        return f"it needs {self._text}, and {_root(self._place[0])} is not installed here"

    def _part(self, text: str) -> Any:
        module, name = self._place
        return vars(self).setdefault(text, _Absent(module, name + text))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._part(f".{name}")

    def __getitem__(self, key: Any) -> Any:
        return self._part(f"[{key!r}]")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Gives a decorated function or class as it is, and else one more stand-in."""
        if len(args) == 1 and not kwargs and isinstance(args[0], types.FunctionType | type):
            return args[0]
        last = self._place[1].rpartition(".")[2]
        return _ANSWERS[last] if last in _ANSWERS else self._part("(...)")

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        first = next(base for base in bases if isinstance(base, _Absent))
        return (_Base,) if self is first else ()

    def __bool__(self) -> bool:
        # Libraries ask whether they were given something; what the file asks needs the value.
        if sys._getframe(1).f_globals.get("__name__") != "__main__":
            return True
        raise Ended(self._why)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Ray pickles trainables to look at them, with all that they mention.
        return str, (self._text,)

    def __instancecheck__(self, value: Any) -> bool:
        return False

    def __subclasscheck__(self, value: Any) -> bool:
        return False

    def __or__(self, other: Any) -> Any:
        return self

    __ror__ = __or__


class _Base:
    """What classes of the file inherit from in place of a class that is not there."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __init_subclass__(cls, **kwargs: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(type(self).__module__, f"{type(self).__qualname__}.{name}")


class _Module(types.ModuleType):
    def __init__(self, name: str) -> None:
        super().__init__(name, "A module that is not installed here.")
        self.__path__: list[str] = []
        self.__version__ = _Absent(name, "__version__")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = _Absent(self.__name__, name)
        setattr(self, name, value)
        return value


class Absence(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules that nobody else finds, out of those that it was told of.

    Args:
        needed: Libraries that are never stood in for as a whole.

    Attributes:
        names: The modules that it stands in for.
    """

    def __init__(self, needed: Iterable[str]) -> None:
        self.names: list[str] = []
        self._needed = frozenset(needed)

    def add(self, name: str | None) -> bool:
        """Stands in for one more module from now on.

        Returns:
            Whether it can, and did not yet.
        """
        if not name or name in self.names or name in self._needed:
            return False
        if not self.names:
            sys.meta_path.append(self)
        self.names.append(name)
        return True

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A stand-in for one of `names`, or a module of one."""
        if any(f"{name}.".startswith(f"{known}.") for known in self.names):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """A module that has everything, by name."""
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is left to do."""


def _root(name: str) -> str:
    return name.partition(".")[0]
