"""The names of ``ray.tune.schedulers``, recorded."""

from __future__ import annotations

from tune_bridge.dialects.calls import recorder
from tune_bridge.dialects.ray_tune.signatures import SIGNATURES

__all__ = ["ASHAScheduler", "AsyncHyperBandScheduler", "FIFOScheduler"]

ASHAScheduler = recorder(SIGNATURES["ASHAScheduler"])
AsyncHyperBandScheduler = recorder(SIGNATURES["AsyncHyperBandScheduler"])
FIFOScheduler = recorder(SIGNATURES["FIFOScheduler"])
