"""Which page stands at which address."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import quote, unquote

import msgspec

__all__ = ["Address"]

_SWEEP = re.compile(r"/sweeps/([^/]+)(?:/(analysis)|/runs/([^/]+))?/?")


class Address(msgspec.Struct, frozen=True):
    """The address of a page.

    Attributes:
        page: Which page; "missing" when there is none.
        sweep: The sweep that it is about, or None.
        run: The run that it is about, or None.
    """

    page: Literal["sweeps", "sweep", "analysis", "run", "missing"]
    sweep: str | None = None
    run: str | None = None

    @classmethod
    def of(cls, path: str) -> Address:
        """Reads the path of an address."""
        if path == "/":
            return cls("sweeps")
        found = _SWEEP.fullmatch(path)
        if found is None:
            return cls("missing")
        sweep, analysis, run = found.groups()
        if run is not None:
            return cls("run", unquote(sweep), unquote(run))
        return cls("analysis" if analysis else "sweep", unquote(sweep))

    @property
    def path(self) -> str:
        """The path of the address."""
        if self.sweep is None:
            return "/"
        base = f"/sweeps/{quote(self.sweep, safe='')}"
        if self.run is not None:
            return f"{base}/runs/{quote(self.run, safe='')}"
        return f"{base}/analysis" if self.page == "analysis" else base
