"""Notes: what a translation kept, carried, approximated or could not say, and why.

Every reader and writer returns notes beside its result. The level decides what happens: `strict`
refuses everything below `Level.EXACT`; by default only `Level.LOST` (a silent change of meaning) is
refused.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator

import msgspec

from tune_bridge.errors import UnsupportedError

__all__ = ["Level", "Note", "Notes"]


class Level(enum.IntEnum):
    """How much of the meaning arrives on the other side, best first."""

    EXACT = 0
    """The same law or the same behaviour; the note explains a difference in spelling."""
    CARRIED = 1
    """Native keys say the nearest thing; the carry holds the exact one."""
    APPROXIMATED = 2
    """Near, and the note says by how much."""
    LOST = 3
    """The other side cannot say it at all."""

    @property
    def label(self) -> str:
        """The word used in tables and in JSON."""
        return self.name.lower()


class Note(msgspec.Struct, frozen=True):
    """One remark on one place of a translation.

    Attributes:
        level: How much of the meaning arrived.
        path: Where, dotted (``parameters.lr.min``); empty for the whole.
        what: What was done, in a phrase.
        why: The reason.
        hint: What the reader could do about it; may be empty.
        line: One-based line when it came from a file.
        column: One-based column when it came from a file.
    """

    level: Level
    path: str
    what: str
    why: str = ""
    hint: str = ""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        text = f"{self.level.label}: {self.path}: {self.what}" if self.path else self.what
        if self.why:
            text += f" - {self.why}"
        if self.hint:
            text += f" ({self.hint})"
        return text

    def as_dict(self) -> dict[str, object]:
        """The note as JSON-able data; empty fields are left out."""
        data = msgspec.structs.asdict(self)
        data["level"] = self.level.label
        return {key: value for key, value in data.items() if value not in ("", None)}


class Notes:
    """A list of notes that a reader or writer adds to while it works."""

    def __init__(self, notes: Iterable[Note] = ()) -> None:
        self._notes: list[Note] = list(notes)

    def exact(self, path: str, what: str, why: str = "", hint: str = "") -> None:
        """Adds a remark that costs nothing: the meaning is the same."""
        self._notes.append(Note(Level.EXACT, path, what, why, hint))

    def carried(self, path: str, what: str, why: str = "", hint: str = "") -> None:
        """Adds a remark that the carry holds what the native keys only come near to."""
        self._notes.append(Note(Level.CARRIED, path, what, why, hint))

    def approximated(self, path: str, what: str, why: str = "", hint: str = "") -> None:
        """Adds a remark that the result is near, and by how much (in `why`)."""
        self._notes.append(Note(Level.APPROXIMATED, path, what, why, hint))

    def lost(self, path: str, what: str, why: str = "", hint: str = "") -> None:
        """Adds a remark that something cannot be said on the other side."""
        self._notes.append(Note(Level.LOST, path, what, why, hint))

    def extend(self, notes: Iterable[Note]) -> None:
        """Adds all of `notes`."""
        self._notes.extend(notes)

    def __iter__(self) -> Iterator[Note]:
        return iter(self._notes)

    def __len__(self) -> int:
        return len(self._notes)

    def __getitem__(self, index: int) -> Note:
        return self._notes[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Notes) and self._notes == other._notes

    def __hash__(self) -> int:  # pragma: no cover - a mutable list has no hash
        raise TypeError("Notes are mutable")

    def __repr__(self) -> str:
        return f"Notes({self._notes!r})"

    @property
    def worst(self) -> Level:
        """The lowest level among the notes; `Level.EXACT` without any."""
        return max((note.level for note in self._notes), default=Level.EXACT)

    def at(self, path: str) -> list[Note]:
        """The notes at `path` or below it."""
        return [n for n in self._notes if n.path == path or n.path.startswith(path + ".")]

    def require(self, level: Level = Level.APPROXIMATED) -> Notes:
        """Refuses a translation that keeps less than `level`.

        Args:
            level: The lowest level that is accepted: `Level.EXACT` is what `strict` asks for, the
                default accepts everything except a loss.

        Returns:
            These notes.

        Raises:
            UnsupportedError: Naming the first note below `level` and how many more there are.
        """
        below = [note for note in self._notes if note.level > level]
        if below:
            first, more = below[0], len(below) - 1
            raise UnsupportedError(
                f"{first.what} ({first.level.label})" + (f" - {first.why}" if first.why else ""),
                path=first.path,
                hint="; ".join(
                    part for part in (first.hint, f"and {more} more" if more else "") if part
                ),
                line=first.line,
                column=first.column,
            )
        return self
