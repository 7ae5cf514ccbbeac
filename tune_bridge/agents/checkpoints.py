"""Checkpoints as archives: a program's folder, packed when it has changed, and unpacked again."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from tune_bridge.errors import BackendError

__all__ = ["Folder", "unpack"]


class Folder:
    """A program's checkpoint folder, watched for changes.

    Args:
        path: The folder; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = self._signature()

    @property
    def filled(self) -> bool:
        """Whether there is anything in it."""
        return bool(self._signature())

    def changed(self) -> bool:
        """Whether it differs from what was packed last (or from what was there at the start)."""
        found = self._signature()
        return bool(found) and found != self._seen

    def pack(self, archive: Path) -> Callable[[], None]:
        """Writes the folder into an uncompressed tar archive.

        Returns:
            What is to be called when the archive is safe: the folder counts as unchanged then.
        """
        signature = self._signature()
        with tarfile.open(archive, "w") as tar:
            tar.add(self.path, arcname=".", filter=_plain)

        def kept() -> None:
            self._seen = signature

        return kept

    def _signature(self) -> frozenset[tuple[str, int, int]]:
        found = set()
        for root, _, names in os.walk(self.path):
            for name in names:
                path = Path(root, name)
                try:
                    about = path.stat()
                except OSError:
                    continue
                found.add((str(path.relative_to(self.path)), about.st_size, about.st_mtime_ns))
        return frozenset(found)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Files and folders only, without owners."""
    if not (member.isfile() or member.isdir()):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def unpack(archive: Path, folder: Path) -> None:
    """Replaces a folder by what an archive holds.

    Only plain files and folders below it are made: links, devices, absolute names and names with
    ``..`` are refused, whoever packed them.

    Raises:
        BackendError: The archive is none, or holds what is refused.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".checkpoint-"))
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                parts = Path(member.name).parts
                if (
                    not (member.isfile() or member.isdir())
                    or member.name.startswith("/")
                    or (".." in parts)
                ):
                    raise BackendError(f"the checkpoint holds {member.name!r}, which is refused")
                if hasattr(tarfile, "data_filter"):
                    tar.extract(member, fresh, filter="data")
                else:  # an older Python: the checks above are what the filter does for plain files
                    tar.extract(member, fresh, set_attrs=False)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    except (tarfile.TarError, OSError) as error:
        raise BackendError(f"the checkpoint cannot be unpacked: {error}") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
