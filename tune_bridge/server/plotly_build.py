"""The part of Plotly that the drawings need, kept in the package (see ``tools/plotly/build.mjs``).

The whole library is 2.6 times as large, and its WebGL traces compile their commands in the browser,
for which the pages' Content-Security-Policy would have to allow ``unsafe-eval``.
"""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["About", "about", "address", "source"]

_FILE = Path(__file__).parent / "assets" / "plotly.js"
_HEAD = re.compile(r"/\*!\nplotly\.js v(\S+) \(strict: ([a-z, ]+)\)\n")


class About(NamedTuple):
    """What the file says about itself.

    Attributes:
        version: Of plotly.js.
        traces: The types of traces that it draws.
    """

    version: str
    traces: frozenset[str]


def source() -> str:
    """The program, with the licences of its parts at its head."""
    return _FILE.read_text("utf-8")


def about() -> About:
    """What is in the file."""
    found = _HEAD.match(source())
    assert found is not None
    return About(found[1], frozenset(found[2].split(", ")))


@functools.cache
def address(name: str = _FILE.name) -> str:
    """Where the server has a program; another content has another address: readers keep it."""
    content = (_FILE.parent / name).read_bytes()
    return f"/assets/{name}?m={hashlib.sha256(content).hexdigest()[:16]}"
