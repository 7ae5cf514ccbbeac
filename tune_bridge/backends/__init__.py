"""Places where sweeps live: the contract in `base`, one module per place, and `open_backend`."""

from __future__ import annotations

from tune_bridge.backends.base import Backend
from tune_bridge.backends.places import canonical

__all__ = ["Backend", "open_backend"]


def open_backend(url: str | None = None) -> Backend:
    """Opens the backend at a URL.

    Args:
        url: A path to a SQLite file, a URL (``sqlite:///path.db``,
            ``postgresql://user:password@host/database``), or None for the environment's
            ``TUNE_BRIDGE_BACKEND``, else ``sweeps.db`` in ``TUNE_BRIDGE_HOME``, else in the user's
            data folder. ``wandb``, or ``wandb://entity/project``, is W&B itself.

    Raises:
        BackendError: It cannot be opened.
        InputError: It is no place.
        MissingExtraError: It is PostgreSQL or W&B, and what that needs is not installed.
    """
    from tune_bridge.backends.places import default_place
    from tune_bridge.backends.wandb import is_wandb

    if is_wandb(place := url or default_place()):
        from tune_bridge.backends.wandb.backend import WandbBackend

        return WandbBackend.open(place)
    if canonical(place).startswith("postgresql://"):
        from tune_bridge.backends.postgres import PostgresBackend

        return PostgresBackend.open(canonical(place))
    from tune_bridge.backends.local import LocalBackend

    return LocalBackend.open(url)
