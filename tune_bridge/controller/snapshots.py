"""Snapshots: how a controller starts again without doing everything anew.

A snapshot is a pickle, so it is written to and read from one folder of our own: a folder or file
that somebody else owns or may write to is not touched. Losing it costs time only, the log says
everything.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

import msgspec

__all__ = ["Snapshot", "Snapshots"]

_SUFFIX = ".snapshot"


class Snapshot(msgspec.Struct, frozen=True):
    """A controller's memory after so many events.

    Attributes:
        events: How many events are in it.
        about: Of what: another sweep config, or another version, makes it useless.
        state: The queue (msgpack of `tune_bridge.controller.state.SweepState`).
        engine: `tune_bridge.engines.base.Engine.snapshot`.
    """

    events: int
    about: str
    state: bytes
    engine: bytes


class Snapshots:
    """The snapshots of sweeps in one folder.

    Args:
        folder: Made when it is first needed; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def write(self, sweep_id: str, snapshot: Snapshot) -> None:
        """Replaces the sweep's snapshot; a full disk is no error, the log is what counts."""
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not _is_ours(self._folder):
                return
            descriptor, name = tempfile.mkstemp(dir=self._folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(msgspec.msgpack.encode(snapshot))
                Path(name).replace(self._path(sweep_id, self._folder))
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise

    def read(self, sweep_id: str, *, about: str) -> Snapshot | None:
        """The sweep's snapshot; None when there is none that fits.

        Args:
            sweep_id: The sweep.
            about: What it has to be of.
        """
        if self._folder is None or not _is_ours(self._folder):
            return None
        path = self._path(sweep_id, self._folder)
        try:
            if not _is_ours(path):
                return None
            snapshot = msgspec.msgpack.decode(path.read_bytes(), type=Snapshot)
        except (OSError, msgspec.MsgspecError):
            return None
        return snapshot if snapshot.about == about else None

    def remove(self, sweep_id: str) -> None:
        """Forgets a sweep."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._path(sweep_id, self._folder).unlink()

    @staticmethod
    def _path(sweep_id: str, folder: Path) -> Path:
        return folder / f"{sweep_id.encode().hex()}{_SUFFIX}"


def _is_ours(path: Path) -> bool:
    """Whether this user owns it and nobody else may change it."""
    try:
        about = path.stat()
    except OSError:
        return False
    if not hasattr(os, "getuid"):  # Windows keeps other users out of a profile by itself
        return True
    others = stat.S_IWGRP | stat.S_IWOTH
    return about.st_uid == os.getuid() and not about.st_mode & others
