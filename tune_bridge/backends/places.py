"""Names of places: where sweeps live when nobody says, and one spelling for each place."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["canonical", "default_place", "home"]


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

    Args:
        url: As `tune_bridge.backends.open_backend` takes it.
    """
    place = url or default_place()
    scheme, separator, rest = place.partition("://")
    if not separator:
        path = place
    elif scheme.partition("+")[0] == "sqlite" and rest.startswith("/"):
        path = rest[1:]
    else:
        return place
    return f"sqlite:///{Path(path).expanduser().absolute()}"
