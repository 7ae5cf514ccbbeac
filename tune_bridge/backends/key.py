"""A key to the servers of a place, as the place keeps it."""

from __future__ import annotations

import msgspec

__all__ = ["Key"]


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key to the servers of a place, without itself: what tells whether it was given.

    Attributes:
        name: Whose it is, or what for; unique.
        digest: SHA-256 of the key, in hexadecimal. Keys are random and long, so that a plain hash
            gives nothing away.
        session: SHA-256 of what a browser keeps that has logged in with it.
        created_at: When it was made.
        used_at: When it was last used, to the minute; None for never.
    """

    name: str
    digest: str
    session: str
    created_at: float
    used_at: float | None = None
