"""The names of ``ray.tune.search``, recorded."""

from __future__ import annotations

from tune_bridge.dialects.ray_tune.tables import MODULES
from tune_bridge.tune.recorders import add_modules, class_recorder

__all__ = ["BasicVariantGenerator", "ConcurrencyLimiter", "Repeater"]

BasicVariantGenerator = class_recorder("BasicVariantGenerator")
ConcurrencyLimiter = class_recorder("ConcurrencyLimiter")
Repeater = class_recorder("Repeater")

add_modules(__name__, "ray.tune.search", MODULES)
