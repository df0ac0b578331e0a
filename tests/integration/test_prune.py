"""Retention: what is old goes with all of its own, what changed meanwhile stays."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, insert, select, text, update

from schemas.database import make_engine
from schemas.names import AssignmentStatus, DeliveryState, ItemState, Kind, ReviewState, Task
from schemas.settings import Settings
from schemas.tables import (
    assignment_events,
    assignments,
    backfills,
    dead_letters,
    deliveries,
    items,
    outbox,
    predictions,
    reviews,
)
from tests.conftest import Fenliu
from worker.desk import prune as desk
from worker.desk.prune import Ages

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=200)
AGE = timedelta(days=180)
OF_AN_ITEM = {"items": 1, "predictions": 1, "assignments": 1, "assignment_events": 1, "reviews": 1}
TOLD = {"outbox": 1, "deliveries": 1}


def fill(engine: Engine, count: int, received_at: datetime, source: str = "shop", *, delivered: bool = True) -> None:
    """`count` tickets with one row in every table that an item can have rows in."""
    with engine.begin() as connection:
        ids = [{"source": source, "item_id": f"{received_at:%j}-{n}"} for n in range(count)]
        entry = {"entry_id": "1-0", "entry_ms": 1, "entry_seq": 0, "updated_at": received_at}
        scored = {"label": "negative", "score": 0.9, "scores": {}, "stage": "encoder", "queue_ms": 1, "infer_ms": 1}
        for table, row in (
            (items, {"kind": Kind.TICKET, "text": "慢", "state": ItemState.DONE, "created_at": received_at,
                     "received_at": received_at, **entry}),
            (predictions, {"task": Task.SENTIMENT, "model": "m", "model_version": "1", "item_created_at": received_at,
                           **scored, **entry}),
            (assignments, {"team": "物流", "status": AssignmentStatus.AUTO, **entry}),
            (assignment_events, {"who": "m/1", "to_team": "物流"}),
            (reviews, {"task": Task.SENTIMENT, "state": ReviewState.ACCEPTED, "reviewer": "li", "origin": "random"}),
            (outbox, {"kind": "assigned", "team": "物流", "payload": {},
                      "delivered_at": received_at if delivered else None}),
        ):  # fmt: skip
            connection.execute(insert(table), [row | each for each in ids])
        connection.execute(text("INSERT INTO deliveries (outbox_id) SELECT id FROM outbox ON CONFLICT DO NOTHING"))


def letters(engine: Engine, count: int, created_at: datetime) -> None:
    with engine.begin() as connection:
        row = {"lane": "live", "code": "poison", "field": "text", "message": "", "raw": {}, "deliveries": 1}
        connection.execute(
            insert(dead_letters),
            [row | {"entry_id": f"{created_at:%Y%j}-{n}", "created_at": created_at} for n in range(count)],
        )


def rows(engine: Engine, *tables: str) -> list[int]:
    with engine.connect() as connection:
        return [connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in tables]


def test_old_items_go_with_all_of_their_own_and_the_rest_stays(engine: Engine) -> None:
    # Given 25 old tickets and 3 of today, old and new dead letters, and finished and unfinished backfills
    fill(engine, 25, OLD)
    fill(engine, 3, NOW)
    letters(engine, 7, OLD)
    letters(engine, 2, NOW)
    with engine.begin() as connection:
        row = {"source": "shop", "origin": "/x.csv", "changed_at": OLD}
        ended = [
            ("done", OLD),
            ("failed", None),
            ("cancelled", OLD),
            ("done", NOW),
            ("running", None),
            ("stopped", None),
        ]
        connection.execute(insert(backfills), [row | {"state": state, "finished_at": at} for state, at in ended])
    expected = Counter({name: 25 * n for name, n in (OF_AN_ITEM | TOLD).items()}) + Counter(dead_letters=7, backfills=3)
    # When one asks what would go, then it is told, and nothing has gone
    assert expected == desk.count(engine, Ages.all(AGE))
    assert [28, 9, 6] == rows(engine, "items", "dead_letters", "backfills")
    # When they are pruned in chunks, then these are gone, and what is new is as it was
    seen: list[int] = []
    assert expected == desk.prune(engine, Ages.all(AGE), on_chunk=lambda now: seen.append(now["items"]), chunk_rows=10)
    assert [10, 20, 25] == sorted(set(seen))
    assert [3] * 7 == rows(engine, *OF_AN_ITEM, *TOLD)
    assert [2, 3] == rows(engine, "dead_letters", "backfills")
    # And again there is nothing to do
    assert 0 == sum(desk.prune(engine, Ages.all(AGE)).values())


def test_an_item_that_came_again_is_new(engine: Engine) -> None:
    fill(engine, 2, OLD)
    with engine.begin() as connection:
        connection.execute(update(items).where(items.c.item_id.like("%-0")).values(received_at=NOW))
    assert 1 == desk.prune(engine, Ages(items=AGE))["items"]
    assert [1, 1, 1] == rows(engine, "items", "predictions", "outbox")


def test_what_somebody_is_writing_is_left_alone_and_holds_nothing_up(engine: Engine, settings: Settings) -> None:
    # Given five old items, of which a worker has one in its hands and will make it new
    fill(engine, 5, OLD)
    writer = make_engine(settings)
    with writer.begin() as connection:
        connection.execute(update(items).where(items.c.item_id.like("%-2")).values(received_at=NOW))
        # When they are pruned meanwhile, in chunks of two, then the others go and nobody waits
        assert 4 == desk.prune(engine, Ages(items=AGE), chunk_rows=2)["items"]
    # Then, when the worker has committed, the item is there with its rows
    assert 0 == desk.prune(engine, Ages(items=AGE))["items"]
    assert [1, 1] == rows(engine, "items", "predictions")
    writer.dispose()


def test_delivered_announcements_go_earlier_than_their_items(engine: Engine) -> None:
    # Given announcements: delivered long ago, delivered just now, never, and one that failed with one receiver
    fill(engine, 4, OLD)
    fill(engine, 2, NOW)
    fill(engine, 1, OLD, "waiting", delivered=False)
    fill(engine, 1, OLD, "failed")
    with engine.begin() as connection:
        of_failed = select(outbox.c.id).where(outbox.c.source == "failed")
        connection.execute(
            update(deliveries).where(deliveries.c.outbox_id.in_(of_failed)).values(state=DeliveryState.FAILED)
        )
    # When the nightly run has no age for items, only one of announcements
    ages = Ages.of(Settings(retention_days=0, delivered_days=7))
    assert Counter(TOLD | {"outbox": 4, "deliveries": 4}) == desk.prune(engine, ages, chunk_rows=3)
    # Then what is still to be delivered or replayed is there, and all items are
    assert [4, 4, 8] == rows(engine, "outbox", "deliveries", "items")


@pytest.mark.parametrize(
    ("retention_days", "delivered_days", "ages"),
    [
        (0, 0, Ages()),
        (180, 7, Ages(AGE, AGE, AGE, timedelta(days=7))),
        (180, 0, Ages(AGE, AGE, AGE, AGE)),
        (0, 7, Ages(announcements=timedelta(days=7))),
    ],
)
def test_the_settings_say_what_is_pruned_every_night(retention_days: int, delivered_days: int, ages: Ages) -> None:
    found = Ages.of(Settings(retention_days=retention_days, delivered_days=delivered_days))
    assert (ages, bool(retention_days or delivered_days)) == (found, bool(found))


def test_pruning_on_the_command_line(fenliu: Fenliu, engine: Engine) -> None:
    fill(engine, 3, OLD)
    fill(engine, 1, NOW)
    dry = json.loads(fenliu("prune", "--older-than", "26w", "--dry-run", "--json").stdout)
    assert (False, 3, 3, 0) == (
        dry["deleted"],
        dry["rows"]["items"],
        dry["rows"]["predictions"],
        dry["rows"]["backfills"],
    )
    done = json.loads(fenliu("prune", "--older-than", "180d", "--json").stdout)
    assert (True, dry["rows"]) == (done["deleted"], done["rows"])
    # What the clock starts at night, with an age of less than the item's
    nightly = fenliu("prune", FENLIU_RETENTION_DAYS="1")
    assert (0, "0 rows deleted") == (nightly.returncode, nightly.stdout.splitlines()[-1])
    assert [1] == rows(engine, "items")
    assert 0 == fenliu("prune", "--older-than", "23h", "--yes").returncode
    assert [1] == rows(engine, "items")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--older-than", "soon"], "no age"),
        (["--older-than", "23h"], "--yes"),
        ([], "how old"),
    ],
)
def test_misuse_deletes_nothing(fenliu: Fenliu, engine: Engine, arguments: list[str], said: str) -> None:
    fill(engine, 1, OLD)
    done = fenliu("prune", *arguments, FENLIU_DELIVERED_DAYS="0")
    assert (2, True) == (done.returncode, said in done.stderr)
    assert [1] == rows(engine, "items")
