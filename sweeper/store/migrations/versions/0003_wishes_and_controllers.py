"""What people want of a study at work, and which controllers are at it.

Until then a study could be stopped by a signal to its controller alone, and a controller without a
claim was known to nobody.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Makes the two tables."""
    op.create_table(
        "wishes",
        sa.Column("id", _id, autoincrement=True, nullable=False),
        sa.Column("study", sa.Text(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=True),
        sa.Column("trial_key", sa.String(length=64), nullable=True),
        sa.Column("wish", sa.String(length=8), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study"], ["studies.name"], name=op.f("fk_wishes_study")),
        sa.ForeignKeyConstraint(["trial_key"], ["trials.key"], name=op.f("fk_wishes_trial_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wishes")),
    )
    op.create_index("ix_wishes_study", "wishes", ["study"], unique=False)
    op.create_table(
        "controllers",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("study", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=True),
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("executor", sa.String(length=8), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("doing", sa.String(length=8), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("trials", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["study"], ["studies.name"], name=op.f("fk_controllers_study")),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_controllers")),
    )
    op.create_index(
        "ix_controllers_study_ended_at", "controllers", ["study", "ended_at"], unique=False
    )
