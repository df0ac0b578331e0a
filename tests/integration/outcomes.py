"""Outcomes as the pipeline makes them, for tests of what happens to them afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.errors import Code
from schemas.messages import Entry, RawEntry, identity_of
from schemas.names import TASKS_OF_KIND, AssignmentStatus, Kind, Lane, Stage, Task
from worker.outcome import Assignment, Dead, Done, Expired, Prediction

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)


def entry(item_id: str = "42", at_s: int = 0, seq: int = 0, kind: Kind = Kind.COMMENT, **more: Any) -> Entry:
    """An entry that was added `at_s` seconds after noon."""
    at = NOON + timedelta(seconds=at_s)
    made = Entry(
        Lane.LIVE, f"{NOON_MS + at_s * 1000}-{seq}", item_id, f"text of {at_s}", "shop", kind, TASKS_OF_KIND[kind],
        created_at=at, updated_at=at,
    )  # fmt: skip
    return made._replace(**more)


def sentiment(label: str = "positive", version: str = "1", *, production: bool = True, **more: Any) -> Prediction:
    """A sentiment that is 0.9 sure."""
    made = Prediction(
        Task.SENTIMENT, "tiny", version, label, 0.9, {label: 0.9, "other": 0.1}, Stage.CLASSIFIER, production, 12.5, 3.0
    )
    return made._replace(**more)


def comment(
    item_id: str = "42", at_s: int = 0, label: str = "positive", version: str = "1", *, production: bool = True,
    **more: Any,
) -> Done:  # fmt: skip
    """A classified comment."""
    return Done(entry(item_id, at_s, **more), (sentiment(label, version, production=production),))


def ticket(
    item_id: str = "42", at_s: int = 0, team: str = "billing", version: str = "1", score: float = 0.8,
    status: AssignmentStatus = AssignmentStatus.AUTO, **more: Any,
) -> Done:  # fmt: skip
    """A classified ticket, given to a team of version 3 of its route set."""
    routing = Prediction(
        Task.ROUTING, "tiny", version, team, score, {team: score, "other": 1 - score}, Stage.ENCODER, True, 12.5, 3.0, 3
    )
    predictions = (sentiment(version=version), routing)
    return Done(entry(item_id, at_s, kind=Kind.TICKET, **more), predictions, Assignment(team, status, score))


def expired(item_id: str = "42", at_s: int = 0, **more: Any) -> Expired:
    """An entry that came too late."""
    return Expired(entry(item_id, at_s, **more))


def dead(
    fields: Mapping[str, str | bytes], at_s: int = 0, code: Code = Code.MISSING_FIELD, deliveries: int = 1
) -> Dead:
    """An entry that cannot be classified."""
    encoded = {name.encode(): value.encode() if isinstance(value, str) else value for name, value in fields.items()}
    raw = RawEntry(Lane.LIVE, f"{NOON_MS + at_s * 1000}-0", encoded, deliveries)
    return Dead(raw, Code.MISSING_FIELD, "text", "text: is missing; every entry needs it", identity_of(raw))
