"""HTTP over a backend: the dashboard and its JSON twins.

Importing this package loads no web framework; `create_app` does.
"""

from __future__ import annotations

from typing import Any

from tune_bridge.backends.base import Backend
from tune_bridge.errors import MissingExtraError

__all__ = ["DEFAULT_HOST", "DEFAULT_PORT", "create_app"]

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8687

_PACKAGES = {
    "dash": "dash",
    "dash_ag_grid": "dash-ag-grid",
    "dash_mantine_components": "dash-mantine-components",
    "fastapi": "fastapi",
    "graphql": "graphql-core",
    "janus": "dash[fastapi]",
    "plotly": "plotly",
    "starlette": "fastapi",
    "uvicorn": "uvicorn",
}
"""Modules of the extra ``dashboard`` -> the distribution that has them."""


def create_app(
    backend: Backend,
    *,
    host: str = DEFAULT_HOST,
    key: str | None = None,
    own_key: str | None = None,
    poll: float = 2.0,
    control: Any = None,
) -> Any:
    """Makes the ASGI application of the dashboard, and of a controller.

    Args:
        backend: Where the sweeps live; the caller closes it.
        host: The address that the server will be bound to; anything but a loopback address needs
            a key.
        key: When given, every request has to carry it, or a key that the place keeps: as
            ``Authorization: Bearer``, or as the cookie that ``/login`` sets.
        own_key: Another key that works, and does not make keys needed.
        poll: Seconds between two looks of an open page at the backend.
        control: A `tune_bridge.server.control.Control` when agents are served, too.

    Returns:
        A FastAPI application; run it with one worker process and ``lifespan="off"``.

    Raises:
        BackendError: The backend cannot be read.
        InputError: The host is not a loopback address and there is no key.
        MissingExtraError: The extra ``dashboard`` is not installed.
    """
    try:
        from tune_bridge.server.app import build
    except ImportError as error:
        raise missing_extra(error) from error
    return build(backend, host=host, key=key, own_key=own_key, poll=poll, control=control)


def missing_extra(error: ImportError) -> Exception:
    """The error to raise for a failed import: `MissingExtraError` when the extra would help."""
    package = _PACKAGES.get((error.name or "").partition(".")[0])
    if package is None and "dash[fastapi]" in str(error):
        package = "dash[fastapi]"
    return error if package is None else MissingExtraError(package, "dashboard", "the dashboard")
