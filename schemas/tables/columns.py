"""What the tables have in common: the metadata, names of constraints, and columns that several tables share."""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    MetaData,
    Numeric,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)
"""Every table of Fenliu."""


def row_id() -> Column[int]:
    """A number that Postgres gives: the primary key `id`."""
    return Column("id", BigInteger, Identity(), primary_key=True)


def moment(name: str, *, nullable: bool = False, now: bool = False) -> Column[datetime]:
    """A time with zone; `now`: the transaction's time unless given."""
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=text("now()") if now else None)


def json_column(name: str, default: str | None = None) -> Column[Any]:
    """A jsonb column that is never null; `default` is its JSON."""
    return Column(name, JSONB, nullable=False, server_default=text(f"'{default}'::jsonb") if default else None)


def flag(name: str, *, default: bool) -> Column[bool]:
    """A boolean that is never null."""
    return Column(name, Boolean, nullable=False, server_default=text("true" if default else "false"))


def count(name: str) -> Column[int]:
    """A count that starts at 0."""
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def entry_columns(*, default: bool = False) -> tuple[Column[str], Column[Decimal], Column[Decimal]]:
    """The inbox entry a row comes from: its id, and the id's two integers, which are unsigned 64-bit."""
    entry_id, entry_ms, entry_seq = ("'0-0'", "0", "0") if default else (None, None, None)
    return (
        Column("entry_id", Text, nullable=False, server_default=_default(entry_id)),
        Column("entry_ms", Numeric(20, 0), nullable=False, server_default=_default(entry_ms)),
        Column("entry_seq", Numeric(20, 0), nullable=False, server_default=_default(entry_seq)),
    )


def _default(sql: str | None) -> Any:
    return text(sql) if sql else None


def one_of(column: str, values: type[enum.StrEnum]) -> CheckConstraint:
    """A check that `column` holds one of the values of an enumeration in `schemas.names`."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(value.value) for value in values)})", name=column)


def of_item() -> ForeignKeyConstraint:
    """A row that belongs to an item and goes with it."""
    return ForeignKeyConstraint(["source", "item_id"], ["items.source", "items.item_id"], ondelete="CASCADE")
