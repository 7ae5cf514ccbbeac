"""The names of ``ray.tune.search``, recorded."""

from __future__ import annotations

from tune_bridge.dialects.calls import recorder
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES

__all__ = ["BasicVariantGenerator", "ConcurrencyLimiter"]

BasicVariantGenerator = recorder(SIGNATURES["BasicVariantGenerator"])
ConcurrencyLimiter = recorder(SIGNATURES["ConcurrencyLimiter"])
