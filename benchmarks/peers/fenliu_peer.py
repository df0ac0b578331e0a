"""Fenliu itself, measured as the peers are: a `fenliu worker`, from XADD to committed row.

It answers single texts with `reply_to`, which it does after the commit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import redis
from sqlalchemy import text as sql

from benchmarks.inbox import worked_off
from benchmarks.peers.peer import Peer, Worked
from benchmarks.stack import running_worker
from producers.client import Client
from schemas.database import make_engine
from schemas.errors import SetupError
from schemas.settings import Settings

_LABELS = sql("SELECT label FROM predictions WHERE source = :source AND current ORDER BY item_id::int")
_ANSWER_S = 60.0


@contextmanager
def fenliu_peer(settings: Settings) -> Iterator[Peer]:
    """A worker that remembers no texts, since it gets the same ones again and again here."""
    forgetful = settings.model_copy(update={"memory_texts": 0})
    rounds = itertools.count()
    engine = make_engine(settings)
    with (
        running_worker(forgetful) as worker,
        redis.Redis.from_url(settings.redis_url) as client,
        Client.from_settings(settings) as sender,
    ):

        def work(texts: Sequence[str]) -> Worked:
            source = f"round-{next(rounds)}"
            seconds = worked_off(settings, client, worker, texts, source)
            with engine.connect() as connection:
                labels = list(connection.execute(_LABELS, {"source": source}).scalars())
            if len(labels) != len(texts):
                raise SetupError(f"{len(labels)} rows for {len(texts)} texts: nothing was measured")
            return Worked(seconds, labels)

        def ask(text: str) -> object:
            number = next(rounds)
            return sender.classify(text, id=f"asked-{number}", store=True, source="asked", timeout_s=_ANSWER_S)

        try:
            yield Peer("fenliu", worker.pid, work, ask, writes_rows=True)
        finally:
            engine.dispose()
