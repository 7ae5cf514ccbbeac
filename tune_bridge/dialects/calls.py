"""Calls as values: what a notation that is a Python library says, without loading the library.

`tune.uniform(0, 1)` and `HyperOptSearch(metric="loss")` are calls of named things with bound
arguments. The recording twins (`tune_bridge.tune`, `tune_bridge.hyperopt`) make `Call` values; live
objects of the real libraries are read back to the same values; writers make them, and `build` turns
them into live objects while `source` turns them into a program. So each notation has one reader and
one writer.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

from tune_bridge.errors import SpecError

__all__ = ["Call", "Signature", "parse_signatures", "recorder"]


class Signature:
    """A callable of a library, known by name, place and parameters.

    Args:
        name: How people write it, dotted for a namespace: ``tune.uniform``, ``hp.choice``,
            ``ASHAScheduler``.
        module: The module that it is imported from, or for a dotted name the module or object's
            module that its first part is imported from (``from ray import tune``).
        parameters: The text of a parameter list, as in a ``def``.
        makers: A module of ours whose ``MAKERS`` have a quicker function of this name, which
            makes the same.
    """

    def __init__(self, name: str, module: str, parameters: str, makers: str = "") -> None:
        self.name = name
        self.module = module
        self.parameters = parameters
        self.makers = makers

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """The parameters as `inspect` knows them."""
        scope: dict[str, Any] = {}
        exec(f"def f({self.parameters}): ...", {}, scope)  # noqa: S102 - our own table, never input
        return inspect.signature(scope["f"])

    @functools.cached_property
    def _plain(self) -> tuple[tuple[str, ...], frozenset[str]] | None:
        """Names, and those without a default, where every argument can be given by position."""
        parameters = self.signature.parameters.values()
        if any(p.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters):
            return None
        needed = (p.name for p in parameters if p.default is inspect.Parameter.empty)
        return tuple(p.name for p in parameters), frozenset(needed)

    @property
    def root(self) -> str:
        """What has to be imported from `module`."""
        return self.name.split(".")[0]

    def resolve(self) -> Any:
        """The live callable.

        Raises:
            ImportError: The library is not installed.
        """
        # Python's own import takes as long as a call of the function, loaded or not.
        module = sys.modules.get(self.module) or importlib.import_module(self.module)
        target: Any = getattr(module, self.root, None)
        if target is None:
            target = importlib.import_module(f"{self.module}.{self.root}")
        for part in self.name.split(".")[1:]:
            target = getattr(target, part)
        return target

    def maker(self) -> Any:
        """What makes the object: the live callable, or ours that is quicker.

        Raises:
            ImportError: The library is not installed.
        """
        if not self.makers:
            return self.resolve()
        return importlib.import_module(self.makers).MAKERS[self.name]

    def call(self, *args: Any, **kwargs: Any) -> Call:
        """Records a call.

        Raises:
            TypeError: The arguments do not fit, with Python's own message.
        """
        arguments = self._bind(args, kwargs)
        if arguments is None:
            try:
                arguments = self.signature.bind(*args, **kwargs).arguments
            except TypeError as error:
                raise TypeError(f"{self.name}() {error}") from None
        return Call(self, dict(arguments))

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """What `inspect` would bind, an order of magnitude sooner; None where it has to say."""
        if self._plain is None:
            return None
        names, needed = self._plain
        arguments = dict(zip(names, args, strict=False))
        if len(args) > len(names) or not needed <= (arguments.keys() | kwargs.keys()):
            return None
        if not kwargs:
            return arguments
        if not kwargs.keys() <= set(names[len(args) :]):
            return None
        return arguments | {name: kwargs[name] for name in names if name in kwargs}

    def invoke(self, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        """Calls `function` with bound arguments: by position as far as they come without a gap."""
        if self._plain is None:
            bound = self.signature.bind_partial()
            bound.arguments.update(arguments)
            return function(*bound.args, **bound.kwargs)
        if tuple(arguments) == self._plain[0][: len(arguments)]:
            return function(*arguments.values())
        args = []
        for name in self._plain[0]:
            if name not in arguments:
                break
            args.append(arguments[name])
        given = self._plain[0][: len(args)]
        return function(*args, **{k: v for k, v in arguments.items() if k not in given})

    def __repr__(self) -> str:
        return self.name


class Call:
    """One recorded call.

    Attributes:
        signature: What was called.
        arguments: Bound arguments by parameter name, only those given; ``*args`` as a tuple,
            ``**kwargs`` as a dict under their own names.
    """

    __slots__ = ("arguments", "signature")

    def __init__(self, signature: Signature, arguments: dict[str, Any]) -> None:
        self.signature = signature
        self.arguments = arguments

    @property
    def name(self) -> str:
        """What was called: ``tune.uniform``."""
        return self.signature.name

    def get(self, name: str, default: Any = None) -> Any:
        """An argument as given, or the default in the signature, or `default`."""
        if name in self.arguments:
            return self.arguments[name]
        parameter = self.signature.signature.parameters.get(name)
        if parameter is None or parameter.default is inspect.Parameter.empty:
            return default
        return parameter.default

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(self.argument_list(repr))})"

    def __add__(self, other: Any) -> Any:
        return self._operate("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return self._operate("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return self._operate("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return self._operate("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return self._operate("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return self._operate("mul", other, self)

    def __truediv__(self, other: Any) -> Any:
        return self._operate("truediv", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._operate("truediv", other, self)

    def __floordiv__(self, other: Any) -> Any:
        return self._operate("floordiv", self, other)

    def __pow__(self, other: Any) -> Any:
        return self._operate("pow", self, other)

    def __rpow__(self, other: Any) -> Any:
        return self._operate("pow", other, self)

    def __neg__(self) -> Any:
        return self._operate("neg", self)

    def _operate(self, name: str, *operands: Any) -> Any:
        """HyperOpt's nodes take Python's operators; other libraries' objects do not."""
        if self.name.partition(".")[0] not in ("hp", "scope"):
            return NotImplemented
        signature = Signature(f"scope.{name}", "hyperopt.pyll", "*args, **kwargs")
        return Call(signature, {"args": operands})

    def argument_list(self, show: Callable[[Any], str]) -> Iterator[str]:
        """The arguments as source text: required ones by position, then by name."""
        positional = True
        for name, parameter in self.signature.signature.parameters.items():
            if name not in self.arguments:
                positional = False
                continue
            value = self.arguments[name]
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                yield from (show(item) for item in value)
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                yield from (f"{key}={show(item)}" for key, item in value.items())
            elif (
                positional
                and parameter.default is inspect.Parameter.empty
                and parameter.kind is not inspect.Parameter.KEYWORD_ONLY
            ):
                yield show(value)
            else:
                yield f"{name}={show(value)}"


def build(value: Any) -> Any:
    """Turns calls into live objects, inside lists, tuples, dicts and arguments; the rest stays.

    A bare `Signature` stands for the callable itself, such as a trainable.

    A `Call` object that occurs twice is built once, so that a shared node stays shared.

    Raises:
        ImportError: A library is not installed.
    """
    return _Builder().make(value)


class _Builder:
    """Makes each call, and looks up each function, once."""

    def __init__(self) -> None:
        self.made: dict[int, Any] = {}
        self.functions: dict[Signature, Any] = {}

    def make(self, item: Any) -> Any:
        kind = type(item)
        if kind is str or kind is int or kind is float:
            return item
        if kind is Call:
            made = self.made.get(id(item), self)
            if made is self:
                made = self.made[id(item)] = self._invoke(item)
            return made
        if isinstance(item, Signature):
            return item.resolve()
        if isinstance(item, dict):
            return {key: self.make(entry) for key, entry in item.items()}
        if isinstance(item, list):
            return [self.make(entry) for entry in item]
        if kind is tuple:
            return tuple(self.make(entry) for entry in item)
        return item

    def _invoke(self, call: Call) -> Any:
        signature = call.signature
        arguments = {name: self.make(value) for name, value in call.arguments.items()}
        function = self.functions.get(signature)
        if function is None:
            function = self.functions[signature] = signature.maker()
        return signature.invoke(function, arguments)


def parse_signatures(module: str, text: str, prefix: str = "") -> dict[str, Signature]:
    """Reads a table of signatures, one ``name(parameters)`` per line.

    Args:
        module: Where the names (or, with `prefix`, the prefix) are imported from.
        text: The lines; blank ones are skipped.
        prefix: Put before each name, with a dot: "tune".

    Returns:
        Signature by full name.

    Raises:
        SpecError: A line has another form.
    """
    table: dict[str, Signature] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, bracket, rest = line.partition("(")
        if not bracket or not rest.endswith(")"):
            raise SpecError("a signature table line", found=line, expected="name(parameters)")
        full = f"{prefix}.{name}" if prefix else name
        table[full] = Signature(full, module, rest[:-1])
    return table


def recorder(signature: Signature, doc: str = "") -> Callable[..., Call]:
    """A function that records calls of `signature`, with its name, parameters and `doc`."""

    def record(*args: Any, **kwargs: Any) -> Call:
        return signature.call(*args, **kwargs)

    record.__name__ = record.__qualname__ = signature.name.split(".")[-1]
    record.__doc__ = doc or f"Records a call of {signature.module}.{signature.name}."
    record.__signature__ = signature.signature  # type: ignore[attr-defined]
    return record
