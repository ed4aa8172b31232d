"""How long the rest of a study will take, as its controllers say.

Until then who watched a study was told by FLOPs alone, by which the rest may seem many times as
long as it is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column, null for those that run now."""
    op.add_column("controllers", sa.Column("left_seconds", sa.Double(), nullable=True))
