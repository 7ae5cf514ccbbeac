"""Tallies: how many runs of a sweep are in a state, kept so that nobody counts them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies this version."""
    op.create_table(
        "tallies",
        sa.Column(
            "sweep_id", sa.Text, sa.ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("state", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO tallies (sweep_id, state, number) "
        "SELECT sweep_id, state, count(*) FROM runs GROUP BY sweep_id, state"
    )


def downgrade() -> None:
    """Takes this version back."""
    op.drop_table("tallies")
