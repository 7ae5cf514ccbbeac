"""Takes files back to what older versions made."""

from __future__ import annotations

import sqlite3

__all__ = ["without_changes"]


def without_changes(connection: sqlite3.Connection) -> None:
    """What version 0006 of the schema has added."""
    connection.execute("DROP INDEX runs_by_version")
    connection.execute("DROP INDEX runs_by_state")
    connection.execute("CREATE INDEX runs_by_state ON runs (sweep_id, state)")
    connection.execute("ALTER TABLE runs DROP COLUMN version")
    connection.execute("ALTER TABLE sweeps DROP COLUMN shrunk")
