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
import random
from statistics import NormalDist
from typing import Any

from tune_bridge.errors import MissingExtraError
from tune_bridge.space import (
    Beta,
    Constant,
    Distribution,
    Group,
    Integers,
    Node,
    Normal,
    Parameter,
    Sequence,
    Uniform,
)

__all__ = [
    "cdf",
    "cell_probabilities",
    "grid_count",
    "grid_values",
    "log_integer_weights",
    "ppf",
    "sample",
    "total_variation",
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


def sample(node: Node, rng: random.Random) -> Any:
    """Draws one value of a tree.

    Args:
        node: Any node; grids are drawn uniformly.
        rng: The only source of randomness.

    Returns:
        A dict for a group, a list or tuple for a sequence, the drawn option's value for a choice
        (nothing of the other options is drawn), a number for a parameter.
    """
    if isinstance(node, Group):
        return {name: sample(child, rng) for name, child in node.items}
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, Parameter):
        return ppf(node.distribution, rng.random())
    if isinstance(node, Sequence):
        items = [sample(item, rng) for item in node.items]
        return tuple(items) if node.kind == "tuple" else items
    if node.weights is None:
        index = int(rng.random() * len(node.options))
    else:
        sums = list(itertools.accumulate(node.weights))
        index = min(bisect.bisect_right(sums, rng.random() * sums[-1]), len(sums) - 1)
    return sample(node.options[index], rng)
