"""Drawings of what changes are sent when they look otherwise, and large ones not too often.

A page's script (``pace`` in ``page_table.js``) waits as long as the last drawings say.
"""

from __future__ import annotations

import hashlib
from typing import Any

from dash import ctx, no_update

from tune_bridge.server.values import json_bytes

__all__ = ["LARGE", "WAIT", "chosen_anew", "news"]

LARGE = 32_000
"""Bytes of a drawing, before compression, from which on it waits: some 800 runs."""

WAIT = 5.0
"""Seconds between two drawings of a change, when one is large."""


def news(figure: dict[str, Any], sent: Any, *, asked: bool) -> tuple[Any, Any]:
    """A drawing and what is to be known of it, or twice "no update" when it has been sent.

    Args:
        figure: The drawing; its ``uirevision`` is not looked at.
        sent: What this gave when the last drawing was sent, or None.
        asked: It is asked for, whatever was sent: a reader's choice may have changed what stands
            there.
    """
    layout = {name: part for name, part in figure["layout"].items() if name != "uirevision"}
    shown = json_bytes({**figure, "layout": layout})
    digest = hashlib.blake2b(shown, digest_size=8).hexdigest()
    if not asked and isinstance(sent, dict) and sent.get("digest") == digest:
        return no_update, no_update
    return figure, {"digest": digest, "wait": WAIT if len(shown) >= LARGE else 0}


def chosen_anew(clock: str) -> bool:
    """Whether anything but the store `clock` has set off the callback that asks."""
    return {*ctx.triggered_prop_ids.values()} != {clock}
