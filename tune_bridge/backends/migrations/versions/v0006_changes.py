"""Changes: at which version of its sweep a run last changed, so that readers read only these."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies this version."""
    op.add_column("runs", sa.Column("version", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("sweeps", sa.Column("shrunk", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("runs_by_version", "runs", ["sweep_id", "version"])
    # Those that were stopped early are counted without looking at the runs themselves.
    op.drop_index("runs_by_state", "runs")
    op.create_index("runs_by_state", "runs", ["sweep_id", "state", "stopped_early"])


def downgrade() -> None:
    """Takes this version back."""
    op.drop_index("runs_by_state", "runs")
    op.create_index("runs_by_state", "runs", ["sweep_id", "state"])
    op.drop_index("runs_by_version", "runs")
    op.drop_column("sweeps", "shrunk")
    op.drop_column("runs", "version")
