"""What became of rows in quarantine."""

import sqlalchemy as sa
from alembic import op

from dealwatch.tables import Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("quarantine", schema=None) as batch_op:
        batch_op.add_column(sa.Column("settled_at", Instant(), nullable=True))
        batch_op.add_column(sa.Column("settled_by", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("settled_as", sa.String(), nullable=True))
        batch_op.create_index(
            batch_op.f("ix_quarantine_source_settled_by"), ["source", "settled_by"], unique=False
        )
