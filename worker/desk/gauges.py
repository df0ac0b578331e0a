"""How a whole deployment stands, as numbers for Prometheus: what every worker and gateway would say alike.

What one process has counted is `worker.metrics`' and the gateway's. When and how often this is read is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import redis
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine, text

from schemas.database import translated
from schemas.errors import Code
from schemas.names import BackfillState, Keys
from worker.desk.alerts import open_alerts
from worker.desk.deliveries import backlog
from worker.desk.inboxes import look_at_inboxes

_OTHER = "other"


@dataclass(frozen=True, slots=True)
class Gauge:
    """One metric: the values of its labels, and its value for each."""

    name: str
    about: str
    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], float]


Read = Callable[[], list[Gauge]]
"""Raises FenliuError where its server does not answer."""


def parts(engine: Engine, client: redis.Redis, keys: Keys) -> tuple[dict[str, Read], ...]:
    """What there is to read, by its name; one mapping for each server. Where the first part of one fails, the others
    of that server need not be tried. `client` answers in bytes."""
    return (
        {"redis": partial(of_inboxes, client, keys)},
        {
            "postgres": partial(of_jobs, engine),
            "dead_letters": partial(of_dead_letters, engine),
            "outbox": partial(of_outbox, engine),
        },
    )


def of_inboxes(client: redis.Redis, keys: Keys) -> list[Gauge]:
    """Both inboxes, and the workers that empty them. Raises InboxUnavailableError."""
    state = look_at_inboxes(client, keys)
    inboxes = {(lane.value,): inbox for lane, inbox in state.inboxes.items()}
    return [
        Gauge("fenliu_inbox_backlog_entries", "Entries not yet acknowledged.", ("lane",),
              {lane: inbox.backlog for lane, inbox in inboxes.items()}),
        Gauge("fenliu_inbox_pending_entries", "Of these, entries that a worker has taken.", ("lane",),
              {lane: inbox.pending for lane, inbox in inboxes.items()}),
        Gauge("fenliu_inbox_oldest_age_seconds", "Age of the oldest entry; 0 where there is none.", ("lane",),
              {lane: inbox.oldest_age_s or 0.0 for lane, inbox in inboxes.items()}),
        _single("fenliu_inbox_standing_still", "Whether entries wait and nothing moves, or no worker lives.",
                state.standing_still() is not None),
        _single("fenliu_workers", "Workers with a heartbeat.", len(state.workers)),
        _single("fenliu_slots", "Batches that they can have in hand together.",
                sum(worker["slots"] for worker in state.workers)),
    ]  # fmt: skip


def of_jobs(engine: Engine) -> list[Gauge]:
    """Backfills, models in production and open alerts. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        backfills = {(row.state,): row.number for row in connection.execute(_BACKFILLS)}
        models: dict[tuple[str, ...], float] = {(row.name, row.version): 1 for row in connection.execute(_MODELS)}
    alerts = {
        (alert.measure, alert.task, alert.model, alert.model_version): alert for alert in open_alerts(engine)
    }  # fmt: skip
    return [
        Gauge("fenliu_backfills", "Backfills by how they stand.", ("state",),
              {(state.value,): backfills.get((state.value,), 0) for state in BackfillState}),
        Gauge("fenliu_production_model_info", "A model in production; always 1.", ("model", "model_version"), models),
        _single("fenliu_quality_alerts_open", "Bounds of drift or accuracy that are crossed.", len(alerts)),
        Gauge("fenliu_quality_alert_value", "The newest value of a measure whose bound is crossed.", _ALERT,
              {labels: alert.value for labels, alert in alerts.items()}),
        Gauge("fenliu_quality_alert_bound", "The bound that is crossed.", _ALERT,
              {labels: alert.bound for labels, alert in alerts.items()}),
    ]  # fmt: skip


def of_dead_letters(engine: Engine) -> list[Gauge]:
    """Dead letters that wait. Raises DatabaseUnavailableError."""
    waiting: dict[tuple[str, ...], float] = {(code.value,): 0 for code in Code}
    with translated(), engine.connect() as connection:
        for row in connection.execute(_DEAD_LETTERS):
            code = (row.code if (row.code,) in waiting else _OTHER,)
            waiting[code] = waiting.get(code, 0) + row.number
    return [Gauge("fenliu_dead_letters_waiting", "Dead letters not yet replayed.", ("code",), waiting)]


def of_outbox(engine: Engine) -> list[Gauge]:
    """How far delivery is behind. Raises DatabaseUnavailableError."""
    with translated(), engine.connect() as connection:
        behind = backlog(connection)
    return [
        _single("fenliu_outbox_waiting", "Announcements not yet delivered to all.", behind.waiting),
        _single("fenliu_outbox_oldest_age_seconds", "Age of the oldest of them; 0 without.", behind.oldest_age_s),
        _single("fenliu_deliveries_failed", "Deliveries given up and not replayed.", behind.failed),
    ]


def up(answered: Mapping[str, bool]) -> Gauge:
    """Which parts could be read."""
    about = "Whether this part of the state could be read."
    return Gauge("fenliu_up", about, ("part",), {(part,): said for part, said in answered.items()})


def shown(gauges: Iterable[Gauge]) -> bytes:
    """These in Prometheus' text format."""
    return generate_latest(_Families(gauges))


class _Families(Collector):
    """Gauges as prometheus_client knows them."""

    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        for gauge in self._gauges:
            family = GaugeMetricFamily(gauge.name, gauge.about, labels=gauge.labels)
            for labels, value in gauge.values.items():
                family.add_metric(labels, value)
            yield family


def _single(name: str, about: str, value: float) -> Gauge:
    return Gauge(name, about, (), {(): value})


_ALERT: Final = ("measure", "task", "model", "model_version")
_BACKFILLS: Final[Any] = text("SELECT state, count(*) AS number FROM backfills GROUP BY state")
_MODELS: Final[Any] = text("SELECT name, version FROM models WHERE state = 'production'")
_DEAD_LETTERS: Final[Any] = text(
    "SELECT code, count(*) AS number FROM dead_letters WHERE replayed_at IS NULL GROUP BY code"
)
