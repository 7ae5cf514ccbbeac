"""What takes a while is computed once for each state, and one key never waits for another."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("dash")

from tune_bridge.server.analysis.kept import Kept


def test_an_equal_state_is_not_computed_again() -> None:
    kept: Kept[str] = Kept()
    assert kept.last("key") is None
    assert kept.get("key", 1, lambda: "one") == "one"
    assert kept.get("key", 1, lambda: pytest.fail("computed twice")) == "one"
    assert kept.last("key") == "one"


def test_what_was_slow_waits_before_it_is_computed_again() -> None:
    now = [0.0]
    kept: Kept[str] = Kept(clock=lambda: now[0])

    def slowly() -> str:
        now[0] += 3.0
        return "slow"

    assert kept.get("key", 1, slowly) == "slow"
    now[0] = 3.0 + 59.0
    assert kept.get("key", 2, lambda: pytest.fail("too early")) == "slow"
    now[0] = 3.0 + 61.0
    assert kept.get("key", 2, lambda: "news") == "news"
    assert kept.get("key", 3, lambda: "at once") == "at once"


def test_one_key_does_not_wait_for_another() -> None:
    kept: Kept[str] = Kept()
    begun, go = threading.Event(), threading.Event()

    def held() -> str:
        begun.set()
        assert go.wait(60)
        return "held"

    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(kept.get("held", 1, held))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    assert kept.get("free", 1, lambda: "free") == "free"
    go.set()
    for thread in threads:
        thread.join(60)
    assert found == ["held", "held"]


def test_an_error_is_raised_and_nothing_is_kept() -> None:
    kept: Kept[str] = Kept(keep=2)

    def broken() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        kept.get("key", 1, broken)
    assert kept.get("key", 1, lambda: "yes") == "yes"
    for key in "ab":
        kept.get(key, 1, lambda: "more")
    assert kept.last("key") is None
