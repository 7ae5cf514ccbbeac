"""A server of ours for W&B's own client in this process, as W&B would be there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.wandb.conftest import KEY, Place

__all__ = ["KEY", "wandb_server"]


@contextlib.contextmanager
def wandb_server(folder: Path, key: str | None = None) -> Iterator[Place]:
    """The server, and an environment in which the client finds it and nothing of the user's.

    The client reads most of its environment once in a process, so what differs between servers (the
    address, the key) is what `tune_bridge.backends.wandb` says to it each time.
    """
    with Place(folder, key).serving() as place, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        for name, value in place.env().items():
            if name.startswith("WANDB_") or name == "HOME":
                patch.setenv(name, value)
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        yield place
