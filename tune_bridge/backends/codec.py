"""JSON text for stored values: fast, and faithful where JSON is not.

msgspec writes NaN and infinities as ``null``. They come back as floats here: a text that holds one
is written by `json`, whose literals ``NaN`` and ``Infinity`` no strict reader takes, and is marked
by a leading ``~``, so that nobody reads it strictly. Others pay one search for ``null``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tune_bridge.errors import InputError

__all__ = ["Picker", "dumps", "dumps_many", "key_text", "loads", "plain"]

_MARK = "~"


def _hook(value: Any) -> Any:
    """Numpy scalars and arrays, tensors, and subclasses of the plain types, as what they hold."""
    for kind in (str, bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dict):
        return dict(value)
    kind = type(value)
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} cannot be stored")


_encoder = msgspec.json.Encoder(enc_hook=_hook)
_decode = msgspec.json.Decoder().decode


def plain(value: Any) -> Any:
    """A copy made of None, bool, int, float, str, lists and dicts with text keys.

    Raises:
        InputError: The value holds something else.
    """
    return loads(dumps(value))


def dumps(value: Any) -> str:
    """Text of one value.

    Raises:
        InputError: The value holds an object that is no JSON value.
    """
    try:
        data = _encoder.encode(value)
        if b"null" in data:
            return _marked(value) or data.decode()
        return data.decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _refusal(error) from None


def dumps_many(values: Sequence[Any]) -> list[str]:
    """Texts of many values, for less than the sum of `dumps`."""
    try:
        data = _encoder.encode_lines(values)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _refusal(error) from None
    if b"null" in data:
        return [dumps(value) for value in values]
    lines = data.decode().split("\n")  # JSON text holds no raw line break
    lines.pop()
    return lines


def loads(text: str) -> Any:
    """The value of a text from `dumps`."""
    if text[:1] == _MARK:
        return json.loads(text[1:])
    return _decode(text)


def key_text(key: str) -> str | None:
    """What every text with this key contains, for a cheap search; None when that cannot be said."""
    text = json.dumps(key, ensure_ascii=False)
    return f"{text}:" if text[1:-1] == key else None


class Picker:
    """Reads one value out of texts of dicts, and looks at nothing else in them.

    Args:
        key: Where the value stands.
    """

    def __init__(self, key: str) -> None:
        kind = msgspec.defstruct("Picked", [("value", Any, None)], rename=lambda _: key)
        self._decode: Any = msgspec.json.Decoder(kind).decode
        self._key = key

    def value(self, text: str) -> Any:
        """The value in one text; None without one."""
        if text[:1] == _MARK:
            return loads(text).get(self._key)
        return self._decode(text).value

    def points(self, rows: Iterable[tuple[int, str]]) -> list[tuple[int, float]]:
        """Step and number of those rows that hold one; neither bools nor texts are numbers."""
        decode = self._decode
        points = []
        for step, text in rows:
            if text[:1] == _MARK:
                value = loads(text).get(self._key)
            else:
                value = decode(text).value
            if type(value) is float:
                points.append((step, value))
            elif type(value) is int:
                points.append((step, _float(value)))
        return points


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def _marked(value: Any) -> str | None:
    """Text of a value that holds a NaN or an infinity, None for one that holds none."""
    data = msgspec.to_builtins(value, enc_hook=_hook, str_keys=True)
    if not _has_non_finite(data):
        return None
    return _MARK + json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _has_non_finite(data: Any) -> bool:
    if isinstance(data, float):
        return not math.isfinite(data)
    if isinstance(data, dict):
        return any(map(_has_non_finite, data.values()))
    if isinstance(data, (list, tuple)):
        return any(map(_has_non_finite, data))
    return False


def _refusal(error: Exception) -> InputError:
    return InputError(
        "a value that no backend can hold",
        found=str(error) or type(error).__name__,
        expected="None, a bool, a number, a string, or lists and dicts of them",
    )
