"""The names of ``ray.tune.stopper``, recorded."""

from __future__ import annotations

from tune_bridge.tune.recorders import class_recorder

__all__ = [
    "CombinedStopper",
    "ExperimentPlateauStopper",
    "FunctionStopper",
    "MaximumIterationStopper",
    "NoopStopper",
    "TimeoutStopper",
    "TrialPlateauStopper",
]

CombinedStopper = class_recorder("CombinedStopper")
ExperimentPlateauStopper = class_recorder("ExperimentPlateauStopper")
FunctionStopper = class_recorder("FunctionStopper")
MaximumIterationStopper = class_recorder("MaximumIterationStopper")
NoopStopper = class_recorder("NoopStopper")
TimeoutStopper = class_recorder("TimeoutStopper")
TrialPlateauStopper = class_recorder("TrialPlateauStopper")
