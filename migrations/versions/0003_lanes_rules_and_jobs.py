"""Columns for lanes, rules, backfills, schedules and keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

_STATES = "state IN ('running', 'stopped', 'done', 'failed', 'cancelled')"
_STATES_WITH_DRAINING = "state IN ('running', 'draining', 'stopped', 'done', 'failed', 'cancelled')"


def upgrade() -> None:
    """Add them. A constant default rewrites no table."""
    for table in ("items", "predictions"):
        op.add_column(table, sa.Column("lane", sa.Text(), server_default=sa.text("'live'"), nullable=False))
        op.create_check_constraint(op.f(f"ck_{table}_lane"), table, "lane IN ('live', 'bulk')")
    op.add_column(
        "assignments",
        sa.Column("item_created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.execute(
        "UPDATE assignments SET item_created_at = items.created_at FROM items"
        " WHERE (items.source, items.item_id) = (assignments.source, assignments.item_id)"
    )
    op.add_column(
        "route_sets", sa.Column("rules", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False)
    )
    op.add_column("backfills", sa.Column("skipped", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    for name in ("first_entry_id", "last_entry_id", "schedule", "error"):
        op.add_column("backfills", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("backfills", sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.drop_constraint(op.f("ck_backfills_state"), "backfills")
    op.create_check_constraint(op.f("ck_backfills_state"), "backfills", _STATES_WITH_DRAINING)
    op.add_column("schedules", sa.Column("timezone", sa.Text(), server_default=sa.text("'UTC'"), nullable=False))
    op.add_column("schedules", sa.Column("last_outcome", sa.Text(), nullable=True))
    op.add_column("schedules", sa.Column("created_by", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("api_keys", sa.Column("rate_per_minute", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("api_keys", "rate_per_minute")
    for name in ("timezone", "last_outcome", "created_by"):
        op.drop_column("schedules", name)
    op.execute("UPDATE backfills SET state = 'stopped' WHERE state = 'draining'")
    op.drop_constraint(op.f("ck_backfills_state"), "backfills")
    op.create_check_constraint(op.f("ck_backfills_state"), "backfills", _STATES)
    for name in ("skipped", "first_entry_id", "last_entry_id", "schedule", "error", "attempts"):
        op.drop_column("backfills", name)
    op.drop_column("route_sets", "rules")
    op.drop_column("assignments", "item_created_at")
    for table in ("items", "predictions"):
        op.drop_column(table, "lane")
