"""The laws that distributions stand for: quantile functions, probabilities, sampling.

Sources of the formulas: HyperOpt's ``pyll.stochastic`` (``round(draw / q) * q``), Ray Tune 2.60's
``tune.search.sample`` (integers are grid indices, log integers are floored), W&B's
``sweeps.params`` (``ppf`` of a uniform draw). Rounding is half to even everywhere, and nothing is
clipped.
"""

from __future__ import annotations

import bisect
import itertools
import math
import operator
import random
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any

from tune_bridge.errors import MissingExtraError, SpecError, UnsupportedError
from tune_bridge.space import (
    Beta,
    Choice,
    Constant,
    Distribution,
    Group,
    Integers,
    Node,
    Normal,
    Operation,
    Parameter,
    Sequence,
    Uniform,
)

__all__ = [
    "OPERATIONS",
    "SAMPLE_FROM",
    "argument_names",
    "cdf",
    "cell_probabilities",
    "drawer",
    "grid_cells",
    "grid_count",
    "grid_values",
    "log_integer_weights",
    "operate",
    "ppf",
    "sample",
    "total_variation",
    "whole_probabilities",
]

_STANDARD = NormalDist()


def _beta() -> Any:
    try:
        from scipy import special
    except ImportError:
        raise MissingExtraError("scipy", "ray", "the beta distribution") from None
    return special


def ppf(distribution: Distribution, u: float) -> int | float:
    """The value at quantile `u`.

    Args:
        distribution: Any distribution.
        u: In the open interval (0, 1); 0 and 1 are moved inside, to 2**-64 and 1 - 2**-53.

    Returns:
        An int for integer distributions, a float otherwise.
    """
    u = min(max(u, 2**-64), 1.0 - 2**-53)
    if isinstance(distribution, Integers):
        return _integer_ppf(distribution, u)
    x = _continuous_ppf(distribution, u)
    if distribution.q is not None:
        x = round(x / distribution.q) * distribution.q
    return int(x) if distribution.integer else float(x)


def _continuous_ppf(distribution: Uniform | Normal | Beta, u: float) -> float:
    if isinstance(distribution, Beta):
        x = float(_beta().betaincinv(distribution.a, distribution.b, u))
        # scipy gives NaN where the quantile is too near to an end for a float.
        return x if not math.isnan(x) else float(u > 0.5)
    if isinstance(distribution, Normal):
        x = distribution.mu + distribution.sigma * _STANDARD.inv_cdf(u)
        return math.exp(x) if distribution.scale == "log" else x
    low, high = transformed_bounds(distribution)
    x = low + u * (high - low)
    if distribution.scale == "linear":
        return x
    return math.exp(x) if distribution.scale == "log" else math.exp(-(high + low - x))


def transformed_bounds(distribution: Uniform) -> tuple[float, float]:
    """The bounds on which the draw is uniform: as they are, or their natural logarithms.

    For the reciprocal scale these are the bounds of ``log(1 / x)``, low to high.
    """
    low, high = distribution.low, distribution.high
    if distribution.scale == "linear" or distribution.exponents:
        return low, high
    if distribution.scale == "log":
        return math.log(low), math.log(high)
    return -math.log(high), -math.log(low)


def _integer_ppf(distribution: Integers, u: float) -> int:
    first, last = distribution.low // distribution.step, distribution.high // distribution.step
    if distribution.log:
        draw = math.exp(math.log(first) + u * (math.log(last + 1) - math.log(first)))
        index = int(draw)
    else:
        index = first + int(u * (last - first + 1))
    return min(max(index, first), last) * distribution.step


def cdf(distribution: Uniform | Normal | Beta, x: float) -> float:
    """Probability that the draw, **before rounding**, is at most `x`."""
    if isinstance(distribution, Beta):
        return float(_beta().betainc(distribution.a, distribution.b, min(max(x, 0.0), 1.0)))
    if isinstance(distribution, Normal):
        if distribution.scale == "log":
            if x <= 0:
                return 0.0
            x = math.log(x)
        return _STANDARD.cdf((x - distribution.mu) / distribution.sigma)
    low, high = transformed_bounds(distribution)
    if distribution.scale != "linear":
        if x <= 0:
            return 0.0
        x = math.log(x)
        if distribution.scale == "reciprocal":
            low, high = -high, -low
    return min(max((x - low) / (high - low), 0.0), 1.0)


def log_integer_weights(distribution: Integers) -> list[float]:
    """Probabilities of a log-scaled `Integers`, in order of its values; they sum to 1."""
    first, last = distribution.low // distribution.step, distribution.high // distribution.step
    total = math.log(last + 1) - math.log(first)
    return [math.log1p(1 / k) / total for k in range(first, last + 1)]


def cell_probabilities(distribution: Distribution, limit: int = 100_000) -> dict[float, float]:
    """Probabilities of the values of a discrete distribution.

    Args:
        distribution: Integers, or anything with a quantum.
        limit: The largest number of values.

    Returns:
        Value -> probability, ascending; unbounded laws are cut where less than 1e-12 is left.

    Raises:
        ValueError: The distribution is continuous, or has more than `limit` values.
    """
    if isinstance(distribution, Integers):
        if distribution.count > limit:
            raise ValueError(f"more than {limit} values")
        values = range(distribution.low, distribution.high + 1, distribution.step)
        weights = (
            log_integer_weights(distribution)
            if distribution.log
            else [1 / distribution.count] * distribution.count
        )
        return {float(value): weight for value, weight in zip(values, weights, strict=True)}
    if distribution.q is None:
        raise ValueError("a continuous distribution has no cells")
    q = distribution.q
    first = round(_continuous_ppf(distribution, 1e-12) / q)
    last = round(_continuous_ppf(distribution, 1 - 1e-12) / q)
    if last - first >= limit:
        raise ValueError(f"more than {limit} values")
    cells: dict[float, float] = {}
    for index in range(first, last + 1):
        weight = cdf(distribution, (index + 0.5) * q) - cdf(distribution, (index - 0.5) * q)
        if weight > 0:
            cells[index * q] = weight
    return cells


def whole_probabilities(distribution: Distribution, limit: int) -> dict[int, float]:
    """Probabilities of ``int(x)``, the draw without its fraction, ascending; they sum to 1.

    Args:
        distribution: Any distribution; of an unbounded one the part between the quantiles 1e-12 and
            1 - 1e-12.
        limit: The largest number of values.

    Returns:
        Value -> probability; empty when there are more values.
    """
    cells: dict[int, float] = {}
    if isinstance(distribution, Integers) or distribution.q is not None:
        try:
            rounded = cell_probabilities(distribution)
        except ValueError:
            return {}
        for value, weight in rounded.items():
            cells[int(value)] = cells.get(int(value), 0.0) + weight
    else:
        first, last = (int(_continuous_ppf(distribution, u)) for u in (1e-12, 1 - 1e-12))
        if last - first >= limit:
            return {}
        for whole in range(first, last + 1):
            low, high = whole - (whole <= 0), whole + (whole >= 0)
            weight = cdf(distribution, high) - cdf(distribution, low)
            if weight > 0:
                cells[whole] = weight
    total = math.fsum(cells.values())
    return {k: w / total for k, w in cells.items()} if 0 < len(cells) <= limit else {}


def total_variation(one: dict[float, float], other: dict[float, float]) -> float:
    """Half the summed distance of two tables of probabilities, 0 (same) to 1 (disjoint).

    Values are compared after rounding to 12 significant digits, so that ``3 * 0.1`` is ``0.3``.
    """

    def key(value: float) -> str:
        return f"{value + 0.0:.12g}"

    left = {key(value): weight for value, weight in one.items()}
    right = {key(value): weight for value, weight in other.items()}
    return 0.5 * sum(abs(left.get(k, 0.0) - right.get(k, 0.0)) for k in {*left, *right})


def grid_count(distribution: Distribution) -> int | None:
    """How many values a grid over a distribution has; None when they cannot be enumerated.

    Integers are all tried. A rounded uniform follows W&B's grid, numpy's ``arange(low, high, q)``:
    the upper end is left out.
    """
    if isinstance(distribution, Integers):
        return distribution.count
    if isinstance(distribution, Uniform) and distribution.scale == "linear" and distribution.q:
        return math.ceil((distribution.high - distribution.low) / distribution.q)
    return None


def grid_values(distribution: Distribution) -> list[int | float] | None:
    """The values of `grid_count`, ascending."""
    count = grid_count(distribution)
    if count is None:
        return None
    if isinstance(distribution, Integers):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    assert isinstance(distribution, Uniform)
    assert distribution.q is not None
    values = [distribution.low + index * distribution.q for index in range(count)]
    return [int(value) for value in values] if distribution.integer else list(values)


def grid_cells(node: Node) -> int:
    """How many cells the grids of a tree have, in a draw that meets as many as it can.

    Grids beside each other multiply. One inside of an option adds its cells where the option is
    itself one of a grid, and counts where the option is drawn: the draw with the most is taken.
    What cannot be enumerated counts as one.
    """
    if isinstance(node, Choice):
        cells = [grid_cells(option) for option in node.options]
        return sum(cells) if node.grid else max(cells)
    if isinstance(node, Parameter):
        return (grid_count(node.distribution) or 1) if node.grid else 1
    parts: list[Node] = []
    if isinstance(node, Group):
        parts = [child for _, child in node.items]
    elif isinstance(node, Sequence):
        parts = list(node.items)
    return math.prod(map(grid_cells, parts))


# Operations ---------------------------------------------------------------------------------------


_LONGEST = 4096
"""Bits of the longest integer that a power may have; spaces come from files too."""


def _power(base: Any, exponent: Any) -> Any:
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and abs(exponent) * base.bit_length() > _LONGEST:
        raise OverflowError("too large")
    return base**exponent


def _choose(index: Any, *options: Any) -> Any:
    return options[index]


OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "floordiv": operator.floordiv,
    "neg": operator.neg,
    "pow": _power,
    "int": int,
    "float": float,
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "minimum": min,
    "maximum": max,
    "identity": lambda value: value,
    "hyperopt_param": lambda label, value: value,
    "switch": _choose,
}
"""HyperOpt's name of an operation without side effects (``pyll.base``) -> what it does."""

_ANY = ("identity", "hyperopt_param", "switch")
"""Operations that take more than numbers."""

SAMPLE_FROM = "sample_from"
"""Name of the operation that calls a function with the configuration."""


def argument_names(operation: Operation) -> tuple[str, list[str]]:
    """The key for an operation's name, and the names of its arguments, in a mapping that says it.

    Arguments without a name are ``arg_0``, ...; the key is ``call``. Underscores follow where the
    operation has arguments of these names.
    """
    own = [name for name, _ in operation.kwargs.items]
    key, form = "call", "arg_{}"
    while key in own:
        key += "_"
    while any(form.format(index) in own for index in range(len(operation.args))):
        form += "_"
    return key, [*(form.format(index) for index in range(len(operation.args))), *own]


def operate(
    operation: Operation, values: list[Any], functions: Mapping[str, Any] | None = None
) -> Any:
    """What an operation makes of the values of its arguments.

    Args:
        operation: The operation.
        values: Values of its arguments, in order.
        functions: Functions of the author's program, by name.

    Returns:
        Its value; for a function that is not known, a mapping of its name and its arguments.

    Raises:
        SpecError: The operation has no value there, as a quotient by 0.
    """
    name, positional = operation.name, len(operation.args)
    names = [name for name, _ in operation.kwargs.items]
    named = dict(zip(names, values[positional:], strict=True))
    function = OPERATIONS.get(name)
    if function is None:
        if functions and name in functions:
            return functions[name](*values[:positional], **named)
        key, keys = argument_names(operation)
        return {key: name, **dict(zip(keys, values, strict=True))}
    try:
        if name not in _ANY and not all(isinstance(value, int | float) for value in values):
            raise TypeError("not a number")
        return function(*values[:positional], **named)
    except (ArithmeticError, IndexError, TypeError, ValueError) as error:
        shown = ", ".join(map(repr, values))
        raise SpecError(
            f"scope.{name} has no value here: {error}", found=f"{name}({shown})"[:80]
        ) from None


# Draws --------------------------------------------------------------------------------------------


Drawn = dict[str, Any]
"""Values of shared nodes by label, which are drawn once; filled in."""
Draw = Callable[[random.Random, Drawn], Any]
"""Draws one value, from the only source of randomness that there is."""


def sample(node: Node, rng: random.Random, drawn: Drawn | None = None) -> Any:
    """Draws one value of a tree; `drawer` draws many.

    Args:
        node: Any node; grids are drawn uniformly.
        rng: The only source of randomness.
        drawn: Values of shared nodes by label, which are drawn once; filled in.

    Returns:
        A dict for a group, a list or tuple for a sequence, the drawn option's value for a choice
        (nothing of the other options is drawn), a number for a parameter. An operation that only
        the author's program knows is a mapping of its name and its arguments.

    Raises:
        SpecError: An operation has no value for what was drawn.
        UnsupportedError: A value that a function of the configuration makes.
    """
    return drawer(node)(rng, {} if drawn is None else drawn)


def drawer(node: Node, chosen: Mapping[tuple[str, ...], Draw] | None = None) -> Draw:
    """A function that draws values of a tree, each as `sample` does.

    Args:
        node: Any node.
        chosen: What decides some leaves outside of options instead of their laws, by path: the
            values of a grid.
    """
    return _drawer(node, (), chosen or {})


def _drawer(node: Node, path: tuple[str, ...], chosen: Mapping[tuple[str, ...], Draw]) -> Draw:
    if isinstance(node, Group):
        pairs = [(name, _drawer(child, (*path, name), chosen)) for name, child in node.items]
        return lambda rng, drawn: {name: draw(rng, drawn) for name, draw in pairs}
    if path in chosen:
        return chosen[path]
    if isinstance(node, Constant):
        value = node.value
        if isinstance(value, dict | list):
            return lambda rng, drawn: node.value  # a copy for each
        return lambda rng, drawn: value
    if isinstance(node, Sequence):
        kind, items = (tuple if node.kind == "tuple" else list), list(map(drawer, node.items))
        return lambda rng, drawn: kind(draw(rng, drawn) for draw in items)
    if isinstance(node, Operation):
        return _operation_drawer(node)
    if isinstance(node, Choice):
        draw = _choice_drawer(node)
    else:
        law = node.distribution
        draw = lambda rng, drawn: ppf(law, rng.random())  # noqa: E731 - one of many
    return _once(node.label, draw) if node.shared else draw


def _once(label: str | None, draw: Draw) -> Draw:
    """One draw for all places of a shared node."""
    if label is None:
        return draw

    def once(rng: random.Random, drawn: Drawn) -> Any:
        if label not in drawn:
            drawn[label] = draw(rng, drawn)
        return drawn[label]

    return once


def _choice_drawer(choice: Choice) -> Draw:
    size = len(choice.options)
    sums = None if choice.weights is None else list(itertools.accumulate(choice.weights))
    made: dict[int, Draw] = {}

    def draw(rng: random.Random, drawn: Drawn) -> Any:
        if sums is None:
            index = int(rng.random() * size)
        else:
            index = min(bisect.bisect_right(sums, rng.random() * sums[-1]), size - 1)
        option = made.get(index)
        if option is None:
            option = made[index] = drawer(choice.options[index])
        return option(rng, drawn)

    return draw


def _operation_drawer(node: Operation) -> Draw:
    parts = [drawer(part) for _, part in node.arguments]

    def draw(rng: random.Random, drawn: Drawn) -> Any:
        if node.name == SAMPLE_FROM:
            function = node.args[0].value if isinstance(node.args[0], Constant) else ""
            raise UnsupportedError(
                "a value that a function makes, which only Ray calls",
                found=f"tune.sample_from({function})",
                expected="a run on Ray",
            )
        if node.name == "switch":
            # Nothing of the other options is drawn, as in HyperOpt.
            index = parts[0](rng, drawn)
            options = range(len(node.args) - 1)
            return parts[1 + operate(node, [index, *options])](rng, drawn)
        return operate(node, [part(rng, drawn) for part in parts])

    return draw
