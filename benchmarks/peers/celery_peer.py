"""The client's side of the Celery peers: messages to a queue in Redis, rows from Postgres."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import redis

from benchmarks.peers.apps.celery_app import QUEUE, TASK, make_app
from benchmarks.peers.apps.row_table import CREATE
from benchmarks.peers.peer import Peer, Worked
from benchmarks.peers.process import START_S, launched, wait_until
from schemas.errors import SetupError
from schemas.settings import Settings, cpu_quota

POLL_S = 0.01
_STUCK_S = 120.0


@contextmanager
def celery_peer(
    settings: Settings, model: Path, *, name: str, interpreter: str, module: str, pool: str, database: int
) -> Iterator[Callable[[], list[Peer]]]:
    """A Celery worker on Redis database number `database`; what is yielded waits until it answers."""
    url = _with_database(settings.redis_url, database)
    broker = settings.model_copy(update={"broker_url": url}).celery_broker_url
    variables = {"PEER_BROKER": broker, "PEER_DATABASE": settings.database_url, "PEER_MODEL": str(model)}
    command = [interpreter, "-m", f"benchmarks.peers.apps.{module}", pool, str(cpu_quota())]
    log = settings.home / f"{name}.log"
    with launched(command, log, variables) as process, redis.Redis.from_url(url) as client:
        sender = _Sender(broker, client, settings.database_url, process)

        def ready() -> list[Peer]:
            wait_until(sender.answers, process, log)
            return [Peer(name, process.pid, sender.work, sender.ask, writes_rows=True)]

        yield ready


class _Sender:
    def __init__(self, broker: str, client: redis.Redis, database_url: str, process: subprocess.Popen[str]) -> None:
        self._app = make_app(broker)
        self._redis = client
        self._database_url = database_url
        self._process = process
        self._numbers = itertools.count()

    def answers(self) -> bool:
        """Whether a worker listens."""
        return bool(self._app.control.ping(timeout=0.5))

    def work(self, texts: Sequence[str]) -> Worked:
        with psycopg2.connect(self._database_url) as connection, connection.cursor() as cursor:
            cursor.execute(CREATE)
            cursor.execute("TRUNCATE peer_rows")
            connection.commit()
            started = time.perf_counter()
            with self._app.producer_pool.acquire(block=True) as producer:
                for number, text in enumerate(texts):
                    self._app.send_task(TASK, (str(number), text), ignore_result=True, producer=producer)
            until_s = time.monotonic() + _STUCK_S
            while self._redis.llen(QUEUE) or self._rows(cursor) < len(texts):
                connection.commit()
                if self._process.poll() is not None or time.monotonic() > until_s:
                    raise SetupError("its worker ended or is stuck: nothing was measured")
                time.sleep(POLL_S)
            seconds = time.perf_counter() - started
            cursor.execute("SELECT label FROM peer_rows ORDER BY item_id::int")
            return Worked(seconds, [label for (label,) in cursor.fetchall()])

    def ask(self, text: str) -> str:
        result = self._app.send_task(TASK, (f"asked-{next(self._numbers)}", text), ignore_result=False)
        return str(result.get(timeout=START_S))

    @staticmethod
    def _rows(cursor: psycopg2.extensions.cursor) -> int:
        cursor.execute("SELECT count(*) FROM peer_rows")
        found = cursor.fetchone()
        return int(found[0]) if found else 0


def _with_database(url: str, number: int) -> str:
    """The URL of a Redis with another database number; unix sockets carry it as a parameter."""
    if url.startswith("unix://"):
        return f"{url.partition('?')[0]}?db={number}"
    return f"{url.rstrip('/').removesuffix('/0')}/{number}"
