"""Which tickets change hands: assignments, their history and the outbox. Pure: no SQL here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.messages import Entry
from schemas.names import Announcement, AssignmentStatus, Task
from worker.columnar import Columns
from worker.outcome import Assignment, Done, Prediction
from worker.sink_rows import ITEM_KEY, Batch, Identity, Order, Row

ASSIGNMENT = Columns(
    {
        **ITEM_KEY.types,
        "team": "text",
        "score": "double precision",
        "status": "text",
        "route_set": "text",
        "route_set_version": "integer",
        "entry_id": "text",
        "entry_ms": "numeric",
        "entry_seq": "numeric",
        "updated_at": "timestamptz",
        "item_created_at": "timestamptz",
    }
)
ASSIGNED = Columns(
    {
        **ASSIGNMENT.types,
        "announce": "boolean",
        "from_team": "text",
        "who": "text",
        "why": "text",
        "kind": "text",
        "payload": "jsonb",
    },
    finite=frozenset(["payload"]),  # its score is that of the row
)


@dataclass(frozen=True, slots=True)
class Held:
    """An assignment as the database has it."""

    team: str
    status: AssignmentStatus
    order: Order


def assignment_rows(batch: Batch, held: Mapping[Identity, Held]) -> list[Row]:
    """Assignments to write, in identity order, each with what to announce.

    What a person decided stays, and so does what a newer entry or this same one decided. `announce` is set where
    the team is new or another than before.
    """
    rows = []
    for identity in sorted(batch.assignments):
        order, done = batch.assignments[identity]
        before = held.get(identity)
        if before and (before.status is AssignmentStatus.OVERRIDDEN or order <= before.order):
            continue
        rows.append(_row(identity, order, done, before.team if before else None))
    return rows


def _row(identity: Identity, order: Order, done: Done, from_team: str | None) -> Row:
    entry, assignment = done.entry, done.assignment
    assert assignment is not None  # noqa: S101 - only such are in batch.assignments
    routing = next((each for each in done.predictions if each.task is Task.ROUTING), None)
    decided = {
        "source": identity[0],
        "item_id": identity[1],
        "team": assignment.team,
        "score": assignment.score,
        "status": assignment.status,
        "route_set": entry.route_set,
        "route_set_version": routing.route_set_version if routing else None,
        "entry_id": entry.entry_id,
        "entry_ms": order[1],
        "entry_seq": order[2],
        "updated_at": order[0],
        "item_created_at": entry.created_at,
    }
    announce = from_team != assignment.team
    return (
        *(decided[name] for name in ASSIGNMENT.types),
        announce,
        from_team,
        _who(entry, assignment, routing),
        assignment.why or ("first result" if from_team is None else "newer result"),
        Announcement.ASSIGNED,
        _payload(decided, from_team, routing) if announce else {},
    )


def _who(entry: Entry, assignment: Assignment, routing: Prediction | None) -> str:
    if routing is None:
        return ""
    if assignment.why:
        return f"rules of {entry.route_set} {routing.route_set_version}"
    return f"{routing.model} {routing.model_version}"


def _payload(decided: dict[str, Any], from_team: str | None, routing: Prediction | None) -> dict[str, Any]:
    payload = {name: decided[name] for name in decided if name not in {"entry_ms", "entry_seq", "item_created_at"}}
    payload["from_team"] = from_team
    if routing:
        payload |= {"label": routing.label, "model": routing.model, "model_version": routing.model_version}
    return payload
