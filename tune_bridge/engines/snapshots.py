"""Snapshots of engines: pickles for our own local files, with a header that says so.

Never read one that came over the network or with a sweep: a pickle is a program.
"""

from __future__ import annotations

import pickle
from typing import Any

from tune_bridge.errors import InputError

__all__ = ["VERSION", "dump", "load"]

VERSION = 2
"""Changes when older snapshots cannot be read any more."""

_HEADER = b"tune-bridge engine "


def dump(engine: Any) -> bytes:
    """An engine as bytes."""
    try:
        # The searchers and schedulers of Ray hold lambdas. What brings them brings cloudpickle.
        from cloudpickle import dumps
    except ImportError:
        from pickle import dumps
    body: bytes = dumps(engine, protocol=pickle.HIGHEST_PROTOCOL)
    return _HEADER + f"{VERSION}\n".encode() + body


def load(data: bytes) -> Any:
    """The engine that `dump` wrote.

    Raises:
        InputError: It is no snapshot, or one of another version.
    """
    header, _, body = data.partition(b"\n")
    if not header.startswith(_HEADER):
        raise InputError("not a snapshot of an engine", found=repr(data[:20]))
    if header != _HEADER + str(VERSION).encode():
        raise InputError(
            "a snapshot of another version of tune-bridge",
            found=header[len(_HEADER) :].decode(errors="replace"),
            expected=str(VERSION),
            hint="the event log brings a fresh engine to the same state",
        )
    return pickle.loads(body)  # noqa: S301 - our own file, see the module
