"""The names of ``ray.tune.suggest``, as the searchers' package was called before Ray 2.0."""

from __future__ import annotations

from tune_bridge.tune.search import BasicVariantGenerator as BasicVariantGenerator
from tune_bridge.tune.search import ConcurrencyLimiter as ConcurrencyLimiter

__all__ = ["BasicVariantGenerator", "ConcurrencyLimiter"]
