"""Sums and products of a parameter and a number, folded into the parameter's own law.

``hp.uniform("x", 0, 1) * 10`` is a uniform draw between 0 and 10. Only what is exactly such a law
is folded: linear scales take sums and products, log scales products with a positive number, rounded
draws sums with a multiple of their quantum, plain options any arithmetic. The rest stays an
operation.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from tune_bridge.laws import OPERATIONS
from tune_bridge.space import (
    Beta,
    Choice,
    Constant,
    Distribution,
    Integers,
    Node,
    Parameter,
    Uniform,
)

__all__ = ["OPERATORS", "combine"]

OPERATORS = ("add", "sub", "mul", "truediv", "neg")
"""Operations that may have a law."""


def combine(name: str, operands: list[Any]) -> Node | None:
    """The node whose draws are those of an operation on a node and numbers.

    Args:
        name: One of `OPERATORS`.
        operands: Nodes and plain values; exactly one is a `Parameter` or a `Choice`.

    Returns:
        The node, with the label of the one that it was made of, or None where no law of the tree is
        exactly this.
    """
    searched = [item for item in operands if isinstance(item, Parameter | Choice)]
    numbers = [item for item in operands if _is_number(item)]
    if len(searched) != 1 or len(numbers) != len(operands) - 1:
        return None
    node = searched[0]
    if isinstance(node, Choice):
        return _options(name, operands, node)
    distribution: Distribution | None = node.distribution
    number = numbers[0] if numbers else -1
    if name in ("mul", "neg"):
        distribution = _scaled(node.distribution, number)
    elif name == "truediv":
        first = operands[0] is node
        inverse = 1 / number if first and number else 0.0
        whole = isinstance(node.distribution, Integers) or node.distribution.integer
        exact = inverse and not whole and inverse * number == 1
        distribution = _scaled(node.distribution, inverse) if exact else None
    elif name == "sub" and operands[0] is not node:
        negative = _scaled(node.distribution, -1)
        distribution = None if negative is None else _shifted(negative, number)
    else:
        distribution = _shifted(node.distribution, -number if name == "sub" else number)
    if distribution is None:
        return None
    return Parameter(distribution, node.label, shared=node.shared)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _options(name: str, operands: list[Any], node: Choice) -> Choice | None:
    if not node.plain or not all(_is_number(value) for value in node.values()):
        return None
    try:
        values = [
            OPERATIONS[name](*(value if item is node else item for item in operands))
            for value in node.values()
        ]
    except (ZeroDivisionError, OverflowError):
        return None
    options = tuple(map(Constant.of, values))
    return Choice(options, node.weights, node.label, shared=node.shared)


def _scaled(law: Distribution, factor: float) -> Distribution | None:
    """The law of ``x * factor``."""
    if factor == 0 or isinstance(law, Beta):
        return None
    if isinstance(law, Integers):
        if type(factor) is not int:
            return None
        if factor < 0:
            first, last = law.high * factor, law.low * factor
            return None if law.log else Integers(first, last, law.step * -factor)
        return Integers(law.low * factor, law.high * factor, law.step * factor, law.log)
    if law.integer and type(factor) is not int:
        return None
    q = None if law.q is None else law.q * abs(factor)
    if law.scale == "linear":
        if isinstance(law, Uniform):
            low, high = sorted((law.low * factor, law.high * factor))
            return msgspec.structs.replace(law, low=low, high=high, q=q)
        mu, sigma = law.mu * factor, law.sigma * abs(factor)
        return msgspec.structs.replace(law, mu=mu, sigma=sigma, q=q)
    if factor < 0 or law.scale == "reciprocal":
        return None
    if isinstance(law, Uniform):
        if law.exponents:
            more = math.log(factor)
            return msgspec.structs.replace(law, low=law.low + more, high=law.high + more, q=q)
        return msgspec.structs.replace(law, low=law.low * factor, high=law.high * factor, q=q)
    return msgspec.structs.replace(law, mu=law.mu + math.log(factor), q=q)


def _shifted(law: Distribution, by: float) -> Distribution | None:
    """The law of ``x + by``."""
    if isinstance(law, Integers):
        if type(by) is not int or law.log or by % law.step:
            return None
        return Integers(law.low + by, law.high + by, law.step)
    if isinstance(law, Beta) or law.scale != "linear":
        return None
    if law.q is not None and (by / law.q != round(by / law.q) or (law.integer and by != int(by))):
        return None
    if law.integer and type(by) is not int:
        return None
    if isinstance(law, Uniform):
        return msgspec.structs.replace(law, low=law.low + by, high=law.high + by)
    return msgspec.structs.replace(law, mu=law.mu + by)
