"""What the relay asks for at every look: which announcements are new, and which deliveries are due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_WAITING_CALLS = "state = 'waiting' AND webhook_id IS NOT NULL"
_WAITING_STREAMS = "state = 'waiting' AND webhook_id IS NULL"


def upgrade() -> None:
    """A flag on announcements, and an index for each question."""
    op.add_column("outbox", sa.Column("fanned_out", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index(op.f("ix_outbox_new"), "outbox", ["id"], postgresql_where=sa.text("NOT fanned_out"))
    op.drop_index(op.f("ix_deliveries_waiting"), table_name="deliveries")
    op.create_index(
        op.f("ix_deliveries_calls"),
        "deliveries",
        ["webhook_id", "next_attempt_at", "outbox_id"],
        postgresql_where=sa.text(_WAITING_CALLS),
    )
    op.create_index(
        op.f("ix_deliveries_streams"), "deliveries", ["outbox_id"], postgresql_where=sa.text(_WAITING_STREAMS)
    )
    op.create_index(
        op.f("ix_deliveries_failed"), "deliveries", ["outbox_id", "id"], postgresql_where=sa.text("state = 'failed'")
    )


def downgrade() -> None:
    """The one index that was there before."""
    for name in ("ix_deliveries_failed", "ix_deliveries_streams", "ix_deliveries_calls"):
        op.drop_index(op.f(name), table_name="deliveries")
    op.create_index(
        op.f("ix_deliveries_waiting"), "deliveries", ["next_attempt_at"], postgresql_where=sa.text("state = 'waiting'")
    )
    op.drop_index(op.f("ix_outbox_new"), table_name="outbox")
    op.drop_column("outbox", "fanned_out")
