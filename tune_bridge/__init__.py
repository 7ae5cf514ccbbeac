"""tune_bridge: the bridge between Ray Tune and W&B Sweeps.

    from tune_bridge import tune
    from tune_bridge.hyperopt import hp

    config = tune.run("train.py", config={"lr": tune.loguniform(1e-4, 1e-1)}, num_samples=20)
    config.save("sweep.yaml")

Names are loaded when they are first used, so that importing the package costs next to nothing and
loads neither ray, hyperopt, wandb, pandas nor sklearn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune_bridge import hyperopt as hyperopt
    from tune_bridge import tune as tune
    from tune_bridge.callback import SweepCallback as SweepCallback
    from tune_bridge.client import Run as Run
    from tune_bridge.client import init as init
    from tune_bridge.dialects.sweep.conditions import fold as fold
    from tune_bridge.sweep_config import SweepConfig as SweepConfig

__version__ = "0.1.0"

_LAZY = {
    "Run": "tune_bridge.client",
    "SweepCallback": "tune_bridge.callback",
    "SweepConfig": "tune_bridge.sweep_config",
    "fold": "tune_bridge.dialects.sweep.conditions",
    "init": "tune_bridge.client",
}
_MODULES = ("hyperopt", "tune")

__all__ = ["Run", "SweepCallback", "SweepConfig", "__version__", "fold", "hyperopt", "init", "tune"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"tune_bridge.{name}")
    raise AttributeError(f"module 'tune_bridge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
