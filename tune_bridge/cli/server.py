"""``tune-bridge server``: gives out the runs of sweeps to agents, and shows them."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from tune_bridge.cli.options import COUNT, SECONDS
from tune_bridge.cli.serving import address_of, listen, listening, serve
from tune_bridge.controller import Controller
from tune_bridge.server import create_app, missing_extra
from tune_bridge.server_process import Address, announce, own_place

__all__ = ["server"]

_TICK = 1.0


@click.command(short_help="Give out the runs of sweeps to agents, and show them.")
@listening
@click.option(
    "--max-checkpoint",
    type=COUNT,
    default=8192,
    show_default=True,
    metavar="MB",
    help="Size of one checkpoint at most.",
)
@click.option(
    "--keep-checkpoints",
    type=COUNT,
    default=2,
    show_default=True,
    help="Newest checkpoints of each run that stay, beside those that are still needed.",
)
@click.option(
    "--idle-exit", type=SECONDS, help="End when nobody has asked anything for so many seconds."
)
def server(
    port: int | None,
    host: str,
    key: str | None,
    url: str | None,
    max_checkpoint: int,
    keep_checkpoints: int,
    idle_exit: float | None,
) -> None:
    """Drives the sweeps of a place: agents fetch their runs here, and report.

    The dashboard is at the same address. What the server knows is in the place; it can be ended or
    killed at any moment, and goes on where it was. One server drives a place at a time.

    \b
      tune-bridge server
      TUNE_BRIDGE_KEY=... tune-bridge server --host 0.0.0.0 --backend results/sweeps.db

    On this machine, `sweep`, `agent` and the other commands start one when none runs.
    """
    from tune_bridge.backends import open_backend
    from tune_bridge.backends.places import shown

    try:
        from tune_bridge.server.control import Control
        from tune_bridge.server.store import Limits, Store
    except ImportError as error:
        raise missing_extra(error) from error
    host = host.strip("[]")
    with own_place(url) as files, open_backend(url) as backend:
        controller = Controller(backend, files.snapshots)
        store = Store(files.store, Limits(checkpoint=max_checkpoint << 20, kept=keep_checkpoints))
        control = Control(controller, store, shown(url))
        own = key or secrets.token_hex(20)
        app = create_app(backend, host=host, key=key or None, own_key=own, control=control)
        activity = _Activity(app)
        with listen(host, port) as listener:
            address = address_of(host, listener)
            announce(files, Address(address.rstrip("/"), own, os.getpid()))
            click.echo(f"tune-bridge server: {address}  (Ctrl-C stops it)")
            click.echo(f"sweeps: {shown(url)}")
            if key or backend.keys():
                click.echo(f"Log in at {address}login with a key.")
            with _clock(controller, activity, idle_exit) as begun:
                serve(activity, listener, begun=begun, ending=control.close)
            controller.close()
    click.echo("stopped")


class _Activity:
    """Knows when somebody last asked something."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._active = 0
        self._last = time.monotonic()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._active += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._active -= 1
            self._last = time.monotonic()

    @property
    def idle(self) -> float:
        """Seconds since the last request was answered; 0 while one is served."""
        return 0.0 if self._active else time.monotonic() - self._last


@contextlib.contextmanager
def _clock(
    controller: Controller, activity: _Activity, idle_exit: float | None
) -> Iterator[Callable[[Callable[[], None]], None]]:
    """A thread that opens all sweeps, looks for lost agents, and ends a server nobody needs.

    Gives the function that begins it.
    """
    over = threading.Event()
    threads: list[threading.Thread] = []

    def run(leave: Callable[[], None]) -> None:
        controller.resume()
        while not over.wait(_TICK):
            controller.tick()
            if idle_exit is not None and activity.idle > idle_exit:
                leave()
                return

    def begin(leave: Callable[[], None]) -> None:
        threads.append(threading.Thread(target=run, args=(leave,), name="tune-bridge-clock"))
        threads[0].daemon = True  # an engine that thinks for long must not keep the process
        threads[0].start()

    try:
        yield begin
    finally:
        over.set()
