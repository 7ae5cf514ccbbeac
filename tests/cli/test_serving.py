"""How servers of commands come to their end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tune_bridge.cli.serving import address_of, listen, serve


def test_a_request_that_lasts_is_cut_off_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    asked = threading.Event()
    leave: list[Callable[[], None]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    listener = listen("127.0.0.1", 0)
    address = address_of("127.0.0.1", listener)

    def ask() -> None:
        with suppress(httpx.HTTPError):
            httpx.get(address, timeout=120)

    server = threading.Thread(
        target=lambda: serve(app, listener, begun=leave.append), name="server"
    )
    client = threading.Thread(target=ask, name="client")
    server.start()
    client.start()
    try:
        assert asked.wait(120)
    finally:
        leave[0]()
        server.join(120)
        client.join(120)
    assert not server.is_alive()
    (line,) = capsys.readouterr().err.splitlines()
    assert "Cancel 1 running task" in line
