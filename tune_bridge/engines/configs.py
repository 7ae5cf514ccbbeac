"""Configurations that people give: whether they fit the space, and typed as the space types them.

An operation (arithmetic on parameters, a function of the program) has no values of its own that
could be checked: whatever stands there is taken.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

from tune_bridge import laws
from tune_bridge.engines.results import plain
from tune_bridge.errors import InputError
from tune_bridge.experiment import Experiment
from tune_bridge.space import (
    Beta,
    Choice,
    Constant,
    Group,
    Integers,
    Node,
    Normal,
    Parameter,
    Sequence,
    Uniform,
)
from tune_bridge.values import Frozen, same_data, shorten

__all__ = ["canonical", "fit", "initial_points", "match", "trimmed"]

_CLOSE = 1e-9
"""Relative distance at which a value still is a bound, or a multiple of a quantum."""


def canonical(config: Mapping[str, Any]) -> str:
    """A text that is equal for equal configurations, whatever the order of their keys."""
    return Frozen(dict(config))._key


def initial_points(experiment: Experiment) -> list[dict[str, Any]]:
    """The points to try first, checked and typed; they may leave parameters open.

    Raises:
        InputError: One does not fit the space.
    """
    return [
        fit(experiment.space, point.value, f"points[{index}]", partial=True)
        for index, point in enumerate(experiment.points)
    ]


def trimmed(space: Group, config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the names that the space does not have, outside of options."""
    children = dict(space.items)
    return {
        name: trimmed(child, value)
        if isinstance(child := children[name], Group) and isinstance(value, Mapping)
        else value
        for name, value in config.items()
        if name in children
    }


def fit(node: Node, value: Any, path: str = "", *, partial: bool = False) -> Any:
    """A value as a node types it: whole numbers where it has integers, floats where it has floats.

    Args:
        node: A node of the space.
        value: What was given for it.
        path: Where it stands, for the error.
        partial: Parameters may be missing; constants are not filled in then.

    Returns:
        A plain value; constants that were left out are filled in.

    Raises:
        InputError: It does not fit; naming the parameter.
    """
    if isinstance(node, Group):
        return _group(node, value, path, partial)
    if isinstance(node, Constant):
        kept = plain(node.value)
        if not same_data(kept, plain(value)):
            raise _misfit("another value than the constant", path, value, shorten(kept))
        return kept
    if isinstance(node, Parameter):
        return _number(node, value, path)
    if isinstance(node, Choice):
        return match(node, value, path, partial=partial)[1]
    if isinstance(node, Sequence):
        if not isinstance(value, list | tuple) or len(value) != len(node.items):
            raise _misfit("not such a list", path, value, f"a list of {len(node.items)} items")
        return [
            fit(item, given, f"{path}[{index}]", partial=partial)
            for index, (item, given) in enumerate(zip(node.items, value, strict=True))
        ]
    return plain(value)


def _misfit(what: str, path: str, value: Any, expected: str, hint: str = "") -> InputError:
    return InputError(what, path=path, found=shorten(value), expected=expected, hint=hint)


def _group(node: Group, value: Any, path: str, partial: bool) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _misfit("not a mapping", path, value, "a mapping of names to values")
    names = [name for name, _ in node.items]
    for name in value:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, 1)
            raise _misfit(
                "the space has no such parameter",
                f"{path}.{name}" if path else str(name),
                value[name],
                f"one of {', '.join(names)}" if names else "nothing here",
                f"did you mean {near[0]}?" if near else "",
            )
    fitted: dict[str, Any] = {}
    for name, child in node.items:
        where = f"{path}.{name}" if path else name
        if name in value:
            fitted[name] = fit(child, value[name], where, partial=partial)
        elif partial:
            continue
        elif isinstance(child, Constant):
            fitted[name] = plain(child.value)
        elif isinstance(child, Group):
            fitted[name] = _group(child, {}, where, partial)
        else:
            raise InputError("a parameter is missing", path=where, expected="a value for it")
    return fitted


def match(node: Choice, value: Any, path: str = "", *, partial: bool = False) -> tuple[int, Any]:
    """Which option a value is of, and the value as that option types it.

    Where several would do, it is the first that leaves the value as it is: 1 and 1.0 are two
    options, and both fit a number.

    Raises:
        InputError: None fits.
    """
    given = plain(value)
    fitted: list[tuple[int, Any]] = []
    errors = []
    for index, option in enumerate(node.options):
        try:
            fitted.append((index, fit(option, given, path, partial=partial)))
        except InputError as error:
            errors.append(error)
    for index, found in fitted:
        if _identical(found, given):
            return index, found
    if fitted:
        return fitted[0]
    if len(errors) == 1 and not node.plain:
        raise errors[0]
    shown = [shorten(o.value, 24) for o in node.options[:8] if isinstance(o, Constant)]
    raise _misfit(
        "none of the options fits", path, value, f"one of {', '.join(shown)}" if shown else ""
    )


def _identical(one: Any, other: Any) -> bool:
    return Frozen(one) == Frozen(other)


def _number(node: Parameter, value: Any, path: str) -> int | float:
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise _misfit("not a number", path, value, "a number")
    if not math.isfinite(number):
        raise _misfit("not a finite number", path, value, "a finite number")
    distribution = node.distribution
    if isinstance(distribution, Integers):
        low, high, step = distribution.low, distribution.high, distribution.step
        if number != int(number) or int(number) % step or not low <= number <= high:
            of = "" if step == 1 else f", a multiple of {step}"
            raise _misfit("not a value of it", path, value, f"an integer, {low} to {high}{of}")
        return int(number)
    if node.grid:
        return _on_grid(distribution, float(number), path, value)
    q = distribution.q
    bounds = _bounds(distribution)
    if q is not None:  # a draw is rounded and not clipped
        bounds = tuple(round(b / q) * q if math.isfinite(b) else b for b in bounds)
    slack = _CLOSE * max(abs(number), *(abs(b) for b in bounds if math.isfinite(b)), 0.0)
    if not bounds[0] - slack <= number <= bounds[1] + slack:
        raise _misfit("out of its bounds", path, value, f"{bounds[0]:g} to {bounds[1]:g}")
    if q is not None and abs(number - round(number / q) * q) > max(_CLOSE * q, slack):
        raise _misfit("not a multiple of its step", path, value, f"a multiple of {q:g}")
    return round(number) if distribution.integer else float(number)


def _on_grid(
    distribution: Uniform | Normal | Beta, number: float, path: str, value: Any
) -> int | float:
    values = laws.grid_values(distribution) or []
    for kept in values:
        if math.isclose(number, kept, rel_tol=_CLOSE, abs_tol=_CLOSE):
            return kept
    shown = ", ".join(f"{v:g}" for v in values[:8])
    raise _misfit("not on the grid", path, value, f"one of {shown}")


def _bounds(distribution: Uniform | Normal | Beta) -> tuple[float, ...]:
    if isinstance(distribution, Beta):
        return 0.0, 1.0
    if isinstance(distribution, Normal):
        return (0.0 if distribution.scale == "log" else -math.inf), math.inf
    if not distribution.exponents:
        return distribution.low, distribution.high
    if distribution.scale == "log":
        return math.exp(distribution.low), math.exp(distribution.high)
    return math.exp(-distribution.high), math.exp(-distribution.low)
