"""A backfill run as a process: signals, priority, and the state that is left in the table however it ends."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine

from producers.backfill import ledger
from producers.backfill.cursor import CancelledError, Cursor
from producers.backfill.display import Display
from producers.backfill.feed import Feed
from producers.backfill.files import open_file
from producers.backfill.items import ItemsFeed
from producers.backfill.ledger import Record
from producers.backfill.options import Options
from producers.backfill.queries import QueryFeed
from producers.backfill.runner import Runner
from producers.backfill.stopping import Stop, StoppedError
from producers.redis_errors import wrong_url
from schemas.database import make_engine
from schemas.errors import (
    BackfillError,
    DatabaseUnavailableError,
    FenliuError,
    InboxUnavailableError,
    LeaseTakenError,
    SetupError,
)
from schemas.names import BackfillState
from schemas.settings import Settings

_REDIS_TIMEOUT_S = 30
_KEEP_EVERY_S = 5.0
_STATEMENT_TIMEOUT_S = 600


@contextmanager
def clients(settings: Settings) -> Iterator[tuple[Engine, redis.Redis]]:
    """Fenliu's own database and Redis. Nothing is tried again by itself: the position has to be looked at first."""
    engine = make_engine(settings, statement_timeout_s=_STATEMENT_TIMEOUT_S)
    try:
        client = redis.Redis.from_url(
            settings.redis_url,
            socket_timeout=_REDIS_TIMEOUT_S,
            socket_connect_timeout=5,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise wrong_url(error) from None
    try:
        yield engine, client
    finally:
        client.close()
        engine.dispose()


def open_feed(options: Options, engine: Engine, url: str | None) -> Feed:
    """The rows of `options.origin`. Raises SourceError, SetupError, BackfillError for a URL that is not given."""
    if options.is_items:
        return ItemsFeed(options, engine)
    if options.is_query:
        return QueryFeed(options, options.url(url))
    return open_file(options)


def run(
    settings: Settings,
    engine: Engine,
    client: redis.Redis,
    record: Record,
    opener: Callable[[], Feed],
    *,
    wait: bool = True,
    force: bool = False,
) -> Mapping[str, Any] | None:
    """Run a backfill in this process; the report, None if not waited for.

    Raises StoppedError after SIGINT or SIGTERM, and what `Runner.run` raises. Whatever it is, the table says so,
    and the backfill can be resumed unless it has been cancelled.
    """
    with Stop() as stop, Display() as display:
        runner = Runner(settings, engine, Cursor(client, settings.keys, record.id), record, opener, stop, display)
        try:
            with _keeping(runner.cursor):
                return runner.run(wait=wait, force=force)
        except (LeaseTakenError, CancelledError):
            raise
        except StoppedError:
            _leave(engine, runner, BackfillState.STOPPED, None)
            raise
        except FenliuError as error:
            _leave(engine, runner, BackfillState.FAILED, str(error))
            display.note(f"go on with `fenliu backfill resume {record.id}`")
            raise


@contextmanager
def _keeping(cursor: Cursor) -> Iterator[None]:
    """Keep the lease from a thread: a query may take minutes to its first row."""
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(_KEEP_EVERY_S):
            with contextlib.suppress(InboxUnavailableError, SetupError):
                cursor.keep_lease()

    thread = threading.Thread(target=keep, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_KEEP_EVERY_S)


def _leave(engine: Engine, runner: Runner, state: BackfillState, error: str | None) -> None:
    """Write down how it ended. If that cannot be done, the lease runs out and Redis has the position all the same."""
    with contextlib.suppress(DatabaseUnavailableError):
        ledger.save(engine, runner.record.id, runner.latest, state=state, error=error)
    with contextlib.suppress(InboxUnavailableError, BackfillError):
        runner.cursor.release(forget=False)
