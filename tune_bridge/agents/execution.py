"""One attempt of a run: what programs and functions have in common."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tune_bridge.agents.checkpoints import Folder, unpack
from tune_bridge.agents.http import Server, UnreachableError
from tune_bridge.agents.outbox import Outbox
from tune_bridge.errors import BackendError, TuneBridgeError
from tune_bridge.wire import Checkpoint, Claim, Verdict

__all__ = ["Execution"]

_GIVE_UP = 60.0  # seconds for a checkpoint to come from a server that is away
_AGAIN = 0.5


class Execution:
    """One attempt of a run, its reports and its checkpoints.

    Args:
        server: The server.
        claim: The run.
        folder: For its files; removed by whoever made it.
        about: What the run is told of itself, beside what the claim says.
        leaving: Whether the agent is to end.

    Attributes:
        outbox: Its reports.
        checkpoint_dir: Where its program saves and finds its state.
        problem: Why the server has refused what was sent later; the next report raises it.

    Raises:
        TuneBridgeError: The checkpoint that it is to start from cannot be had.
    """

    def __init__(
        self,
        server: Server,
        claim: Claim,
        folder: Path,
        about: Mapping[str, Any],
        leaving: Callable[[], bool] = lambda: False,
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
        self.problem: TuneBridgeError | None = None
        self._server = server
        self.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        if claim.checkpoint is not None:
            self._fetch(claim.checkpoint, leaving)
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

        Raises:
            TuneBridgeError: The server refuses it.
        """
        if self.problem is not None:
            raise self.problem
        checkpoint = self.save() if settled else None
        return self.outbox.add(
            payload,
            checkpoint=checkpoint,
            resumable=resumable or self._resumes or self._saved.filled,
        )

    def catch_up(self) -> None:
        """Sends what waits because the server was away; to be called now and then."""
        if self.outbox.away:
            try:
                self.outbox.flush()
            except TuneBridgeError as error:
                self.problem = self.problem or error

    def save(self) -> str | None:
        """Stores what the program has saved; the checkpoint's id, None when there is nothing new.

        While the server is away nothing is stored: what the program has saved by the time that it
        is back goes with the next report.

        Raises:
            InputError: The server does not take it (it is too large).
        """
        if self.outbox.away or not self._saved.changed():
            return None
        name = secrets.token_hex(8)
        archive = self.folder / f"{name}.tar"
        try:
            kept = self._saved.pack(archive)
            self._server.put_checkpoint(self.claim.run, name, archive)
        except (BackendError, OSError):
            return None
        finally:
            archive.unlink(missing_ok=True)
        kept()
        return name

    def _fetch(self, checkpoint: Checkpoint, leaving: Callable[[], bool]) -> None:
        archive = self.folder / "start.tar"
        until = time.monotonic() + _GIVE_UP
        try:
            while True:
                try:
                    self._server.get_checkpoint(checkpoint.run, checkpoint.id, archive)
                    break
                except UnreachableError:
                    if leaving() or time.monotonic() > until:
                        raise
                    time.sleep(_AGAIN)
            unpack(archive, self.checkpoint_dir)
        finally:
            archive.unlink(missing_ok=True)
