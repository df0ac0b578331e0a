"""Backfills run in this process, and somebody who works the bulk inbox off without a model."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import redis
from sqlalchemy import Engine

from producers.backfill import ledger
from producers.backfill.ledger import Record
from producers.backfill.options import Options
from producers.backfill.running import clients, open_feed, run
from schemas.errors import Code
from schemas.messages import RawEntry, decode, identity_of
from schemas.names import GROUP, Lane, Stage
from schemas.settings import Settings
from worker.outcome import Dead, Done, Expired, Outcome, Prediction
from worker.sink import Sink

MODEL = "tiny"


def pour(
    settings: Settings, engine: Engine, origin: str, *, wait: bool = False, url: str | None = None, **more: Any
) -> Record:
    """Start a backfill and run it to its end."""
    options = Options(origin=origin, **more)
    return go_on(settings, ledger.create(engine, options), wait=wait, url=url)


def go_on(
    settings: Settings, record: Record, *, wait: bool = False, url: str | None = None, force: bool = False
) -> Record:
    """Resume one, as the command does; what the table says afterwards."""
    with clients(settings) as (engine, client):
        run(
            settings, engine, client, record, lambda: open_feed(record.options, engine, url), wait=wait, force=force
        )  # fmt: skip
        return ledger.get(engine, record.id)


def bulk(client: redis.Redis, settings: Settings) -> list[dict[str, str]]:
    """Fields of every entry in the bulk inbox, each one as a worker can decode it."""
    found: Any = client.xrange(settings.keys.inbox(Lane.BULK))
    for entry_id, fields in found:
        decode(RawEntry(Lane.BULK, entry_id.decode(), fields), settings.keys)
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in found]


def ids(entries: list[dict[str, str]]) -> list[str]:
    """Their ids, in order."""
    return [entry["id"] for entry in entries]


def work_off(client: Any, settings: Settings, engine: Engine, most: int = 100_000) -> int:
    """Take entries of the bulk inbox as a worker does, write rows for them, acknowledge and delete; how many.

    A text with 坏 is negative, with 毒 breaks the model, with 晚 has expired; others are positive.
    """
    inbox = settings.keys.inbox(Lane.BULK)
    with suppress(redis.ResponseError):
        client.xgroup_create(inbox, GROUP, id="0", mkstream=True)
    answer = client.execute_command(
        "XREADGROUP", "GROUP", GROUP, "test", "COUNT", most, "STREAMS", inbox, ">"
    )  # fmt: skip
    entries = _entries(answer)
    if entries:
        outcomes = [_outcome(RawEntry(Lane.BULK, name.decode(), fields), settings) for name, fields in entries]
        Sink(engine).write(outcomes, datetime.now(UTC))
        names = [name for name, _ in entries]
        client.pipeline().xack(inbox, GROUP, *names).xdel(inbox, *names).execute()
    return len(entries)


@contextmanager
def worker(settings: Settings, engine: Engine) -> Iterator[list[int]]:
    """Works the bulk inbox off in a thread; the list gets the inbox's length before each batch."""
    lengths: list[int] = []
    ended = threading.Event()

    def work() -> None:
        with redis.Redis.from_url(settings.redis_url) as client:
            while not ended.is_set():
                lengths.append(int(client.xlen(settings.keys.inbox(Lane.BULK))))  # type: ignore[arg-type]
                if not work_off(client, settings, engine, 200):
                    ended.wait(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lengths
    finally:
        ended.set()
        thread.join(30)


def _entries(answer: Any) -> list[tuple[bytes, Mapping[bytes, bytes]]]:
    found = next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1] if answer else []
    return found[0] if found and isinstance(found[0], list) and isinstance(found[0][0], list | tuple) else found


def _outcome(raw: RawEntry, settings: Settings) -> Outcome:
    entry = decode(raw, settings.keys)
    if "毒" in entry.text:
        return Dead(raw, Code.MODEL_FAILED, "text", "text: the model failed on it", identity_of(raw))
    if "晚" in entry.text:
        return Expired(entry)
    label = "negative" if "坏" in entry.text else "positive"
    name, _, version = (entry.model or MODEL).partition("/")
    made = [
        Prediction(task, name, version or "1", label, 0.9, {label: 0.9}, Stage.CLASSIFIER, not entry.model, 1.0, 1.0)
        for task in entry.tasks
    ]
    return Done(entry, tuple(made))
