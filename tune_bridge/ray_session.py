"""A Ray session for as long as something runs in it: the one there is, or a quiet one of ours."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator

from tune_bridge.errors import BackendError, MissingExtraError

__all__ = ["place", "session"]

_REACHED = 10.0  # seconds

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
"""Environment in which Ray and Tune say nothing of themselves; what the user has set stays."""


def place(address: str | None) -> tuple[str, bool]:
    """Where Ray is, and whether the program has to be shipped there.

    Without an address ``ray.init`` would join a cluster that somebody has started on this machine,
    whose other machines do not have the program: that takes an address here, or ``RAY_ADDRESS``.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    ray = sys.modules.get("ray")
    joined = ray is not None and ray.is_initialized()
    return address, address != "local" and not joined


@contextlib.contextmanager
def session(address: str, working_dir: str | None, what: str) -> Iterator[None]:
    """A quiet Ray session: the one there is, or one of our own, which ends with the context.

    Args:
        address: As `place` returns it.
        working_dir: A folder that is shipped to the nodes, or None.
        what: What needs it, for people.

    Raises:
        MissingExtraError: Ray is not installed.
        BackendError: There is no Ray at the address.
    """
    before = dict(os.environ)
    for key, value in _QUIET.items():
        os.environ.setdefault(key, value)
    try:
        import ray
    except ImportError:
        raise MissingExtraError("ray[tune]", "ray", what) from None
    own = not ray.is_initialized()
    levels = {name: logging.getLogger(name).level for name in ("ray", "ray.tune", "ray.data")}
    try:
        if own:
            _knock(address)
            try:
                ray.init(
                    address=address,
                    include_dashboard=False if address == "local" else None,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    runtime_env={"working_dir": working_dir} if working_dir else None,
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                where = "on this machine" if address == "local" else f"at {address}"
                raise BackendError(f"no Ray session {where}: {error}") from error
        for name in levels:
            # Tune writes a line for every trial that fails; the sweep's own report has them all.
            logging.getLogger(name).setLevel(logging.CRITICAL)
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if own and ray.is_initialized():
            ray.shutdown()
        for key in _QUIET:
            if key not in before:
                os.environ.pop(key, None)


def _knock(address: str) -> None:
    """Ray itself tries for minutes to reach a cluster where there is none.

    Raises:
        BackendError: Nobody listens at ``host:port``.
    """
    host, _, port = address.rpartition(":")
    if not port.isdigit() or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACHED).close()
    except OSError as error:
        raise BackendError(f"no Ray session at {address}: {error.strerror or error}") from None
