"""The usual batch: each item once, with one result in production and nobody to assign. Pure: no SQL here.

Most batches are such. What all their rows share is sent once, and so is what an item and its prediction share: the
columns of half as many values, in one statement. All other batches are `worker.sink_rows`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

from schemas.messages import Entry, entry_order
from worker.columnar import Columns
from worker.language import guess
from worker.outcome import Done, Outcome, Prediction
from worker.sink_rows import ITEM, ITEM_KEY, PREDICTION, Identity

_OF_ITEM = ("text", "lang", "created_at", "updated_at", "meta", "entry_id", "entry_ms", "entry_seq")
_OF_PREDICTION = ("label", "score", "scores", "queue_ms", "infer_ms")
SENT: Final = Columns(
    {name: ITEM.types[name] for name in (*ITEM_KEY.types, *_OF_ITEM)}
    | {name: PREDICTION.types[name] for name in _OF_PREDICTION},
    finite=ITEM.finite,
)

_IDENTITY = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Usual:
    """What the statement takes: `parameters` by name, `items` of them."""

    items: int
    parameters: dict[str, Any]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], received_at: datetime) -> Usual | None:
        """The batch of `outcomes`, sorted as all processes sort; None where it is not a usual one.

        Raises RowRefusedError for NaN and infinity.
        """
        done_of: dict[Identity, Done] = {}
        to_store = 0
        for outcome in outcomes:
            if not isinstance(outcome, Done) or len(outcome.predictions) != 1 or outcome.assignment is not None:
                return None
            if outcome.entry.store:
                to_store += 1
                done_of[outcome.entry.source, outcome.entry.id] = outcome
        if not done_of or len(done_of) < to_store:
            return None
        ordered = [done for _, done in sorted(done_of.items(), key=_IDENTITY)]
        entries: Any = Entry._make(zip(*(done.entry for done in ordered), strict=True))
        found: Any = Prediction._make(zip(*(done.predictions[0] for done in ordered), strict=True))
        shared = set(
            zip(entries.lane, entries.kind, found.task, found.model, found.model_version, found.stage, strict=True)
        )
        if len(shared) > 1 or not all(found.production) or any(found.route_set_version):
            return None
        return cls(to_store, _parameters(entries, found, received_at))


def _parameters(entries: Any, found: Any, received_at: datetime) -> dict[str, Any]:
    """`entries` and `found`: a tuple of values for each field."""
    ms, seq = zip(*map(entry_order, entries.entry_id), strict=True)
    columns = (
        entries.source,
        entries.id,
        entries.text,
        [guess(text) for text in entries.text],
        entries.created_at,
        entries.updated_at,
        [dict(meta) for meta in entries.meta],
        entries.entry_id,
        ms,
        seq,
        found.label,
        found.score,
        found.scores,
        [round(value, 3) for value in found.queue_ms],
        [round(value, 3) for value in found.infer_ms],
    )
    return SENT.parameters_of(columns) | {
        "items": len(ms),
        "received_at": received_at,
        "lane": entries.lane[0].value,
        "kind": entries.kind[0].value,
        "task": found.task[0].value,
        "model": found.model[0],
        "model_version": found.model_version[0],
        "stage": found.stage[0].value,
    }
