"""Arguments of searchers, schedulers and stoppers in a carry, which people write by hand as well.

What our writer carries passes; what Ray would refuse only when the search is built is refused when
the file is read, where its line is known. `tables` says which arguments there are; a default says
of what kind an argument is.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from typing import Any

from tune_bridge.dialects.base import suggest
from tune_bridge.dialects.python_space import join
from tune_bridge.dialects.ray_tune.tables import CLASSES, Argument
from tune_bridge.errors import SpecError
from tune_bridge.experiment import RANDOM, Algorithm
from tune_bridge.values import shorten

__all__ = ["check_algorithm", "check_arguments", "check_objects"]

_ROLES = {
    "search_alg": ("a searcher", ("searcher", "limiter"), ("bayes", "custom")),
    "scheduler": ("a scheduler", ("scheduler",), ("hyperband",)),
}
"""Key of the carry -> what it is, Ray's roles, and what W&B itself has."""

_OWN = {RANDOM.kind: ("unique",)}
"""Arguments that our engines have besides: draws without replacement."""

_ELSEWHERE = {
    "max_concurrent": "max_concurrent_trials",
    "objective": "metric",
    "points": "points_to_evaluate",
    "space": "parameters",
}
"""Attribute of the experiment -> the key that says it in a sweep, where that is another name."""

_SEVERAL = ("metric", "mode")
"""What a sweep says once; a searcher of several objectives has lists of its own."""

_INNER = {"searcher": "search_alg", "base_scheduler": "scheduler"}
"""Argument that holds another one -> which key of the carry has such."""

_NUMBER = (bool, int, float)
_KINDS: dict[type, tuple[str, tuple[type, ...]]] = {
    bool: ("true or false", (bool, int)),
    int: ("a number", _NUMBER),
    float: ("a number", _NUMBER),
    str: ("a text", (str,)),
    tuple: ("a list", (list, tuple)),
}
"""Kind of a default -> what is expected. Ray itself takes 100.0 for 100 and 1 for true."""


def check_algorithm(key: str, algorithm: Algorithm, path: str) -> None:
    """Refuses a class that is none, and arguments that are none of its own.

    Args:
        key: "search_alg" or "scheduler".
        algorithm: What the carry says.
        path: Where.

    Raises:
        SpecError: Naming the place, and the nearest name.
    """
    what, roles, native = _ROLES[key]
    kind = algorithm.kind
    if kind in native:
        return
    table = CLASSES.get(kind)
    if table is None or table.role not in roles:
        known = [name for name, entry in CLASSES.items() if entry.role in roles]
        raise SpecError(
            f"this is not {what} of Ray Tune",
            path=f"{path}.{kind}",
            found=kind,
            expected=f"one of {', '.join([*known, *native])}",
            hint=suggest(kind, [*known, *native]) or "",
        )
    check_arguments(kind, algorithm.args.value, f"{path}.{kind}")


def check_arguments(kind: str, args: Mapping[str, Any], path: str) -> None:
    """Refuses arguments that are not the class's own, or of another kind.

    Args:
        kind: A class of `CLASSES`.
        args: As in a carry.
        path: Where they stand.

    Raises:
        SpecError: The experiment says this elsewhere, there is no such argument, or its value is
            of another kind; or a required one is missing.
    """
    known = {argument.name: argument for argument in CLASSES[kind].arguments}
    for name, value in args.items():
        if name in _OWN.get(kind, ()):
            continue
        argument = known.get(name)
        here = join(path, name)
        if argument is None:
            own = [each.name for each in known.values() if each.how == "carried"]
            raise SpecError(
                f"{kind} has no such argument",
                path=here,
                expected=f"one of {', '.join(own)}" if own else "no arguments",
                hint=suggest(name, list(known)) or "",
            )
        if name in _SEVERAL and isinstance(value, list | tuple):
            continue
        if argument.how == "native":
            key = _ELSEWHERE.get(argument.detail, argument.detail)
            raise SpecError(
                "the sweep says this elsewhere",
                path=here,
                expected=f"the key {key!r}",
                hint=f"move it to {key}",
            )
        if argument.how == "refused" and value is not None:
            raise SpecError(
                f"{name} of {kind} cannot be written down",
                path=here,
                found=shorten(value),
                hint=argument.detail,
            )
        if name in _INNER:
            _check_inner(_INNER[name], value, here)
            continue
        _check_kind(argument, value, here)
        check_objects(value, here)
    for argument in known.values():
        needed = argument.how == "carried" and not argument.text.startswith("*")
        if needed and "=" not in argument.text and argument.name not in args:
            raise SpecError(f"{kind} without {argument.name}", path=path, expected=argument.name)


def check_objects(value: Any, path: str) -> None:
    """Checks the arguments of all classes inside of a value: ``{"TimeoutStopper": {...}}``.

    Raises:
        SpecError: As `check_arguments`.
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            here = join(path, name)
            if len(value) == 1 and name in CLASSES and isinstance(item, Mapping):
                check_arguments(str(name), item, here)
            else:
                check_objects(item, here)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_objects(item, f"{path}[{index}]")


def _check_inner(key: str, value: Any, path: str) -> None:
    """A searcher or scheduler inside of another one."""
    if not isinstance(value, Mapping) or len(value) != 1:
        raise SpecError(
            f"this is not {_ROLES[key][0]}",
            path=path,
            found=shorten(value),
            expected="a class with its arguments, {Name: {...}}",
        )
    ((kind, args),) = value.items()
    if not isinstance(args, Mapping):
        raise SpecError("malformed", path=join(path, kind), found=shorten(args))
    check_algorithm(key, Algorithm.of(str(kind), **args), path)


def _is_object(value: Any) -> bool:
    """Whether it stands for a class of Ray, a function or a domain."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return False
    (name,) = value
    return name in CLASSES or str(name).startswith("$")


def _check_kind(argument: Argument, value: Any, path: str) -> None:
    if value is None or _is_object(value):
        return
    if argument.text.startswith("**"):
        expected, kinds, shown = "a mapping", (Mapping,), ""
    else:
        default = _default(argument.text)
        if type(default) not in _KINDS:
            return
        expected, kinds = _KINDS[type(default)]  # type: ignore[assignment]
        shown = f", {default!r} by default"
    if not isinstance(value, kinds):
        raise SpecError(
            f"{argument.name} is not {expected}",
            path=path,
            found=shorten(value),
            expected=f"{expected}{shown}",
        )


@functools.cache
def _default(text: str) -> Any:
    """The default in ``gamma=0.25``; None without one, or where it is no literal."""
    try:
        return ast.literal_eval(text.partition("=")[2].strip())
    except (SyntaxError, ValueError):
        return None
