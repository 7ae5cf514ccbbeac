"""The real sweeps and spaces in ``tests/cases``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent / "cases"

REFUSED = {"035", "036", "047", "060", "068", "080", "086"}
"""Sweeps with mistakes: an unknown method or distribution, a missing bound, a forbidden name."""


def sweep_files() -> list[Path]:
    """All sweep files, in order."""
    return sorted((CASES / "sweeps").glob("*.yaml"))


def spaces(kind: str) -> list[dict[str, Any]]:
    """The entries of ``hyperopt.json`` or ``tune_spaces.json``; see the README beside them."""
    entries: list[dict[str, Any]] = json.loads((CASES / f"{kind}.json").read_text("utf-8"))
    return entries


SEED = """
from tune_bridge import tune
from tune_bridge.tune.suggest.hyperopt import HyperOptSearch
from tune_bridge.hyperopt import hp

tune_config = tune.run(
    "train.py",
    search_alg=HyperOptSearch(
        dict(
            width=hp.uniform("width", 0, 20),
            height=hp.uniform("height", -100, 100),
            activation=hp.choice("activation", ["relu", "tanh"])),
        metric="mean_loss",
        mode="min"),
    num_samples=10)
tune_config.save("sweep-hyperopt.yaml")
"""
"""The example of W&B's page on Ray Tune sweeps, with our imports."""
