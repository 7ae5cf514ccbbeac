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
    from tune_bridge.api import agent as agent
    from tune_bridge.api import finish as finish
    from tune_bridge.api import log as log
    from tune_bridge.api import login as login
    from tune_bridge.api import sweep as sweep
    from tune_bridge.callback import SweepCallback as SweepCallback
    from tune_bridge.client import Config
    from tune_bridge.client import Run as Run
    from tune_bridge.client import RunStopped as RunStopped
    from tune_bridge.client import init as init
    from tune_bridge.dialects.sweep.folding import fold as fold
    from tune_bridge.handle import open_sweep as open_sweep
    from tune_bridge.sweep_config import SweepConfig as SweepConfig
    from tune_bridge.sweep_scheduler import SweepScheduler as SweepScheduler

    config: Config
    run: Run | None
    summary: dict[str, Any]

__version__ = "0.1.0"

_LAZY = {
    "Run": "tune_bridge.client",
    "RunStopped": "tune_bridge.client",
    "SweepCallback": "tune_bridge.callback",
    "SweepConfig": "tune_bridge.sweep_config",
    "SweepScheduler": "tune_bridge.sweep_scheduler",
    "fold": "tune_bridge.dialects.sweep.folding",
    "agent": "tune_bridge.api",
    "finish": "tune_bridge.api",
    "init": "tune_bridge.client",
    "log": "tune_bridge.api",
    "login": "tune_bridge.api",
    "open_sweep": "tune_bridge.handle",
    "sweep": "tune_bridge.api",
}
_MODULES = ("hyperopt", "tune")
_OF_THE_RUN = ("config", "run", "summary")

__all__ = [
    "Run",
    "RunStopped",
    "SweepCallback",
    "SweepConfig",
    "SweepScheduler",
    "__version__",
    "agent",
    "config",
    "finish",
    "fold",
    "hyperopt",
    "init",
    "log",
    "login",
    "open_sweep",
    "run",
    "summary",
    "sweep",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"tune_bridge.{name}")
    if name in _OF_THE_RUN:  # of the run that has begun, like wandb.config: another one each time
        return importlib.import_module("tune_bridge.api").of_the_run(name)
    raise AttributeError(f"module 'tune_bridge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
