"""How Alembic runs here: always on a connection that the backend hands over.

The caller holds the transaction: two processes that open a fresh file cannot both build it.
"""

from __future__ import annotations

from alembic import context

from tune_bridge.backends.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
