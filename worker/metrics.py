"""What one worker process counts and times for Prometheus, in a registry of its own.

Counting only: who shows it is `worker.metrics_server`. What all workers share, such as the backlog, is
`worker.desk.gauges`'.
"""

from __future__ import annotations

import enum
import platform
from collections import Counter as Tallied
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from schemas.errors import Code, InboxUnavailableError
from schemas.messages import RawEntry
from schemas.names import ItemState, Kind, Lane
from worker.held import Held
from worker.inference.run_tally import RunTally
from worker.outcome import Dead, Done, Outcome
from worker.relay.tally import Tally

_ENTRIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_PHASE_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_WAIT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200, 43_200)
_TABLES: Final = ("items", "predictions", "assignments", "dead_letters")
_PARTS: Final = ("redis", "postgres")


class Phase(enum.StrEnum):
    """What a slot does with a part of a batch, one after the other."""

    READ = "read"
    MODEL = "model"
    WRITE = "write"
    ACKNOWLEDGE = "acknowledge"


class Metrics:
    """Counters of one worker process. Every method is thread-safe, and takes a batch or a portion, never one item."""

    def __init__(self) -> None:
        # Twice the series, for times that nothing here asks for.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types
        self.registry = CollectorRegistry()
        self.runs = RunTally()
        self._held: Held | None = None
        self._relay: Tally | None = None
        ProcessCollector(registry=self.registry)
        self._info = Info(
            "fenliu_worker", "Fenliu's version, Python's, and the model in production.", registry=self.registry
        )
        self._slots = Gauge("fenliu_worker_slots", "Batches this worker can have in hand.", registry=self.registry)
        self.slots_busy = Gauge(
            "fenliu_worker_slots_busy", "Batches this worker has in hand.", registry=self.registry
        )  # fmt: skip
        batch_entries = self._histogram("fenliu_batch_entries", "Entries taken from an inbox at once.", _ENTRIES)
        portion_entries = self._histogram(
            "fenliu_portion_entries", "Entries that went through the model together.", _ENTRIES
        )
        queue_s = self._histogram("fenliu_queue_seconds", "Time from an entry's arrival to the model.", _WAIT_S)
        phase_s = self._histogram("fenliu_phase_seconds", "Time of one phase of a batch.", _PHASE_S, "phase")
        redelivered = self._counter("fenliu_redeliveries", "Entries taken that had been delivered before.", "lane")
        claimed = self._counter("fenliu_claims", "Entries claimed from workers that left them.", "lane")
        items = self._counter("fenliu_items", "Entries settled, by the state in which their item ended.",
                              "kind", "state")  # fmt: skip
        dead = self._counter("fenliu_dead_letters", "Entries that could not be classified.", "code")
        rows = self._counter("fenliu_rows_written", "Rows inserted or updated.", "table")
        retries = self._counter("fenliu_retries", "Tries of a batch or a read that failed and are made again.", "part")
        self._texts = Counter("fenliu_model_texts", "Texts classified by a model.", registry=self.registry)
        self._remembered = Counter(
            "fenliu_remembered_texts", "Texts that came again: no model ran for them.", registry=self.registry
        )
        # Finding a child by its labels costs more than counting. All of them from the start: a counter that appears
        # with its first event has no rate of it.
        self._batch_entries = {lane: batch_entries.labels(lane.value) for lane in Lane}
        self._portion_entries = {lane: portion_entries.labels(lane.value) for lane in Lane}
        self._queue_s = {lane: queue_s.labels(lane.value) for lane in Lane}
        self.seconds = {phase: phase_s.labels(phase.value) for phase in Phase}
        self._redelivered = {lane: redelivered.labels(lane.value) for lane in Lane}
        self._claimed = {lane: claimed.labels(lane.value) for lane in Lane}
        self._items = {(kind, state): items.labels(kind.value, state.value) for kind in Kind for state in ItemState}
        self._dead = {code: dead.labels(code.value) for code in Code}
        self._rows = {table: rows.labels(table) for table in _TABLES}
        self._retries = {part: retries.labels(part) for part in _PARTS}
        self.registry.register(_AtScrape(self._at_scrape))

    def works(self, held: Held, slots: int, model: str) -> None:
        """This worker has begun to collect, with the model `name/version`."""
        self._held = held
        self._slots.set(slots)
        self._info.info(
            {"version": metadata.version("fenliu"), "python": platform.python_version(), "model": model}
        )  # fmt: skip

    def relays(self, tally: Tally) -> None:
        """What this worker's relay does is counted there."""
        self._relay = tally

    def batch(self, entries: Sequence[RawEntry]) -> None:
        """So many entries were taken at once."""
        for lane, count in Tallied(entry.lane for entry in entries).items():
            self._batch_entries[lane].observe(count)
        for entry in entries:
            if entry.deliveries > 1:
                self._redelivered[entry.lane].inc()

    def claimed(self, lane: Lane, entries: int) -> None:
        """So many entries were taken over from others."""
        self._claimed[lane].inc(entries)

    def portion(self, lane: Lane, entries: int) -> None:
        """So many entries go through the model together."""
        self._portion_entries[lane].observe(entries)

    def classified(self, texts: int, remembered: int, seconds: float) -> None:
        """A model ran for so many texts of a portion, and so many were remembered; the portion took so long."""
        self._texts.inc(texts)
        self._remembered.inc(remembered)
        self.seconds[Phase.MODEL].observe(seconds)

    def retried(self, error: Exception) -> None:
        """Something failed with this and is tried again."""
        self._retries["redis" if isinstance(error, InboxUnavailableError) else "postgres"].inc()

    def rows(self, table: str, count: int) -> None:
        """So many rows of a table were committed."""
        self._rows[table].inc(count)

    def settled(self, outcomes: Sequence[Outcome]) -> None:
        """These are committed and acknowledged."""
        ends: Tallied[tuple[Kind, ItemState]] = Tallied()
        for outcome in outcomes:
            if isinstance(outcome, Dead):
                self._dead[outcome.code].inc()
                ticket = outcome.raw.fields.get(b"kind") == Kind.TICKET.value.encode()
                ends[Kind.TICKET if ticket else Kind.COMMENT, ItemState.DEAD] += 1
            elif isinstance(outcome, Done):
                ends[outcome.entry.kind, ItemState.DONE] += 1
                if outcome.predictions:
                    self._queue_s[outcome.entry.lane].observe(outcome.predictions[0].queue_ms / 1000)
            else:
                ends[outcome.entry.kind, ItemState.EXPIRED] += 1
        for end, count in ends.items():
            self._items[end].inc(count)

    def page(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)

    def _histogram(self, name: str, about: str, buckets: Sequence[float], label: str = "lane") -> Histogram:
        return Histogram(name, about, [label], buckets=buckets, registry=self.registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, labels, registry=self.registry)

    def _at_scrape(self) -> Iterator[Metric]:
        """What others count already."""
        held, relay, runs = self._held, self._relay or Tally(), self.runs.read()
        yield _gauge("fenliu_worker_held_entries", "Entries in hand.", len(held.entries()) if held else 0)
        yield _counted("fenliu_model_runs", "Runs of a model's session.", runs.runs)
        yield _counted("fenliu_model_sequences", "Windows of texts, and pairs of text and label, run.", runs.sequences)
        yield _counted("fenliu_model_tokens", "Tokens run that are part of a text or label.", runs.tokens)
        yield _counted("fenliu_model_padding_tokens", "Tokens run beside them as padding.", runs.padding_tokens)
        yield _gauge("fenliu_relay_leads", "Whether this worker's relay is the one that delivers.", relay.leads)
        yield _counted("fenliu_relay_announcements", "Announcements taken from the outbox.", relay.announcements)
        yield _counted("fenliu_relay_stream_entries", "Entries added to streams of teams.", relay.stream_entries)
        calls = CounterMetricFamily("fenliu_relay_calls", "Calls of webhooks.", labels=["outcome"])
        calls.add_metric(["delivered"], relay.calls_delivered)
        calls.add_metric(["failed"], relay.calls_failed)
        yield calls
        yield _counted(
            "fenliu_relay_deliveries_failed", "Deliveries given up after their last call.", relay.deliveries_failed
        )


class _AtScrape(Collector):
    """What is read when somebody asks."""

    def __init__(self, read: Callable[[], Iterator[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        return self._read()


def _counted(name: str, about: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(name, about, value=value)


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, value=value)
