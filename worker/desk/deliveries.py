"""Deliveries: listing them, replaying them, how far behind they are.

Making and trying them is the relay's (`worker.relay`), pruning what is delivered `worker.desk.prune`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, func, or_, select, text, tuple_, update

from schemas.database import translated
from schemas.names import DeliveryState
from schemas.tables import deliveries, outbox, webhooks
from worker.relay import claims

_CHUNK_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """One announcement to one receiver. `webhook_id` is None for the team's stream."""

    id: int
    announcement: int
    source: str
    item_id: str
    team: str
    webhook_id: int | None
    state: DeliveryState
    attempts: int
    status_code: int | None
    last_error: str | None
    created_at: datetime
    next_attempt_at: datetime
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries are meant: those that match everything given here."""

    ids: Sequence[int] = ()
    state: DeliveryState | None = None
    team: str | None = None
    webhook_id: int | None = None

    def _conditions(self) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        if self.ids:
            conditions.append(deliveries.c.id.in_(self.ids))
        if self.state is not None:
            conditions.append(deliveries.c.state == self.state)
        if self.team is not None:
            conditions.append(outbox.c.team == self.team)
        if self.webhook_id is not None:
            conditions.append(deliveries.c.webhook_id == self.webhook_id)
        return conditions


@dataclass(frozen=True, slots=True)
class Backlog:
    """How far delivery is behind. `oldest_age_s`: of the oldest announcement that is not through; 0 if all are."""

    waiting: int
    oldest_age_s: float
    failed: int


def find(engine: Engine, which: Filter, *, limit: int = 100) -> list[Delivery]:
    """Deliveries, newest first. Raises DatabaseUnavailableError."""
    query = (
        select(deliveries, outbox.c.source, outbox.c.item_id, outbox.c.team)
        .join_from(deliveries, outbox, outbox.c.id == deliveries.c.outbox_id)
        .where(*which._conditions())
        .order_by(deliveries.c.id.desc())
        .limit(limit)
    )
    with translated(), engine.connect() as connection:
        return [_delivery(row) for row in connection.execute(query)]


def replay(engine: Engine, which: Filter) -> int:
    """Let deliveries that are through wait again, with all their attempts; how many these are.

    Oldest announcement first, so that each receiver gets those of an item in order. Receivers see the idempotency
    keys of the first time. Deliveries to a webhook that is disabled stay as they are.
    Raises DatabaseUnavailableError; what was set until then stays set.
    """
    replayed = 0
    after = (0, 0)
    while True:
        with translated(), engine.begin() as connection:
            chunk = _through(connection, which, after)
            if not chunk:
                return replayed
            outbox_ids = sorted({row.outbox_id for row in chunk})
            claims.lock_outbox(connection, outbox_ids)
            replayed += connection.execute(
                update(deliveries)
                .where(
                    deliveries.c.id.in_([row.id for row in chunk]),
                    deliveries.c.state != DeliveryState.WAITING,
                )
                .values(
                    state=DeliveryState.WAITING,
                    attempts=0,
                    status_code=None,
                    last_error=None,
                    delivered_at=None,
                    next_attempt_at=func.now(),
                )
            ).rowcount
            connection.execute(update(outbox).where(outbox.c.id.in_(outbox_ids)).values(delivered_at=None))
            after = (chunk[-1].outbox_id, chunk[-1].id)


def backlog(connection: Connection) -> Backlog:
    """How far delivery is behind, read from indexes that hold only what is not through."""
    row = connection.execute(_BACKLOG).one()
    return Backlog(row.waiting, float(row.oldest_age_s), row.failed)


_BACKLOG = text(
    """
    SELECT (SELECT count(*) FROM outbox WHERE delivered_at IS NULL) AS waiting,
        (SELECT count(*) FROM deliveries WHERE state = 'failed') AS failed,
        coalesce((
            SELECT extract(epoch FROM now() - created_at) FROM outbox WHERE delivered_at IS NULL ORDER BY id LIMIT 1
        ), 0) AS oldest_age_s
    """
)


def _through(connection: Connection, which: Filter, after: tuple[int, int]) -> Sequence[Any]:
    """The next chunk of what may be replayed. Webhooks that are enabled stay so until the transaction ends."""
    enabled = connection.scalars(
        select(webhooks.c.id).where(webhooks.c.enabled).order_by(webhooks.c.id).with_for_update(read=True)
    ).all()
    query = (
        select(deliveries.c.id, deliveries.c.outbox_id)
        .join_from(deliveries, outbox, outbox.c.id == deliveries.c.outbox_id)
        .where(
            *which._conditions(),
            deliveries.c.state != DeliveryState.WAITING,
            or_(deliveries.c.webhook_id.is_(None), deliveries.c.webhook_id.in_(enabled)),
            tuple_(deliveries.c.outbox_id, deliveries.c.id) > after,
        )
        .order_by(deliveries.c.outbox_id, deliveries.c.id)
        .limit(_CHUNK_ROWS)
    )
    return connection.execute(query).all()


def _delivery(row: Any) -> Delivery:
    return Delivery(
        row.id, row.outbox_id, row.source, row.item_id, row.team, row.webhook_id, DeliveryState(row.state),
        row.attempts, row.status_code, row.last_error, row.created_at, row.next_attempt_at, row.delivered_at,
    )  # fmt: skip
