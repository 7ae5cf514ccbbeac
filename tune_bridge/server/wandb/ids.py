"""Ids: what they say, so that a server that starts again still knows them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import string
import tempfile
import time
from pathlib import Path
from typing import Any

from tune_bridge.errors import BackendError, InputError, NotFoundError

__all__ = ["Signer", "derived", "global_id", "number", "parts"]

_ALPHABET = string.ascii_lowercase + string.digits


def derived(*texts: str) -> str:
    """Eight lower-case letters and digits, the same ones for the same texts."""
    value = int.from_bytes(hashlib.sha256("\0".join(texts).encode()).digest()[:16], "big")
    letters = []
    for _ in range(8):
        value, rest = divmod(value, len(_ALPHABET))
        letters.append(_ALPHABET[rest])
    return "".join(letters)


def number(*texts: str) -> int:
    """A positive integer, the same one for the same texts."""
    return int.from_bytes(hashlib.sha256("\0".join(texts).encode()).digest()[:6], "big")


def global_id(kind: str, *texts: str) -> str:
    """An id for GraphQL: opaque for the client, and all that is needed to find the thing."""
    return _encode(json.dumps([kind, *texts]).encode())


def parts(kind: str, text: Any) -> list[str]:
    """What `global_id` was given.

    Raises:
        NotFoundError: It is no id of this kind.
    """
    try:
        found = json.loads(_decode(str(text)))
    except (ValueError, binascii.Error):
        found = None
    if (
        not isinstance(found, list)
        or found[:1] != [kind]
        or not all(isinstance(part, str) for part in found)
    ):
        raise NotFoundError(f"no id of a {kind}", found=repr(text)[:200])
    return found[1:]


class Signer:
    """Makes addresses that nobody can guess and that expire.

    Args:
        folder: Keeps the secret, for the user alone, so that addresses outlive a restart.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._secret: bytes | None = None

    def sign(self, purpose: str, *texts: str, seconds: float) -> str:
        """A token that says `texts`, good for one purpose and some time."""
        body = _encode(json.dumps([purpose, int(time.time() + seconds), *texts]).encode())
        return f"{body}.{self._mac(body)}"

    def check(self, purpose: str, token: str) -> list[str]:
        """The texts of a token.

        Raises:
            InputError: It is not one of ours, is for another purpose, or has expired.
        """
        body, _, mac = token.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(body).encode()):
            raise InputError("this address is not one of this server")
        found = json.loads(_decode(body))
        if found[0] != purpose or found[1] < time.time():
            raise InputError("this address has expired")
        return [str(text) for text in found[2:]]

    def _mac(self, body: str) -> str:
        if self._secret is None:
            self._secret = self._load()
        return hmac.new(self._secret, body.encode(), hashlib.sha256).hexdigest()

    def _load(self) -> bytes:
        path = self._folder / "wandb.secret"
        try:
            return path.read_bytes()
        except OSError:
            pass
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".secret-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
            Path(name).replace(path)
            return path.read_bytes()
        except OSError as error:
            raise BackendError(f"{path}: cannot be written: {error.strerror}") from None


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
