"""The records of a ``.wandb`` file: what wandb keeps of a run on disk.

The file is LevelDB's log format (``leveldb/doc/log_format.md``) after a header of W&B's own: the
bytes ``:W&B``, the number 0xBEE1 and a version 0. Blocks of 32 KiB hold chunks: a CRC-32 of type
and data (the plain one, as W&B writes it), the length, the type (whole, first, middle, last), the
data. A record is a ``wandb_internal.Record`` of protobuf.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from tune_bridge.errors import InputError
from tune_bridge.notes import Notes

__all__ = ["HEADER", "read_records"]

HEADER = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
_BLOCK = 32768
_CHUNK = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def read_records(path: Path, notes: Notes) -> Iterator[bytes]:
    """The records of a file, one at a time.

    A last one that is cut off (its writer was killed, or is writing it) is left out with a note.

    Raises:
        InputError: It is no such file, or is damaged; naming the byte.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(HEADER)) != HEADER:
                raise InputError("not a file of wandb's", source=str(path), expected=repr(HEADER))
            parts: list[bytes] = []
            place = len(HEADER)
            while True:
                room = _BLOCK - place % _BLOCK
                if room < _CHUNK.size:
                    file.read(room)
                    place += room
                    continue
                head = file.read(_CHUNK.size)
                if not head:
                    break
                if len(head) < _CHUNK.size:
                    parts.append(b"")
                    break
                crc, length, kind = _CHUNK.unpack(head)
                data = file.read(length)
                if len(data) < length:
                    parts.append(b"")
                    break
                if (
                    kind not in (_WHOLE, _FIRST, _MIDDLE, _LAST)
                    or zlib.crc32(data, zlib.crc32(bytes([kind]))) != crc
                ):
                    raise InputError(f"damaged at byte {place}", source=str(path))
                place += _CHUNK.size + length
                parts = [*parts, data] if kind in (_MIDDLE, _LAST) else [data]
                if kind in (_WHOLE, _LAST):
                    yield b"".join(parts)
                    parts = []
            if parts:
                notes.lost(str(path), "the last record was left out", "it is cut off")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", source=str(path)) from None
