"""W&B as a place where sweeps live, through W&B's own client (an extra).

Importing this loads nothing of W&B; `tune_bridge.backends.wandb.backend` is the backend.
"""

from __future__ import annotations

from tune_bridge.backends.wandb.place import WandbPlace, is_wandb, parse_place

__all__ = ["WandbPlace", "is_wandb", "parse_place"]
