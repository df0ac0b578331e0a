"""People who log in, what reviews need, alerts, and a role that may read the views for dashboards alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from migrations.view import View

revision = "0007"
down_revision = "0006"

_NOW = sa.text("now()")

ALERTS = View(
    "dash_alerts",
    "Bounds that were crossed: results that drift from their reference, or that became worse.",
    {
        "measure": "What was measured: labels, confidence, length (drift) or accuracy.",
        "task": "sentiment or routing.",
        "model": "The model concerned.",
        "model_version": "Its version.",
        "value": "The newest value measured.",
        "bound": "The bound it crossed.",
        "message": "What it means.",
        "open": "Whether it is still crossed.",
        "created_at": "When it was crossed.",
        "ended_at": "When it was no longer crossed, null while it is.",
    },
    """
    SELECT measure, task, model, model_version, value, bound, message, ended_at IS NULL AS open, created_at, ended_at
    FROM alerts
    """,
)
VIEWS = (ALERTS,)

# For the pages of dead letters, newest first.
_LETTER_INDEXES = (
    ("ix_dead_letters_waiting", ["id"], "replayed_at IS NULL"),
    ("ix_dead_letters_waiting_code", ["code", "id"], "replayed_at IS NULL"),
    ("ix_dead_letters_replayed", ["id"], "replayed_at IS NOT NULL"),
)

# A role belongs to the whole cluster: another database may have made it, or be making it just now. Where this account
# may create no roles, an administrator does, and the pages read as the account itself until then.
_CREATE_ROLE = """
    DO $$
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fenliu_dashboard') THEN
            CREATE ROLE fenliu_dashboard NOLOGIN;
            -- Since PostgreSQL 16, whoever makes a role may take it only when he has given it to himself.
            IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
                EXECUTE format('GRANT fenliu_dashboard TO %I', current_user);
            END IF;
        END IF;
    EXCEPTION
        WHEN duplicate_object OR unique_violation THEN NULL;
        WHEN insufficient_privilege THEN RAISE NOTICE 'no right to create the role fenliu_dashboard';
    END $$
"""
# By their names, so that what anybody else named dash_… stays his own.
_READABLE = (
    "dash_current", "dash_sentiment_hourly", "dash_sentiment_by_source", "dash_routing_by_team", "dash_low_confidence",
    "dash_latency", "dash_throughput", "dash_dead_letters", "dash_alerts",
)  # fmt: skip
_IF_IT_EXISTS = """
    DO $$
    BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'fenliu_dashboard') THEN
            {};
        END IF;
    END $$
"""
_LET_IN = _IF_IT_EXISTS.format("EXECUTE format('GRANT USAGE ON SCHEMA %I TO fenliu_dashboard', current_schema())")
_GRANT = _IF_IT_EXISTS.format(f"GRANT SELECT ON {', '.join(_READABLE)} TO fenliu_dashboard")
_REVOKE = _IF_IT_EXISTS.format(f"REVOKE ALL ON {', '.join(_READABLE)} FROM fenliu_dashboard")


def upgrade() -> None:
    """Nobody can log in before the first user is made."""
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("password_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("role IN ('viewer', 'reviewer', 'admin')", name=op.f("ck_users_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name_key", name=op.f("uq_users_name_key")),
    )
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"])
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"])
    op.add_column("reviews", sa.Column("text_updated_at", sa.DateTime(timezone=True)))
    op.add_column("reviews", sa.Column("copies", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("reviews", sa.Column("fingerprint", sa.Text()))
    op.add_column("reviews", sa.Column("note", sa.Text()))
    op.add_column("reviews", sa.Column("before", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False))
    op.create_index(
        "ix_predictions_unsure",
        "predictions",
        ["task", "score", "source", "item_id", "created_at"],
        postgresql_where=sa.text("current AND score < 0.7"),
    )
    op.create_index(op.f("ix_reviews_fingerprint"), "reviews", ["fingerprint"])
    op.create_index(op.f("ix_reviews_reviewer_decided_at"), "reviews", ["reviewer", "decided_at"])
    op.create_table(
        "alerts",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("bound", sa.Double(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("task IN ('sentiment', 'routing')", name=op.f("ck_alerts_task")),
        sa.CheckConstraint("measure IN ('labels', 'confidence', 'length', 'accuracy')", name=op.f("ck_alerts_measure")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index(
        "uq_alerts_open",
        "alerts",
        ["measure", "task", "model", "model_version"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    for name, columns, predicate in _LETTER_INDEXES:
        op.create_index(name, "dead_letters", columns, postgresql_where=sa.text(predicate))
    ALERTS.create()
    op.execute(_CREATE_ROLE)
    op.execute(_LET_IN)
    op.execute(_GRANT)


def downgrade() -> None:
    """Drop it. The role stays, since other databases of the cluster may use it; here it may read nothing more."""
    op.execute(_REVOKE)
    ALERTS.drop()
    for name, _, _ in _LETTER_INDEXES:
        op.drop_index(name, table_name="dead_letters")
    op.drop_table("alerts")
    op.drop_index("ix_predictions_unsure", table_name="predictions")
    op.drop_index(op.f("ix_reviews_reviewer_decided_at"), table_name="reviews")
    op.drop_index(op.f("ix_reviews_fingerprint"), table_name="reviews")
    for column in ("before", "note", "fingerprint", "copies", "text_updated_at"):
        op.drop_column("reviews", column)
    op.drop_table("sessions")
    op.drop_table("users")
