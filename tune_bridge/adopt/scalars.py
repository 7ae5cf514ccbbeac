"""Results as history rows: flat, numbers and texts alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["is_number", "scalars"]


def is_number(value: Any) -> bool:
    """Whether a value is a finite number that a float can say; truth values are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def scalars(values: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Numbers and texts by name (nested ones joined by ``/``), and the names of everything else.

    A histogram or file of wandb's is a mapping with a ``_type``, in one piece or in several.
    """
    flat = dict(_flat(values))
    media = {key.rpartition("/")[0] for key in flat if key.endswith("/_type")}
    plain = bool | int | float | str | None
    media |= {key for key, value in flat.items() if not isinstance(value, plain)}
    if not media:
        return flat, media
    within = tuple(f"{key}/" for key in media)
    media = {key for key in media if not key.startswith(within)}
    return {k: v for k, v in flat.items() if k not in media and not k.startswith(within)}, media


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value and "_type" not in value:
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield prefix + str(key), value
