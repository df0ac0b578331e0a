"""Whatever happens to the tables and whenever sums are folded, each view says what the tables say at that moment."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from schemas.errors import FenliuError, PermanentError
from schemas.names import Lane, Task
from schemas.settings import Settings
from tests.integration.outcomes import comment, dead, expired, ticket
from worker.desk import tickets
from worker.desk.prune import Ages, prune
from worker.outcome import Done, Outcome
from worker.rollup import fold
from worker.sink import Sink
from worker.tick import Ticker

# Each view and the same by plain SQL on the tables.
PLAIN = {
    "SELECT hour, source, label, items, mean_score, low_confidence FROM dash_sentiment_hourly": """
        SELECT date_trunc('hour', item_created_at), source, label, count(*), avg(score),
               count(*) FILTER (WHERE score < 0.7)
        FROM predictions WHERE current AND task = 'sentiment' GROUP BY 1, 2, 3
    """,
    "SELECT source, label, items, share, mean_score, low_confidence, first_at,"
    " last_at FROM dash_sentiment_by_source": """
        SELECT source, label, count(*), (count(*) / sum(count(*)) OVER (PARTITION BY source))::double precision,
               avg(score), count(*) FILTER (WHERE score < 0.7), min(item_created_at),
               max(item_created_at)
        FROM predictions WHERE current AND task = 'sentiment' GROUP BY source, label
    """,
    "SELECT hour, source, team, status, tickets, mean_score, low_confidence FROM dash_routing_by_team": """
        SELECT date_trunc('hour', item_created_at), source, team, status, count(*), avg(score),
               count(*) FILTER (WHERE score < 0.7)
        FROM assignments GROUP BY 1, 2, 3, 4
    """,
    "SELECT minute, kind, state, lane, items FROM dash_throughput": """
        SELECT date_trunc('minute', received_at), kind, state, lane, count(*) FROM items
        WHERE received_at >= date_trunc('minute', now() - interval '24 hours') GROUP BY 1, 2, 3, 4
    """,
    "SELECT hour, task, lane, results FROM dash_latency": """
        SELECT date_trunc('hour', created_at), task, lane, count(*) FROM predictions
        WHERE created_at >= date_trunc('hour', now() - interval '7 days') GROUP BY 1, 2, 3
    """,
}
# How many columns name a row.
KEYS = dict(zip(PLAIN, (3, 2, 4, 4, 3), strict=True))
MEASURES = [f"{measure}_ms_p{percent}" for measure in ("queue", "infer") for percent in (50, 95, 99)]
PERCENTILES = ", ".join(
    f"percentile_disc({name[-2:]} / 100.0) WITHIN GROUP (ORDER BY {name[:8]}) AS {name}" for name in MEASURES
)


def _near(value: Any) -> Any:
    """Means are of scores to the billionth; all else is exact."""
    return pytest.approx(value, abs=1e-8) if isinstance(value, float) else value


def check(connection: Connection) -> None:
    """Each view says what plain SQL says, in one snapshot; percentiles within 5 percent, or below 0.1 ms."""
    for view, plain in PLAIN.items():
        expected, found = (
            {tuple(row[: KEYS[view]]): tuple(row[KEYS[view] :]) for row in connection.execute(text(query))}
            for query in (plain, view)
        )
        assert expected.keys() == found.keys(), view
        for key, values in expected.items():
            assert [_near(value) for value in values] == list(found[key]), view
    exact = connection.execute(
        text(f"SELECT date_trunc('hour', created_at), task, lane, {PERCENTILES} FROM predictions GROUP BY 1, 2, 3")
    )
    latency = connection.execute(text(f"SELECT hour, task, lane, {', '.join(MEASURES)} FROM dash_latency"))
    shown = {tuple(row[:3]): tuple(row[3:]) for row in latency}
    for row in exact:
        for exactly, about in zip(row[3:], shown[tuple(row[:3])], strict=True):
            assert abs(about - exactly) <= (0.1 if exactly <= 0.1 else 0.05 * exactly)


def looking(engine: Engine) -> Connection:
    """A connection that sees one moment."""
    return engine.connect().execution_options(isolation_level="REPEATABLE READ")


def some_outcome(rng: random.Random, number: int) -> Outcome:
    """An outcome of one of a few items: any kind, hour, label, version, lane and score."""
    item_id = str(rng.randrange(12))
    at_s = rng.choice((0, 1800, 3599, 3600, 90_000)) + rng.randrange(3)
    more: dict[str, Any] = {"seq": number, "source": rng.choice(("shop", "app")), "lane": rng.choice(list(Lane))}
    match rng.randrange(10):
        case 0:
            return expired(item_id, at_s, **more)
        case 1:
            return dead({"id": item_id, "source": "shop"}, at_s=100_000 + number)
        case 2 | 3 | 4:
            made = ticket(item_id, at_s, rng.choice(("billing", "returns")), rng.choice("12"), rng.random(), **more)
        case _:
            made = comment(item_id, at_s, rng.choice(("positive", "negative")), rng.choice("12"), **more)
    return _with_other_numbers(made, rng)


def _with_other_numbers(done: Done, rng: random.Random) -> Done:
    predictions = tuple(
        each._replace(
            score=rng.random(),
            queue_ms=rng.lognormvariate(4, 3),
            infer_ms=rng.choice((0.0, 0.05, 7.0, 1e7)),
            production=each.task is Task.ROUTING or rng.random() < 0.8,
        )
        for each in done.predictions
    )
    return done._replace(predictions=predictions)


# What people and jobs do to rows, as one statement each.
OTHER_CHANGES = (
    "DELETE FROM items WHERE item_id = :item_id",
    "DELETE FROM predictions WHERE item_id = :item_id AND model_version = '1'",
    "UPDATE predictions SET current = false WHERE item_id = :item_id",
    "UPDATE assignments SET team = 'legal', status = 'overridden', changed_at = now() WHERE item_id = :item_id",
    "UPDATE assignments SET score = NULL WHERE item_id = :item_id",
    "UPDATE items SET received_at = received_at - interval '61 seconds' WHERE item_id = :item_id",
    "UPDATE predictions SET created_at = created_at - interval '1 hour', score = score / 2 WHERE item_id = :item_id",
    "DELETE FROM items",
    "TRUNCATE items CASCADE",
    "TRUNCATE items, rollup_sentiment, rollup_routing, rollup_throughput, rollup_latency CASCADE",
    "SELECT rollup_rebuild()",
)
RARE = 3


def disturb(engine: Engine, rng: random.Random) -> None:
    """One other change, of the desk or as a statement; those of everything are rare."""
    source, item_id = rng.choice(("shop", "app")), str(rng.randrange(12))
    if rng.random() < 0.4:
        with suppress(PermanentError):  # no such ticket
            tickets.assign(engine, source, item_id, rng.choice(("legal", "triage")), by="ana", why="-", any_team=True)
        return
    if rng.random() < 0.05:
        prune(engine, Ages.all(timedelta(hours=1)))
        return
    changes = OTHER_CHANGES if rng.random() < 0.1 else OTHER_CHANGES[:-RARE]
    with engine.begin() as connection:
        connection.execute(text(rng.choice(changes)), {"item_id": item_id})


@pytest.mark.parametrize("seed", range(10))
def test_views_say_what_the_tables_say_after_every_change(engine: Engine, seed: int) -> None:
    # Given any changes in any order
    rng, sink = random.Random(seed), Sink(engine)
    for number in range(25):
        if rng.random() < 0.6:
            received_at = datetime.now(UTC) - timedelta(minutes=rng.choice((0, 1, 90, 3000)))
            sink.write([some_outcome(rng, number * 100 + n) for n in range(rng.randint(1, 15))], received_at)
        else:
            disturb(engine, rng)
        # when sums are folded or not
        if rng.random() < 0.4:
            fold(engine)
        # then every view is exact
        with looking(engine) as connection:
            check(connection)


def test_folding_leaves_one_row_of_each_sum_and_none_of_nothing(engine: Engine) -> None:
    # Given sums in several rows each
    sink, now = Sink(engine), datetime.now(UTC)
    for at_s in range(3):
        sink.write([comment(str(at_s)), ticket(f"t{at_s}")], now)
    assert 3 < sum(rows_of_rollups(engine).values())

    # when they are folded
    folded = fold(engine)

    # then there is one of each, and folding again finds nothing to do
    assert {"rollup_sentiment", "rollup_routing", "rollup_throughput", "rollup_latency"} == set(folded.rows)
    assert {"rollup_sentiment": 1, "rollup_routing": 1, "rollup_throughput": 2, "rollup_latency": 4} == (
        rows_of_rollups(engine)
    )
    assert [0, 0, 0, 0] == list(fold(engine).rows.values())

    # and when all is deleted and folded, nothing is left
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM items"))
    fold(engine)
    assert [0, 0, 0, 0] == list(rows_of_rollups(engine).values())


def rows_of_rollups(engine: Engine) -> dict[str, int]:
    names = ("rollup_sentiment", "rollup_routing", "rollup_throughput", "rollup_latency")
    with engine.connect() as connection:
        return {name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in names}


def test_what_the_views_no_longer_show_is_dropped(engine: Engine) -> None:
    # Given items and results that become too old to be shown
    Sink(engine).write([comment("1")], datetime.now(UTC) - timedelta(hours=47))
    with engine.begin() as connection:
        connection.execute(text("UPDATE rollup_throughput SET minute = minute - interval '1 day'"))
        connection.execute(text("UPDATE rollup_latency SET hour = hour - interval '9 days'"))

    # when sums are folded, then theirs are gone, and the others stay
    fold(engine)
    assert {"rollup_sentiment": 1, "rollup_routing": 0, "rollup_throughput": 0, "rollup_latency": 0} == (
        rows_of_rollups(engine)
    )


def test_numbers_beyond_all_bounds_are_stored_and_counted(engine: Engine) -> None:
    # Given a result as only another writer than ours could store it
    Sink(engine).write([comment("1")], datetime.now(UTC))
    with engine.begin() as connection:
        # when it gets numbers that are none
        connection.execute(text("UPDATE predictions SET queue_ms = 'Infinity', infer_ms = 'NaN', score = 'NaN'"))
    # then it still counts once everywhere
    with engine.connect() as connection:
        assert [(1,)] == [tuple(row) for row in connection.execute(text("SELECT results FROM dash_latency"))]
        assert [(1,)] == [tuple(row) for row in connection.execute(text("SELECT items FROM dash_sentiment_hourly"))]


def test_views_are_exact_while_workers_write_and_sums_are_folded(engine: Engine) -> None:
    # Given three workers at the same few items, two that fold, and one that deletes
    failures: list[Exception] = []
    done = threading.Event()

    def worker(seed: int) -> None:
        rng, sink = random.Random(seed), Sink(engine)
        for number in range(60):
            sink.write([some_outcome(rng, number * 100 + n) for n in range(10)], datetime.now(UTC))

    def folder(_: int) -> None:
        while not done.is_set():
            fold(engine)

    def deleter(seed: int) -> None:
        rng = random.Random(seed)
        while not done.wait(0.01):
            with engine.begin() as connection:
                # One item at a time: the lock of its row is all that writers wait for.
                one = {"item_id": str(rng.randrange(12)), "source": rng.choice(("shop", "app"))}
                connection.execute(text("DELETE FROM items WHERE source = :source AND item_id = :item_id"), one)

    def running(work: Callable[[int], None], seed: int) -> threading.Thread:
        def run() -> None:
            try:
                work(seed)
            except (FenliuError, SQLAlchemyError, AssertionError) as failure:
                failures.append(failure)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    workers = [running(worker, seed) for seed in range(3)]
    others = [running(folder, 0), running(folder, 0), running(deleter, 9)]

    # when somebody looks meanwhile, then each moment is exact
    looks = 0
    while any(thread.is_alive() for thread in workers) or not looks:
        with looking(engine) as connection:
            check(connection)
        looks += 1
    done.set()
    for thread in [*workers, *others]:
        thread.join()
    assert [] == failures

    # and so is the end, with sums folded or not
    with looking(engine) as connection:
        check(connection)
    fold(engine)
    with looking(engine) as connection:
        check(connection)


def test_a_tick_of_the_clock_folds(settings: Settings, engine: Engine) -> None:
    # Given sums in several rows
    Sink(engine).write([comment("1")], datetime.now(UTC))
    Sink(engine).write([comment("2")], datetime.now(UTC))
    assert 2 == rows_of_rollups(engine)["rollup_sentiment"]

    # when the clock ticks, then there is one
    Ticker(settings).tick()
    assert 1 == rows_of_rollups(engine)["rollup_sentiment"]
