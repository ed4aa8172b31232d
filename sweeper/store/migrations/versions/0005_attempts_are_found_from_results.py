"""Results and marks by their attempts.

Without these indices a database looks through all results and marks for every attempt that goes
with a deleted study.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the indices."""
    op.create_index("ix_results_attempt_id", "results", ["attempt_id"], unique=False)
    op.create_index("ix_marks_attempt_id", "marks", ["attempt_id"], unique=False)
