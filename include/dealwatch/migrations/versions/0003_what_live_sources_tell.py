"""What live sources tell."""

import sqlalchemy as sa
from alembic import op

from dealwatch.tables import Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("extract_runs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("covers", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("cursor", Instant(), nullable=True))
        batch_op.add_column(sa.Column("plan", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("asked_by", sa.String(), nullable=True))

    op.create_table(
        "extract_tables",
        sa.Column("extract_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("pages", sa.Integer(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.Column("place", sa.Text(), nullable=True),
        sa.Column("is_complete", sa.Boolean(), nullable=False),
        sa.Column("read_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("extract_id", "name", name=op.f("pk_extract_tables")),
        comment="How far each table of a live extract is read; gone once the extract has landed.",
    )
    op.create_table(
        "extract_pages",
        sa.Column("extract_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("extract_id", "name", "number", name=op.f("pk_extract_pages")),
        comment="Pages of a live extract that has not landed yet; gone once it has.",
    )
    op.create_table(
        "extract_gates",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("extracted_at", Instant(), nullable=False),
        sa.Column("gate", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("usual", sa.Float(), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("is_kept", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("source", "extracted_at", "gate", "subject", name=op.f("pk_extract_gates")),
        comment="What each gate measured of each drop, and what it said.",
    )
