"""The names of ``ray.tune.suggest.hyperopt``, recorded, with the arguments of that time."""

from __future__ import annotations

from typing import Any

from tune_bridge.dialects.calls import Call
from tune_bridge.tune.search import ConcurrencyLimiter
from tune_bridge.tune.search.hyperopt import HyperOptSearch as _HyperOptSearch

__all__ = ["HyperOptSearch"]


def HyperOptSearch(  # noqa: N802 - a class at its old place
    space: Any = None, *args: Any, max_concurrent: int | None = None, **kwargs: Any
) -> Call:
    """Records a HyperOptSearch.

    Args:
        space: The space, a dict of ``hp`` parameters.
        *args: As today's `tune_bridge.tune.search.hyperopt.HyperOptSearch` takes them.
        max_concurrent: The limit that today is a ConcurrencyLimiter, which is put around it.
        **kwargs: As today's HyperOptSearch takes them.
    """
    call = _HyperOptSearch(space, *args, **kwargs)
    return call if max_concurrent is None else ConcurrencyLimiter(call, max_concurrent)
