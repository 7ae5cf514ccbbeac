"""``tune-bridge dashboard``: watch the sweeps in a browser."""

from __future__ import annotations

import click

from tune_bridge.cli.serving import address_of, listen, listening, serve
from tune_bridge.server import create_app

__all__ = ["dashboard"]


@click.command(short_help="Watch sweeps in a browser.")
@listening
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
        with listen(host, port) as listener:
            address = address_of(host, listener)
            click.echo(f"tune-bridge dashboard: {address}  (Ctrl-C stops it)")
            if key or backend.keys():
                click.echo(f"Log in at {address}login with a key.")
            if browser:
                import webbrowser

                webbrowser.open(address)  # the socket listens already, so that the browser can wait
            serve(app, listener)
    click.echo("stopped")
