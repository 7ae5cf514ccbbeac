"""The tables of the local backend, alike on SQLite and PostgreSQL.

JSON lives in text columns: PostgreSQL's ``jsonb`` would refuse the NaN and infinities that
`tune_bridge.backends.codec` writes. Rows are keyed by a small integer instead of the run's id, and
on SQLite they live in the primary key's tree itself, so that one run's rows lie together.

A change here needs a migration in `migrations/versions` and a new `HEAD`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)

__all__ = [
    "HEAD",
    "VERSION_TABLE",
    "clock",
    "events",
    "history",
    "keys",
    "metadata",
    "runs",
    "sweeps",
    "tallies",
]

HEAD = "0006"
"""The newest migration, known without importing Alembic."""

VERSION_TABLE = "tune_bridge_version"
"""Where Alembic notes the schema's version; not its default, which other programs use too."""

# SQLite only numbers by itself what is exactly INTEGER.
_Key = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

sweeps = Table(
    "sweeps",
    metadata,
    Column("seq", _Key, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("project", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("config", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("message", Text, nullable=False),
    Column("meta", Text, nullable=False),
    Column("stamps", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("metric", Text, nullable=False, server_default=""),
    # Its version when it last lost a run, or was made.
    Column("shrunk", BigInteger, nullable=False, server_default="0"),
    Index("sweeps_by_creation", "created_at", "seq"),
    sqlite_autoincrement=True,
)

runs = Table(
    "runs",
    metadata,
    Column("seq", _Key, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("sweep_id", Text, ForeignKey("sweeps.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("config", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("updated_at", Double, nullable=False),
    Column("stopped_early", Boolean, nullable=False),
    Column("message", Text, nullable=False),
    Column("exit_code", BigInteger),
    Column("meta", Text, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("stamps", Text, nullable=False),
    Column("score", Double),
    # The version of its sweep when it last changed.
    Column("version", BigInteger, nullable=False, server_default="0"),
    Index("runs_by_creation", "sweep_id", "created_at", "seq"),
    Index("runs_by_state", "sweep_id", "state", "stopped_early"),
    Index("runs_by_score", "sweep_id", "score", "created_at", "seq"),
    Index("runs_by_version", "sweep_id", "version"),
    sqlite_autoincrement=True,
)

history = Table(
    "history",
    metadata,
    Column("run", _Key, ForeignKey("runs.seq", ondelete="CASCADE"), primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("time", Double, nullable=False),
    Column("data", Text, nullable=False),
    sqlite_with_rowid=False,
)

events = Table(
    "events",
    metadata,
    Column("sweep", _Key, ForeignKey("sweeps.seq", ondelete="CASCADE"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("data", Text, nullable=False),
    sqlite_with_rowid=False,
)

# How many runs of a sweep are in a state, kept with each change, so that nobody counts them.
tallies = Table(
    "tallies",
    metadata,
    Column("sweep_id", Text, ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
    Column("state", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Of keys, only what tells whether one was given is kept.
keys = Table(
    "keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("session", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("used_at", Double),
    sqlite_with_rowid=False,
)

# One row: the number of applied changes, from which sweeps take their version.
clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
)
