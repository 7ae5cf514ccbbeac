"""Keys in a place: kept, told apart, forgotten; on each kind of database."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tune_bridge.backends.base import Backend, Key
from tune_bridge.errors import InputError, NotFoundError


def _key(name: str, at: float = 1.0) -> Key:
    return Key(name=name, digest=f"d{name}", session=f"s{name}", created_at=at)


def test_kept_and_forgotten(backend: Backend, connect: Callable[[], Backend]) -> None:
    assert backend.keys() == []
    for name in ("b ü", "a"):
        backend.add_key(_key(name))
    with connect() as other:
        assert other.keys() == [_key("a"), _key("b ü")]
        other.revoke_key("a")
    assert backend.keys() == [_key("b ü")]
    with pytest.raises(NotFoundError, match=r"no such key.*'a'"):
        backend.revoke_key("a")
    backend.add_key(_key("a"))


def test_names_are_unique(backend: Backend) -> None:
    backend.add_key(_key("a"))
    with pytest.raises(InputError, match=r"there is a key of this name.*'a'"):
        backend.add_key(Key(name="a", digest="other", session="other", created_at=2.0))
    assert backend.keys() == [_key("a")]


def test_last_use(backend: Backend) -> None:
    backend.add_key(_key("a"))
    for at in (10.0, 5.0):
        backend.mark_key("a", at)
        assert backend.keys()[0].used_at == 10.0
    backend.mark_key("none", 1.0)
    assert len(backend.keys()) == 1
