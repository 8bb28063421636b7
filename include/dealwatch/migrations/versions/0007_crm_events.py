"""What CRMs tell of the moment it happens, and scores between mornings."""

import sqlalchemy as sa
from alembic import op

from dealwatch.tables import Instant

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "crm_events",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("deal_id", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("happened_at", Instant(), nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("extract_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_crm_events")),
        comment="What CRMs told of the moment it happened: hints to read a deal again, never its data.",
    )
    with op.batch_alter_table("crm_events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_crm_events_state_source"), ["state", "source"], unique=False)
    op.create_table(
        "event_scores",
        sa.Column("as_of", Instant(), nullable=False),
        sa.Column("deal_id", sa.String(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("band", sa.String(), nullable=False),
        sa.Column("p_loss", sa.Float(), nullable=True),
        sa.Column("p_loss_30", sa.Float(), nullable=True),
        sa.Column("p_loss_60", sa.Float(), nullable=True),
        sa.Column("p_loss_90", sa.Float(), nullable=True),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("model_version", sa.String(), nullable=True),
        sa.Column("points", sa.JSON(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("action", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("as_of", "deal_id", name=op.f("pk_event_scores")),
        comment="Scores between mornings of deals that an event named; no alert, fold or measure reads them.",
    )
