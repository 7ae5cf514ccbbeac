"""The keys of a server: one that it was given, one of its own, and those that its place keeps.

Of a key, a place keeps hashes only: of itself, and of what a browser keeps that has logged in with
it. Keys are random and 48 characters long, so that SHA-256 without salt or delay gives nothing
away, and a request costs microseconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import string
import time
from collections.abc import Callable, Iterable

from tune_bridge.backends.base import Backend, Key
from tune_bridge.errors import InputError, TuneBridgeError

__all__ = ["Keys", "Tickets", "make_key", "session_of"]

LENGTH = 48
"""Characters of a key: 285 bits. The wandb client takes 40 at least."""

FRESH = 2.0
"""Seconds after which a place is asked again: so long a revoked key still works at most."""

TICKET = 86400.0
"""Seconds for which a ticket is good."""

_TICKETS = 1000
_MARKED_EVERY = 60.0
_ALPHABET = string.ascii_letters + string.digits
_LONGEST_NAME = 100


def make_key(name: str) -> tuple[str, Key]:
    """A fresh key, and what is kept of it.

    Args:
        name: Whose it is, or what for.

    Raises:
        InputError: This is no name.
    """
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InputError(
            "this is no name for a key",
            path="name",
            found=repr(name),
            expected=f"1 to {_LONGEST_NAME} characters that can be printed",
        )
    text = "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH))
    return text, _kept(name, text)


def session_of(text: str) -> str:
    """What a browser keeps that has logged in with a key; the key cannot be had from it."""
    return hmac.new(text.encode(), b"tune-bridge dashboard", hashlib.sha256).hexdigest()


class Tickets:
    """Logs browsers in that have no key: a ticket stands in an address that is printed.

    It is good once, so that an address in a log or a notebook opens nothing to who reads it later.
    To be used in one event loop.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, tuple[str, float]] = {}

    def new(self, session: str) -> str:
        """A ticket.

        Args:
            session: What the browser will keep; see `session_of`.
        """
        while len(self._open) >= _TICKETS:
            self._open.pop(next(iter(self._open)))
        ticket = secrets.token_urlsafe(24)
        self._open[_hash(ticket)] = (session, self._clock() + TICKET)
        return ticket

    def redeem(self, ticket: str) -> str | None:
        """The session that a ticket is for; None when it was used, is too old, or is none."""
        session, until = self._open.pop(_hash(ticket), ("", 0.0))
        return session if session and self._clock() < until else None


class Keys:
    """Knows whether a request carries a key. To be used in one event loop.

    Args:
        backend: The place, which keeps keys.
        given: A key that the server was started with; nothing is answered without one then.
        own: A key that works, and is no reason to ask for keys: this machine's own way in.
        fresh: See `FRESH`.

    Raises:
        BackendError: The place cannot be read.
    """

    def __init__(
        self,
        backend: Backend,
        given: str | None = None,
        own: str | None = None,
        *,
        fresh: float = FRESH,
    ) -> None:
        self._backend = backend
        self._fresh = fresh
        self._fixed = [_kept("", text) for text in (given, own) if text]
        self._given = given is not None
        self._asking = asyncio.Lock()
        self._used: dict[str, float] = {}
        self._marked: dict[str, float] = {}
        self._kept: list[Key] = []
        self._read = 0.0
        self._take(backend.keys())

    @property
    def needed(self) -> bool:
        """Whether a request needs a key, as far as is known."""
        return self._given or bool(self._kept)

    async def refresh(self) -> None:
        """Asks the place, when that was not done just now; who comes meanwhile does not wait."""
        if time.monotonic() - self._read < self._fresh or self._asking.locked():
            return
        async with self._asking:
            try:
                self._take(await asyncio.to_thread(self._ask))
            except TuneBridgeError:  # the place is away: what was known holds
                self._read = time.monotonic()

    def opens(self, text: str) -> bool:
        """Whether a text is a key."""
        return self._matches("digest", text)

    def knows(self, session: str) -> bool:
        """Whether a text is what a browser keeps that has logged in."""
        return self._matches("session", session)

    def _matches(self, field: str, text: str) -> bool:
        digest = _hash(text)
        found = None
        for key in (*self._fixed, *self._kept):  # all of them, so that time tells nothing
            if hmac.compare_digest(getattr(key, field), digest):
                found = key
        if found is not None and found.name:
            self._used[found.name] = time.time()
        return found is not None

    def _take(self, kept: Iterable[Key]) -> None:
        self._kept = list(kept)
        self._read = time.monotonic()

    def _ask(self) -> list[Key]:
        for name, at in list(self._used.items()):
            if at - self._marked.get(name, 0.0) >= _MARKED_EVERY:
                self._backend.mark_key(name, at)
                self._marked[name] = at
        return self._backend.keys()


def _kept(name: str, text: str) -> Key:
    return Key(
        name=name,
        digest=_hash(text),
        session=_hash(session_of(text)),
        created_at=time.time(),
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
