"""Scores: the value of the sweep's metric beside each run, so that the best is found at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tune_bridge.backends import codec
from tune_bridge.backends.scores import metric_of, score_of

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies this version."""
    op.add_column("sweeps", sa.Column("metric", sa.Text, nullable=False, server_default=""))
    op.add_column("runs", sa.Column("score", sa.Double))
    connection = op.get_bind()
    for sweep_id, config in connection.execute(sa.text("SELECT id, config FROM sweeps")).all():
        if metric := metric_of(codec.loads(config)):
            connection.execute(
                sa.text("UPDATE sweeps SET metric = :metric WHERE id = :id"),
                {"metric": metric, "id": sweep_id},
            )
            _score(connection, sweep_id, metric)
    op.create_index("runs_by_score", "runs", ["sweep_id", "score", "created_at", "seq"])


def _score(connection: sa.Connection, sweep_id: str, metric: str) -> None:
    after = -1
    part = sa.text(
        "SELECT seq, summary FROM runs WHERE sweep_id = :id AND seq > :after "
        "ORDER BY seq LIMIT 1000"
    )
    while found := connection.execute(part, {"id": sweep_id, "after": after}).all():
        after = found[-1][0]
        scores = [(seq, score_of(codec.loads(summary), metric)) for seq, summary in found]
        known = [{"seq": seq, "score": score} for seq, score in scores if score is not None]
        if known:
            connection.execute(sa.text("UPDATE runs SET score = :score WHERE seq = :seq"), known)


def downgrade() -> None:
    """Takes this version back."""
    op.drop_index("runs_by_score", "runs")
    op.drop_column("runs", "score")
    op.drop_column("sweeps", "metric")
