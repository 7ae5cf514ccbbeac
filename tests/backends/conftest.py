"""Each kind of database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tune_bridge.backends import open_backend
from tune_bridge.backends.base import Backend


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Backend]:
    """Opens the same database each time."""
    if request.param == "sqlite":
        place = str(tmp_path / "sweeps.db")
    else:
        place = request.getfixturevalue("postgres").ready()
    return lambda: open_backend(place)


@pytest.fixture
def backend(connect: Callable[[], Backend]) -> Iterator[Backend]:
    with connect() as opened:
        yield opened
