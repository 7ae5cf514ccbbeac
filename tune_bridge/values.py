"""Immutable JSON-like values that remember their exact Python types.

Constants, options and arguments travel through frozen trees, so they have to be hashable, and
``1``, ``1.0`` and ``True`` have to stay apart (Python calls them equal). Tuples, NaN and
infinities, which JSON cannot say, are kept by tags when a value is written as plain data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tune_bridge.errors import SpecError

__all__ = ["EMPTY", "Frozen", "Reference", "decode", "encode", "plain_json", "same_data", "shorten"]

_TUPLE, _FLOAT, _ITEMS, _IMPORT = "$tuple", "$float", "$items", "$import"
_TAGS = frozenset({_TUPLE, _FLOAT, _ITEMS, _IMPORT})
_dump_sorted = json.JSONEncoder(allow_nan=False, sort_keys=True).encode


class Reference(str):
    """The name of something that is imported where live objects are made: ``module:qualname``.

    It stands for a function or a class in a space. Nothing here, and no reader, imports it; to
    anything that asks for text it is its name.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Reference({str(self)!r})"


def encode(value: Any, path: str = "") -> Any:
    """Turns a Python value into JSON data, with tags for what JSON cannot say.

    Args:
        value: None, bool, int, float, str, `Reference`, or lists, tuples and dicts of such; numpy
            scalars and arrays are taken as the Python values they hold.
        path: Where the value stands, for the error.

    Returns:
        Data that `json.dumps(..., allow_nan=False)` accepts and `decode` turns back.

    Raises:
        SpecError: The value holds an object that no file can hold.
    """
    if isinstance(value, str):
        return {_IMPORT: str(value)} if isinstance(value, Reference) else str(value)
    if value is None or isinstance(value, bool):
        return value
    kind = type(value)
    if kind is int:
        return value
    if kind is float:
        return value if math.isfinite(value) else {_FLOAT: repr(value)}
    if kind is list:
        return [encode(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if kind is tuple:
        return {_TUPLE: [encode(item, f"{path}[{i}]") for i, item in enumerate(value)]}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and not (
            len(value) == 1 and next(iter(value)) in _TAGS
        ):
            return {
                str(key): encode(item, f"{path}.{key}" if path else str(key))
                for key, item in value.items()
            }
        return {_ITEMS: [[encode(k, path), encode(v, f"{path}.{k}")] for k, v in value.items()]}
    for plain in (int, float):
        if isinstance(value, plain):
            return encode(plain(value), path)
    if hasattr(value, "tolist") and type(value).__module__.split(".")[0] == "numpy":
        return encode(value.tolist(), path)
    raise SpecError(
        "a value that a sweep cannot hold",
        path=path,
        found=f"{type(value).__module__}.{type(value).__qualname__} {shorten(value)}",
        expected="None, a bool, a number, a string, or lists and dicts of them",
        hint="give its name or its settings as plain values and build the object in the program",
    )


def decode(data: Any) -> Any:
    """The inverse of `encode`."""
    if isinstance(data, list):
        return [decode(item) for item in data]
    if isinstance(data, dict):
        if len(data) == 1:
            ((tag, content),) = data.items()
            if tag == _TUPLE:
                return tuple(decode(item) for item in content)
            if tag == _FLOAT:
                return float(content)
            if tag == _IMPORT:
                return Reference(content)
            if tag == _ITEMS:
                return {decode(key): decode(item) for key, item in content}
        return {key: decode(item) for key, item in data.items()}
    return data


def plain_json(value: Any) -> tuple[Any, bool]:
    """A value as JSON says it without tags, and whether that says less.

    Tuples become lists, keys become text, NaN, infinities and references become their names.
    """
    if isinstance(value, Reference):
        return str(value), True
    if isinstance(value, float) and not math.isfinite(value):
        return str(value), True
    if isinstance(value, list | tuple):
        pairs = [plain_json(item) for item in value]
        return [item for item, _ in pairs], isinstance(value, tuple) or any(c for _, c in pairs)
    if isinstance(value, dict):
        below = {str(key): plain_json(item) for key, item in value.items()}
        changed = any(c for _, c in below.values()) or any(not isinstance(k, str) for k in value)
        return {key: item for key, (item, _) in below.items()}, changed
    return value, False


def same_data(one: Any, other: Any) -> bool:
    """Whether two pieces of plain data are the same for W&B: 20 is 20.0, True is not 1."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_data(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same_data, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def shorten(value: object, width: int = 60) -> str:
    """The text of a value for a message, cut to `width` characters."""
    text = repr(value)
    return text if len(text) <= width else text[: width - 3] + "..."


class Frozen:
    """An immutable, hashable value: equal when equal in type and content, whatever the key order.

    Args:
        value: What `encode` accepts.
        path: Where it stands, for the error.

    Raises:
        SpecError: The value cannot be written to a file.
    """

    __slots__ = ("_data", "_text")

    def __init__(self, value: Any, path: str = "") -> None:
        self._data = encode(value, path)
        self._text = ""

    @property
    def value(self) -> Any:
        """A fresh copy of the Python value."""
        return decode(self._data)

    @property
    def data(self) -> Any:
        """The value as plain JSON data, tagged where JSON falls short; a fresh copy."""
        return _copied(self._data)

    @classmethod
    def from_data(cls, data: Any) -> Frozen:
        """The value that `data` wrote."""
        return cls(decode(data))

    @property
    def _key(self) -> str:
        """What is compared: JSON keeps apart what Python calls equal. Made when it is asked for."""
        self._text = self._text or _dump_sorted(self._data)
        return self._text

    def __bool__(self) -> bool:
        return bool(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frozen) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"Frozen({self.value!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return (Frozen, (self.value,))


def _copied(data: Any) -> Any:
    if isinstance(data, list):
        return [_copied(item) for item in data]
    if isinstance(data, dict):
        return {key: _copied(item) for key, item in data.items()}
    return data


EMPTY = Frozen({})
