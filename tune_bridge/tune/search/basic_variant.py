"""The names of ``ray.tune.search.basic_variant``, recorded."""

from __future__ import annotations

from tune_bridge.tune.search import BasicVariantGenerator

__all__ = ["BasicVariantGenerator"]
