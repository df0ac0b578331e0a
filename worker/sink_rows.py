"""Which rows a batch of outcomes asks for: duplicates collapsed, in identity order. Pure: no SQL here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

from schemas.messages import RawEntry, entry_order, entry_time
from schemas.names import ItemState, Kind, Task
from schemas.raw import raw_to_json
from worker.columnar import Columns
from worker.language import guess
from worker.outcome import Dead, Done, Expired, Outcome, Prediction

Row = tuple[Any, ...]
Identity = tuple[str, str]
Order = tuple[datetime, int, int]

ITEM_KEY = Columns({"source": "text", "item_id": "text"})
TASK_KEY = Columns({**ITEM_KEY.types, "task": "text"})
PREDICTION_KEY = Columns({**TASK_KEY.types, "model": "text", "model_version": "text"})

ITEM = Columns(
    {
        **ITEM_KEY.types,
        "kind": "text",
        "text": "text",
        "lang": "text",
        "state": "text",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
        "received_at": "timestamptz",
        "meta": "jsonb",
        "entry_id": "text",
        "entry_ms": "numeric",
        "entry_seq": "numeric",
        "lane": "text",
    },
    finite=frozenset(["meta"]),  # by the rules of its field
)
PREDICTION = Columns(
    {
        **PREDICTION_KEY.types,
        "label": "text",
        "score": "double precision",
        "scores": "jsonb",
        "route_set": "text",
        "route_set_version": "integer",
        "stage": "text",
        "production": "boolean",
        "current": "boolean",
        "queue_ms": "double precision",
        "infer_ms": "double precision",
        "entry_id": "text",
        "entry_ms": "numeric",
        "entry_seq": "numeric",
        "item_created_at": "timestamptz",
        "updated_at": "timestamptz",
        "lane": "text",
    }
)
DEAD_LETTER = Columns(
    {
        "lane": "text",
        "entry_id": "text",
        "source": "text",
        "item_id": "text",
        "code": "text",
        "field": "text",
        "message": "text",
        "raw": "jsonb",
        "deliveries": "integer",
    }
)

_NAME = itemgetter(0)
_NO = frozenset([b"no", b"false", b"0"])


class TaskOf(NamedTuple):
    """One task of one item: at most one of its predictions is current."""

    source: str
    item_id: str
    task: Task


class PredictionOf(NamedTuple):
    """What names a row of predictions."""

    source: str
    item_id: str
    task: Task
    model: str
    model_version: str

    @property
    def task_of(self) -> TaskOf:
        """The task it is a result of."""
        return TaskOf(self.source, self.item_id, self.task)


@dataclass(slots=True)
class Batch:
    """What one call writes. The newest entry stands for each item, each prediction and each assignment.

    `repeats`: whether any item, or a task of one, comes more than once.
    """

    received_at: datetime
    items: dict[Identity, tuple[tuple[bool, Order], Outcome]] = field(default_factory=dict)
    predictions: dict[PredictionOf, tuple[tuple[bool, Order], Done, Prediction]] = field(default_factory=dict)
    newest: dict[TaskOf, tuple[Order, PredictionOf]] = field(default_factory=dict)
    assignments: dict[Identity, tuple[Order, Done]] = field(default_factory=dict)
    dead: list[Dead] = field(default_factory=list)
    repeats: bool = False

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], received_at: datetime) -> Batch:
        """The rows of `outcomes`; those that ask not to be stored have none."""
        batch = cls(received_at)
        for outcome in outcomes:
            if isinstance(outcome, Dead):
                if stored(outcome.raw):
                    batch._add_dead(outcome)
            elif outcome.entry.store:
                batch._add(outcome)
        return batch

    def _add(self, outcome: Done | Expired) -> None:
        entry = outcome.entry
        identity, order = (entry.source, entry.id), entry.order
        self._add_item(identity, (True, order), outcome)
        if isinstance(outcome, Expired):
            return
        for prediction in outcome.predictions:
            task_of = TaskOf(*identity, prediction.task)
            name = PredictionOf(*task_of, prediction.model, prediction.model_version)
            rank = (prediction.production, order)
            known = self.predictions.get(name)
            if known is None or rank > known[0]:
                self.predictions[name] = (rank, outcome, prediction)
            if prediction.production:
                newest = self.newest.get(task_of)
                self.repeats |= newest is not None
                if newest is None or order > newest[0]:
                    self.newest[task_of] = (order, name)
        if outcome.assignment is not None:
            assigned = self.assignments.get(identity)
            if assigned is None or order > assigned[0]:
                self.assignments[identity] = (order, outcome)

    def _add_dead(self, dead: Dead) -> None:
        self.dead.append(dead)
        if dead.identity is not None:
            order = (entry_time(dead.raw.entry_id), *entry_order(dead.raw.entry_id))
            self._add_item(dead.identity, (False, order), dead)

    def _add_item(self, identity: Identity, rank: tuple[bool, Order], outcome: Outcome) -> None:
        known = self.items.get(identity)
        if known is None:
            self.items[identity] = (rank, outcome)
            return
        self.repeats = True
        if rank > known[0]:
            self.items[identity] = (rank, outcome)

    def item_rows(self) -> list[Row]:
        """Rows of items. Every process sorts them alike, and so no two wait for each other."""
        return [
            _item_row(identity, rank, outcome, self.received_at)
            for identity, (rank, outcome) in sorted(self.items.items(), key=_NAME)
        ]

    def prediction_rows(self, current: set[PredictionOf] | None = None) -> list[Row]:
        """Rows of predictions; those in `current` are to be so. Without it, all that production has made."""
        return [
            _prediction_row(name, rank, done, prediction, rank[0] if current is None else name in current)
            for name, (rank, done, prediction) in sorted(self.predictions.items(), key=_NAME)
        ]

    def dead_letter_rows(self) -> list[Row]:
        """Rows of dead letters, in the order of their entries."""
        rows = {(dead.raw.lane.value, *entry_order(dead.raw.entry_id)): dead for dead in self.dead}
        return [_dead_letter_row(rows[place]) for place in sorted(rows)]


def stored(raw: RawEntry) -> bool:
    """Whether an entry that may break other rules is to leave rows."""
    return raw.fields.get(b"store", b"").strip().lower() not in _NO


def _item_row(identity: Identity, rank: tuple[bool, Order], outcome: Outcome, received_at: datetime) -> Row:
    updated_at, entry_ms, entry_seq = rank[1]
    if isinstance(outcome, Dead):
        kind = Kind.TICKET if outcome.raw.fields.get(b"kind") == Kind.TICKET.value.encode() else Kind.COMMENT
        lane = outcome.raw.lane
        values: Row = (kind, None, None, ItemState.DEAD, updated_at, updated_at, received_at, {}, outcome.raw.entry_id)
    else:
        entry = outcome.entry
        lane = entry.lane
        values = (
            entry.kind,
            entry.text,
            guess(entry.text),
            ItemState.DONE if isinstance(outcome, Done) else ItemState.EXPIRED,
            entry.created_at,
            updated_at,
            received_at,
            dict(entry.meta),
            entry.entry_id,
        )
    return (*identity, *values, entry_ms, entry_seq, lane)


def _prediction_row(
    name: PredictionOf, rank: tuple[bool, Order], done: Done, prediction: Prediction, current: bool
) -> Row:
    entry = done.entry
    updated_at, entry_ms, entry_seq = rank[1]
    return (
        *name,
        prediction.label,
        prediction.score,
        prediction.scores,
        entry.route_set if prediction.route_set_version is not None else None,
        prediction.route_set_version,
        prediction.stage,
        prediction.production,
        current,
        round(prediction.queue_ms, 3),
        round(prediction.infer_ms, 3),
        entry.entry_id,
        entry_ms,
        entry_seq,
        entry.created_at,
        updated_at,
        entry.lane,
    )


def _dead_letter_row(dead: Dead) -> Row:
    return (
        dead.raw.lane,
        dead.raw.entry_id,
        *(dead.identity or (None, None)),
        dead.code,
        _storable(dead.field),
        _storable(dead.message),
        raw_to_json(dead.raw.fields),
        dead.raw.deliveries,
    )


def _storable(text: str) -> str:
    """A message about a broken entry may quote what broke it; a dead letter must never be refused for that."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
