"""How values are written for the client, and what its texts say."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec

from tune_bridge.errors import InputError
from tune_bridge.server.values import plain

__all__ = ["adopt", "dump", "iso", "load", "mapping", "mappings", "strict", "unwrapped", "wrapped"]

INTERNAL = "_wandb"
"""The key of a config with what the client keeps there for itself."""

_mappings = msgspec.json.Decoder(dict[str, Any]).decode_lines

strict = plain
"""A value whose NaN and infinities are texts: the client's core reads no other JSON."""


def dump(value: Any) -> str:
    """JSON text within a JSON string: here the client takes bare NaN and infinities."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def load(text: Any, what: str) -> Any:
    """What a JSON text says.

    Raises:
        InputError: It is no JSON.
    """
    if not isinstance(text, str | bytes):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{what} is no JSON", found=repr(text[:100])) from None


def mappings(texts: Sequence[str], what: str) -> list[dict[str, Any]]:
    """The mappings that many JSON texts say, for a fraction of the sum of `mapping`.

    Raises:
        InputError: One of them says something else.
    """
    with contextlib.suppress(msgspec.MsgspecError):  # NaN, for one, only `json` reads
        found = _mappings("\n".join(texts))
        if len(found) == len(texts):
            return found
    return [mapping(text, what) for text in texts]


def mapping(text: Any, what: str) -> dict[str, Any]:
    """The mapping that a JSON text says.

    Raises:
        InputError: It says something else.
    """
    found = load(text, what)
    if not isinstance(found, dict):
        raise InputError(f"{what} must be a mapping", found=type(found).__name__)
    return found


def iso(seconds: float | None, *, exact: bool = False) -> str | None:
    """A time as W&B writes it: UTC, seconds; to the microsecond when `exact` is set."""
    if seconds is None:
        return None
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if exact else "%Y-%m-%dT%H:%M:%SZ"
    return datetime.fromtimestamp(seconds, timezone.utc).strftime(form)


def wrapped(config: Mapping[str, Any], internal: Any = None) -> dict[str, Any]:
    """A config as the client writes it: each value within ``{"value": ...}``."""
    made = {key: {"value": value} for key, value in config.items()}
    if internal is not None:
        made[INTERNAL] = {"value": internal}
    return made


def unwrapped(config: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """The values of a client's config, and what it keeps there for itself."""
    made = {
        key: item["value"] if isinstance(item, dict) and "value" in item else item
        for key, item in config.items()
        if key != "wandb_version"
    }
    return made, made.pop(INTERNAL, None)


def adopt(given: Any, known: Any) -> Any:
    """A value that came over the wire, in the types of the one that was sent.

    The client's core drops the ``.0`` of whole floats; what equals the known value is that value.
    """
    if isinstance(given, dict) and isinstance(known, dict):
        return {key: adopt(item, known.get(key)) for key, item in given.items()}
    if isinstance(given, list) and isinstance(known, list) and len(given) == len(known):
        return [adopt(item, other) for item, other in zip(given, known, strict=True)]
    if isinstance(given, bool) or isinstance(known, bool):
        return given
    if isinstance(given, int) and isinstance(known, float) and given == known:
        return known
    return given
