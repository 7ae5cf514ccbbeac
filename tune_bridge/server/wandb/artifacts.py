"""Artifacts: versions of named sets of files, made and changed.

`tune_bridge.server.wandb.shelf` says what there is; files lie beside it, named by their MD5, so
that a file of many versions is kept once. What a client uploads counts when it commits, and only
when it is what it said. A version that is told as a difference to another one (``incremental``), or
in pieces by several programs (``upsert_artifact``), is put together then.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import secrets
import time
from typing import Any

from tune_bridge.errors import InputError, NotFoundError
from tune_bridge.server.wandb.catalog import Catalog
from tune_bridge.server.wandb.execute import Call
from tune_bridge.server.wandb.files import Files
from tune_bridge.server.wandb.home import Home
from tune_bridge.server.wandb.ids import global_id, parts
from tune_bridge.server.wandb.jsontext import dump, mapping
from tune_bridge.server.wandb.shelf import (
    COMMITTED,
    PENDING,
    Item,
    Place,
    Shelf,
    Shelves,
    artifact_id,
    set_aliases,
)

__all__ = ["Artifacts"]

_MOST = 10_000
_LONGEST = 128
_PARTIAL = ("INCREMENTAL", "PATCH")
"""Kinds of manifests that say a part of a version's files."""


class Artifacts:
    """The operations on artifacts. Thread-safe.

    Args:
        home: Finds projects and runs.
        shelves: What there is.
        files: The files themselves.
        catalog: Shows them.
    """

    def __init__(self, home: Home, shelves: Shelves, files: Files, catalog: Catalog) -> None:
        self._home = home
        self._shelves = shelves
        self._files = files
        self._catalog = catalog
        self.operations = {
            "artifact": self.one,
            "clientIDMapping": self.client,
            "createArtifact": self.create,
            "createArtifactManifest": self.create_manifest,
            "updateArtifactManifest": self.update_manifest,
            "createArtifactFiles": self.create_files,
            "commitArtifact": self.commit,
            "useArtifact": self.use,
            "updateArtifact": self.update,
            "deleteArtifact": self.delete,
            "addAliases": self.add_aliases,
            "deleteAliases": self.delete_aliases,
            "linkArtifact": self.link,
            "unlinkArtifact": self.unlink,
            **catalog.operations,
        }

    # From a run.

    def create(self, call: Call) -> dict[str, Any]:
        """A version that is about to come; one that is there already when it is the same."""
        place = Place(*self._home.place(call))
        names = call.get("artifactCollectionNames") or [call.get("artifactCollectionName")]
        name, kind = str(names[0] or ""), str(call.get("artifactTypeName") or "")
        if not name or not kind or set(name) & set("/:") or len(name) > _LONGEST:
            raise InputError("an artifact needs a name and a type", found=repr(name)[:100])
        if call.get("storageRegion") not in (None, "default"):
            raise InputError("no such storageRegion", found=str(call["storageRegion"])[:100])
        aliases = [str(alias["alias"]) for alias in call.get("aliases", [])]
        with self._shelves.edit(place) as shelf:
            shelf.collection(name, kind)
            entries = shelf.entries(name)
            latest = next((entry for entry in entries if "latest" in entry["aliases"]), None)
            item = self._same(shelf, name, call)
            if item is None:
                item = self._new(shelf, name, kind, aliases, call)
            elif item["state"] == COMMITTED:
                set_aliases(entries, item, aliases)
            else:
                item["wanted"] = sorted({*item["wanted"], *aliases})
            item["clients"] = [*item["clients"], call.get("clientID")][-100:]
            tags = {str(tag["tagName"]) for tag in call.get("tags", [])}
            item["tags"] = sorted({*item.get("tags", []), *tags})
            run, made = call.get("runName"), item.setdefault("made", [])
            if run not in (None, item["run"], *made):
                made.append(run)
        found = None if latest is None else {"id": artifact_id(place, latest)}
        return {
            "artifact": {
                "__typename": "Artifact",
                "id": artifact_id(place, item),
                "state": item["state"],
                "artifactSequence": {"latestArtifact": found},
            }
        }

    @staticmethod
    def _same(shelf: Shelf, name: str, call: Call) -> Item | None:
        """The version that a client means: with the same files, or one that several make."""
        mine = [item for item in shelf.items.values() if item["collection"] == name]
        shared = call.get("distributedID")
        if shared:
            return next((item for item in mine if item.get("shared") == shared), None)
        return next((i for i in mine if i["digest"] == call.get("digest") and i["digest"]), None)

    @staticmethod
    def _new(shelf: Shelf, name: str, kind: str, aliases: list[str], call: Call) -> Item:
        key, now = secrets.token_hex(8), time.time()
        item = shelf.items[key] = {
            "key": key, "collection": name, "type": kind, "state": PENDING, "version": None,
            "digest": str(call.get("digest") or ""), "aliases": [], "wanted": aliases,
            "description": call.get("description"), "metadata": call.get("metadata"),
            "step": call.get("historyStep"), "run": call.get("runName"), "tags": [], "ttl": None,
            "shared": call.get("distributedID"), "created": now, "updated": now, "files": {},
            "size": 0, "clients": [], "used": [], "links": [], "base": None, "parts": [],
        }  # fmt: skip
        return item

    def create_manifest(self, call: Call) -> dict[str, Any]:
        """The address for the list of an artifact's files, or for a part of it."""
        place, key = self._parts(call.get("artifactID"))
        kind, name = str(call.get("type") or "FULL"), f"manifests/{key}.json"
        with self._shelves.edit(place) as shelf:
            item = shelf.item(key)
            if kind in _PARTIAL and item["state"] == PENDING:
                pieces = item.setdefault("parts", [])
                name = f"manifests/{key}.{len(pieces)}.json"
                pieces.append(name)
                if kind == "INCREMENTAL":
                    item["base"] = call.get("baseArtifactID")
        return self._manifest_node(place, name, call)

    def update_manifest(self, call: Call) -> dict[str, Any]:
        """The address for a list of files that was announced before."""
        entity, project, name = parts("Manifest", call.get("artifactManifestID"))
        return self._manifest_node(Place(entity, project), name, call)

    def _manifest_node(self, place: Place, name: str, call: Call) -> dict[str, Any]:
        file = {
            "id": global_id("File", *self._catalog.owner(place), name),
            "uploadUrl": self._catalog.upload(place, name, call),
            "uploadHeaders": [],
        }
        return {"artifactManifest": {"id": global_id("Manifest", *place, name), "file": file}}

    def create_files(self, call: Call) -> dict[str, Any]:
        """Addresses for an artifact's files; none for those that are there."""
        asked = call.get("artifactFiles", [])
        if len(asked) > _MOST:
            raise InputError("too many files in one request", expected=f"{_MOST} at most")
        known: set[tuple[Place, str]] = set()
        edges = []
        for about in asked:
            place, key = self._parts(about.get("artifactID"))
            if (place, key) not in known:
                self._shelves.read(place).item(key)
                known.add((place, key))
            name = _content(str(about.get("md5", "")))
            there = self._files.path(self._catalog.owner(place), name).is_file()
            node: dict[str, Any] = {
                "storagePath": name,
                "uploadUrl": None if there else self._catalog.upload(place, name, call),
                "uploadHeaders": [],
                "uploadMultipartUrls": None,  # whatever its size, a file comes in one piece
                "artifact": {"id": about["artifactID"]},
            }
            edges.append({"node": node})
        return {"files": {"edges": edges}}

    def commit(self, call: Call) -> dict[str, Any]:
        """The version is there, as soon as all of its files are.

        Raises:
            InputError: A file is missing, or is another one than its manifest says.
        """
        place, key = self._parts(call.get("artifactID"))
        item = self._shelves.read(place).item(key)
        if item["state"] != COMMITTED:
            contents, refs, size = self._checked(place, item)
            with self._shelves.edit(place) as shelf:
                item = shelf.item(key)
                if item["state"] != COMMITTED:  # by the same request at the same time
                    item.update(
                        state=COMMITTED,
                        files=contents,
                        refs=refs,
                        size=size,
                        version=shelf.number(item["collection"]),
                    )
                    entries = shelf.entries(item["collection"])
                    set_aliases(entries, item, item.pop("wanted", []))
        return {"artifact": {"id": artifact_id(place, item), "digest": item["digest"]}}

    def _checked(
        self, place: Place, item: Item
    ) -> tuple[dict[str, str], dict[str, dict[str, Any]], int]:
        """The files of a manifest, by name, those that lie elsewhere, and the size of all."""
        owner = self._catalog.owner(place)
        found: dict[str, str] = {}
        refs: dict[str, dict[str, Any]] = {}
        size = 0
        for name, about in self._contents(place, item).items():
            size += int(about.get("size") or 0)
            if about.get("ref"):
                refs[str(name)] = {
                    "ref": str(about["ref"]),
                    "digest": str(about.get("digest")),
                    "size": int(about.get("size") or 0),
                }
                continue
            file = self._files.file(owner, _content(str(about["digest"])))
            if file.md5() != about["digest"]:
                self._files.delete(owner, file.name)
                raise InputError(f"file {name} is not what its manifest says; send it again")
            found[str(name)] = file.name
        return found, refs, size

    def _contents(self, place: Place, item: Item) -> dict[str, Any]:
        """What a version's manifest says; of several parts, they are made one here."""
        whole = f"manifests/{item['key']}.json"
        names = item.get("parts") or []
        if not names:
            return dict(self._manifest(place, whole).get("contents", {}))
        merged: dict[str, Any] = {}
        if item.get("base"):
            base, key = self._parts(item["base"])
            with contextlib.suppress(NotFoundError):  # deleted since: then this is all there is
                merged.update(self._manifest(base, f"manifests/{key}.json").get("contents", {}))
        manifest: dict[str, Any] = {}
        for name in names:
            with contextlib.suppress(NotFoundError):  # of a program that has not sent it
                manifest = self._manifest(place, name)
                merged.update(manifest.get("contents", {}))
        text = dump({**manifest, "contents": merged}).encode()
        with self._files.upload(self._catalog.owner(place), whole) as upload:
            upload.write(text)
            upload.commit()
        return merged

    def _manifest(self, place: Place, name: str) -> dict[str, Any]:
        file = self._files.file(self._catalog.owner(place), name)
        return mapping(file.path.read_text("utf-8"), "the manifest")

    def use(self, call: Call) -> dict[str, Any]:
        """Notes that a run uses an artifact."""
        place, key = self._parts(call.get("artifactID"))
        run = [call.get("entityName"), call.get("projectName"), call.get("runName")]
        with self._shelves.edit(place) as shelf:
            item = shelf.item(key)
            if run not in item["used"]:
                item["used"].append(run)
        return {"artifact": self._catalog.node(place, item, call)}

    # By people.

    def update(self, call: Call) -> dict[str, Any]:
        """Changes what is said of a version; what is not said stays as it is."""
        place, key = self._parts(call.get("artifactID"))
        with self._shelves.edit(place) as shelf:
            item = shelf.item(key)
            for name, kept in (("description", "description"), ("metadata", "metadata")):
                if name in call:
                    item[kept] = call[name]
            if "ttlDurationSeconds" in call:
                item["ttl"] = int(call["ttlDurationSeconds"])
            gone = {tag["tagName"] for tag in call.get("tagsToDelete", [])}
            new = {tag["tagName"] for tag in call.get("tagsToAdd", [])}
            item["tags"] = sorted(({*item.get("tags", [])} | new) - gone)
            if "aliases" in call:
                names = [alias["alias"] for alias in call["aliases"]]
                item["aliases"] = []
                set_aliases(shelf.entries(item["collection"]), item, names)
            item["updated"] = time.time()
        return {"artifact": self._catalog.node(place, item, call)}

    def delete(self, call: Call) -> dict[str, Any]:
        """Removes a version with its files and links.

        Raises:
            InputError: It has aliases, and nobody has said that they may go.
        """
        place, key = self._parts(call.get("artifactID"))
        item = self._shelves.read(place).items.get(key)
        if item is None:  # by the same request before
            return {"artifact": {"id": call.get("artifactID")}}
        if item["aliases"] and not call.get("deleteAliases"):
            raise InputError(
                f"artifact {item['collection']}:v{item['version']} has aliases",
                found=", ".join(item["aliases"]),
                hint="remove them first, or delete with delete_aliases=True",
            )
        self._catalog.remove(place, [item])
        return {"artifact": {"id": artifact_id(place, item)}}

    def add_aliases(self, call: Call) -> dict[str, Any]:
        """Gives a version aliases in a collection; others there lose them."""
        for place, name, alias in _aliases(call):
            with self._shelves.edit(place) as shelf:
                entries = shelf.entries(name)
                set_aliases(entries, self._entry(shelf, name, call), [alias])
        return {"success": True}

    def delete_aliases(self, call: Call) -> dict[str, Any]:
        """Takes aliases away from a version in a collection."""
        for place, name, alias in _aliases(call):
            with self._shelves.edit(place) as shelf:
                entry = self._entry(shelf, name, call)
                entry["aliases"] = [kept for kept in entry["aliases"] if kept != alias]
        return {"success": True}

    def _entry(self, shelf: Shelf, name: str, call: Call) -> Item:
        """An artifact's entry in a collection."""
        place, key = self._parts(call.get("artifactID"))
        for entry in shelf.entries(name):
            home = entry.get("home") or [*shelf.place, entry.get("key")]
            if home == [*place, key]:
                return entry
        raise NotFoundError("the artifact is not in this collection", found=repr(name))

    def link(self, call: Call) -> dict[str, Any]:
        """Puts a version into another collection, of any project, as its newest version there.

        Raises:
            InputError: That collection has versions of its own, or another type.
        """
        source = call.get("artifactID")
        if source is None:
            found = self.client(call)
            source = None if found is None else found["serverID"]
        place, key = self._parts(source)
        item = self._shelves.read(place).item(key)
        if item["state"] != COMMITTED:
            raise InputError("an artifact that is not complete cannot be linked")
        target = Place(*self._home.place(call))
        name = str(call.get("artifactPortfolioName") or "")
        if call.get("artifactPortfolioID"):
            target, name = self._catalog.collection_of(call["artifactPortfolioID"])
        if not name or set(name) & set("/:") or len(name) > _LONGEST:
            raise InputError("no name for a collection of artifacts", found=repr(name)[:100])
        aliases = [str(alias["alias"]) for alias in call.get("aliases", [])]
        with self._shelves.edit(target) as shelf:
            kept = shelf.collection(name, item["type"], portfolio=True)
            mine = [link for link in kept["links"] if link["home"] == [*place, key]]
            entry = mine[0] if mine else None
            if entry is None:
                entry = {
                    "home": [*place, key], "version": shelf.number(name), "aliases": [],
                    "created": time.time(),
                }  # fmt: skip
                kept["links"].append(entry)
                aliases.append("latest")
            set_aliases(kept["links"], entry, aliases)
        with self._shelves.edit(place) as shelf:
            item = shelf.item(key)
            links = item.setdefault("links", [])
            if [*target, name] not in links:
                links.append([*target, name])
        shown = self._shelves.entry(target, name, entry)
        assert shown is not None
        return {
            "versionIndex": entry["version"],
            "artifactMembership": self._catalog.membership(shown, call),
        }

    def unlink(self, call: Call) -> dict[str, Any]:
        """Takes a version out of a collection that it is linked to."""
        target, name = self._catalog.collection_of(call.get("artifactPortfolioID"))
        place, key = self._parts(call.get("artifactID"))
        with self._shelves.edit(target) as shelf:
            for entry in shelf.entries(name):
                if entry.get("home") == [*place, key]:
                    shelf.drop(name, entry)
        with self._shelves.edit(place) as shelf:
            item = shelf.items.get(key, {"links": []})
            item["links"] = [link for link in item.get("links", []) if link != [*target, name]]
        return {"success": True}

    # Shown.

    def one(self, call: Call) -> dict[str, Any] | None:
        """An artifact by its id."""
        place, key = self._parts(call.get("id"))
        found = self._shelves.read(place).items.get(key)  # None when it was deleted
        return None if found is None else self._catalog.node(place, found, call)

    def client(self, call: Call) -> dict[str, Any] | None:
        """An artifact by the id that its client has given it."""
        wanted = call.get("clientID")
        for shelf in self._shelves.all():
            for item in shelf.items.values():
                if wanted in item["clients"]:
                    return {"serverID": artifact_id(shelf.place, item)}
        return None

    @staticmethod
    def _parts(text: Any) -> tuple[Place, str]:
        entity, project, key = parts("Artifact", text)
        return Place(entity, project), key


def _aliases(call: Call) -> list[tuple[Place, str, str]]:
    return [
        (
            Place(str(about["entityName"]), str(about["projectName"])),
            str(about["artifactCollectionName"]),
            str(about["alias"])[:_LONGEST],
        )
        for about in call.get("aliases", [])
    ]


def _content(digest: str) -> str:
    """The name of a file by its MD5 in base64."""
    try:
        data = base64.b64decode(digest, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != 16:
        raise InputError("no MD5 of a file", found=repr(digest)[:100])
    return f"content/{data.hex()}"
