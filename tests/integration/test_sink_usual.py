"""Usual batches take a shorter way into Postgres: the same rows come of it, and of all others nothing is lost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
from sqlalchemy import Engine, event

from schemas.names import Kind, Lane, ReplyStatus, Stage, Task
from schemas.tables import items, metadata, predictions
from tests.integration.outcomes import NOON, comment, dead, entry, expired, sentiment, ticket
from worker.outcome import Done, Outcome
from worker.sink import Sink
from worker.sink_usual import Usual

LATER = NOON + timedelta(hours=1)
_OF_CREATION = {"created_at", "changed_at"}


def usual_comments(rng: random.Random, count: int) -> list[Done]:
    """New comments of every shape, in any order."""
    texts = ["物流太慢了", "佢哋嘅服務好差", 'it\'s "fine" \\ {a,b} %s 100%', "😠 NULL", "null"]
    sources = ["shop", "a,b", "{"]
    made = [
        comment(
            f"id {number}", at_s=number % 7, seq=number, text=rng.choice(texts), source=rng.choice(sources),
            created_at=NOON - timedelta(seconds=rng.randint(0, 9), microseconds=rng.randint(0, 999_999)),
            meta=rng.choice([{}, MappingProxyType({}), {"plan": "免费", "n": [1, None]}]), lane=Lane.BULK,
        )
        for number in range(count)
    ]  # fmt: skip
    return rng.sample(made, count)


def stored(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """Items and predictions, but for when Postgres made the row."""
    with engine.connect() as connection:
        return {
            table.name: [
                {name: value for name, value in row._mapping.items() if table is items or name not in _OF_CREATION}
                for row in connection.execute(table.select().order_by(*table.primary_key.columns))
            ]
            for table in (items, predictions)
        }


def emptied(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())


@pytest.mark.parametrize("seed", range(3))
def test_both_ways_write_the_same_rows(engine: Engine, seed: int) -> None:
    # Given new comments, written in one statement
    outcomes = usual_comments(random.Random(seed), 40)
    assert Usual.of(outcomes, LATER) is not None
    assert [ReplyStatus.OK] * 40 == Sink(engine).write(outcomes, LATER)
    shorter = stored(engine)
    assert len(shorter["predictions"]) == 40

    # when the same go the way of all other batches, as they do beside a ticket
    emptied(engine)
    Sink(engine).write([*outcomes, ticket("other")], LATER)

    # then their rows are the same
    assert shorter == {
        name: [row for row in rows if row["item_id"] != "other"] for name, rows in stored(engine).items()
    }


def test_new_comments_take_one_statement(engine: Engine) -> None:
    # Given a sink that has written before, so that its connection is there
    sink = Sink(engine)
    sink.write([comment("before")], LATER)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))

    # when new comments come, then one statement writes them
    sink.write([comment("1"), comment("2")], LATER)
    assert 1 == len(statements)


def test_known_items_among_new_ones_keep_the_newest_result(engine: Engine) -> None:
    # Given a comment that is known with a newer text, and one with an older
    sink = Sink(engine)
    sink.write([comment("newer", 60, "positive"), comment("older", 0, "positive")], LATER)

    # when both come again together with a new one
    batch = [comment("newer", 30, "negative"), comment("older", 30, "negative"), comment("new", 30, "negative")]
    assert [ReplyStatus.SUPERSEDED, ReplyStatus.OK, ReplyStatus.OK] == sink.write(batch, LATER)

    # then each has its newest, and one current result
    current = [(row["item_id"], row["label"]) for row in stored(engine)["predictions"] if row["current"]]
    assert [("new", "negative"), ("newer", "positive"), ("older", "negative")] == current

    # and so it is whatever the sink expects
    sink.write([comment("fresh", 90)], LATER)
    assert [ReplyStatus.SUPERSEDED] == sink.write([comment("newer", 20, "negative")], LATER)


def test_an_item_of_another_version_hands_over_to_the_one_in_production(engine: Engine) -> None:
    # Given a result of version 1; when version 2 has a newer one, by a sink that expects new items
    Sink(engine).write([comment("42", 0, version="1")], LATER)
    Sink(engine).write([comment("42", 1, version="2")], LATER)
    # then that of version 2 is current, and the other stays
    assert [("1", False), ("2", True)] == [
        (row["model_version"], row["current"]) for row in stored(engine)["predictions"]
    ]


_ROUTED = sentiment(task=Task.ROUTING, stage=Stage.ENCODER, route_set_version=3)


@pytest.mark.parametrize(
    "other",
    [
        [dead({"id": "x"})],
        [expired("x")],
        [ticket("x")],
        [comment("1", 5)],
        [comment("x", version="2")],
        [comment("x", production=False)],
        [comment("x", lane=Lane.BULK)],
        [comment("x", kind=Kind.TICKET)],
        [Done(entry("x"), ())],
        [Done(entry("x"), (_ROUTED,))],
        [Done(entry("x"), (sentiment(), _ROUTED))],
    ],
    ids=["dead", "expired", "ticket", "twice", "version", "shadow", "lane", "kind", "no result", "routed", "two"],
)
def test_what_is_not_usual_is_told_apart(other: Sequence[Outcome]) -> None:
    assert Usual.of([comment("1"), comment("2")], LATER) is not None
    assert Usual.of([comment("1"), comment("2"), *other], LATER) is None


def test_who_asks_for_no_rows_leaves_none() -> None:
    received_at: datetime = LATER
    usual = Usual.of([comment("1"), comment("2", store=False)], received_at)
    assert usual is not None
    assert (1, '["1"]') == (usual.items, usual.parameters["item_id"])
    assert Usual.of([comment("2", store=False)], received_at) is None
