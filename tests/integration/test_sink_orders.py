"""Whatever the order, the batches and the number of workers: the newest wins, once per item and task."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from schemas.errors import FenliuError
from schemas.names import Kind, Task
from tests.integration.outcomes import NOON, comment, dead, expired, ticket
from worker.outcome import Dead, Done, Expired, Outcome
from worker.sink import Sink

LATER = NOON + timedelta(hours=1)
TEAMS = ("billing", "delivery", "returns")


@dataclass
class Final:
    """What the tables must hold in the end: the entry that stands behind each row."""

    items: dict[str, tuple[str, str]] = field(default_factory=dict)
    predictions: dict[tuple[str, str, str], str] = field(default_factory=dict)
    current: dict[tuple[str, str], str] = field(default_factory=dict)
    assignments: dict[str, tuple[str, str]] = field(default_factory=dict)
    dead_letters: set[str] = field(default_factory=set)


def deliveries(rng: random.Random, entries: int, item_ids: int) -> list[Outcome]:
    """Entries of a few items, of all kinds; a third of them delivered again, some by another model version."""
    made: list[Outcome] = []
    for number in range(entries):
        item_id = str(rng.randrange(item_ids))
        # Few different times, so that the entry id has to decide as well.
        times: dict[str, Any] = {"seq": number, "updated_at": NOON + timedelta(seconds=rng.randrange(4))}
        at_s, version = rng.randrange(4), rng.choice("12")
        match rng.randrange(10):
            case 0:
                made.append(expired(item_id, at_s, **times))
            case 1:
                made.append(dead({"id": item_id, "source": "shop"}, at_s=1000 + number))
            case 2 | 3 | 4:
                made.append(ticket(item_id, at_s, rng.choice(TEAMS), version, **times))
            case _:
                made.append(comment(item_id, at_s, version=version, production=rng.random() < 0.8, **times))
    again = [_again(outcome, rng) for outcome in rng.choices(made, k=entries // 3)]
    made += again
    rng.shuffle(made)
    return made


def _again(outcome: Outcome, rng: random.Random) -> Outcome:
    if not isinstance(outcome, Done) or rng.random() < 0.7:
        return outcome
    version = rng.choice("123")
    return outcome._replace(predictions=tuple(each._replace(model_version=version) for each in outcome.predictions))


def expected(outcomes: Iterable[Outcome]) -> Final:
    """The final state by its definition: the greatest of each, with no regard to order."""
    final, best = Final(), {}

    def offer(target: dict[Any, Any], key: Any, rank: Any, value: Any) -> None:
        place = (id(target), key)
        if place not in best or rank > best[place]:
            best[place], target[key] = rank, value

    for outcome in outcomes:
        if isinstance(outcome, Dead):
            assert outcome.identity
            final.dead_letters.add(outcome.raw.entry_id)
            ms, _, seq = outcome.raw.entry_id.partition("-")
            offer(final.items, outcome.identity[1], (False, int(ms), int(seq)), (outcome.raw.entry_id, "dead"))
            continue
        entry = outcome.entry
        state = "expired" if isinstance(outcome, Expired) else "done"
        offer(final.items, entry.id, (True, entry.order), (entry.entry_id, state))
        if isinstance(outcome, Expired):
            continue
        for each in outcome.predictions:
            name = (entry.id, each.task.value, each.model_version)
            offer(final.predictions, name, (each.production, entry.order), entry.entry_id)
            if each.production:
                offer(final.current, name[:2], entry.order, entry.entry_id)
        if outcome.assignment:
            offer(final.assignments, entry.id, entry.order, (entry.entry_id, outcome.assignment.team))
    return final


def found(engine: Engine) -> Final:
    """The final state as the tables have it; a second current row of a task would be an error."""
    with engine.connect() as connection:

        def rows(query: str) -> list[Any]:
            return list(connection.execute(text(query)))

        current = rows("SELECT item_id, task, entry_id FROM predictions WHERE current")
        assert len(current) == len({row[:2] for row in current})
        return Final(
            items={row[0]: (row[1], row[2]) for row in rows("SELECT item_id, entry_id, state FROM items")},
            predictions={tuple(row[:3]): row[3] for row in rows(
                "SELECT item_id, task, model_version, entry_id FROM predictions"
            )},
            current={tuple(row[:2]): row[2] for row in current},
            assignments={row[0]: (row[1], row[2]) for row in rows("SELECT item_id, entry_id, team FROM assignments")},
            dead_letters={row[0] for row in rows("SELECT entry_id FROM dead_letters")},
        )  # fmt: skip


def check_announcements(engine: Engine) -> None:
    """Each ticket's history is a chain of true changes that ends at its team, and each was told once."""
    with engine.connect() as connection:
        events = connection.execute(text("SELECT item_id, from_team, to_team FROM assignment_events ORDER BY id")).all()
        told = connection.execute(text("SELECT item_id, team FROM outbox ORDER BY id")).all()
        teams = {row.item_id: row.team for row in connection.execute(text("SELECT item_id, team FROM assignments"))}
    last: dict[str, str | None] = {}
    for item_id, from_team, to_team in events:
        assert last.get(item_id) == from_team
        assert from_team != to_team
        last[item_id] = to_team
    assert teams == last
    assert sorted((row[0], row[2]) for row in events) == sorted(tuple(row) for row in told)


def empty(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE items, dead_letters CASCADE"))


def batches(outcomes: Sequence[Outcome], rng: random.Random, most: int) -> Iterable[Sequence[Outcome]]:
    start = 0
    while start < len(outcomes):
        size = rng.randint(1, most)
        yield outcomes[start : start + size]
        start += size


@pytest.mark.parametrize("seed", range(12))
def test_any_order_and_any_batches_end_in_the_same_state(engine: Engine, seed: int) -> None:
    # Given some deliveries of a few items, and what must come of them
    rng = random.Random(seed)
    made = deliveries(rng, entries=rng.randint(5, 60), item_ids=rng.randint(1, 5))
    final, sink = expected(made), Sink(engine)

    for most in (1, 4, 1000):
        # when they are written in another order, in batches of another size
        empty(engine)
        rng.shuffle(made)
        for batch in batches(made, rng, most):
            sink.write(batch, LATER)

        # then the tables hold just that, and nobody was told twice
        assert final == found(engine)
        check_announcements(engine)


@pytest.mark.parametrize("seed", range(3))
def test_four_workers_at_the_same_items_neither_deadlock_nor_lose(engine: Engine, seed: int) -> None:
    # Given many deliveries of a few items, each worker with its own share and some of the others'
    rng = random.Random(seed)
    made = deliveries(rng, entries=1_500, item_ids=25)
    shares = [made[worker::4] + rng.sample(made, 100) for worker in range(4)]
    plans = [list(batches(rng.sample(share, len(share)), rng, 40)) for share in shares]
    failures: list[FenliuError] = []
    barrier, sink = threading.Barrier(4), Sink(engine)

    def work(plan: Sequence[Sequence[Outcome]]) -> None:
        barrier.wait()
        try:
            for batch in plan:
                sink.write(batch, LATER)
        except FenliuError as failure:
            failures.append(failure)

    # when they all write at once
    workers = [threading.Thread(target=work, args=[plan]) for plan in plans]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    # then none of them was sent away, and the newest won everywhere
    assert [] == failures
    assert expected(made) == found(engine)
    check_announcements(engine)


def test_the_deliveries_made_up_here_have_every_kind() -> None:
    made = deliveries(random.Random(0), entries=300, item_ids=5)
    kinds = {type(outcome) for outcome in made}
    assert {Done, Expired, Dead} == kinds
    done = [outcome for outcome in made if isinstance(outcome, Done)]
    assert {Kind.COMMENT, Kind.TICKET} == {outcome.entry.kind for outcome in done}
    assert {True, False} == {each.production for outcome in done for each in outcome.predictions}
    assert {Task.SENTIMENT, Task.ROUTING} == {each.task for outcome in done for each in outcome.predictions}
