"""Stages and segments that got worse, and the Mondays on which managers are told of them."""

import sqlalchemy as sa
from alembic import op

from dealwatch.tables import Instant

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trend_mornings",
        sa.Column("as_of", Instant(), nullable=False),
        sa.Column("is_live", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", name=op.f("pk_trend_mornings")),
        comment="Mondays whose trends the alert fold has taken in.",
    )
    op.create_table(
        "trends",
        sa.Column("as_of", Instant(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("refusal", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("p", sa.Float(), nullable=True),
        sa.Column("q", sa.Float(), nullable=True),
        sa.Column("has_lasted", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("as_of", "rule", "subject", name=op.f("pk_trends")),
        comment="Every stage and segment of each weekly review, and whether it got worse.",
    )
