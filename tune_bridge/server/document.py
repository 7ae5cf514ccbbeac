"""The document that is the same for every page, and what it loads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dash import Dash

from tune_bridge.server import plotly_build

__all__ = ["Pages", "content_policy"]

_INDEX = """<!doctype html>
<html lang="en" data-plotly="{plotly}">
<head>
{%metas%}
<title>{%title%}</title>
<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
<script src="/assets/scheme.js"></script>
{%css%}
</head>
<body>
<noscript>This dashboard needs JavaScript; the same data are at /api/sweeps.</noscript>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""

_UNUSED = re.compile(r'<script src="[^"]*/dash/(?:dash_table/|deps/polyfill@)[^"]*"></script>\n?')
"""What Dash loads on every page though nothing here needs it: its own table, and a polyfill for
browsers that Mantine does not run in. Of that, Dash's components use ``regeneratorRuntime``."""


def content_policy(hashes: list[str]) -> str:
    """The Content-Security-Policy.

    Everything comes from this server. Inline scripts are refused but for Dash's own line, named by
    its hash, and no text is ever run as a program. ``unsafe-inline`` is there for the style
    elements that Mantine, ag-grid and Plotly write.
    """
    rules = {
        "default-src": "'self'",
        "script-src": " ".join(["'self'", *hashes]),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'self'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


class Pages(Dash):
    """Dash, over a server, with a document of ours.

    Args:
        server: The FastAPI application.
    """

    def __init__(self, server: Any) -> None:
        super().__init__(
            "tune_bridge.server",
            server=server,
            assets_folder=str(Path(__file__).parent / "assets"),
            assets_ignore=r"((scheme|plotly|regenerator)\.js|login\.css|bundle\..*)",
            index_string=_INDEX.replace("{plotly}", plotly_build.address()),
            title="tune-bridge",
            update_title="",
            suppress_callback_exceptions=True,
            add_log_handler=False,
        )
        # Without this, every page would open a web socket that nothing here uses.
        self.backend.websocket_capability = False

    def interpolate_index(self, **parts: Any) -> Any:  # type: ignore[override]
        """The document, without programs that no page uses."""
        base: Any = super()
        first = f'<script src="{plotly_build.address("regenerator.js")}"></script>\n'
        return base.interpolate_index(
            **{**parts, "scripts": first + _UNUSED.sub("", parts["scripts"])}
        )
