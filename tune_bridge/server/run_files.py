"""The files of runs, for readers: checkpoints, what the wandb client uploaded, artifacts, output.

Everything is sent as an attachment that no browser looks into, but for images of four kinds, which
the page of a run shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from fastapi import FastAPI
from starlette.responses import FileResponse, Response, StreamingResponse

from tune_bridge.backends.base import Run
from tune_bridge.errors import InputError, NotFoundError, TuneBridgeError
from tune_bridge.server.addresses import run_json
from tune_bridge.server.control import Control
from tune_bridge.server.run_life import Life, Logs
from tune_bridge.server.values import json_bytes
from tune_bridge.server.wandb.catalog import Catalog
from tune_bridge.server.wandb.home import run_name
from tune_bridge.server.wandb.shelf import COMMITTED, Place

__all__ = ["IMAGES", "Checkpoint", "RunFile", "RunFiles", "told_checkpoints", "told_files"]

IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
"""What a page shows by itself: ending -> MIME type. A browser runs nothing of these."""

_SANDBOX = "sandbox; default-src 'none'"
_CHUNK = 1 << 20
_DIGITS = re.compile(r"([0-9]{1,18})")


class Checkpoint(msgspec.Struct, frozen=True):
    """A checkpoint of a run.

    Attributes:
        id: Its name.
        time: When it came, in seconds since the epoch; None when nobody has said.
        iteration: Of training, or None.
        size: In bytes; None when it is not here.
        path: Where its program says to have it, or None.
        url: Where it can be had, or None when it is not here.
    """

    id: str
    time: float | None
    iteration: int | None
    size: int | None = None
    path: str | None = None
    url: str | None = None


class RunFile(msgspec.Struct, frozen=True):
    """A file of a run.

    Attributes:
        name: With slashes.
        size: In bytes.
        time: When it was written, in seconds since the epoch.
        url: Where it can be had.
        artifact: ``name:v0`` and its type, for a file of an artifact; else None.
    """

    name: str
    size: int
    time: float
    url: str
    artifact: tuple[str, str] | None = None

    @property
    def image(self) -> bool:
        """Whether a page can show it."""
        return self.artifact is None and Path(self.name.lower()).suffix in IMAGES


class RunFiles:
    """The files of the runs of a place.

    Args:
        control: Has them.
        logs: Know the checkpoints.
    """

    def __init__(self, control: Control, logs: Logs) -> None:
        self._control = control
        self._store = control.store
        self._wandb = control.wandb
        self._logs = logs

    # What there is.

    def checkpoints(self, run: Run, life: Life) -> list[Checkpoint]:
        """The checkpoints of a run, in order of time; those that are gone have no size."""
        here = self._store.checkpoints(run.sweep_id, run.id)
        base, found = f"{run_json(run.id)}/checkpoints", list[Checkpoint]()
        for saved in life.saved:
            size = here.pop(saved.id, (None, 0.0))[0]
            url = None if size is None else f"{base}/{quote(saved.id, safe='')}"
            found.append(Checkpoint(saved.id, saved.time, saved.iteration, size, url=url))
        for name, (size, time) in here.items():  # its report has not come yet
            url = f"{base}/{quote(name, safe='')}"
            found.append(Checkpoint(name, time, None, size, url=url))
        return found or told_checkpoints(run)

    def files(self, run: Run) -> list[RunFile]:
        """What the wandb client uploaded, by name; then the files of the artifacts it made."""
        base = run_json(run.id)
        found = [
            RunFile(file.name, file.size, file.time, f"{base}/files/{quote(file.name)}")
            for file in self._wandb.files.list((run.sweep_id, run.id))
        ]
        found.sort(key=lambda file: _natural(file.name))
        place, mine = self._shelf(run)
        for item in mine:
            label = f"{item['collection']}:v{item['version']}"
            for name, kept in sorted(item["files"].items(), key=lambda one: _natural(one[0])):
                try:
                    file = self._wandb.files.file(Catalog.owner(place), kept)
                except TuneBridgeError:  # it is gone
                    continue
                url = f"{base}/artifacts/{quote(item['key'], safe='')}/{quote(name)}"
                about = (label, str(item["type"]))
                found.append(RunFile(name, file.size, float(item["created"]), url, about))
        return found

    def url(self, run: Run, name: str) -> str | None:
        """Where a file that a run tells of can be had; None when it is not here."""
        try:
            self._wandb.files.file((run.sweep_id, run.id), name)
        except TuneBridgeError:
            return None
        return f"{run_json(run.id)}/files/{quote(name)}"

    def _shelf(self, run: Run) -> tuple[Place, list[dict[str, Any]]]:
        """The project of a run, and the versions of artifacts that the run has made."""
        sweep = self._wandb.home.of_run(run.sweep_id)
        place, name = Place(sweep.entity, sweep.project), run_name(run)
        items = self._wandb.shelves.read(place).items.values()
        mine = [
            item
            for item in items
            if item["state"] == COMMITTED and name in (item["run"], *item.get("made", ()))
        ]
        return place, mine

    def output(self, run: Run) -> list[Path]:
        """The files with what the programs of a run have printed, one after the other."""
        found = self._store.outputs(run.sweep_id, run.id)
        if found:
            return found
        path = self._wandb.lines.path((run.sweep_id, run.id), "output")
        return [path] if path.is_file() else []

    def tail(self, run: Run, size: int) -> tuple[bytes, int]:
        """The end of the output, and the size of all of it; both in bytes.

        Raises:
            OSError: It cannot be read.
            InputError: The run's id names no folder.
        """
        paths = self.output(run)
        sizes = [path.stat().st_size for path in paths]
        kept = b""
        for path, whole in zip(reversed(paths), reversed(sizes), strict=True):
            missing = size - len(kept)
            if missing <= 0:
                break
            with path.open("rb") as file:
                file.seek(max(0, whole - missing))
                kept = file.read(missing) + kept
        return kept, sum(sizes)

    # Addresses.

    def attach(self, app: FastAPI) -> None:
        """Adds the routes."""
        app.get("/api/runs/{run_id}/checkpoints")(self.list_checkpoints)
        app.get("/api/runs/{run_id}/files")(self.list_files)
        app.get("/api/runs/{run_id}/files/{name:path}", response_model=None)(self.get_file)
        app.get("/api/runs/{run_id}/artifacts/{key}/{name:path}", response_model=None)(
            self.get_artifact
        )
        app.get("/api/runs/{run_id}/output", response_model=None)(self.get_output)

    def list_checkpoints(self, run_id: str) -> Response:
        """The checkpoints of a run."""
        run = self._control.controller.backend.run(run_id)
        found = self.checkpoints(run, self._logs.life(run))
        return _answer({"checkpoints": [msgspec.structs.asdict(one) for one in found]})

    def list_files(self, run_id: str) -> Response:
        """The files of a run."""
        found = self.files(self._control.controller.backend.run(run_id))
        return _answer({"files": [msgspec.structs.asdict(one) for one in found]})

    def get_file(self, run_id: str, name: str) -> Response:
        """A file of a run."""
        run = self._control.controller.backend.run(run_id)
        found = self._wandb.files.file((run.sweep_id, run.id), name)
        kind = IMAGES.get(Path(name.lower()).suffix)
        return _sent(found.path, name, kind)

    def get_artifact(self, run_id: str, key: str, name: str) -> Response:
        """A file of an artifact that a run has made."""
        place, mine = self._shelf(self._control.controller.backend.run(run_id))
        for item in mine:
            if item["key"] == key and name in item["files"]:
                kept = self._wandb.files.file(Catalog.owner(place), item["files"][name])
                return _sent(kept.path, name, None)
        raise NotFoundError("no such file", found=repr(name))

    def get_output(self, run_id: str) -> Response:
        """What the programs of a run have printed."""
        run = self._control.controller.backend.run(run_id)
        try:
            paths = self.output(run)
        except InputError:  # its id names no folder: nothing is kept
            paths = []
        return StreamingResponse(_pieces(paths), media_type="text/plain; charset=utf-8")


def told_files(summary: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The files that a summary tells of, as W&B's client and `SweepCallback` do: key -> name."""
    found: dict[str, str] = {}
    for key, value in summary.items():
        if not isinstance(value, Mapping):
            continue
        kind, name = value.get("_type"), value.get("path")
        if isinstance(kind, str) and kind.endswith("file") and isinstance(name, str):
            found[f"{prefix}{key}"] = name
        else:
            found |= told_files(value, f"{prefix}{key}.")
    return found


def _natural(name: str) -> list[tuple[int, str]]:
    """A name as people sort it: step 5 before step 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(name)]


def told_checkpoints(run: Run) -> list[Checkpoint]:
    """The last checkpoint, where the program keeps them itself."""
    told = run.meta.get("checkpoint")
    if not isinstance(told, dict):
        return []
    step = told.get("step")
    at = step if isinstance(step, int) else None
    return [Checkpoint("", None, at, path=str(told.get("path") or ""))]


def _pieces(paths: list[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            while data := file.read(_CHUNK):
                yield data


def _sent(path: Path, name: str, kind: str | None) -> Response:
    return FileResponse(
        path,
        media_type=kind or "application/octet-stream",
        filename=name.rpartition("/")[2],
        content_disposition_type="inline" if kind else "attachment",
        headers={"Content-Security-Policy": _SANDBOX},
    )


def _answer(value: Any) -> Response:
    return Response(json_bytes(value), media_type="application/json")
