"""Numbers for drawings as Plotly's typed arrays: a quarter of their JSON."""

from __future__ import annotations

import base64
import math
import sys
from array import array
from collections.abc import Sequence
from typing import Any

__all__ = ["pack", "unpack"]

_TYPES = {"i1": "b", "i2": "h", "i4": "i", "f4": "f", "f8": "d"}
_WHOLE = (("i1", 2**7), ("i2", 2**15), ("i4", 2**31))
_LARGE, _SMALL = 1e38, 1e-37  # what a small float holds to seven digits


def pack(values: Sequence[float]) -> dict[str, str]:
    """Numbers in the smallest type that a drawing needs; NaN is a gap.

    Floats keep seven digits, which is more than a screen has.
    """
    dtype = _whole(values) or _fraction(values)
    made = array(_TYPES[dtype], map(int, values) if dtype[0] == "i" else values)
    if sys.byteorder == "big":
        made.byteswap()
    return {"dtype": dtype, "bdata": base64.b64encode(made.tobytes()).decode("ascii")}


def unpack(packed: dict[str, Any]) -> list[float]:
    """The numbers again."""
    made = array(_TYPES[packed["dtype"]], base64.b64decode(packed["bdata"]))
    if sys.byteorder == "big":
        made.byteswap()
    return list(made)


def _whole(values: Sequence[float]) -> str | None:
    largest = 0.0
    for value in values:
        if not (math.isfinite(value) and value == int(value)):
            return None
        largest = max(largest, abs(value))
    return next((dtype for dtype, end in _WHOLE if largest < end), None)


def _fraction(values: Sequence[float]) -> str:
    finite = [abs(value) for value in values if math.isfinite(value)]
    fits = all(value < _LARGE and (value > _SMALL or value == 0) for value in finite)
    near = max(finite, default=0.0) - min(finite, default=0.0)
    return "f4" if fits and near >= 1e-4 * max(finite, default=0.0) else "f8"
