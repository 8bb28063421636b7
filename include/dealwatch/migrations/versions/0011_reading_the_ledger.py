"""On SQLite, an index that holds all that a reading of the ledger asks for."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_READ = ["deal_id", "field", "known_at", "happened_at", "seq", "new_value"]


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        op.create_index("ix_deal_changes_reading", "deal_changes", _READ)
        op.drop_index("ix_deal_changes_deal_id_field", "deal_changes")
