"""Artifacts: versions of named sets of files.

One JSON file per project says what there is; files lie beside it, named by their MD5, so that a
file of many versions is kept once. What a client uploads counts when it commits, and only when it
is what it said.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tune_bridge.backends.base import Run
from tune_bridge.errors import BackendError, InputError, NotFoundError
from tune_bridge.server.wandb.execute import Call
from tune_bridge.server.wandb.files import Files
from tune_bridge.server.wandb.filters import page
from tune_bridge.server.wandb.home import Home
from tune_bridge.server.wandb.ids import Signer, derived, global_id, number, parts
from tune_bridge.server.wandb.jsontext import dump, iso, mapping

__all__ = ["Artifacts"]

UPLOAD, DOWNLOAD = "upload", "download"
_SECONDS = 3600.0
_MOST = 10_000
_OWNER = "artifacts"
_COMMITTED, _PENDING = "COMMITTED", "PENDING"

Item = dict[str, Any]


class Artifacts:
    """The operations on artifacts. Thread-safe.

    Args:
        home: Finds projects and runs.
        folder: For what is said of them.
        files: For the files themselves.
        signer: Signs the addresses of files.
    """

    def __init__(self, home: Home, folder: Path, files: Files, signer: Signer) -> None:
        self._home = home
        self._folder = folder
        self._files = files
        self._signer = signer
        self._lock = threading.Lock()

    # Changes.

    def create(self, call: Call) -> dict[str, Any]:
        """A version that is about to come; one that is there already when it is the same."""
        entity, project = self._home.place(call)
        names = call.get("artifactCollectionNames") or [call.get("artifactCollectionName")]
        collection, kind = str(names[0] or ""), str(call.get("artifactTypeName") or "")
        if not collection or not kind or set(collection) & set("/:"):
            raise InputError("an artifact needs a name and a type", found=repr(collection)[:100])
        with self._lock:
            shelf = self._read(entity, project)
            mine = [item for item in shelf.values() if item["collection"] == collection]
            other = next((item["type"] for item in mine if item["type"] != kind), None)
            if other is not None:
                raise InputError(
                    f"artifact {collection} has another type", found=kind, expected=str(other)
                )
            latest = next((item for item in mine if "latest" in item["aliases"]), None)
            same = [item for item in mine if item["digest"] == call.get("digest")]
            item = next(iter(same), None)
            aliases = [str(alias["alias"]) for alias in call.get("aliases", [])]
            if item is None:
                key = secrets.token_hex(8)
                item = shelf[key] = {
                    "key": key, "collection": collection, "type": kind, "state": _PENDING,
                    "digest": str(call.get("digest") or ""), "aliases": [], "wanted": aliases,
                    "version": None, "description": call.get("description"),
                    "metadata": call.get("metadata"), "step": call.get("historyStep"),
                    "run": call.get("runName"), "created": time.time(), "files": {}, "size": 0,
                    "clients": [], "used": [],
                }  # fmt: skip
            elif item["state"] == _COMMITTED:
                _name(mine, item, aliases)
            item["clients"] = [*item["clients"], call.get("clientID")][-100:]
            self._write(entity, project, shelf)
        found = None if latest is None else {"id": _id(entity, project, latest)}
        node: dict[str, Any] = {
            "artifactSequence": {"latestArtifact": found},
            "state": item["state"],
        }
        return {"artifact": {"__typename": "Artifact", "id": _id(entity, project, item), **node}}

    def create_manifest(self, call: Call) -> dict[str, Any]:
        """The address for the list of an artifact's files."""
        entity, project, key = parts("Artifact", call.get("artifactID"))
        self._item(entity, project, key)
        name = f"manifests/{key}.json"
        file = {
            "id": global_id("File", *_owner(entity, project), name),
            "uploadUrl": self._address(UPLOAD, entity, project, name, call),
            "uploadHeaders": [],
        }
        return {"artifactManifest": {"id": global_id("Manifest", key), "file": file}}

    def create_files(self, call: Call) -> dict[str, Any]:
        """Addresses for an artifact's files; none for those that are there."""
        asked = call.get("artifactFiles", [])
        if len(asked) > _MOST:
            raise InputError("too many files in one request", expected=f"{_MOST} at most")
        edges = []
        for about in asked:
            entity, project, key = parts("Artifact", about.get("artifactID"))
            self._item(entity, project, key)
            name = _content(str(about.get("md5", "")))
            there = self._files.path(_owner(entity, project), name).is_file()
            node: dict[str, Any] = {
                "storagePath": name,
                "uploadUrl": None if there else self._address(UPLOAD, entity, project, name, call),
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": about["artifactID"]},
            }
            edges.append({"node": node})
        return {"files": {"edges": edges}}

    def commit(self, call: Call) -> dict[str, Any]:
        """The version is there, as soon as all of its files are.

        Raises:
            InputError: A file is missing, or is another one than its manifest says.
        """
        entity, project, key = parts("Artifact", call.get("artifactID"))
        item = self._item(entity, project, key)
        if item["state"] != _COMMITTED:
            contents, size = self._checked(entity, project, key)
            with self._lock:
                shelf = self._read(entity, project)
                item = shelf[key]
                mine = [one for one in shelf.values() if one["collection"] == item["collection"]]
                versions = [one["version"] for one in mine if one["version"] is not None]
                item.update(
                    state=_COMMITTED,
                    files=contents,
                    size=size,
                    version=max(versions, default=-1) + 1,
                )
                _name(mine, item, item.pop("wanted", []))
                self._write(entity, project, shelf)
        return {"artifact": {"id": _id(entity, project, item), "digest": item["digest"]}}

    def _checked(self, entity: str, project: str, key: str) -> tuple[dict[str, str], int]:
        """The files of a manifest, by name, and their size."""
        owner = _owner(entity, project)
        manifest = self._files.file(owner, f"manifests/{key}.json").path.read_text("utf-8")
        found: dict[str, str] = {}
        size = 0
        for name, about in mapping(manifest, "the manifest").get("contents", {}).items():
            size += int(about.get("size") or 0)
            if about.get("ref"):
                continue
            file = self._files.file(owner, _content(str(about["digest"])))
            if file.md5() != about["digest"]:
                self._files.delete(owner, file.name)
                raise InputError(f"file {name} is not what its manifest says; send it again")
            found[str(name)] = file.name
        return found, size

    def use(self, call: Call) -> dict[str, Any]:
        """Notes that a run uses an artifact."""
        entity, project, key = parts("Artifact", call.get("artifactID"))
        with self._lock:
            shelf = self._read(entity, project)
            item = _of(shelf, key)
            run = [call.get("entityName"), call.get("projectName"), call.get("runName")]
            if run not in item["used"]:
                item["used"].append(run)
                self._write(entity, project, shelf)
        return {"artifact": self._node(entity, project, item, call)}

    # Shown.

    def one(self, call: Call) -> dict[str, Any] | None:
        """An artifact by its id."""
        entity, project, key = parts("Artifact", call.get("id"))
        return self._node(entity, project, self._item(entity, project, key), call)

    def client(self, call: Call) -> dict[str, Any] | None:
        """An artifact by the id that its client has given it."""
        wanted = call.get("clientID")
        for path in self._folder.glob("*.json"):
            about = json.loads(path.read_text("utf-8"))
            for item in about["artifacts"].values():
                if wanted in item["clients"]:
                    return {"serverID": _id(about["entity"], about["project"], item)}
        return None

    def fields(self, entity: str, project: str) -> dict[str, Callable[[Call], Any]]:
        """The fields of a project that show artifacts."""

        def membership(call: Call) -> Any:
            return self._membership(entity, project, str(call.get("name", "")), call)

        def collection(call: Call) -> Any:
            name = str(call.get("name", ""))

            def inner(call: Call) -> Any:
                return self._membership(entity, project, f"{name}:{call.get('aliasName')}", call)

            return {"__typename": "ArtifactSequence", "name": name, "artifactMembership": inner}

        def artifact(call: Call) -> Any:
            found = membership(call)
            return None if found is None else found["artifact"]

        def kind(call: Call) -> Any:
            name = call.get("name")
            with self._lock:
                found = [i for i in self._read(entity, project).values() if i["type"] == name]
            if not found:
                return None
            since = iso(found[0]["created"])
            id_ = global_id("ArtifactType", entity, project, str(name))
            return {"__typename": "ArtifactType", "id": id_, "name": name, "createdAt": since}

        return {
            "artifactCollectionMembership": membership,
            "artifactCollection": collection,
            "artifact": artifact,
            "artifactType": kind,
        }

    def of_run(self, run: Run, name: str, kind: str, call: Call) -> dict[str, Any]:
        """The artifacts that a run has made ("output") or used ("input")."""
        sweep = self._home.of_run(run.sweep_id)
        place = (sweep.entity, sweep.project)
        with self._lock:
            items = list(self._read(*place).values())
        chosen = [
            item
            for item in items
            if item["state"] == _COMMITTED
            and (item["run"] == name if kind == "output" else [*place, name] in item["used"])
        ]
        made = page(
            chosen, call.get("first"), call.get("after"), lambda i: self._node(*place, i, call)
        )
        return {**made, "totalCount": len(chosen)}

    def _membership(self, entity: str, project: str, name: str, call: Call) -> Any:
        """A version by ``name:alias``; the latest without an alias."""
        collection, _, alias = name.partition(":")
        with self._lock:
            items = list(self._read(entity, project).values())
        wanted = alias or "latest"
        item = next(
            (
                item
                for item in items
                if (item["collection"], item["state"]) == (collection, _COMMITTED)
                and wanted in (*item["aliases"], f"v{item['version']}")
            ),
            None,
        )
        if item is None:
            return None
        return {
            "__typename": "ArtifactCollectionMembership",
            "id": global_id("Membership", item["key"]),
            "versionIndex": item["version"],
            "createdAt": iso(item["created"]),
            "aliases": _aliases(entity, project, item),
            "artifactCollection": _collection(entity, project, item),
            "artifact": self._node(entity, project, item, call),
            "files": lambda inner: self._listed(entity, project, item, inner),
        }

    def _listed(self, entity: str, project: str, item: Item, call: Call) -> dict[str, Any]:
        def node(pair: tuple[str, str]) -> dict[str, Any]:
            address = self._address(DOWNLOAD, entity, project, pair[1], call)
            return {"__typename": "File", "name": pair[0], "directUrl": address}

        return page(sorted(item["files"].items()), call.get("first"), call.get("after"), node)

    def _node(self, entity: str, project: str, item: Item, call: Call) -> dict[str, Any]:
        def manifest(call: Call) -> dict[str, Any]:
            name = f"manifests/{item['key']}.json"
            address = self._address(DOWNLOAD, entity, project, name, call)
            return {"id": global_id("Manifest", item["key"]), "file": {"directUrl": address}}

        return {
            "__typename": "Artifact",
            "id": _id(entity, project, item),
            "artifactSequence": {**_collection(entity, project, item), "__typename": _SEQUENCE},
            "artifactType": {"__typename": "ArtifactType", "name": item["type"]},
            "versionIndex": item["version"],
            "description": item["description"],
            "metadata": item["metadata"],
            "ttlDurationSeconds": -2,
            "ttlIsInherited": True,
            "tags": [],
            "historyStep": item["step"],
            "state": item["state"],
            "size": item["size"],
            "digest": item["digest"],
            "digestAlgorithm": "MANIFEST_MD5",
            "commitHash": item["key"],
            "fileCount": len(item["files"]),
            "createdAt": iso(item["created"]),
            "updatedAt": iso(item["created"]),
            "aliases": _aliases(entity, project, item),
            "currentManifest": manifest,
            "files": lambda call: self._listed(entity, project, item, call),
        }

    def _address(self, purpose: str, entity: str, project: str, name: str, call: Call) -> str:
        owner = _owner(entity, project)
        token = self._signer.sign(purpose, *owner, name, seconds=_SECONDS)
        return f"{call.base}/wandb/files/{token}"

    # Kept.

    def _item(self, entity: str, project: str, key: str) -> Item:
        with self._lock:
            return _of(self._read(entity, project), key)

    def _path(self, entity: str, project: str) -> Path:
        return self._folder / f"{derived('artifacts', entity, project)}.json"

    def _read(self, entity: str, project: str) -> dict[str, Item]:
        try:
            text = self._path(entity, project).read_text("utf-8")
        except OSError:
            return {}
        found: dict[str, Item] = json.loads(text)["artifacts"]
        return found

    def _write(self, entity: str, project: str, shelf: dict[str, Item]) -> None:
        data = {"entity": entity, "project": project, "artifacts": shelf}
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".shelf-")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(dump(data))
            Path(name).replace(self._path(entity, project))
        except OSError as error:
            raise BackendError(f"the server cannot write: {error.strerror or error}") from None


_SEQUENCE = "ArtifactSequence"


def _of(shelf: dict[str, Item], key: str) -> Item:
    try:
        return shelf[key]
    except KeyError:
        raise NotFoundError("no such artifact", found=repr(key)) from None


def _name(mine: list[Item], item: Item, aliases: list[str]) -> None:
    """Gives a version its aliases; others of the collection lose them."""
    for other in mine:
        other["aliases"] = [alias for alias in other["aliases"] if alias not in aliases]
    item["aliases"] = sorted({*item["aliases"], *aliases})


def _id(entity: str, project: str, item: Item) -> str:
    return global_id("Artifact", entity, project, item["key"])


def _owner(entity: str, project: str) -> tuple[str, str]:
    return _OWNER, derived("artifacts", entity, project)


def _content(digest: str) -> str:
    """The name of a file by its MD5 in base64."""
    try:
        data = base64.b64decode(digest, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != 16:
        raise InputError("no MD5 of a file", found=repr(digest)[:100])
    return f"content/{data.hex()}"


def _collection(entity: str, project: str, item: Item) -> dict[str, Any]:
    about = {
        "__typename": "Project",
        "id": global_id("Project", entity, project),
        "internalId": str(number(entity, project)),
        "name": project,
        "entity": {"name": entity},
    }
    return {"__typename": "ArtifactSequence", "name": item["collection"], "project": about}


def _aliases(entity: str, project: str, item: Item) -> list[dict[str, Any]]:
    return [
        {
            "__typename": "ArtifactAlias",
            "id": global_id("Alias", item["key"], alias),
            "alias": alias,
            "artifactCollection": _collection(entity, project, item),
        }
        for alias in item["aliases"]
    ]
