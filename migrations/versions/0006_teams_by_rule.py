"""Teams that only rules and people fill."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Every team that is there stays among the model's labels."""
    op.add_column("routes", sa.Column("by_model", sa.Boolean(), server_default=sa.text("true"), nullable=False))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("routes", "by_model")
