"""Relays on threads, and tickets that change hands, for tests of what teams get to hear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, NullPool, insert, text

from schemas.database import make_engine
from schemas.settings import Settings
from schemas.tables import webhooks
from tests.integration.outcomes import NOON, ticket
from worker.inbox import connect
from worker.relay.relay import Relay
from worker.relay.webhook import Caller
from worker.sink import Sink


def quick(settings: Settings, **more: Any) -> Settings:
    """Settings under which nothing is waited for, and receivers may be on this machine."""
    return settings.model_copy(
        update={
            "relay_poll_s": 0.02,
            "retry_max_s": 0.1,
            "webhook_allow_private": True,
            "webhook_backoff_s": 0.01,
            "webhook_backoff_max_s": 0.05,
            **more,
        }
    )


def make_relay(settings: Settings, caller: Callable[[], Caller] | None = None) -> Relay:
    """A relay as the bootstep makes it; not started."""
    engine = make_engine(settings, poolclass=NullPool)
    return Relay(engine=engine, client=connect(settings), settings=settings, caller=caller)


@contextmanager
def relaying(settings: Settings, caller: Callable[[], Caller] | None = None) -> Iterator[Relay]:
    """A relay that runs within `with`, and ends quickly."""
    relay = make_relay(settings, caller)
    relay.start()
    try:
        yield relay
    finally:
        relay.stop()
        relay.join(10)
        assert not relay.is_alive()


def assign(engine: Engine, item_id: str, *teams: str, first_s: int = 0) -> None:
    """A ticket that the model gives to these teams, one after the other."""
    for at_s, team in enumerate(teams, first_s):
        Sink(engine).write([ticket(item_id, at_s, team)], NOON)


def add_webhook(engine: Engine, url: str, team: str | None = None, secret: str = "whsec_test") -> int:
    """A webhook as `fenliu webhooks add` makes it, with a secret that the test knows; its id."""
    with engine.begin() as connection:
        return int(
            connection.execute(
                insert(webhooks).values(url=url, team=team, secret=secret).returning(webhooks.c.id)
            ).scalar_one()
        )


def one(engine: Engine, statement: str, **values: Any) -> Any:
    """The one value that a query gives."""
    with engine.connect() as connection:
        return connection.execute(text(statement), values).scalar_one()


def through(engine: Engine) -> bool:
    """Whether nothing is left to deliver."""
    return 0 == one(engine, "SELECT count(*) FROM outbox WHERE delivered_at IS NULL")


def stream_of(client: Any, settings: Settings, team: str) -> list[dict[str, str]]:
    """What a team has been told on its stream, in order."""
    return [
        {name.decode(): value.decode() for name, value in fields.items()}
        for _, fields in client.xrange(settings.keys.team(team))
    ]
