"""What is kept of artifacts: one JSON file per project, with versions and collections.

A version belongs to the collection that it was logged to (W&B's sequence), and may be linked to
others, of any project (W&B's portfolios), where it has other version numbers and aliases.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tune_bridge.errors import BackendError, InputError, NotFoundError
from tune_bridge.server.wandb.ids import derived, global_id
from tune_bridge.server.wandb.jsontext import dump

__all__ = [
    "COMMITTED",
    "PENDING",
    "Item",
    "Member",
    "Place",
    "Shelf",
    "Shelves",
    "artifact_id",
    "set_aliases",
]

COMMITTED, PENDING = "COMMITTED", "PENDING"

Item = dict[str, Any]
"""One version; `tune_bridge.server.wandb.artifacts` makes it."""

_LATEST = "latest"


class Place(NamedTuple):
    """Where a project's artifacts are.

    Attributes:
        entity: Its entity.
        project: Its name.
    """

    entity: str
    project: str


class Member(NamedTuple):
    """A version within a collection: its own, or one that it is linked to.

    Attributes:
        place: The collection's project.
        collection: Its name.
        entry: What says version and aliases: the item itself, or the link.
        home: The item's project.
        item: The version.
    """

    place: Place
    collection: str
    entry: Item
    home: Place
    item: Item


class Shelf:
    """The artifacts of one project.

    Args:
        place: The project.
        data: As it is kept.
    """

    def __init__(self, place: Place, data: dict[str, Any]) -> None:
        self.place = place
        self.items: dict[str, Item] = data.get("artifacts", {})
        self.collections: dict[str, Item] = data.get("collections", {})
        self.types: dict[str, float] = data.get("types", {})
        for item in self.items.values():  # of a file that knew no collections
            self.collection(item["collection"], item["type"])

    def data(self) -> dict[str, Any]:
        """As it is kept."""
        about = {"entity": self.place.entity, "project": self.place.project}
        kept = {"artifacts": self.items, "collections": self.collections, "types": self.types}
        return {**about, **kept}

    def item(self, key: str) -> Item:
        """One version.

        Raises:
            NotFoundError: There is none with this key.
        """
        try:
            return self.items[key]
        except KeyError:
            raise NotFoundError("no such artifact", found=repr(key)) from None

    def collection(self, name: str, kind: str, *, portfolio: bool = False) -> Item:
        """A collection; made when there is none.

        Raises:
            InputError: It is there, and another one: of links, or of another type.
        """
        found = self.collections.get(name)
        if found is None:
            now = time.time()
            self.types.setdefault(kind, now)
            found = self.collections[name] = {
                "name": name, "type": kind, "portfolio": portfolio, "description": None, "tags": [],
                "created": now, "updated": now, "next": 0, "links": [],
            }  # fmt: skip
        if found["type"] != kind:
            raise InputError(
                f"artifact {name} has another type", found=kind, expected=str(found["type"])
            )
        if found["portfolio"] != portfolio:
            words = ("holds links", "holds versions of its own")
            raise InputError(
                f"collection {name} {words[portfolio]}", expected="a collection of another name"
            )
        return found

    def named(self, name: str) -> Item:
        """A collection that is there.

        Raises:
            NotFoundError: There is none.
        """
        try:
            return self.collections[name]
        except KeyError:
            raise NotFoundError("no such collection of artifacts", found=repr(name)) from None

    def current(self, name: str) -> str:
        """The name that a collection has now, by one that it has had."""
        if name in self.collections:
            return name
        found = (new for new, about in self.collections.items() if name in about.get("was", ()))
        return next(found, name)

    def entries(self, name: str) -> list[Item]:
        """The versions in a collection, or the links to them, in order."""
        found = self.collections.get(name)
        if found is not None and found["portfolio"]:
            return list(found["links"])
        mine = [item for item in self.items.values() if item["collection"] == name]
        return sorted((i for i in mine if i["state"] == COMMITTED), key=lambda i: int(i["version"]))

    def number(self, name: str) -> int:
        """The number of a new version in a collection; none is given twice."""
        found = self.named(name)
        known = [int(entry["version"]) for entry in self.entries(name)]
        number = max([int(found["next"]) - 1, *known]) + 1
        found["next"] = number + 1
        found["updated"] = time.time()
        return number

    def drop(self, name: str, entry: Item) -> None:
        """Takes a version or a link out of its collection; the one before it is the latest."""
        found = self.named(name)
        if found["portfolio"]:
            found["links"].remove(entry)
        else:
            self.items.pop(entry["key"], None)
        rest = self.entries(name)
        if _LATEST in entry["aliases"] and rest:
            rest[-1]["aliases"] = sorted({*rest[-1]["aliases"], _LATEST})


class Shelves:
    """The artifacts of all projects. Thread-safe.

    Args:
        folder: Holds the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()

    def read(self, place: Place) -> Shelf:
        """A project's artifacts, to be looked at."""
        with self._lock:
            try:
                text = self._path(place).read_text("utf-8")
            except OSError:
                return Shelf(place, {})
        return Shelf(place, json.loads(text))

    @contextlib.contextmanager
    def edit(self, place: Place) -> Iterator[Shelf]:
        """A project's artifacts, written when the block ends without an error.

        Raises:
            BackendError: The disk refuses.
        """
        with self._lock:
            shelf = self.read(place)
            yield shelf
            self._write(shelf)

    def all(self) -> list[Shelf]:
        """Every project that has artifacts."""
        found = []
        with self._lock:
            for path in self._folder.glob("*.json"):
                data = json.loads(path.read_text("utf-8"))
                found.append(Shelf(Place(data["entity"], data["project"]), data))
        return found

    def members(self, place: Place, item: Item) -> list[Member]:
        """All places of a version: the collection that it was logged to, then the others."""
        found = [Member(place, item["collection"], item, place, item)]
        for entity, project, name in item.get("links", []):
            target = Place(entity, project)
            found += [
                Member(target, name, entry, place, item)
                for entry in self.read(target).entries(name)
                if entry.get("home") == [*place, item["key"]]
            ]
        return found

    def member(self, place: Place, path: str) -> Member | None:
        """A version by ``collection:alias``; the latest without an alias."""
        name, _, alias = path.partition(":")
        wanted = alias or _LATEST
        for entry in self.read(place).entries(name):
            if wanted in (*entry["aliases"], f"v{entry['version']}"):
                return self.entry(place, name, entry)
        return None

    def entry(self, place: Place, name: str, entry: Item) -> Member | None:
        """What a collection's entry stands for; None when that is gone."""
        home = entry.get("home")
        if home is None:
            return Member(place, name, entry, place, entry)
        there = Place(home[0], home[1])
        item = self.read(there).items.get(home[2])
        return None if item is None else Member(place, name, entry, there, item)

    def _path(self, place: Place) -> Path:
        return self._folder / f"{derived('artifacts', *place)}.json"

    def _write(self, shelf: Shelf) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".shelf-")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(dump(shelf.data()))
            Path(name).replace(self._path(shelf.place))
        except OSError as error:
            raise BackendError(f"the server cannot write: {error.strerror or error}") from None


def set_aliases(entries: list[Item], entry: Item, aliases: list[str]) -> None:
    """Gives a version aliases; others of the collection lose them."""
    for other in entries:
        other["aliases"] = [alias for alias in other["aliases"] if alias not in aliases]
    entry["aliases"] = sorted({*entry["aliases"], *aliases})


def artifact_id(place: Place, item: Item) -> str:
    """The GraphQL id of a version."""
    return global_id("Artifact", *place, item["key"])
