"""A socket, and an application on it until somebody ends it: what the servers here share."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Callable
from typing import Any, TypeVar

import click

from tune_bridge.cli.options import TEXT, Number
from tune_bridge.errors import InputError
from tune_bridge.server import DEFAULT_HOST, DEFAULT_PORT, missing_extra
from tune_bridge.signals import handled

__all__ = ["address_of", "listen", "listening", "serve"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_GRACE = 2
_BACKLOG = 1024
_KEEP_ALIVE = 75


def listening(command: _Command) -> _Command:
    """Gives a command the options ``--port``, ``--host``, ``--key`` and ``--backend`` (``url``)."""
    options = (
        click.option(
            "--port",
            type=Number(int, 0, 65535),
            help=f"Port to listen on. The default is {DEFAULT_PORT}, or a free one when that is "
            "taken.",
        ),
        click.option(
            "--host",
            type=TEXT,
            default=DEFAULT_HOST,
            show_default=True,
            help="Address to listen on. One that other machines can reach needs a key.",
        ),
        click.option(
            "--key",
            envvar="TUNE_BRIDGE_KEY",
            show_envvar=True,
            help="Every request needs this key. Prefer the variable: other users can see "
            "arguments.",
        ),
        click.option(
            "--backend",
            "--storage",
            "url",
            type=TEXT,
            metavar="URL",
            help="Where the sweeps live. [default: TUNE_BRIDGE_BACKEND, else the user's data "
            "folder]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens; without a port the usual one, or any free one when that is taken.

    Raises:
        InputError: The address is of another machine, or the port is taken.
    """
    try:
        return _bind(host, DEFAULT_PORT if port is None else port)
    except OSError as error:
        if port is None and error.errno == errno.EADDRINUSE:
            return listen(host, 0)
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise InputError(
                "this machine has no such address", path="--host", found=host
            ) from None
        raise InputError(
            "another program listens on this port"
            if error.errno == errno.EADDRINUSE
            else f"cannot listen on this port: {error.strerror}",
            path="--port",
            found=str(DEFAULT_PORT if port is None else port),
            hint="name another one, or leave it out to get a free one",
        ) from None


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, place = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def address_of(host: str, listener: socket.socket) -> str:
    """The URL at which this machine reaches a server, with a slash at its end."""
    port = listener.getsockname()[1]
    name = "127.0.0.1" if host == "0.0.0.0" else "::1" if host == "::" else host  # noqa: S104
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


def serve(
    app: Any,
    listener: socket.socket,
    *,
    begun: Callable[[Callable[[], None]], None] | None = None,
    ending: Callable[[], None] | None = None,
) -> None:
    """Serves until Ctrl-C or a termination signal; both are the usual end.

    Args:
        app: An ASGI application.
        listener: Where.
        begun: Called before the first request with a function that ends it, from any thread.
        ending: Called in the event loop before it waits for requests that are still served.

    Raises:
        MissingExtraError: The web server is not installed.
    """
    import asyncio

    try:
        import uvicorn
    except ImportError as error:
        raise missing_extra(error) from error

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            if ending is not None:
                ending()
            await super().shutdown(sockets)

        def leave(self) -> None:
            self.should_exit = True

    server = Server(
        uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_level="warning",
            access_log=False,  # addresses may hold the key
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_GRACE,
        )
    )
    if begun is not None:
        begun(server.leave)

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    def told(record: logging.LogRecord) -> bool:
        # Of requests that are cut off one line says enough: it comes before.
        return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))

    log = logging.getLogger("uvicorn.error")
    log.addFilter(told)
    try:
        # uvicorn shuts down in order, then raises the signal again for whoever handled it before.
        with contextlib.suppress(KeyboardInterrupt), handled((signal.SIGTERM,), end):
            server.run(sockets=[listener])
    finally:
        log.removeFilter(told)
