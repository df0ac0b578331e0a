"""Poison: texts that crash, hang, blow up or break the model, among neighbours that must not suffer.

One worker of two slots with `misbehaving`'s model, started again whenever it ends, as compose does. In each case
neighbours and culprits are added at once, and while the harm is done good items go on arriving one by one. Then SQL
says: every neighbour has its one current row, every culprit its one dead letter, nothing else is there. Timeouts are
set short so that the whole fits into minutes; what they are stands in the result.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis
from sqlalchemy import Engine
from sqlalchemy import text as sql

from benchmarks.chaos import misbehaving
from benchmarks.chaos.checks import left
from benchmarks.chaos.kept_worker import KeptWorker, kept_worker, path_with
from benchmarks.chaos.misbehaving import Marker
from benchmarks.chaos.scenario import Result, Size
from benchmarks.stack import scratch_stack
from benchmarks.texts import distinct_texts
from producers.client import Client
from schemas.database import make_engine
from schemas.errors import Code
from schemas.names import Lane
from schemas.settings import Settings

SHORT: Final = {"claim_idle_s": 4.0, "heartbeat_s": 0.5, "batch_timeout_s": 4.0, "slots": 2}
MEMORY_LIMIT_BYTES: Final = 1 << 30
TRICKLE_PER_S: Final = 5.0
LIMIT_S: Final = 180.0
MINUTES: Final = 6.0
CRASHING: Final = Path(__file__).resolve().parent / "crashing"
CRASHING_ID: Final = "FENLIU_CHAOS_CRASHING_ID"
"""Folder and variable of the module that makes a worker crash on a token."""
_CODES: Final = {Marker.NEEDS_TOO_MUCH: Code.MODEL_FAILED, Marker.NOT_FINITE: Code.MODEL_FAILED}

# What became of a case's items, by id: neighbours are numbers, culprits begin with their marker's name.
_OUTCOMES = sql(
    "SELECT i.item_id, i.state, (SELECT count(*) FROM predictions p WHERE p.current AND p.source = i.source"
    "  AND p.item_id = i.item_id) AS rows,"
    " (SELECT string_agg(d.code, ',') FROM dead_letters d WHERE d.source = i.source AND d.item_id = i.item_id)"
    " AS codes,"
    " EXTRACT(epoch FROM coalesce((SELECT max(d.created_at) FROM dead_letters d WHERE d.source = i.source"
    "  AND d.item_id = i.item_id), (SELECT max(p.created_at) FROM predictions p WHERE p.source = i.source"
    "  AND p.item_id = i.item_id)))::float8 AS at_s"
    " FROM items i WHERE i.source = :source"
)


@dataclass(frozen=True)
class Case:
    """Culprits of each lane among so many neighbours of each lane."""

    name: str
    live: tuple[Marker, ...]
    bulk: tuple[Marker, ...]
    neighbours: int


CASES: Final = (
    Case("the model fails", (Marker.NOT_FINITE, Marker.NEEDS_TOO_MUCH), (Marker.NOT_FINITE,) * 5, 300),
    Case("one of each at once, live", tuple(Marker), (), 300),
    Case("crashes in both slots", (Marker.CRASHES,) * 2, (), 300),
    Case("crashes in bulk", (), (Marker.CRASHES,) * 3, 300),
    Case("hangs, live and bulk", (Marker.HANGS,), (Marker.HANGS,), 300),
    Case("memory without end, bulk", (), (Marker.GROWS,), 300),
)


def run(size: Size) -> Result:
    """Every case in turn on one stack. `size.minutes`: after them no other case begins."""
    begun_s = time.monotonic()
    with scratch_stack() as stack:
        model, crashing_id = misbehaving.write_model(stack.models_home, stack.model)
        settings = stack.model_copy(update=SHORT | {"model": model})
        environment = {"PYTHONPATH": path_with(CRASHING), CRASHING_ID: str(crashing_id)}
        log = settings.home / "worker.log"
        engine = make_engine(settings)
        results: list[dict[str, Any]] = []
        with kept_worker(settings, log, environment=environment, limit_bytes=MEMORY_LIMIT_BYTES) as worker:
            for case in CASES:
                if time.monotonic() - begun_s <= size.seconds(MINUTES):
                    results.append(_case(case, settings, engine, worker, size))
        engine.dispose()
    counts = ("neighbours", "arrived_meanwhile", "culprits")
    return {
        "items": sum(result[name] for result in results for name in counts),
        "settings": SHORT | {"poison_after": settings.poison_after},
        "memory_limit_mib": MEMORY_LIMIT_BYTES >> 20,
        "checks": {name: sum(result["checks"][name] for result in results) for name in results[0]["checks"]},
        "skipped": [case.name for case in CASES[len(results) :]],
        "cases": results,
    }


def _case(case: Case, settings: Settings, engine: Engine, worker: KeptWorker, size: Size) -> dict[str, Any]:
    source, randomly = case.name, size.rng(case.name)
    neighbours = case.neighbours if size.items is None else size.items
    ends_before, worker.peak_bytes = len(worker.ends), 0
    begun_s = time.time()
    with Client.from_settings(settings) as client, redis.Redis.from_url(settings.redis_url) as inboxes:
        for lane, culprits in ((Lane.LIVE, case.live), (Lane.BULK, case.bulk)):
            client.enqueue_many(_items(source, lane, neighbours, culprits, randomly), lane=lane)
        calm = threading.Event()
        trickled: dict[str, float] = {}
        trickle = threading.Thread(target=_trickle, args=(client, source, calm, trickled))
        trickle.start()
        wanted = 2 * neighbours + len(case.live) + len(case.bulk)
        _wait(lambda: _outcomes_but_trickle(engine, source) >= wanted)
        calm.set()
        trickle.join()
        _wait(lambda: not any(left(inboxes, settings.keys).values()))
        still = left(inboxes, settings.keys)
    with engine.connect() as connection:
        outcomes = {row.item_id: row for row in connection.execute(_OUTCOMES, {"source": source})}
    ended = [end.code for end in worker.ends[ends_before:]]
    result = {"name": case.name} | _judged(case, neighbours, outcomes, trickled, begun_s)
    result["checks"] |= still
    result |= {"worker_ended": len(ended), "exit_codes": sorted(set(ended)), "peak_mib": worker.peak_bytes >> 20}
    print(json.dumps(result, ensure_ascii=False), flush=True)  # noqa: T201 - progress
    return result


def _items(
    source: str, lane: Lane, neighbours: int, culprits: Sequence[Marker], randomly: random.Random
) -> list[dict[str, object]]:
    """Neighbours with culprits at random places among them."""
    texts = distinct_texts(2 * neighbours)[neighbours if lane is Lane.BULK else 0 :][:neighbours]
    items: list[dict[str, object]] = [
        {"id": f"{lane.value}-{number}", "text": text, "source": source} for number, text in enumerate(texts)
    ]
    for number, marker in enumerate(culprits):
        culprit: dict[str, object] = {
            "id": f"{marker.name}-{lane.value}-{number}",
            "text": f"好的 {marker.value} 谢谢",
            "source": source,
        }
        items.insert(randomly.randrange(len(items) + 1), culprit)
    return items


def _trickle(client: Client, source: str, calm: threading.Event, sent: dict[str, float]) -> None:
    """Good items one by one, until it is calm."""
    texts = distinct_texts(4_000)[2_000:]
    while not calm.wait(1 / TRICKLE_PER_S):
        item_id = f"late-{len(sent)}"
        sent[item_id] = time.time()
        client.enqueue(item_id, texts[len(sent) % len(texts)], source=source)


def _outcomes_but_trickle(engine: Engine, source: str) -> int:
    statement = sql("SELECT count(*) FROM items WHERE source = :source AND item_id NOT LIKE 'late-%'")
    with engine.connect() as connection:
        return int(connection.execute(statement, {"source": source}).scalar_one())


def _wait(condition: Callable[[], bool]) -> None:
    """Until it is so, or LIMIT_S: what is not so is found afterwards."""
    until_s = time.monotonic() + LIMIT_S
    while not condition() and time.monotonic() < until_s:
        time.sleep(0.1)


def _judged(
    case: Case, count: int, outcomes: Mapping[str, Any], trickled: Mapping[str, float], begun_s: float
) -> dict[str, Any]:
    """What SQL found, held against what should be there."""
    culprits = {
        f"{marker.name}-{lane.value}-{number}": _CODES.get(marker, Code.POISON)
        for lane, markers in ((Lane.LIVE, case.live), (Lane.BULK, case.bulk))
        for number, marker in enumerate(markers)
    }
    neighbours = [f"{lane.value}-{number}" for lane in Lane for number in range(count)]
    good = {item_id for item_id in (*neighbours, *trickled) if _is_good(outcomes.get(item_id))}
    caught = {item_id for item_id, code in culprits.items() if _is_caught(outcomes.get(item_id), code)}
    waits_s = sorted(outcomes[item_id].at_s - sent_s for item_id, sent_s in trickled.items() if item_id in good)
    return {
        "neighbours": len(neighbours),
        "arrived_meanwhile": len(trickled),
        "culprits": len(culprits),
        "last_neighbour_s": max((outcomes[name].at_s - begun_s for name in neighbours if name in good), default=None),
        "last_dead_letter_s": max((outcomes[name].at_s - begun_s for name in caught), default=None),
        "meanwhile_median_s": waits_s[len(waits_s) // 2] if waits_s else None,
        "meanwhile_longest_s": waits_s[-1] if waits_s else None,
        "checks": {
            "neighbours without their one row": len(neighbours) + len(trickled) - len(good),
            "culprits without their one dead letter": len(culprits) - len(caught),
            "items that nobody sent": len(outcomes.keys() - culprits.keys() - trickled.keys() - set(neighbours)),
        },
    }


def _is_good(row: Any) -> bool:
    return row is not None and row.state == "done" and row.rows == 1 and row.codes is None


def _is_caught(row: Any, code: Code) -> bool:
    return row is not None and row.state == "dead" and row.rows == 0 and row.codes == code.value
