"""Values of results that are no numbers: histograms stay in the row, pictures become files.

| value | in the row |
|---|---|
| a tuple of counts and edges (``np.histogram``), ``wandb.Histogram`` | W&B's ``histogram`` |
| an image of PIL, a figure of matplotlib, ``wandb.Image`` | ``image-file``, a PNG |
| an array or tensor of more than 32 numbers | ``file``, ``.npy`` |
| bytes, a text of more than 65,536 characters | ``file``, ``.bin`` or ``.txt`` |

Files are those of the run that the server shows: ``<folder>/<sweep>/<run>/media/...``, by the names
that uploads of the wandb client have (`tune_bridge.files.name_parts`). The folder of a SQLite file
stands beside it; that of a PostgreSQL database is the one that a server of it has on this machine,
and a server elsewhere does not find them, which is said once. W&B keeps none of these; there, and
for all other values, there is a warning for each name, once. Files are made and written in a thread
of their own.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tune_bridge.backends.base import Backend
from tune_bridge.backends.places import canonical
from tune_bridge.backends.wandb import is_wandb
from tune_bridge.errors import InputError
from tune_bridge.files import UPLOADING, name_part, name_parts
from tune_bridge.server_process import files_of

__all__ = ["LEFT_OUT", "LONGEST_TEXT", "Attachments", "folder_of", "is_of_this_machine"]

_logger = logging.getLogger("tune_bridge.callback")

LEFT_OUT = object()
"""What `Attachments.take` says of a value that stands in no row."""

LONGEST_TEXT = 65_536  # characters of a text in a row
_SHORT_ARRAY = 32  # numbers that are a list in the row, as in W&B's
_WAITING = 256  # values that may wait for the disk


class _File(NamedTuple):
    """A value as a file: what the row says it is, folder and ending of its name, its bytes."""

    kind: str
    folder: str
    ending: str
    encode: Callable[[], bytes]


def folder_of(place: Backend | str | None) -> Path | None:
    """The folder with the files of a place's runs; None for a place without one."""
    url = getattr(place, "url", None) if isinstance(place, Backend) else canonical(place)
    if not isinstance(url, str) or is_wandb(url) or ":memory:" in url:
        return None
    return files_of(url).store / "wandb" / "files"


def is_of_this_machine(place: Backend | str | None) -> bool:
    """Whether the folder of a place is elsewhere on another machine: the place is a database."""
    url = getattr(place, "url", None) if isinstance(place, Backend) else canonical(place)
    return isinstance(url, str) and url.startswith("postgresql://")


class Attachments:
    """Takes the values of a sweep's results that are no numbers and no texts.

    Args:
        folder: Of the files of its place, or None.
        sweep_id: The sweep.
        stays: The files stay on this machine although the place does not, which is said.
    """

    def __init__(self, folder: Path | None, sweep_id: str, *, stays: bool = False) -> None:
        self._folder, self._sweep = folder, sweep_id
        self._stays = stays
        self._told: set[str] = set()
        self._queue: queue.Queue[tuple[str, Path, Callable[[], bytes]] | None] = queue.Queue(
            _WAITING
        )
        self._thread: threading.Thread | None = None

    def take(self, run_id: str, step: int, key: str, value: Any) -> Any:
        """What stands in the row for a value: plain data, or `LEFT_OUT`.

        Args:
            run_id: The run.
            step: The row's.
            key: The value's name.
            value: Must not be changed afterwards.
        """
        with contextlib.suppress(Exception):  # foreign objects
            if (histogram := _histogram(value)) is not None:
                return histogram
        found: Any = None
        with contextlib.suppress(Exception):
            found = _array(value)
            found = _file(value) if found is None else found
        if isinstance(found, list | float | int):
            return found
        if found is None:
            return self._refuse(key, f"{type(value).__name__} is no number and no text")
        if self._folder is None:
            return self._refuse(
                key,
                f"{type(value).__name__} would be a file, and this place keeps none; log it with "
                "wandb in the program, or report to a SQLite file or to PostgreSQL",
            )
        name = f"media/{found.folder}/{key}_{step}{found.ending}"
        try:
            path = self._folder.joinpath(*map(name_part, (self._sweep, run_id)), *name_parts(name))
        except InputError as error:
            return self._refuse(key, str(error))
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._main, name="tune-bridge-files", daemon=True
            )
            self._thread.start()
            if self._stays:
                _logger.warning(
                    "files of runs stay on this machine, in %s: a server of this place shows them "
                    "when it runs here, or has the same TUNE_BRIDGE_HOME",
                    self._folder,
                )
        try:
            self._queue.put_nowait((key, path, found.encode))
        except queue.Full:
            return self._refuse(key, "the disk is slower than what is reported; some are left out")
        return {"_type": found.kind, "path": name}

    def close(self, timeout: float) -> None:
        """Waits until the files are written, at most so many seconds."""
        if self._thread is None:
            return
        until = time.monotonic() + timeout
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=timeout)
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            number = self._queue.qsize()
            _logger.warning("%d files of sweep %s are not written", number, self._sweep)
        self._thread = None

    def _main(self) -> None:
        while (found := self._queue.get()) is not None:
            key, path, encode = found
            try:
                _write(path, encode())
            except Exception as error:  # noqa: BLE001 - foreign objects, full disks
                self._refuse(key, f"its file cannot be made: {error}")

    def _refuse(self, key: str, why: str) -> Any:
        if key not in self._told:
            self._told.add(key)
            _logger.warning("%s is not logged: %s; it is not said again", key, why)
        return LEFT_OUT


def _write(path: Path, data: bytes) -> None:
    """Puts a file in its place, whole."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=UPLOADING)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _from(value: Any, package: str) -> bool:
    """Whether a value's class is one of a package's, which is loaded then."""
    return package in sys.modules and any(
        kind.__module__.partition(".")[0] == package for kind in type(value).__mro__
    )


def _numbers(value: Any) -> Any:
    """An array of numbers, or None: nobody else's methods are called."""
    if not (_from(value, "numpy") or _from(value, "torch")):
        return None
    import numpy as np

    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        return None
    return array if array.dtype.itemsize <= 8 else array.astype(float)  # Python's are no wider


def _histogram(value: Any) -> dict[str, Any] | None:
    if _from(value, "wandb") and type(value).__name__ == "Histogram":
        value = (value.histogram, value.bins)
    elif not isinstance(value, tuple) or len(value) != 2 or _numbers(value[0]) is None:
        return None
    import numpy as np

    counts, edges = (
        np.asarray(part if isinstance(part, list) else _numbers(part)).tolist() for part in value
    )
    if len(edges) != len(counts) + 1:
        return None
    return {"_type": "histogram", "values": counts, "bins": edges}


def _array(value: Any) -> list[Any] | float | _File | None:
    array = _numbers(value)
    if array is None:
        return None
    if array.size <= _SHORT_ARRAY:
        return array.tolist()  # type: ignore[no-any-return]

    def encode() -> bytes:
        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        return buffer.getvalue()

    return _File("file", "files", ".npy", encode)


def _file(value: Any) -> _File | None:
    if isinstance(value, str):
        return _File("file", "files", ".txt", lambda: value.encode("utf-8", "replace"))
    if isinstance(value, bytes | bytearray):
        return _File("file", "files", ".bin", lambda: bytes(value))
    if _from(value, "wandb") and type(value).__name__ == "Image":
        value = value.image
    if _from(value, "PIL") and hasattr(value, "save"):
        return _picture(lambda file: value.save(file, "PNG"))
    if _from(value, "matplotlib"):
        figure = value if hasattr(value, "savefig") else getattr(value, "figure", None)
        if figure is not None:
            return _picture(lambda file: figure.savefig(file, format="png"))
    return None


def _picture(save: Callable[[io.BytesIO], Any]) -> _File:
    def encode() -> bytes:
        buffer = io.BytesIO()
        save(buffer)
        return buffer.getvalue()

    return _File("image-file", "images", ".png", encode)
