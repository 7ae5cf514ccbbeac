"""W&B's own schema as a judge, from the `sweeps` package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sweeps
from sweeps.config import schema_violations_from_proposed_config

VERSION = tuple(int(part) for part in sweeps.__version__.split(".")[:2])
"""0.2 knows every key but run_cap and hyperband's strict; 0.3 needs numpy below 2."""


def assert_valid(config: Mapping[str, Any]) -> None:
    """Asserts that the schema has no violation to report."""
    config = dict(config)
    if VERSION < (0, 3):
        config.pop("run_cap", None)
        if "early_terminate" in config:
            rest = {key: v for key, v in config["early_terminate"].items() if key != "strict"}
            config["early_terminate"] = rest
    assert schema_violations_from_proposed_config(config) == []
