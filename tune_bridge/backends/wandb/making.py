"""Sweeps that are made at W&B, to be run by W&B's agents or by us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tune_bridge.backends.wandb.backend import WandbBackend
from tune_bridge.backends.wandb.place import parse_place

__all__ = ["Made", "make_sweep"]


class Made(msgspec.Struct, frozen=True):
    """A sweep at W&B.

    Attributes:
        id: The id that W&B gave it.
        path: ``entity/project/id``, as W&B's commands take it.
        project: Its project.
        url: Its page.
    """

    id: str
    path: str
    project: str
    url: str

    @property
    def agent(self) -> str:
        """The command that runs it."""
        return f"wandb agent {self.path}"


def make_sweep(
    place: str,
    config: Mapping[str, Any],
    *,
    entity: str | None = None,
    project: str | None = None,
    name: str | None = None,
) -> Made:
    """Makes a sweep at W&B.

    Args:
        place: Where; see `tune_bridge.backends.wandb.place`.
        config: The sweep config.
        entity: Instead of the config's, and the place's.
        project: Instead of the config's, and the place's.
        name: Instead of the config's.

    Raises:
        InputError: There is no key, or W&B refuses the key or the config.
        BackendError: W&B does not answer.
        MissingExtraError: wandb is not installed.
    """
    with WandbBackend(parse_place(place)) as backend:
        made = backend.create_sweep(config, entity=entity, project=project, name=name)
        path, url = backend.path(made.id), backend.page(made.id)
        return Made(made.id, path, made.project, url)
