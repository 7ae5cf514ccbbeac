"""What happens to a search that a captured file starts: it is written down, and the file goes on.

`install` puts a finder before Python's own. It loads every module as it would be loaded anyway, and
replaces the functions that start a search (`SEARCHES`, of `libraries`) as soon as their module is
there, so that whoever imports them gets ours. Modules that nobody has any more are made.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from tune_bridge.errors import TuneBridgeError
from tune_bridge.sweep_config import SweepConfig

__all__ = ["Ended", "Entry", "Recorder", "Replacement", "Stopped", "Unrun", "install"]

Replacement = Callable[["Recorder", Any], Any]
"""Makes what stands in place of an attribute, from the recorder and the attribute itself."""


Shim = Callable[[str, "Recorder"], types.ModuleType | None]
"""Makes a module of a name."""


class Stopped(BaseException):
    """A search that cannot be translated; not for the file's own ``except Exception``."""

    def __init__(self, error: TuneBridgeError) -> None:
        super().__init__(str(error))
        self.error = error


class Ended(BaseException):
    """The file wants a value that is not there; its text says why."""


class Entry:
    """One experiment that a file builds.

    Attributes:
        config: The sweep; one of the file's own may change until the file ends.
        line: Where the file builds it, one-based, if known.
        name: The variable that holds it, if any.
    """

    def __init__(self, config: SweepConfig, line: int | None, name: str | None = None) -> None:
        self.config = config
        self.line = line
        self.name = name


class Recorder:
    """The experiments of one file, in the order in which it builds them.

    Args:
        source: The file.

    Attributes:
        entries: The experiments.
        captured: Whether a search was taken instead of being run.
        write: Called after every new one, so that nothing is lost however the file ends.
    """

    def __init__(self, source: str) -> None:
        self.entries: list[Entry] = []
        self.captured = False
        self.write: Callable[[Entry], None] = lambda entry: None
        self._source = source

    def add(self, config: SweepConfig, name: str | None = None) -> None:
        """Adds an experiment, unless this very config is there already."""
        for entry in self.entries:
            if entry.config is config:
                entry.name = entry.name or name
                return
        self.entries.append(Entry(config, None if name else self._line(), name))
        self.write(self.entries[-1])

    def capture(self, make: Callable[[], SweepConfig], what: str) -> Unrun:
        """Adds what `make` says and returns something in place of the search's result.

        Raises:
            Stopped: It cannot be translated.
        """
        try:
            self.add(make())
        except TuneBridgeError as error:
            raise Stopped(error) from None
        self.captured = True
        return Unrun(what)

    def _line(self) -> int | None:
        frame: types.FrameType | None = sys._getframe()
        while frame is not None and frame.f_code.co_filename != self._source:
            frame = frame.f_back
        return frame.f_lineno if frame else None


class Unrun:
    """The result of a search that was not run.

    Attributes, items and calls of it are such a result as well, and its text can be printed: that
    is what most files do with it. What needs a value ends the file: comparing, counting, going
    through it, computing with it.
    """

    _state = "not run"

    def __init__(self, text: str) -> None:
        object.__setattr__(self, "_text", text)

    @property
    def _why(self) -> str:
        return "it uses the result of a search, which was not run"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Unrun(f"{self._text}.{name}")

    def __getitem__(self, key: Any) -> Any:
        return Unrun(f"{self._text}[{key!r}]")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Gives one more of it."""
        return Unrun(f"{self._text}(...)")

    def __setattr__(self, name: str, value: Any) -> None:
        """Goes nowhere."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Goes nowhere."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing was opened."""

    def __repr__(self) -> str:
        return f"<{self._text}: {self._state}>"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __hash__(self) -> int:
        return id(self)


def _end(self: Any, *args: Any) -> NoReturn:
    raise Ended(self._why)


_VALUES = """
    bool int float complex index len iter next contains eq ne lt le gt ge fspath bytes neg pos abs
    invert round trunc add sub mul truediv floordiv mod pow matmul divmod and or xor lshift rshift
    radd rsub rmul rtruediv rfloordiv rmod rpow rmatmul rdivmod rand ror rxor reversed await
    reduce reduce_ex
"""
for _name in _VALUES.split():
    setattr(Unrun, f"__{_name}__", _end)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules as everybody else would, and replaces attributes when they are loaded."""

    def __init__(
        self,
        recorder: Recorder,
        searches: Mapping[str, Mapping[str, Replacement]],
        shim: Shim,
    ) -> None:
        self._recorder = recorder
        self._searches = searches
        self._shim = shim
        self._roots = {name.partition(".")[0] for name in searches}

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in self._roots:
            return None
        spec = self._others(name, path, target)
        if spec is None:
            module = self._shim(name, self._recorder)
            if module is None:
                return None
            return importlib.machinery.ModuleSpec(name, _Made(module), is_package=True)
        if spec.loader is None or name not in self._searches:
            return spec
        load = spec.loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            load(module)
            replace(module, self._searches[name], self._recorder)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def _others(self, *arguments: Any) -> importlib.machinery.ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(*arguments)) is not None:
                return spec
        return None


class _Made(importlib.abc.Loader):
    """Loads a module that is complete already."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return self._module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is left to do."""


def replace(module: Any, replacements: Mapping[str, Replacement], recorder: Recorder) -> None:
    """Replaces attributes (dotted) of a module; those that this version lacks are left out."""
    for path, make in replacements.items():
        *parents, name = path.split(".")
        holder = module
        for parent in parents:
            holder = getattr(holder, parent, None)
        if hasattr(holder, name):
            setattr(holder, name, make(recorder, getattr(holder, name)))


def install(
    recorder: Recorder, searches: Mapping[str, Mapping[str, Replacement]], shim: Shim
) -> None:
    """Puts the finder in place, and replaces in modules that are loaded already.

    Args:
        recorder: Where searches go.
        searches: Module -> attribute (dotted) -> replacement.
        shim: Makes a module that there is none of, or None.
    """
    sys.meta_path.insert(0, _Finder(recorder, searches, shim))
    for name, replacements in searches.items():
        if name in sys.modules:
            replace(sys.modules[name], replacements, recorder)
