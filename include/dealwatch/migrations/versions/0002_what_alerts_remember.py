"""What alerts remember."""

import sqlalchemy as sa
from alembic import op

from dealwatch.tables import Instant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alert_actions",
        sa.Column("action_id", sa.String(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("deal_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("choice", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.Column("close_date", sa.Date(), nullable=True),
        sa.Column("delivery_id", sa.String(), nullable=True),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("action_id", name=op.f("pk_alert_actions")),
        comment="Append-only: what people answered to alerts; the fold and the evidence read it.",
    )
    with op.batch_alter_table("alert_actions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_alert_actions_fingerprint"), ["fingerprint"], unique=False)

    op.create_table(
        "recipient_choices",
        sa.Column("choice_id", sa.String(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("choice", sa.String(), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("choice_id", name=op.f("pk_recipient_choices")),
        comment="Append-only: how people want to be told; the newest choice of a person holds.",
    )
    with op.batch_alter_table("recipient_choices", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_recipient_choices_recipient"), ["recipient"], unique=False)

    op.create_table(
        "rule_books",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("in_force_from", Instant(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "in_force_from", name=op.f("pk_rule_books")),
        comment="The rules and settings that live mornings were decided by; `plan` compares with the newest.",
    )
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("owner_id", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("quiet_until", Instant(), nullable=True))
        batch_op.add_column(sa.Column("is_held_out", sa.Boolean(), nullable=True))

    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.add_column(sa.Column("edits", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("follows", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("first_channel", sa.String(), nullable=True))

    with op.batch_alter_table("extract_runs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("deals", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("fault", sa.Text(), nullable=True))

    with op.batch_alter_table("tellings", schema=None) as batch_op:
        batch_op.add_column(sa.Column("scored", sa.Text(), nullable=True))

    with op.batch_alter_table("rule_evidence", schema=None) as batch_op:
        # Records measured before are of all deals together.
        batch_op.add_column(sa.Column("segment", sa.String(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("losses", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("recall", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("recall_low", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("recall_high", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("lead_days", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("alerts_per_owner_week", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("reopened_share", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("condition", sa.String(), nullable=True))
        batch_op.drop_constraint("pk_rule_evidence", type_="primary")
        batch_op.create_primary_key("pk_rule_evidence", ["rule", "level", "segment", "measured_as_of"])

    with op.batch_alter_table("rule_evidence", schema=None) as batch_op:
        batch_op.alter_column("segment", server_default=None)
