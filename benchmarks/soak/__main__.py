"""`make soak`: mixed traffic on real processes, looked at every ten seconds; what grows, and what got lost or doubled.

    python -m benchmarks.soak [--minutes 30] [--every 10] [--seed N] [--dry]

A worker, a clock and `fenliu serve` on servers of their own, durable as in production. First the capacity is measured,
then live comments and tickets come at 40 % of it, with bursts, bulk waves, duplicates, new texts, bad entries,
questions with replies, pages, erasures, prunes, route changes, backfills, and a webhook that is called for every
ticket. Ctrl-C or SIGTERM ends it early: what there is by then is checked and written, marked as partial; so is
what there is after every five minutes. Exit status 1 if something grew by more than its bound or a check failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

import psutil
import redis
from sqlalchemy import NullPool

from benchmarks.machine import write_result
from benchmarks.pages import reliability
from benchmarks.soak.growth import verdicts
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.receiver import receiver
from benchmarks.soak.samples import redis_keys, sample, tables
from benchmarks.soak.traffic import SHARE, Traffic, flowing
from benchmarks.stack import free_port, running, running_worker, scratch_stack, until
from benchmarks.texts import SAMPLE
from producers.client import Client
from schemas.database import make_engine
from schemas.names import Lane
from schemas.routes import read_routes_file
from worker import routes
from worker.desk import webhooks

WARM_ITEMS, CAPACITY_ITEMS = 300, 2_000
POINTS: Final = 200
DRAIN_S: Final = 300.0
WRITE_EVERY_S: Final = 300.0
CHANGES: Final = {"webhook_allow_private": True, "team_max_entries": 1_000, "reply_expire_s": 60}
DEAD_SHARE, DEAD_ROWS = 0.25, 10_000
"""Dead rows of a table over this share of the live ones and this many besides: autovacuum does not keep up."""


def main(arguments: Sequence[str] = ()) -> int:
    """Run, judge, write; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="of traffic")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two looks")
    parser.add_argument("--seed", type=int, help="what chance depends on; a random one by default")
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    options = parser.parse_args(arguments)
    options.seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    stop, early = threading.Event(), threading.Event()

    def end(*_: object) -> None:
        early.set()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    result = _soaked(options, stop, early)
    failed = [found["series"] for found in result["growth"] if not found["ok"]]
    failed += [name for name, number in result["checks"].items() if number]
    print(f"{result['items']:,} items in {result['seconds']:.0f} s; failed: {failed or 'nothing'}")  # noqa: T201
    if options.dry:
        print(json.dumps(result, ensure_ascii=False))  # noqa: T201 - a command's output
    else:
        write_result("soak", result)
        reliability.main()
    return int(bool(failed))


def _soaked(options: argparse.Namespace, stop: threading.Event, early: threading.Event) -> dict[str, Any]:
    with ExitStack() as stack:
        settings = stack.enter_context(scratch_stack()).model_copy(update=CHANGES)
        url, calls = stack.enter_context(receiver())
        engine = make_engine(settings, poolclass=NullPool)
        stack.callback(engine.dispose)
        routes.apply(engine, read_routes_file(SAMPLE / "routes.yaml"), "soak")
        webhooks.add(engine, settings, url, team=None, by="soak")
        port = free_port()
        worker = stack.enter_context(running_worker(settings))
        beat = stack.enter_context(running(settings, "beat"))
        serve = stack.enter_context(running(settings, "serve", "--port", str(port)))
        client = stack.enter_context(redis.Redis.from_url(settings.redis_url))
        sender = stack.enter_context(Client.from_settings(settings))
        ledger = Ledger(options.seed)
        until(lambda: _listens(port), serve)
        for count in (WARM_ITEMS, CAPACITY_ITEMS):
            begun_s = time.perf_counter()
            sender.enqueue_many(ledger.new("capacity", count), lane=Lane.BULK)
            until(lambda: not client.xlen(settings.keys.inbox(Lane.BULK)), worker)
            capacity_per_s = count / (time.perf_counter() - begun_s)
        print(f"capacity {capacity_per_s:.0f} items/s, seed {options.seed}", flush=True)  # noqa: T201 - progress
        pids = {"worker": worker.pid, "beat": beat.pid, "serve": serve.pid} | _servers()
        address = f"http://127.0.0.1:{port}"
        traffic = Traffic(settings, engine, client, sender, ledger, address, capacity_per_s, stop)
        samples: list[dict[str, float]] = []
        begun_s = time.monotonic()
        head = {"minutes": options.minutes, "seed": options.seed, "capacity_per_s": capacity_per_s, "share": SHARE}

        def result(**more: Any) -> dict[str, Any]:
            return (
                head
                | {
                    "settings": CHANGES,
                    "seconds": time.monotonic() - begun_s,
                    "items": len(ledger),
                    "uses": dict(traffic.done),
                    "errors": dict(traffic.errors.most_common(20)),
                    "webhook_calls": {"taken": calls.taken, "failed": calls.failed},
                    "growth": verdicts(samples),
                    "tables": tables(engine),
                    "redis_keys": redis_keys(client),
                    "samples": samples[:: max(1, -(-len(samples) // POINTS))],
                }
                | more
            )

        written_s = begun_s
        with flowing(traffic):
            while time.monotonic() - begun_s < 60 * options.minutes and not stop.is_set():
                look = sample(settings, engine, client, pids)
                samples.append({"at_s": round(time.monotonic() - begun_s, 2)} | look)
                _say(samples[-1])
                if not options.dry and time.monotonic() - written_s > WRITE_EVERY_S:
                    written_s = time.monotonic()
                    write_result("soak", result(partial=True, checks={}))
                stop.wait(options.every)
        _settle(traffic)
        found = ledger.check(engine, client, settings.keys) | {
            "processes that ended": sum(process.poll() is not None for process in (worker, beat, serve)),
            "uses that failed": traffic.errors.total(),
            "tables with too many dead rows": sum(
                table["n_dead_tup"] > DEAD_SHARE * table["n_live_tup"] + DEAD_ROWS for table in tables(engine)
            ),
        }
        return result(partial=early.is_set(), checks=found)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _servers() -> dict[str, int]:
    """Process ids of this soak's own servers, which are children of this process."""
    names = {"valkey-server": "redis", "redis-server": "redis", "postgres": "postgres"}
    children = psutil.Process().children()
    return {names[child.name()]: child.pid for child in children if child.name() in names}


def _settle(traffic: Traffic) -> None:
    """Wait until all is worked off and told, then prune once more."""
    until_s = time.monotonic() + DRAIN_S
    keys = traffic.settings.keys
    while time.monotonic() < until_s and any(traffic.client.xlen(key) for key in keys.inboxes.values()):
        time.sleep(0.2)
    while time.monotonic() < until_s and not traffic.is_told():
        time.sleep(0.5)
    traffic.prune_old()


def _say(look: dict[str, float]) -> None:
    names = ("at_s", "worker_pss_mib", "serve_pss_mib", "redis_used_mib", "backlog_entries", "postgres_connections")
    print(", ".join(f"{name} {look.get(name)}" for name in names), flush=True)  # noqa: T201 - progress


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
