"""The names of ``ray.tune.search.hyperopt``, recorded."""

from __future__ import annotations

from tune_bridge.dialects.calls import recorder
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES

__all__ = ["HyperOptSearch"]

HyperOptSearch = recorder(SIGNATURES["HyperOptSearch"])
