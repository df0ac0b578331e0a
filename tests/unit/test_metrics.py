"""What a worker counts, and how it is shown over HTTP."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import httpx2
import pytest

from schemas.errors import Code, DatabaseUnavailableError, InboxUnavailableError, SetupError
from schemas.messages import RawEntry
from schemas.names import Lane
from tests.integration.outcomes import comment, expired, ticket
from tests.monitoring import exported
from worker.held import Held
from worker.inference.run_tally import RunTally
from worker.metrics import Metrics, Phase
from worker.metrics_server import MetricsServer
from worker.outcome import Dead
from worker.relay.tally import Tally


def entries(*deliveries: int, lane: Lane = Lane.LIVE) -> list[RawEntry]:
    return [RawEntry(lane, f"{number}-0", {}, times) for number, times in enumerate(deliveries)]


def test_a_batch_is_counted_from_the_inbox_to_its_end() -> None:
    # Given a worker's metrics, and a batch of both inboxes of which one entry was delivered before
    metrics = Metrics()
    held, tally = Held(), Tally(leads=True, calls_delivered=2)
    metrics.works(held, 4, "tiny/1")
    metrics.relays(tally)
    batch = entries(1, 2, 1) + entries(1, lane=Lane.BULK)
    held.add(batch)
    # When it is taken, classified, written after two tries, and settled
    metrics.claimed(Lane.LIVE, 1)
    metrics.batch(batch)
    metrics.portion(Lane.LIVE, 3)
    metrics.runs.ran(2, tokens=30, padding_tokens=10)
    metrics.classified(2, 1, 0.2)
    metrics.retried(DatabaseUnavailableError("away"))
    metrics.retried(InboxUnavailableError("away"))
    metrics.rows("items", 4)
    dead = Dead(RawEntry(Lane.LIVE, "1-0", {b"kind": b"ticket"}, 1), Code.BAD_JSON, "meta", "-", None)
    metrics.settled([comment("1"), ticket("2"), expired("3"), dead])
    # Then every series says so
    value = metrics.registry.get_sample_value
    live = {"lane": "live"}
    assert (1, 3) == (value("fenliu_batch_entries_count", live), value("fenliu_batch_entries_sum", live))
    assert 1 == value("fenliu_batch_entries_sum", {"lane": "bulk"})
    assert 3 == value("fenliu_portion_entries_sum", live)
    assert (1, 1) == (value("fenliu_redeliveries_total", live), value("fenliu_claims_total", live))
    assert (2, 0.2) == (value("fenliu_model_texts_total"), value("fenliu_phase_seconds_sum", {"phase": "model"}))
    assert 1 == value("fenliu_remembered_texts_total")
    assert (30, 10) == (value("fenliu_model_tokens_total"), value("fenliu_model_padding_tokens_total"))
    assert (1, 2) == (value("fenliu_model_runs_total"), value("fenliu_model_sequences_total"))
    assert [1, 1] == [value("fenliu_retries_total", {"part": part}) for part in ("redis", "postgres")]
    assert 4 == value("fenliu_rows_written_total", {"table": "items"})
    ends = [("comment", "done"), ("ticket", "done"), ("comment", "expired"), ("ticket", "dead"), ("comment", "dead")]
    assert [1, 1, 1, 1, 0] == [value("fenliu_items_total", {"kind": kind, "state": state}) for kind, state in ends]
    assert [1, 0] == [value("fenliu_dead_letters_total", {"code": code}) for code in ("bad_json", "poison")]
    # and the wait of those that were classified, of 12.5 ms each
    assert (2, 0.025) == (value("fenliu_queue_seconds_count", live), value("fenliu_queue_seconds_sum", live))
    assert 0 == value("fenliu_queue_seconds_bucket", {**live, "le": "0.01"})
    assert (4, 4) == (value("fenliu_worker_held_entries"), value("fenliu_worker_slots"))
    assert (1, 2) == (value("fenliu_relay_leads"), value("fenliu_relay_calls_total", {"outcome": "delivered"}))


def test_every_series_is_there_before_the_first_event_and_no_label_can_grow() -> None:
    # Given a worker that has done nothing, when its metrics are read
    seen = exported(Metrics().page().decode())
    # Then each counter stands at its beginning, under labels whose values are few and fixed
    assert {"fenliu_dead_letters_total", "fenliu_claims_total", "fenliu_retries_total"} <= seen.keys()
    assert {"lane", "phase", "kind", "state", "code", "table", "part", "outcome", "le"} == set().union(*seen.values())
    assert len(Phase) == Metrics().page().decode().count("fenliu_phase_seconds_count")


def test_two_workers_of_one_process_count_for_themselves() -> None:
    one, other = Metrics(), Metrics()
    one.rows("items", 3)
    assert [3, 0] == [each.registry.get_sample_value("fenliu_rows_written_total", {"table": "items"})
                      for each in (one, other)]  # fmt: skip


def test_no_run_is_lost_when_slots_count_at_once() -> None:
    tally = RunTally()
    threads = [
        threading.Thread(target=lambda: [tally.ran(1, 2, 3) for _ in range(2_000)]) for _ in range(4)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (8_000, 8_000, 16_000, 24_000) == tally.read()


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    """A server on any free port, which is well until `wrong` says otherwise."""
    server = MetricsServer("127.0.0.1", 0, page=lambda: b"fenliu_workers 1.0\n", wrong=lambda: None)
    server.start()
    yield server
    server.close()


def test_metrics_and_health_are_shown_and_nothing_else(server: MetricsServer) -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{server.port}") as http:
        page = http.get("/metrics?name[]=x")
        assert (200, "fenliu_workers 1.0\n") == (page.status_code, page.text)
        assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert (200, "ok\n") == ((health := http.get("/healthz")).status_code, health.text)
        assert (200, "") == ((head := http.head("/metrics")).status_code, head.text)
        assert [404, 404, 501] == [
            http.get("/").status_code, http.get("/metrics/x").status_code, http.post("/metrics").status_code,
        ]  # fmt: skip


def test_health_says_what_is_wrong() -> None:
    server = MetricsServer("localhost", 0, page=lambda: b"", wrong=lambda: "entries wait")
    server.start()
    with contextlib.closing(server):
        answer = httpx2.get(f"http://localhost:{server.port}/healthz")
    assert (503, "entries wait\n") == (answer.status_code, answer.text)


def test_callers_that_say_nothing_neither_hold_up_others_nor_the_end(server: MetricsServer) -> None:
    with contextlib.ExitStack() as silent:
        for _ in range(3):
            silent.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        assert 200 == httpx2.get(f"http://127.0.0.1:{server.port}/metrics").status_code
        server.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port)).close()


def test_a_port_in_use_is_said_with_the_setting_that_changes_it(server: MetricsServer) -> None:
    with pytest.raises(SetupError, match=rf"port {server.port}: .*in use; change FENLIU_METRICS_PORT"):
        MetricsServer("127.0.0.1", server.port, page=lambda: b"", wrong=lambda: None)
    with pytest.raises(SetupError, match=r"203.0.113.1 port 0: .*FENLIU_METRICS_HOST"):
        MetricsServer("203.0.113.1", 0, page=lambda: b"", wrong=lambda: None)
