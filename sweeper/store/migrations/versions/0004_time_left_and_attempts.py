"""How long the rest of a study will take, as its controllers say, and indices by attempt.

Until then who watched a study was told by FLOPs alone, by which the rest may seem many times as
long as it is; and what deletes an attempt looked through all results and marks for it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column, null for those that run now, and makes the indices."""
    op.add_column("controllers", sa.Column("left_seconds", sa.Double(), nullable=True))
    op.create_index("ix_results_attempt_id", "results", ["attempt_id"], unique=False)
    op.create_index("ix_marks_attempt_id", "marks", ["attempt_id"], unique=False)
