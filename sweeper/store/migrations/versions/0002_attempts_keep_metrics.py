"""Attempts keep their metrics, and may be excused; trials are found by the version of their key.

What an attempt measured was in ``results`` alone, so a late result, or one that is withdrawn,
left nothing behind.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns and the index; accepted attempts are given their results' metrics."""
    op.add_column("attempts", sa.Column("metrics", sa.JSON(), nullable=True))
    op.add_column(
        "attempts",
        sa.Column("excused", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_index(op.f("ix_trials_hash_version"), "trials", ["hash_version"], unique=False)
    op.execute(
        "update attempts set metrics = (select results.metrics from results "
        "where results.trial_key = attempts.trial_key and results.attempt_id = attempts.id) "
        "where accepted"
    )
