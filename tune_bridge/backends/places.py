"""Names of places: where sweeps live when nobody says, and one spelling for each place."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["POSTGRES", "canonical", "default_place", "hidden", "home", "shown"]

POSTGRES = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
"""Schemes of URLs that mean PostgreSQL."""

_PASSWORDS = re.compile(r"(?<=://)([^:/?#@]*):.*(?=@)|(?<=[?&])(password=)[^&]*")


def home() -> Path:
    """The folder for what this package keeps: ``TUNE_BRIDGE_HOME``, else the user's data folder."""
    if place := os.environ.get("TUNE_BRIDGE_HOME"):
        return Path(place).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("tune-bridge", appauthor=False))


def default_place() -> str:
    """Where sweeps live when nobody says: ``TUNE_BRIDGE_BACKEND``, else ``sweeps.db`` in `home`."""
    return os.environ.get("TUNE_BRIDGE_BACKEND") or str(home() / "sweeps.db")


def canonical(url: str | None) -> str:
    """One spelling of a place, however it was named: files as absolute ``sqlite:///`` URLs.

    It may hold a password; `shown` does not.

    Args:
        url: As `tune_bridge.backends.open_backend` takes it.
    """
    from tune_bridge.backends.wandb import is_wandb, parse_place

    place = url or default_place()
    if is_wandb(place):
        return parse_place(place).url
    scheme, separator, rest = place.partition("://")
    if not separator:
        path = place
    elif scheme.partition("+")[0] == "sqlite" and rest.startswith("/"):
        path = rest[1:]
    elif scheme in POSTGRES:
        return f"postgresql://{rest}"
    else:
        return place
    return f"sqlite:///{Path(path).expanduser().absolute()}"


def shown(url: str | None) -> str:
    """`canonical` for people, logs and names of files: without the password.

    It opens the place, too, where libpq finds the password elsewhere (``PGPASSWORD``,
    ``~/.pgpass``).
    """
    return hidden(canonical(url))


def hidden(text: str) -> str:
    """A text with URLs in it, however malformed, without their passwords."""
    return _PASSWORDS.sub(lambda found: f"{found[2]}***" if found[2] else found[1], text)
