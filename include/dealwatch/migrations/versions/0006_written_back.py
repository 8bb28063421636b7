"""What the CRM's fields were told."""

import sqlalchemy as sa
from alembic import op

from dealwatch.tables import Instant

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "written_back",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("deal_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("as_of", Instant(), nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("source", "deal_id", name=op.f("pk_written_back")),
        comment="What each deal's fields in the CRM were last told, and what the CRM said to it.",
    )
