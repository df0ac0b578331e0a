"""Outcomes to Postgres: one call, one transaction, newest wins.

What rows a batch asks for is in `worker.sink_rows` and `worker.sink_tickets`, the statements in `worker.sink_sql`.
Who calls again when Postgres is away, and who halves a batch that is refused, is `worker.slot`.

How concurrent writers of one item get on: the upsert of items takes the row's lock, in the same order everywhere;
all other rows of an item are read and written under that lock. Whoever else changes them takes it first, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine

from schemas.database import translated
from schemas.names import AssignmentStatus, ReplyStatus, Task
from worker import sink_sql as sql
from worker.outcome import Dead, Done, Expired, Outcome
from worker.sink_rows import Batch, Identity, Order, PredictionOf, TaskOf
from worker.sink_tickets import Held, assignment_rows
from worker.sink_usual import Usual

Current = dict[TaskOf, tuple[Order, PredictionOf]]


class Written(NamedTuple):
    """What a transaction did: what is current afterwards, rows by table, and whether all its items were new.

    Of results that nothing can have superseded, `current` says nothing.
    """

    current: Current
    rows: Mapping[str, int]
    all_new: bool


class Sink:
    """Writes outcomes. Thread-safe: each call takes a connection of the engine's pool."""

    def __init__(self, engine: Engine, on_rows: Callable[[str, int], None] = lambda *_: None) -> None:
        """`on_rows` is told how many rows of a table a transaction has written."""
        self._engine = engine
        self._on_rows = on_rows
        self._expects_new = True  # where known items come, more of them do

    def write(self, outcomes: Sequence[Outcome], received_at: datetime) -> list[ReplyStatus]:
        """Write `outcomes` in one transaction; what became of each, in order.

        `received_at`: when the entries were taken from their inbox. An outcome is superseded if a newer result of
        one of its tasks is current. Writing the same again changes nothing and answers the same.
        Raises RowRefusedError if Postgres refuses a row for its content and DatabaseUnavailableError if it cannot
        be reached or asks to try again; nothing of this call is written then.
        """
        usual = Usual.of(outcomes, received_at) if self._expects_new else None
        batch = Batch.of(outcomes, received_at) if usual is None else None
        written = Written({}, {}, all_new=True)
        if batch is None or batch.items or batch.dead:
            with translated(), self._engine.begin() as connection:
                new = _write_new(connection, usual) if usual is not None else None
                written = new or _write(connection, batch or Batch.of(outcomes, received_at))
            self._expects_new = written.all_new
        for table, count in written.rows.items():
            self._on_rows(table, count)
        return [_status(outcome, written.current) for outcome in outcomes]


def _write_new(connection: Connection, usual: Usual) -> Written | None:
    """Write it if all its items are new, else none of its predictions, and say None."""
    fresh = connection.exec_driver_sql(sql.WRITE_USUAL, usual.parameters).scalar_one()
    return Written({}, {"items": fresh, "predictions": fresh}, all_new=True) if fresh == usual.items else None


def _write(connection: Connection, batch: Batch) -> Written:
    """Write it, whatever is in it."""
    assigned = dead = 0
    all_fresh = True
    if batch.items:
        fresh = sql.UPSERT_ITEMS.run_first(connection, batch.item_rows()).scalar_one()
        all_fresh = fresh == len(batch.items)
    current = _write_predictions(connection, batch, all_fresh)
    if batch.assignments:
        held = {} if all_fresh else _held(connection, batch)
        assigns = assignment_rows(batch, held)
        if assigns:
            sql.WRITE_ASSIGNMENTS.run(connection, assigns)
            assigned = len(assigns)
    if batch.dead:
        letters = batch.dead_letter_rows()
        insert = sql.INSERT_DEAD_LETTERS.run if batch.items else sql.INSERT_DEAD_LETTERS.run_first
        insert(connection, letters)
        dead = len(letters)
    rows = {"items": len(batch.items), "predictions": len(batch.predictions)}
    return Written(current, rows | {"assignments": assigned, "dead_letters": dead}, all_fresh)


def _write_predictions(connection: Connection, batch: Batch, all_fresh: bool) -> Current:
    """Write predictions; what is current afterwards of each task that the batch has a production result of.

    An item that is new has no predictions yet, and so nothing needs to be asked or cleared. Where all are new and come
    once, nothing is superseded, and nothing is said.
    """
    if not batch.predictions:
        return {}
    if all_fresh and not batch.repeats:
        sql.UPSERT_PREDICTIONS.run(connection, batch.prediction_rows())
        return {}
    before = {} if all_fresh or not batch.newest else _current(connection, batch)
    gains = {
        task_of: newest
        for task_of, newest in batch.newest.items()
        if task_of not in before or newest[0] > before[task_of][0]
    }
    clear = [
        before[task_of][1] for task_of, (_, name) in gains.items() if task_of in before and before[task_of][1] != name
    ]
    if clear:
        sql.CLEAR_CURRENT.run(connection, sorted(clear))
    sql.UPSERT_PREDICTIONS.run(connection, batch.prediction_rows({name for _, name in gains.values()}))
    return before | gains


def _current(connection: Connection, batch: Batch) -> Current:
    current = {}
    for row in sql.SELECT_CURRENT.run(connection, list(batch.newest)):
        name = PredictionOf(row.source, row.item_id, Task(row.task), row.model, row.model_version)
        current[name.task_of] = (_order(row), name)
    return current


def _held(connection: Connection, batch: Batch) -> Mapping[Identity, Held]:
    return {
        (row.source, row.item_id): Held(row.team, AssignmentStatus(row.status), _order(row))
        for row in sql.SELECT_ASSIGNMENTS.run(connection, list(batch.assignments))
    }


def _order(row: Any) -> Order:
    return row.updated_at, int(row.entry_ms), int(row.entry_seq)


def _status(outcome: Outcome, current: Current) -> ReplyStatus:
    if isinstance(outcome, Dead):
        return ReplyStatus.DEAD
    if isinstance(outcome, Expired):
        return ReplyStatus.EXPIRED
    return ReplyStatus.SUPERSEDED if _superseded(outcome, current) else ReplyStatus.OK


def _superseded(done: Done, current: Current) -> bool:
    entry = done.entry
    if not entry.store or not current:
        return False
    tasks = (TaskOf(entry.source, entry.id, each.task) for each in done.predictions if each.production)
    return any(current[task_of][0] > entry.order for task_of in tasks)
