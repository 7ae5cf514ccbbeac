"""The controller: an engine's answers made into runs that agents fetch, keep alive and end."""

from tune_bridge.controller.controller import Controller
from tune_bridge.controller.sweep import SweepController

__all__ = ["Controller", "SweepController"]
