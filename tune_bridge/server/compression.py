"""Sends pages, programs and data compressed to who takes it.

Only answers whose length is known beforehand: what is sent bit by bit (events, logs that grow) goes
through as it comes, and what agents send and are answered is left alone. Programs are compressed
well, when they are first asked for, and kept; other answers quickly.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import brotli
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Compressed"]

_SMALLEST = 1400
"""Bytes that fit into one packet, where nothing is gained."""

_AT_ONCE = 16_000
"""Bytes up to which compressing takes less than the way to another thread."""

_LARGEST = 2**25
"""Bytes that are gathered at most: a larger file goes through as it is read."""

_PROGRAMS = ("/_dash-component-suites/", "/assets/")
_PAGES = "/_dash-"
_LEFT_ALONE = ("/wandb/", "/sdk/", "/artifactsV2/", "/graphql", "/files/")
_TYPES = frozenset(
    {
        "application/javascript",
        "application/json",
        "image/svg+xml",
        "text/css",
        "text/csv",
        "text/html",
        "text/javascript",
        "text/plain",
    }
)
_KEPT = 64


class _Way(NamedTuple):
    """A way to compress: how well for what is kept, and how for what is sent once."""

    best: Callable[[bytes], bytes]
    quick: Callable[[bytes], bytes]


_WAYS = {
    "br": _Way(
        lambda data: brotli.compress(data, quality=6, mode=brotli.MODE_TEXT),
        lambda data: brotli.compress(data, quality=4, mode=brotli.MODE_TEXT),
    ),
    "gzip": _Way(lambda data: gzip.compress(data, 9), lambda data: gzip.compress(data, 3)),
}
"""The ways, the smallest first. Browsers take Brotli from this machine and over TLS only. The first
reader waits for what is compressed: quality 9 takes twice as long as 6, for 2% less; 11, the best,
forty times, for 11% less."""


class Compressed:
    """Compresses answers of an application.

    Args:
        app: It.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._programs: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        way = _way(scope)
        if way is None:
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        start: Message | None = None
        parts: list[bytes] = []

        async def send_compressed(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if path.startswith(_PROGRAMS):
                    _keep(headers, scope)
                if message["status"] == 200 and _fits(headers, path):
                    start = message
                    return
            elif start is not None and message["type"] == "http.response.body":
                parts.append(message.get("body", b""))
                if message.get("more_body", False):
                    return
                body = await self._compress(b"".join(parts), path, way)
                headers = MutableHeaders(scope=start)
                headers["Content-Encoding"] = way
                headers["Content-Length"] = str(len(body))
                headers.add_vary_header("Accept-Encoding")
                await send(start)
                message = {"type": "http.response.body", "body": body}
            await send(message)

        await self._app(scope, receive, send_compressed)

    async def _compress(self, data: bytes, path: str, way: str) -> bytes:
        best, quick = _WAYS[way]
        if not path.startswith(_PROGRAMS):
            if len(data) < _AT_ONCE:
                return quick(data)
            return await asyncio.to_thread(quick, data)
        key = (way, len(data), zlib.crc32(data))
        found = self._programs.get(key)
        if found is None:
            found = self._programs[key] = await asyncio.to_thread(best, data)
            while len(self._programs) > _KEPT:
                self._programs.popitem(last=False)
        return found


def _way(scope: Scope) -> str | None:
    """How a request's answer may come compressed, or None when it must come as it is."""
    if scope["type"] != "http":
        return None
    path = scope["path"]
    if scope["method"] != "GET" and not path.startswith(_PAGES):
        return None
    if path.startswith(_LEFT_ALONE):
        return None
    taken = set()
    for offer in Headers(scope=scope).get("accept-encoding", "").lower().split(","):
        name, _, weight = offer.replace(" ", "").partition(";q=")
        if weight.strip("0.") or not weight:
            taken.add(name)
    return next((way for way in _WAYS if way in taken), None)


def _fits(headers: Headers, path: str) -> bool:
    """Whether an answer is worth it, and not one that is sent bit by bit."""
    length = headers.get("content-length", "")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    known = kind in _TYPES or (not kind and path.startswith(_PAGES))  # Dash says no type of data
    return (
        known
        and length.isdecimal()
        and _SMALLEST <= int(length) <= _LARGEST
        and "content-encoding" not in headers
    )


def _keep(headers: MutableHeaders, scope: Scope) -> None:
    """Programs whose address names their version are kept; others are asked for again."""
    named = scope["path"].startswith("/assets/") and scope["query_string"].startswith(b"m=")
    if named or "max-age" in headers.get("cache-control", ""):
        headers["Cache-Control"] = "public, max-age=31536000, immutable"
    else:
        headers["Cache-Control"] = "no-cache"
