"""Files of runs: below one folder, by names that cannot leave it.

``<folder>/<sweep>/<run>/<name>``, each part of a name quoted as in an address. Uploads and
downloads go by signed addresses that expire (`tune_bridge.server.wandb.ids.Signer`): the client
sends no key with them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import mimetypes
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from tune_bridge.errors import BackendError, NotFoundError
from tune_bridge.files import UPLOADING, name_part, name_parts
from tune_bridge.server.store import Upload

__all__ = ["Files", "Found"]

_CHUNK = 1 << 20


class Found(NamedTuple):
    """One file.

    Attributes:
        name: As the client gave it, with slashes.
        path: Where it is.
        size: In bytes.
        time: When it was written.
    """

    name: str
    path: Path
    size: int
    time: float

    @property
    def type(self) -> str:
        """Its MIME type, by its name."""
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    def md5(self) -> str:
        """Base64 of its MD5, as the client compares it."""
        digest = hashlib.md5(usedforsecurity=False)
        with self.path.open("rb") as file:
            while data := file.read(_CHUNK):
                digest.update(data)
        return base64.b64encode(digest.digest()).decode()


class Files:
    """The files of all runs.

    Args:
        folder: Holds them.
        limit: Bytes of one file at most.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self.limit = limit

    def path(self, owner: Sequence[str], name: str) -> Path:
        """Where a file is, or would be.

        Args:
            owner: Folders that hold it: sweep and run.
            name: With slashes.

        Raises:
            InputError: That is no name for a file.
        """
        return self._folder_of(owner).joinpath(*name_parts(name))

    def upload(self, owner: Sequence[str], name: str) -> Upload:
        """A file that is about to come.

        Raises:
            InputError: That is no name for one.
            BackendError: The disk refuses.
        """
        return Upload(self.path(owner, name), self.limit)

    def file(self, owner: Sequence[str], name: str) -> Found:
        """One file.

        Raises:
            NotFoundError: There is none.
        """
        path = self.path(owner, name)
        if not path.is_file():
            raise NotFoundError("no such file", found=repr(name))
        return _found(name, path)

    def list(self, owner: Sequence[str]) -> list[Found]:
        """All files, by name."""
        folder = self._folder_of(owner)
        return sorted(_walk(folder), key=lambda found: found.name)

    def delete(self, owner: Sequence[str], name: str | None = None) -> None:
        """Removes one file, or all of an owner.

        Raises:
            BackendError: The disk refuses.
        """
        try:
            if name is not None:
                self.path(owner, name).unlink(missing_ok=True)
            else:
                shutil.rmtree(self._folder_of(owner), ignore_errors=True)
        except OSError as error:
            raise BackendError(f"the file cannot be removed: {error.strerror}") from None

    def _folder_of(self, owner: Sequence[str]) -> Path:
        return self._folder.joinpath(*(name_part(text) for text in owner))


def _walk(folder: Path) -> Iterator[Found]:
    for base, _, names in os.walk(folder):
        for name in names:
            path = Path(base, name)
            if not name.startswith(UPLOADING):
                with contextlib.suppress(OSError):
                    shown = "/".join(unquote(part) for part in path.relative_to(folder).parts)
                    yield _found(shown, path)


def _found(name: str, path: Path) -> Found:
    about = path.stat()
    return Found(name, path, about.st_size, about.st_mtime)
