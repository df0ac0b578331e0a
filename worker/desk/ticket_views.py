"""Tickets as people look at them: one with its scores, history and deliveries, and lists. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Select, exists, select

from schemas.database import translated
from schemas.names import TRIAGE_TEAM, AssignmentStatus, Kind, Task
from schemas.tables import assignment_events, assignments, deliveries, items, outbox, predictions, webhooks
from worker.relay.address import shown


@dataclass(frozen=True, slots=True)
class TicketView:
    """Rows as mappings from column to value. `routing`: the current result, None if there is none.

    `deliveries`: oldest first, one for each receiver of each announcement; `receiver` is `stream` or a webhook's URL
    without what its query says, and state None says that no receiver is known yet.
    """

    item: Mapping[str, Any]
    assignment: Mapping[str, Any] | None
    routing: Mapping[str, Any] | None
    history: list[Mapping[str, Any]]
    deliveries: list[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class TicketLine:
    """One ticket in a list. `score` is None where a person decided."""

    source: str
    item_id: str
    team: str
    status: AssignmentStatus
    score: float | None
    changed_at: datetime
    text: str | None


def sources_of(engine: Engine, item_id: str) -> list[str]:
    """The sources that have a ticket of this id. Raises DatabaseUnavailableError."""
    assigned = exists().where(assignments.c.source == items.c.source, assignments.c.item_id == items.c.item_id)
    query = (
        select(items.c.source)
        .where(items.c.item_id == item_id, (items.c.kind == Kind.TICKET) | assigned)
        .order_by(items.c.source)
    )
    with translated(), engine.connect() as connection:
        return list(connection.scalars(query))


def show(engine: Engine, source: str, item_id: str) -> TicketView | None:
    """A ticket; None if there is no such item. Raises DatabaseUnavailableError."""

    def of_item(table: Any) -> Any:
        return (table.c.source == source) & (table.c.item_id == item_id)

    routing = predictions.c.current & (predictions.c.task == Task.ROUTING)
    events = select(assignment_events).where(of_item(assignment_events)).order_by(assignment_events.c.id)
    told = (
        select(
            outbox.c.id,
            outbox.c.team,
            outbox.c.created_at,
            deliveries.c.state,
            deliveries.c.attempts,
            deliveries.c.last_error,
            deliveries.c.delivered_at,
            webhooks.c.url.label("receiver"),
        )
        .outerjoin(deliveries, deliveries.c.outbox_id == outbox.c.id)
        .outerjoin(webhooks, webhooks.c.id == deliveries.c.webhook_id)
        .where(of_item(outbox))
        .order_by(outbox.c.id, deliveries.c.id)
    )
    with translated(), engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        found = _rows(connection, select(items).where(of_item(items)))
        if not found:
            return None
        return TicketView(
            item=found[0],
            assignment=next(iter(_rows(connection, select(assignments).where(of_item(assignments)))), None),
            routing=next(iter(_rows(connection, select(predictions).where(of_item(predictions), routing))), None),
            history=_rows(connection, events),
            deliveries=[
                {**row, "receiver": shown(row["receiver"]) if row["receiver"] else "stream" if row["state"] else None}
                for row in _rows(connection, told)
            ],
        )


def list_(
    engine: Engine,
    *,
    team: str | None = None,
    status: AssignmentStatus | None = None,
    source: str | None = None,
    limit: int = 100,
) -> list[TicketLine]:
    """Tickets that have a team, those first whose team changed last. Raises DatabaseUnavailableError."""
    a = assignments.c
    query = (
        select(a.source, a.item_id, a.team, a.status, a.score, a.changed_at, items.c.text)
        .join(items, (items.c.source == a.source) & (items.c.item_id == a.item_id))
        .order_by(a.changed_at.desc(), a.source, a.item_id)
        .limit(limit)
    )
    if status is AssignmentStatus.TRIAGE and team is None:
        team = TRIAGE_TEAM  # says the same, and has an index
    for column, wanted in ((a.team, team), (a.status, status), (a.source, source)):
        if wanted is not None:
            query = query.where(column == wanted)
    with translated(), engine.connect() as connection:
        return [
            TicketLine(
                row.source, row.item_id, row.team, AssignmentStatus(row.status), row.score, row.changed_at, row.text
            )
            for row in connection.execute(query)
        ]


def _rows(connection: Connection, query: Select[Any]) -> list[Mapping[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(query)]
