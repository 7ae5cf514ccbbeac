"""The names of ``ray.tune.schedulers``, recorded."""

from __future__ import annotations

from tune_bridge.tune.recorders import class_recorder

__all__ = [
    "PB2",
    "ASHAScheduler",
    "AsyncHyperBandScheduler",
    "FIFOScheduler",
    "HyperBandForBOHB",
    "HyperBandScheduler",
    "MedianStoppingRule",
    "PopulationBasedTraining",
    "PopulationBasedTrainingReplay",
    "ResourceChangingScheduler",
]

ASHAScheduler = class_recorder("ASHAScheduler")
AsyncHyperBandScheduler = class_recorder("AsyncHyperBandScheduler")
FIFOScheduler = class_recorder("FIFOScheduler")
HyperBandForBOHB = class_recorder("HyperBandForBOHB")
HyperBandScheduler = class_recorder("HyperBandScheduler")
MedianStoppingRule = class_recorder("MedianStoppingRule")
PB2 = class_recorder("PB2")
PopulationBasedTraining = class_recorder("PopulationBasedTraining")
PopulationBasedTrainingReplay = class_recorder("PopulationBasedTrainingReplay")
ResourceChangingScheduler = class_recorder("ResourceChangingScheduler")
