"""Versions of the same items, shuffled over both inboxes and several workers, some of which freeze and wake up late.

Who wakes up after claim_idle_s still holds entries that others have claimed meanwhile, and writes them once more.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.chaos.place import Place, place, run_together
from benchmarks.chaos.scenario import Result, Size
from benchmarks.chaos.traffic import SOURCE, TICKET_EVERY
from benchmarks.texts import sample_texts
from producers.client import Client
from schemas.names import Kind, Lane

MINUTES = 0.75
ITEMS = 2_000
VERSIONS = 5
WORKERS = 3
CLAIM_IDLE_S = 1.0
POISON_AFTER = 100  # whoever freezes has not been ended by what it held
_MOST_CHARS = 24
_CHUNK = 100
_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def run(size: Size) -> Result:
    """Every version is sent twice at the most, one of them as the newest; that one must be what the tables say."""
    seconds, rng = size.seconds(MINUTES), size.rng("order")
    count = size.items or size.part(ITEMS, MINUTES)
    texts = sample_texts()
    versions = [_version(number, version, texts, rng) for number in range(count) for version in range(VERSIONS)]
    sent = versions + rng.sample(versions, len(versions) // 5)
    rng.shuffle(sent)
    newest: dict[str, dict[str, str]] = {}
    for each in versions:
        if each["id"] not in newest or each["updated_at"] > newest[each["id"]]["updated_at"]:
            newest[each["id"]] = each
    # Only a few results stay in a batch or two, so that versions of an item meet in different workers.
    quick: dict[str, Any] = {
        "claim_idle_s": CLAIM_IDLE_S,
        "heartbeat_s": 0.3,
        "poison_after": POISON_AFTER,
        "batch_entries": 32,
    }
    with place(size, workers=WORKERS, **quick) as here:
        done = threading.Event()
        chance = size.rng("order, freezing")
        run_together(
            lambda: _send(here, sent, seconds, done),
            lambda: _freeze(here, done, chance),
        )
        here.wait_until_empty()
        # Teams are announced anew where a newer text belongs to another.
        return here.result(newest.values(), skip=["tickets not announced exactly once"]) | {"entries": len(sent)}


def _version(number: int, version: int, texts: Sequence[str], rng: random.Random) -> dict[str, str]:
    text = f"{number}-{version}：{texts[rng.randrange(len(texts))][:_MOST_CHARS]}"
    at = _BEGINNING + timedelta(seconds=version * 60 + rng.uniform(0, 59))
    kind = Kind.TICKET if number % TICKET_EVERY == 0 else Kind.COMMENT
    return {"id": str(number), "text": text, "source": SOURCE, "kind": kind, "updated_at": at.isoformat()}


def _send(here: Place, sent: Sequence[dict[str, str]], seconds: float, done: threading.Event) -> None:
    chunks = [sent[at : at + _CHUNK] for at in range(0, len(sent), _CHUNK)]
    lanes = list(Lane)
    try:
        with Client.from_settings(here.seen) as client:
            for number, chunk in enumerate(chunks):
                client.enqueue_many(chunk, lane=lanes[number % len(lanes)], wait_s=None)
                time.sleep(seconds / len(chunks))
    finally:
        done.set()


def _freeze(here: Place, done: threading.Event, rng: random.Random) -> None:
    while not done.wait(rng.uniform(0, 1)):
        if rng.random() < 0.15:
            here.fleet.kill(rng.randrange(WORKERS))
        else:
            here.fleet.freeze(rng.randrange(WORKERS), rng.uniform(0.5, 3 * CLAIM_IDLE_S))
