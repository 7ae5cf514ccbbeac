"""PostgresBackend: the conformance suite, and what is particular to PostgreSQL."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from tests.postgres import Cluster
from tune_bridge.backends import open_backend
from tune_bridge.testing.backends import BackendTestCase

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres: Cluster) -> str:
    """Of a fresh database."""
    return postgres.create()


class TestPostgresBackend(BackendTestCase):
    @pytest.fixture
    def connect(self, url: str):
        return functools.partial(open_backend, url)

    @pytest.fixture
    def backend(self, connect) -> Iterator:
        with connect() as backend:
            yield backend
