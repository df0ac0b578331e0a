"""What the sink writes: stories of single items on a real Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, text, update

from schemas.errors import DatabaseUnavailableError, RowRefusedError
from schemas.names import AssignmentStatus, ItemState, Lane, ReplyStatus, Task
from schemas.raw import raw_from_json
from schemas.tables import assignment_events, assignments, dead_letters, items, metadata, outbox, predictions
from tests.integration.outcomes import NOON, comment, dead, entry, expired, sentiment, ticket
from worker.outcome import Done, Outcome
from worker.sink import Sink

LATER = NOON + timedelta(hours=1)


@pytest.fixture
def sink(engine: Engine) -> Sink:
    return Sink(engine)


def rows(engine: Engine, table: Any) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(table.select().order_by(*table.primary_key.columns))]


def everything(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    return {table.name: rows(engine, table) for table in metadata.sorted_tables}


def write(sink: Sink, *outcomes: Outcome, received_at: datetime = LATER) -> list[ReplyStatus]:
    return sink.write(outcomes, received_at)


def test_a_comment_becomes_an_item_and_its_current_sentiment(sink: Sink, engine: Engine) -> None:
    # Given a comment with everything that an entry may carry
    done = comment(
        text="物流太慢了 'quoted' \"twice\" \\ 100% {x} 😠\n\tend", created_at=NOON - timedelta(days=1),
        meta={"plan": "免费", "n": [1, None, True]},
    )  # fmt: skip

    # when it is written
    assert [ReplyStatus.OK] == write(sink, done)

    # then it stands in the table as it came
    (item,) = rows(engine, items)
    assert {
        "source": "shop",
        "item_id": "42",
        "kind": "comment",
        "text": done.entry.text,
        "lang": "zh",
        "state": "done",
        "created_at": NOON - timedelta(days=1),
        "updated_at": NOON,
        "received_at": LATER,
        "meta": {"plan": "免费", "n": [1, None, True]},
        "entry_id": done.entry.entry_id,
        "entry_ms": done.entry.order[1],
        "entry_seq": 0,
        "lane": "live",
    } == item

    # and so does its result
    (prediction,) = rows(engine, predictions)
    written_at = prediction.pop("created_at")
    assert abs(datetime.now(written_at.tzinfo) - written_at) < timedelta(hours=1)
    assert {
        "source": "shop",
        "item_id": "42",
        "task": "sentiment",
        "model": "tiny",
        "model_version": "1",
        "label": "positive",
        "score": 0.9,
        "scores": {"positive": 0.9, "other": 0.1},
        "route_set": None,
        "route_set_version": None,
        "stage": "classifier",
        "production": True,
        "current": True,
        "queue_ms": 12.5,
        "infer_ms": 3.0,
        "entry_id": done.entry.entry_id,
        "entry_ms": done.entry.order[1],
        "entry_seq": 0,
        "lane": "live",
        "item_created_at": NOON - timedelta(days=1),
        "updated_at": NOON,
    } == prediction


def test_the_order_columns_hold_the_greatest_entry_id_there_is(sink: Sink, engine: Engine) -> None:
    greatest = 2**64 - 1
    write(sink, Done(entry(entry_id=f"{greatest}-{greatest}"), (sentiment(),)))
    (item,) = rows(engine, items)
    assert (greatest, greatest) == (item["entry_ms"], item["entry_seq"])


def test_nothing_to_write_is_no_transaction(sink: Sink) -> None:
    assert [] == write(sink)


def test_the_same_entry_again_changes_nothing(sink: Sink, engine: Engine) -> None:
    # Given one entry of each kind, written once
    outcomes = [comment("1"), ticket("2"), expired("3"), dead({"id": "4"})]
    statuses = write(sink, *outcomes)
    before = everything(engine)

    # when all are delivered again and taken later, then every row is as it was
    again = write(sink, *outcomes, received_at=LATER + timedelta(minutes=1))
    assert before == everything(engine)

    # also when they come alone and in another order, and the answers are the same
    alone = [write(sink, outcome, received_at=LATER + timedelta(minutes=2))[0] for outcome in reversed(outcomes)]
    assert before == everything(engine)
    assert [ReplyStatus.OK, ReplyStatus.OK, ReplyStatus.EXPIRED, ReplyStatus.DEAD] == statuses
    assert statuses == again == list(reversed(alone))


def test_a_newer_text_takes_the_place_of_an_older_one(sink: Sink, engine: Engine) -> None:
    write(sink, comment(at_s=0, label="positive"))
    assert [ReplyStatus.OK] == write(sink, comment(at_s=1, label="negative"))
    assert ["text of 1"] == [row["text"] for row in rows(engine, items)]
    assert [("negative", True)] == [(row["label"], row["current"]) for row in rows(engine, predictions)]


def test_an_older_text_that_arrives_late_changes_nothing(sink: Sink, engine: Engine) -> None:
    write(sink, comment(at_s=1, label="negative"))
    before = everything(engine)
    assert [ReplyStatus.SUPERSEDED] == write(sink, comment(at_s=0, label="positive"))
    assert before == everything(engine)


def test_updated_at_outweighs_the_entry_id_and_the_entry_id_breaks_ties(sink: Sink, engine: Engine) -> None:
    # Given a live edit, when a backfill that read an older state is enqueued after it
    write(sink, comment(at_s=10, label="edited"))
    write(sink, comment(at_s=99, label="read before", updated_at=NOON + timedelta(seconds=5)))
    # then the edit stays
    assert ["edited"] == [row["label"] for row in rows(engine, predictions)]

    # When two entries have the same time, then the later entry wins, by numbers and not by letters
    same = {"updated_at": NOON + timedelta(seconds=20)}
    write(sink, comment(label="ten", entry_id="1000-10", **same))
    write(sink, comment(label="nine", entry_id="1000-9", **same))
    assert ["ten"] == [row["label"] for row in rows(engine, predictions)]


def test_the_same_item_twice_in_a_batch_is_written_once(sink: Sink, engine: Engine) -> None:
    statuses = write(sink, comment(at_s=2, label="newest"), comment(at_s=0), comment("other"), comment(at_s=1))
    assert [ReplyStatus.OK, ReplyStatus.SUPERSEDED, ReplyStatus.OK, ReplyStatus.SUPERSEDED] == statuses
    assert [("42", "text of 2"), ("other", "text of 0")] == [
        (row["item_id"], row["text"]) for row in rows(engine, items)
    ]
    assert ["newest", "positive"] == [row["label"] for row in rows(engine, predictions)]


def test_each_task_has_its_own_newest_result(sink: Sink, engine: Engine) -> None:
    # Given a ticket, when only its sentiment is asked for again
    write(sink, ticket(at_s=0))
    write(sink, comment(at_s=1, label="negative"))
    # then its routing stays current
    labels = {row["task"]: row["label"] for row in rows(engine, predictions) if row["current"]}
    assert {"sentiment": "negative", "routing": "billing"} == labels


def test_a_new_model_version_takes_over_and_keeps_the_old_row(sink: Sink, engine: Engine) -> None:
    write(sink, comment(at_s=0, version="1"))
    write(sink, comment(at_s=1, version="2"))
    assert [("1", False), ("2", True)] == versions(engine)

    # When the old version, still running elsewhere, brings an entry from in between, then it gains nothing
    late = Done(entry(at_s=0, seq=5), (sentiment("late", "1"),))
    assert [ReplyStatus.SUPERSEDED] == write(sink, late)
    assert [("1", False), ("2", True)] == versions(engine)

    # When it is rolled back to and a newer entry comes, then it is current again
    write(sink, comment(at_s=2, version="1"))
    assert [("1", True), ("2", False)] == versions(engine)


def test_the_same_entry_by_another_version_does_not_take_over(sink: Sink, engine: Engine) -> None:
    write(sink, comment(at_s=0, version="1"))
    assert [ReplyStatus.OK] == write(sink, comment(at_s=0, version="2"))
    assert [("1", True), ("2", False)] == versions(engine)


def test_a_model_that_is_not_in_production_is_never_current(sink: Sink, engine: Engine) -> None:
    # Given a shadow model's result, when it is the only one, then nothing is current
    assert [ReplyStatus.OK] == write(sink, comment(at_s=5, version="shadow", production=False))
    assert [("shadow", False)] == versions(engine)

    # When production brings an older entry, then that is current, and the shadow's next does not take it away
    write(sink, comment(at_s=1, version="1"))
    assert [ReplyStatus.OK] == write(sink, comment(at_s=9, version="shadow", production=False))
    assert [("1", True), ("shadow", False)] == versions(engine)


@pytest.mark.parametrize("production_first", [True, False])
def test_a_version_that_left_production_cannot_take_its_own_result_away(
    sink: Sink, engine: Engine, production_first: bool
) -> None:
    # Given the same version in production and, for a newer entry, no longer, when they are written in either order
    outcomes = [comment(at_s=0, label="made in production"), comment(at_s=5, label="asked for", production=False)]
    for outcome in outcomes if production_first else reversed(outcomes):
        write(sink, outcome)
    # then the result that was made in production is current
    assert [("made in production", True)] == [(row["label"], row["current"]) for row in rows(engine, predictions)]


def versions(engine: Engine) -> list[tuple[str, bool]]:
    return [(row["model_version"], row["current"]) for row in rows(engine, predictions)]


def test_a_ticket_is_assigned_told_of_and_remembered(sink: Sink, engine: Engine) -> None:
    write(sink, ticket(at_s=0, team="billing"))

    (assignment,) = rows(engine, assignments)
    assert ("billing", 0.8, "auto", "default", 3) == tuple(
        assignment[name] for name in ("team", "score", "status", "route_set", "route_set_version")
    )
    (moved,) = rows(engine, assignment_events)
    assert (None, "billing", "tiny 1", "first result") == tuple(
        moved[name] for name in ("from_team", "to_team", "who", "why")
    )
    (told,) = rows(engine, outbox)
    assert ("assigned", "shop", "42", "billing", None) == tuple(
        told[name] for name in ("kind", "source", "item_id", "team", "delivered_at")
    )
    assert {
        "source": "shop",
        "item_id": "42",
        "team": "billing",
        "from_team": None,
        "score": 0.8,
        "status": "auto",
        "route_set": "default",
        "route_set_version": 3,
        "entry_id": ticket().entry.entry_id,
        "updated_at": NOON.isoformat(),
        "label": "billing",
        "model": "tiny",
        "model_version": "1",
    } == told["payload"]


def test_only_a_change_of_team_is_announced(sink: Sink, engine: Engine) -> None:
    # Given a ticket, when it is scored again for the same team, then only the score changes
    write(sink, ticket(at_s=0, team="billing", score=0.8))
    write(sink, ticket(at_s=1, team="billing", score=0.7))
    (assignment,) = rows(engine, assignments)
    assert (0.7, assignment["created_at"]) == (assignment["score"], assignment["changed_at"])
    assert ["billing"] == [row["team"] for row in rows(engine, outbox)]

    # When it goes to another team, then both are told by one row
    write(sink, ticket(at_s=2, team="delivery"))
    assert [(None, "billing"), ("billing", "delivery")] == [
        (row["from_team"], row["to_team"]) for row in rows(engine, assignment_events)
    ]
    assert ["billing", "delivery"] == [row["team"] for row in rows(engine, outbox)]

    # When an older entry arrives late, then nothing happens
    write(sink, ticket(at_s=1, team="returns", seq=7))
    assert ["delivery"] == [row["team"] for row in rows(engine, assignments)]
    assert 2 == len(rows(engine, outbox))


def test_what_a_person_decided_survives_scoring_again(sink: Sink, engine: Engine) -> None:
    # Given a ticket that a person gave to another team
    write(sink, ticket(at_s=0, team="billing"))
    with engine.begin() as connection:
        connection.execute(update(assignments).values(team="legal", status=AssignmentStatus.OVERRIDDEN))
    before = rows(engine, assignments)

    # when a newer entry is scored
    write(sink, ticket(at_s=1, team="delivery"))

    # then the result is current and the team is the person's
    assert ["delivery"] == [row["label"] for row in rows(engine, predictions) if row["task"] == Task.ROUTING]
    assert before == rows(engine, assignments)
    assert 1 == len(rows(engine, outbox)) == len(rows(engine, assignment_events))


def test_a_result_among_labels_of_ones_own_leaves_the_team_alone(sink: Sink, engine: Engine) -> None:
    # Given a ticket's entry, and a newer one that asked for its own labels and so has no assignment
    outcomes = [
        ticket(at_s=0, team="billing"),
        Done(ticket(at_s=1, team="mine").entry, ticket(team="mine").predictions),
    ]

    # when they arrive in the wrong order
    for outcome in reversed(outcomes):
        write(sink, outcome)

    # then the newest result is current and the team is that of the newest entry that had one
    assert ["mine"] == [row["label"] for row in rows(engine, predictions) if row["task"] == Task.ROUTING]
    assert ["billing"] == [row["team"] for row in rows(engine, assignments)]


def test_triage_is_a_team_too(sink: Sink, engine: Engine) -> None:
    write(sink, ticket(team="triage", status=AssignmentStatus.TRIAGE, score=0.2))
    assert [("triage", "triage")] == [(row["team"], row["status"]) for row in rows(engine, assignments)]
    assert ["triage"] == [row["team"] for row in rows(engine, outbox)]


def test_an_expired_item_has_its_text_and_no_result(sink: Sink, engine: Engine) -> None:
    assert [ReplyStatus.EXPIRED] == write(sink, expired())
    assert [("expired", "text of 0")] == [(row["state"], row["text"]) for row in rows(engine, items)]
    assert [] == rows(engine, predictions)


def test_a_dead_letter_keeps_what_was_sent(sink: Sink, engine: Engine) -> None:
    # Given an entry that is no text at all in places
    letter = dead({"id": "42", "source": "shop", "text": b"\xff\x00", "no\0te": "x"}, deliveries=3)
    # when it is written
    assert [ReplyStatus.DEAD] == write(sink, letter)
    # then all its bytes can be had again
    (row,) = rows(engine, dead_letters)
    assert letter.raw.fields == raw_from_json(row["raw"])
    assert (Lane.LIVE, letter.raw.entry_id, "shop", "42", "missing_field", "text", 3, None) == tuple(
        row[name] for name in ("lane", "entry_id", "source", "item_id", "code", "field", "deliveries", "replayed_at")
    )
    # and its item is there as dead
    assert [("dead", None)] == [(item["state"], item["text"]) for item in rows(engine, items)]


def test_a_dead_letter_without_identity_has_no_item(sink: Sink, engine: Engine) -> None:
    assert [ReplyStatus.DEAD] == write(sink, dead({"text": "who am I?"}))
    assert [None] == [row["item_id"] for row in rows(engine, dead_letters)]
    assert [] == rows(engine, items)


def test_a_message_that_quotes_what_broke_the_entry_is_no_second_failure(sink: Sink, engine: Engine) -> None:
    write(sink, replace(dead({"id": "1"}), field="no\0te", message="note: holds \ud800 and \0"))
    (row,) = rows(engine, dead_letters)
    assert ("no\\0te", "note: holds \\ud800 and \\0") == (row["field"], row["message"])


@pytest.mark.parametrize("dead_first", [True, False])
def test_an_entry_that_cannot_be_read_never_hides_one_that_can(sink: Sink, engine: Engine, dead_first: bool) -> None:
    # Given a good entry and a newer broken one of the same item, in either order
    outcomes: list[Outcome] = [comment("42", at_s=0), dead({"id": "42", "source": "shop"}, at_s=5)]
    for outcome in reversed(outcomes) if dead_first else outcomes:
        write(sink, outcome)
    # then the item shows the good one and the other is a dead letter
    assert [(ItemState.DONE, "text of 0")] == [(row["state"], row["text"]) for row in rows(engine, items)]
    assert 1 == len(rows(engine, dead_letters))
    assert [True] == [row["current"] for row in rows(engine, predictions)]


def test_who_asks_for_no_rows_leaves_none(sink: Sink, engine: Engine) -> None:
    before = everything(engine)
    outcomes = [
        comment("1", store=False),
        ticket("2", store=False),
        expired("3", store=False),
        dead({"id": "4", "store": "no"}),
    ]
    statuses = write(sink, *outcomes)
    assert [ReplyStatus.OK, ReplyStatus.OK, ReplyStatus.EXPIRED, ReplyStatus.DEAD] == statuses
    assert before == everything(engine)


NUL = comment("bad", meta={"note": "\0"})
HALF = comment("bad", text="\ud800")
NAN = Done(entry("bad"), (sentiment(score=float("nan")),))
UNKNOWN = Done(entry("bad"), (sentiment(stage="guess"),))


@pytest.mark.parametrize("bad", [NUL, HALF, NAN, UNKNOWN], ids=["NUL in meta", "half a pair", "NaN", "check"])
def test_a_row_that_postgres_refuses_refuses_the_whole_call(sink: Sink, engine: Engine, bad: Done) -> None:
    # Given good outcomes around one whose row cannot be, when they are written
    with pytest.raises(RowRefusedError):
        write(sink, ticket("1"), bad, dead({"id": "2"}))
    # then none of them has left anything, and without it they go through
    assert [] == [name for name, found in everything(engine).items() if found]
    assert [ReplyStatus.OK, ReplyStatus.DEAD] == write(sink, ticket("1"), dead({"id": "2"}))


def test_a_lost_connection_is_no_fault_of_the_rows_and_the_next_call_works(sink: Sink, engine: Engine) -> None:
    # Given a sink in the middle of a transaction whose connection is cut
    def cut_before_predictions(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "INSERT INTO predictions" in statement and not cut:
            cut.append(True)
            with engine.connect() as other:
                pid = connection.connection.dbapi_connection.info.backend_pid
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    cut: list[bool] = []
    event.listen(engine, "before_cursor_execute", cut_before_predictions)

    # when it writes, then it says that the database is away
    with pytest.raises(DatabaseUnavailableError):
        write(sink, ticket("1"))
    assert cut

    # and nothing is half written, and trying again works at once
    assert [] == rows(engine, items)
    assert [ReplyStatus.OK] == write(sink, ticket("1"))
    assert 2 == len(rows(engine, predictions))


def test_idle_connections_that_were_cut_are_replaced_without_an_error(sink: Sink, engine: Engine) -> None:
    # Given pooled connections, when the server ends them all while nobody looks
    write(sink, comment("1"))
    with engine.connect() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                 " WHERE datname = current_database() AND pid <> pg_backend_pid()")
        )  # fmt: skip
        connection.invalidate()
    # then the next write does not notice
    assert [ReplyStatus.OK] == write(sink, comment("2"))


def test_without_tables_the_entries_wait(sink: Sink, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE predictions RENAME TO elsewhere"))
    with pytest.raises(DatabaseUnavailableError, match="fenliu migrate"):
        write(sink, comment())


def test_the_views_show_what_was_written(sink: Sink, engine: Engine) -> None:
    # Given a day's work, taken now
    now = datetime.now(NOON.tzinfo)
    outcomes: Sequence[Outcome] = [
        comment("1", label="positive"), comment("2", label="negative"), ticket("3", team="billing"),
        ticket("4", team="triage", status=AssignmentStatus.TRIAGE, score=0.3), expired("5"), dead({"text": "x"}),
    ]  # fmt: skip
    write(sink, *outcomes, received_at=now)

    # when the dashboards read
    def view(query: str) -> list[tuple[Any, ...]]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    # then each view counts it rightly
    assert [("1", "positive", None), ("2", "negative", None), ("3", "billing", "billing"), ("3", "positive", None),
            ("4", "positive", None), ("4", "triage", "triage")] == view(
        "SELECT item_id, label, team FROM dash_current ORDER BY item_id, label"
    )  # fmt: skip
    assert [(NOON, "shop", "negative", 1), (NOON, "shop", "positive", 3)] == view(
        "SELECT hour, source, label, items FROM dash_sentiment_hourly ORDER BY label"
    )
    assert [("negative", 0.25), ("positive", 0.75)] == view(
        "SELECT label, share FROM dash_sentiment_by_source ORDER BY label"
    )
    assert [("billing", "auto", 1, 0.8), ("triage", "triage", 1, 0.3)] == view(
        "SELECT team, status, tickets, mean_score FROM dash_routing_by_team ORDER BY team"
    )
    assert [("4", "routing", 0.3, "triage")] == view("SELECT item_id, task, score, team FROM dash_low_confidence")
    latency = view("SELECT task, results, queue_ms_p99, infer_ms_p50 FROM dash_latency ORDER BY task")
    assert [("routing", 2), ("sentiment", 4)] == [row[:2] for row in latency]
    assert [pytest.approx((12.5, 3.0), rel=0.05)] * 2 == [row[2:] for row in latency]
    assert [("comment", "done", 2), ("comment", "expired", 1), ("ticket", "done", 2)] == view(
        "SELECT kind, state, sum(items) FROM dash_throughput GROUP BY kind, state ORDER BY kind, state"
    )
    assert [("missing_field", True)] == view("SELECT code, waiting FROM dash_dead_letters")
