"""The environment in which a program's own calls of wandb report to a server of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_bridge.values import plain_json

__all__ = ["wandb_env"]

_ANY_KEY = "local-" + "0" * 40
_USABLE = re.compile(r"(?:[^-]*-)?[\w-]{40,}")
"""What the client takes for a key, before it asks anybody."""


def wandb_env(
    url: str, key: str | None, *, run: str, config: Mapping[str, Any], sweep: str, folder: Path
) -> dict[str, str]:
    """Variables for one run of a program.

    Args:
        url: Of the server.
        key: Of the server, or None.
        run: The run's id.
        config: Its parameters.
        sweep: Its sweep.
        folder: Gets the file with the parameters, as W&B's agent writes it, and what the client
            keeps.

    Returns:
        The variables; none when the client would not take the server's key (it wants forty
        characters), so that the program's wandb goes where it went before.
    """
    if key is not None and not _USABLE.fullmatch(key):
        return {}
    plain = plain_json(dict(config))[0]
    parameters = {name: {"value": value} for name, value in plain.items()}
    path = folder / "wandb-parameters.yaml"
    path.write_text(json.dumps({"wandb_version": 1, **parameters}), encoding="utf-8")
    return {
        "WANDB_BASE_URL": url,
        "WANDB_API_KEY": key or _ANY_KEY,
        "WANDB_SWEEP_ID": sweep,
        "WANDB_RUN_ID": run,
        "WANDB_SWEEP_PARAM_PATH": str(path),
        "WANDB_DIR": str(folder),
        # Its own fifteen seconds are too long for a scheduler; below one it takes them again.
        "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "1",
    }
