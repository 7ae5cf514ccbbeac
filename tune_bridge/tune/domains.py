"""Domains for the laws that ``ray.tune`` has no function for.

The parameters are those of the classes in `tune_bridge.space`. Where Ray is loaded a function makes
a real domain, which Tune samples with its own random state; where it is not, it records a call.
Both are read alike.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tune_bridge.dialects.calls import recorder
from tune_bridge.dialects.python_space import TreeReader
from tune_bridge.dialects.ray_tune.domains import LEAVES
from tune_bridge.dialects.ray_tune.signatures import OWN
from tune_bridge.notes import Notes

__all__ = ["beta", "choice", "integers", "normal", "operation", "uniform"]


def _maker(name: str, doc: str) -> Callable[..., Any]:
    record = recorder(OWN[f"domains.{name}"], doc)

    def make(*args: Any, **kwargs: Any) -> Any:
        call = record(*args, **kwargs)
        if "ray.tune" not in sys.modules:
            return call
        from tune_bridge.dialects.ray_tune.law_domain import LawDomain

        node: Any = TreeReader(LEAVES, Notes()).node(call, name)
        return LawDomain(node)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = doc
    make.__signature__ = OWN[f"domains.{name}"].signature  # type: ignore[attr-defined]
    return make


uniform = _maker("uniform", "Uniform on a linear, log or reciprocal scale, rounded or not.")
normal = _maker("normal", "Normal or log-normal, rounded or not.")
beta = _maker("beta", "Beta on the unit interval, rounded or not.")
integers = _maker("integers", "Integers, both ends included, equally likely or by the log law.")
choice = _maker("choice", "One of several options, with weights that sum to 1.")
operation = _maker("operation", "What an operation, such as ``int`` or ``mul``, makes of domains.")
