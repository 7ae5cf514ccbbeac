"""Which page stands at which address, and what its query says."""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote

import msgspec

__all__ = ["Address", "query_of", "run_json", "scheme_of"]

_SWEEP = re.compile(r"/sweeps/([^/]+)(?:/(analysis)|/runs/([^/]+))?/?")


class Address(msgspec.Struct, frozen=True):
    """The address of a page.

    Attributes:
        page: Which page; "missing" when there is none.
        sweep: The sweep that it is about, or None.
        run: The run that it is about, or None.
    """

    page: Literal["sweeps", "compare", "sweep", "analysis", "run", "missing"]
    sweep: str | None = None
    run: str | None = None

    @classmethod
    def of(cls, path: str) -> Address:
        """Reads the path of an address."""
        if path == "/":
            return cls("sweeps")
        if path in ("/compare", "/compare/"):
            return cls("compare")
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
            return "/compare" if self.page == "compare" else "/"
        base = f"/sweeps/{quote(self.sweep, safe='')}"
        if self.run is not None:
            return f"{base}/runs/{quote(self.run, safe='')}"
        return f"{base}/analysis" if self.page == "analysis" else base


def query_of(search: str) -> dict[str, str]:
    """The query of an address; of what is given more than once, the last."""
    return {key: values[-1] for key, values in parse_qs(search.lstrip("?")).items()}


def scheme_of(given: Any) -> str:
    """The colour scheme that a browser says: "light" or "dark"."""
    return "dark" if given == "dark" else "light"


def run_json(run_id: str) -> str:
    """The address of a run for programs."""
    return f"/api/runs/{quote(run_id, safe='')}"
