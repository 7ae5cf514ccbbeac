"""``tune-bridge dashboard``: watch the sweeps in a browser."""

from __future__ import annotations

import errno
import signal
import socket
from typing import Any

import click

from tune_bridge.errors import InputError
from tune_bridge.server import DEFAULT_HOST, DEFAULT_PORT, create_app, missing_extra

__all__ = ["dashboard"]

_GRACE = 2


@click.command(short_help="Watch sweeps in a browser.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"Port to listen on. The default is {DEFAULT_PORT}, or a free one when that is taken.",
)
@click.option(
    "--host",
    default=DEFAULT_HOST,
    show_default=True,
    help="Address to listen on. One that other machines can reach needs a key.",
)
@click.option(
    "--key",
    envvar="TUNE_BRIDGE_KEY",
    show_envvar=True,
    help="Every request needs this key. Prefer the variable: other users can see arguments.",
)
@click.option(
    "--backend",
    "url",
    metavar="URL",
    help="Where the sweeps live. [default: TUNE_BRIDGE_BACKEND, else the user's data folder]",
)
@click.option("--open", "browser", is_flag=True, help="Open a browser window.")
def dashboard(port: int | None, host: str, key: str | None, url: str | None, browser: bool) -> None:
    """Shows the sweeps of a backend in a browser, live, from this machine alone.

    Nothing is fetched from the internet. Stop it with Ctrl-C.

    \b
      tune-bridge dashboard
      tune-bridge dashboard --backend sqlite:///results/sweeps.db --open
      TUNE_BRIDGE_KEY=... tune-bridge dashboard --host 0.0.0.0
    """
    from tune_bridge.backends import open_backend

    host = host.strip("[]")
    with open_backend(url) as backend:
        app = create_app(backend, host=host, key=key or None)
        with _listen(host, port) as listener:
            address = _address(host, listener.getsockname()[1])
            click.echo(f"tune-bridge dashboard: {address}  (Ctrl-C stops it)")
            if key:
                click.echo(f"Log in at {address}login with the key.")
            _serve(app, listener, address if browser else None)
    click.echo("stopped")


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens; without a port the usual one, or any free one when that is taken."""
    try:
        return _bind(host, DEFAULT_PORT if port is None else port)
    except OSError as error:
        if port is None and error.errno == errno.EADDRINUSE:
            return _listen(host, 0)
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
        made.listen(128)
    except OSError:
        made.close()
        raise
    return made


def _address(host: str, port: int) -> str:
    name = "127.0.0.1" if host == "0.0.0.0" else "::1" if host == "::" else host  # noqa: S104
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


def _serve(app: Any, listener: socket.socket, browse: str | None) -> None:
    """Serves until Ctrl-C or a termination signal; both are the usual end."""
    try:
        import uvicorn
    except ImportError as error:
        raise missing_extra(error) from error
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,  # addresses may hold the key
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )
    if browse is not None:
        import webbrowser

        webbrowser.open(browse)  # the socket listens already, so that the browser can wait

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    # uvicorn shuts down in order, then raises the signal again for whoever handled it before.
    before = signal.signal(signal.SIGTERM, end)
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)
