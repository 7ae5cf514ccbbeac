"""One life of a client, with the installed version of wandb, or with those that somebody names."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

NAMES = "TUNE_BRIDGE_WANDB_PYTHONS"
PYTHONS = [path for path in os.environ.get(NAMES, "").split(os.pathsep) if path] or [sys.executable]


@pytest.mark.parametrize("python", PYTHONS)
def test_a_life(place, python):
    said = place.call(
        python,
        str(Path(__file__).with_name("scenario.py")),
        str(place.folder),
        WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL="1",
    )
    found = json.loads((place.folder / "scenario.json").read_text())
    found.pop("version")
    assert set(found.values()) == {"ok"}, json.dumps(found, indent=1) + said
