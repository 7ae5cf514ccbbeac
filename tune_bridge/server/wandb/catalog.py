"""What GraphQL shows of artifacts: versions, collections, types; and changes of collections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tune_bridge.backends.base import Run
from tune_bridge.errors import InputError
from tune_bridge.server.wandb.execute import Call
from tune_bridge.server.wandb.files import Files
from tune_bridge.server.wandb.filters import MISSING, matches, ordered, page
from tune_bridge.server.wandb.home import Home
from tune_bridge.server.wandb.ids import Signer, derived, global_id, number, parts
from tune_bridge.server.wandb.jsontext import iso, load
from tune_bridge.server.wandb.shelf import COMMITTED, Item, Member, Place, Shelves, artifact_id

__all__ = ["Catalog"]

UPLOAD, DOWNLOAD = "upload", "download"
_SECONDS = 3600.0
_OWNER = "artifacts"
_NO_TTL, _INHERITED = -2, -1
_SEQUENCE, _PORTFOLIO = "ArtifactSequence", "ArtifactPortfolio"

Field = Callable[[Call], Any]


class Catalog:
    """Shows artifacts, and changes their collections.

    Args:
        home: Finds runs.
        shelves: What there is.
        files: The files of versions.
        signer: Signs their addresses.
    """

    def __init__(self, home: Home, shelves: Shelves, files: Files, signer: Signer) -> None:
        self._home = home
        self._shelves = shelves
        self._files = files
        self._signer = signer
        self.operations: dict[str, Field] = {
            "artifactCollection": self._by_id,
            "updateArtifactSequence": self._update,
            "updateArtifactPortfolio": self._update,
            "moveArtifactSequence": self._move,
            "deleteArtifactSequence": self._delete,
            "deleteArtifactPortfolio": self._delete,
            "createArtifactCollectionTagAssignments": self._add_tags,
            "deleteArtifactCollectionTagAssignments": self._delete_tags,
        }

    # Projects, types, collections.

    def fields(self, entity: str, project: str) -> dict[str, Field]:
        """The fields of a project that show artifacts."""
        place = Place(entity, project)

        def membership(call: Call) -> Any:
            found = self._shelves.member(place, str(call.get("name", "")))
            return None if found is None else self.membership(found, call)

        def artifact(call: Call) -> Any:
            found = membership(call)
            return None if found is None else found["artifact"]

        def kind(call: Call) -> Any:
            found = [name for name in self._types(place) if name == call.get("name")]
            return self._type(place, found[0]) if found else None

        def kinds(call: Call) -> Any:
            found = self._types(place)
            return page(
                found, call.get("first"), call.get("after"), lambda name: self._type(place, name)
            )

        return {
            "artifactCollectionMembership": membership,
            "artifactCollection": lambda call: self._collection(place, call.get("name")),
            "artifactCollections": lambda call: self._collections(place, None, call),
            "artifact": artifact,
            "artifactType": kind,
            "artifactTypes": kinds,
        }

    def _types(self, place: Place) -> list[str]:
        return list(self._shelves.read(place).types)

    def _type(self, place: Place, name: str) -> dict[str, Any]:
        since = self._shelves.read(place).types[name]

        def collection(call: Call) -> Any:
            found = self._collection(place, call.get("name"))
            return found if found is not None and found["type"] == name else None

        return {
            "__typename": "ArtifactType",
            "id": global_id("ArtifactType", *place, name),
            "name": name,
            "description": None,
            "createdAt": iso(since),
            "artifactCollections": lambda call: self._collections(place, name, call),
            "artifactCollection": collection,
        }

    def _collections(self, place: Place, kind: str | None, call: Call) -> dict[str, Any]:
        kept = self._shelves.read(place).collections.values()
        found = [about for about in kept if kind is None or about["type"] == kind]
        chosen = _chosen(found, call, _about_collection, order="name")
        return _listed(chosen, call, lambda about: self._shown(place, about))

    def _collection(self, place: Place, name: Any) -> dict[str, Any] | None:
        found = self._shelves.read(place).collections.get(str(name))
        return None if found is None else self._shown(place, found)

    def _by_id(self, call: Call) -> dict[str, Any] | None:
        place, name = self.collection_of(call.get("id"))
        return self._collection(place, name)

    def collection_of(self, text: Any) -> tuple[Place, str]:
        """The project and the name of a collection by its id, also of a time before it was renamed.

        Raises:
            NotFoundError: It is none.
        """
        entity, project, name = parts("Collection", text)
        place = Place(entity, project)
        return place, self._shelves.read(place).current(name)

    def _shown(self, place: Place, about: Item) -> dict[str, Any]:
        name = str(about["name"])

        def members() -> list[Member]:
            entries = self._shelves.read(place).entries(name)
            found = (self._shelves.entry(place, name, entry) for entry in entries)
            return [member for member in found if member is not None]

        def aliases(call: Call) -> Any:
            found = [(one, alias) for one in members() for alias in one.entry["aliases"]]
            return _listed(found, call, lambda pair: _alias(pair[0], pair[1]))

        def artifacts(call: Call) -> Any:
            chosen = _chosen(members(), call, _about_member, order="-versionIndex")
            shown = _listed(chosen, call, lambda one: self.node(one.home, one.item, call))
            for member, edge in zip(_paged(chosen, call), shown["edges"], strict=True):
                edge["version"] = f"v{member.entry['version']}"
            return shown

        def membership(call: Call) -> Any:
            found = self._shelves.member(place, f"{name}:{call.get('aliasName')}")
            return None if found is None else self.membership(found, call)

        return {
            **_collection_node(place, name, portfolio=about["portfolio"]),
            "description": about["description"],
            "createdAt": iso(about["created"]),
            "updatedAt": iso(about["updated"]),
            "defaultArtifactType": {"name": about["type"]},
            "type": about["type"],
            "state": "READY",
            "tags": {"edges": [{"node": _tag(tag)} for tag in about["tags"]]},
            "aliases": aliases,
            "artifacts": artifacts,
            "artifactMembership": membership,
        }

    # Versions.

    def membership(self, member: Member, call: Call) -> dict[str, Any]:
        """A version within a collection."""
        return {
            "__typename": "ArtifactCollectionMembership",
            "id": global_id("Membership", *member.place, member.collection, member.item["key"]),
            "versionIndex": member.entry["version"],
            "createdAt": iso(member.entry["created"]),
            "aliases": [_alias(member, alias) for alias in member.entry["aliases"]],
            "artifactCollection": _member_collection(member),
            "artifact": self.node(member.home, member.item, call),
            "files": lambda inner: self._file_list(member.home, member.item, inner),
        }

    def node(self, place: Place, item: Item, call: Call) -> dict[str, Any]:
        """What GraphQL shows of a version."""

        def manifest(call: Call) -> dict[str, Any]:
            address = self._address(DOWNLOAD, place, f"manifests/{item['key']}.json", call)
            return {"id": global_id("Manifest", item["key"]), "file": {"directUrl": address}}

        def members() -> list[Member]:
            return self._shelves.members(place, item)

        def memberships(call: Call) -> Any:
            return _listed(members(), call, lambda one: self.membership(one, call))

        def used(call: Call) -> Any:
            found = [self._run(*run) for run in item["used"]]
            return _listed([run for run in found if run is not None], call, lambda run: run)

        sequence = _collection_node(place, item["collection"], portfolio=False)
        ttl = item.get("ttl")
        return {
            "__typename": "Artifact",
            "id": artifact_id(place, item),
            "artifactSequence": sequence,
            "artifactType": {"__typename": "ArtifactType", "name": item["type"]},
            "versionIndex": item["version"],
            "description": item["description"],
            "metadata": item["metadata"],
            "ttlDurationSeconds": _NO_TTL if ttl in (None, _INHERITED) else ttl,
            "ttlIsInherited": ttl in (None, _INHERITED),
            "tags": [_tag(tag) for tag in item.get("tags", [])],
            "historyStep": item["step"],
            "state": item["state"],
            "size": item["size"],
            "digest": item["digest"],
            "digestAlgorithm": "MANIFEST_MD5",
            "commitHash": item["key"],
            "fileCount": len(item["files"]) + len(item.get("refs", {})),
            "createdAt": iso(item["created"]),
            "updatedAt": iso(item.get("updated", item["created"])),
            "aliases": lambda _: [
                _alias(one, a) for one in members() for a in one.entry["aliases"]
            ],
            "artifactMemberships": memberships,
            "createdBy": lambda _: self._run(*place, item["run"]) if item["run"] else None,
            "usedBy": used,
            "currentManifest": manifest,
            "files": lambda call: self._file_list(place, item, call),
        }

    def of_run(self, run: Run, name: str, kind: str, call: Call) -> dict[str, Any]:
        """The artifacts that a run has made ("output") or used ("input")."""
        sweep = self._home.of_run(run.sweep_id)
        mine = Place(sweep.entity, sweep.project)
        if kind == "output":
            shelf = self._shelves.read(mine)
            items = shelf.items.values()
            found = [(mine, i) for i in items if name in (i["run"], *i.get("made", ()))]
        else:
            found = [
                (shelf.place, item)
                for shelf in self._shelves.all()
                for item in shelf.items.values()
                if [*mine, name] in item["used"]
            ]
        chosen = [pair for pair in found if pair[1]["state"] == COMMITTED]
        return _listed(chosen, call, lambda pair: self.node(pair[0], pair[1], call))

    def _run(self, entity: str, project: str, name: str) -> dict[str, Any] | None:
        run = self._home.run(entity, project, name)
        if run is None:
            return None
        about = _project(Place(entity, project))
        id_ = global_id("Run", run.id)
        return {"__typename": "Run", "id": id_, "name": name, "project": about}

    def _file_list(self, place: Place, item: Item, call: Call) -> dict[str, Any]:
        wanted, refs = call.get("names"), item.get("refs", {})
        names = sorted(n for n in {*item["files"], *refs} if wanted is None or n in wanted)
        shared = {"__typename": "File", "updatedAt": iso(item["created"])}

        def node(name: str) -> dict[str, Any]:
            made = self._far(name, refs[name]) if name in refs else file(name)
            return {**shared, "name": name, "displayName": name, **made}

        def file(name: str) -> dict[str, Any]:
            found = self._files.file(self.owner(place), item["files"][name])
            address = self._address(DOWNLOAD, place, found.name, call)
            return {
                "id": global_id("File", *self.owner(place), found.name),
                "url": address,
                "directUrl": address,
                "sizeBytes": found.size,
                "mimetype": found.type,
                "storagePath": found.name,
                "digest": lambda _: found.md5(),
                "md5": lambda _: found.md5(),
            }

        return _listed(names, call, node)

    @staticmethod
    def _far(name: str, about: Item) -> dict[str, Any]:
        """A file that lies elsewhere; the client fetches it from there."""
        return {
            "id": global_id("File", about["ref"], name),
            "url": about["ref"],
            "directUrl": about["ref"],
            "sizeBytes": about["size"],
            "mimetype": None,
            "storagePath": None,
            "digest": about["digest"],
            "md5": None,
        }

    # Files.

    @staticmethod
    def owner(place: Place) -> tuple[str, str]:
        """The folders that hold a project's artifacts."""
        return _OWNER, derived("artifacts", *place)

    def upload(self, place: Place, name: str, call: Call) -> str:
        """An address to put a file to."""
        return self._address(UPLOAD, place, name, call)

    def _address(self, purpose: str, place: Place, name: str, call: Call) -> str:
        token = self._signer.sign(purpose, *self.owner(place), name, seconds=_SECONDS)
        return f"{call.base}/wandb/files/{token}"

    # Changes.

    def remove(self, place: Place, items: Iterable[Item]) -> None:
        """Removes versions, their links, and the files that no other version has."""
        removed = list(items)
        for item in removed:
            for entity, project, name in item.get("links", []):
                with self._shelves.edit(Place(entity, project)) as shelf:
                    for entry in shelf.entries(name):
                        if entry.get("home") == [*place, item["key"]]:
                            shelf.drop(name, entry)
        with self._shelves.edit(place) as shelf:
            for item in removed:
                if item["key"] in shelf.items:
                    shelf.drop(item["collection"], shelf.items[item["key"]])
            pending = any(item["state"] != COMMITTED for item in shelf.items.values())
            kept = {file for item in shelf.items.values() for file in item["files"].values()}
        owner = self.owner(place)
        for item in removed:
            self._files.delete(owner, f"manifests/{item['key']}.json")
            for file in () if pending else {*item["files"].values()} - kept:
                self._files.delete(owner, file)  # one that is about to come may need them

    def remove_of_run(self, run: Run, name: str) -> None:
        """Removes all versions that a run has made."""
        sweep = self._home.of_run(run.sweep_id)
        place = Place(sweep.entity, sweep.project)
        mine = [i for i in self._shelves.read(place).items.values() if i["run"] == name]
        self.remove(place, mine)

    def _update(self, call: Call) -> dict[str, Any]:
        id_ = call.get("artifactSequenceID") or call.get("artifactPortfolioID")
        place, name = self.collection_of(id_)
        new = str(call.get("name") or name)
        with self._shelves.edit(place) as shelf:
            about = shelf.named(name)
            if new != name:
                if new in shelf.collections or set(new) & set("/:"):
                    raise InputError("a collection cannot get this name", found=repr(new)[:100])
                shelf.collections[new] = shelf.collections.pop(name)
                about["name"] = new
                about["was"] = [old for old in (*about.get("was", ()), name) if old != new]
                for item in shelf.items.values():
                    if item["collection"] == name:
                        item["collection"] = new
            if "description" in call:
                about["description"] = call["description"]
            about["updated"] = time.time()
        if new != name:
            self._renamed(place, name, new)
        return {"artifactCollection": self._collection(place, new)}

    def _renamed(self, place: Place, old: str, new: str) -> None:
        """Tells the versions that a collection links to its new name."""
        for entry in self._shelves.read(place).named(new)["links"]:
            with self._shelves.edit(Place(*entry["home"][:2])) as shelf:
                item = shelf.items.get(entry["home"][2], {"links": []})
                item["links"] = [
                    [*place, new] if link == [*place, old] else link for link in item["links"]
                ]

    def _move(self, call: Call) -> dict[str, Any]:
        place, name = self.collection_of(call.get("artifactSequenceID"))
        with self._shelves.edit(place) as shelf:
            kind = str(call.get("destinationArtifactTypeName") or "")
            shelf.named(name)["type"] = kind
            shelf.types.setdefault(kind, time.time())
            for item in shelf.items.values():
                if item["collection"] == name:
                    item["type"] = kind
        return {"artifactCollection": self._collection(place, name)}

    def _delete(self, call: Call) -> dict[str, Any]:
        id_ = call.get("artifactSequenceID") or call.get("artifactPortfolioID")
        place, name = self.collection_of(id_)
        shelf = self._shelves.read(place)
        about = shelf.collections.get(name)
        if about is not None and not about["portfolio"]:
            self.remove(place, [i for i in shelf.items.values() if i["collection"] == name])
        with self._shelves.edit(place) as shelf:
            links = shelf.collections.pop(name, {"links": []})["links"]
        for entry in links:
            with self._shelves.edit(Place(*entry["home"][:2])) as shelf:
                item = shelf.items.get(entry["home"][2], {"links": []})
                item["links"] = [link for link in item["links"] if link != [*place, name]]
        kind = _PORTFOLIO if about is not None and about["portfolio"] else _SEQUENCE
        return {"artifactCollection": {"__typename": kind, "state": "DELETED"}}

    def _add_tags(self, call: Call) -> dict[str, Any]:
        tags = self._tags(call, lambda old, new: old | new)
        return {"tags": [_tag(tag) for tag in tags], "success": True}

    def _delete_tags(self, call: Call) -> dict[str, Any]:
        self._tags(call, lambda old, gone: old - gone)
        return {"success": True}

    def _tags(self, call: Call, change: Callable[[set[str], set[str]], set[str]]) -> list[str]:
        place = Place(*self._home.place(call))
        said = {str(tag["tagName"]) for tag in call.get("tags", [])}
        with self._shelves.edit(place) as shelf:
            about = shelf.named(str(call.get("artifactCollectionName")))
            about["tags"] = sorted(change({*about["tags"]}, said))
        return list(about["tags"])


def _paged(items: list[Any], call: Call) -> list[Any]:
    """Those of a list that a page shows."""
    shown = page(items, call.get("first"), call.get("after"), lambda item: item)
    return [edge["node"] for edge in shown["edges"]]


def _listed(items: list[Any], call: Call, node: Callable[[Any], Any]) -> dict[str, Any]:
    made = page(items, call.get("first"), call.get("after"), node)
    return {**made, "totalCount": len(items)}


def _chosen(
    items: list[Any], call: Call, about: Callable[[Any], Mapping[str, Any]], order: str
) -> list[Any]:
    """Those that a filter lets through, in order."""
    condition = load(call.get("filters") or "{}", "the filter") or {}

    def getter(item: Any) -> Callable[[str], Any]:
        fields = about(item)
        return lambda key: fields.get(key.replace("_", "").lower(), MISSING)

    records = [(item, getter(item)) for item in items]
    kept = [(item, get) for item, get in records if matches(condition, get)]
    return [item for item, _ in ordered(kept, call.get("order") or order)]


def _about_collection(about: Item) -> dict[str, Any]:
    return {
        "name": about["name"],
        "description": about["description"],
        "tag": about["tags"],
        "tags": about["tags"],
        "type": about["type"],
        "createdat": iso(about["created"], exact=True),
        "updatedat": iso(about["updated"], exact=True),
    }


def _about_member(member: Member) -> dict[str, Any]:
    item, entry = member.item, member.entry
    return {
        "state": item["state"],
        "versionindex": entry["version"],
        "alias": entry["aliases"],
        "aliases": entry["aliases"],
        "tag": item.get("tags", []),
        "tags": item.get("tags", []),
        "digest": item["digest"],
        "size": item["size"],
        "createdat": iso(item["created"], exact=True),
        "updatedat": iso(item.get("updated", item["created"]), exact=True),
    }


def _project(place: Place) -> dict[str, Any]:
    return {
        "__typename": "Project",
        "id": global_id("Project", *place),
        "internalId": str(number(*place)),
        "name": place.project,
        "entity": {"name": place.entity},
    }


def _collection_node(place: Place, name: str, *, portfolio: bool) -> dict[str, Any]:
    return {
        "__typename": _PORTFOLIO if portfolio else _SEQUENCE,
        "id": global_id("Collection", *place, name),
        "name": name,
        "project": _project(place),
    }


def _member_collection(member: Member) -> dict[str, Any]:
    linked = member.entry is not member.item
    return _collection_node(member.place, member.collection, portfolio=linked)


def _alias(member: Member, alias: str) -> dict[str, Any]:
    return {
        "__typename": "ArtifactAlias",
        "id": global_id("Alias", *member.place, member.collection, alias),
        "alias": alias,
        "artifactCollection": _member_collection(member),
    }


def _tag(name: str) -> dict[str, Any]:
    return {"__typename": "Tag", "id": global_id("Tag", name), "name": name}
