"""One attempt of a run: what programs and functions have in common."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_bridge.agents.checkpoints import Folder, unpack
from tune_bridge.agents.http import Server, UnreachableError
from tune_bridge.agents.outbox import Outbox
from tune_bridge.errors import TuneBridgeError
from tune_bridge.wire import Claim, Verdict

__all__ = ["Execution"]

_GIVE_UP = 60.0  # seconds for a checkpoint to come from, or go to, a server that is away
_AGAIN = 0.5


class Execution:
    """One attempt of a run, its reports and its checkpoints.

    Args:
        server: The server.
        claim: The run.
        folder: For its files; removed by whoever made it.
        about: What the run is told of itself, beside what the claim says.

    Attributes:
        outbox: Its reports.
        checkpoint_dir: Where its program saves and finds its state.
    """

    def __init__(
        self, server: Server, claim: Claim, folder: Path, about: Mapping[str, Any]
    ) -> None:
        self.claim = claim
        self.folder = folder
        self.outbox = Outbox(server, claim.run, claim.attempt)
        self.checkpoint_dir = folder / "program_checkpoint"
        self.about: dict[str, Any] = {
            "id": claim.run,
            "name": claim.run,
            "first_step": claim.first_step,
            **about,
        }
        self._server = server
        self._leaving = threading.Event()
        self.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        if claim.checkpoint is not None:
            self._fetch()
        self._saved = Folder(self.checkpoint_dir)
        self._resumes = claim.checkpoint is not None

    @property
    def verdict(self) -> Verdict:
        """What becomes of it, as far as is known."""
        return self.outbox.verdict

    def report(self, payload: dict[str, Any], *, resumable: bool, settled: bool = True) -> Verdict:
        """Sends rows, and the checkpoint when the program has saved one.

        Args:
            payload: See `Outbox.add`.
            resumable: The program has asked for a checkpoint.
            settled: The program stands still, so that what it has saved is whole.
        """
        checkpoint = self.save() if settled else None
        return self.outbox.add(
            payload,
            checkpoint=checkpoint,
            resumable=resumable or self._resumes or self._saved.filled,
        )

    def save(self) -> str | None:
        """Stores what the program has saved; the checkpoint's id, None when there is nothing new.

        A server that is away costs the checkpoint, not the run.
        """
        if not self._saved.changed():
            return None
        name = secrets.token_hex(8)
        archive = self.folder / f"{name}.tar"
        try:
            self._saved.pack(archive)
            self._server.put_checkpoint(self.claim.run, name, archive)
        except (TuneBridgeError, OSError):
            return None
        finally:
            archive.unlink(missing_ok=True)
        return name

    def _fetch(self) -> None:
        checkpoint = self.claim.checkpoint
        assert checkpoint is not None
        descriptor, name = tempfile.mkstemp(dir=self.folder, suffix=".tar")
        archive = Path(name)
        with open(descriptor, "wb"):  # noqa: PTH123 - closes it
            pass
        waited = 0.0
        try:
            while True:
                try:
                    self._server.get_checkpoint(checkpoint.run, checkpoint.id, archive)
                    break
                except UnreachableError:
                    waited += _AGAIN
                    if waited > _GIVE_UP or self._leaving.wait(_AGAIN):
                        raise
            unpack(archive, self.checkpoint_dir)
        finally:
            with contextlib.suppress(OSError):
                archive.unlink()
