"""How W&B is named as a place: ``wandb``, ``wandb://entity/project?server=URL``; all optional."""

from __future__ import annotations

import os
from urllib.parse import parse_qs, quote, unquote, urlencode

import msgspec

from tune_bridge.errors import InputError

__all__ = ["WandbPlace", "is_wandb", "parse_place"]

_SCHEME = "wandb"


class WandbPlace(msgspec.Struct, frozen=True):
    """A place at W&B.

    Attributes:
        entity: User or team; the one that the key belongs to without.
        project: Project; that of each sweep without.
        server: Address of the server; ``WANDB_BASE_URL`` without, else where ``wandb login`` was.
    """

    entity: str | None = None
    project: str | None = None
    server: str | None = None

    @property
    def url(self) -> str:
        """The place as one text; `parse_place` reads it."""
        path = "/".join(quote(part, safe="") for part in (self.entity, self.project) if part)
        query = urlencode({"server": self.server}) if self.server else ""
        return f"{_SCHEME}://{path}" + (f"?{query}" if query else "")


def is_wandb(url: str) -> bool:
    """Whether a place is one at W&B."""
    return url == _SCHEME or url.startswith(f"{_SCHEME}://")


def parse_place(url: str) -> WandbPlace:
    """Reads a place; a server that the environment names belongs to it from then on.

    Raises:
        InputError: It is no such place.
    """
    path, _, query = url.removeprefix(_SCHEME).removeprefix("://").partition("?")
    options = {name: values[-1] for name, values in parse_qs(query).items()}
    server = options.pop("server", None) or os.environ.get("WANDB_BASE_URL")
    parts = [unquote(part) for part in path.strip("/").split("/") if part]
    if options or len(parts) > 2 or not is_wandb(url):
        raise InputError(
            "no place at W&B",
            found=url,
            expected="wandb, wandb://ENTITY, or wandb://ENTITY/PROJECT",
        )
    entity, project = (*parts, None, None)[:2]
    if server is not None and not server.startswith(("http://", "https://")):
        raise InputError("no address of a W&B server", found=server, expected="http(s)://HOST")
    return WandbPlace(entity, project, server.rstrip("/") if server else None)
